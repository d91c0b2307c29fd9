"""Guarantees 1 and 2: the order of events and of output."""

from __future__ import annotations

from evio_core import Conn, Events

from .conftest import Variant
from .harness import Recorder, connect, receive, running


def test_echo_and_order_of_events(variant: Variant) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> bytes:
        record.add("data", chunk)
        return chunk

    events = Events(
        opened=lambda conn: record.add("opened"),
        data=data,
        closed=lambda conn, error: record.add("closed", error),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run:
        with connect(run.addr, variant.trust) as client:
            client.sendall(b"hello")
            assert receive(client, 5) == b"hello"
            if variant.transport == "tls":
                client.unwrap()  # type: ignore[attr-defined]
        record.wait_for("closed")
    assert record.events == [("opened",), ("data", b"hello"), ("closed", None)]
