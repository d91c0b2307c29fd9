"""Addresses with ``proxy_protocol=true``."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from evio_core import Conn, Events, Options

from .conftest import POLLERS, Certificates, use_poller
from .harness import TIMEOUT, Recorder, connect, receive, receive_all, running

V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 51234 443\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H4s4sHH", 12, b"\xc0\0\2\1", b"\xc6\x33\x64\2", 51234, 443)
V2_LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0"
REMOTE, LOCAL = ("192.0.2.1", 51234), ("198.51.100.2", 443)


@pytest.fixture(params=POLLERS, autouse=True)
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use_poller(monkeypatch, request.param)
    return str(request.param)


def echo_with_addresses(seen: queue.Queue[Any]) -> Events:
    return Events(
        opened=lambda conn: seen.put((conn.remote_addr, conn.local_addr)), data=lambda conn, chunk: bytes(chunk)
    )


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("size", [1, 7, 10000])
def test_header_in_any_pieces_with_data_right_behind(header: bytes, size: int) -> None:
    seen: queue.Queue[Any] = queue.Queue()
    with running(echo_with_addresses(seen), "tcp://127.0.0.1:0?proxy_protocol=true") as run, connect(run.addr) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        message = header + b"hello"
        for at in range(0, len(message), size):
            peer.sendall(message[at : at + size])
        assert receive(peer, 5) == b"hello"
        assert seen.get(timeout=TIMEOUT) == (REMOTE, LOCAL)


def test_local_command_keeps_the_sockets_own_addresses() -> None:
    seen: queue.Queue[Any] = queue.Queue()
    with running(echo_with_addresses(seen), "tcp://127.0.0.1:0?proxy_protocol=true") as run, connect(run.addr) as peer:
        peer.sendall(V2_LOCAL + b"hello")
        assert receive(peer, 5) == b"hello"
        assert seen.get(timeout=TIMEOUT) == (peer.getsockname(), peer.getpeername())


@pytest.mark.parametrize("networks", ["10.0.0.0/8", "::1,192.0.2.0/24"])
def test_whoever_is_not_in_the_networks_is_dropped_unopened(networks: str) -> None:
    record = Recorder()
    events = Events(opened=lambda conn: record.add("opened"))
    with running(events, f"tcp://127.0.0.1:0?proxy_protocol={networks}") as run:
        with connect(run.addr) as peer, contextlib.suppress(OSError):  # a reset answers what is sent
            peer.sendall(V1)
            assert receive_all(peer) == b""
        assert run.server.stats().total.connections == 0
    assert record.names() == []


def test_whoever_is_in_one_of_the_networks_is_believed() -> None:
    seen: queue.Queue[Any] = queue.Queue()
    address = "tcp://127.0.0.1:0?proxy_protocol=10.0.0.0/8,127.0.0.0/8"
    with running(echo_with_addresses(seen), address) as run, connect(run.addr) as peer:
        peer.sendall(V1)
        assert seen.get(timeout=TIMEOUT) == (REMOTE, LOCAL)


def test_over_unix(tmp_path: Path) -> None:
    seen: queue.Queue[Any] = queue.Queue()
    with (
        running(echo_with_addresses(seen), f"unix://{tmp_path}/s?proxy_protocol=10.0.0.0/8") as run,
        connect(run.addr) as peer,
    ):
        peer.sendall(V1 + b"hello")
        assert receive(peer, 5) == b"hello"
        assert seen.get(timeout=TIMEOUT) == (REMOTE, LOCAL)


def test_before_tls(certificates: Certificates) -> None:
    import ssl

    seen: queue.Queue[Any] = queue.Queue()
    address = f"tls://127.0.0.1:0?proxy_protocol=true&cert={certificates.cert}&key={certificates.key}"
    with running(echo_with_addresses(seen), address) as run, connect(run.addr) as raw:
        raw.sendall(V2)
        context = ssl.create_default_context(cafile=certificates.ca)
        with context.wrap_socket(raw, server_hostname="localhost") as peer:
            peer.sendall(b"hello")
            assert receive(peer, 5) == b"hello"
        assert seen.get(timeout=TIMEOUT) == (REMOTE, LOCAL)


@pytest.mark.parametrize(
    "junk",
    [b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"PROXY TCP4 " + b"1" * 200, V2[:12] + b"\x31\x11\0\0", b""],
    ids=["http", "short", "endless", "version 3", "nothing"],
)
def test_malformed_headers_drop_the_connection_unopened(junk: bytes) -> None:
    record = Recorder()
    events = Events(opened=lambda conn: record.add("opened"), closed=lambda conn, error: record.add("closed", error))
    with running(events, "tcp://127.0.0.1:0?proxy_protocol=true") as run:
        with connect(run.addr) as peer, contextlib.suppress(OSError):  # unread junk is answered by a reset
            peer.sendall(junk)
            peer.shutdown(socket.SHUT_WR)
            assert receive_all(peer) == b""
        with connect(run.addr) as peer:  # it goes on
            peer.sendall(V1)
            record.wait_for("opened")
    assert record.names() == ["opened", "closed"]


def test_a_header_that_does_not_come_is_not_waited_for() -> None:
    record = Recorder()

    def opened(conn: Conn) -> None:
        record.add("opened")

    events = Events(opened=opened, options=Options(handshake_timeout=0.05))
    with running(events, "tcp://127.0.0.1:0?proxy_protocol=true") as run, connect(run.addr) as peer:
        peer.sendall(b"PRO")
        with contextlib.suppress(ConnectionResetError):
            assert receive_all(peer) == b""
        assert run.server.stats().total.connections == 0
    assert record.names() == []
