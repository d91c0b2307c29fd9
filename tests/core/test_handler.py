"""Handlers: an instance for each connection, a class for each address and each dial."""

from __future__ import annotations

import contextlib
import gc
import logging
import socket
import weakref
from typing import Any

import pytest

from evio_core import Action, Conn, Events, Handler, Middleware, Options, Reply, ServerStopped
from tests.ports import free_port

from .conftest import Variant
from .harness import TIMEOUT, Recorder, connect, exchange, receive, receive_all, running


class Recorded(Handler):
    """Puts its events on record."""

    def __init__(self, record: Recorder, name: str = "it") -> None:
        self.record = record
        self.name = name

    def add(self, event: str, *values: Any) -> None:
        self.record.add(event, self.name, *values)

    def opened(self) -> Reply:
        self.add("opened", self.conn.addr_index)
        return b"hello "

    def data(self, chunk: bytes) -> Reply:
        self.add("data", chunk)
        if chunk == b"wake":
            self.conn.wake()
        if chunk == b"detach":
            return b"detached ", Action.DETACH
        if chunk == b"fail":
            raise ZeroDivisionError
        return chunk

    def woken(self) -> Reply:
        self.add("woken")
        return b" woken"

    def eof(self) -> Reply:
        self.add("eof")
        return b" end", Action.CLOSE

    def detached(self, sock: socket.socket) -> None:
        self.add("detached")
        sock.sendall(b"yours")
        sock.close()

    def closed(self, error: BaseException | None) -> None:
        self.add("closed", error)


def serving(variant: Variant, factory: Any, **settings: Any) -> Events:
    return Events(handlers={variant.address: factory}, num_loops=variant.num_loops, **settings)


def test_every_event_reaches_the_handler(variant: Variant) -> None:
    record = Recorder()
    with running(serving(variant, lambda: Recorded(record))) as run:
        with connect(run.addr, variant.trust) as peer:
            assert receive(peer, 6) == b"hello "
            assert exchange(peer, b"wake", 10) == b"wake woken"
            if variant.transport != "tls":
                peer.shutdown(socket.SHUT_WR)
                assert receive_all(peer) == b" end"
        record.wait_for("closed")
        with connect(run.addr, variant.trust) as peer:
            assert receive(peer, 6) == b"hello "
            peer.sendall(b"detach")
            assert receive_all(peer) == b"detached yours"
    names = [event[0] for event in record.events]
    ending = ["eof"] if variant.transport != "tls" else []
    assert names == ["opened", "data", "woken", *ending, "closed", "opened", "data", "detached"]


def test_each_connection_has_a_handler_of_its_own(variant: Variant) -> None:
    class Counter(Handler):
        def __init__(self) -> None:
            self.bytes = 0

        def data(self, chunk: bytes) -> bytes:
            self.bytes += len(chunk)
            return b"%d" % self.bytes

    with running(serving(variant, Counter)) as run:
        with connect(run.addr, variant.trust) as one, connect(run.addr, variant.trust) as other:
            assert exchange(one, b"123", 1) == b"3"
            assert exchange(other, b"1", 1) == b"1"
            assert exchange(one, b"456", 1) == b"6"


def test_a_mapping_is_served_and_each_address_has_its_class() -> None:
    class Upper(Handler):
        def data(self, chunk: bytes) -> bytes:
            return chunk.upper()

    class Reverse(Handler):
        def data(self, chunk: bytes) -> bytes:
            return chunk[::-1]

    with running({"tcp://127.0.0.1:0": Upper, "tcp://localhost:0": Reverse}) as run:
        with connect(run.server.addrs[0]) as one, connect(run.server.addrs[1]) as other:
            assert exchange(one, b"abc", 3) == b"ABC"
            assert exchange(other, b"abc", 3) == b"cba"


def test_callbacks_and_handlers_serve_beside_each_other(poller: str) -> None:
    record = Recorder()
    events = Events(
        data=lambda conn, chunk: b"%d" % conn.addr_index, handlers={"tcp://127.0.0.1:0": lambda: Recorded(record)}
    )
    with running(events, "tcp://127.0.0.1:0") as run:
        with connect(run.server.addrs[0]) as one, connect(run.server.addrs[1]) as other:
            assert exchange(one, b"x", 1) == b"0"
            assert exchange(other, b"abc", 9) == b"hello abc"
    assert record.wait_for("opened") == [("opened", "it", 1)]


def test_what_a_class_leaves_out_is_done_as_without_a_callback(variant: Variant) -> None:
    class Nothing(Handler):
        pass

    with running(serving(variant, Nothing)) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"ignored")
        if variant.transport == "tls":
            peer.unwrap()  # type: ignore[attr-defined]
        else:
            peer.shutdown(socket.SHUT_WR)
            assert receive_all(peer) == b""


def test_drained_is_called_only_where_it_is_overridden(variant: Variant) -> None:
    class Stream(Handler):
        def __init__(self) -> None:
            self.left = 5

        def opened(self) -> bytes:
            return b"5"

        def drained(self) -> Reply:
            self.left -= 1
            return b"%d" % self.left if self.left else Action.CLOSE

    with running(serving(variant, Stream)) as run, connect(run.addr, variant.trust) as peer:
        assert receive_all(peer) == b"54321"


