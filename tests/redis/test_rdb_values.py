"""Values in RDB's encodings: what is written is read again, byte by byte what redis-server writes, and nothing that is
malformed is taken."""

from __future__ import annotations

import contextlib
import random
import struct
import tracemalloc
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evio_redis.keyspace.types.hashes import Hash
from evio_redis.keyspace.types.lists import List
from evio_redis.keyspace.types.sets import Set
from evio_redis.keyspace.types.zsets import SortedSet
from evio_redis.persistence.rdb import intset, listpack, lzf, payload, ziplist
from evio_redis.persistence.rdb.primitives import MALFORMED, Reader, length, string
from evio_redis.persistence.rdb.values import code_of, pieces, read_value
from tests.tables import each_row


@dataclass
class Small:
    """Limits at which the encodings change early."""

    hash_max_listpack_entries: int = 4
    hash_max_listpack_value: int = 8
    list_max_listpack_size: int = 3
    set_max_intset_entries: int = 4
    zset_max_listpack_entries: int = 4
    zset_max_listpack_value: int = 8


LIMITS = Small()

EDGES = [0, 1, 127, 128, 4095, 4096, 2**15 - 1, 2**15, 2**23 - 1, 2**23, 2**31 - 1, 2**31, 2**63 - 1, 2**63]
NUMBERS = [b"%d" % (sign * edge) for edge in EDGES for sign in (1, -1)]
TEXTS = [b"", b"-", b"-0", b"01", b"+1", b"a", b"\x00\xff", b"1" * 30]
LONG = [b"x" * size for size in (62, 63, 64, 65, 127, 128, 4095, 4096, 16377, 16378, 16379, 70_000)]


def test_every_element_comes_out_of_a_listpack_as_it_went_in() -> None:
    elements = [*NUMBERS, *TEXTS, *LONG]
    assert listpack.unpack(listpack.pack(elements)) == elements
    many = [b"%d" % number for number in range(70_000)]  # more than the header can count
    assert listpack.unpack(listpack.pack(many)) == many
    assert listpack.unpack(listpack.pack([])) == []


@given(st.lists(st.binary(max_size=300) | st.integers(-(2**64), 2**64).map(lambda number: b"%d" % number)))
def test_listpacks(elements: list[bytes]) -> None:
    assert listpack.unpack(listpack.pack(elements)) == elements


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\xff", lambda data: b"\x00" + data])
def test_of_another_size_than_it_says_is_no_listpack(change: Any) -> None:
    with pytest.raises(ValueError):
        listpack.unpack(change(listpack.pack([b"a", b"1"])))


@pytest.mark.parametrize("reads", [listpack.unpack, ziplist.unpack, intset.unpack, ziplist.unpack_zipmap])
def test_whatever_the_bytes_are_the_errors_are_the_known_ones(reads: Any) -> None:
    choose = random.Random(1)
    valid = [listpack.pack([b"ab", b"300", b"x" * 70]), OLD_ZIPLIST, intset.pack([b"1", b"-70000"]), OLD_ZIPMAP]
    for _ in range(3000):
        data = bytearray(choose.choice(valid))
        for _ in range(choose.randrange(3)):
            data[choose.randrange(len(data))] = choose.randrange(256)
        with contextlib.suppress(*MALFORMED):
            reads(bytes(data[: choose.choice((len(data), choose.randrange(len(data) + 1)))]))


@pytest.mark.parametrize("numbers", [[5], [-1, 2**15 - 1], [-(2**15) - 1], [2**31], [-(2**63), 0, 2**63 - 1]])
def test_intsets(numbers: list[int]) -> None:
    members = [b"%d" % number for number in numbers]
    assert intset.unpack(intset.pack(members[::-1])) == members


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<IIhh", 2, 2, 2, 1),  # not in order
        struct.pack("<IIhh", 2, 2, 1, 1),  # twice the same
        struct.pack("<IIh", 2, 2, 1),  # too short
        struct.pack("<IIbb", 1, 2, 1, 2),  # of a width that there is not
        b"\x02\x00\x00",
    ],
)
def test_what_is_no_intset(data: bytes) -> None:
    with pytest.raises(MALFORMED):
        intset.unpack(data)


