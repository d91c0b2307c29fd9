"""The server over sockets: answers in order, never stale, within limits, whatever peers do."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import gzip
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evio_core import Action
from evio_http import Deferred, Limits, Request, Response, Site, VirtualHosts, http_events
from evio_http.connections.handlers import QUEUED_WORK, WORKERS
from evio_http.connections.session import HTTPSession
from evio_http.message.response import FileBody
from evio_http.server import LONGEST_REPEATED
from evio_http.site.auth import BasicAuth, hash_password
from evio_http.site.policy import Policy
from evio_http.site.rules import CacheRules, HeaderRules
from tests.core.harness import (
    TIMEOUT,
    Clock,
    Recorder,
    Running,
    connect,
    no_descriptors_left,
    receive,
    receive_all,
    resident,
    running,
)
from tests.extent import examples
from tests.tables import each_row

from .asking import make_request
from .serving import wait_until_settled

BIG = os.urandom(3 << 20)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory whose files are old enough to be kept in memory."""
    directory = tmp_path / "site"
    directory.mkdir()
    for name, content in {"a.txt": b"aaa", "b.txt": b"bbbb", "big.bin": BIG, "index.html": b"<h1>home</h1>"}.items():
        (directory / name).write_bytes(content)
    wait_until_settled(directory)
    return directory


@contextlib.contextmanager
def serving(*handlers: Any, **options: Any) -> Iterator[Running]:
    with running(http_events(*handlers, **options), "tcp://127.0.0.1:0") as run:
        yield run


