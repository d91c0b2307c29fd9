"""SIGKILL under load: what was acknowledged is there after the restart, whole and in order.

``EVIO_CRASHES=100 pytest tests/redis/test_crash.py`` for more rounds than the usual.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path

import pytest

from tests.extent import FULL, examples

from .test_persistence import process
from .wire import Wire

CRASHES = int(os.environ.get("EVIO_CRASHES", examples(9)))
CLIENTS = 4
BATCH = 8

pytestmark = pytest.mark.timeout(60 + 10 * CRASHES)


class Writer(threading.Thread):
    """A client that counts and lists in batches until its server is gone; ``done`` is what was acknowledged."""

    def __init__(self, port: int, name: str, done: int) -> None:
        super().__init__()
        self.name, self.done = name, done
        self._wire = Wire(port)

    def run(self) -> None:
        commands = (
            *(f"INCR n:{self.name}", f"XADD s:{self.name} * f v", f"RPUSH l:{self.name} x"),
            *("MULTI", f"HINCRBY h {self.name} 1", "EXEC"),
        )
        try:
            while True:
                self._wire.send(*commands * BATCH)
                for _ in range(BATCH):
                    assert self._wire.reply().startswith(b":")
                    assert self._wire.reply().startswith(b"$")
                    assert self._wire.reply().startswith(b":")
                    assert self._wire.reply() == b"+OK\r\n"
                    assert self._wire.reply() == b"+QUEUED\r\n"
                    assert self._wire.reply().startswith(b"*1\r\n:")
                    self.done += 1
        except (OSError, AssertionError) as error:
            if isinstance(error, AssertionError) and not str(error).startswith("closed after"):
                raise
        finally:
            self._wire.close()


def found(wire: Wire, name: str) -> int:
    """Return how far a client had come by what the server has. What it sent as one is there as one, or not at all; what
    it sent in order is there in order."""
    counted = int(wire.ask(f"INCR n:{name}")[1:-2]) - 1
    streamed = int(wire.ask(f"XLEN s:{name}")[1:-2])
    listed = int(wire.ask(f"LLEN l:{name}")[1:-2])
    hashed = wire.ask(f"HGET h {name}")
    in_hash = 0 if hashed == b"$-1\r\n" else int(hashed.split(b"\r\n")[1])
    wire.ask(f"DECR n:{name}")
    assert counted - 1 <= streamed <= counted
    assert streamed - 1 <= listed <= streamed
    assert listed - 1 <= in_hash <= listed
    # The next round begins with all four equal.
    wire.ask(f"XTRIM s:{name} MAXLEN {in_hash}")
    wire.ask(["SET", f"n:{name}", str(in_hash)])
    wire.ask(f"LTRIM l:{name} 0 {in_hash - 1}") if in_hash else wire.ask(f"DEL l:{name}")
    return in_hash


@pytest.mark.parametrize(("policy", "loops"), [("always", 2), *([("always", 1), ("everysec", 1)] if FULL else [])])
def test_no_acknowledged_write_is_missing_after_a_kill(tmp_path: Path, policy: str, loops: int) -> None:
    # The process dies and the machine lives on: with everysec too, what was written is with the kernel.
    choose = random.Random(7)
    acknowledged = [0] * CLIENTS
    for turn in range(CRASHES + 1):
        with process(tmp_path, "--appendfsync", policy, "--loops", str(loops)) as (server, port):
            with Wire(port) as wire:
                after = [found(wire, str(name)) for name in range(CLIENTS)]
                assert all(there >= done for there, done in zip(after, acknowledged, strict=True)), (
                    after,
                    acknowledged,
                )
                writers = [Writer(port, str(name), done) for name, done in enumerate(after)]
                for writer in writers:
                    writer.start()
                if turn % 3:  # the kill meets the child at its work, or the switch of the files
                    wire.ask("BGREWRITEAOF" if turn % 3 == 1 else "BGSAVE")
                threading.Event().wait(choose.uniform(0.0, 0.15))
                server.send_signal(signal.SIGKILL)
                for writer in writers:
                    writer.join()
                acknowledged = [writer.done for writer in writers]
    assert min(acknowledged) > 0