def ziplist_of(*entries: bytes) -> bytes:
    """A ziplist as Redis before 7.0 wrote them, of encoded elements."""
    body, previous, last = b"", 0, 10
    for entry in entries:
        last = 10 + len(body)
        head = bytes((previous,)) if previous < 254 else b"\xfe" + struct.pack("<I", previous)
        body += head + entry
        previous = len(head) + len(entry)
    return struct.pack("<IIH", 11 + len(body), last, len(entries)) + body + b"\xff"


OLD_ZIPLIST = ziplist_of(
    *(b"\x02ab", b"\x41\x2c" + b"x" * 300, b"\x80\x00\x00\x01\x00" + b"y" * 256, b"\xc0\x2c\x01"),
    *(
        b"\xd0\x70\x11\x01\x00",
        b"\xe0" + struct.pack("<q", -(2**40)),
        b"\xf0\x00\x00\x80",
        b"\xfe\xf0",
        b"\xf1",
        b"\xfd",
    ),
)
OLD_ZIPLIST_ELEMENTS = [b"ab", b"x" * 300, b"y" * 256, b"300", b"70000", b"-1099511627776", b"-8388608", b"-16"]
OLD_ZIPLIST_ELEMENTS += [b"0", b"12"]

OLD_ZIPMAP = b"\x02\x03foo\x03\x00bar\x05hello\x05\x02world--\xff"


def test_what_older_redis_wrote() -> None:
    assert ziplist.unpack(OLD_ZIPLIST) == OLD_ZIPLIST_ELEMENTS
    assert ziplist.unpack_zipmap(OLD_ZIPMAP) == [b"foo", b"bar", b"hello", b"world"]
    long = b"\x01\x01f\xfe" + struct.pack("<I", 300) + b"\x00" + b"v" * 300 + b"\xff"
    assert ziplist.unpack_zipmap(long) == [b"f", b"v" * 300]


@each_row(
    ("code", "body", "value"),
    [
        (1, length(2) + b"\x01a" + b"\xc0\x05", [b"a", b"5"]),
        (2, length(2) + b"\x01a" + b"\x01b", {b"a", b"b"}),
        (3, length(3) + b"\x01a\x041e+2\x01b\xfe\x01c\xff", {b"a": 100.0, b"b": float("inf"), b"c": float("-inf")}),
        (4, length(1) + b"\x01f\x01v", {b"f": b"v"}),
        (9, string(OLD_ZIPMAP), {b"foo": b"bar", b"hello": b"world"}),
        (10, string(ziplist_of(b"\x01a", b"\xf3")), [b"a", b"2"]),
        (12, string(ziplist_of(b"\x01a", b"\x031.5")), {b"a": 1.5}),
        (13, string(ziplist_of(b"\x01f", b"\x01v")), {b"f": b"v"}),
        (14, length(2) + string(ziplist_of(b"\x01a")) + string(ziplist_of(b"\x01b")), [b"a", b"b"]),
        (18, length(2) + b"\x01\x03abc" + b"\x02" + string(listpack.pack([b"d", b"7"])), [b"abc", b"d", b"7"]),
    ],
)
def test_encodings_that_are_only_read(code: int, body: bytes, value: Any) -> None:
    found = read_value(Reader(body), code, LIMITS)
    assert (found.scores if isinstance(found, SortedSet) else type(value)(found)) == value


@each_row(
    ("code", "body"),
    [
        (2, length(2) + b"\x01a\x01a"),
        (4, length(2) + b"\x01f\x01v\x01f\x01w"),
        (5, length(1) + b"\x01a" + struct.pack("<d", float("nan"))),
        (3, length(1) + b"\x01a\xfd"),
        (3, length(1) + b"\x01a\x01x"),
        (16, string(listpack.pack([b"f"]))),
        (16, string(listpack.pack([b"f", b"v", b"f", b"w"]))),
        (17, string(listpack.pack([b"m", b"x"]))),
        (17, string(listpack.pack([b"m", b"1", b"m", b"2"]))),
        (18, length(1) + b"\x03\x01a"),
        (18, length(2) + b"\x01\x01a\x01\x00"),
        (0, b"\x0aabc"),
        (0, b"\xc4"),
        (0, b"\x82"),
        (0, b"\xc3\x02\x05\x20\x00"),
        (2, b"\xc0\x01"),
        (15, b""),
        (6, b""),
    ],
)
def test_what_is_malformed(code: int, body: bytes) -> None:
    with pytest.raises(MALFORMED):
        read_value(Reader(body), code, LIMITS)


