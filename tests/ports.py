"""Ports at which nobody listens, and for servers that have to be told one: real servers, and those whose configuration
names it before they run."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket

__all__ = ["free_port", "free_ports"]

_EACH = 1000
_SLICES = 20
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_FIRST = 11_000 + _EACH * (_WORKER % _SLICES)
_NEXT = itertools.count(os.getpid())


def free_ports(count: int) -> range:
    """Return ports in a row that nobody has on 127.0.0.1.

    They lie below those that the system chooses from (``ip_local_port_range`` of Linux), so nobody gets one of them by
    chance before it is used; every process of a run has its own thousand, and gives one away again after all others.
    """
    for _ in range(_EACH):
        offset = next(_NEXT) % (_EACH - count + 1)
        ports = range(_FIRST + offset, _FIRST + offset + count)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in ports:
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            for _ in range(count - 1):
                next(_NEXT)
            return ports
    raise AssertionError(f"there are no {count} free ports from {_FIRST} on")


def free_port() -> int:
    return free_ports(1)[0]
