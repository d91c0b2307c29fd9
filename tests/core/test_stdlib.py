"""Particulars of the fallback: mixed servers, and serving inside an asyncio program."""

from __future__ import annotations

import asyncio
import os
import queue
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from evio_core import Action, Conn, Events, Reply, Server, serve, stdlib

from .conftest import Certificates, use_poller
from .harness import TIMEOUT, Recorder, connect, exchange, receive, receive_all, running

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

new_loop: list[Callable[[], asyncio.AbstractEventLoop]] = []


@pytest.fixture(params=LOOPS)
def loop_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """Has ``run_program`` use asyncio's own loop, and the one that many programs use in its place."""
    new_loop[:] = [LOOPS[request.param]]
    yield request.param
    new_loop.clear()


def run_program(program: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(program, TIMEOUT)

    with asyncio.Runner(loop_factory=new_loop[0]) as runner:
        runner.run(bounded())


def test_one_net_address_does_not_convert_the_others() -> None:
    threads: dict[int, int] = {}

    def data(conn: Conn, chunk: bytes) -> bytes:
        threads[conn.addr_index] = threading.get_ident()
        return chunk

    def serving(server: Server) -> None:
        threads[-1] = threading.get_ident()

    with running(Events(serving=serving, data=data), "tcp://127.0.0.1:0", "tcp-net://127.0.0.1:0") as run:
        for addr in run.server.addrs:
            with connect(addr) as peer:
                peer.sendall(b"hello")
                assert receive(peer, 5) == b"hello"
        assert run.server.num_loops == 1
    assert threads[0] == threads[-1]
    assert threads[1] != threads[-1]


def test_callbacks_of_a_mixed_server_never_run_at_the_same_time() -> None:
    inside = threading.Lock()
    overlaps: list[int] = []

    def data(conn: Conn, chunk: bytes) -> bytes:
        if not inside.acquire(blocking=False):
            overlaps.append(conn.addr_index)
            return chunk
        for _ in range(2000):
            pass
        inside.release()
        return chunk

    with running(Events(data=data), "tcp://127.0.0.1:0", "tcp-net://127.0.0.1:0") as run:
        peers = [connect(addr) for addr in run.server.addrs]
        for _ in range(300):
            for peer in peers:
                peer.sendall(b"x")
            for peer in peers:
                assert receive(peer, 1) == b"x"
        for peer in peers:
            peer.close()
    assert overlaps == []


def in_program(
    events: Events, client: Callable[[Any], None], *, cancel: bool = False, address: str = "tcp://127.0.0.1:0"
) -> None:
    """Serve inside an asyncio program while a client talks in a thread, then stop or cancel."""

    async def program() -> None:
        started: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        events.serving = started.set_result
        task = asyncio.create_task(stdlib.serve(events, address))
        server = await started
        await asyncio.to_thread(client, server.addrs[0])
        if cancel:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            server.stop()
            await task

    run_program(program())


@pytest.mark.usefixtures("loop_kind")
@pytest.mark.parametrize("num_loops", [1, 3])
def test_serving_inside_a_running_program(num_loops: int) -> None:
    def client(addr: Any) -> None:
        for _ in range(6):
            with connect(addr) as peer:
                peer.sendall(b"hello")
                assert receive(peer, 5) == b"hello"

    in_program(Events(data=lambda conn, chunk: chunk, num_loops=num_loops), client)


@pytest.mark.usefixtures("loop_kind")
def test_cancelling_stops_in_good_order() -> None:
    record = Recorder()
    peers = []

    def client(addr: Any) -> None:
        peers.append(connect(addr))
        peers[0].sendall(b"x")
        assert receive(peers[0], 1) == b"x"

    in_program(
        Events(data=lambda conn, chunk: chunk, closed=lambda conn, error: record.add("closed", error)),
        client,
        cancel=True,
    )
    assert record.events == [("closed", None)]
    assert peers[0].recv(1) == b""
    peers[0].close()


@pytest.mark.usefixtures("loop_kind")
def test_shutdown_from_a_callback_ends_the_awaited_server() -> None:
    async def program() -> None:
        await stdlib.serve(Events(tick=lambda: Action.SHUTDOWN), "tcp://127.0.0.1:0")

    run_program(program())


def test_a_wake_inside_a_callback_neither_recurses_nor_deadlocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVIO_POLLER", "asyncio")
    depth = [0, 0]

    def woken(conn: Conn) -> bytes | None:
        depth[0] += 1
        depth[1] = max(depth)
        conn.context = (conn.context or 0) + 1
        conn.wake()
        depth[0] -= 1
        return b"done" if conn.context == 50 else None

    events = Events(data=lambda conn, chunk: woken(conn), woken=woken)
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x")
        assert receive(peer, 4) == b"done"
    assert depth[1] == 1


@pytest.mark.usefixtures("loop_kind")
@pytest.mark.parametrize("act", ["write", "send_file", "close", "abort"])
def test_what_a_coroutine_of_the_program_does_to_a_connection_is_done_at_once(act: str, tmp_path: Path) -> None:
    """It runs in the loop's thread, and in no turn of the server's."""
    (tmp_path / "file").write_bytes(b"hello")
    record = Recorder()

    async def program() -> None:
        loop = asyncio.get_running_loop()
        started: asyncio.Future[Server] = loop.create_future()
        asked: asyncio.Future[Conn] = loop.create_future()
        events = Events(
            serving=started.set_result,
            data=lambda conn, chunk: asked.set_result(conn),
            closed=lambda conn, error: record.add("closed", error),
        )
        task = asyncio.create_task(stdlib.serve(events, "tcp://127.0.0.1:0"))
        reader, writer = await asyncio.open_connection(*(await started).addrs[0])
        writer.write(b"?")
        conn = await asked
        await asyncio.sleep(0)  # whatever turn there was is over
        await asyncio.sleep(0)
        if act == "write":
            conn.write(b"hello")
        elif act == "send_file":
            with open(tmp_path / "file", "rb") as file:
                conn.send_file(file)
        else:
            getattr(conn, act)()
        if act in ("write", "send_file"):
            assert await reader.readexactly(5) == b"hello"
        elif act == "close":
            assert await reader.read() == b""
        else:
            with pytest.raises(ConnectionResetError):
                await reader.read()
        writer.close()
        (await started).stop()
        await task

    run_program(program())
    assert len(record.wait_for("closed")) == 1


@pytest.mark.usefixtures("loop_kind")
@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
@pytest.mark.parametrize("transport", ["tcp", "unix", "tls"])
def test_large_echoes_are_whole(size: int, transport: str, tmp_path: Path, certificates: Certificates) -> None:
    message = os.urandom(size)
    address = {
        "tcp": "tcp://127.0.0.1:0",
        "unix": f"unix://{tmp_path}/a.sock",
        "tls": f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}",
    }[transport]

    def client(addr: Any) -> None:
        with connect(addr, certificates.ca if transport == "tls" else None) as peer:
            assert exchange(peer, message, size) == message

    in_program(Events(data=lambda conn, chunk: chunk), client, address=address)