def stream(*elements: int | bytes, first: int = 1 << 64, added: int = 1) -> bytes:
    """A stream of one node of such elements, and without groups."""
    node = listpack.pack([b"%d" % each if isinstance(each, int) else each for each in elements])
    last = b"\x05\x00" + b"\x00\x00" + b"\x00\x00"  # the last ID, the first one, the highest deleted one
    return length(1) + string(first.to_bytes(16, "big")) + string(node) + length(1) + last + length(added) + length(0)


def test_a_stream_of_one_node() -> None:
    found = read_value(Reader(stream(1, 0, 1, b"f", 0, 2, 0, 0, b"v", 4)), 19, LIMITS)
    assert [(entry >> 64, body) for entry, body in found.items()] == [(1, b"*2\r\n$1\r\nf\r\n$1\r\nv\r\n")]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (stream(1, 0, 0, 0, 2, 0, 0, 3), "a node of a stream without fields"),
        (stream(1, 0, 1, b"f", 0, 0, 0, 0, 0, 4), "an entry of a stream without fields"),
        (stream(1, 0, 1, b"f", 0, 2, 0, 0, b"v", 4, first=0), "entries of a stream that are not in order"),
        (stream(1, 0, 1, b"f", 0, 2, 0, 0, b"v", 4, added=0), "a stream of more entries than were ever added to it"),
    ],
)
def test_streams_that_no_commands_make(body: bytes, why: str) -> None:
    """A log could not have them either."""
    with pytest.raises(ValueError, match=why):
        read_value(Reader(body), 19, LIMITS)


def test_lzf() -> None:
    assert lzf.decompress(b"\x00a\xe0\x1e\x00", 40) == b"a" * 40
    assert lzf.decompress(b"\x02abc\x40\x02", 7) == b"abcabca"
    for data, size in ((b"\x20\x00", 3), (b"\x00a", 2), (b"\x00a\x20\x01", 4)):
        with pytest.raises(MALFORMED):
            lzf.decompress(data, size)


def test_lzf_makes_no_more_than_was_announced() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="another length"):
            lzf.decompress(b"\x00a" + 10_000 * b"\xe0\xff\x00", 100)
        assert tracemalloc.get_traced_memory()[1] < 1 << 17
    finally:
        tracemalloc.stop()


VALUES: list[Any] = [
    *(b"", b"5", b"-129", b"70000", b"12345678901", b"a" * 63, b"a" * 64, b"a" * 20_000),
    List([b"a", b"1", b"x" * 9000, b"b", b"c", b"d"]),
    Set([b"1", b"-2", b"70000"]),
    Set([b"1", b"a"]),
    Hash({b"f": b"1", b"g": b""}),
    Hash({b"f%d" % number: b"v" for number in range(9)}),
    SortedSet([(b"a", 1.5), (b"b", float("-inf")), (b"c", 3.0)]),
    SortedSet([(b"%d" % number, number / 3) for number in range(9)]),
]
for value in VALUES:
    if isinstance(value, (Hash, SortedSet)):
        value.large = len(value) > 4


@each_row("value", VALUES)
def test_what_is_packed_is_unpacked(value: Any) -> None:
    data = payload.pack(value, LIMITS)
    assert payload.intact(data)
    found = payload.unpack(data, LIMITS)
    assert type(found) is type(value)
    assert code_of(found) == code_of(value)
    assert list(found.items()) == list(value.items()) if isinstance(value, SortedSet) else found == value


def test_a_list_is_split_as_its_limit_says() -> None:
    def nodes(limit: int, elements: list[bytes]) -> int:
        limits = Small(list_max_listpack_size=limit)
        return Reader(b"".join(pieces(List(elements), limits))).length()

    assert nodes(3, [b"a"] * 7) == 3
    assert nodes(100, [b"x" * 5000] * 3) == 3  # 8 KiB at most, whatever the number
    assert [nodes(limit, [b"x" * 1000] * 60) for limit in (-1, -2, -3, -4, -5)] == [15, 8, 4, 2, 1]
    assert nodes(-1, [b"x" * 100_000, b"y"]) == 2


@each_row("change", range(12))
def test_any_other_byte_is_noticed(change: int) -> None:
    data = bytearray(payload.pack(b"v", LIMITS))
    assert len(data) == 13
    data[change] ^= 1
    assert not payload.intact(bytes(data))
    assert not payload.intact(bytes(data[:9]))
