"""Hostile requests against a server in a thread: nothing outside is given, and nothing is leaked."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from evio_core import Events, Server
from evio_http import Deferred, Limits, Request, Response, Site, http_events
from evio_http.files.paths import OpenedFile, Root
from evio_http.message.response import FileBody
from tests.core.harness import Running, connect, eventually, receive, receive_all, running
from tests.tables import each_row

from .serving import make_site, wait_until_settled


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_site(tmp_path_factory.mktemp("hostile"))
    wait_until_settled(made)  # the server keeps a file open from the first request for it on
    return made


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[Running]:
    with running(http_events(Site(str(directory), listing=True)), "tcp://127.0.0.1:0") as started:
        yield started


def ask(server: Running, raw: bytes) -> bytes:
    """All that comes back for these bytes, the peer having finished sending."""
    with connect(server.addr) as peer:
        peer.sendall(raw)
        peer.shutdown(socket.SHUT_WR)
        return receive_all(peer)


def get(server: Running, target: bytes) -> tuple[int, bytes]:
    """Status and whole answer for a target as it is."""
    answer = ask(server, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    return int(answer.split(b" ", 2)[1]), answer


@each_row(
    "target, statuses",
    [
        (b"/../../../../etc/passwd", {400}),
        (b"/%2e%2e/%2e%2e/etc/passwd", {400}),
        (b"/sub/..%2f..%2f..%2fetc/passwd", {400}),
        (b"/..%5c..%5cetc%5cpasswd", {400}),
        (b"/..\\..\\etc\\passwd", {400}),
        (b"/%252e%252e/etc/passwd", {404}),
        (b"/%c0%ae%c0%ae/etc/passwd", {400}),
        (b"/%uff0e%uff0e/etc/passwd", {400}),
        (b"/.%00./etc/passwd", {400}),
        (b"/data.json%00.html", {400}),
        (b"/out/passwd", {404}),
        (b"/out", {404}),
        (b"//etc/passwd", {404}),
        (b"/etc/passwd", {404}),
        (b"http://x/../etc/passwd", {400}),
        (b"http://x//etc/passwd", {404}),
        (b"file:///etc/passwd", {400}),
        (b"etc/passwd", {400}),
        (b"/proc/self/environ", {404}),
        (b"/dev/null", {404}),
        (b"/.env", {404}),
        (b"/sub/../.env", {404}),
        (b"/%2eenv", {404}),
        (b"/.well-known/../.env", {404}),
        (b"/" + b"a/" * 3000, {404}),
        (b"/" + b"../" * 2000, {400}),
        (b"/" + b"%61" * 2000, {404}),
    ],
)
def test_nothing_outside_is_given(server: Running, target: bytes, statuses: set[int]) -> None:
    status, answer = get(server, target)
    assert status in statuses
    assert b"root:" not in answer
    assert b"SECRET" not in answer


@pytest.mark.parametrize("target", [b"//evil.example/..", b"//evil.example//sub/../..", b"//evil.example/../sub"])
def test_no_redirect_leads_to_another_host(server: Running, target: bytes) -> None:
    status, answer = get(server, target)
    locations = [line for line in answer.split(b"\r\n") if line.lower().startswith(b"location:")]
    assert status == 200 or locations == [b"Location: /sub/"]


@each_row(
    "query",
    [b"&" * 5000, b"a&" * 150, b"sort=%ff&order=%00", b"sort=size&sort=name", b"sort", b"=", b"?", b"sort=__class__"],
)
def test_a_listing_takes_any_query(server: Running, query: bytes) -> None:
    assert get(server, b"/plain/?" + query)[0] == 200


def test_nothing_of_the_request_is_in_an_error_page(server: Running) -> None:
    for target in (b"/<script>alert(1)</script>", b"/nothing?<script>", b"/%3Cscript%3E", b"bad<script>"):
        assert b"script>" not in get(server, target)[1]
    assert b"evil" not in ask(server, b"GET / HTTP/1.1\r\nHost: evil\r\nevil\r\n\r\n")


def test_a_header_does_not_split_an_answer(server: Running) -> None:
    status, answer = get(server, b"/sub?%0d%0aSet-Cookie:%20x=1")
    assert status == 301
    assert b"\r\nSet-Cookie" not in answer


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


linux = pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")


@linux
def test_no_answer_keeps_a_descriptor(server: Running) -> None:
    paths = [b"/blob.bin", b"/data.json", b"/sub", b"/sub/", b"/plain/", b"/out", b"/nothing", b"/style.css/", b"/.env"]
    fields = [
        b"",
        b"Range: bytes=0-1,5-9\r\n",
        b"Range: bytes=999999999-\r\n",
        b"If-None-Match: *\r\n",
        b'If-Match: "x"\r\n',
    ]
    raw = b"".join(
        method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n" + field + b"\r\n"
        for method in (b"HEAD", b"OPTIONS", b"POST", b"GET")
        for path in paths
        for field in fields
    )
    ask(server, raw)
    wait_until_idle(server)
    before = descriptors()
    for _ in range(3):
        answer = ask(server, raw)
        assert answer.count(b"HTTP/1.1 ") == 4 * len(paths) * len(fields)
    assert eventually(lambda: descriptors() <= before)  # a loop closes what it has dropped at the end of its turn


@linux
def test_a_peer_that_goes_away_costs_no_descriptor(server: Running) -> None:
    get(server, b"/blob.bin")  # the site keeps it open
    wait_until_idle(server)
    before = descriptors()
    for _ in range(20):
        with connect(server.addr) as peer:
            peer.sendall(b"GET /blob.bin HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
            receive(peer, 100)
    wait_until_idle(server)
    assert eventually(lambda: descriptors() <= before)  # a loop closes what it has dropped at the end of its turn


@linux
def test_a_peer_that_goes_away_during_work_costs_no_descriptor(directory: Path) -> None:
    root, go, opened = Root(str(directory)), threading.Event(), threading.Event()

    def work() -> Response:
        assert go.wait(20)
        file = root.open(["blob.bin"])
        assert isinstance(file, OpenedFile)
        opened.set()
        return Response(200, [], FileBody(file, [(0, 1000)], 1000))

    with running(http_events(lambda request: Deferred(work)), "tcp://127.0.0.1:0") as server:
        before = descriptors()
        for _ in range(3):
            with connect(server.addr) as peer:
                peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert eventually(lambda: server.server.stats().total.connections == 1)
                # A reset: a peer that only finished sending would still get its answer.
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            wait_until_idle(server)
            go.set()
            assert opened.wait(20)
            opened.clear()
            go.clear()
        assert eventually(lambda: descriptors() <= before)


@linux
def test_running_out_of_descriptors_is_survived(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What pytest keeps of the log has tracebacks, and they hold what was on the stack.
    monkeypatch.setattr(logging.getLogger("evio"), "disabled", True)
    events = http_events(Site(str(directory)))
    with running(events, "tcp://127.0.0.1:0") as server, connect(server.addr) as peer:
        request = b"GET /blob.bin HTTP/1.1\r\nHost: x\r\n\r\n"
        peer.sendall(request)
        assert receive(peer, 12) == b"HTTP/1.1 200"
        before = descriptors()
        real = os.dup

        def no_dup(fd: int) -> int:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(os, "dup", no_dup)
        for _ in range(5):
            # What cannot be sent to its end is not begun.
            assert ask(server, request).startswith(b"HTTP/1.1 503")
        monkeypatch.setattr(os, "dup", real)
        assert eventually(lambda: descriptors() <= before)
        assert ask(server, request).startswith(b"HTTP/1.1 200")


def test_content_that_a_status_does_not_have_is_not_sent(directory: Path) -> None:
    # RFC 9112 section 6.3: after 204 and 304 the next answer begins at once, whatever a handler gave.
    def handler(request: Request) -> Response | None:
        if request.path == b"/next":
            return Response.text("next")
        return Response(int(request.path[1:]), [], b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    with running(http_events(handler), "tcp://127.0.0.1:0") as server:
        for status in (b"204", b"304"):
            raw = b"GET /" + status + b" HTTP/1.1\r\nHost: x\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n"
            assert b"evil" not in ask(server, raw)


def test_limits_hold_for_the_library_as_well(directory: Path) -> None:
    events: Events = http_events(Site(str(directory)), limits=Limits(head=200, request_line=100, fields=3, body=10))
    with running(events, "tcp://127.0.0.1:0") as server:
        for raw, status in (
            (b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
            (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 200 + b"\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nA: 2\r\nA: 3\r\n\r\n", 431),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", 413),
        ):
            answer = ask(server, raw + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert answer.count(b"HTTP/1.1 ") == 1
            assert b"Connection: close" in answer


def wait_until_idle(server: Running) -> None:
    running_server: Server = server.server
    assert eventually(lambda: running_server.stats().total.connections == 0)
