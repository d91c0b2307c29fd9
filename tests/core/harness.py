"""A server in a thread, its events on record, and clients for it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import select
import shutil
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evio_core import Conn, Events, HandlerFactory, Server, ServerThread, start

TIMEOUT = 20.0
"""Seconds that anything may take before a test fails instead of hanging."""


@dataclass
class Running:
    """A server that runs in a thread of its own."""

    server: ServerThread

    @property
    def addr(self) -> Any:
        return self.server.addrs[0]

    def join(self) -> None:
        """Wait until ``serve`` has returned; raise what it raised."""
        self.server.join(TIMEOUT)


@contextlib.contextmanager
def running(
    events: Events | Mapping[str, HandlerFactory], *addresses: str, stop_timeout: float = 5.0
) -> Iterator[Running]:
    """Serve in a thread until the block ends, which a test that fails has to reach. What ``serve`` raises is raised
    here."""
    server = start(events, *addresses)
    try:
        yield Running(server)
    finally:
        if server.is_running:
            server.stop(stop_timeout)
        server.join(TIMEOUT)


class Recorder:
    """Callbacks that put what happens on record, in order, for any thread to wait for."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self.events: list[tuple[Any, ...]] = []

    def add(self, *event: Any) -> None:
        with self._lock:
            self.events.append(event)
            self._lock.notify_all()

    def wait(self, condition: Callable[[list[tuple[Any, ...]]], bool], what: str = "events") -> list[tuple[Any, ...]]:
        """Wait until the record satisfies the condition; returns a copy of it."""
        with self._lock:
            if not self._lock.wait_for(lambda: condition(self.events), TIMEOUT):
                raise AssertionError(f"waited in vain for {what}; so far: {self.events[-20:]}")
            return list(self.events)

    def wait_for(self, name: str, count: int = 1) -> list[tuple[Any, ...]]:
        """Wait until ``name`` was recorded ``count`` times; returns those records."""

        def there(events: list[tuple[Any, ...]]) -> bool:
            return [event[0] for event in events].count(name) >= count

        return [event for event in self.wait(there, f"{count} times {name}") if event[0] == name]

    def names(self) -> list[str]:
        with self._lock:
            return [event[0] for event in self.events]


def needs(program: str) -> str:
    """The path of a program. The test is skipped where it is not installed, or fails with ``EVIO_REQUIRE_TOOLS=1``."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


class Clock:
    """The clock of the servers in this process: a real one, until a test puts it forward.

    Time-outs that are a minute long do not pass by themselves however slow the machine is, and pass at once when they
    are to. Not with uvloop, whose clock is its own: such a test is skipped.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        if not asyncio.new_event_loop.__module__.startswith("asyncio"):
            pytest.skip("this loop's clock cannot be put forward")
        self._ahead = 0.0
        # Else a test that is the first to use these would have them import the real one.
        for late in ("datagram", "listener", "loop"):
            importlib.import_module(f"evio_core.fallback.{late}")
        for name, module in list(sys.modules.items()):
            if name.startswith("evio_") and vars(module).get("monotonic") is time.monotonic:
                patch.setattr(module, "monotonic", self.now)
        patch.setattr(asyncio.base_events.BaseEventLoop, "time", lambda loop: self.now())

    def now(self) -> float:
        """Seconds, as of ``time.monotonic``."""
        return time.monotonic() + self._ahead

    def forward(self, seconds: float, *conns: Conn, server: Server | None = None) -> None:
        """Put the clock forward and have the loops of these connections, and the server's first one, look at it. That
        one has ended the turn that was under way."""
        if server is not None:
            ended = threading.Event()
            server.call(ended.set)
            assert ended.wait(TIMEOUT)
        self._ahead += seconds
        for conn in conns:
            conn.wake()
        if server is not None:
            server.call(lambda: None)


def status(main: Callable[[list[str]], int], arguments: list[str]) -> int:
    """The exit status of a command line's ``main``, be it returned or raised as ``SystemExit``."""
    try:
        return main(arguments)
    except SystemExit as ended:
        assert isinstance(ended.code, int), ended.code
        return ended.code


def connect(addr: Any, trust: str | None = None) -> socket.socket:
    """A client of a bound address; over TLS when given a certificate authority to trust."""
    sock: socket.socket
    if isinstance(addr, tuple):
        sock = socket.create_connection(addr[:2], timeout=TIMEOUT)
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(TIMEOUT)
        sock.connect(addr)
    if trust is None:
        return sock
    context = ssl.create_default_context(cafile=trust)
    return context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)


def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly ``size`` bytes, or fewer if the peer ends."""
    parts = []
    while size:
        part = sock.recv(min(size, 1 << 20))
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive_all(sock: socket.socket) -> bytes:
    """Everything until the peer ends."""
    return receive(sock, 1 << 40)


def exchange(sock: socket.socket, message: bytes | memoryview, size: int) -> bytes:
    """Send and receive ``size`` bytes, or fewer if the peer ends, at the same time. In one thread, as a TLS session can
    be used by no more, and so that a message may be larger than all buffers on its way."""
    left = memoryview(message)
    received = bytearray()
    sock.setblocking(False)
    try:
        while left or len(received) < size:
            moved = 0
            with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                moved = sock.send(left[:65536]) if left else 0
                left = left[moved:]
            with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                part = sock.recv(min(size - len(received), 1 << 18)) if len(received) < size else b""
                if not part and len(received) < size:
                    break
                received += part
                moved += len(part)
            if not moved:
                wait_for(sock, select.POLLIN | (select.POLLOUT if left else 0))
    finally:
        sock.settimeout(TIMEOUT)
    return bytes(received)


def wait_for(sock: socket.socket, mask: int, seconds: float = TIMEOUT) -> None:
    """Wait until the socket is ready for one of ``mask``. Raises ``TimeoutError``."""
    poll = select.poll()
    poll.register(sock, mask)
    if not poll.poll(seconds * 1000):
        raise TimeoutError(f"the socket is not ready in {seconds} s")


def eventually(condition: Callable[[], bool]) -> bool:
    """Look until it holds, for what another thread does without telling; False if it never does.

    Who waits for long looks less often, or some dozen tests that wait would take the processors from the others.
    """
    begin = time.monotonic()
    while not condition():
        waited = time.monotonic() - begin
        if waited > TIMEOUT:
            return False
        time.sleep(min(max(waited / 10, 0.001), 0.02))
    return True


@contextlib.contextmanager
def no_descriptors_left(server: Server) -> Iterator[None]:
    """Run short of descriptors, in the server's turn after the next: at the end of this one it may still close some."""
    import resource  # on Windows there is none

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    filled = threading.Event()

    def fill() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        filled.set()

    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 10, limits[1]))
    try:
        server.call(lambda: server.call(fill))
        assert filled.wait(TIMEOUT)
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def resident() -> int:
    """Bytes of memory that this process has, which is the server's and its clients'."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
