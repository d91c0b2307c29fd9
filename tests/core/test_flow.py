"""Guarantees 5, 6 and 15: back-pressure, quiet when idle, output collected by ``pre_write``; and ``send_file``."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from evio_core import Aborted, Action, Conn, Events, Options, OutputLimitExceeded

from .conftest import Variant
from .harness import TIMEOUT, Recorder, Running, connect, receive, receive_all, running

BLOCK = os.urandom(64 * 1024)


def turns(run: Running) -> int:
    return run.server.stats().total("turns")


def settle(run: Running) -> None:
    """Wait until no turn has happened for a while."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        before = turns(run)
        time.sleep(0.1)
        if turns(run) == before:
            return
    raise AssertionError("the server does not come to rest")


def flood(peer: socket.socket) -> int:
    """Send until nothing more is taken for a while; returns how much was."""
    peer.settimeout(0.3)
    sent = 0
    try:
        while sent < 1 << 28:
            sent += peer.send(BLOCK)
    except TimeoutError:
        peer.settimeout(TIMEOUT)
    return sent


def test_a_peer_that_never_reads_costs_bounded_memory_and_no_cpu(variant: Variant) -> None:
    if variant.transport == "tls":
        pytest.skip("a TLS client that is stopped in the middle of a record cannot go on; tested below")
    record = Recorder()
    highest = [0]

    def data(conn: Conn, chunk: bytes) -> bytes:
        highest[0] = max(highest[0], conn.pending)
        return chunk

    events = Events(data=data, closed=lambda conn, error: record.add("closed", error), num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr) as peer:
        sent = flood(peer)
        settle(run)
        before = turns(run)
        time.sleep(0.3)
        assert turns(run) == before
        # What is queued is the mark, what one read brings on top of it, and for the fallback its transport's buffer.
        assert highest[0] <= 2 * 256 * 1024 + 64 * 1024
        reader = threading.Thread(target=peer.shutdown, args=(socket.SHUT_WR,))
        reader.start()
        assert len(receive_all(peer)) == sent  # and it goes on when the peer reads
        reader.join(TIMEOUT)
        assert record.wait_for("closed") == [("closed", None)]


