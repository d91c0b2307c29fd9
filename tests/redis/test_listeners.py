"""CONFIG SET port and bind: a server moves while clients stay connected."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import evio_redis
from evio_core import proxy_header
from tests.core.harness import eventually
from tests.ports import free_port

from .wire import TIMEOUT, Wire, redis_server

OK = b"+OK\r\n"
FAILED = "-ERR CONFIG SET failed (possibly related to argument '%s') - %s\r\n"


def reachable(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), TIMEOUT).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.fixture(params=["evio-redis", "redis-server"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    if request.param == "redis-server":
        with redis_server() as real:
            yield real
    else:
        with evio_redis.Server(port=free_port()) as server:
            yield server.port


def test_another_port(port: int) -> None:
    new = free_port()
    with Wire(port) as wire:
        assert wire.ask(f"CONFIG SET port {new}") == OK
        with Wire(new) as other:
            assert other.ask("PING") == wire.ask("PING") == b"+PONG\r\n"
            assert b"tcp_port:%d\r\n" % new in other.ask("INFO server")
        assert eventually(lambda: not reachable("127.0.0.1", port))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            before = wire.ask("CONFIG GET maxmemory timeout")
            command = f"CONFIG SET maxmemory 10000001 port {taken.getsockname()[1]} timeout 7"
            assert wire.ask(command).decode() == FAILED % ("port", "Unable to listen on this port. Check server logs.")
        assert wire.ask("CONFIG GET maxmemory timeout") == before
        assert wire.ask("CONFIG GET port") == b"*2\r\n$4\r\nport\r\n$%d\r\n%d\r\n" % (len(str(new)), new)
        assert reachable("127.0.0.1", new)
        assert wire.ask("CONFIG SET port 0") == OK
        assert eventually(lambda: not reachable("127.0.0.1", new))
        assert wire.ask(f"CONFIG SET port {port}") == OK
        assert reachable("127.0.0.1", port)
        assert wire.ask("CONFIG SET port 65536").startswith(b"-ERR CONFIG SET failed")


def test_other_hosts(port: int) -> None:
    with Wire(port) as wire:
        assert not reachable("127.0.0.2", port)
        for bind, there in (
            ("127.0.0.1 127.0.0.2", ("127.0.0.1", "127.0.0.2")),
            ("127.0.0.2", ("127.0.0.2",)),
            ("*", ("127.0.0.1", "127.0.0.2", "127.0.0.3")),
            ("127.0.0.1 -203.0.113.7", ("127.0.0.1",)),
        ):
            assert wire.ask(["CONFIG", "SET", "bind", bind]) == OK
            for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
                assert eventually(lambda host=host, there=there: reachable(host, port) == (host in there))  # type: ignore[misc]
        for bind in ("203.0.113.7", "nosuchhost.invalid", "127.0.0.1 203.0.113.7"):
            reply = wire.ask(["CONFIG", "SET", "bind", bind]).decode()
            assert reply == FAILED % ("bind", "Failed to bind to specified addresses.")
        assert wire.ask("CONFIG GET bind") == b"*2\r\n$4\r\nbind\r\n$22\r\n127.0.0.1 -203.0.113.7\r\n"
        assert reachable("127.0.0.1", port)


@pytest.mark.parametrize("loops", [1, 3])
def test_with_a_unix_socket_and_several_loops(tmp_path: Path, loops: int) -> None:
    path, new = str(tmp_path / "s"), free_port()
    with evio_redis.Server(port=0, unixsocket=path, loops=loops) as server, Wire(path) as wire:
        assert server.port == 0
        assert wire.ask(f"CONFIG SET port {new}") == OK
        assert server.port == new
        assert wire.ask("CONFIG SET bind 127.0.0.2") == OK
        assert eventually(lambda: reachable("127.0.0.2", new))
        assert eventually(lambda: not reachable("127.0.0.1", new))
        assert wire.ask("CONFIG SET port 0") == OK
        assert eventually(lambda: not reachable("127.0.0.2", new))
        with Wire(path) as other:
            assert other.ask("PING") == b"+PONG\r\n"


def test_a_port_that_was_any_stays_when_the_hosts_change() -> None:
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire:
        port = server.port
        assert wire.ask("CONFIG SET bind 127.0.0.2") == OK
        assert eventually(lambda: reachable("127.0.0.2", port))
        assert eventually(lambda: not reachable("127.0.0.1", port))


# -- behind a load balancer


def proxied(port: int, header: bytes) -> Wire:
    wire = Wire(port)
    wire.send(header)
    return wire


@pytest.mark.parametrize("port", [0, None], ids=["only", "beside a port"])
def test_clients_of_a_load_balancer_are_known_by_their_own_addresses(port: int | None) -> None:
    other = free_port()
    own = free_port() if port is None else 0
    with evio_redis.Server(port=own, proxy_protocol_port=other, protected_mode="no") as server:
        first = b"PROXY TCP4 203.0.113.7 192.0.2.1 4000 6379\r\n"
        second = proxy_header(("2001:db8::7", 4001), ("2001:db8::1", 6379))
        for header, shown in ((first, b"addr=203.0.113.7:4000"), (second, b"addr=[2001:db8::7]:4001")):
            with proxied(other, header) as wire:
                assert shown in wire.ask("CLIENT LIST")
        with proxied(other, b"PING\r\n") as wire:  # no header
            assert wire.rest() == b""
        if own:
            assert server.port == own
            with Wire(own) as wire:
                assert b"addr=127.0.0.1:" in wire.ask("CLIENT LIST")
                assert wire.ask(f"CONFIG SET port {(moved := free_port())}") == OK
            assert reachable("127.0.0.1", moved)
            assert reachable("127.0.0.1", other)


def test_who_says_to_be_near_is_not_believed_from_elsewhere() -> None:
    """Protected mode asks where clients are, and so who says it matters."""
    other = free_port()
    near = b"PROXY TCP4 127.0.0.1 127.0.0.1 4000 6379\r\n"
    with evio_redis.Server(port=0, proxy_protocol_port=other, proxy_protocol_networks="192.0.2.0/24 2001:db8::/32"):
        with proxied(other, near) as wire:
            assert wire.rest() == b""
    with evio_redis.Server(port=0, proxy_protocol_port=other):
        with proxied(other, near) as wire:
            assert wire.ask("PING") == b"+PONG\r\n"
        with proxied(other, b"PROXY TCP4 203.0.113.7 192.0.2.1 4000 6379\r\n") as wire:
            assert wire.rest().startswith(b"-DENIED")
