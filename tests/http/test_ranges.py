"""Range fields: a table by RFC 9110 section 14, and what holds for any of them."""

from __future__ import annotations

import email
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from evio_http.message.ranges import MAX_RANGES, content_range, multipart, parse_range, unsatisfied_range
from tests.extent import examples
from tests.tables import each_row


@each_row(
    "header, size, ranges",
    [
        ("bytes=0-0", 10, [(0, 1)]),
        ("bytes=0-9", 10, [(0, 10)]),
        ("bytes=0-", 10, [(0, 10)]),
        ("bytes=3-", 10, [(3, 10)]),
        ("bytes=2-5", 10, [(2, 6)]),
        ("bytes=9-9", 10, [(9, 10)]),
        ("bytes=5-100", 10, [(5, 10)]),
        ("bytes=0-99999999999999999999999999999999", 10, [(0, 10)]),
        ("bytes=00000000000000000000000000002-0000000000000000000000000003", 10, [(2, 4)]),
        # suffixes
        ("bytes=-1", 10, [(9, 10)]),
        ("bytes=-10", 10, [(0, 10)]),
        ("bytes=-11", 10, [(0, 10)]),
        ("bytes=-" + "9" * 5000, 10, [(0, 10)]),
        # several
        ("bytes=0-1,4-5", 10, [(0, 2), (4, 6)]),
        ("bytes=4-5,0-1", 10, [(4, 6), (0, 2)]),
        ("bytes=0-1, 4-5 ,\t8-", 10, [(0, 2), (4, 6), (8, 10)]),
        ("bytes=0-0,-1", 10, [(0, 1), (9, 10)]),
        ("bytes=,0-1,,4-5,", 10, [(0, 2), (4, 6)]),
        ("Bytes=0-1", 10, [(0, 2)]),
        ("bytes= 0-1", 10, [(0, 2)]),
        # what is not there is left out
        ("bytes=0-1,20-30", 10, [(0, 2)]),
        ("bytes=20-30,0-1", 10, [(0, 2)]),
        ("bytes=-0,0-1", 10, [(0, 2)]),
        # overlapping and touching become one, at the place of the first
        ("bytes=0-5,3-8", 10, [(0, 9)]),
        ("bytes=0-4,5-9", 10, [(0, 10)]),
        ("bytes=0-4,6-9", 10, [(0, 5), (6, 10)]),
        ("bytes=6-7,0-1,7-8", 10, [(6, 9), (0, 2)]),
        ("bytes=7-8,0-1,6-7", 10, [(6, 9), (0, 2)]),
        ("bytes=0-9,1-2,3-4", 10, [(0, 10)]),
        ("bytes=5-,0-,-3", 10, [(0, 10)]),
        ("bytes=" + ",".join(["0-"] * MAX_RANGES), 10, [(0, 10)]),
        # unsatisfiable: 416
        ("bytes=10-", 10, []),
        ("bytes=10-20", 10, []),
        ("bytes=" + "9" * 5000 + "-", 10, []),
        ("bytes=-0", 10, []),
        ("bytes=-000", 10, []),
        ("bytes=20-30,-0", 10, []),
        ("bytes=0-", 0, []),
        ("bytes=0-0", 0, []),
        ("bytes=-0", 0, []),
        # nothing's last bytes are nothing, and no Content-Range says so
        ("bytes=-5", 0, None),
        ("bytes=0-0,-5", 0, None),
        # malformed, or not ours: ignored
        ("", 10, None),
        ("bytes", 10, None),
        ("bytes=", 10, None),
        ("bytes=,", 10, None),
        ("bytes=-", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=1", 10, None),
        ("bytes=1-2-3", 10, None),
        ("bytes=--1", 10, None),
        ("bytes=+1-2", 10, None),
        ("bytes=1 - 2", 10, None),
        ("bytes=0x1-2", 10, None),
        ("bytes=1_0-20", 10, None),
        ("bytes=\u0663-\u0665", 10, None),
        ("bytes=5-2", 10, None),
        ("bytes=0-1,5-2", 10, None),
        ("bytes=0-1,x", 10, None),
        ("bytes=0-1;4-5", 10, None),
        ("bytes 0-1", 10, None),
        ("bytes:0-1", 10, None),
        ("byte=0-1", 10, None),
        ("items=0-1", 10, None),
        ("seconds=1-2", 10, None),
        ("bytes=0-1\n", 10, None),
        ("bytes=" + ",".join(["0-"] * (MAX_RANGES + 1)), 10, None),
        ("bytes=" + "," * 100_000 + "0-1", 10, [(0, 2)]),
    ],
)
def test_parse_range(header: str, size: int, ranges: list[tuple[int, int]] | None) -> None:
    assert parse_range(header, size) == ranges


NUMBERS = st.integers(0, 30)
SPECS = st.one_of(
    st.tuples(NUMBERS, NUMBERS).map(lambda pair: f"{min(pair)}-{max(pair)}"),
    NUMBERS.map(lambda first: f"{first}-"),
    NUMBERS.map(lambda length: f"-{length}"),
)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(SPECS, min_size=1, max_size=8), st.integers(1, 25))
def test_ranges_are_what_was_asked_for(specs: list[str], size: int) -> None:
    content = range(size)
    wanted: set[int] = set()
    for spec in specs:
        first, _, last = spec.partition("-")
        if first:
            wanted |= set(content[int(first) : int(last) + 1 if last else size])
        elif int(last):
            wanted |= set(content[-int(last) :])
    ranges = parse_range("bytes=" + ",".join(specs), size)
    assert ranges is not None
    assert all(0 <= start < stop <= size for start, stop in ranges)
    given_out = [place for start, stop in ranges for place in content[start:stop]]
    assert set(given_out) == wanted
    assert len(given_out) == len(wanted), "a byte is sent twice"
    in_order = sorted(ranges)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(in_order)), "ranges touch"


@settings(max_examples=examples(200), deadline=None)
@given(st.text(alphabet="bytes=-0123456789, \tx", max_size=30), st.integers(0, 100))
def test_any_text_gives_ranges_or_none(header: str, size: int) -> None:
    ranges = parse_range(header, size)
    assert ranges is None or sum(stop - start for start, stop in ranges) <= size


def test_content_range() -> None:
    assert content_range(0, 1, 10) == "bytes 0-0/10"
    assert content_range(2, 10, 10) == "bytes 2-9/10"
    assert unsatisfied_range(10) == "bytes */10"


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(SPECS, min_size=1, max_size=8))
def test_a_multipart_body_is_what_another_parser_reads(specs: list[str]) -> None:
    content = b"abcdefghijklmnopqrstuvwxyz"
    ranges = parse_range("bytes=" + ",".join(specs), len(content))
    if not ranges:
        return
    frame = multipart(ranges, len(content), "text/plain; charset=utf-8")
    body = b"".join(head + content[start:stop] for head, (start, stop) in zip(frame.heads, ranges, strict=True))
    body += frame.tail
    assert len(body) == frame.length
    message = email.message_from_bytes(b"Content-Type: " + frame.content_type.encode() + b"\r\n\r\n" + body)
    assert message.get_content_type() == "multipart/byteranges"
    assert not message.defects
    parts = list(message.walk())[1:]
    assert [part["Content-Range"] for part in parts] == [content_range(*bounds, len(content)) for bounds in ranges]
    assert [part["Content-Type"] for part in parts] == ["text/plain; charset=utf-8"] * len(ranges)
    assert [part.get_payload(decode=True) for part in parts] == [content[start:stop] for start, stop in ranges]
