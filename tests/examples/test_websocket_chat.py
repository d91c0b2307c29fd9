"""The chat as the websockets package sees it, and a thousand clients at once."""

from __future__ import annotations

import base64
import os
import socket
from typing import Any

import pytest

from tests.core.harness import TIMEOUT, connect, receive, receive_all
from tests.extent import examples

from .running import Example, example

pytest.importorskip("wsproto", reason="wsproto is not installed")

CROWD = examples(1000)


def join(server: Example) -> Any:
    client: Any = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
    return client.connect(f"ws://127.0.0.1:{server.port}", open_timeout=TIMEOUT, close_timeout=TIMEOUT)


def test_everybody_hears_what_one_says() -> None:
    with example("websocket-chat", "tcp://127.0.0.1:0") as server:
        with join(server) as one, join(server) as two:
            for text in ("hello", "\u00fcmlaut \U0001f600", "x" * 60_000):
                one.send(text)
                assert one.recv(TIMEOUT) == two.recv(TIMEOUT) == text
            two.send(["in ", "three ", "pieces"])
            assert one.recv(TIMEOUT) == two.recv(TIMEOUT) == "in three pieces"
            pong = one.ping()
            assert pong.wait(TIMEOUT)
        with join(server) as one:
            one.send("still there")
            assert one.recv(TIMEOUT) == "still there"
        server.stop()


@pytest.mark.parametrize(("message", "code"), [("x" * 70_000, 1009), (b"bytes", 1003)])
def test_what_is_not_for_a_chat_ends_it(message: str | bytes, code: int) -> None:
    exceptions: Any = pytest.importorskip("websockets.exceptions", reason="websockets is not installed")
    with example("websocket-chat", "tcp://127.0.0.1:0") as server, join(server) as client:
        client.send(message)
        with pytest.raises(exceptions.ConnectionClosed):
            client.recv(TIMEOUT)
        assert client.close_code == code
        server.stop()


def test_plain_http_is_refused() -> None:
    with example("websocket-chat", "tcp://127.0.0.1:0") as server:
        with connect(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert receive_all(client).startswith(b"HTTP/1.1 4")
        server.stop()


def handshake(sock: socket.socket) -> None:
    key = base64.b64encode(os.urandom(16))
    sock.sendall(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % key
    )


def end_of_head(sock: socket.socket) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += receive(sock, 1)
    assert head.startswith(b"HTTP/1.1 101")


def test_a_thread_speaks_to_a_thousand() -> None:
    """It reads the server's terminal, line by line."""
    with example("websocket-chat", "tcp://127.0.0.1:0") as server:
        crowd = [connect(("127.0.0.1", server.port)) for _ in range(CROWD)]
        for each in crowd:
            handshake(each)
        for each in crowd:
            end_of_head(each)
        assert server.process.stdin is not None
        for number in range(10):
            server.process.stdin.write(f"line {number}\n")
            server.process.stdin.flush()
        expected = b"".join(b"\x81\x06line %d" % number for number in range(10))
        for each in crowd:
            assert receive(each, len(expected)) == expected
            each.close()
        server.stop()
