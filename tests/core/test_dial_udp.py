"""UDP that is dialled: one peer, the events of a connection, and the errors that its system reports."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from evio_core import (
    Aborted,
    Action,
    AddressError,
    Conn,
    DeadlineExceeded,
    Deferred,
    Events,
    Handler,
    IdleTimeout,
    Options,
)

from .conftest import POLLERS, use_poller
from .harness import TIMEOUT, Recorder, running


@pytest.fixture(params=POLLERS, autouse=True)
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use_poller(monkeypatch, request.param)
    return str(request.param)


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """The one that is dialled."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(TIMEOUT)
        yield sock


def url_of(sock: socket.socket) -> str:
    return f"udp://127.0.0.1:{sock.getsockname()[1]}"


def recorded(record: Recorder, **others: Any) -> Events:
    """Events that are put on record, with the data."""
    callbacks: dict[str, Any] = {
        "opened": lambda conn: record.add("opened"),
        "data": lambda conn, chunk: record.add("data", chunk),
        "closed": lambda conn, error: record.add("closed", error),
    }
    return Events(**(callbacks | others))


def turned(run: Any) -> None:
    """Wait until the loop has come round."""
    for _ in range(2):
        done = threading.Event()
        run.server.call(done.set)
        assert done.wait(TIMEOUT)


def test_datagrams_go_to_and_fro(peer: socket.socket) -> None:
    record = Recorder()

    def opened(conn: Conn) -> bytes:
        record.add("opened", conn.addr_index, conn.scheme, conn.context, conn.remote_addr, conn.local_addr)
        return b"hello"

    def data(conn: Conn, chunk: bytes) -> Any:
        record.add("data", chunk)
        return (b"bye", Action.CLOSE) if chunk == b"" else chunk.upper()

    with running(recorded(record, opened=opened, data=data), "tcp://127.0.0.1:0") as run:
        conn = run.server.dial(url_of(peer), "mine")
        conn.write(b"early")
        datagrams = []
        for _ in range(2):
            datagram, sender = peer.recvfrom(100)
            datagrams.append(datagram)
        assert sorted(datagrams) == [b"early", b"hello"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"from somebody else", sender)
        for chunk in (b"one", b"two"):
            peer.sendto(chunk, sender)
            assert peer.recv(100) == chunk.upper()
        peer.sendto(b"", sender)
        assert peer.recv(100) == b"bye"
        record.wait_for("closed")
        assert run.server.stats().total.connections == 0
    assert record.events == [
        ("opened", -1, "udp", "mine", peer.getsockname(), sender),
        ("data", b"one"),
        ("data", b"two"),
        ("data", b""),
        ("closed", None),
    ]


@pytest.mark.parametrize("paused", [False, True])
def test_a_port_where_nobody_listens_is_an_error(paused: bool) -> None:
    record = Recorder()

    def opened(conn: Conn) -> bytes:
        record.add("opened")
        if paused:
            conn.pause_reading()
        return b"is anybody there?"

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        address = url_of(sock)
    with running(recorded(record, opened=opened), "tcp://127.0.0.1:0") as run:
        conn = run.server.dial(address)
        if paused:  # select tells nobody who does not read; the next datagram does
            record.wait_for("opened")
            turned(run)
            conn.write(b"nobody?")
        ((_, error),) = record.wait_for("closed")
    assert isinstance(error, ConnectionRefusedError)
    assert record.names() == ["opened", "closed"]


def test_an_error_of_sending_ends_it_after_the_callback(peer: socket.socket) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> None:
        peer.close()
        for _ in range(50):
            conn.write(b"x")
        record.add("returned")

    with running(recorded(record, opened=lambda conn: b"hello", data=data), "tcp://127.0.0.1:0") as run:
        run.server.dial(url_of(peer))
        _, sender = peer.recvfrom(100)
        peer.sendto(b"go", sender)
        ((_, error),) = record.wait_for("closed")
    assert isinstance(error, ConnectionRefusedError)
    assert record.names() == ["returned", "closed"]


def test_a_name_is_looked_up_and_our_end_chosen(peer: socket.socket) -> None:
    record = Recorder()
    with running(recorded(record), "tcp://127.0.0.1:0") as run:
        run.server.dial(f"udp4://localhost:{peer.getsockname()[1]}?bind=127.0.0.9").write(b"x")
        assert peer.recvfrom(100)[1][0] == "127.0.0.9"
        run.server.dial("udp://no-such-host.invalid:1")
        ((_, error),) = record.wait_for("closed")
        assert isinstance(error, OSError)
        assert run.server.stats().total.dialled == 2
        assert run.server.stats().total.dial_errors == 1


