"""A value of the largest sizes comes and goes without the server holding it many times over."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .wire import Wire

SIZE = 64 << 20
TIMES = 2.3
"""Copies of a value that may be held at the worst moment: as it is stored, and as it arrives, leaves or is changed."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak")


class Peak:
    """The most memory that a process has held, in bytes, since it was started or was asked for the last time."""

    def __init__(self, pid: int) -> None:
        self._path = Path("/proc") / str(pid)
        self.base = self.take()

    def take(self) -> int:
        for line in (self._path / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                (self._path / "clear_refs").write_text("5")
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")


@pytest.fixture
def process() -> Iterator[tuple[Wire, Peak]]:
    """A server of its own, and its peak."""
    command = [sys.executable, "-m", "evio_redis", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            while "Ready to accept connections" not in (line := server.stdout.readline()):
                assert line
            with Wire(int(line.rsplit(":", 1)[1])) as wire:
                yield wire, Peak(server.pid)
        finally:
            server.kill()


def receive(wire: Wire, size: int) -> None:
    """Read a string without keeping it."""
    assert wire.line() == b"$%d\r\n" % size
    wire.skip(size + 2)


@pytest.mark.timeout(120)
def test_it_is_held_twice_at_most(process: tuple[Wire, Peak]) -> None:
    wire, peak = process
    large = bytes(range(256)) * (SIZE >> 8)

    def held() -> float:
        assert wire.ask("PING") == b"+PONG\r\n"  # a reply may be here before the server has let go of it
        return (peak.take() - peak.base) / SIZE

    def ask(*args: bytes, reply: bytes = b"") -> None:
        assert wire.ask(list(args)).startswith(reply)
        assert held() <= TIMES + (args[0] == b"BITOP"), args[0]  # which makes another value

    ask(b"SET", b"k", large, reply=b"+OK")
    for _ in range(2):
        wire.send("GET k")
        receive(wire, SIZE)
        assert held() <= TIMES
    ask(b"SET", b"k", large, reply=b"+OK")
    for args in (
        [b"SETRANGE", b"k", b"7", b"x"],
        [b"SETBIT", b"k", b"9", b"0"],
        [b"BITCOUNT", b"k"],
        [b"BITPOS", b"k", b"0", b"100"],
        [b"BITOP", b"NOT", b"other", b"k"],
        [b"DEL", b"other"],
        [b"APPEND", b"k", b"x"],
        [b"DEL", b"k"],
        [b"SETRANGE", b"k", b"%d" % (SIZE - 1), b"x"],
        [b"DEL", b"k"],
        [b"APPEND", b"k", large],
    ):
        ask(*args, reply=b":")
    wire.send("GETRANGE k 0 -1")
    receive(wire, SIZE)
    assert held() <= TIMES
    wire.send("MULTI")
    wire.send("GET k")
    wire.send("EXEC")
    assert (wire.line(), wire.line(), wire.line()) == (b"+OK\r\n", b"+QUEUED\r\n", b"*1\r\n")
    receive(wire, SIZE)
    assert held() <= 1 + TIMES  # the reply is one of several
    wire.send("DEL k", ["SET", "k", large], "GET k", "PING")
    assert (wire.line(), wire.line()) == (b":1\r\n", b"+OK\r\n")
    receive(wire, SIZE)
    assert wire.reply() == b"+PONG\r\n"
    assert held() <= TIMES
