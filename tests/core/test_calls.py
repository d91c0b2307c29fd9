"""Timers of programs, and descriptors of their own."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from evio_core import Action, Conn, Events, Handler, Reply, Server

from .conftest import Variant
from .harness import TIMEOUT, Clock, Recorder, connect, eventually, exchange, receive, receive_all, running

MINUTE = 60.0


def on_loop(server: Server, function: Callable[[], Any]) -> Any:
    """Call ``function`` on loop 0; returns its result or raises what it raises."""
    done = threading.Event()
    result: list[Any] = []

    def call() -> None:
        try:
            result.append(function())
        except Exception as error:
            result.append(error)
        done.set()

    server.call(call)
    assert done.wait(TIMEOUT)
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


# -- server.call_soon


def test_what_is_called_soon_comes_at_the_end_of_the_turn(poller: str) -> None:
    def data(conn: Conn, chunk: bytes) -> None:
        conn.server.call_soon(lambda: conn.write(b"second"))
        conn.write(b"first ")

    with running(Events(data=data), "tcp://127.0.0.1:0") as run, connect(run.server.addrs[0]) as client:
        assert exchange(client, b"x", len(b"first second")) == b"first second"


def test_what_is_called_soon_may_come_from_another_thread(poller: str) -> None:
    with running(Events(), "tcp://127.0.0.1:0") as run:
        called = threading.Event()
        run.server.call_soon(called.set)
        assert called.wait(TIMEOUT)


# -- server.call_later


@pytest.mark.parametrize("where", ["serving", "loop", "thread"])
def test_a_function_is_called_at_its_time(poller: str, where: str) -> None:
    record = Recorder()

    def later(server: Server) -> None:
        record.add("set", time.monotonic())
        server.call_later(0.02, record.add, "second", 2)
        server.call_later(0.0, record.add, "first", 1)

    events = Events(serving=later if where == "serving" else None)
    with running(events, "tcp://127.0.0.1:0") as run:
        if where == "loop":
            on_loop(run.server, lambda: later(run.server))
        elif where == "thread":
            later(run.server)
        record.wait_for("second")
        assert time.monotonic() - record.wait_for("set")[0][1] >= 0.02
    assert [event for event in record.events if event[0] != "set"] == [("first", 1), ("second", 2)]


def test_it_does_not_come_early_and_a_cancelled_one_not_at_all(clock: Clock) -> None:
    record = Recorder()
    with running(Events(), "tcp://127.0.0.1:0") as run:
        server = run.server
        server.call_later(MINUTE, record.add, "minute")
        cancelled = server.call_later(MINUTE / 2, record.add, "cancelled")
        other = server.call_later(MINUTE / 2, record.add, "cancelled on the loop")
        assert cancelled.is_pending
        cancelled.cancel()
        cancelled.cancel()
        on_loop(server, other.cancel)
        assert not cancelled.is_pending
        clock.forward(MINUTE - 1, server=server)
        on_loop(server, lambda: None)
        assert record.names() == []
        clock.forward(2, server=server)
        record.wait_for("minute")
    assert record.names() == ["minute"]


def test_one_may_set_the_next_and_a_failing_one_is_logged(poller: str, caplog: pytest.LogCaptureFixture) -> None:
    record = Recorder()

    def again(left: int) -> None:
        record.add("again", left)
        if left:
            run.server.call_later(0.001, again, left - 1)
        else:
            raise ZeroDivisionError

    with running(Events(), "tcp://127.0.0.1:0") as run:
        run.server.call_later(0, again, 3)
        record.wait_for("again", 4)
        assert on_loop(run.server, lambda: "still there") == "still there"
    assert "ZeroDivisionError" in caplog.text


def test_on_a_loop_it_belongs_to_that_loop(poller: str) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> None:
        here = threading.get_ident()
        conn.server.call_later(0.001, lambda: record.add("called", threading.get_ident() == here))

    with running(Events(data=data, num_loops=2), "tcp://127.0.0.1:0") as run:
        for _ in range(2):
            with connect(run.addr) as peer:
                peer.sendall(b"x")
        assert record.wait_for("called", 2) == [("called", True)] * 2


def test_a_server_that_stops_waits_for_no_timer(poller: str) -> None:
    record = Recorder()
    with running(Events(), "tcp://127.0.0.1:0") as run:
        handle = run.server.call_later(MINUTE, record.add, "late")
        run.server.stop()
        run.join()
        handle.cancel()
    assert record.names() == []


@pytest.mark.parametrize(("seconds", "kind"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)])
def test_no_time_is_refused(seconds: Any, kind: type[Exception]) -> None:
    with running(Events(), "tcp://127.0.0.1:0") as run:
        with pytest.raises(kind):
            run.server.call_later(seconds, print)
        run.server.call_later(float("inf"), print)


def test_thousands_of_cancelled_timers_leave_nothing(poller: str) -> None:
    with running(Events(), "tcp://127.0.0.1:0") as run:

        def many() -> None:
            for _ in range(5000):
                run.server.call_later(MINUTE, print).cancel()

        on_loop(run.server, many)
        loop = run.server._loops[0]
        assert len(loop._timers) < 1000


# -- conn.call_later


class Pinged(Handler):
    """Sends a ping until its peer has answered three."""

    def __init__(self, record: Recorder) -> None:
        self.record = record
        self.pongs = 0

    def opened(self) -> None:
        self.conn.call_later(0.001, self.ping, b"ping")

    def ping(self, word: bytes) -> Reply:
        if self.pongs == 3:
            return b"bye", Action.CLOSE
        self.conn.call_later(0.001, self.ping, b"ping")
        return word if not self.pongs else b""

    def data(self, chunk: bytes) -> None:
        self.pongs += len(chunk)

    def closed(self, error: BaseException | None) -> None:
        self.record.add("closed", error)


def test_what_the_function_returns_is_done(variant: Variant) -> None:
    record = Recorder()
    events = Events(handlers={variant.address: lambda: Pinged(record)}, num_loops=variant.num_loops)
    with running(events) as run, connect(run.addr, variant.trust) as peer:
        assert receive(peer, 4) == b"ping"
        peer.sendall(b"123")
        assert receive_all(peer).endswith(b"bye")
        assert record.wait_for("closed") == [("closed", None)]


def test_the_timers_of_a_connection_end_with_it(variant: Variant, caplog: pytest.LogCaptureFixture) -> None:
    record = Recorder()

    def opened(conn: Conn) -> bytes:
        conn.call_later(MINUTE, record.add, "late")
        conn.call_later(MINUTE, record.add, "cancelled").cancel()
        record.add("handle", conn.call_later(MINUTE, record.add, "later"))
        return b"+"

    events = Events(opened=opened, closed=lambda conn, error: record.add("closed"), num_loops=variant.num_loops)
    with running(events, variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            assert receive(peer, 1) == b"+"
        record.wait_for("closed")
        handle = record.wait_for("handle")[0][1]
        assert eventually(lambda: not handle.is_pending)
        handle.cancel()
    assert record.names() == ["handle", "closed"]


def test_one_that_fails_ends_its_connection(variant: Variant, caplog: pytest.LogCaptureFixture) -> None:
    record = Recorder()

    def fail() -> None:
        raise ZeroDivisionError

    def data(conn: Conn, chunk: bytes) -> bytes:
        conn.call_later(0.0, fail)
        return chunk

    events = Events(data=data, closed=lambda conn, error: record.add("closed", error), num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        assert exchange(peer, b"x", 1) == b"x"
        assert isinstance(record.wait_for("closed")[0][1], ZeroDivisionError)


def test_from_another_thread(poller: str) -> None:
    conns: list[Conn] = []

    def opened(conn: Conn) -> bytes:
        conns.append(conn)
        return b"+"

    with running(Events(opened=opened), "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        assert receive(peer, 1) == b"+"
        conns[0].call_later(0.001, lambda: b"later")
        assert receive(peer, 5) == b"later"


def test_a_datagrams_peer_has_timers_too(poller: str) -> None:
    def data(conn: Conn, chunk: bytes) -> bytes:
        conn.call_later(0.001, lambda: b"later")
        return b"now"

    with running(Events(data=data), "udp://127.0.0.1:0") as run:
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.settimeout(TIMEOUT)
            peer.sendto(b"x", run.addr)
            assert [peer.recv(10), peer.recv(10)] == [b"now", b"later"]


def test_so_has_a_dialled_one_until_it_ends(poller: str) -> None:
    record = Recorder()

    class Client(Handler):
        def opened(self) -> None:
            self.conn.call_later(0.001, lambda: b"later")
            record.add("handle", self.conn.call_later(MINUTE, record.add, "late"))

        def data(self, chunk: bytes) -> Action:
            record.add("data", chunk)
            return Action.CLOSE

    with running(Events(data=lambda conn, chunk: chunk), "udp://127.0.0.1:0") as run:
        host, port = run.addr[:2]
        run.server.dial(f"udp://{host}:{port}", handler=Client())
        assert record.wait_for("data") == [("data", b"later")]
        handle = record.wait_for("handle")[0][1]
        assert eventually(lambda: not handle.is_pending)


# -- server.watch


@pytest.mark.parametrize("where", ["serving", "loop", "thread"])
def test_a_pipe_is_watched_until_it_is_closed(poller: str, where: str) -> None:
    reading, writing = os.pipe()
    record = Recorder()
    watches: list[Any] = []

    def readable() -> None:
        record.add("read", os.read(reading, 100), threading.get_ident())

    def watch(server: Server) -> None:
        watches.append(server.watch(reading, readable=readable))

    def serving(server: Server) -> None:
        record.add("thread", threading.get_ident())
        if where == "serving":
            watch(server)

    try:
        with running(Events(serving=serving), "tcp://127.0.0.1:0") as run:
            if where == "loop":
                on_loop(run.server, lambda: watch(run.server))
            elif where == "thread":
                watch(run.server)
            thread = record.wait_for("thread")[0][1]
            for number in range(1, 4):
                os.write(writing, b"%d" % number)
                assert record.wait_for("read", number)[-1] == ("read", b"%d" % number, thread)
            watches[0].close()
            watches[0].close()
            on_loop(run.server, lambda: None)
            os.write(writing, b"4")
            before = run.server.stats().total.turns
            time.sleep(0.02)
            assert run.server.stats().total.turns - before <= 2
        assert len([event for event in record.events if event[0] == "read"]) == 3
    finally:
        os.close(reading)
        os.close(writing)


def test_a_socket_is_watched_for_room(poller: str) -> None:
    one, other = socket.socketpair()
    one.setblocking(False)
    sent = [0]
    record = Recorder()

    def writable() -> None:
        try:
            while sent[0] < 1 << 22:
                sent[0] += one.send(bytes(65536))
        except BlockingIOError:
            return
        watch.close()
        record.add("all")

    with one, other, running(Events(), "tcp://127.0.0.1:0") as run:
        watch = on_loop(run.server, lambda: run.server.watch(one, writable=writable))
        received = 0
        while received < 1 << 22:
            received += len(other.recv(1 << 20))
        record.wait_for("all")
        while received < sent[0]:  # the last piece may be more than was waited for
            received += len(other.recv(1 << 20))
        assert received == sent[0]


def test_both_directions_and_the_end_of_the_peer(poller: str) -> None:
    one, other = socket.socketpair()
    record = Recorder()

    def readable() -> None:
        chunk = one.recv(100)
        record.add("read", chunk)
        if not chunk:
            watch.close()

    with one, running(Events(), "tcp://127.0.0.1:0") as run:
        watch = on_loop(
            run.server, lambda: run.server.watch(one, readable=readable, writable=lambda: record.add("room"))
        )
        record.wait_for("room")
        other.sendall(b"x")
        record.wait_for("read")
        other.close()
        assert record.wait_for("read", 2)[1] == ("read", b"")


def test_one_that_fails_is_watched_no_more(poller: str, caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = os.pipe()
    calls: list[int] = []

    def readable() -> None:
        calls.append(1)
        raise ZeroDivisionError

    try:
        with running(Events(), "tcp://127.0.0.1:0") as run:
            run.server.watch(reading, readable)
            os.write(writing, b"x")
            assert eventually(lambda: bool(calls))
            on_loop(run.server, lambda: None)
        assert calls == [1]
        assert "it is watched no more" in caplog.text
    finally:
        os.close(reading)
        os.close(writing)


def test_what_cannot_be_watched_is_an_error() -> None:
    reading, writing = os.pipe()
    try:
        with running(Events(), "tcp://127.0.0.1:0") as run, open(__file__, "rb") as file:
            server = run.server
            with pytest.raises(ValueError, match="readable or writable"):
                server.watch(reading)
            on_loop(server, lambda: server.watch(reading, readable=print))
            with pytest.raises(ValueError, match="watched already"):
                on_loop(server, lambda: server.watch(reading, readable=print))
            with pytest.raises(OSError, match="not permitted"):  # epoll polls no plain files
                on_loop(server, lambda: server.watch(file, readable=print))
    finally:
        os.close(reading)
        os.close(writing)
