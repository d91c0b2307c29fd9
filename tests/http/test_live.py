"""Pages that reload themselves: versions, the script in pages, the answers that are held back."""

from __future__ import annotations

import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from evio_http import Deferred, Request, Response, Site, http_events
from evio_http.connections.handlers import QUEUED_WORK, WORKERS, Handlers
from evio_http.connections.peers import TrustedProxies
from evio_http.site.live import HOLD, Changes, Live
from tests.core.harness import connect, eventually, receive_all, running
from tests.tables import each_row

from .asking import ask, make_request
from .serving import serving

HTML = "text/html; charset=utf-8"
TAG = re.compile(
    rb'\n<script async src="/_evio/live.js" data-version="([0-9a-f]+\.[0-9]+)" nonce="([\w-]+)"></script>\n$'
)


def test_versions() -> None:
    changes = Changes()
    first = changes.version
    assert changes.since(first) is None
    changes.add(only_styles=True)
    assert changes.since(first) == "style"
    second = changes.version
    changes.add(only_styles=False)
    changes.add(only_styles=True)
    assert [changes.since(first), changes.since(second), changes.since(changes.version)] == ["reload", "reload", None]
    last = changes.version
    for _ in range(100):
        changes.add(only_styles=True)
    assert changes.since(last) == "style"
    changes.add(only_styles=True)
    assert changes.since(last) == "reload"  # so many changes are not remembered one by one
    for unknown in ("", "x", "x.1", first[:-1] + "9999", first[:-1] + "-1", Changes().version):
        assert changes.since(unknown) == "reload"


def test_who_waits_goes_on_with_the_next_change_or_after_a_time() -> None:
    changes = Changes()
    waiting = changes.next()
    assert changes.next() is waiting
    changes.add(only_styles=True)
    assert waiting.done()
    waiting = changes.next()
    changes.release(0.0)
    assert not waiting.done()
    changes.release(float("inf"))
    assert waiting.done()
    changes.release(float("inf"))


