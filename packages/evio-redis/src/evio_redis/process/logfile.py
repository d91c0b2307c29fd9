"""The log of the process, on standard output or in a file: lines as people know them from Redis."""

from __future__ import annotations

import logging
import os
import sys

from ..config.config import Config

__all__ = ["LEVELS", "configure"]

LEVELS = {"debug": logging.DEBUG, "verbose": logging.INFO, "notice": logging.INFO, "warning": logging.WARNING}

MARKS = {logging.DEBUG: ".", logging.INFO: "*", logging.WARNING: "#", logging.ERROR: "#", logging.CRITICAL: "#"}
"""Redis's marks of the levels of its log."""

_STDOUT = 1


class _Formatter(logging.Formatter):
    """``4711:M 23 Nov 2026 12:00:00.123 * Ready to accept connections``."""

    def format(self, record: logging.LogRecord) -> str:
        when = self.formatTime(record, "%d %b %Y %H:%M:%S")
        text = f"{record.process}:M {when}.{int(record.msecs):03d} {MARKS[record.levelno]} {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _Handler(logging.Handler):
    """Writes each record at once and in one piece. A file is opened for every one, as redis-server does, so that it may
    be moved away at any time. A record that cannot be written (disk full, reader gone) is lost and the server goes on;
    standard error tells so when it begins."""

    def __init__(self, path: str) -> None:
        """Raises ``OSError`` when the file cannot be opened."""
        super().__init__()
        self._path = os.path.abspath(path) if path else ""
        self._failing = False
        if path:
            os.close(self._open())
        elif sys.stdout is None:  # closed by whoever started us: the descriptor is not for our sockets and files either
            os.open(os.devnull, os.O_WRONLY)

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        try:
            if self._path:
                fd = self._open()
                try:
                    _write_all(fd, line)
                finally:
                    os.close(fd)
            else:
                _write_all(_STDOUT, line)
            self._failing = False
        except OSError as error:
            if not self._failing and sys.stderr is not None:
                self._failing = True  # first: standard error may be on the same disk
                print(f"evio-redis: cannot write the log: {error}", file=sys.stderr)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def configure(config: Config) -> None:
    """Have everything logged where the configuration says. Raises ``OSError``."""
    handler = _Handler(config.logfile)
    handler.setFormatter(_Formatter())
    handlers: list[logging.Handler] = [handler]
    if config.syslog_enabled:
        from .system_log import SystemLog  # with what it imports, which takes longer than the rest of logging

        handlers.append(SystemLog(config))
    root = logging.getLogger()
    logging.basicConfig(handlers=handlers, level=LEVELS[config.loglevel], force=True)
    config.on_change("loglevel", lambda: root.setLevel(LEVELS[config.loglevel]))
