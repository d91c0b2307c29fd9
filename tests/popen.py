"""``Popen`` and ``run`` for the project's programs, which start in a tenth of the time: they are forked off a process
that has imported what they import.

The programs are those that run as ``python [-W error] -m evio_...`` or ``python [-W error] FILE``. All else is started
as ``subprocess`` does it, and so are these in a full run, on other systems than Linux and with other settings of the
interpreter than those of the tests.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from .extent import FULL

__all__ = ["Popen", "run"]

ROOT = Path(__file__).parents[1]

ANSWER = 32
"""Bytes of an answer, at most."""

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

FORKS = sys.platform == "linux" and not FULL

ENVIRONMENT = dict(os.environ)
READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "OPENSSL_", "SSL_")
"""The first letters of the variables that an interpreter or a library reads once."""


class Popen(subprocess.Popen[Any]):
    """``subprocess.Popen``, whose children these programs are as well."""

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, *others: Any) -> None:
        """Stand in for the method that starts the process."""
        close_fds, passed, directory, given, _, _, shell, *ends, _, gid, gids, uid, umask, session, group = others
        plain = not shell and close_fds and executable is preexec_fn is gid is gids is uid is None
        command = [os.fspath(word) for word in args] if plain and group == -1 and isinstance(args, list) else []
        options, program = (command[1:3], command[3:]) if command[1:3] == ["-W", "error"] else ([], command[1:])
        environment = dict(os.environ if given is None else given)
        if (
            not FORKS
            or command[:1] != [sys.executable]
            or not (program[0].endswith(".py") or (program[0] == "-m" and program[1].startswith("evio_")))
            or settings(environment) != settings(ENVIRONMENT)
        ):
            super()._execute_child(args, executable, preexec_fn, *others)  # type: ignore[misc]
            return
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = ends
        numbers = [0, 1, 2, *map(int, passed)]
        inherited = [p2cread, c2pwrite, errwrite, *map(int, passed)]
        start = {
            "program": program,
            "directory": os.path.abspath(directory or "."),
            "environment": environment,
            "numbers": numbers,
            "session": session,
            "umask": umask,
        }
        descriptors = [n if fd == -1 else fd for n, fd in zip(numbers, inherited, strict=True)]
        self.pid = Template.of(options).fork(json.dumps(start).encode(), descriptors)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]


def run(
    command: list[str],
    *,
    input: str | None = None,  # noqa: A002 - that of subprocess.run
    timeout: float,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Do what ``subprocess.run`` does with ``capture_output``, ``text`` and without ``check``."""
    pipe = subprocess.PIPE
    stdin = None if input is None else pipe
    with Popen(command, stdin=stdin, stdout=pipe, stderr=pipe, text=True, **options) as process:
        try:
            output, errors = process.communicate(input, timeout)
        finally:
            process.kill()
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def settings(environment: dict[str, str]) -> dict[str, str]:
    """The variables that are read once."""
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}


class Template:
    """The process that forks, seen from the tests."""

    _lock = threading.Lock()
    _running: dict[str, Template] = {}  # noqa: RUF012

    @classmethod
    def of(cls, options: list[str]) -> Template:
        """The one of these options of the interpreter; it ends with the tests."""
        with cls._lock:
            key = " ".join(options)
            if key not in cls._running:
                cls._running[key] = cls(options)
            return cls._running[key]

    def __init__(self, options: list[str]) -> None:
        self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            command = [sys.executable, *options, "-m", "tests.template", str(other.fileno())]
            quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            self._process = subprocess.Popen(command, pass_fds=[other.fileno()], cwd=ROOT, env=ENVIRONMENT, **quiet)

    def fork(self, start: bytes, descriptors: list[int]) -> int:
        """Start a program, as a child of this process; returns its number. Raises ``ChildProcessError`` when it cannot
        be started; the reason is on its standard error."""
        prctl = ctypes.CDLL(None).prctl
        with self._lock:
            # The process between the template and the program ends. This one is to get its child, not init.
            prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._channel, [start], descriptors)
                answer = self._channel.recv(ANSWER)
            finally:
                prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        if not answer:
            raise ChildProcessError("the program was not started")
        return int(answer)
