"""The strict parser: the same commands and the same error for every split of the input."""

from __future__ import annotations

import itertools
import random
from types import SimpleNamespace

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_redis.execution.fast_path import _parse_most
from evio_redis.persistence.aof.encode import encode
from evio_redis.protocol.inline import split_inline
from evio_redis.protocol.parser import INLINE_MAX, MULTIBULK_MAX, Parser
from tests.extent import examples
from tests.tables import each_row

argument = st.binary(max_size=40) | st.sampled_from([b"\r\n", b"\r\n$3\r\n", b"\r\n*1\r\n", b"", b"x" * 70_000])
commands = st.lists(st.lists(argument, min_size=1, max_size=4), max_size=6)
junk = st.sampled_from(
    [b"*1\r\n+PING\r\n", b"*-1\r\n", b"*0\r\n", b"PING a\r\n", b"$3\r\n", b"*2\r\n$1\r\na\r\n:5\r\n", b"\r\n"]
)
junk |= st.sampled_from(
    [b"*1\r\n$-1\r\n", b"*x\r\n", b'SET "a b\r\n', b"*1\r\n$03\r\nabc\r\n", b"\n", b"*1\r\n$99999999999\r\n"]
)


def outcome(pieces: list[bytes]) -> tuple[list[list[bytes]], str | None, int]:
    parser = Parser()
    found = []
    for piece in pieces:
        found += parser.parse(piece)
    return found, parser.error, parser.buffered


@given(commands, st.lists(junk | st.binary(max_size=20), max_size=3), st.lists(st.integers(0, 300), max_size=8))
@settings(max_examples=examples(200), deadline=None)
def test_any_split_gives_the_same(script: list[list[bytes]], rest: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(encode, script)) + b"".join(rest)
    at = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[begin:end] for begin, end in itertools.pairwise(at)]
    whole = outcome([data])
    assert outcome(pieces)[:2] == whole[:2]
    assert whole[0][: len(script)] == script


@given(commands, st.binary(max_size=30))
@settings(max_examples=examples(200), deadline=None)
def test_with_hiredis_for_the_most_part_it_is_the_same(script: list[list[bytes]], tail: bytes) -> None:
    data = b"".join(map(encode, script)) + tail
    strict, fast = Parser(), Parser()
    assert _parse_most(fast, data) == strict.parse(data)
    assert fast.error == strict.error


