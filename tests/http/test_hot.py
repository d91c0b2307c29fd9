"""Answers in memory: what has to make room is gone for all who refer to it, and its descriptor is closed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evio_http import Response
from evio_http.answers import by_request as known
from evio_http.answers.by_request import KnownAnswers
from evio_http.answers.cache import OVERHEAD, HeldFile, HotAnswer, HotCache
from evio_http.files.version import FileSource, FileVersion
from evio_http.message.response import DateClock

from .asking import make_request
from .serving import wait_until_settled

HEAD = b"HTTP/1.1 200 OK\r\nDate: "
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
LATER = b"Sun, 06 Nov 1994 08:49:38 GMT"
BODY = b"x" * 1000
SIZE = len(HEAD + DATE + b"\r\n\r\n" + BODY) + OVERHEAD
"""Bytes that an answer of ``keep`` takes."""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / str(number) for number in range(4)]
    for path in paths:
        path.write_bytes(BODY)
    wait_until_settled(tmp_path)
    return paths


def source(path: Path, *absent: Path) -> FileSource:
    return FileSource((FileVersion(os.fsencode(path), path.stat()),), tuple(map(os.fsencode, absent)))


def keep(cache: HotCache, made_of: FileSource, date: bytes = DATE, body: bytes | HeldFile = BODY) -> HotAnswer:
    return cache.keep(HEAD + date + b"\r\n\r\n", body, made_of, 200, len(HEAD), 1.0)


def held(path: Path) -> HeldFile:
    fd = os.open(path, os.O_RDONLY)
    try:
        return HeldFile(fd, 0, len(BODY))
    finally:
        os.close(fd)


def is_gone(answer: HotAnswer) -> bool:
    return (answer.wire, answer.file, answer.until) == (b"", None, 0.0)


def test_who_was_renewed_least_recently_makes_room(files: list[Path]) -> None:
    cache = HotCache(3 * SIZE, 0)
    first, second, third = (keep(cache, source(path)) for path in files[:3])
    assert cache.renew(first, LATER, 2.0, look=True)
    assert first.wire == HEAD + LATER + b"\r\n\r\n" + BODY
    assert first.until == 2.0
    keep(cache, source(files[3]))
    assert is_gone(second)
    assert not is_gone(first)
    assert not is_gone(third)
    assert not cache.renew(second, LATER, 2.0, look=True)
    assert is_gone(second)


def test_what_alone_is_too_large_is_not_kept(files: list[Path]) -> None:
    assert is_gone(keep(HotCache(SIZE - 1, 0), source(files[0])))


def test_the_descriptor_of_what_makes_room_is_closed(files: list[Path]) -> None:
    cache = HotCache(100 * SIZE, 1)
    first = keep(cache, source(files[0]), body=held(files[0]))
    assert first.file is not None
    fd = first.file.fd
    assert os.pread(fd, 10, 0) == BODY[:10]
    second = keep(cache, source(files[1]), body=held(files[1]))
    assert is_gone(first)
    with pytest.raises(OSError):
        os.fstat(fd)
    cache.drop(second)
    assert is_gone(second)


def test_one_answer_for_all_who_get_the_same(files: list[Path]) -> None:
    cache = HotCache(2 * SIZE, 0)
    first = keep(cache, source(files[0]))
    other = keep(cache, source(files[1]))
    for _ in range(3):
        assert keep(cache, source(files[0]), LATER) is first
    assert first.wire.startswith(HEAD + LATER)
    assert not is_gone(other)


def test_what_was_made_of_something_else_takes_the_place(files: list[Path]) -> None:
    cache = HotCache(100 * SIZE, 0)
    first = keep(cache, source(files[0]))
    second = keep(cache, source(files[0], files[1].with_suffix(".gz")))
    assert second is not first
    assert is_gone(first)
    assert not is_gone(second)


def test_what_has_changed_or_appeared_is_not_renewed(files: list[Path]) -> None:
    cache, sibling = HotCache(100 * SIZE, 0), files[1].with_suffix(".gz")
    changed, overtaken = keep(cache, source(files[0])), keep(cache, source(files[1], sibling))
    files[0].write_bytes(b"new")
    sibling.write_bytes(b"new")
    for answer in (changed, overtaken):
        assert cache.renew(answer, LATER, 2.0, look=False)  # within ``--revalidate``
        assert not cache.renew(answer, LATER, 2.0, look=True)
        assert is_gone(answer)


def test_what_answers_which_request_is_bounded(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST", 3)
    clock = DateClock()
    answers = KnownAnswers(100 * SIZE, 0.0, clock)
    clock.tell(0.0)
    for number, path in enumerate(files):
        response = Response(200, [], BODY, source=source(path))
        answers.keep(make_request(f"/{number}"), response, HEAD + DATE + b"\r\n\r\n", BODY)
    found = [answers.find(make_request(f"/{number}"), 0.0) is not None for number in range(4)]
    assert found == [False, False, False, True]
