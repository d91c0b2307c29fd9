"""``Conn.wake_when_drained``: told once that the output has left, without a ``drained`` callback."""

from __future__ import annotations

import os

from evio_core import Action, Conn, Events

from .conftest import Variant
from .harness import Recorder, connect, receive_all, running

BIG = os.urandom(8 << 20)


def test_the_wake_comes_when_a_slow_peer_has_taken_everything(variant: Variant) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> object:
        record.add("data", chunk, conn.pending)
        conn.write(BIG)
        conn.wake_when_drained()
        conn.wake_when_drained()
        return None

    def woken(conn: Conn) -> tuple[bytes, Action]:
        record.add("woken", conn.pending)
        return b"end", Action.CLOSE

    events = Events(data=data, woken=woken, num_loops=variant.num_loops)  # type: ignore[arg-type]
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        record.wait_for("data")
        assert receive_all(peer) == BIG + b"end"
    assert record.events == [("data", b"x", 0), ("woken", 0)]


def test_with_nothing_pending_it_is_a_wake(variant: Variant) -> None:
    def data(conn: Conn, chunk: bytes) -> object:
        conn.wake_when_drained()
        return None

    def woken(conn: Conn) -> tuple[bytes, Action]:
        return b"woken", Action.CLOSE

    events = Events(data=data, woken=woken, num_loops=variant.num_loops)  # type: ignore[arg-type]
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        assert receive_all(peer) == b"woken"
