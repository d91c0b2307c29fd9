"""Choosing a content coding, and compressing once."""

from __future__ import annotations

import gzip
import importlib
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from evio_http.files import encodings
from evio_http.files.encodings import CompressedCache, choose
from evio_http.files.version import Identity
from tests.tables import each_row

ALL = ("gzip", "br", "zstd")


@each_row(
    "accept_encoding, available, chosen",
    [
        (None, ALL, None),
        ("", ALL, None),
        ("gzip", ALL, "gzip"),
        ("gzip", ("br",), None),
        ("gzip", (), None),
        ("GZip", ALL, "gzip"),
        ("x-gzip", ALL, "gzip"),
        ("gzip, deflate, br, zstd", ALL, "br"),
        ("gzip, deflate, br, zstd", ("gzip", "zstd"), "zstd"),
        ("gzip, deflate, br", ("gzip",), "gzip"),
        ("gzip,br", ALL, "br"),
        ("gzip;q=1.0, br;q=0.9", ALL, "gzip"),
        ("gzip;q=0.5, br;q=0.501", ALL, "br"),
        ("gzip ; q=0.5 , br ; Q=0.6", ALL, "br"),
        ("gzip;q=0", ALL, None),
        ("gzip;q=0.000", ALL, None),
        ("gzip;q=0.001", ALL, "gzip"),
        ("gzip;q=1.", ALL, "gzip"),
        ("*", ALL, "br"),
        ("*", ("gzip",), "gzip"),
        ("*;q=0", ALL, None),
        ("br;q=0, *", ALL, "zstd"),
        ("br;q=0, zstd;q=0, *;q=0.1", ALL, "gzip"),
        ("gzip, *;q=0", ALL, "gzip"),
        # identity counts when it is liked more
        ("identity", ALL, None),
        ("identity, gzip", ALL, "gzip"),
        ("identity;q=1, gzip;q=0.9", ALL, None),
        ("identity;q=0.5, gzip;q=1", ALL, "gzip"),
        ("identity;q=0.5, *;q=0.5", ALL, "br"),
        # nothing that may be sent: identity all the same
        ("identity;q=0", ALL, None),
        ("identity;q=0, gzip;q=0", ALL, None),
        ("*;q=0, identity;q=0", ALL, None),
        # malformed elements are not there
        ("gzip;q=2", ALL, None),
        ("gzip;q=1.001", ALL, None),
        ("gzip;q=0.1234", ALL, None),
        ("gzip;q=", ALL, None),
        ("gzip;q", ALL, None),
        ("gzip;q=-1", ALL, None),
        ("gzip;q=.5", ALL, None),
        ("gzip;q=nan", ALL, None),
        ("gzip;q=1;x=2", ALL, None),
        ("gzip;level=9", ALL, None),
        ("gzip;q=x, br;q=0.1", ALL, "br"),
        (",,gzip,,", ALL, "gzip"),
        ("deflate", ALL, None),
        ("gzip br", ALL, None),
    ],
)
def test_choose(accept_encoding: str | None, available: tuple[str, ...], chosen: str | None) -> None:
    assert choose(accept_encoding, available) == chosen
    assert choose(accept_encoding, iter(available[::-1])) == chosen


TEXT = b"To be, or not to be, that is the question. " * 100


def version(number: int) -> Identity:
    return number, 0, 0, len(TEXT), 0


def counted(cache: CompressedCache, coding: str) -> list[int]:
    """Count what is compressed: a list that gets the size of each."""
    compressions: list[int] = []
    compress = cache._compressors[coding]

    def counting(content: bytes) -> bytes:
        compressions.append(len(content))
        return compress(content)

    cache._compressors[coding] = counting
    return compressions


def decoder(coding: str) -> Callable[[bytes], bytes]:
    if coding == "gzip":
        return gzip.decompress
    package: Any = importlib.import_module({"br": "brotli", "zstd": "zstandard"}[coding])
    decompress: Callable[[bytes], bytes] = package.decompress
    return decompress


def test_each_coding_is_what_its_decoder_reads() -> None:
    cache = CompressedCache()
    assert "gzip" in cache.codings
    for coding in cache.codings:
        made = cache.get(version(1), TEXT, coding)
        assert made is not None
        assert len(made) < len(TEXT) // 4
        assert decoder(coding)(made) == TEXT


def test_codings_are_those_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(encodings.importlib, "import_module", missing)  # type: ignore[attr-defined]
    assert CompressedCache().codings == ("gzip",)


def test_a_version_is_compressed_once() -> None:
    cache = CompressedCache()
    compressions = counted(cache, "gzip")
    first = cache.get(version(1), TEXT, "gzip")
    assert cache.get(version(1), TEXT, "gzip") is first
    assert len(compressions) == 1
    cache.get(version(2), TEXT, "gzip")
    assert len(compressions) == 2


def test_equal_content_gives_equal_bytes() -> None:
    assert CompressedCache().get(version(1), TEXT, "gzip") == CompressedCache().get(version(2), TEXT, "gzip")


def test_what_does_not_shrink_is_remembered_as_such() -> None:
    cache = CompressedCache()
    compressions = counted(cache, "gzip")
    noise = random.Random(1).randbytes(5000)
    assert cache.get(version(1), noise, "gzip") is None
    assert cache.get(version(1), noise, "gzip") is None
    assert len(compressions) == 1


def test_small_and_large_files_are_left_alone() -> None:
    cache = CompressedCache(min_file=100, max_file=200)
    compressions = counted(cache, "gzip")
    assert cache.get(version(1), bytes(99), "gzip") is None
    assert cache.get(version(2), bytes(201), "gzip") is None
    assert not compressions
    assert cache.get(version(3), bytes(100), "gzip") is not None
    assert cache.get(version(4), bytes(200), "gzip") is not None


def test_the_least_recently_used_goes_first() -> None:
    made = CompressedCache().get(version(0), TEXT, "gzip")
    assert made is not None
    room = encodings._cost(made)
    cache = CompressedCache(max_bytes=room * 3)
    compressions = counted(cache, "gzip")
    for number in (1, 2, 3):
        cache.get(version(number), TEXT, "gzip")
    cache.get(version(1), TEXT, "gzip")
    cache.get(version(4), TEXT, "gzip")
    assert len(compressions) == 4
    for number in (3, 1, 4):
        cache.get(version(number), TEXT, "gzip")
    assert len(compressions) == 4
    cache.get(version(2), TEXT, "gzip")
    assert len(compressions) == 5


def test_memory_is_bounded() -> None:
    cache = CompressedCache(max_bytes=10_000)
    for number in range(200):
        cache.get(version(number), TEXT if number % 2 else random.Random(number).randbytes(300), "gzip")
        assert cache._bytes == sum(map(encodings._cost, cache._kept.values())) <= 10_000


def test_a_cache_without_room_still_compresses() -> None:
    cache = CompressedCache(max_bytes=0)
    assert cache.get(version(1), TEXT, "gzip") is not None
    assert cache._bytes == 0


def test_threads_share_it() -> None:
    cache = CompressedCache(max_bytes=5_000)
    wrong: list[object] = []

    def use(seed: int) -> None:
        choice = random.Random(seed)
        try:
            for _ in range(100):
                number = choice.randrange(50)
                made = cache.get(version(number), TEXT + bytes([number]), "gzip")
                if made is None or gzip.decompress(made)[-1] != number:
                    wrong.append(number)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
    assert cache._bytes == sum(map(encodings._cost, cache._kept.values())) <= 5_000
