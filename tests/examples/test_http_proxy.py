"""The HTTP proxy between requests (urllib3) and two servers: evio_http, and the standard library's."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evio_core import Action, Events, start
from evio_http import Site, http_events
from tests.core.harness import TIMEOUT, connect, receive_all
from tests.ports import free_port

from .running import example

pytest.importorskip("h11", reason="h11 is not installed")
requests: Any = pytest.importorskip("requests", reason="requests is not installed")


class Mirror(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps([self.command, self.path, dict(self.headers), content.decode()]).encode()
        self.send_response(200)
        self.send_header("Connection", "keep-alive, x-internal")
        self.send_header("X-Internal", "not for clients")
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for each in (body[start : start + 1000] for start in range(0, len(body), 1000)):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(each), each))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    do_POST = do_GET = answer  # noqa: N815

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def mirror() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_requests_and_responses_pass_whole() -> None:
    with mirror() as backend, example("http-proxy", "tcp://127.0.0.1:0", backend) as proxy:
        with requests.Session() as session:
            for path in ("/plain?x=1", "/chunked"):
                for content in ("", "x" * 1_000_000, iter([b"in ", b"pieces"])):
                    got = session.post(proxy.urls[0] + path, data=content, headers={"X-Own": "1"}, timeout=TIMEOUT)
                    method, asked, sent, received = got.json()
                    fields = {name.lower(): value for name, value in sent.items()}
                    assert (method, asked, fields["x-own"]) == ("POST", path, "1")
                    assert fields["x-forwarded-for"] == "127.0.0.1"
                    assert received == (content if isinstance(content, str) else "in pieces")
                    assert "X-Internal" not in got.headers
        proxy.stop()


def test_connections_to_the_backend_are_kept_and_large_files_pass(tmp_path: Path) -> None:
    large = os.urandom(16 << 20)
    (tmp_path / "large").write_bytes(large)
    with start(http_events(Site(str(tmp_path))), "tcp://127.0.0.1:0") as backend:
        address = f"tcp://127.0.0.1:{backend.addrs[0][1]}"
        with example("http-proxy", "tcp://127.0.0.1:0", address) as proxy, requests.Session() as session:
            for _ in range(20):
                assert session.get(proxy.urls[0] + "/no", timeout=TIMEOUT).status_code == 404
                with requests.Session() as another:
                    head = another.head(proxy.urls[0] + "/large", timeout=TIMEOUT)
                    assert head.headers["Content-Length"] == str(len(large))
            assert session.get(proxy.urls[0] + "/large", timeout=TIMEOUT).content == large
            assert backend.stats().total.accepted == 1
            proxy.stop()


def test_pipelined_requests_are_answered_in_order() -> None:
    with mirror() as backend, example("http-proxy", "tcp://127.0.0.1:0", backend) as proxy:
        with connect(("127.0.0.1", proxy.port)) as client:
            for number in range(5):
                last = b"Connection: close\r\n" if number == 4 else b""
                client.sendall(b"GET /%d HTTP/1.1\r\nHost: x\r\n%b\r\n" % (number, last))
            received = receive_all(client)
        assert [received.find(b'"GET", "/%d"' % number) > 0 for number in range(5)] == [True] * 5
        positions = [received.index(b'"GET", "/%d"' % number) for number in range(5)]
        assert positions == sorted(positions)
        proxy.stop()


def test_a_kept_connection_that_has_gone_is_replaced() -> None:
    """The backend closes each connection after its first response, without having said so."""

    def data(conn: Any, chunk: bytes) -> Any:
        if conn.context is None:
            conn.context = True
            return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        return Action.CLOSE

    with start(Events(data=data), "tcp://127.0.0.1:0") as backend:
        address = f"tcp://127.0.0.1:{backend.addrs[0][1]}"
        with example("http-proxy", "tcp://127.0.0.1:0", address) as proxy, requests.Session() as session:
            for _ in range(5):
                assert session.get(proxy.urls[0], timeout=TIMEOUT).text == "ok"
            assert session.post(proxy.urls[0], data="once", timeout=TIMEOUT).status_code == 502
            proxy.stop()


def test_what_is_wrong_is_said() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    with example("http-proxy", "tcp://127.0.0.1:0", address) as proxy:
        assert requests.get(proxy.urls[0], timeout=TIMEOUT).status_code == 502
        with connect(("127.0.0.1", proxy.port)) as client:
            client.sendall(b"nonsense\r\n\r\n")
            assert receive_all(client).startswith(b"HTTP/1.1 400")
        proxy.stop()
