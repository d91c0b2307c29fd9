"""The access log: one line a request, in a format that other programs read.

- ``common``: the Common Log Format of the NCSA server.
- ``combined``: that, with Referer and User-Agent.
- ``json``: an object a line, with how long the answer took and the TLS version as well.

Lines are kept until there are ``FLUSH_BYTES`` of them or ``flush`` is called, then appended in one write:
with O_APPEND several processes can share a file, and lines do not mix. When the file cannot be written
(disk full), up to ``MAX_HELD`` bytes wait for better times; what is more is counted and dropped. Both
the trouble and its end are told once, to the "evio_http" logger.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import stat
import threading
import time
from collections import deque

__all__ = ["FORMATS", "AccessLog"]

FORMATS = ("common", "combined", "json")

FLUSH_BYTES = 32 * 1024
MAX_HELD = 1024 * 1024

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LOGGER = logging.getLogger("evio_http")


class AccessLog:
    """An access log in a file, or on standard output for the path "-". ``log`` may be called by several threads.

    Raises ``ValueError`` for a format that is not one of ``FORMATS`` and ``OSError`` when the file cannot be
    opened.
    """

    def __init__(self, path: str, format: str = "combined") -> None:  # noqa: A002 (its name in the field)
        if format not in FORMATS:
            raise ValueError(f"unknown access log format {format!r}: choose from {', '.join(FORMATS)}")
        self._path = path
        self._format = format
        self._combined = format == "combined"
        self._fd = _open(path)
        self._second = -1
        self._stamp = ""
        # Appending to a deque and taking from it are atomic: ``log`` needs no lock.
        self._lines: deque[str] = deque()
        self._collected = 0  # about: threads may lose an addition, which only delays a flush
        self._held = b""  # what could not be written yet, from the middle of a line perhaps
        self._lost = 0
        self._failing = False
        self._lagging = False  # the path is another file, which cannot be opened
        self._lock = threading.Lock()  # of whoever flushes or reopens

    def log(
        self,
        address: str,
        method: str,
        target: str,
        version: str,
        status: int,
        sent: int,
        seconds: float,
        *,
        user: str = "",
        host: str = "",
        referer: str = "",
        user_agent: str = "",
        tls: str = "",
    ) -> None:
        """Note an answered request: its peer's address, its request line ("GET", "/", "HTTP/1.1"; an empty
        method when it could not be read), the status, the bytes of content sent, and the seconds it took.

        The rest are the authenticated user, the fields Host, Referer and User-Agent, and the TLS version,
        empty where there is none. No text, whatever is in it, makes a second line or a second field.
        """
        now = time.time()
        if int(now) != self._second:
            self._new_second(int(now))
        if self._format == "json":
            line = (
                f'{{"time":"{self._stamp}.{int(now * 1000) % 1000:03}Z","address":{_quoted(address)},'
                f'"user":{_quoted(user)},"status":{status},"bytes":{sent},"seconds":{seconds:.6f},'
                f"{_request_object(method, target, version, host, referer, user_agent, tls)}}}\n"
            )
        else:
            asked = f"{method} {target} {version}"
            line = f'{address or "-"} - {user or "-"} [{self._stamp}] "{asked}" {status} {sent or "-"}'
            if self._combined:
                line += f' "{referer or "-"}" "{user_agent or "-"}"'
            # Looking once at the whole line costs less than at each text in it.
            quoted = '"' in asked or '"' in referer or '"' in user_agent
            if quoted or not method or not _is_plain_line(line) or not _is_word(user) or not _is_word(address):
                request, client = _request_texts(method, target, version, referer, user_agent)
                line = f"{_word(address)} - {_word(user)} [{self._stamp}] {request} {status} {sent or '-'}"
                line += f" {client}" if self._combined else ""
            line += "\n"
        self._lines.append(line)
        self._collected += len(line)
        if self._collected >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was collected. To be called once a second or so. It raises nothing."""
        with self._lock:
            self._collected = 0
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if len(self._held) < MAX_HELD:
                self._held += "".join(lines).encode("ascii")
            else:
                self._lost += len(lines)
            self._write()

    def reopen(self) -> None:
        """Open the path anew, as after it was rotated away. What was collected before goes to the old file.

        Raises ``OSError`` when that fails; the old file then stays in use.
        """
        self.flush()
        fd = _open(self._path)
        with self._lock:
            old, self._fd = self._fd, fd
            # After an error the old file may end in the middle of a line, and the new one begin so: nothing
            # is lost.
            self._write()
        _close(old)

    def follow(self) -> None:
        """Open the path anew if it is no longer the file that was opened: moved away, or removed. To be called once a
        second or so. It raises nothing: the old file stays in use if there can be no new one, which is logged once."""
        if self._path == "-" or self._fd < 0:
            return
        try:
            here = os.stat(self._path)
            if stat.S_ISREG(here.st_mode) and os.path.samestat(here, os.fstat(self._fd)):
                return
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                return  # a pipe or a device
        except FileNotFoundError:
            pass
        except OSError as error:
            self._cannot_follow(error)
            return
        try:
            self.reopen()
            self._lagging = False
        except OSError as error:
            self._cannot_follow(error)

    def _cannot_follow(self, error: OSError) -> None:
        if not self._lagging:
            self._lagging = True
            _LOGGER.error(
                "the access log %s was moved and cannot be opened anew: %s; the old file stays in use",
                self._path,
                error.strerror,
            )

    def close(self) -> None:
        """Write what was collected and close the file. A second call does nothing."""
        if self._fd < 0:
            return
        self.flush()
        with self._lock:
            fd, self._fd = self._fd, -1
            if self._held:
                self._lost += self._held.count(b"\n")
                self._held = b""
            if self._lost:
                _LOGGER.error("%d lines of the access log %s were lost", self._lost, self._path)
        _close(fd)

    def _new_second(self, second: int) -> None:
        if self._format == "json":
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        else:
            # Not strftime's %b: the locale has no say in a log.
            t = time.localtime(second)
            minutes = (t.tm_gmtoff or 0) // 60
            sign = "-" if minutes < 0 else "+"
            zone = f"{sign}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"
            self._stamp = (
                f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year}:{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} {zone}"
            )
        self._second = second

    def _write(self) -> None:
        try:
            while self._held:
                written = os.write(self._fd, self._held)
                self._held = self._held[written:]
        except OSError as error:
            if not self._failing:
                self._failing = True
                _LOGGER.error("the access log %s cannot be written: %s", self._path, error.strerror)
            return
        if self._failing:
            _LOGGER.warning("the access log %s is written again; %d lines were lost", self._path, self._lost)
            self._failing, self._lost = False, 0


