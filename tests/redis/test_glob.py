"""Glob-style patterns, as redis-server matches them, in bounded time."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest

from evio_redis.protocol.glob import matcher
from tests.tables import each_row

from .transcripts import SERVERS, running
from .wire import Wire

MATCHES = [
    ("*", "", True),
    ("", "", True),
    ("", "a", False),
    ("h?llo", "hello", True),
    ("h?llo", "hllo", False),
    ("h*llo", "hllo", True),
    ("h*llo", "heeeello", True),
    ("h*l*o", "hello world, hello", True),
    ("*a", "ba", True),
    ("*a", "ab", False),
    ("a*b*a", "aba", True),
    ("a*b*a", "ab", False),
    ("**a**", "bab", True),
    ("*ab*ab", "ab", False),
    ("*ab*ab", "aabab", True),
    ("h[ae]llo", "hallo", True),
    ("h[ae]llo", "hillo", False),
    ("h[^e]llo", "hallo", True),
    ("h[^e]llo", "hello", False),
    ("h[a-b]llo", "hbllo", True),
    ("h[b-a]llo", "hallo", True),
    ("h[a\\]]llo", "h]llo", True),
    ("[abc", "c", True),
    ("[", "[", False),
    ("[^]", "x", True),
    ("[]", "]", False),
    ("a\\*", "a*", True),
    ("a\\*", "ab", False),
    ("a\\", "a\\", True),
    ("?", "\n", True),
    ("*\n*", "a\nb", True),
    ("A", "a", False),
    (".+", "ab", False),
]


@each_row(("pattern", "text", "expected"), MATCHES)
def test_matches(pattern: str, text: str, expected: bool) -> None:
    assert bool(matcher(pattern.encode())(text.encode())) == expected


@pytest.mark.parametrize("pattern", [b"a*" * 20 + b"b", b"*" + b"?a*" * 60 + b"b", b"*a" * 500 + b"*b"])
def test_no_pattern_takes_exponential_time(pattern: bytes) -> None:
    begin = time.thread_time()
    assert not matcher(pattern)(b"a" * 20_000)
    assert time.thread_time() - begin < 5


@pytest.mark.parametrize(("asterisks", "expected"), [(1000, b"*1\r\n"), (1001, b"*0\r\n")])
@pytest.mark.parametrize("end", ["", "*"])
@pytest.mark.parametrize("which", SERVERS)
def test_as_many_asterisks_are_followed_as_in_redis(which: str, end: str, asterisks: int, expected: bytes) -> None:
    with contextmanager(running)(which) as port, Wire(port) as wire:
        wire.ask(["SET", "a" * 1001, "v"])
        assert wire.ask(["KEYS", "*?" * asterisks + end]).startswith(expected)
