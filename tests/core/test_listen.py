"""Addresses that come and go while the server runs."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from evio_core import AddressError, Conn, Events, ListenError, Server, ServerStopped, url

from .conftest import Variant
from .harness import TIMEOUT, connect, eventually, exchange, running


class Core:
    """A server that echoes, with the number of each connection's address in front."""

    def __init__(self, num_loops: int = 1) -> None:
        self.there = threading.Event()
        self.server: Server
        self.events = Events(serving=self._serving, data=self._data, num_loops=num_loops)

    def _serving(self, server: Server) -> None:
        self.server = server
        self.there.set()

    def _data(self, conn: Conn, chunk: bytes) -> bytes:
        return b"%d:%b" % (conn.addr_index, bytes(chunk))


def refused(addr: tuple[str, int]) -> bool:
    try:
        socket.create_connection(addr, TIMEOUT).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was closed meanwhile
        return False
    return False


@pytest.mark.parametrize("num_loops", [1, 3])
@pytest.mark.parametrize("options", ["", "?reuseport=true"])
def test_one_more_address_and_its_end(poller: str, num_loops: int, options: str) -> None:
    core = Core(num_loops)
    with running(core.events, "tcp://127.0.0.1:0") as run:
        first = core.server.listening[0]
        assert (first.addr, first.addr_index) == (run.addr, 0)
        second = core.server.listen(f"tcp://127.0.0.1:0{options}")
        third = core.server.listen("tcp://127.0.0.1:0")
        assert [each.addr_index for each in core.server.listening] == [0, 1, 2]
        assert core.server.addrs == (first.addr,)
        clients = [connect(each.addr) for each in (first, second, second, third)]
        for client, number in zip(clients, (0, 1, 1, 2), strict=True):
            assert exchange(client, b"x", 3) == b"%d:x" % number
        first.close()
        second.close()
        second.close()
        assert core.server.listening == (third,)
        for each in (first, second):
            assert eventually(lambda addr=each.addr: refused(addr))  # type: ignore[misc]
        for client, number in zip(clients, (0, 1, 1, 2), strict=True):
            assert exchange(client, b"y", 3) == b"%d:y" % number  # connections stay
            client.close()
        again = core.server.listen(url("tcp", first.addr))
        with connect(first.addr) as client:
            assert exchange(client, b"z", 3) == b"3:z"
        assert again.addr == first.addr
    with pytest.raises(ServerStopped):
        core.server.listen("tcp://127.0.0.1:0")
    for addr in (first.addr, third.addr):
        assert refused(addr)


def test_it_may_be_called_on_a_loop(variant: Variant) -> None:
    """While a connection of any transport asks for it, one more address of that transport."""
    core = Core(variant.num_loops)

    def listen(conn: Conn, chunk: bytes) -> bytes:
        if conn.addr_index:
            return b"other"
        core.server.listen(variant.address)
        return b"there"

    core.events.data = listen
    with running(core.events, variant.address) as run, connect(run.addr, variant.trust) as client:
        assert exchange(client, b"x", 5) == b"there"
        with connect(core.server.listening[1].addr, variant.trust) as other:
            assert exchange(other, b"x", 5) == b"other"


def test_a_unix_socket_is_removed(poller: str, tmp_path: Path) -> None:
    core, path = Core(), tmp_path / "s"
    with running(core.events, "tcp://127.0.0.1:0"):
        listening = core.server.listen(f"unix://{path}")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert exchange(client, b"x", 3) == b"1:x"
            listening.close()
            assert not path.exists()
            assert exchange(client, b"y", 3) == b"1:y"
        core.server.listen(f"unix://{path}")
        assert path.exists()
    assert not path.exists()


def test_datagrams(poller: str) -> None:
    core = Core()
    with running(core.events, "tcp://127.0.0.1:0"), socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT)
        listening = core.server.listen("udp://127.0.0.1:0")
        client.sendto(b"x", listening.addr)
        assert client.recv(100) == b"1:x"
        listening.close()

        def free() -> bool:
            with socket.socket(type=socket.SOCK_DGRAM) as other:
                try:
                    other.bind(listening.addr)
                except OSError:
                    return False
            return True

        assert eventually(free)


def test_what_cannot_be_listened_on(poller: str) -> None:
    core = Core()
    with running(core.events, "tcp://127.0.0.1:0") as run:
        with pytest.raises(ListenError):
            core.server.listen(url("tcp", run.addr))
        with pytest.raises(AddressError):
            core.server.listen("nonsense")
        if poller != "asyncio":
            with pytest.raises(AddressError, match="this server has no -net address"):
                core.server.listen("tcp-net://127.0.0.1:0")
        assert len(core.server.listening) == 1
        with connect(run.addr) as client:
            assert exchange(client, b"x", 3) == b"0:x"
