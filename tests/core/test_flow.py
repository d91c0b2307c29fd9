"""Guarantees 5, 6 and 15: back-pressure, quiet when idle, output collected by ``pre_write``; and ``send_file``."""

from __future__ import annotations

import contextlib
import os
import queue
import resource
import select
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from evio_core import Aborted, Action, Conn, Events, Handler, Options, OutputLimitExceeded

from .conftest import NATIVE, POLLERS, Certificates, Variant, use_poller
from .harness import TIMEOUT, Recorder, Running, connect, exchange, receive, receive_all, running, wait_for

BLOCK = os.urandom(64 * 1024)


def turns(run: Running) -> int:
    return run.server.stats().total.turns


def settle(run: Running) -> None:
    """Wait until no turn has happened for a while."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        before = turns(run)
        time.sleep(0.05)
        if turns(run) == before:
            return
    raise AssertionError("the server does not come to rest")


def rests(run: Running, seconds: float = 0.2) -> bool:
    """Tell whether no turn happens in that time. Go's evio woke ten times a second; a spinning loop makes thousands."""
    before = turns(run)
    time.sleep(seconds)
    return turns(run) == before


def rest_of_block(sent: int) -> memoryview:
    """Return the next bytes in an endless repetition of ``BLOCK``, of which ``sent`` bytes have been sent."""
    return memoryview(BLOCK * 2)[sent % len(BLOCK) :][: len(BLOCK)]


def flood(peer: socket.socket, conn: Conn, high_water: int) -> int:
    """Send repetitions of ``BLOCK`` until the server has stopped to read, and all buffers are full; returns how many
    bytes that is. The next call of ``send`` must begin with the same bytes: they may be in a TLS record already."""
    peer.setblocking(False)
    sent = 0
    while True:
        with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
            sent += peer.send(rest_of_block(sent))
            continue
        try:
            wait_for(peer, select.POLLOUT, 0.1)
        except TimeoutError:
            if conn.pending > high_water:
                return sent


def flooded_server(variant: Variant, options: Options, record: Recorder) -> Events:
    """An echo server that puts on record what is pending at each event."""
    return Events(
        opened=lambda conn: record.add("opened", conn),
        data=lambda conn, chunk: record.add("data", conn.pending, len(chunk)) or chunk,  # type: ignore[func-returns-value]
        closed=lambda conn, error: record.add("closed", error),
        num_loops=variant.num_loops,
        options=options,
    )