@pytest.mark.usefixtures("loop_kind")
@pytest.mark.parametrize("way", ["detach", "close", "half-close"])
def test_how_a_connection_ends(way: str) -> None:
    detached: queue.Queue[socket.socket] = queue.Queue()

    def data(conn: Conn, chunk: bytes) -> Reply:
        return (chunk, Action.DETACH) if way == "detach" else (chunk, Action.CLOSE) if way == "close" else chunk

    def client(addr: Any) -> None:
        with connect(addr) as peer:
            peer.sendall(b"hello")
            assert receive(peer, 5) == b"hello"
            if way == "detach":
                with detached.get(timeout=TIMEOUT) as sock:
                    sock.sendall(b"more")
                assert receive_all(peer) == b"more"
            else:
                if way == "half-close":
                    peer.shutdown(socket.SHUT_WR)
                assert receive_all(peer) == b""

    in_program(Events(data=data, detached=lambda conn, sock: detached.put(sock)), client)


@pytest.mark.usefixtures("loop_kind")
def test_datagrams() -> None:
    def client(addr: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(TIMEOUT)
            for message in (b"one", b"", b"three"):
                peer.sendto(message, addr)
                assert peer.recv(100) == message

    in_program(Events(data=lambda conn, chunk: chunk), client, address="udp://127.0.0.1:0")


@pytest.mark.usefixtures("loop_kind")
def test_serve_says_what_to_do_where_a_loop_runs_already(monkeypatch: pytest.MonkeyPatch) -> None:
    async def program() -> None:
        with pytest.raises(RuntimeError, match=r"await evio_core\.stdlib\.serve\(\.\.\.\) there"):
            serve(Events(), "tcp-net://127.0.0.1:0")
        monkeypatch.setenv("EVIO_POLLER", "asyncio")
        with pytest.raises(RuntimeError, match="runs an asyncio loop already"):
            serve(Events(), "tcp://127.0.0.1:0")

    run_program(program())


# -- an event loop that polls no descriptors, as that of Windows


@pytest.fixture
def readerless(monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, "readerless")


@pytest.mark.usefixtures("readerless")
def test_datagrams_need_no_readers() -> None:
    with running(Events(data=lambda peer, chunk: chunk), "udp://127.0.0.1:0") as run:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(TIMEOUT)
            peer.sendto(b"x", run.addr)
            assert peer.recv(100) == b"x"


@pytest.mark.usefixtures("readerless")
def test_descriptors_that_cannot_be_polled_are_an_error(caplog: pytest.LogCaptureFixture) -> None:
    errors: queue.Queue[Any] = queue.Queue()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def watch() -> None:
            try:
                server.watch(sock, readable=lambda: None)
            except OSError as error:
                errors.put(str(error))

        with running(Events(closed=lambda conn, error: errors.put(str(error))), "tcp://127.0.0.1:0") as run:
            server = run.server
            server.call(watch)
            assert "polls no descriptors" in errors.get(timeout=TIMEOUT)
            server.watch(sock, readable=lambda: None)  # from another thread: into the log
            server.dial(f"udp://127.0.0.1:{sock.getsockname()[1]}")
            assert "polls no descriptors" in errors.get(timeout=TIMEOUT)
            with connect(run.addr):  # and the server goes on
                pass
    assert "cannot watch descriptor" in caplog.text
