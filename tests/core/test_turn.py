"""``Conn.turn``: equal for what one look at the connections found ready, and for nothing else."""

from __future__ import annotations

import threading

from evio_core import Conn, Events

from .conftest import Variant
from .harness import TIMEOUT, Recorder, connect, running


def test_turns_are_of_one_look_and_of_one_loop(variant: Variant) -> None:
    record = Recorder()
    held, release = threading.Event(), threading.Event()

    def data(conn: Conn, chunk: bytes) -> None:
        if chunk == b"hold":
            held.set()
            assert release.wait(TIMEOUT)
        record.add("turn", conn.loop_index, conn.turn, chunk)

    events = Events(data=data, num_loops=variant.num_loops)
    with running(events, variant.address) as run:
        with connect(run.addr, variant.trust) as first, connect(run.addr, variant.trust) as second:
            for number in range(1, 6):
                for peer in (first, second):
                    peer.sendall(b"%d" % number)
                record.wait_for("turn", 2 * number)
            first.sendall(b"hold")
            assert held.wait(TIMEOUT)
            release.set()
            record.wait_for("turn", 11)
    seen = [(loop, turn) for _, loop, turn, _ in record.events]
    # A peer's next chunk was sent after its last was handled: never the same turn, and never the same on two loops.
    for _, loop, turn, chunk in record.events:
        others = [each for each in record.events if each[2] == turn and each[3] != chunk]
        assert not others, (loop, turn, seen)
    assert all(a[0] == b[0] for a in seen for b in seen if a[1] == b[1])
