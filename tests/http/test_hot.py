"""Answers in memory: what has to make room is gone for all who refer to it, and its descriptor is closed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evio_http import Response
from evio_http.answers import by_request as known
from evio_http.answers.by_request import KnownAnswers
from evio_http.answers.cache import HELD_SECONDS, OVERHEAD, HotAnswer, HotCache, Span
from evio_http.files import version
from evio_http.files.version import FileSource, FileVersion, identity
from evio_http.message.response import DateClock
from evio_http.pages.error_pages import error_response

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


def source(path: Path, *absent: str) -> FileSource:
    return FileSource((FileVersion((os.fsencode(path), identity(path.stat()))),), tuple(map(os.fsencode, absent)))


def keep(
    cache: HotCache, made_of: FileSource, date: bytes = DATE, body: bytes | Span = BODY, until: float = 1.0
) -> HotAnswer:
    return cache.keep(HEAD + date + b"\r\n\r\n", body, made_of.files, 200, len(HEAD), until)


def hold(cache: HotCache, path: Path, offset: int = 0, until: float = 1.0) -> HotAnswer:
    """An answer out of the file at ``path``, from ``offset``."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return keep(cache, source(path), body=Span(fd, offset, len(BODY) - offset), until=until)
    finally:
        os.close(fd)


def descriptors(*answers: HotAnswer) -> list[int]:
    assert all(answer.file is not None for answer in answers)
    return [answer.file.fd for answer in answers if answer.file is not None]


