"""``Popen`` and ``run`` for the project's programs, which start in a tenth of the time: they are forked off a process
that has imported what they import.

The programs are those that run as ``python [-W error] -m evio_...`` or ``python [-W error] FILE``. All else is started
as ``subprocess`` does it, and so are these in a full run, on other systems than Linux and with other settings of the
interpreter than those of the tests.

Run as a program, this file is the process that forks. Each message on the socket that it is given is a start, with the
program's descriptors; the answer, once the program is about to run, is the number of its process.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

__all__ = ["Popen", "run"]

PACKAGES = ["evio_core", "evio_echo", "evio_http", "evio_redis"]

ROOT = Path(__file__).parents[1]

LARGEST = 1 << 17
"""Bytes of a message."""

MOST_DESCRIPTORS = 64

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

FORKS = sys.platform == "linux" and os.environ.get("EVIO_TESTS") != "full"

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
            command = [sys.executable, *options, "-m", "tests.popen", str(other.fileno())]
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
                answer = self._channel.recv(LARGEST)
            finally:
                prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        if not answer:
            raise ChildProcessError("the program was not started")
        return int(answer)


def prepare() -> None:
    """Import all modules of the packages but those that are programs. A package or an extra may not be installed."""
    for name in PACKAGES:
        with contextlib.suppress(ModuleNotFoundError):
            for found in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
                if not found.name.endswith((".__main__", ".passwd")):
                    with contextlib.suppress(ModuleNotFoundError):
                        importlib.import_module(found.name)
    # Nothing of it is garbage, and a collection in a child would copy each page that it has an object in.
    gc.collect()
    gc.freeze()


def serve(channel: socket.socket) -> dict[str, Any]:
    """Fork a process for each message. Returns in these, which have what a new process would have; the template does
    not return."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, LARGEST, MOST_DESCRIPTORS)
        if not message:
            os._exit(0)
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            if os.fork() != 0:
                os._exit(0)
            channel.detach()
            start: dict[str, Any] = json.loads(message)
            become(start, descriptors, writing)
            return start
        for descriptor in (*descriptors, writing):
            os.close(descriptor)
        os.waitpid(between, 0)
        channel.send(os.read(reading, 32))
        os.close(reading)


def become(start: dict[str, Any], received: list[int], started: int) -> None:
    """Give this process its descriptors and all else, and write its number to ``started``."""
    above = max([*received, *start["numbers"], started]) + 1
    os.closerange(above, above + 1000)
    for number, descriptor in enumerate([*received, started], above):
        os.dup2(descriptor, number, inheritable=False)
    os.closerange(0, above)
    for number, descriptor in zip(start["numbers"], range(above, above + len(received)), strict=True):
        os.dup2(descriptor, number)
    if start["session"]:
        os.setsid()
    if start["umask"] != -1:
        os.umask(start["umask"])
    os.chdir(start["directory"])
    os.environ.clear()
    os.environ.update(start["environment"])
    time.tzset()
    if os.isatty(1):
        assert isinstance(sys.stdout, io.TextIOWrapper)
        sys.stdout.reconfigure(line_buffering=True)
    os.write(above + len(received), str(os.getpid()).encode())
    os.closerange(above, above + len(received) + 1)


def main() -> None:
    """Be the template, and then the program."""
    prepare()
    program: list[str] = serve(socket.socket(fileno=int(sys.argv[1])))["program"]
    if program[0] == "-m":
        sys.argv = program[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        sys.path[0] = os.path.dirname(os.path.realpath(program[0]))
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main()
