"""The proxy example between sockets that check every byte."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from pathlib import Path

import pytest

from tests.core.harness import TIMEOUT, connect, eventually, exchange, receive, receive_all
from tests.extent import FULL

from .running import Example, example

SIZE = (1 << 30) if FULL else (128 << 20)
"""Bytes through it, for which memory has to stay flat."""


def listener() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.settimeout(TIMEOUT)
    return sock


def url(sock: socket.socket) -> str:
    return f"tcp://127.0.0.1:{sock.getsockname()[1]}"


def accept(sock: socket.socket) -> socket.socket:
    """The next connection that carries something: health checks only connect."""
    while True:
        conn, _ = sock.accept()
        conn.settimeout(TIMEOUT)
        if conn.recv(1, socket.MSG_PEEK):
            return conn
        conn.close()


def client(proxy: Example) -> socket.socket:
    return connect(("127.0.0.1", proxy.port))


def memory(proxy: Example) -> int:
    pages = int(Path(f"/proc/{proxy.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.timeout(300)
def test_much_passes_with_flat_memory_to_a_slow_reader() -> None:
    piece = os.urandom(1 << 20)
    with listener() as backend, example("proxy", "tcp://127.0.0.1:0", url(backend), "--check", "3600") as proxy:
        with client(proxy) as peer:
            sent = hashlib.blake2b()

            def send() -> None:
                for _ in range(SIZE // len(piece)):
                    peer.sendall(piece)
                    sent.update(piece)
                peer.shutdown(socket.SHUT_WR)

            peer.settimeout(300)
            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            with accept(backend) as accepted:
                accepted.settimeout(300)
                before, most, received, total = memory(proxy), 0, hashlib.blake2b(), 0
                while chunk := accepted.recv(1 << 18):
                    received.update(chunk)
                    total += len(chunk)
                    if total % 64 < 8:
                        most = max(most, memory(proxy))
                sender.join(TIMEOUT)
                assert (total, received.digest()) == (SIZE, sent.digest())
                assert most - before < 16 << 20
                accepted.sendall(b"the answer, after the end of the request")
                accepted.close()
            assert receive_all(peer) == b"the answer, after the end of the request"
        assert proxy.stop() == ""


def test_a_backend_that_is_down_is_left_out_until_it_is_up() -> None:
    with listener() as one, listener() as two:
        urls = [url(one), url(two)]
        one.close()
        with example("proxy", "tcp://127.0.0.1:0", *urls, "--check", "0.05") as proxy:
            for _ in range(4):
                with client(proxy) as peer:
                    peer.sendall(b"hello")
                    with accept(two) as accepted:
                        assert receive(accepted, 5) == b"hello"
                        accepted.sendall(b"again")
                        assert receive(peer, 5) == b"again"
            assert proxy.process.stdout is not None
            assert proxy.process.stdout.readline().startswith(f"{urls[0]} is down: ")
            with socket.create_server(("127.0.0.1", int(urls[0].rpartition(":")[2]))) as again:
                again.settimeout(TIMEOUT)
                assert proxy.process.stdout.readline() == f"{urls[0]} is up\n"
                two.close()
                assert proxy.process.stdout.readline().startswith(f"{urls[1]} is down: ")
                with client(proxy) as peer:
                    peer.sendall(b"hello")
                    with accept(again) as accepted:
                        assert receive(accepted, 5) == b"hello"


def test_the_backend_is_told_the_clients_address() -> None:
    with listener() as backend:
        with example("proxy", "tcp://127.0.0.1:0", url(backend), "--proxy-protocol", "--check", "3600") as proxy:
            with client(proxy) as peer:
                peer.sendall(b"hello")
                with accept(backend) as accepted:
                    header = receive(accepted, 28)
                    assert header[:16] == b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
                    assert header[16:24] == socket.inet_aton("127.0.0.1") * 2
                    ports = int.from_bytes(header[24:26], "big"), int.from_bytes(header[26:28], "big")
                    assert ports == (peer.getsockname()[1], proxy.port)
                    assert receive(accepted, 5) == b"hello"


def test_without_a_backend_clients_are_reset() -> None:
    with listener() as gone:
        address = url(gone)
    with example("proxy", "tcp://127.0.0.1:0", address) as proxy, client(proxy) as peer:
        with pytest.raises(ConnectionResetError):
            exchange(peer, b"x", 1)
    assert eventually(lambda: proxy.process.poll() is not None)
