"""Half-close: ``conn.shutdown_write()`` ends the output, and the input goes on."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from evio_core import Action, Conn, Events, IdleTimeout, Options

from .conftest import POLLERS, Variant, use_poller
from .harness import TIMEOUT, Recorder, connect, receive, receive_all, running


def end(peer: socket.socket) -> None:
    """End the client's output: over TLS with its ``close_notify``, which answers the server's."""
    if isinstance(peer, ssl.SSLSocket):
        peer.unwrap()
    else:
        peer.shutdown(socket.SHUT_WR)


def events_of(variant: Variant, record: Recorder, **callbacks: Any) -> Events:
    """Events with ``closed`` on record."""
    return Events(
        closed=lambda conn, error: record.add("closed", error, conn.pending), num_loops=variant.num_loops, **callbacks
    )


@pytest.mark.parametrize("size", [5, 3_000_000])
def test_the_end_follows_the_output_and_input_goes_on(variant: Variant, size: int) -> None:
    record = Recorder()
    output = bytes(size)
    got = bytearray()

    def data(conn: Conn, chunk: bytes) -> bytes | None:
        got.extend(chunk)
        if bytes(got) == b"begin":
            conn.write(output)
            conn.shutdown_write()
            return b"same callback"
        record.add("data")
        conn.write(b"too late")
        return b"this, too"

    with running(events_of(variant, record, data=data), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            peer.sendall(b"begin")
            assert receive_all(peer) == output + b"same callback"
            for number in range(3):
                peer.sendall(b"more")
                record.wait(lambda seen, until=9 + 4 * number: len(got) >= until)  # type: ignore[misc]
            assert record.names() == ["data"] * record.names().count("data")
            end(peer)
            assert record.wait_for("closed") == [("closed", None, 0)]
    assert got == b"begin" + b"more" * 3


def test_it_may_be_called_from_any_thread_twice_and_after_the_end(variant: Variant) -> None:
    record = Recorder()
    conns: queue.Queue[Conn] = queue.Queue()
    events = events_of(variant, record, opened=conns.put, data=lambda conn, chunk: record.add("data", bytes(chunk)))
    with running(events, variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            conn = conns.get(timeout=TIMEOUT)
            conn.write(b"output")
            conn.shutdown_write()
            conn.shutdown_write()
            assert receive_all(peer) == b"output"
            conn.write(b"too late")
            conn.shutdown_write()
            peer.sendall(b"input")
            assert record.wait_for("data") == [("data", b"input")]
            end(peer)
        assert record.wait_for("closed") == [("closed", None, 0)]
        conn.shutdown_write()


def test_after_the_peer_has_ended_it_closes(variant: Variant) -> None:
    record = Recorder()

    def eof(conn: Conn) -> bytes:
        record.add("eof")
        conn.write(b"an ")
        conn.shutdown_write()
        return b"answer"

    with running(events_of(variant, record, eof=eof), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            if isinstance(peer, ssl.SSLSocket):
                outgoing = peer
                outgoing.settimeout(TIMEOUT)
                # Python's client reads no more once it has said the end: the server's answer is what unwrap meets.
                with pytest.raises(ssl.SSLError, match=r"(?i)application data after close notify"):
                    outgoing.unwrap()
            else:
                end(peer)
                assert receive_all(peer) == b"an answer"
            assert record.wait_for("closed") == [("closed", None, 0)]
    assert record.names() == ["eof", "closed"]


def test_the_peers_end_closes_after_the_eof_callback(variant: Variant) -> None:
    record = Recorder()
    events = events_of(
        variant,
        record,
        opened=lambda conn: conn.shutdown_write(),
        eof=lambda conn: record.add("eof") or b"too late",  # type: ignore[func-returns-value]
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        assert receive_all(peer) == b""
        end(peer)
        assert record.wait_for("closed") == [("closed", None, 0)]
    assert record.names() == ["eof", "closed"]


@pytest.mark.parametrize("same_turn", [True, False])
def test_close_after_it_waits_for_nothing(variant: Variant, same_turn: bool) -> None:
    record = Recorder()

    def opened(conn: Conn) -> tuple[bytes, Action] | bytes:
        conn.shutdown_write()
        return (b"output", Action.CLOSE) if same_turn else b"output"

    def data(conn: Conn, chunk: bytes) -> tuple[bytes, Action]:
        return b"too late", Action.CLOSE

    with running(events_of(variant, record, opened=opened, data=data), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            assert receive_all(peer) == b"output"
            if not same_turn:
                peer.sendall(b"close")
            assert record.wait_for("closed") == [("closed", None, 0)]


@pytest.mark.parametrize("same_turn", [True, False])
def test_detach_after_it_hands_over_a_socket_that_reads(variant: Variant, same_turn: bool) -> None:
    record = Recorder()
    sockets: queue.Queue[socket.socket] = queue.Queue()

    def opened(conn: Conn) -> Any:
        conn.shutdown_write()
        return (b"output", Action.DETACH) if same_turn else b"output"

    events = events_of(
        variant,
        record,
        opened=opened,
        data=lambda conn, chunk: Action.DETACH,
        detached=lambda conn, sock: sockets.put(sock),
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        assert receive_all(peer) == b"output"
        if not same_turn:
            peer.sendall(b"detach")
        with sockets.get(timeout=TIMEOUT) as sock:
            sock.settimeout(TIMEOUT)
            peer.sendall(b"input")
            assert receive(sock, 5) == b"input"
    assert record.names() == []


def test_files_are_sent_before_and_dropped_after(variant: Variant, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    record = Recorder()

    def opened(conn: Conn) -> None:
        with open(path, "rb") as file:
            conn.send_file(file)
        conn.shutdown_write()

    def data(conn: Conn, chunk: bytes) -> None:
        with open(path, "rb") as file:
            conn.send_file(file, 0, 7)
        record.add("pending", conn.pending)

    with running(events_of(variant, record, opened=opened, data=data), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            assert receive_all(peer) == b"content"
            peer.sendall(b"x")
            assert record.wait_for("pending") == [("pending", 0)]
            end(peer)
            assert record.wait_for("closed") == [("closed", None, 0)]


def test_drained_fires_for_the_output_and_not_for_its_end(variant: Variant) -> None:
    record = Recorder()

    def opened(conn: Conn) -> bytes:
        conn.shutdown_write()
        return b"output"

    events = events_of(
        variant,
        record,
        opened=opened,
        drained=lambda conn: record.add("drained") or b"too late",  # type: ignore[func-returns-value]
        data=lambda c, d: None,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        assert receive_all(peer) == b"output"
        end(peer)
        record.wait_for("closed")
    assert record.names() == ["drained", "closed"]


def test_a_peer_that_does_not_end_meets_the_idle_timeout(variant: Variant) -> None:
    record = Recorder()
    events = events_of(
        variant, record, opened=lambda conn: conn.shutdown_write(), options=Options(idle_timeout=0.1, close_timeout=60)
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        assert receive_all(peer) == b""
        assert isinstance(record.wait_for("closed")[0][1], IdleTimeout)


def test_a_paused_connection_sees_the_end_when_it_reads_again(variant: Variant) -> None:
    record = Recorder()
    conns: queue.Queue[Conn] = queue.Queue()
    got = bytearray()

    def opened(conn: Conn) -> None:
        conn.pause_reading()
        conn.shutdown_write()
        conns.put(conn)

    def data(conn: Conn, chunk: bytes) -> None:
        got.extend(chunk)

    def woken(conn: Conn) -> None:
        conn.resume_reading()

    with running(events_of(variant, record, opened=opened, data=data, woken=woken), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            conn = conns.get(timeout=TIMEOUT)
            assert receive_all(peer) == b""
            peer.sendall(b"input")
            if variant.transport != "tls":
                end(peer)
        seen = threading.Event()
        run.server.call(seen.set)
        assert seen.wait(TIMEOUT)
        assert record.names() == []
        conn.wake()
        record.wait_for("closed")
    assert got == b"input"


def test_a_stopping_server_does_not_wait_for_the_peer(variant: Variant) -> None:
    record = Recorder()
    events = events_of(variant, record, opened=lambda conn: conn.shutdown_write())
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        assert receive_all(peer) == b""
        run.server.stop()
        assert record.wait_for("closed") == [("closed", None, 0)]


@pytest.mark.parametrize("poller", POLLERS)
def test_a_dialled_connection_may_be_half_closed_before_it_opens(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, poller)
    record = Recorder()
    events = Events(
        data=lambda conn, chunk: record.add("data", bytes(chunk)),
        closed=lambda conn, error: record.add("closed", error),
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        with running(events, "tcp://127.0.0.1:0") as run:

            def dial() -> None:
                conn = run.server.dial(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
                conn.write(b"question")
                conn.shutdown_write()
                conn.write(b"too late")

            run.server.call(dial)
            accepted, _ = listener.accept()
            with accepted:
                accepted.settimeout(TIMEOUT)
                assert receive_all(accepted) == b"question"
                accepted.sendall(b"answer")
            record.wait_for("closed")
    assert record.events == [("data", b"answer"), ("closed", None)]


def test_a_datagram_peer_has_no_end() -> None:
    def data(conn: Conn, chunk: bytes) -> bytes:
        conn.shutdown_write()
        return chunk

    with running(Events(data=data), "udp://127.0.0.1:0") as run:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(TIMEOUT)
            for _ in range(2):
                peer.sendto(b"x", run.addr)
                assert peer.recv(10) == b"x"
