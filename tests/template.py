"""The process that the project's programs are forked off (:mod:`tests.popen`): it has imported what they import.

It is run as ``python [-W error] -m tests.template FD``. Each message on that descriptor, a unix socket with message
boundaries, is a start: JSON, and the program's descriptors. The answer, once the program is about to run, is the number
of its process. This module imports nothing of pytest, which the programs would have then.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import socket
import sys
import time
from typing import Any

PACKAGES = ["evio_core", "evio_echo", "evio_http", "evio_redis"]

LARGEST = 1 << 17
"""Bytes of a message."""

MOST_DESCRIPTORS = 64


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