def page_of(response: Response, *fields: str, method: str = "GET") -> tuple[bytes, dict[str, str]]:
    got = ask(Live(lambda request: response, Changes()), "/", *fields, method=method)
    return got.body, got.fields


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 404])
def test_a_page_gets_the_script_and_loses_what_is_about_its_file(status: int, method: str) -> None:
    fields = [
        ("Content-Type", HTML),
        ("ETag", '"x"'),
        ("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "max-age=9"),
        ("X-A", "1"),
    ]
    response = Response(status, fields, b"<h1>page</h1>")
    body, sent = page_of(response, method=method)
    assert TAG.sub(b"", body) == b"<h1>page</h1>"
    assert TAG.search(body)
    assert sent == {"content-type": HTML, "x-a": "1", "cache-control": "no-cache"}
    assert response.body == b"<h1>page</h1>"


@each_row(
    ("response", "fields"),
    [
        (Response(200, [("Content-Type", "text/plain")], b"x"), ()),
        (Response(200, [("Content-Type", "application/xhtml+xml")], b"<html/>"), ()),
        (Response(200, [("Content-Type", "text/html; charset=UTF-16LE")], b"x\0"), ()),
        (Response(200, [("Content-Type", "text/html")], b"\xff\xfex\0"), ()),
        (Response(200, [("Content-Type", HTML), ("Content-Encoding", "gzip")], b"x"), ()),
        (Response(200, [("Content-Type", HTML)], b"part of a page"), ("Sec-Fetch-Dest: empty", "Accept: text/html")),
        (Response(200, [("Content-Type", HTML)], b"page"), ("Accept: application/json",)),
        (Response(302, [("Location", "/a")]), ()),
    ],
)
def test_what_is_no_page_is_only_asked_for_each_time(response: Response, fields: tuple[str, ...]) -> None:
    body, sent = page_of(response, *fields)
    assert body == response.body
    assert sent == {name.lower(): value for name, value in response.headers} | {"cache-control": "no-cache"}


@each_row(
    ("policy", "sent"),
    [
        ("default-src 'none'; style-src x", "default-src 'none'; style-src x; script-src 'self'; connect-src 'self'"),
        ("default-src 'self'", "default-src 'self'"),
        ("script-src 'none'; Connect-Src a b", "script-src 'self'; connect-src a b 'self'"),
        ("script-src-elem a", "script-src-elem a 'self'"),
        ("script-src 'nonce-x' 'strict-dynamic'", "script-src 'nonce-x' 'strict-dynamic' 'nonce-NONCE'"),
        ("img-src a, connect-src b", "img-src a, connect-src b 'self'"),
    ],
)
def test_a_policy_allows_the_script(policy: str, sent: str) -> None:
    body, fields = page_of(Response(200, [("Content-Type", HTML), ("Content-Security-Policy", policy)], b""))
    found = TAG.search(body)
    assert found is not None
    assert fields["content-security-policy"] == sent.replace("NONCE", found[2].decode())


def test_around_a_site(tmp_path: Path) -> None:
    (tmp_path / "large.html").write_bytes(b"<p>x</p>\n" * 10000)
    (tmp_path / "a.txt").write_bytes(b"text" * 1000)
    live = Live(Site(str(tmp_path), listing=True, compress=True), Changes())
    whole = ask(live, "/large.html", "Accept-Encoding: gzip", "Range: bytes=0-3", "Sec-Fetch-Dest: document")
    assert (whole.status, TAG.sub(b"", whole.body)) == (200, b"<p>x</p>\n" * 10000)
    page = live(make_request("/large.html"))
    assert isinstance(page, Response)
    assert page.source is None
    assert TAG.search(ask(live, "/", "Accept: text/html").body)
    assert ask(live, "/a.txt", "Range: bytes=0-3").body == b"text"
    assert ask(live, "/large.html", method="POST").status == 405


@pytest.fixture
def live_site(tmp_path: Path) -> Iterator[tuple[socket.socket, Changes]]:
    changes = Changes()
    with (
        running(http_events(Live(Site(str(tmp_path)), changes)), "tcp://127.0.0.1:0") as run,
        connect(run.addr) as sock,
    ):
        yield sock, changes


def test_the_answer_comes_with_the_change(live_site: tuple[socket.socket, Changes]) -> None:
    sock, changes = live_site
    version = changes.version
    sock.sendall(b"GET /_evio/live?since=%b HTTP/1.0\r\n\r\n" % version.encode())
    # The future is made when it is asked for: then there is somebody who waits.
    assert eventually(lambda: changes._next is not None)
    changes.add(only_styles=True)
    head, _, content = receive_all(sock).partition(b"\r\n\r\n")
    assert b"Content-Type: text/event-stream" in head
    now = changes.version
    assert content == f"retry: 200\nid: {now}\nevent: style\ndata: {now}\n\n".encode()


def test_nothing_is_said_when_nothing_has_changed(live_site: tuple[socket.socket, Changes]) -> None:
    sock, changes = live_site
    sock.sendall(b"GET /_evio/live HTTP/1.0\r\nLast-Event-ID: %b\r\n\r\n" % changes.version.encode())
    assert eventually(lambda: changes._next is not None)
    changes.release(changes._until)
    assert receive_all(sock).endswith(f"\r\n\r\nretry: 200\nid: {changes.version}\n\n".encode())
    assert HOLD < 60


def test_those_who_wait_take_no_thread_and_come_to_an_end(live_site: tuple[socket.socket, Changes]) -> None:
    sock, changes = live_site
    request = f"GET /_evio/live?since={changes.version} HTTP/1.0\r\n\r\n".encode()
    others = [connect(sock.getpeername()) for _ in range(WORKERS + QUEUED_WORK + 10)]
    try:
        for each in others:
            each.sendall(request)
        sock.sendall(b"GET /_evio/live?since=other HTTP/1.0\r\n\r\n")  # answered although so many wait
        assert b"event: reload" in receive_all(sock)
        changes.add(only_styles=False)
        assert all(b"event: reload" in receive_all(each) for each in others)
    finally:
        for each in others:
            each.close()


def test_work_after_a_future_that_finds_no_thread_is_503() -> None:
    handlers = Handlers([], TrustedProxies())
    blocked, changes = threading.Event(), Changes()
    answers: list[int] = []

    def work() -> Response:
        blocked.wait()
        return Response(200)

    def done(response: Response) -> None:
        answers.append(response.status)

    request: Request = make_request("/")
    assert handlers.begin(request, Deferred(work, after=changes.next()), done)
    for _ in range(WORKERS + QUEUED_WORK):
        assert handlers.begin(request, Deferred(work), done)
    changes.add(only_styles=True)
    assert answers == [503]
    blocked.set()
    assert eventually(lambda: len(answers) == 1 + WORKERS + QUEUED_WORK)


def version_at(served_url: str) -> str:
    host, _, port = served_url.removeprefix("http://").rpartition(":")
    with connect((host, int(port))) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        found = TAG.search(receive_all(sock))
    assert found is not None
    return found[1].decode()


def test_files_are_watched(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    (tmp_path / "index.html").write_text("<h1>page</h1>")
    log = tmp_path / "access.log"
    with serving(str(tmp_path), "--port", "0", "--live", "--access-log", str(log)) as served:
        first = version_at(served.url)
        (tmp_path / "index.html").write_text("<h1>other</h1>")
        assert eventually(lambda: version_at(served.url) != first)
        with connect(("127.0.0.1", served.port)) as sock:
            sock.sendall(b"GET /_evio/live?since=%b HTTP/1.0\r\n\r\n" % first.encode())
            assert b"event: reload" in receive_all(sock)
        assert served.stop() == 0
    logged = log.read_text()
    assert '"GET / HTTP/1.1" 200' in logged
    assert "_evio" not in logged


def test_what_nobody_gets_is_not_watched(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    from watchfiles import Change

    from evio_http.cli.watcher import Watcher

    log = tmp_path / "access.log"
    watcher = Watcher([str(tmp_path)], Changes(), [str(log)], dotfiles=False)
    looked = [f"{tmp_path}/{name}" for name in ("a.html", "a/b.css", "access.log", ".git/x", ".x", "a.swp", "a~")]
    assert [path for path in looked if watcher._is_wanted(Change.modified, path)] == looked[:2]
    assert Watcher([str(tmp_path)], Changes(), [], dotfiles=True)._is_wanted(Change.modified, f"{tmp_path}/.x")
    watcher.close()


def test_without_watchfiles_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from evio_http.cli.arguments import parse_arguments
    from evio_http.cli.build import Setup, UsageError

    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(UsageError, match=r"--live needs watchfiles: pip install evio-http\[live\]"):
        Setup(parse_arguments([str(tmp_path), "--live"]))