def test_a_peer_that_never_reads_costs_bounded_memory_and_no_cpu(variant: Variant) -> None:
    record = Recorder()
    options = Options(high_water=200_000, low_water=50_000)
    with running(flooded_server(variant, options, record), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            conn: Conn = record.wait_for("opened")[0][1]
            sent = flood(peer, conn, options.high_water)
            settle(run)
            assert rests(run)
            events = record.wait_for("data")
            # Read below the mark, and on top of it no more than one read brings: 120 KiB here, 256 KiB asyncio.
            assert max(pending for _, pending, _ in events) <= options.high_water
            assert options.high_water < conn.pending <= options.high_water + 256 * 1024
            # It goes on when the peer reads, and not before the low mark.
            rest = rest_of_block(sent)
            received = exchange(peer, rest, sent + len(rest))
            resumed = record.wait_for("data", len(events) + 1)[len(events)]
            assert resumed[1] <= options.low_water
            assert received == (BLOCK * (len(received) // len(BLOCK) + 1))[: sent + len(rest)]
        record.wait_for("closed")


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_peer_that_never_read_and_goes_away_is_noticed(variant: Variant, how: str) -> None:
    record = Recorder()
    options = Options(high_water=100_000, low_water=50_000)
    with running(flooded_server(variant, options, record), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            conn: Conn = record.wait_for("opened")[0][1]
            flood(peer, conn, options.high_water)
            if how == "reset" and variant.transport != "unix":
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert isinstance(record.wait_for("closed")[0][1], ConnectionResetError | BrokenPipeError)
        settle(run)
        assert conn.pending == 0
    assert record.names().count("closed") == 1


def test_beyond_max_pending_the_connection_is_dropped_with_the_reason(variant: Variant) -> None:
    record = Recorder()
    events = Events(
        data=lambda conn, chunk: bytes(32 << 20),
        closed=lambda conn, error: record.add("closed", error, conn.pending),
        options=Options(max_pending=1 << 20),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        _, error, unsent = record.wait_for("closed")[0]
        assert isinstance(error, OutputLimitExceeded)
        assert unsent > 1 << 20
        assert "1048576 allowed" in str(error)


def test_a_paused_connection_is_not_read_and_does_not_spin(variant: Variant) -> None:
    record = Recorder()

    def opened(conn: Conn) -> None:
        conn.context = conn
        conn.pause_reading()
        record.add("opened", conn)

    def data(conn: Conn, chunk: bytes) -> None:
        record.add("data", chunk)

    events = Events(
        opened=opened,
        data=data,
        woken=lambda conn: conn.resume_reading(),
        closed=lambda conn, error: record.add("closed"),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        conn = record.wait_for("opened")[0][1]
        peer.sendall(b"unread")
        if variant.transport != "tls":  # with a session ticket unread, the end of a TLS client would be a reset
            peer.close()  # a poller reports that for as long as the descriptor is polled
        settle(run)
        assert rests(run)
        assert "data" not in record.names()
        conn.wake()
        assert record.wait_for("data") == [("data", b"unread")]
        if variant.transport != "tls":
            record.wait_for("closed")


@pytest.mark.parametrize("what", ["close", "abort", "write", "detach", "stop"])
@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("poller", POLLERS)
def test_a_paused_connection_whose_peer_has_hung_up_can_be_ended(
    poller: str, transport: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hang-up takes the descriptor out of the poller, which then knows nothing of it."""
    use_poller(monkeypatch, poller)
    address = "tcp://127.0.0.1:0" if transport == "tcp" else f"unix://{tmp_path}/s"
    record = Recorder()

    def opened(conn: Conn) -> None:
        conn.pause_reading()
        record.add("opened", conn)

    def woken(conn: Conn) -> Action:
        return Action.DETACH

    def detached(conn: Conn, sock: socket.socket) -> None:
        with sock:
            record.add("detached", sock.recv(10))

    events = Events(
        opened=opened, woken=woken, detached=detached, closed=lambda conn, error: record.add("closed", error)
    )
    with running(events, address) as run:
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
        assert rests(run, 0.35)
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


@pytest.mark.parametrize("size", [1, 100_000, 9 << 20], ids=["a byte", "100 kB", "9 MiB"])
def test_a_file_sent_at_once_is_in_order_with_its_head_and_what_is_returned(
    variant: Variant, tmp_path: Path, size: int
) -> None:
    content = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(content)

    def data(conn: Conn, chunk: bytes) -> bytes:
        for mark in chunk:
            with open(path, "rb") as file:  # closed at once, whatever the kernel has taken
                conn.send_file(file, 0, size, head=b"<%c" % mark)
                conn.send_file(file, size - 1, 1, head=b">")
        return b"<tail>"

    expected = b"".join(b"<%c" % mark + content + b">" + content[-1:] for mark in b"12")
    with running(Events(data=data, num_loops=variant.num_loops), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            for _ in range(2):
                peer.sendall(b"12")
                assert receive(peer, len(expected) + 6) == expected + b"<tail>"
    assert run.server.stats().total.bytes_out == 2 * (len(expected) + 6)


def test_a_file_sent_at_once_that_shrinks_or_cannot_be_read_ends_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> None:
        with open(path, "rb" if chunk == b"shrinks" else "ab") as file:
            conn.send_file(file.fileno(), 0, 5000, head=b"head")

    events = Events(data=data, closed=lambda conn, error: record.add("closed", str(error)))
    with running(events, "tcp://127.0.0.1:0") as run:
        for what, got in ((b"shrinks", b"head" + bytes(1000)), (b"unreadable", b"head")):
            with connect(run.addr) as peer:
                peer.sendall(what)
                assert receive(peer, len(got)) == got
        closed = [error for _, error in record.wait_for("closed", 2)]
        assert "file ended 4000 bytes before" in closed[0]
        assert "Bad file descriptor" in closed[1]


def test_a_file_that_shrinks_while_it_is_taken_ends_the_connection(variant: Variant, tmp_path: Path) -> None:
    size = 32 << 20
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    record = Recorder()

    def opened(conn: Conn) -> None:
        with open(path, "rb") as file:
            conn.send_file(file)

    events = Events(opened=opened, closed=lambda conn, error: record.add("closed", error), num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        taken = len(receive(peer, 12 << 20))
        os.truncate(path, 24 << 20)
        with contextlib.suppress(OSError):
            while chunk := peer.recv(1 << 20):
                taken += len(chunk)
        error = record.wait_for("closed")[0][1]
        assert f"file ended {8 << 20} bytes before" in str(error)
    assert taken <= 24 << 20


def test_while_a_file_is_taken_reading_goes_on_at_the_low_mark(variant: Variant, tmp_path: Path) -> None:
    size = 24 << 20
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> None:
        record.add("data", chunk, conn.pending)
        if chunk == b"file":
            with open(path, "rb") as file:
                conn.send_file(file)
                conn.write(b"end")

    options = Options(high_water=16 << 20, low_water=12 << 20)
    with running(Events(data=data, num_loops=variant.num_loops, options=options), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            peer.sendall(b"file")
            received = receive(peer, 1 << 20)
            peer.sendall(b"more")
            settle(run)
            assert record.names() == ["data"]
            received += receive(peer, size - len(received) + 3)
            assert received == bytes(size) + b"end"
            _, chunk, pending = record.wait_for("data", 2)[1]
            assert chunk == b"more"
            assert 0 < pending <= options.low_water  # far less than that is sent at a time


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


def test_send_file_counts_as_pending_and_after_the_end_keeps_nothing(variant: Variant, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BLOCK)
    record = Recorder()

    def opened(conn: Conn) -> Action:
        with open(path, "rb") as file:
            conn.send_file(file, 5)
            conn.send_file(file, 0, 7)
            conn.write(b"12345")
            record.add("pending", conn.pending)
            conn.close()
            conn.send_file(file)  # of the same turn, and so sent, as a write would be
            record.add("pending", conn.pending)
        return Action.NONE

    def closed(conn: Conn, error: BaseException | None) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            conn.send_file(opened_file)
        record.add("kept", len(os.listdir("/proc/self/fd")) - before)
        record.add("pending", conn.pending)

    events = Events(opened=opened, closed=closed, num_loops=variant.num_loops)
    with open(path, "rb") as opened_file, running(events, variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            assert receive_all(peer) == BLOCK[5:] + BLOCK[:7] + b"12345" + BLOCK
            assert record.wait_for("kept") == [("kept", 0)]
        size = len(BLOCK) - 5 + 7 + 5
        assert record.wait_for("pending", 3) == [
            ("pending", size),
            ("pending", size + len(BLOCK)),
            ("pending", 0),
        ]


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
@pytest.mark.parametrize("poller", POLLERS)
def test_what_is_no_regular_file_ends_only_its_connection(
    poller: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> None:
    use_poller(monkeypatch, poller)
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> bytes | None:
        if chunk == b"echo":
            return chunk
        directory = os.open(tmp_path, os.O_RDONLY)
        conn.send_file(directory, 0, 10)
        os.close(directory)
        return None

    address = f"{scheme}://127.0.0.1:0"
    if scheme == "tls":
        address += f"?cert={certificates.cert}&key={certificates.key}"
    trust = certificates.ca if scheme == "tls" else None
    events = Events(data=data, closed=lambda conn, error: record.add("closed", error))
    with running(events, address) as run, connect(run.addr, trust) as good, connect(run.addr, trust) as bad:
        bad.sendall(b"x")
        assert isinstance(record.wait_for("closed")[0][1], OSError)
        good.sendall(b"echo")
        assert receive(good, 4) == b"echo"


@pytest.mark.parametrize("poller", ["epoll", "asyncio"])
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_large_file_leaves_with_flat_memory(
    scheme: str, poller: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> None:
    use_poller(monkeypatch, poller)
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
    events = Events(opened=opened, options=Options(close_timeout=600))
    with running(events, address) as run:
        with connect(run.addr, certificates.ca if scheme == "tls" else None) as peer:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            received = 0
            while part := peer.recv(1 << 16):
                received += len(part)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert received == size
    assert grown < 32 << 10  # KiB


# -- pre_write


def nothing_arrived(peers: list[socket.socket]) -> bool:
    """Tell whether none of these, which do not block, has anything to read."""
    for peer in peers:
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            assert not peer.getblocking()
            peer.recv(1)
            return False
    return True


def test_output_waits_for_pre_write_which_is_called_once_a_turn(variant: Variant) -> None:
    """Loops are held in a callback while requests of several clients come, which are one turn of each loop then."""
    record = Recorder()
    release, over = threading.Event(), threading.Event()
    peers: list[socket.socket] = []

    def data(conn: Conn, chunk: bytes) -> bytes:
        record.add(threading.get_ident(), "data")
        if chunk == b"hold":
            record.add("held")
            assert release.wait(TIMEOUT)
        return chunk

    def pre_write() -> None:
        if release.is_set() and not over.is_set():
            alone = variant.num_loops == 1  # other loops write when they are ready
            record.add(threading.get_ident(), "commit", not alone or nothing_arrived(peers[1:]))

    events = Events(
        opened=lambda conn: record.add("opened"), data=data, pre_write=pre_write, num_loops=variant.num_loops
    )
    with running(events, variant.address) as run:
        peers += [connect(run.addr, variant.trust) for _ in range(4 * variant.num_loops)]
        record.wait_for("opened", len(peers))
        holders, others = peers[: variant.num_loops], peers[variant.num_loops :]
        for peer in holders:
            peer.sendall(b"hold")
        record.wait_for("held", variant.num_loops)
        for peer in others:
            peer.sendall(b"x")
            peer.setblocking(False)
        release.set()
        for peer in holders:
            assert receive(peer, 4) == b"hold"
        record.wait(lambda seen: [each[1:2] for each in seen].count(("commit",)) >= 2 * variant.num_loops)
        for peer in others:
            peer.settimeout(TIMEOUT)
            assert receive(peer, 1) == b"x"
        over.set()
        for peer in peers:
            peer.close()
    turn: dict[Any, list[str]] = {}
    for ident, *what in record.events:
        if what:
            turn.setdefault(ident, []).append(what[0])
    assert list(turn.values()) == [["data", "commit", "data", "data", "data", "commit"]] * variant.num_loops
    assert all(each[2] for each in record.events if each[1:2] == ("commit",))


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


def test_a_slice_of_a_reused_input_buffer_stays_what_it_was(variant: Variant) -> None:
    kept: list[Any] = []

    def data(conn: Conn, chunk: Any) -> Any:
        kept.append(chunk[1:])
        return bytes(chunk)

    events = Events(data=data, options=Options(reuse_input_buffer=True), num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        for message in (b"one", b"TWO", b"three"):
            peer.sendall(message)
            assert receive(peer, len(message)) == message
    assert [bytes(each) for each in kept] == [b"ne", b"WO", b"hree"]


def barrier(run: Running) -> None:
    """Wait until the loop has done what it was given, and sent what that wrote."""
    for _ in range(2):
        done = threading.Event()
        run.server.call(done.set)
        assert done.wait(TIMEOUT)


@pytest.mark.parametrize("poller", NATIVE)
@pytest.mark.parametrize("transport", ["tcp", "unix", "tls"])
@pytest.mark.parametrize("writes", [0, 1, 2, 5])
def test_input_of_a_peer_that_has_gone_is_delivered_although_a_write_failed(
    poller: str,
    transport: str,
    writes: int,
    tmp_path: Path,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_poller(monkeypatch, poller)
    size = 50_000  # more than a turn reads, and no more than the kernel takes while nothing is read
    record = Recorder()
    conns: queue.Queue[Conn] = queue.Queue()
    got = bytearray()

    def data(conn: Conn, chunk: bytes) -> None:
        got.extend(chunk)
        if len(got) == len(chunk):
            conn.pause_reading()
            conns.put(conn)

    events = Events(
        data=data,
        woken=lambda conn: conn.resume_reading(),
        closed=lambda conn, error: record.add("closed", error),
    )
    address = {
        "tcp": "tcp://127.0.0.1:0",
        "unix": f"unix://{tmp_path}/a.sock",
        "tls": f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}",
    }[transport]
    with running(events, address) as run:
        peer = connect(run.addr, certificates.ca if transport == "tls" else None)
        if transport != "unix":
            # The tickets that it has not read make its end a reset, which takes along what Nagle's algorithm held back.
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.sendall(bytes(size))
        peer.close()
        conn = conns.get(timeout=TIMEOUT)
        for _ in range(writes):
            conn.write(b"more upload")
            barrier(run)
        conn.wake()
        (_, error) = record.wait_for("closed")[0]
    assert len(got) == size
    assert writes < 2 or isinstance(error, ConnectionError)


def test_input_is_read_to_its_end_when_a_reply_to_its_beginning_cannot_be_sent() -> None:
    size = 60_000  # more than a turn reads, and no more than the kernel takes while nothing is read
    record = Recorder()
    arrived = threading.Event()
    got = bytearray()

    def data(conn: Conn, chunk: bytes) -> bytes:
        if not got:
            arrived.wait(TIMEOUT)
        got.extend(chunk)
        return b"reply"

    events = Events(data=data, closed=lambda conn, error: record.add("closed", error))
    with running(events, "tcp://127.0.0.1:0") as run:
        peer = connect(run.addr)
        peer.sendall(bytes(size))
        peer.close()
        arrived.set()
        (_, error) = record.wait_for("closed")[0]
    assert len(got) == size
    assert isinstance(error, ConnectionError)


@pytest.mark.parametrize("way", ["close", "abort", "stop"])
def test_a_connection_that_cannot_be_written_and_is_paused_ends_when_told_to(way: str) -> None:
    record = Recorder()
    conns: queue.Queue[Conn] = queue.Queue()

    def data(conn: Conn, chunk: bytes) -> None:
        conn.pause_reading()
        conns.put(conn)

    events = Events(data=data, closed=lambda conn, error: record.add("closed", error))
    with running(events, "tcp://127.0.0.1:0") as run:
        peer = connect(run.addr)
        peer.sendall(bytes(100_000))
        peer.close()
        conn = conns.get(timeout=TIMEOUT)
        for _ in range(3):
            conn.write(b"x")
            barrier(run)
        assert record.names() == []
        before = run.server.stats().total.turns
        barrier(run)
        assert run.server.stats().total.turns - before <= 4  # it waits, and does not spin
        if way == "stop":
            run.server.stop()
        else:
            getattr(conn, way)()
        (_, error) = record.wait_for("closed")[0]
    assert isinstance(error, Aborted if way == "abort" else ConnectionError)


# -- the low-water mark as an event


def test_a_producer_hears_when_there_is_room_again(variant: Variant) -> None:
    """A stream that is written ahead, up to the high-water mark, and never runs dry."""
    total, piece = 8 << 20, bytes(range(256)) * 256
    left = {"bytes": total}
    record = Recorder()

    def produce(conn: Conn) -> None:
        record.add("produce", conn.pending)
        while left["bytes"] and conn.pending <= conn_high:
            conn.write(piece)
            left["bytes"] -= len(piece)

    conn_high = Options().high_water
    events = Events(opened=produce, writable=produce, num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        received = receive(peer, total)
    assert received == piece * (total // len(piece))
    pending = [event[1] for event in record.events[1:]]
    assert pending
    assert max(pending) <= Options().low_water + (64 * 1024 + 1024 if variant.transport == "tls" else 0)
    assert left["bytes"] == 0


def test_there_is_no_word_of_room_that_was_never_missing(variant: Variant) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> bytes:
        conn.write(bytes(100_000))
        return b"!"

    events = Events(
        data=data,
        writable=lambda conn: record.add("writable"),
        drained=lambda conn: record.add("drained"),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        assert len(receive(peer, 100_001)) == 100_001
        record.wait_for("drained")
    assert "writable" not in record.names()


def test_both_events_come_in_order_when_all_leaves_at_once(variant: Variant) -> None:
    """Even what the kernel takes in one go was over the high-water mark before, and the program may have stopped."""
    record = Recorder()

    def opened(conn: Conn) -> None:
        conn.configure(high_water=1000, low_water=100)
        conn.write(bytes(5000))
        assert conn.pending > 1000

    def writable(conn: Conn) -> bytes | None:
        record.add("writable")
        return b"more" if record.names().count("writable") == 1 else None

    events = Events(
        opened=opened, writable=writable, drained=lambda conn: record.add("drained"), num_loops=variant.num_loops
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        assert receive(peer, 5004) == bytes(5000) + b"more"
        record.wait_for("drained", 2)
    assert record.names() == ["writable", "drained", "drained"]


@pytest.mark.parametrize("poller", POLLERS)
def test_a_callback_that_hears_of_room_may_do_anything(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, poller)
    record = Recorder()

    class Producer(Handler):
        def opened(self) -> None:
            self.conn.configure(high_water=1000, low_water=100)
            self.conn.write(bytes(5_000_000))

        def writable(self) -> tuple[bytes, Action]:
            record.add("writable", self.conn.pending)
            return b"the end", Action.CLOSE

        def closed(self, error: BaseException | None) -> None:
            record.add("closed", error)

    with running(Events(handlers={"tcp://127.0.0.1:0": Producer})) as run, connect(run.addr) as peer:
        assert receive_all(peer)[5_000_000:] == b"the end"
        record.wait_for("closed")
    assert record.names() == ["writable", "closed"]
