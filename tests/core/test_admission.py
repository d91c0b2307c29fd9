"""Limits of open connections, in all and from one address."""

from __future__ import annotations

import socket
import threading

import pytest

from evio_core import Conn, Events, Handler, Options

from .conftest import Variant
from .harness import Recorder, connect, eventually, exchange, receive_all, running


class Echo(Handler):
    def data(self, chunk: bytes) -> bytes:
        return chunk


def test_one_too_many_is_told_and_closed_without_an_event(variant: Variant) -> None:
    record = Recorder()
    events = Events(
        opened=lambda conn: record.add("opened"),
        data=lambda conn, chunk: chunk,
        closed=lambda conn, error: record.add("closed"),
        num_loops=variant.num_loops,
        options=Options(max_connections=2, refusal=b"busy"),
    )
    with running(events, variant.address) as run:
        with connect(run.addr, variant.trust) as one:
            assert exchange(one, b"x", 1) == b"x"
            with connect(run.addr, variant.trust) as two:
                assert exchange(two, b"x", 1) == b"x"
                for _ in range(3):
                    with connect(run.addr, variant.trust) as more:
                        assert receive_all(more) == b"busy"
            record.wait_for("closed")
            with connect(run.addr, variant.trust) as again:
                assert exchange(again, b"x", 1) == b"x"
            record.wait_for("closed", 2)
        record.wait_for("closed", 3)
        assert eventually(lambda: run.server.stats().total.connections == 0)
        assert run.server.stats().total.refused == 3
        assert run.server.stats().total.accepted == 6
    assert record.names().count("opened") == 3


def test_addresses_are_counted_by_themselves(poller: str) -> None:
    events = Events(
        handlers={"tcp://127.0.0.1:0": Echo, "tcp://[::1]:0": Echo},
        options=Options(max_connections_per_address=1, refusal=b"one each"),
    )
    with running(events) as run:
        four, six = run.server.addrs
        with connect(four) as one, connect(six) as other:
            assert exchange(one, b"x", 1) == b"x"
            assert exchange(other, b"x", 1) == b"x"
            for addr in (four, six):
                with connect(addr) as more:
                    assert receive_all(more) == b"one each"
            with socket.create_connection(four, source_address=("127.0.0.2", 0)) as elsewhere:
                assert exchange(elsewhere, b"x", 1) == b"x"


def test_the_address_is_that_of_the_proxy_header(poller: str) -> None:
    options = Options(max_connections_per_address=1, refusal=b"no")
    events = Events(handlers={"tcp://127.0.0.1:0?proxy_protocol=true": Echo}, options=options)
    head = b"PROXY TCP4 192.0.2.%d 192.0.2.100 1 2\r\n"
    with running(events) as run, connect(run.addr) as one, connect(run.addr) as two, connect(run.addr) as three:
        assert exchange(one, head % 1 + b"x", 1) == b"x"
        assert exchange(two, head % 2 + b"x", 1) == b"x"
        three.sendall(head % 1)
        assert receive_all(three) == b"no"


def test_dialled_connections_do_not_count(poller: str) -> None:
    options = Options(max_connections=1, refusal=b"no")
    with running(Events(handlers={"tcp://127.0.0.1:0": Echo}, options=options)) as run:
        record = Recorder()

        class Client(Handler):
            def opened(self) -> bytes:
                return b"x"

            def data(self, chunk: bytes) -> None:
                record.add("data", chunk)

        host, port = run.addr[:2]
        run.server.dial(f"tcp://{host}:{port}", handler=Client())
        assert record.wait_for("data") == [("data", b"x")]


def test_many_threads_and_loops_never_let_one_too_many_in(poller: str) -> None:
    most = [0, 0]
    lock = threading.Lock()

    def count(by: int) -> None:
        with lock:
            most[0] += by
            most[1] = max(most)

    def opened(conn: Conn) -> None:
        count(1)

    def closed(conn: Conn, error: BaseException | None) -> None:
        count(-1)

    events = Events(opened=opened, closed=closed, num_loops=3, options=Options(max_connections=5))
    with running(events, "tcp://127.0.0.1:0") as run:
        peers = [connect(run.addr) for _ in range(50)]
        assert eventually(lambda: run.server.stats().total.refused == 45)
        for peer in peers:
            peer.close()
    assert most == [0, 5]


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"max_connections": -1}, ValueError), ({"refusal": "busy"}, TypeError), ({"max_connections": "5"}, TypeError)],
)
def test_nonsense_is_refused(options: dict[str, object], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        Options(**options)  # type: ignore[arg-type]