@pytest.mark.parametrize("way", ["close", "abort", "written"])
def test_it_may_be_given_up_before_it_is_open(way: str, peer: socket.socket) -> None:
    record = Recorder()
    with running(recorded(record), "tcp://127.0.0.1:0") as run:

        def dial() -> None:
            conn = run.server.dial(url_of(peer))
            if way == "written":
                conn.write(b"a message")
                conn.close()
                conn.write(b"not this")
            else:
                getattr(conn, way)()

        run.server.call(dial)
        ((_, error),) = record.wait_for("closed")
    assert isinstance(error, Aborted) if way == "abort" else error is None
    if way == "written":
        assert peer.recv(100) == b"a message"
        assert record.names() == ["opened", "closed"]
    else:
        assert record.names() == ["closed"]
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(100)


def test_output_of_the_callback_that_closes_is_sent(peer: socket.socket) -> None:
    def opened(conn: Conn) -> bytes:
        conn.write(b"1")
        conn.close()
        conn.write(b"2")
        return b"3"

    record = Recorder()
    with running(recorded(record, opened=opened), "tcp://127.0.0.1:0") as run:
        conn = run.server.dial(url_of(peer))
        record.wait_for("closed")
        conn.write(b"too late")
        turned(run)
    assert [peer.recv(100) for _ in range(3)] == [b"1", b"2", b"3"]
    assert record.events == [("closed", None)]


def test_time_outs(peer: socket.socket) -> None:
    record = Recorder()

    def opened(conn: Conn) -> bytes:
        if conn.context == "deadline":
            conn.set_deadline(0.05)
        elif conn.context == "idle":
            conn.configure(idle_timeout=0.1)
        else:
            conn.set_deadline(0.01)
            conn.set_deadline(None)
        return b"hello"

    def closed(conn: Conn, error: BaseException | None) -> None:
        record.add("closed", conn.context, type(error))

    with running(recorded(record, opened=opened, closed=closed), "tcp://127.0.0.1:0") as run:
        for context in ("deadline", "idle", "none"):
            run.server.dial(url_of(peer), context)
        ended = record.wait_for("closed", 2)
        assert sorted(ended) == [("closed", "deadline", DeadlineExceeded), ("closed", "idle", IdleTimeout)]


def test_pausing_leaves_datagrams_to_the_kernel(peer: socket.socket) -> None:
    record = Recorder()
    conns: queue.Queue[Conn] = queue.Queue()

    def opened(conn: Conn) -> bytes:
        conn.pause_reading()
        conns.put(conn)
        return b"hello"

    with running(recorded(record, opened=opened), "tcp://127.0.0.1:0") as run:
        run.server.dial(url_of(peer))
        conn = conns.get(timeout=TIMEOUT)
        _, sender = peer.recvfrom(100)
        for chunk in (b"1", b"2"):
            peer.sendto(chunk, sender)
        turned(run)
        assert record.events == []
        run.server.call(conn.resume_reading)
        assert record.wait_for("data", 2) == [("data", b"1"), ("data", b"2")]