def get(path: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", *fields]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


class Answer:
    """A response as it came."""

    def __init__(self, status: int, fields: dict[str, str], body: bytes) -> None:
        self.status = status
        self.fields = fields
        self.body = body


def answer(sock: socket.socket, method: str = "GET") -> Answer:
    """Read one response."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, f"ended in the middle of a head: {head!r}"
        head += byte
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    status = int(first.split()[1])
    bodiless = method == "HEAD" or status in (100, 204, 304)
    body = b"" if bodiless else receive(sock, int(fields["content-length"]))
    return Answer(status, fields, body)


def ask(sock: socket.socket, *arguments: str, method: str = "GET", version: str = "1.1") -> Answer:
    sock.sendall(get(*arguments, method=method, version=version))
    return answer(sock, method)


def once(addr: Any, *arguments: str, method: str = "GET") -> Answer:
    with connect(addr) as sock:
        return ask(sock, *arguments, method=method)


# -- answers from memory


def test_a_head_that_comes_again_is_answered_by_its_own_conditions(site: Path) -> None:
    """A connection remembers its last head: what it found is looked at again, and another head is another request."""
    tag = once_tag(site)
    current, stale = f"If-None-Match: {tag}", 'If-None-Match: "x"'
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        for fields, status in (((), 200), ((current,), 304), ((stale,), 200), ((), 200)):
            for _ in range(3):
                assert ask(sock, "/a.txt", *fields).status == status
        for _ in range(3):
            assert ask(sock, "/a.txt", method="HEAD").body == b""
        for _ in range(2):
            assert ask(sock, "/b.txt").body == b"bbbb"
            assert ask(sock, "/a.txt").body == b"aaa"
        for _ in range(3):
            assert ask(sock, "/a.txt", current).status == 304
        (site / "a.txt").write_bytes(b"new")
        assert ask(sock, "/a.txt", current).body == b"new"


def once_tag(site: Path) -> str:
    with serving(Site(str(site))) as run:
        return once(run.addr, "/a.txt").fields["etag"]


def test_a_connection_remembers_short_heads_only(site: Path) -> None:
    sessions: list[HTTPSession] = []
    events = http_events(Site(str(site)))
    assert events.opened is not None
    opened = events.opened

    def noting(conn: Any) -> Any:
        reply = opened(conn)
        sessions.append(conn.context)
        return reply

    events.opened = noting
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as sock:
        for size in (10, LONGEST_REPEATED):
            for _ in range(3):
                assert ask(sock, "/a.txt", f"Cookie: {'x' * size}").body == b"aaa"
    (session,) = sessions
    assert session.repeated == get("/a.txt", f"Cookie: {'x' * 10}")


def test_a_head_that_comes_again_is_told_to_observers(site: Path) -> None:
    told: list[tuple[bytes, str | None, int, int]] = []

    class Telling:
        def answered(self, session: HTTPSession, request: Request | None, status: int, length: int) -> None:
            assert request is not None
            told.append((request.target, request.headers.get("Referer"), status, length))

    with serving(Site(str(site)), observers=[Telling()]) as run, connect(run.addr) as sock:
        for path, referer in (("/a.txt?1", "here"), ("/a.txt?1", "there"), ("/big.bin", "here")):
            for _ in range(3):
                assert ask(sock, path, f"Referer: {referer}").status == 200
        assert ask(sock, "/a.txt").status == 200  # so that the file has left
    expected = [(b"/a.txt?1", "here", 200, 3), (b"/a.txt?1", "there", 200, 3), (b"/big.bin", "here", 200, len(BIG))]
    assert told == [each for each in expected for _ in range(3)] + [(b"/a.txt", None, 200, 3)]


def test_the_same_request_is_answered_from_memory(site: Path) -> None:
    events = http_events(Site(str(site)))
    opened: list[str] = []
    real = os.open

    def counting(path: Any, *arguments: Any, **options: Any) -> int:
        opened.append(str(path))
        return real(path, *arguments, **options)

    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as sock:
        first = ask(sock, "/a.txt")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", counting)
            for _ in range(20):
                again = ask(sock, "/a.txt")
                assert (again.status, again.body, again.fields["etag"]) == (200, b"aaa", first.fields["etag"])
    assert opened == []


def change_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"new")


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"new")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)


def change_and_set_the_time_back(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"new")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [change_in_place, replace, change_and_set_the_time_back])
@pytest.mark.parametrize("field", ["", "Accept-Encoding: gzip"])
def test_a_changed_file_is_never_stale(site: Path, change: Callable[[Path], None], field: str) -> None:
    fields = [field] if field else []
    with serving(Site(str(site), compress=True)) as run, connect(run.addr) as sock:
        for _ in range(3):
            assert ask(sock, "/a.txt", *fields).body == b"aaa"
        change(site / "a.txt")
        assert ask(sock, "/a.txt", *fields).body == b"new"


@pytest.mark.parametrize("how", ["delete", "rename", "directory", "unsearchable", "link", "fifo"])
def test_a_file_that_is_gone_is_gone(site: Path, how: str) -> None:
    inner = site / "inner"
    inner.mkdir()
    (inner / "a.txt").write_bytes(b"aaa")
    wait_until_settled(site)
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        for _ in range(3):
            assert ask(sock, "/inner/a.txt").body == b"aaa"
        path = inner / "a.txt"
        if how == "delete":
            path.unlink()
        elif how == "rename":
            path.rename(site / "c.txt")
        elif how == "directory":
            inner.rename(site / "elsewhere")
        elif how == "unsearchable":
            inner.chmod(0)
            if os.geteuid() == 0:  # whom modes do not keep out
                inner.chmod(0o755)
                path.unlink()
        else:
            path.unlink()
            path.symlink_to("/etc/passwd") if how == "link" else os.mkfifo(path)
        assert ask(sock, "/inner/a.txt").status in (403, 404)
        inner.chmod(0o755) if inner.exists() else None


def test_a_file_that_appears_is_there(site: Path) -> None:
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        for _ in range(3):
            assert ask(sock, "/new.txt").status == 404
        (site / "new.txt").write_bytes(b"new")
        assert ask(sock, "/new.txt").body == b"new"


def test_whatever_makes_a_missing_file_appear_it_is_there(site: Path) -> None:
    """A 404 from memory is right as long as the nearest directory is the same, but for links that lead nowhere."""
    (site / "dangling.txt").symlink_to("elsewhere/x.txt")
    (site / "later").write_bytes(b"")
    wait_until_settled(site / "later")
    paths = ("/deep/er/x.txt", "/dangling.txt", "/a.txt/x.txt")
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        for _ in range(3):
            assert [ask(sock, path).status for path in paths] == [404, 404, 404]
        (site.parent / "elsewhere").mkdir()
        (site / "elsewhere").mkdir()
        assert [ask(sock, path).status for path in paths] == [404, 404, 404]
        (site / "elsewhere" / "x.txt").write_bytes(b"new")
        assert ask(sock, "/dangling.txt").body == b"new"
        for made in ("deep", "deep/er"):
            (site / made).mkdir()
            for _ in range(3):
                assert ask(sock, "/deep/er/x.txt").status == 404
            wait_until_settled(site / "a.txt")
        (site / "deep" / "er" / "x.txt").write_bytes(b"new")
        assert ask(sock, "/deep/er/x.txt").body == b"new"
        (site / "a.txt").unlink()
        (site / "a.txt").mkdir()
        (site / "a.txt" / "x.txt").write_bytes(b"new")
        assert ask(sock, "/a.txt/x.txt").body == b"new"


def test_a_404_from_memory_asks_for_the_directory_alone(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []
    stat = os.stat

    def noting(path: Any, **options: Any) -> os.stat_result:
        looked.append(path)
        return stat(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", noting)
        with serving(Site(str(site))) as run, connect(run.addr) as sock:
            ask(sock, "/none/x.txt")
            looked.clear()
            assert [ask(sock, "/none/x.txt").status for _ in range(3)] == [404] * 3
    assert looked == [os.fsencode(site)] * 3


def test_a_sibling_that_changes_or_goes_is_noticed_at_once(site: Path) -> None:
    sibling, accepting = site / "a.txt.gz", "Accept-Encoding: gzip"
    first, second = gzip.compress(b"aaa", 1), gzip.compress(b"aaa", 9)  # with the time in them
    sibling.write_bytes(first)
    wait_until_settled(site)
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        for content in (first, second):
            for _ in range(3):
                assert ask(sock, "/a.txt", accepting).body == content
            sibling.write_bytes(second)
            wait_until_settled(sibling)
        sibling.unlink()
        assert ask(sock, "/a.txt", accepting).body == b"aaa"


def test_what_is_for_some_is_not_in_memory_for_others(site: Path) -> None:
    password = {"right": "Authorization: Basic bWU6c2VjcmV0", "wrong": "Authorization: Basic bWU6d3Jvbmc="}
    auth = BasicAuth({"me": hash_password("secret")})
    with serving(Site(str(site), auth=auth)) as run, connect(run.addr) as known, connect(run.addr) as stranger:
        for path in ("/a.txt", "/big.bin"):
            for _ in range(3):
                assert ask(known, path, password["right"]).status == 200
            for sock in (stranger, known):
                assert ask(sock, path).status == 401
                assert ask(sock, path, password["wrong"]).status == 401


def test_revalidate_trades(site: Path) -> None:
    with serving(Site(str(site)), revalidate=1000.0) as run, connect(run.addr) as sock:
        assert ask(sock, "/a.txt").body == b"aaa"
        assert ask(sock, "/a.txt").body == b"aaa"
        (site / "a.txt").write_bytes(b"new")
        assert ask(sock, "/a.txt").body == b"aaa"
        with connect(run.addr) as other:  # of a head that was never seen
            assert ask(other, "/a.txt", "X: y").body == b"aaa"
        date = ask(sock, "/a.txt").fields["date"]
        deadline = time.monotonic() + TIMEOUT
        while (found := ask(sock, "/a.txt")).fields["date"] == date:
            assert time.monotonic() < deadline
        assert found.body == b"aaa"


def test_revalidate_does_not_outlast_its_time(site: Path, clock: Clock) -> None:
    with serving(Site(str(site)), revalidate=600) as run, connect(run.addr) as sock:
        for _ in range(3):
            assert ask(sock, "/a.txt").body == b"aaa"
        (site / "a.txt").write_bytes(b"new")
        assert ask(sock, "/a.txt").body == b"aaa"
        clock.forward(601)
        with connect(run.addr) as other:  # the first one's keep-alive time is over too
            assert ask(other, "/a.txt").body == b"new"
            (site / "a.txt").unlink()
            assert ask(other, "/a.txt").status == 404  # what has just changed is not kept


def test_a_sibling_that_is_made_is_found(site: Path) -> None:
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        assert "content-encoding" not in ask(sock, "/a.txt", "Accept-Encoding: gzip").fields
        (site / "a.txt.gz").write_bytes(gzip.compress(b"aaa"))
        deadline = time.monotonic() + TIMEOUT
        while "content-encoding" not in (found := ask(sock, "/a.txt", "Accept-Encoding: gzip")).fields:
            assert found.body == b"aaa"
            assert time.monotonic() < deadline  # it is a second; see answers/by_request.py
        assert gzip.decompress(found.body) == b"aaa"
        (site / "a.txt").write_bytes(b"changed")
        assert ask(sock, "/a.txt", "Accept-Encoding: gzip").body == b"changed"  # the sibling is older now


def test_date_moves_on_and_is_right(site: Path) -> None:
    from evio_http.message.conditional import parse_http_date

    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        first = ask(sock, "/a.txt").fields["date"]
        deadline = time.monotonic() + TIMEOUT
        while (date := ask(sock, "/a.txt").fields["date"]) == first:
            assert time.monotonic() < deadline
        told = parse_http_date(date)
        assert told is not None
        assert abs(told - time.time()) < 2


def test_head_304_and_ranges_from_memory_are_what_they_were(site: Path) -> None:
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        etag = ask(sock, "/a.txt").fields["etag"]
        for _ in range(3):
            head = ask(sock, "/a.txt", method="HEAD")
            assert (head.status, head.fields["content-length"]) == (200, "3")
            assert ask(sock, "/a.txt", f"If-None-Match: {etag}").status == 304
            part = ask(sock, "/a.txt", "Range: bytes=1-1")
            assert (part.status, part.body, part.fields["content-range"]) == (206, b"a", "bytes 1-1/3")
            assert ask(sock, "/a.txt").body == b"aaa"


def policy() -> Policy:
    """One that adds as many fields as there can be."""
    cache, headers = CacheRules(), HeaderRules()
    cache.add("*.txt", "max-age=60")
    headers.add("*", "Content-Language: en")
    headers.add("*", "Vary: DNT")
    return Policy(cache=cache, headers=headers, security=True, origins=["https://a.example"])


class Counted:
    """A site that counts how often it is asked."""

    shared_requests = True

    def __init__(self, site: Site) -> None:
        self.asked = 0
        self._site = site

    def __call__(self, request: Request) -> Any:
        self.asked += 1
        return self._site(request)


@pytest.mark.parametrize("validator", ["If-None-Match: {etag}", "If-Modified-Since: {last-modified}"])
@pytest.mark.parametrize("path", ["/a.txt", "/big.bin", "/"])
@pytest.mark.parametrize("options", [{}, {"compress": True}, {"policy": policy()}])
def test_the_site_is_not_asked_for_the_304_of_what_is_in_memory(
    site: Path, options: dict[str, Any], path: str, validator: str
) -> None:
    counted = Counted(Site(str(site), **options))
    with serving(counted) as run, connect(run.addr) as sock:
        full = ask(sock, path)
        known = validator.format(**full.fields)
        found = [ask(sock, path, known) for _ in range(2)]
        assert counted.asked == 1
    with serving(Site(str(site), **options)) as run, connect(run.addr) as sock:
        by_the_site = ask(sock, path, known)
    for each in (*found, by_the_site):
        assert each.status == 304
        each.fields.pop("date")
    assert [list(each.fields.items()) for each in found] == [list(by_the_site.fields.items())] * 2


# -- connections


def test_keep_alive_and_close(site: Path) -> None:
    with serving(Site(str(site))) as run:
        with connect(run.addr) as sock:
            assert "connection" not in ask(sock, "/a.txt").fields
            last = ask(sock, "/a.txt", "Connection: close")
            assert (last.fields["connection"], last.body) == ("close", b"aaa")
            assert sock.recv(1) == b""
        with connect(run.addr) as sock:
            assert ask(sock, "/a.txt", version="1.0").fields["connection"] == "close"
            assert sock.recv(1) == b""
        with connect(run.addr) as sock:
            for _ in range(3):
                assert ask(sock, "/a.txt", "Connection: keep-alive", version="1.0").fields["connection"] == "keep-alive"


@pytest.mark.parametrize("paths", [["/a.txt", "/b.txt"] * 500, ["/big.bin", "/a.txt"] * 10, ["/a.txt", "/none"] * 50])
def test_pipelined_requests_are_answered_in_order(site: Path, paths: list[str]) -> None:
    expected = {"/a.txt": b"aaa", "/b.txt": b"bbbb", "/big.bin": BIG}
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        sender = threading.Thread(target=sock.sendall, args=(b"".join(map(get, paths)),))
        sender.start()
        for path in paths:
            got = answer(sock)
            assert (got.status == 404 and path == "/none") or got.body == expected[path]
        sender.join(TIMEOUT)


@pytest.mark.parametrize("size", [30_000, 100_000])  # from memory, and out of the file
def test_a_pipeline_whose_answers_nobody_reads_is_bounded(site: Path, size: int) -> None:
    (site / "mid.bin").write_bytes(b"x" * size)
    wait_until_settled(site)
    request = get("/mid.bin")
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        assert once(run.addr, "/mid.bin").status == 200
        before = resident()
        sock.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while True:
                sock.sendall(request * 1000)  # 30 or 100 MB of answers each
        assert once(run.addr, "/a.txt").body == b"aaa"
        assert resident() - before < 4 << 20


def test_the_last_requests_of_a_peer_that_ends_are_answered(site: Path) -> None:
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        sock.sendall(get("/big.bin") + get("/a.txt"))
        sock.shutdown(socket.SHUT_WR)
        assert answer(sock).body == BIG
        assert answer(sock).body == b"aaa"
        assert sock.recv(1) == b""


def test_a_slow_reader_of_a_last_answer_gets_all_of_it(site: Path) -> None:
    events = http_events(Site(str(site)))
    # Longer than this a closing connection may not take: a large answer has to leave before it closes.
    events.options = type(events.options)(idle_timeout=75.0, close_timeout=0.2)
    with running(events, "tcp://127.0.0.1:0") as run, small_buffer(run.addr) as sock:
        sock.sendall(get("/big.bin", "Connection: close"))
        deadline = time.monotonic() + 0.5
        got = b""
        while time.monotonic() < deadline:
            got += sock.recv(2048)
            time.sleep(0.005)
        got += receive_all(sock)
    assert got.endswith(b"\r\n\r\n" + BIG)


def small_buffer(addr: Any) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(TIMEOUT)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(addr)
    return sock


def test_malformed_requests_are_answered_and_the_connection_is_closed(site: Path) -> None:
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        sock.sendall(get("/a.txt") + b"GET / HTTP/1.1\nHost: a\r\n\r\n" + get("/b.txt"))
        assert answer(sock).body == b"aaa"
        refused = answer(sock)
        assert (refused.status, refused.fields["connection"]) == (400, "close")
        assert sock.recv(1) == b""


def test_content_is_drained_and_expectations_are_met(site: Path) -> None:
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        sock.sendall(b"POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
        refused = answer(sock)
        assert (refused.status, refused.fields["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert ask(sock, "/a.txt").body == b"aaa"
    with serving(lambda request: Response.text(request.body.decode())) as run, connect(run.addr) as sock:
        sock.sendall(EXPECTING % (b"POST", 2))
        assert answer(sock).status == 100
        sock.sendall(b"xx")
        assert answer(sock).body == b"xx"


EXPECTING = b"%b /a.txt HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "status"), [(b"PUT", 405), (b"POST", 405), (b"FROB", 501), (b"OPTIONS", 204), (b"GET", 200)]
)
def test_what_nobody_wants_the_content_of_is_answered_instead_of_100(site: Path, method: bytes, status: int) -> None:
    """RFC 9110 section 10.1.1; what would follow might be content or the next request, so it is the last answer."""
    with serving(Site(str(site))) as run:
        for sent in (b"", b"hello", b"hello" + get("/b.txt")):
            with connect(run.addr) as sock:
                sock.sendall(EXPECTING % (method, 5) + sent)
                final = answer(sock)
                assert (final.status, final.fields["connection"]) == (status, "close")
                assert receive_all(sock) == b""


def test_an_expectation_whose_answer_takes_longer_gets_it_at_once_too(site: Path) -> None:
    protected = Site(str(site), auth=BasicAuth({"ann": hash_password("secret")}))
    with serving(protected) as run, connect(run.addr) as sock:
        # Credentials that are not known yet are verified in another thread.
        credentials = base64.b64encode(b"ann:secret")
        sock.sendall(EXPECTING.replace(b"Host: a", b"Host: a\r\nAuthorization: Basic " + credentials) % (b"PUT", 5))
        final = answer(sock)
        assert (final.status, final.fields["connection"]) == (405, "close")
        assert receive_all(sock) == b""


def test_methods(site: Path) -> None:
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        assert ask(sock, "/a.txt", method="OPTIONS").fields["allow"] == "GET, HEAD, OPTIONS"
        assert ask(sock, "*", method="OPTIONS").status == 204
        assert ask(sock, "/a.txt", method="DELETE").status == 405
        assert ask(sock, "/a.txt", method="FROB").status == 501
        assert ask(sock, "/a.txt").body == b"aaa"


# -- time and number


@pytest.mark.parametrize("piece", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n"])
def test_a_head_has_to_come_in_time(site: Path, piece: bytes) -> None:
    with serving(Site(str(site)), limits=Limits(header_timeout=0.1)) as run, connect(run.addr) as sock:
        sock.sendall(piece)
        assert sock.recv(1) == b""


@pytest.mark.parametrize(
    ("piece", "told"),
    [
        (b"", []),  # it has not asked for anything
        (get("/a.txt"), [("/a.txt", 200)]),
        (get("/a.txt") + b"GET", [("/a.txt", 200), ("", 408)]),
        (get("/", "Content-Length: 9", method="POST"), [("/", 408)]),
        (get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\n", [("/", 408)]),
        (get("/a.txt", "Content-Length: 1", "Content-Length: 2"), [("", 400)]),
    ],
)
def test_a_request_that_did_not_come_in_time_is_noted(site: Path, piece: bytes, told: list[Any]) -> None:
    noted = Recorder()

    class Observer:
        def answered(self, session: HTTPSession, request: Request | None, status: int, length: int) -> None:
            noted.add(request.path.decode() if request is not None else "", status)

    limits = Limits(header_timeout=0.1, keep_alive=0.1)
    with serving(Site(str(site)), limits=limits, observers=[Observer()]) as run:
        with connect(run.addr) as sock:
            sock.sendall(piece)
            receive_all(sock)
        with connect(run.addr) as sock:
            assert ask(sock, "/b.txt").status == 200
        assert noted.events == [*told, ("/b.txt", 200)]


def bytes_in(run: Running, count: int) -> None:
    """Wait until the server has received so many bytes."""
    deadline = time.monotonic() + TIMEOUT
    while run.server.stats().total.bytes_in < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_byte_at_a_time_does_not_extend_the_time_for_a_head(site: Path, clock: Clock) -> None:
    limits = Limits(header_timeout=600, keep_alive=6000)
    with serving(Site(str(site)), limits=limits) as run, connect(run.addr) as sock:
        assert ask(sock, "/a.txt").body == b"aaa"
        before = run.server.stats().total.bytes_in
        for number, byte in enumerate(get("/a.txt")[:6], 1):
            sock.sendall(bytes([byte]))
            bytes_in(run, before + number)
            clock.forward(101, server=run.server)  # 606 s in all
        assert sock.recv(1) == b""


def test_the_time_for_a_head_is_over_with_the_head(site: Path, clock: Clock) -> None:
    limits = Limits(header_timeout=600, keep_alive=6000)
    with serving(Site(str(site)), limits=limits) as run, connect(run.addr) as sock:
        for _ in range(2):
            assert ask(sock, "/a.txt").body == b"aaa"
            clock.forward(601, server=run.server)


def test_an_idle_connection_is_closed(site: Path) -> None:
    with serving(Site(str(site)), limits=Limits(keep_alive=0.1)) as run, connect(run.addr) as sock:
        assert ask(sock, "/a.txt").body == b"aaa"
        assert sock.recv(1) == b""


@pytest.mark.parametrize("request_", [get("/big.bin"), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx"])
def test_who_is_too_slow_is_dropped(site: Path, request_: bytes, clock: Clock) -> None:
    limits = Limits(min_rate=1 << 30, rate_grace=600, keep_alive=6000)
    events = http_events(Site(str(site)), limits=limits)
    events.options = dataclasses.replace(events.options, send_buffer=4096)  # else the kernel may take all of it
    with running(events, "tcp://127.0.0.1:0") as run, small_buffer(run.addr) as sock:
        sock.sendall(request_)
        bytes_in(run, len(request_))
        if request_.startswith(b"GET"):
            assert sock.recv(1)  # the answer is under way
        clock.forward(601, server=run.server)
        with contextlib.suppress(ConnectionResetError):
            assert len(receive_all(sock)) < len(BIG)


def test_who_takes_no_answers_is_dropped_whatever_it_sends(site: Path) -> None:
    (site / "small.txt").write_bytes(b"s" * 10_000)
    wait_until_settled(site)
    events = http_events(Site(str(site)), limits=Limits(min_rate=1 << 20, rate_grace=0.3))
    events.options = dataclasses.replace(events.options, send_buffer=4096)
    asked = 0
    with running(events, "tcp://127.0.0.1:0") as run, small_buffer(run.addr) as greedy, connect(run.addr) as modest:
        assert ask(modest, "/small.txt").status == 200  # it is in memory from now on
        greedy.sendall(get("/small.txt") * 16)
        # Never so many that the server would wait until what was asked before has left: that takes twice as many.
        with pytest.raises(ConnectionError):
            while asked < 200:
                greedy.sendall(get("/a.txt"))
                asked += 1
                assert ask(modest, "/a.txt").status == 200
                time.sleep(0.01)
        assert ask(modest, "/a.txt").status == 200


def test_limits_of_connections(site: Path) -> None:
    with serving(Site(str(site)), limits=Limits(connections=2)) as run:
        with connect(run.addr) as first, connect(run.addr) as second:
            assert ask(first, "/a.txt").status == ask(second, "/a.txt").status == 200
            with connect(run.addr) as third:
                refused = answer(third)
                assert (refused.status, refused.fields["connection"]) == (503, "close")
            assert ask(first, "/a.txt").status == 200
        deadline = time.monotonic() + TIMEOUT
        while once_or_refused(run.addr) != 200:
            assert time.monotonic() < deadline


def once_or_refused(addr: Any) -> int:
    with connect(addr) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(get("/a.txt"))
        return answer(sock).status


def test_limits_of_connections_from_one_address(site: Path) -> None:
    with serving(Site(str(site)), limits=Limits(connections_per_address=1)) as run, connect(run.addr) as first:
        assert ask(first, "/a.txt").status == 200
        with connect(run.addr) as second:
            assert answer(second).status == 503
        with socket.socket() as other:
            other.settimeout(TIMEOUT)
            other.bind(("127.0.0.2", 0))
            other.connect(run.addr)
            assert ask(other, "/a.txt").status == 200


def test_slow_heads_cost_nobody_else(site: Path) -> None:
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(serving(Site(str(site))))
        slow = [stack.enter_context(connect(run.addr)) for _ in range(2000)]
        for sock in slow:
            sock.sendall(b"GET / HTTP/1.1\r\nHo")
        with connect(run.addr) as sock:
            assert ask(sock, "/a.txt").body == b"aaa"
            before = run.server.stats().total.turns
            for number in range(100):
                assert ask(sock, "/a.txt").body == b"aaa"
                slow[number + 1].sendall(b"s")
            assert run.server.stats().total.turns - before <= 2 * 100 + 10  # one for each that sends
        slow[0].sendall(b"st: a\r\n\r\n")
        assert answer(slow[0]).status == 200


# -- a system that has no more


def test_no_descriptors_left_is_503_and_passes(site: Path) -> None:
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        assert ask(sock, "/a.txt").status == 200
        with no_descriptors_left(run.server):
            assert ask(sock, "/b.txt").status == 503
        assert ask(sock, "/b.txt").body == b"bbbb"


def open_files(path: Path) -> int:
    """Count the descriptors of this process that lead to the file."""
    wanted, count = os.fsencode(path.resolve()), 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(os.fsencode(f"/proc/self/fd/{name}")) == wanted
    return count


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_ranges_of_a_file_pin_one_descriptor_and_none_when_everybody_has_gone(site: Path) -> None:
    ended = threading.Event()
    events = http_events(Site(str(site)))
    closed = events.closed
    assert closed is not None

    def tell(conn: Any, error: BaseException | None) -> None:
        closed(conn, error)
        ended.set()

    events.closed = tell
    with running(events, "tcp://127.0.0.1:0") as run:
        with connect(run.addr) as sock:
            for first in range(50):
                for field in (f"Range: bytes={first}-{first + 100}", "X: y", f"Range: bytes={first}-"):
                    sock.sendall(get("/big.bin", field))
                    assert len(answer(sock).body) > 100
            assert open_files(site / "big.bin") == 1
        assert ended.wait(TIMEOUT)
        assert open_files(site / "big.bin") == 0


def test_held_files_go_first_when_descriptors_run_short(site: Path) -> None:
    for number in range(8):
        (site / f"{number}.bin").write_bytes(bytes(200_000))
    wait_until_settled(site)
    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        for number in range(8):
            assert ask(sock, f"/{number}.bin").status == 200
        with no_descriptors_left(run.server):
            assert ask(sock, "/b.txt").body == b"bbbb"
            assert ask(sock, "/big.bin").body == BIG


# -- handlers


def test_a_handler_beside_a_site(site: Path) -> None:
    def hello(request: Request) -> Response | None:
        if request.path != b"/hello":
            return None
        return Response.json({"client": request.client, "method": request.method, "body": request.body.decode()})

    with serving(hello, Site(str(site))) as run, connect(run.addr) as sock:
        for body in ("", "x"):
            fields = ["Content-Length: 1"] if body else []
            sock.sendall(get("/hello", *fields, method="POST") + body.encode())
            assert answer(sock).body == b'{"client": "127.0.0.1", "method": "POST", "body": "%b"}' % body.encode()
        assert ask(sock, "/a.txt").body == b"aaa"


def test_a_handler_in_front_of_a_site_sees_every_request(site: Path) -> None:
    seen: list[bytes] = []

    def spy(request: Request) -> None:
        seen.append(request.path)

    with serving(spy, Site(str(site))) as run, connect(run.addr) as sock:
        for _ in range(5):
            assert ask(sock, "/a.txt").body == b"aaa"
    assert seen == [b"/a.txt"] * 5


def test_a_handler_in_front_sees_every_request_for_what_is_made_later(tmp_path: Path) -> None:
    (tmp_path / "large.txt").write_bytes(b"text " * 100_000)
    wait_until_settled(tmp_path)
    seen: list[bytes] = []

    def look(request: Request) -> None:
        seen.append(request.path)

    with serving(look, Site(str(tmp_path), compress=True)) as run, connect(run.addr) as sock:
        for _ in range(3):
            assert ask(sock, "/large.txt", "Accept-Encoding: gzip").fields["content-encoding"] == "gzip"
    assert len(seen) == 3


def test_a_handler_that_fails_is_500_and_the_connection_lives(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: Request) -> Response | None:
        if request.path == b"/fail":
            raise RuntimeError("of the test")
        return None

    with serving(fail, Site(str(site))) as run, connect(run.addr) as sock:
        assert ask(sock, "/fail").status == 500
        assert ask(sock, "/a.txt").body == b"aaa"
    assert "of the test" in caplog.text


def test_a_response_that_comes_later_keeps_its_place(site: Path) -> None:
    release = threading.Event()

    def slow() -> Response:
        assert release.wait(TIMEOUT)
        return Response.text("slow")

    def handler(request: Request) -> Deferred | None:
        return Deferred(slow) if request.path == b"/slow" else None

    with serving(handler, Site(str(site))) as run, connect(run.addr) as sock:
        sock.sendall(get("/slow") + get("/a.txt"))
        assert once(run.addr, "/b.txt").body == b"bbbb"  # nobody else waits
        release.set()
        assert answer(sock).body == b"slow"
        assert answer(sock).body == b"aaa"


def test_a_server_that_stops_waits_for_what_is_made_in_a_thread() -> None:
    begun, release = threading.Event(), threading.Event()

    def slow() -> Response:
        begun.set()
        assert release.wait(TIMEOUT)
        return Response.text("made")

    with serving(lambda request: Deferred(slow)) as run, connect(run.addr) as sock, connect(run.addr) as idle:
        sock.sendall(get("/") + get("/too-late"))
        assert begun.wait(TIMEOUT)
        run.server.stop(TIMEOUT)
        assert idle.recv(1) == b""  # by now the other one was asked whether it goes on
        release.set()
        last = answer(sock)
        assert (last.body, last.fields["connection"]) == (b"made", "close")
        assert receive_all(sock) == b""
        run.join()


@pytest.mark.parametrize("held", [True, False], ids=["held-back", "slow"])
def test_what_never_comes_does_not_keep_a_server(held: bool) -> None:
    change: Future[None] = Future()
    begun, release = threading.Event(), threading.Event()

    def slow() -> Response:
        begun.set()
        release.wait(TIMEOUT)
        return Response.text("too late for anybody")

    def handler(request: Request) -> Deferred:
        if held:
            begun.set()
        return Deferred(slow, after=change if held else None)

    with serving(handler) as run, connect(run.addr) as sock:
        sock.sendall(get("/"))
        assert begun.wait(TIMEOUT)
        # What is held back may come never, and is not waited for; what a thread is at, for as long as a stop may take.
        run.server.stop(2 * TIMEOUT if held else 0.2)
        assert receive_all(sock) == b""
        run.join()
        release.set()


def test_a_last_answer_from_memory_ends_the_connection(site: Path) -> None:
    with serving(Site(str(site))) as run:
        for path, body in [("/a.txt", b"aaa"), ("/big.bin", BIG)] * 3:
            for field, version in [("Connection: close", "1.1"), ("X: y", "1.0")]:
                with connect(run.addr) as sock:
                    last = ask(sock, path, field, version=version)
                    assert (last.body, last.fields["connection"]) == (body, "close")
                    assert sock.recv(1) == b""
            with connect(run.addr) as sock:
                assert ask(sock, path).body == ask(sock, path).body == body


def test_a_handler_that_returns_something_else_is_500(caplog: pytest.LogCaptureFixture) -> None:
    def wrong(request: Request) -> Any:
        return "text"

    with serving(wrong) as run:
        assert once(run.addr, "/").status == 500
    assert "a handler returns a Response" in caplog.text


def test_a_file_that_comes_too_late_is_closed(site: Path) -> None:
    begun, release, made = threading.Event(), threading.Event(), threading.Event()
    inner = Site(str(site))
    responses: list[Response] = []

    def slow() -> Response:
        begun.set()
        assert release.wait(TIMEOUT)
        response = inner(make_request("/big.bin"))
        assert isinstance(response, Response)
        responses.append(response)
        made.set()
        return response

    with serving(lambda request: Deferred(slow) if request.path == b"/slow" else None, inner) as run:
        with connect(run.addr) as sock:
            sock.sendall(get("/slow"))
            assert begun.wait(TIMEOUT)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert once(run.addr, "/a.txt").body == b"aaa"  # by now the reset has been seen
        release.set()
        assert made.wait(TIMEOUT)
        body = responses[0].body
        assert isinstance(body, FileBody)
        deadline = time.monotonic() + TIMEOUT
        while body.file.fd >= 0:
            assert time.monotonic() < deadline, "the file is still open"
            time.sleep(0.005)


def test_heads_that_were_never_seen_share_an_answer(site: Path) -> None:
    opened: list[Any] = []
    real = os.open

    def counting(path: Any, *arguments: Any, **options: Any) -> int:
        opened.append(path)
        return real(path, *arguments, **options)

    with serving(Site(str(site))) as run, connect(run.addr) as sock:
        assert ask(sock, "/a.txt").body == b"aaa"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", counting)
            for number in range(10):
                assert ask(sock, "/a.txt", f"User-Agent: {number}").body == b"aaa"
        assert opened == []
        assert ask(sock, "/a.txt", "Range: bytes=0-0", "User-Agent: 11").body == b"a"
        (site / "a.txt").write_bytes(b"new")
        assert ask(sock, "/a.txt", "User-Agent: 12").body == b"new"


def test_many_who_ask_for_a_listing_at_once_all_get_it(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number:04}.txt").write_bytes(b"x")
    with serving(Site(str(tmp_path), listing=True)) as run, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(run.addr)) for _ in range(100)]  # more than may wait for different works
        for sock in socks:
            sock.sendall(get("/"))
        found = [answer(sock) for sock in socks]
        assert {each.status for each in found} == {200}
        assert len({each.body for each in found}) == 1


def test_too_much_that_waits_is_503_with_a_time_to_come_again() -> None:
    gate = threading.Event()

    def slow(request: Request) -> Deferred:
        def work() -> Response:
            assert gate.wait(TIMEOUT)
            return Response.text("done")

        return Deferred(work)

    with serving(slow) as run, contextlib.ExitStack() as stack:
        try:
            socks = [stack.enter_context(connect(run.addr)) for _ in range(WORKERS + QUEUED_WORK)]
            for sock in socks:
                sock.sendall(get("/"))
            with connect(run.addr) as late:  # all of one loop: the others have been looked at before it
                refused = ask(late, "/")
            assert (refused.status, refused.fields["retry-after"]) == (503, "1")
        finally:
            gate.set()
        assert {answer(sock).body for sock in socks} == {b"done"}


def test_no_handler_is_404() -> None:
    with serving() as run:
        assert once(run.addr, "/").status == 404


@each_row(
    ("status", "fields"),
    [
        (99, []),
        (100, []),
        (600, []),
        (200, [("X", "a\r\nY: b")]),
        (200, [("X y", "z")]),
        (200, [("Content-Length", "5")]),
    ],
)
def test_a_response_that_cannot_be_sent(status: int, fields: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError):
        Response(status, fields)


def test_virtual_hosts(site: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_bytes(b"other")
    hosts = VirtualHosts({"Other.example": Site(str(other))}, Site(str(site)))
    with serving(hosts) as run, connect(run.addr) as sock:
        for _ in range(2):
            for host, content in [("other.example", b"other"), ("OTHER.example.:80", b"other"), ("localhost", b"aaa")]:
                sock.sendall(f"GET /a.txt HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                assert answer(sock).body == content
        sock.sendall(b"GET http://other.example/a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer(sock).body == b"other"
    with pytest.raises(ValueError, match="not the name of a host"):
        VirtualHosts({"a/b": Site(str(other))}, Site(str(site)))


# -- properties


class FakeConn:
    """A connection without a socket whose peer takes everything at once."""

    def __init__(self, events: Any) -> None:
        self.events = events
        self.context: Any = None
        self.remote_addr = ("192.0.2.1", 1)
        self.tls = None
        self.turn = 0
        self.sent = b""
        self.closed = False
        self.woken = False
        self._reply(events.opened(self))

    @property
    def pending(self) -> int:
        return 0

    def feed(self, data: bytes) -> None:
        self.turn += 1
        if data and not self.closed:
            self._reply(self.events.data(self, data))
        while self.woken and not self.closed:
            self.woken = False
            self._reply(self.events.data(self, b""))

    def write(self, data: bytes) -> None:
        self.sent += data

    def send_file(self, file: int, offset: int, count: int, *, head: bytes = b"") -> None:
        self.sent += head + os.pread(file, count, offset)

    def wake_when_drained(self) -> None:
        self.woken = True

    def set_deadline(self, seconds: float | None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def _reply(self, reply: Any) -> None:
        output, action = (
            reply if isinstance(reply, tuple) else (None, reply) if isinstance(reply, Action) else (reply, None)
        )
        self.sent += output or b""
        self.closed = self.closed or action is Action.CLOSE


REQUESTS = st.sampled_from(
    [
        get("/a.txt"),
        get("/a.txt", method="HEAD"),
        get("/b.txt"),
        get("/b.txt", "User-Agent: x"),
        get("/b.txt", "User-Agent: y", "Accept-Encoding: gzip"),
        get("/b.txt?query"),
        get("/big.bin"),
        get("/big.bin", "Range: bytes=5-9"),
        get("/a.txt", "Range: bytes=1-"),
        get("/b.txt", "Range: bytes=0-0,2-2"),
        get("/b.txt", "Range: bytes=1-1,3-3"),
        get("/a.txt", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"),
        get("/a.txt", 'If-Match: "x"'),
        get("/"),
        get("/none"),
        get("/a.txt", method="OPTIONS"),
        get("/a.txt", method="POST"),
        get("/a.txt", "Content-Length: 3") + b"xyz",
        get("/../a.txt"),
        get("/a.txt", "Connection: keep-alive", version="1.0"),
        get("/a.txt", "Connection: close"),
        b"bad\r\n\r\n",
    ]
)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(REQUESTS, max_size=12), data=st.data())
def test_memory_and_splits_change_no_answer(site: Path, requests: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(requests)
    splits = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))

    def answers(events: Any, pieces: list[bytes]) -> tuple[bytes, bool]:
        conn = FakeConn(events)
        for piece in pieces:
            conn.feed(piece)
        return re.sub(rb"Date: [^\r]+", b"Date:", conn.sent), conn.closed

    hot, cold = http_events(Site(str(site))), http_events(Site(str(site)), hot_bytes=0)
    ends = [*splits, len(stream)]
    expected = answers(cold, [stream])
    assert answers(hot, requests) == expected
    assert answers(hot, requests) == expected  # from memory now
    assert answers(hot, [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]) == expected