@each_row(
    "data, error",
    [
        (b"*3000000000\r\n", "invalid multibulk length"),
        (b"*%d\r\n" % (MULTIBULK_MAX + 1), "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*1\r\nfoo\r\n", "expected '$', got 'f'"),
        (b"*1\r\n:5\r\n", "expected '$', got ':'"),
        (b"*1\r\n\xff\r\n", "expected '$', got '\udcff'"),
        (b"*1\r\n$-10\r\n", "invalid bulk length"),
        (b"*1\r\n$2000000000\r\n", "invalid bulk length"),
        (b"*1\r\n$blabla\r\n", "invalid bulk length"),
        (b"*1\r\n$03\r\n", "invalid bulk length"),
        (b"x" * (INLINE_MAX + 1), "too big inline request"),
        (b"*" + b"1" * (INLINE_MAX + 1), "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * (INLINE_MAX + 1), "too big bulk count string"),
        (b'SET "a b\r\n', "unbalanced quotes in request"),
        (b"x" * (INLINE_MAX + 1) + b"\n", "too big inline request"),
        (b"PING " * (INLINE_MAX // 4) + b"\r\n", "too big inline request"),
        (b"*" + b"1" * (INLINE_MAX + 1) + b"\r\n", "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * (INLINE_MAX + 1) + b"\r\n", "too big bulk count string"),
    ],
)
def test_errors_in_the_words_of_redis(data: bytes, error: str) -> None:
    for step in (len(data), 1 if len(data) < 100 else 999):
        parser = Parser()
        for at in range(0, len(data), step):
            assert parser.parse(data[at : at + step]) == []
        assert parser.error == error
        assert parser.parse(encode([b"PING"])) == []  # nothing more after an error


def test_an_inline_command_of_the_largest_size() -> None:
    line = b"ECHO " + b"x" * (INLINE_MAX - 5)
    assert outcome([line + b"\n"]) == outcome([line, b"\n"]) == ([[b"ECHO", b"x" * (INLINE_MAX - 5)]], None, 0)


@each_row("data", [b"*-10\r\n", b"*0\r\n", b"*-1\r\n", b"\r\n", b"\n", b"  \r\n"])
def test_what_is_no_command_is_passed_over(data: bytes) -> None:
    parser = Parser()
    assert parser.parse(data + encode([b"PING"])) == [[b"PING"]]
    assert parser.empty


def test_before_the_password_the_limits_are_smaller() -> None:
    for data, error in (
        (b"*11\r\n", "unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
    ):
        parser = Parser()
        parser.authenticated = False
        parser.parse(data)
        assert parser.error == error
    parser = Parser()
    parser.authenticated = False
    assert parser.parse(encode([b"AUTH", b"x" * 16384])) == [[b"AUTH", b"x" * 16384]]


@each_row(
    "line, words",
    [
        (b"PING", [b"PING"]),
        (b"  SET  a\tb ", [b"SET", b"a", b"b"]),
        (b'SET a "hello world"', [b"SET", b"a", b"hello world"]),
        (b'"\\x41\\n\\"\\\\"', [b'A\n"\\']),
        (b"'it\\'s'", [b"it's"]),
        (b'""', [b""]),
        (b'"a"b', None),
        (b'a"b"', [b"ab"]),
        (b"'a", None),
        (b"", []),
    ],
)
def test_inline_words(line: bytes, words: list[bytes] | None) -> None:
    assert split_inline(line) == words


def test_a_large_argument_is_held_once() -> None:
    parser = Parser()
    size = 32 << 20
    parser.parse(b"*2\r\n$3\r\nGET\r\n$%d\r\n" % size)
    for _ in range(32):
        parser.parse(bytes(1 << 20))
        assert parser.buffered <= size + 100
    ((_, argument),) = parser.parse(b"\r\n")
    assert argument == bytes(size)
    assert parser.empty


def test_many_arguments_in_large_pieces_are_parsed_as_byte_by_byte() -> None:
    draw = random.Random(7)
    odd = [
        b"$3\r\nfoo\r\n",
        b"+OK\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"$-1\r\n",
        b":5\r\n",
        b"$03\r\nabc\r\n",
        b"_\r\n",
        b"*0\r\n",
    ]
    for _ in range(200):
        calls = [[draw.choice((b"", b"a\n+b", draw.randbytes(40))) for _ in range(60)] for _ in range(2)]
        data = bytearray(b"".join(encode([b"SET", *call]) for call in calls))
        if draw.random() < 0.7:
            at = draw.randrange(len(data))
            data[at : at + draw.randrange(3)] = draw.choice(odd)
        cut = draw.randrange(len(data))
        pieces, single = Parser(), Parser()
        found = pieces.parse(bytes(data[:cut])) if cut else []
        found += pieces.parse(bytes(data[cut:])) if pieces.error is None else []
        expected: list[list[bytes]] = []
        for byte in data:
            if single.error is None:
                expected += single.parse(bytes((byte,)))
        assert (found, pieces.error) == (expected, single.error)


def test_a_chunk_of_many_commands_is_not_read_again_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    fed = 0

    class Counting:
        def __init__(self) -> None:
            self._reader = hiredis.Reader()

        def feed(self, data: bytes) -> None:
            nonlocal fed
            fed += len(data)
            self._reader.feed(data)

        def gets(self) -> object:
            return self._reader.gets()

    named = SimpleNamespace(Reader=Counting, HiredisError=hiredis.HiredisError)
    monkeypatch.setattr("evio_redis.protocol.parser.hiredis", named)
    for words in (3, 16, 40, 500):
        calls = [[b"%d" % (number * size) for number in range(words)] for size in range(20_000 // words)]
        data = b"".join(map(encode, calls))
        fed = 0
        assert Parser().parse(data) == calls
        assert fed < 10 * len(data)
        assert fed or words == 3


def test_an_argument_that_is_an_asterisk_begins_no_command() -> None:
    seen = []

    class Rest(Parser):
        def parse(self, chunk: bytes, first_only: bool = False) -> list[list[bytes]]:
            seen.append(chunk)
            return super().parse(chunk, first_only)

    calls = [[b"XADD", b"stream", b"*", b"field", b"%d" % number] for number in range(500)]
    data = b"".join(map(encode, calls))
    cut = data.rindex(b"field")
    assert _parse_most(Rest(), data[:cut]) == calls[:-1]
    assert seen == [data[data.rindex(b"*5\r\n") : cut]]