def is_open(fd: int, path: Path) -> bool:
    """Tell whether ``fd`` is of the file at ``path``; its number may be another's by now."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False


def is_gone(answer: HotAnswer) -> bool:
    return (answer.wire, answer.file, answer.until) == (b"", None, 0.0)


def test_who_was_renewed_least_recently_makes_room(files: list[Path]) -> None:
    cache = HotCache(3 * SIZE, 0)
    first, second, third = (keep(cache, source(path)) for path in files[:3])
    assert cache.renew(first, LATER, 2.0)
    assert first.wire == HEAD + LATER + b"\r\n\r\n" + BODY
    assert first.until == 2.0
    keep(cache, source(files[3]))
    assert is_gone(second)
    assert not is_gone(first)
    assert not is_gone(third)
    assert not cache.renew(second, LATER, 2.0)
    assert is_gone(second)


def test_what_alone_is_too_large_is_not_kept(files: list[Path]) -> None:
    assert is_gone(keep(HotCache(SIZE - 1, 0), source(files[0])))


def test_the_descriptor_of_what_makes_room_is_closed(files: list[Path]) -> None:
    cache = HotCache(100 * SIZE, 1)
    first = hold(cache, files[0])
    (fd,) = descriptors(first)
    assert os.pread(fd, 10, 0) == BODY[:10]
    second = hold(cache, files[1])
    assert is_gone(first)
    assert not is_open(fd, files[0])
    cache.drop(second)
    assert is_gone(second)


def test_a_file_is_one_descriptor_however_many_answers_are_made_of_it(files: list[Path]) -> None:
    cache = HotCache(100 * SIZE, 2)
    parts = [hold(cache, files[0], offset) for offset in range(5)]
    other = hold(cache, files[1])
    assert len(set(descriptors(*parts))) == 1
    fd, other_fd = descriptors(parts[0], other)
    assert fd != other_fd
    for part in parts[1:]:
        cache.drop(part)
    assert is_open(fd, files[0])
    again = hold(cache, files[0])
    assert again is parts[0]
    assert descriptors(again) == [fd]
    cache.drop(again)
    assert not is_open(fd, files[0])
    hold(cache, files[2])
    hold(cache, files[3])
    assert is_gone(other)
    assert not is_open(other_fd, files[1])


def test_a_held_file_that_nobody_asks_for_is_closed_by_age(files: list[Path]) -> None:
    cache = HotCache(100 * SIZE, 10)
    idle, used = hold(cache, files[0]), hold(cache, files[1])
    assert cache.renew(used, LATER, 2.0)
    fd, used_fd = descriptors(idle, used)
    hold(cache, files[2], until=HELD_SECONDS + 1)
    assert is_gone(idle)
    assert not is_open(fd, files[0])
    assert is_open(used_fd, files[1])


def test_held_files_are_let_go_when_told(files: list[Path]) -> None:
    cache = HotCache(100 * SIZE, 10)
    small = keep(cache, source(files[3]))
    held = [hold(cache, path) for path in files[:3]]
    numbers = descriptors(*held)
    assert cache.release()
    assert not cache.release()
    assert not any(map(is_open, numbers, files))
    assert all(map(is_gone, held))
    assert not is_gone(small)
    assert cache._bytes == len(small.wire) + OVERHEAD


def test_what_a_descriptor_is_still_sent_from_is_not_closed(files: list[Path]) -> None:
    cache = HotCache(100 * SIZE, 10)
    file = hold(cache, files[0]).file  # as another thread has it at this moment
    cache.release()
    assert file is not None
    assert os.pread(file.fd, 5, 0) == BODY[:5]


def test_one_answer_for_all_who_get_the_same(files: list[Path]) -> None:
    cache = HotCache(2 * SIZE, 0)
    first = keep(cache, source(files[0]))
    other = keep(cache, source(files[1]))
    for _ in range(3):
        assert keep(cache, source(files[0]), LATER) is first
    assert first.wire.startswith(HEAD + LATER)
    assert not is_gone(other)


def test_what_is_made_of_no_file_is_told_apart_by_its_content() -> None:
    cache, nothing = HotCache(10 * SIZE, 0), FileSource(())
    first, second = (keep(cache, nothing, body=body) for body in (b"page of a", b"page of b"))
    assert first.wire.endswith(b"page of a")
    assert second.wire.endswith(b"page of b")
    assert keep(cache, nothing, LATER, b"page of a") is first


def known_answers(hot_bytes: int = 100 * SIZE, revalidate: float = 0.0) -> tuple[KnownAnswers, DateClock]:
    clock = DateClock()
    clock.tell(0.0)
    return KnownAnswers(hot_bytes, revalidate, clock, 1024), clock


def remember(answers: KnownAnswers, target: str, made_of: FileSource, *fields: str, vary: str = "") -> None:
    headers = [("Vary", vary)] if vary else []
    response = Response(200, headers, BODY, source=made_of)
    answers.keep(make_request(target, *fields), response, HEAD + DATE + b"\r\n\r\n", BODY)


def test_what_was_made_of_something_else_takes_the_place(files: list[Path]) -> None:
    answers, _ = known_answers()
    sibling = files[0].with_suffix(".gz")
    remember(answers, "/", source(files[0]))
    first = answers.find(make_request("/"), 0.0)
    remember(answers, "/", source(files[0], ".gz"))
    second = answers.find(make_request("/"), 0.0)
    assert second is first is not None  # the bytes are the same
    sibling.write_bytes(b"new")
    assert answers.find(make_request("/"), 2.0) is None


def test_what_has_changed_or_appeared_is_not_renewed(files: list[Path]) -> None:
    answers, _ = known_answers(revalidate=10.0)
    sibling = files[1].with_suffix(".gz")
    remember(answers, "/changed", source(files[0]))
    remember(answers, "/overtaken", source(files[1], ".gz"))
    changed, overtaken = (answers.find(make_request(path), 0.0) for path in ("/changed", "/overtaken"))
    assert changed is not None
    assert overtaken is not None
    files[0].write_bytes(b"new")
    sibling.write_bytes(b"new")
    assert answers.find(make_request("/changed"), 5.0) is changed  # within ``--revalidate``
    for path, answer in (("/changed", changed), ("/overtaken", overtaken)):
        assert answers.find(make_request(path), 20.0) is None
        assert is_gone(answer)


def test_a_directory_is_looked_at_once_a_second_for_all_its_files(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bytes] = []
    is_current = version.is_current

    def counted(path: bytes, identity: version.Identity) -> bool:
        looks.append(path)
        return is_current(path, identity)

    answers, _ = known_answers()
    folder = os.fsencode(files[0].parent)
    directory = version.settled_version(folder)
    assert directory is not None
    for path in files:
        remember(answers, f"/{path.name}", FileSource(source(path).files, (b".gz",), directory))
    monkeypatch.setattr(version, "is_current", counted)
    for second in (2.0, 4.0, 6.0):
        looks.clear()
        assert all(answers.find(make_request(f"/{path.name}"), second) for path in files)
        assert looks.count(folder) == 1
        assert all(answers.find(make_request(f"/{path.name}"), second) for path in files)
        assert looks.count(folder) == 1
    files[1].with_suffix(".gz").write_bytes(b"new")
    found = [answers.find(make_request(f"/{path.name}"), 8.0) is not None for path in files]
    assert found == [True, False, True, True]


def test_what_answers_which_request_is_bounded(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST", 2)
    answers, _ = known_answers()
    for number, path in enumerate(files):
        remember(answers, f"/{number}", source(path))
        assert answers.find(make_request("/0"), 0.0) is not None, "what is asked for stays"
    found = [answers.find(make_request(f"/{number}"), 0.0) is not None for number in range(4)]
    assert found == [True, False, True, True]  # in two generations of two


def test_variants_are_bounded(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST_VARIANTS", 3)
    answers, _ = known_answers()
    for number in range(4):
        remember(answers, "/", source(files[0]), f"Origin: http://{number}", vary="Origin")
    found = [answers.find(make_request("/", f"Origin: http://{number}"), 0.0) is not None for number in range(4)]
    assert found == [False, False, False, True]


def test_what_does_not_matter_to_a_response_leads_to_the_same_record(files: list[Path]) -> None:
    answers, _ = known_answers()
    remember(answers, "/", source(files[0]), "Accept-Encoding: gzip", "Origin: a", "Cookie: a")
    assert answers.find(make_request("/", "Accept-Encoding: br", "Origin: b", "Cookie: b"), 0.0) is not None
    assert answers.find(make_request("/", "Range: bytes=0-0"), 0.0) is None
    assert answers.find(make_request("/", host="b"), 0.0) is None
    assert answers.find(make_request("/", "Connection: close"), 0.0) is None
    assert answers.find(make_request("/", scheme="https"), 0.0) is None
    assert answers.find(make_request("/", method="HEAD"), 0.0) is None


def test_codings_that_are_liked_in_the_same_order_are_one_variant(files: list[Path]) -> None:
    answers, _ = known_answers()
    remember(answers, "/", source(files[0]), "Accept-Encoding: gzip, deflate, br", vary="Accept-Encoding")
    for liked in ("br, gzip", "gzip;q=0.5, br;q=0.9", "BR, x-gzip"):
        assert answers.find(make_request("/", f"Accept-Encoding: {liked}"), 0.0) is not None
    for liked in ("gzip", "br;q=0.5, gzip", "gzip, br, zstd", "*", ""):
        assert answers.find(make_request("/", f"Accept-Encoding: {liked}"), 0.0) is None


@pytest.mark.parametrize(
    ("fields", "not_modified"),
    [
        ((), False),
        (('If-None-Match: "x"',), True),
        (('If-None-Match: "y", W/"x"',), True),
        (("If-None-Match: *",), True),
        (('If-None-Match: "y"', "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"), False),
        (("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",), True),
        (("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT",), False),
        (("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT",), True),
        (("If-Modified-Since: yesterday",), False),
    ],
)
def test_conditions_choose_between_the_answers_of_a_record(
    files: list[Path], fields: tuple[str, ...], not_modified: bool
) -> None:
    """RFC 9110 section 13.2.2."""
    answers, _ = known_answers()
    made_of = source(files[0])
    made_of.etag, made_of.mtime = '"x"', 784111777.5
    head = HEAD + DATE + b"\r\n\r\n"
    answers.keep(make_request("/"), Response(200, [], BODY, source=made_of), head, BODY)
    answers.keep(make_request("/"), Response(304, [], source=made_of), head, b"")
    answer = answers.find(make_request("/", *fields), 0.0)
    assert answer is not None
    assert (answer.status == 304) is not_modified


def test_a_404_is_known_for_as_long_as_there_is_nothing(tmp_path: Path) -> None:
    answers, _ = known_answers()
    page = error_response(404)
    assert isinstance(page.body, bytes)
    for name in ("a", "b"):
        page.source = FileSource((), missing=(os.fsencode(tmp_path / name),))
        answers.keep(make_request(f"/{name}"), page, HEAD + DATE + b"\r\n\r\n", page.body)
    first, second = (answers.find(make_request(f"/{name}"), 0.0) for name in "ab")
    assert first is second is not None, "all that is missing has one answer"
    (tmp_path / "a").write_bytes(b"")
    assert answers.find(make_request("/a"), 0.0) is None
    assert answers.find(make_request("/b", 'If-None-Match: "x"'), 0.0) is second