def test_a_failing_handler_ends_its_own_connection(variant: Variant, caplog: pytest.LogCaptureFixture) -> None:
    record = Recorder()
    with running(serving(variant, lambda: Recorded(record))) as run:
        with connect(run.addr, variant.trust) as bad, connect(run.addr, variant.trust) as good:
            assert receive(good, 6) == b"hello "
            bad.sendall(b"fail")
            error = record.wait_for("closed")[0][2]
            assert isinstance(error, ZeroDivisionError)
            assert exchange(good, b"x", 1) == b"x"
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("fault", ["raises", "returns None"])
def test_a_factory_that_makes_no_handler_ends_the_connection(
    variant: Variant, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    def factory() -> Any:
        if fault == "raises":
            raise LookupError("no configuration")

    with caplog.at_level(logging.INFO), running(serving(variant, factory)) as run:
        with contextlib.suppress(OSError), connect(run.addr, variant.trust) as peer:
            assert receive_all(peer) == b""
    assert ("no configuration" if fault == "raises" else "a Handler, not None") in caplog.text
    assert run.server.stats().total.connections == 0


def test_memory_is_not_held_by_a_connection_that_is_gone(variant: Variant) -> None:
    kept: list[weakref.ref[Any]] = []
    record = Recorder()

    class Weak(Recorded):
        def opened(self) -> Reply:
            kept.append(weakref.ref(self))
            return super().opened()

    gc.collect()
    gc.disable()
    try:
        with running(serving(variant, lambda: Weak(record))) as run:
            with connect(run.addr, variant.trust) as peer:
                assert receive(peer, 6) == b"hello "
            record.wait_for("closed")
        if variant.poller != "asyncio":  # whose transports and protocols refer to each other
            assert kept[0]() is None
    finally:
        gc.enable()


# -- dialling


def test_each_dial_has_its_handler(variant: Variant) -> None:
    """A proxy of two classes, without ``context`` and ``addr_index``."""
    record = Recorder()
    dial: Any = None
    target = ""

    class Upstream(Handler):
        def __init__(self, client: Client) -> None:
            self.client = client

        def opened(self) -> None:
            record.add("opened", self.conn.addr_index)

        def data(self, chunk: bytes) -> None:
            self.client.conn.write(chunk)

        def closed(self, error: BaseException | None) -> None:
            self.client.conn.close()

    class Client(Handler):
        def opened(self) -> None:
            self.upstream = Upstream(self)
            conn = dial(target, handler=self.upstream)
            assert self.upstream.conn is conn

        def data(self, chunk: bytes) -> None:
            self.upstream.conn.write(chunk)

        def closed(self, error: BaseException | None) -> None:
            self.upstream.conn.close()

    class Echo(Handler):
        def data(self, chunk: bytes) -> bytes:
            return chunk

    def started(server: Any) -> None:
        nonlocal dial, target
        dial = server.dial
        host, port = server.addrs[1][:2]
        target = f"tcp://{host}:{port}"

    events = serving(variant, Client, serving=started)
    events.handlers = {**events.handlers, "tcp://localhost:0": Echo}
    with running(events) as run, connect(run.addr, variant.trust) as peer:
        assert exchange(peer, b"through two classes", 19) == b"through two classes"
    assert record.names() == ["opened"]
    assert record.events[0][1] == -1


def test_a_dialled_connection_that_fails_tells_its_handler(poller: str) -> None:
    record = Recorder()
    target = f"tcp://127.0.0.1:{free_port()}"
    events = Events(closed=lambda conn, error: record.add("wrong"))
    with running(events, "tcp://127.0.0.1:0") as run:
        conn = run.server.dial(target, handler=Recorded(record))
        assert conn.addr_index == -1
        _, _, error = record.wait_for("closed")[0]
    assert isinstance(error, ConnectionRefusedError)
    assert record.names() == ["closed"]


def test_a_handler_dials_again_when_its_connection_has_ended(poller: str) -> None:
    record = Recorder()

    class Client(Handler):
        def opened(self) -> bytes:
            record.add("opened", self.conn)
            return b"x"

        def closed(self, error: BaseException | None) -> None:
            if len(record.names()) < 3:
                run.server.dial(target, handler=self)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        target = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with running(Events(), "tcp://127.0.0.1:0") as run:
            run.server.dial(target, handler=Client())
            for _ in range(3):
                accepted, _address = listener.accept()
                with accepted:
                    assert receive(accepted, 1) == b"x"
            conns = {event[1] for event in record.wait_for("opened", 3)}
    assert len(conns) == 3


# -- datagrams


def test_a_datagram_has_a_handler_of_its_own(poller: str) -> None:
    class Count(Handler):
        def __init__(self) -> None:
            self.seen = 0

        def data(self, chunk: bytes) -> bytes:
            self.seen += 1
            self.conn.wake()
            return chunk * self.seen

        def woken(self) -> bytes:
            return b"woken %d" % self.seen

    with running({"udp://127.0.0.1:0": Count}) as run:
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.settimeout(TIMEOUT)
            for _ in range(2):
                peer.sendto(b"x", run.addr)
                assert {peer.recv(100), peer.recv(100)} == {b"x", b"woken 1"}


# -- middleware


class Traced(Middleware):
    def __init__(self, inner: Handler, record: Recorder, name: str) -> None:
        super().__init__(inner)
        self.record = record
        self.name = name

    def opened(self) -> Reply:
        self.record.add("opened", self.name)
        return super().opened()

    def data(self, chunk: bytes) -> Reply:
        self.record.add("data", self.name, chunk)
        return super().data(chunk)


def test_middlewares_see_events_first_and_pass_on_the_rest(variant: Variant) -> None:
    record = Recorder()
    inner = Traced.around(lambda: Recorded(record, "inner"), record, "near")
    with running(serving(variant, Traced.around(inner, record, "far"))) as run:
        with connect(run.addr, variant.trust) as peer:
            assert exchange(peer, b"wake", 16) == b"hello wake woken"
        record.wait_for("closed")
    assert record.events[:7] == [
        ("opened", "far"),
        ("opened", "near"),
        ("opened", "inner", 0),
        ("data", "far", b"wake"),
        ("data", "near", b"wake"),
        ("data", "inner", b"wake"),
        ("woken", "inner"),
    ]


def test_a_middleware_may_keep_an_event_and_answer_itself(variant: Variant) -> None:
    class Limit(Middleware):
        def data(self, chunk: bytes) -> Reply:
            if len(chunk) > 3:
                return b"too long", Action.CLOSE
            return super().data(chunk)

    record = Recorder()
    with running(serving(variant, Limit.around(lambda: Recorded(record)))) as run:
        with connect(run.addr, variant.trust) as peer:
            assert exchange(peer, b"abc", 9) == b"hello abc"
            peer.sendall(b"abcd")
            assert receive_all(peer) == b"too long"
    assert [event[2] for event in record.events if event[0] == "data"] == [b"abc"]


def test_drained_of_the_inner_handler_is_called_through_a_middleware(variant: Variant) -> None:
    class Stream(Handler):
        def opened(self) -> bytes:
            return b"first"

        def drained(self) -> Reply:
            return b"", Action.CLOSE

    assert not Middleware(Recorded(Recorder())).has_drained()
    with running(serving(variant, Middleware.around(Stream))) as run, connect(run.addr, variant.trust) as peer:
        assert receive_all(peer) == b"first"


# -- what is refused


@pytest.mark.parametrize(
    ("served", "text"),
    [
        ({"tcp://127.0.0.1:0": "Echo"}, "tcp://127.0.0.1:0: a Handler is made by a class or a function, not by 'Echo'"),
        ([Handler], "Events, or handlers by address, are served, not"),
    ],
)
def test_nonsense_is_refused_at_once(served: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        with running(served):
            pass


def test_with_pre_write_output_waits_for_it(poller: str) -> None:
    record = Recorder()

    class Echo(Handler):
        def data(self, chunk: bytes) -> bytes:
            record.add("data")
            return chunk

    with running(Events(handlers={"tcp://127.0.0.1:0": Echo}, pre_write=lambda: record.add("write"))) as run:
        with connect(run.addr) as peer:
            assert exchange(peer, b"x", 1) == b"x"
    assert record.names()[:2] == ["data", "write"]


def test_reuse_input_buffer_gives_views(poller: str) -> None:
    class Kind(Handler):
        def data(self, chunk: memoryview) -> bytes:
            return type(chunk).__name__.encode()

    events = Events(handlers={"tcp://127.0.0.1:0": Kind}, options=Options(reuse_input_buffer=True))
    with running(events) as run, connect(run.addr) as peer:
        assert exchange(peer, b"x", 10) == b"memoryview"


def test_handlers_of_a_mixed_server_never_run_at_the_same_time() -> None:
    """A native and a simulated loop share a number, each in its thread."""
    busy: list[Conn] = []
    overlaps: list[Conn] = []

    class Careful(Handler):
        def data(self, chunk: bytes) -> bytes:
            busy.append(self.conn)
            for _ in range(200):
                if len(busy) > 1:
                    overlaps.append(self.conn)
            busy.remove(self.conn)
            return chunk

    with running({"tcp://127.0.0.1:0": Careful, "tcp-net://127.0.0.1:0": Careful}) as run:
        peers = [connect(addr) for addr in run.server.addrs]
        for _ in range(200):
            for peer in peers:
                peer.sendall(b"x")
            for peer in peers:
                assert receive(peer, 1) == b"x"
        for peer in peers:
            peer.close()
    assert not overlaps


def test_the_server_stops_with_handlers_open(variant: Variant) -> None:
    record = Recorder()
    with running(serving(variant, lambda: Recorded(record))) as run:
        peer = connect(run.addr, variant.trust)
        assert receive(peer, 6) == b"hello "
        run.server.stop()
        assert receive_all(peer) == b""
        peer.close()
        run.join()
        with pytest.raises(ServerStopped):
            run.server.dial("tcp://127.0.0.1:1", handler=Recorded(record))
    assert record.names() == ["opened", "closed"]