def test_beyond_max_pending_the_connection_is_dropped_with_the_reason(variant: Variant) -> None:
    record = Recorder()
    events = Events(
        data=lambda conn, chunk: bytes(32 << 20),
        closed=lambda conn, error: record.add("closed", error),
        options=Options(max_pending=1 << 20),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        error = record.wait_for("closed")[0][1]
        assert isinstance(error, OutputLimitExceeded)
        assert "1048576 allowed" in str(error)


def test_a_paused_connection_is_not_read_and_does_not_spin(variant: Variant) -> None:
    record = Recorder()

    def opened(conn: Conn) -> None:
        conn.context = conn
        conn.pause_reading()
        record.add("opened", conn)

    def data(conn: Conn, chunk: bytes) -> None:
        record.add("data", chunk)
        if not chunk:
            conn.resume_reading()

    events = Events(
        opened=opened, data=data, closed=lambda conn, error: record.add("closed"), num_loops=variant.num_loops
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        conn = record.wait_for("opened")[0][1]
        peer.sendall(b"unread")
        if variant.transport != "tls":  # with a session ticket unread, the end of a TLS client would be a reset
            peer.close()  # a poller reports that for as long as the descriptor is polled
        settle(run)
        before = turns(run)
        time.sleep(0.2)
        assert turns(run) == before
        assert "data" not in record.names()
        conn.wake()
        assert record.wait_for("data", 2) == [("data", b""), ("data", b"unread")]
        if variant.transport != "tls":
            record.wait_for("closed")


@pytest.mark.parametrize("what", ["close", "abort", "write", "detach", "stop"])
def test_a_paused_connection_whose_peer_has_hung_up_can_be_ended(variant: Variant, what: str) -> None:
    if variant.transport == "tls" or variant.num_loops > 1:
        pytest.skip("of tcp and unix sockets, which report a hang-up differently")
    record = Recorder()

    def opened(conn: Conn) -> None:
        conn.pause_reading()
        record.add("opened", conn)

    def data(conn: Conn, chunk: bytes) -> Action:
        assert chunk == b""
        return Action.DETACH

    def detached(conn: Conn, sock: socket.socket) -> None:
        with sock:
            record.add("detached", sock.recv(10))

    events = Events(opened=opened, data=data, detached=detached, closed=lambda conn, error: record.add("closed", error))
    with running(events, variant.address) as run:
        with connect(run.addr) as peer:
            conn: Conn = record.wait_for("opened")[0][1]
            peer.sendall(b"last words")
        settle(run)  # the hang-up has been seen
        if what == "stop":
            run.server.stop()
        elif what == "detach":
            conn.wake()
            assert record.wait_for("detached") == [("detached", b"last words")]
        else:
            conn.write(b"to nobody") if what == "write" else getattr(conn, what)()
        if what == "write":
            conn.close()
        if what != "detach":
            error = record.wait_for("closed")[0][1]
            assert isinstance(error, Aborted if what == "abort" else OSError | None)
        if what != "stop":
            with connect(run.addr) as other:  # the server is well
                record.wait_for("opened", 2)
                other.close()


def test_an_idle_server_makes_no_turns(variant: Variant) -> None:
    record = Recorder()
    events = Events(
        data=lambda conn, chunk: chunk, opened=lambda conn: record.add("opened"), num_loops=variant.num_loops
    )
    with running(events, variant.address) as run:
        peers = [connect(run.addr, variant.trust) for _ in range(20)]
        for peer in peers:
            peer.sendall(b"x")
            assert receive(peer, 1) == b"x"
        settle(run)
        before = turns(run)
        time.sleep(0.5)
        assert turns(run) == before
        for peer in peers:
            peer.close()


def test_drained_streams_with_flat_memory(variant: Variant) -> None:
    pieces = 200
    highest = [0]

    def produce(conn: Conn) -> Any:
        left: int = conn.context
        highest[0] = max(highest[0], conn.pending)
        if not left:
            return Action.CLOSE
        conn.context = left - 1
        return BLOCK

    def opened(conn: Conn) -> Any:
        conn.context = pieces
        return produce(conn)

    with running(Events(opened=opened, drained=produce, num_loops=variant.num_loops), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            assert receive_all(peer) == BLOCK * pieces
    assert highest[0] == 0


# -- send_file


def test_send_file_keeps_order_and_lets_the_caller_close_at_once(variant: Variant, tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    path = tmp_path / "file"
    path.write_bytes(content)

    def opened(conn: Conn) -> Action:
        conn.write(b"<head>")
        with open(path, "rb") as file:
            conn.send_file(file)
            conn.write(b"<between>")
            conn.send_file(file.fileno(), 10, 100_000)
            conn.send_file(file, len(content))  # nothing
        conn.write(b"<tail>")
        return Action.CLOSE

    with running(Events(opened=opened, num_loops=variant.num_loops), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            assert receive_all(peer) == b"<head>" + content + b"<between>" + content[10:100_010] + b"<tail>"


def test_a_file_that_shrinks_ends_the_connection_with_an_error(variant: Variant, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    record = Recorder()

    def opened(conn: Conn) -> None:
        with open(path, "rb") as file:
            conn.send_file(file, 0, 5000)

    events = Events(opened=opened, closed=lambda conn, error: record.add("closed", error), num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust):
        error = record.wait_for("closed")[0][1]
        assert isinstance(error, OSError)
        assert "file ended 4000 bytes before" in str(error)


def test_send_file_refuses_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    errors: list[BaseException] = []

    def opened(conn: Conn) -> Action:
        for arguments in ((-1, None), (0, -5)):
            with open(path, "rb") as file:
                try:
                    conn.send_file(file, *arguments)
                except ValueError as error:
                    errors.append(error)
        closed_fd = os.open(path, os.O_RDONLY)
        os.close(closed_fd)
        try:
            conn.send_file(closed_fd, 0, 1)
        except OSError as error:
            errors.append(error)
        return Action.CLOSE

    with running(Events(opened=opened), "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        assert receive_all(peer) == b""
    assert [type(error) for error in errors] == [ValueError, ValueError, OSError]


@pytest.mark.parametrize("poller", ["epoll", "asyncio"])
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_large_file_leaves_with_flat_memory(
    scheme: str, poller: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificates: Any
) -> None:
    monkeypatch.setenv("EVIO_POLLER", poller)
    size = 200 << 20
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.truncate(size)

    def opened(conn: Conn) -> Action:
        with open(path, "rb") as file:
            conn.send_file(file)
        return Action.CLOSE

    address = f"{scheme}://127.0.0.1:0"
    if scheme == "tls":
        address += f"?cert={certificates.cert}&key={certificates.key}"
    with running(Events(opened=opened), address) as run:
        with connect(run.addr, certificates.ca if scheme == "tls" else None) as peer:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            received = 0
            while part := peer.recv(1 << 16):
                received += len(part)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert received == size
    assert grown < 32 << 10  # KiB


# -- pre_write


def test_output_waits_for_pre_write_which_is_called_once_a_turn(variant: Variant) -> None:
    log: list[str] = []
    lock = threading.Lock()

    def data(conn: Conn, chunk: bytes) -> bytes:
        with lock:
            log.append("data")
        return chunk

    def pre_write() -> None:
        with lock:
            log.append("commit")

    events = Events(data=data, pre_write=pre_write, num_loops=variant.num_loops)
    with running(events, variant.address) as run:
        peers = [connect(run.addr, variant.trust) for _ in range(10)]
        for _ in range(5):
            for peer in peers:
                peer.sendall(b"x")
            for peer in peers:
                assert receive(peer, 1) == b"x"
        for peer in peers:
            peer.close()
    assert log.count("data") == 50
    assert log[-1] == "commit"
    assert log[0] == "data" or variant.transport == "tls"  # a handshake is output, too


def test_when_pre_write_raises_the_server_ends_and_no_output_of_the_turn_leaves(variant: Variant) -> None:
    armed: list[bool] = []

    def data(conn: Conn, chunk: bytes) -> bytes:
        armed.append(True)
        return b"acknowledged"

    def pre_write() -> None:
        if armed:
            raise RuntimeError("disk full")

    received = b""
    with pytest.raises(RuntimeError, match="disk full"):
        events = Events(data=data, pre_write=pre_write, num_loops=variant.num_loops)
        with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
            peer.sendall(b"x")
            try:
                received = receive_all(peer)
            except OSError:
                received = b""
    assert received == b""


def test_a_reused_input_buffer_is_valid_until_the_callback_returns(variant: Variant) -> None:
    kept: list[Any] = []

    def data(conn: Conn, chunk: Any) -> Any:
        kept.append(chunk)
        return bytes(chunk)

    events = Events(data=data, options=Options(reuse_input_buffer=True), num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        for size in (1, 1000, 70_000):
            message = os.urandom(size)
            peer.sendall(message)
            assert receive(peer, size) == message
    if variant.poller != "asyncio" and variant.transport != "tls":
        assert all(isinstance(chunk, memoryview) for chunk in kept)
        with pytest.raises(ValueError, match="released"):
            bytes(kept[0])