def test_what_is_too_long_is_dropped_and_counted(peer: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    record = Recorder()
    with running(recorded(record, opened=lambda conn: bytes(70_000)), "tcp://127.0.0.1:0") as run:
        conn = run.server.dial(url_of(peer))
        turned(run)
        turned(run)
        conn.write(b"after it")
        assert peer.recv(100) == b"after it"
        assert run.server.stats().total.datagrams_dropped == 1
    assert "cannot send 70000 bytes" in caplog.text
    assert record.events == [("closed", None)]


def test_a_wake_and_the_end_of_output_fire(peer: socket.socket) -> None:
    record = Recorder()
    events = recorded(
        record,
        woken=lambda conn: record.add("woken"),
        drained=lambda conn: record.add("drained"),
        pre_write=lambda: record.add("pre_write"),
    )
    with running(events, "tcp://127.0.0.1:0") as run:
        conn = run.server.dial(url_of(peer))
        conn.wake()
        record.wait_for("woken")
        conn.write(b"x")
        record.wait_for("drained")
        assert peer.recv(100) == b"x"
    names = [name for name in record.names() if name != "pre_write"]
    assert names == ["opened", "woken", "drained", "closed"]


def test_its_socket_may_be_taken(peer: socket.socket) -> None:
    socks: queue.Queue[socket.socket] = queue.Queue()
    record = Recorder()
    events = recorded(
        record, opened=lambda conn: (b"hello", Action.DETACH), detached=lambda conn, sock: socks.put(sock)
    )
    with running(events, "tcp://127.0.0.1:0") as run:
        run.server.dial(url_of(peer))
        with socks.get(timeout=TIMEOUT) as sock:
            assert peer.recv(100) == b"hello"
            sock.send(b"from the socket")
            assert peer.recv(100) == b"from the socket"
            assert sock.getblocking()
        assert run.server.stats().total.connections == 0
    assert record.events == []


def test_a_handler_of_its_own(peer: socket.socket) -> None:
    record = Recorder()

    class Client(Handler):
        def opened(self) -> bytes:
            return b"question"

        def data(self, chunk: bytes) -> Action:
            record.add("answer", chunk, self.conn.remote_addr)
            return Action.CLOSE

        def closed(self, error: BaseException | None) -> None:
            record.add("closed", error)

    with running(Events(), "tcp://127.0.0.1:0") as run:
        run.server.dial(url_of(peer), handler=Client())
        question, sender = peer.recvfrom(100)
        assert question == b"question"
        peer.sendto(b"answer", sender)
        record.wait_for("closed")
    assert record.events == [("answer", b"answer", peer.getsockname()), ("closed", None)]


def test_answers_that_come_later(peer: socket.socket) -> None:
    record = Recorder()
    never: Deferred = Deferred()

    def data(conn: Conn, chunk: bytes) -> Any:
        if chunk == b"never":
            return never, Action.CLOSE
        return conn.run_in_thread(chunk.upper)

    with running(recorded(record, opened=lambda conn: b"hello", data=data), "tcp://127.0.0.1:0") as run:
        run.server.dial(url_of(peer))
        _, sender = peer.recvfrom(100)
        peer.sendto(b"later", sender)
        assert peer.recv(100) == b"LATER"
        peer.sendto(b"never", sender)
        record.wait_for("closed")
    assert never.cancelled()


def test_a_callback_that_raises_ends_it(peer: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> None:
        raise ValueError("a fault of the program")

    with running(recorded(record, opened=lambda conn: b"x", data=data), "tcp://127.0.0.1:0") as run:
        run.server.dial(url_of(peer))
        _, sender = peer.recvfrom(100)
        peer.sendto(b"y", sender)
        ((_, error),) = record.wait_for("closed")
    assert isinstance(error, ValueError)
    assert "a fault of the program" in caplog.text


def test_stopping_ends_it_in_good_order(peer: socket.socket) -> None:
    record = Recorder()
    with running(recorded(record), "tcp://127.0.0.1:0") as run:
        conns = [run.server.dial(url_of(peer)) for _ in range(3)]
        record.wait_for("opened", 3)
        conns[0].write(b"last")
        run.server.stop()
        run.join()
    assert peer.recv(100) == b"last"
    assert record.events[3:] == [("closed", None)] * 3


def test_options_reach_its_socket(peer: socket.socket) -> None:
    values: queue.Queue[Any] = queue.Queue()

    def opened(conn: Conn) -> Action:
        conn.set_socket_option(socket.SOL_SOCKET, socket.SO_PRIORITY, 2)
        values.put(conn.socket_option(socket.IPPROTO_IP, socket.IP_TOS))
        values.put(conn.socket_option(socket.SOL_SOCKET, socket.SO_PRIORITY))
        conn.configure(tos=0x20)
        values.put(conn.socket_option(socket.IPPROTO_IP, socket.IP_TOS))
        values.put(conn.socket_option(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL))
        with pytest.raises(TypeError, match="cannot be sent from a file"):
            conn.send_file(0)
        return Action.CLOSE

    with running(Events(opened=opened, options=Options(tos=0x10)), "tcp://127.0.0.1:0") as run:
        conn = run.server.dial(f"{url_of(peer)}?multicast_ttl=9")
        assert [values.get(timeout=TIMEOUT) for _ in range(4)] == [0x10, 2, 0x20, 9]
        turned(run)
        with pytest.raises(OSError, match="has no socket yet, or any more"):
            conn.socket_option(socket.SOL_SOCKET, socket.SO_TYPE)


def test_no_descriptor_is_left(peer: socket.socket) -> None:
    import os

    record = Recorder()
    with running(recorded(record, opened=lambda conn: (b"x", Action.CLOSE)), "tcp://127.0.0.1:0") as run:
        counts = []
        for times in (1, 2):
            for _ in range(20):
                run.server.dial(url_of(peer))
            record.wait_for("closed", 20 * times)
            turned(run)
            counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("udp://127.0.0.1:0", "dialling needs a host and a port"),
        ("udp://127.0.0.1:1?multicast=239.1.1.1", "multicast is for listening"),
        ("udp://127.0.0.1:1?reuseport=true", "reuseport is for listening"),
        ("fd://3", "cannot dial fd; allowed are tcp, tls, unix, udp"),
    ],
)
def test_what_cannot_be_dialled_is_refused(address: str, message: str) -> None:
    with running(Events(), "tcp://127.0.0.1:0") as run:
        with pytest.raises(AddressError, match=message):
            run.server.dial(address)
