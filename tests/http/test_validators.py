"""Validators of files: the same for copies, never those of another content (RFC 9110 section 8.8)."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from evio_http import Deferred, Response, Site
from evio_http.files import validators
from evio_http.files.validators import ETAGS, READ_AT_ONCE, Validators

from .asking import Asked, ask, make_request
from .serving import wait_until_settled

YEAR_2020 = 1_577_836_800_123_456_789


def write(path: Path, content: bytes, mtime: int | None = None) -> None:
    """Write a file, and wait until another write would show."""
    path.write_bytes(content)
    if mtime is not None:
        os.utime(path, ns=(mtime, mtime))
    wait_until_settled(path)


def validated(asked: Asked) -> tuple[str | None, str | None]:
    return asked.fields.get("etag"), asked.fields.get("last-modified")


@pytest.mark.parametrize("etag", ["stat", "content"])
def test_a_copy_has_the_same_validators(tmp_path: Path, etag: str) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    write(first / "a.txt", b"content")
    shutil.copytree(first, second)
    shutil.copy2(first / "a.txt", first / "b.txt")
    wait_until_settled(tmp_path)
    answers = [
        validated(ask(Site(str(directory), etag=etag), name))
        for directory, name in ((first, "/a.txt"), (first, "/b.txt"), (second, "/a.txt"))
    ]
    assert len(set(answers)) == 1
    tag, modified = answers[0]
    assert tag is not None
    assert tag.startswith('"')  # strong
    assert modified is not None
    assert str((first / "a.txt").stat().st_ino) not in tag


@pytest.mark.parametrize("etag", ETAGS)
def test_what_was_written_just_now_has_no_validators(
    tmp_path: Path, etag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another write within the clock's grain would leave size and times as they are."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"one")
    now = path.stat().st_ctime_ns
    monkeypatch.setattr(time, "time_ns", lambda: now)
    site = Site(str(tmp_path), etag=etag)
    since = "If-Modified-Since: Fri, 31 Dec 2100 23:59:59 GMT"
    young = ask(site, "/a.txt", since)
    assert (young.status, validated(young)) == (200, (None, None))
    part = ask(site, "/a.txt", "Range: bytes=1-", 'If-Range: "x"')
    assert (part.status, part.body) == (200, b"one")
    response = site(make_request("/a.txt"))
    assert isinstance(response, Response)
    assert response.source is None  # nor is it kept in memory
    now += 10_000_000_000
    old = ask(site, "/a.txt", since)
    assert (old.status, old.fields.get("etag") is None) == (304, etag == "off")


@pytest.mark.parametrize("etag", ETAGS)
@pytest.mark.parametrize("how", ["in place", "replaced", "made anew"])
@pytest.mark.parametrize("mtime", [1, 315_532_800_000_000_000, YEAR_2020], ids=["1", "1980", "2020"])
def test_what_keeps_size_and_mtime_is_another_content_all_the_same(
    tmp_path: Path, how: str, mtime: int, etag: str
) -> None:
    path, old, new = tmp_path / "app.js", b"old content", b"new content"
    write(path, old, mtime)
    site = Site(str(tmp_path), etag=etag)
    tag, modified = validated(ask(site, "/app.js"))
    for content in (new, old, new):
        if how == "in place":
            write(path, content, mtime)
        else:
            write(tmp_path / "other", content, mtime)
            if how == "made anew":
                path.unlink()
            os.replace(tmp_path / "other", path)
            wait_until_settled(path)
        for name, value in (("If-None-Match", tag), ("If-Modified-Since", modified)):
            if value is not None and content == new:
                stale = ask(site, "/app.js", f"{name}: {value}")
                assert (stale.status, stale.body) == (200, new)
        for value in (tag, modified):
            if value is not None and content == new:
                resumed = ask(site, "/app.js", "Range: bytes=4-", f"If-Range: {value}")
                assert (resumed.status, resumed.body) == (200, new)
        fresh, _ = validated(ask(site, "/app.js"))
        if etag != "off":
            assert fresh is not None
            assert ask(site, "/app.js", f"If-None-Match: {fresh}").status == 304


def test_a_date_that_cannot_be_is_not_sent(tmp_path: Path) -> None:
    for number, mtime in enumerate((0, 1_000_000_000, time.time_ns() + 86_400_000_000_000)):
        write(tmp_path / f"{number}.txt", b"content", mtime)
    write(tmp_path / "3.txt", b"other", 0)
    answers = [validated(ask(Site(str(tmp_path)), f"/{number}.txt")) for number in range(4)]
    assert [modified for _, modified in answers] == [None] * 4
    tags = [tag for tag, _ in answers]
    assert tags[0] == tags[1] == tags[2] != tags[3]  # of the content


def test_a_version_of_its_own_for_each_size_time_and_coding(tmp_path: Path) -> None:
    text = b"text that can be compressed " * 50
    tags = set()
    for size, mtime in ((len(text), YEAR_2020), (len(text), YEAR_2020 + 1), (len(text) - 1, YEAR_2020)):
        write(tmp_path / "a.txt", text[:size], mtime)
        for coding in ("identity", "gzip"):
            for etag in ("stat", "content"):
                site = Site(str(tmp_path), etag=etag, compress=True)
                tags.add((size, coding, etag, ask(site, "/a.txt", f"Accept-Encoding: {coding}").fields["etag"]))
    assert len({tag for *_, tag in tags}) == 6 + 4  # content is the same whatever its mtime is


def test_off_leaves_the_date(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", b"content", YEAR_2020)
    site = Site(str(tmp_path), etag="off")
    tag, modified = validated(ask(site, "/a.txt"))
    assert (tag, modified) == (None, "Wed, 01 Jan 2020 00:00:00 GMT")
    assert ask(site, "/a.txt", f"If-Modified-Since: {modified}").status == 304
    assert ask(site, "/a.txt", "If-None-Match: *").status == 304
    assert ask(site, "/a.txt", 'If-Match: "x"').status == 412
    assert ask(site, "/a.txt", 'If-None-Match: ""', f"If-Modified-Since: {modified}").status == 200


def test_what_is_not_small_is_read_in_another_thread_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "big.bin", bytes(READ_AT_ONCE + 1), YEAR_2020)
    site = Site(str(tmp_path), etag="content")
    first = site(make_request("/big.bin"))
    assert isinstance(first, Deferred)
    made = first.work()
    assert made.status == 200
    assert made.source is not None
    made.close()
    reading: list[int] = []
    monkeypatch.setattr(validators.os, "pread", lambda *arguments: reading.append(1))  # type: ignore[attr-defined]
    again = site(make_request("/big.bin"))
    assert isinstance(again, Response)
    assert dict(again.headers)["ETag"] == dict(made.headers)["ETag"]
    again.close()
    assert not reading


def test_a_file_that_changes_while_it_is_read_has_no_validators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    write(path, b"one", YEAR_2020)
    site = Site(str(tmp_path), etag="content")
    read = os.read

    def reading(fd: int, count: int) -> bytes:
        path.write_bytes(b"two")
        return read(fd, count)

    monkeypatch.setattr(validators.os, "read", reading)  # type: ignore[attr-defined]
    assert validated(ask(site, "/a.txt")) == (None, None)


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validators, "MOST_DIGESTS", 3)
    monkeypatch.setattr(validators, "MOST_GIVEN", 3)
    for number in range(9):
        write(tmp_path / f"{number}.txt", b"%d" % number, YEAR_2020)
    made: list[Validators] = []

    def make(kind: str) -> Validators:
        made.append(Validators(kind))
        return made[-1]

    monkeypatch.setattr("evio_http.site.site.Validators", make)
    site = Site(str(tmp_path), etag="content")
    for number in range(9):
        ask(site, f"/{number}.txt")
    assert (len(made[0]._digests), len(made[0]._given)) == (3, 3)


def test_a_choice_that_is_none() -> None:
    with pytest.raises(ValueError, match="etag is one of stat, content, off, not 'x'"):
        Validators("x")
