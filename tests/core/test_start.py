"""``start``: a server in a thread as a context manager."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from evio_core import Action, AddressError, Events, Handler, ListenError, Server, TLSError, start

from .harness import TIMEOUT, Recorder, connect, eventually, exchange, receive, receive_all


class Echo(Handler):
    def data(self, chunk: bytes) -> bytes:
        return chunk


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("evio")]


def test_it_serves_until_the_block_ends(poller: str) -> None:
    with start({"tcp://127.0.0.1:0": Echo}) as server:
        assert server.is_running
        with connect(server.addrs[0]) as peer:
            assert exchange(peer, b"hello", 5) == b"hello"
    assert not server.is_running
    assert not threads()
    with pytest.raises(ConnectionRefusedError):
        connect(server.addrs[0])


def test_serving_has_returned_when_it_starts(poller: str) -> None:
    seen: list[Server] = []
    with start(Events(serving=seen.append), "tcp://127.0.0.1:0") as server:
        assert seen == [server]


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("tcp://", AddressError),
        ("tcp://127.0.0.1:%d", ListenError),
        ("tls://127.0.0.1:0?cert=/nowhere&key=/nowhere", TLSError),
    ],
)
def test_what_is_wrong_with_an_address_is_raised_here(poller: str, address: str, kind: type[Exception]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(kind):
            start(Events(), address % taken.getsockname()[1] if "%d" in address else address)
    assert not threads()


def test_what_serving_raises_is_raised_here(poller: str, tmp_path: Path) -> None:
    def serving(server: Server) -> None:
        raise LookupError("no data")

    with pytest.raises(LookupError, match="no data"):
        start(Events(serving=serving), f"unix://{tmp_path}/s")
    assert not threads()
    assert not (tmp_path / "s").exists()


def test_what_ends_it_later_is_raised_at_the_end_of_the_block(poller: str) -> None:
    failed = threading.Event()

    def tick() -> float:
        if failed.is_set():
            raise ZeroDivisionError("tick")
        return 0.001

    with pytest.raises(ZeroDivisionError, match="tick"):
        with start(Events(tick=tick), "tcp://127.0.0.1:0") as server:
            failed.set()
            assert eventually(lambda: not server.is_running)


def test_join_waits_and_raises_once(poller: str) -> None:
    def data(conn: object, chunk: bytes) -> None:
        raise SystemExit("enough")

    with start(Events(data=data), "tcp://127.0.0.1:0") as server:
        with pytest.raises(TimeoutError):
            server.join(0.01)
        with connect(server.addrs[0]) as peer:
            peer.sendall(b"x")
            with pytest.raises(SystemExit, match="enough"):
                server.join(TIMEOUT)
    server.join()


def test_a_shutdown_in_the_block_is_waited_for(poller: str) -> None:
    """Not cut short by the end of the block, which is no second call of ``stop``."""
    record = Recorder()
    output = bytes(8 << 20)

    def data(conn: object, chunk: bytes) -> object:
        record.add("data")
        return output, Action.SHUTDOWN

    received: list[int] = []
    with start(Events(data=data), "tcp://127.0.0.1:0") as server:  # type: ignore[arg-type]
        peer = connect(server.addrs[0])
        peer.sendall(b"x")
        record.wait_for("data")
        reader = threading.Thread(target=lambda: received.append(len(receive_all(peer))))
        reader.start()
    reader.join(TIMEOUT)
    peer.close()
    assert received == [len(output)]


def test_an_error_in_the_block_stops_the_server_and_goes_on(poller: str) -> None:
    with pytest.raises(LookupError):
        with start({"tcp://127.0.0.1:0": Echo}) as server:
            raise LookupError
    assert not server.is_running


def test_without_with_it_is_closed(poller: str) -> None:
    server = start({"tcp://127.0.0.1:0": Echo})
    with connect(server.addrs[0]) as peer:
        peer.sendall(b"x")
        assert receive(peer, 1) == b"x"
    server.close()
    assert not server.is_running


def test_it_serves_beside_an_asyncio_loop(poller: str) -> None:
    import asyncio

    async def program() -> bytes:
        with start({"tcp://127.0.0.1:0": Echo}) as server:
            host, port = server.addrs[0][:2]
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"hello")
            received = await reader.readexactly(5)
            writer.close()
            await writer.wait_closed()
            return received

    assert asyncio.run(program()) == b"hello"