def _open(path: str) -> int:
    if path == "-":
        return 1
    # O_NONBLOCK has no effect on a file; a FIFO without a reader is an error rather than a wait.
    nonblock: int = getattr(os, "O_NONBLOCK", 0)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | nonblock, 0o644)


def _close(fd: int) -> None:
    if fd > 2:
        os.close(fd)


def _request_texts(method: str, target: str, version: str, referer: str, user_agent: str) -> tuple[str, str]:
    request = f'"{_escaped(method)} {_escaped(target)} {_escaped(version)}"' if method else '"-"'
    return request, f'"{_escaped(referer) or "-"}" "{_escaped(user_agent) or "-"}"'


# Most requests of a client differ in little that the log shows: finding the JSON of texts that were logged before costs
# less than making it.


@functools.lru_cache(maxsize=512)
def _request_object(method: str, target: str, version: str, host: str, referer: str, user_agent: str, tls: str) -> str:
    return (
        f'"method":{_quoted(method)},"target":{_quoted(target)},"protocol":{_quoted(version)},"host":{_quoted(host)},'
        f'"referer":{_quoted(referer)},"user_agent":{_quoted(user_agent)},"tls":{_quoted(tls)}'
    )


def _word(text: str) -> str:
    """For a field without quotes."""
    return _escaped(text).replace(" ", "\\x20") or "-"


_SHOWN = bytes(byte if 0x20 <= byte <= 0x7E and byte != 0x5C else 0 for byte in range(256))


def _is_plain_line(line: str) -> bool:
    """Tell whether nothing but quotes may have to be escaped in a line."""
    return line.isascii() and (raw := line.encode("ascii")).translate(_SHOWN) == raw


def _is_word(text: str) -> bool:
    return not text or (" " not in text and '"' not in text)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text


def _escaped(text: str) -> str:
    """For between double quotes, as nginx and Apache do: what is not printable ASCII, and quotes, as \\xHH."""
    if _is_plain(text):
        return text
    return "".join(
        character if _is_plain(character) else "".join(f"\\x{byte:02X}" for byte in _bytes(character))
        for character in text
    )


@functools.lru_cache(maxsize=512)
def _quoted(text: str) -> str:
    """A JSON string, in ASCII; header fields decoded as Latin-1 that were UTF-8 are shown as that."""
    with contextlib.suppress(UnicodeError):
        text = text.encode("latin-1").decode()
    return json.dumps(text)


def _bytes(character: str) -> bytes:
    """The bytes that were received: fields are decoded as Latin-1."""
    return character.encode("latin-1") if character <= "\xff" else character.encode("utf-8", "surrogatepass")
