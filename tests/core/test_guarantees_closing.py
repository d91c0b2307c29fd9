"""Guarantees 3, 4, 9 and 13: how connections and servers end."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from evio_core import Aborted, Action, CloseTimeout, Conn, Events, Options, Reply, Server, TLSTruncated
from evio_core.stream import linger

from .conftest import POLLERS, Variant, use_poller
from .harness import TIMEOUT, Recorder, connect, eventually, receive, receive_all, running

BIG = os.urandom(1 << 20)


def test_close_delivers_all_output_although_input_is_unread(variant: Variant) -> None:
    record = Recorder()
    events = Events(
        data=lambda conn, chunk: (BIG, Action.CLOSE),
        closed=lambda conn, error: record.add("closed", error),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x" * 100_000)  # more than one read: the rest is never looked at
        assert receive_all(peer) == BIG
        assert record.wait_for("closed") == [("closed", None)]


@pytest.mark.parametrize("where", ["opened", "data", "eof", "drained", "wake"])
def test_close_from_every_callback(variant: Variant, where: str) -> None:
    record = Recorder()

    def on(name: str, otherwise: Any = None) -> Any:
        return lambda conn, *rest: (b"bye", Action.CLOSE) if name == where else otherwise

    def data(conn: Conn, chunk: bytes) -> Any:
        if where == "wake":
            conn.wake()
        return (b"bye", Action.CLOSE) if where == "data" else b"+" if where == "drained" else None

    events = Events(
        opened=on("opened"),
        data=data,
        woken=on("wake"),
        eof=on("eof", Action.CLOSE),
        drained=on("drained") if where == "drained" else None,
        closed=lambda conn, error: record.add("closed", error),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        if where != "opened":
            peer.sendall(b"x")
        if where == "eof":
            if variant.transport == "tls":
                with contextlib.suppress(ssl.SSLError):  # unwrap does not take data behind its close_notify
                    peer.unwrap()  # type: ignore[attr-defined]
                record.wait_for("closed")
                return
            peer.shutdown(socket.SHUT_WR)
        assert receive_all(peer) == (b"+bye" if where == "drained" else b"bye")
        assert record.wait_for("closed") == [("closed", None)]


@pytest.mark.parametrize("where", ["serving", "opened", "data", "closed", "tick", "first tick", "wake"])
def test_shutdown_from_every_callback_fires_every_closed(variant: Variant, where: str) -> None:
    record = Recorder()
    ready: list[bool] = []

    def tick() -> Any:
        if where == "first tick" or ready:
            return Action.SHUTDOWN
        return 0.005

    def data(conn: Conn, chunk: bytes) -> Any:
        if where == "wake":
            conn.wake()
            return None
        if where == "tick":
            ready.append(True)
        return (b"bye", Action.SHUTDOWN) if where == "data" else (b"bye", Action.CLOSE) if where == "closed" else b"bye"

    def opened(conn: Conn) -> Any:
        record.add("opened")
        return (b"bye", Action.SHUTDOWN) if where == "opened" else None

    def closed(conn: Conn, error: BaseException | None) -> Any:
        record.add("closed", error)
        return Action.SHUTDOWN if where == "closed" else None

    events = Events(
        serving=lambda server: Action.SHUTDOWN if where == "serving" else None,
        woken=lambda conn: (b"bye", Action.SHUTDOWN),
        opened=opened,
        data=data,
        closed=closed,
        tick=tick if "tick" in where else None,
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run:
        if where in ("serving", "first tick"):
            run.join()
            return
        with connect(run.addr, variant.trust) as peer:
            if where != "opened":
                peer.sendall(b"x")
            assert receive_all(peer) == b"bye"
            run.join()
    assert record.events == [("opened",), ("closed", None)]


def test_stop_sends_pending_output_of_every_connection(variant: Variant) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> bytes:
        record.add("data")
        return BIG

    with running(Events(data=data, num_loops=variant.num_loops), variant.address) as run:
        peers = [connect(run.addr, variant.trust) for _ in range(4)]
        for peer in peers:
            peer.sendall(b"x")
        record.wait_for("data", 4)
        run.server.stop(TIMEOUT)
        for peer in peers:
            assert receive_all(peer) == BIG
            peer.close()


def test_output_has_all_the_time_of_a_server_that_stops(variant: Variant) -> None:
    size, record = 16 << 20, Recorder()
    events = Events(
        data=lambda conn, chunk: bytes(size),
        closed=lambda conn, error: record.add("closed", error),
        num_loops=variant.num_loops,
        options=Options(close_timeout=0.05),
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        first = receive(peer, 1)
        run.server.stop(TIMEOUT)
        with contextlib.suppress(TimeoutError):
            run.server.join(0.2)  # longer than a connection that closes by itself has
        assert len(first + receive_all(peer)) == size


def test_a_second_stop_and_the_timeout_end_it_at_once(variant: Variant) -> None:
    for timeout in (0.05, TIMEOUT):
        record = Recorder()
        events = Events(
            data=lambda conn, chunk: BIG * 16,
            closed=lambda conn, error, record=record: record.add("closed", error),  # type: ignore[misc]
            opened=lambda conn, record=record: record.add("opened"),  # type: ignore[misc]
            num_loops=variant.num_loops,
        )
        with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
            peer.sendall(b"x")
            assert receive(peer, 10)
            run.server.stop(timeout)
            if timeout == TIMEOUT:
                run.server.stop()
            run.join()
        assert isinstance(record.wait_for("closed")[0][1], CloseTimeout)


def test_close_timeout(variant: Variant) -> None:
    record = Recorder()
    events = Events(
        data=lambda conn, chunk: (BIG * 16, Action.CLOSE),
        closed=lambda conn, error: record.add("closed", error),
        options=Options(close_timeout=0.05),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        assert isinstance(record.wait_for("closed")[0][1], CloseTimeout)


def test_abort_resets(variant: Variant) -> None:
    record = Recorder()
    events = Events(
        data=lambda conn, chunk: conn.abort(),
        closed=lambda conn, error: record.add("closed", error),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        if variant.transport == "tcp":
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
        assert isinstance(record.wait_for("closed")[0][1], Aborted)


def test_an_exception_ends_that_connection_only(variant: Variant, caplog: pytest.LogCaptureFixture) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> bytes:
        if chunk == b"bad":
            raise RuntimeError("callback broke")
        return chunk

    events = Events(data=data, closed=lambda conn, error: record.add("closed", error), num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as good:
        with connect(run.addr, variant.trust) as bad:
            bad.sendall(b"bad")
            assert isinstance(record.wait_for("closed")[0][1], RuntimeError)
        good.sendall(b"fine")
        assert receive(good, 4) == b"fine"
    assert "callback broke" in caplog.text


@pytest.mark.parametrize("reply", ["text", 5, (b"x", "close"), object()])
def test_nonsense_from_a_callback_is_an_error(reply: Any, caplog: pytest.LogCaptureFixture) -> None:
    record = Recorder()
    events = Events(data=lambda conn, chunk: reply, closed=lambda conn, error: record.add("closed", error))
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x")
        assert isinstance(record.wait_for("closed")[0][1], TypeError)


@pytest.mark.parametrize("where", ["serving", "tick", "pre_write"])
def test_an_exception_outside_connections_leaves_serve_as_itself(variant: Variant, where: str) -> None:
    record = Recorder()

    def fail(*_: Any) -> Any:
        raise LookupError(where)

    events = Events(
        data=lambda conn, chunk: chunk,
        opened=lambda conn: record.add("opened"),
        closed=lambda conn, error: record.add("closed"),
        num_loops=variant.num_loops,
    )
    setattr(events, where, fail)
    with pytest.raises(LookupError, match=where):
        with running(events, variant.address) as run:
            if where == "pre_write":
                with connect(run.addr, variant.trust) as peer:
                    peer.sendall(b"x")
                    try:
                        assert receive_all(peer) == b""  # nothing that pre_write did not allow may leave
                    except OSError:
                        assert variant.transport == "tls"
            run.join()
    assert record.names() == (["opened", "closed"] if where == "pre_write" else [])


def test_detach_flushes_first_and_loses_no_byte(variant: Variant) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> Any:
        record.add("data", chunk)
        return BIG, Action.DETACH

    def detached(conn: Conn, sock: socket.socket) -> None:
        record.add("detached", sock)

    events = Events(
        data=data,
        detached=detached,
        closed=lambda conn, error: record.add("closed"),
        num_loops=variant.num_loops,
    )
    sent = b"0123456789" * 50_000
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"go")
        first = record.wait_for("data")[0][1]
        assert first == b"go"
        assert receive(peer, len(BIG)) == BIG
        sock = record.wait_for("detached")[0][1]
        sock.settimeout(TIMEOUT)
        assert sock.getblocking()
        peer.sendall(sent[:100_000])
        assert receive(sock, 100_000) == sent[:100_000]
        sock.sendall(b"still here")
        assert receive(peer, 10) == b"still here"
        sock.close()
        assert receive_all(peer) == b""
    assert "closed" not in record.names()


def test_truncated_or_reset_peers_are_reported(variant: Variant) -> None:
    record = Recorder()
    events = Events(
        data=lambda conn, chunk: chunk,
        closed=lambda conn, error: record.add("closed", error),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run:
        peer = connect(run.addr, variant.trust)
        peer.sendall(b"x")
        assert receive(peer, 1) == b"x"
        if variant.transport != "unix":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        error = record.wait_for("closed")[0][1]
        if variant.transport == "unix":
            assert error is None
        else:
            assert isinstance(error, (ConnectionResetError, TLSTruncated))


def test_the_port_is_free_afterwards(variant: Variant) -> None:
    servers: list[Server] = []
    address = variant.address
    for _ in range(3):
        with running(Events(data=lambda conn, chunk: chunk, num_loops=variant.num_loops), address) as run:
            servers.append(run.server)
            if variant.transport != "unix":
                address = address.replace(":0", f":{run.addr[1]}")
            with connect(run.addr, variant.trust) as peer:
                peer.sendall(b"x")
                assert receive(peer, 1) == b"x"


@pytest.mark.parametrize("way", ["returned", "written", "file", "returned with CLOSE", "from a thread"])
def test_output_of_the_turn_in_which_close_was_called_is_sent(variant: Variant, way: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"bye")
    record = Recorder()

    def later(conn: Conn) -> None:
        conn.close()
        conn.write(b"bye")

    def data(conn: Conn, chunk: bytes) -> Reply:
        if way == "from a thread":
            thread = threading.Thread(target=later, args=(conn,))
            thread.start()
            thread.join(TIMEOUT)  # both are queued for the end of this turn
            return None
        conn.close()
        if way == "written":
            conn.write(b"bye")
        elif way == "file":
            with path.open("rb") as file:
                conn.send_file(file, 0, 3)
        elif way == "returned with CLOSE":
            return b"bye", Action.CLOSE
        return b"bye" if way == "returned" else None

    events = Events(data=data, closed=lambda conn, error: record.add("closed", error), num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        assert receive_all(peer) == b"bye"
        peer.close()
        assert record.wait_for("closed") == [("closed", None)]


def test_what_is_written_after_the_turn_of_close_is_not_sent(variant: Variant) -> None:
    """The output that ``close`` waits for would never end, and TLS has said that it has."""
    size = 8 << 20  # more than the kernel takes at once
    conns: queue.Queue[Conn] = queue.Queue()

    def data(conn: Conn, chunk: bytes) -> Reply:
        conns.put(conn)
        return bytes(size), Action.CLOSE

    with running(Events(data=data, num_loops=variant.num_loops), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            peer.sendall(b"x")
            conn = conns.get(timeout=TIMEOUT)
            receive(peer, 1)
            done = threading.Event()
            run.server.call(done.set)
            assert done.wait(TIMEOUT)
            conn.write(b"too late")
            assert len(receive_all(peer)) == size - 1


@pytest.mark.parametrize("poller", POLLERS)
def test_descriptors_that_wait_for_the_peers_end_are_counted(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, poller)
    record = Recorder()
    events = Events(opened=lambda conn: (b"busy", Action.CLOSE), closed=lambda conn, error: record.add("closed", error))
    with running(events, "tcp://127.0.0.1:0") as run:
        peers = [connect(run.addr) for _ in range(3)]
        assert [receive_all(peer) for peer in peers] == [b"busy"] * 3
        record.wait_for("closed", 3)
        stats = run.server.stats()
        assert (stats.total.connections, stats.total.lingering) == (0, 3)
        for peer in peers:
            peer.close()
        assert eventually(lambda: run.server.stats().total.lingering == 0)


@pytest.mark.parametrize("poller", POLLERS)
def test_input_that_is_discarded_after_the_end_is_bounded(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, poller)
    monkeypatch.setattr(linger, "DISCARD_LIMIT", 1 << 20)
    events = Events(opened=lambda conn: Action.CLOSE, options=Options(close_timeout=3600))
    sent = 0
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while sent < 1 << 28:
                sent += peer.send(bytes(1 << 16))
    assert sent >= 1 << 20
