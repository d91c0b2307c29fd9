"""Content codings: which one a client takes (RFC 9110 section 12.5.3), and compressing a file once."""

from __future__ import annotations

import functools
import importlib
import re
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from .version import Identity

__all__ = ["COMPRESS_AT_ONCE", "EXTENSIONS", "PREFERENCE", "CompressedCache", "choose", "compressed", "compressors"]

PREFERENCE = ("br", "zstd", "gzip")
"""The order of codings that a client likes equally: the smallest first."""

EXTENSIONS = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""The file name extension of a precompressed sibling."""

_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_ALIASES = {"x-gzip": "gzip"}  # RFC 9110 section 8.4.1.3


def choose(accept_encoding: str | None, available: Iterable[str]) -> str | None:
    """Choose one of the ``available`` codings, or None for none at all ("identity").

    The one with the highest weight, by ``PREFERENCE`` where weights are equal. Without the field any coding
    would be allowed, but only whoever sends it is sure to understand one. A client that refuses identity as
    well gets it all the same: section 12.5.3 prefers that to a 406.
    """
    if accept_encoding is None:
        return None
    return _choose(accept_encoding, tuple(available))


@functools.lru_cache(maxsize=256)  # clients send a handful of different ones
def _choose(accept_encoding: str, available: tuple[str, ...]) -> str | None:
    weights = _weights(accept_encoding)
    otherwise = weights.get("*", 0.0)
    # Identity is always acceptable; it only wins against what is liked less.
    best, weight = None, weights.get("identity", 0.0)
    for coding in sorted(available, key=_preference):
        liked = weights.get(coding, otherwise)
        if liked > weight or (best is None and liked == weight > 0):
            best, weight = coding, liked
    return best


def _preference(coding: str) -> int:
    return PREFERENCE.index(coding) if coding in PREFERENCE else len(PREFERENCE)


def _weights(accept_encoding: str) -> dict[str, float]:
    """The weight of each coding named; an element that is malformed is not there."""
    weights: dict[str, float] = {}
    for element in accept_encoding.split(","):
        coding, separator, parameter = element.partition(";")
        coding = coding.strip(" \t").lower()
        weight = 1.0
        if separator:
            name, _, value = parameter.strip(" \t").partition("=")
            if name not in ("q", "Q") or not _WEIGHT.fullmatch(value):
                continue
            weight = float(value)
        if coding:
            weights[_ALIASES.get(coding, coding)] = weight
    return weights


def _gzip() -> Callable[[bytes], bytes]:
    def compress(content: bytes) -> bytes:
        # zlib's own gzip framing has no time stamp and no name: equal content, equal bytes.
        compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
        return compressor.compress(content) + compressor.flush()

    return compress


def _brotli() -> Callable[[bytes], bytes]:
    brotli: Any = importlib.import_module("brotli")
    return lambda content: brotli.compress(content, quality=5)


def _zstandard() -> Callable[[bytes], bytes]:
    zstandard: Any = importlib.import_module("zstandard")
    # One compressor a call: they are not for several threads at once.
    return lambda content: zstandard.ZstdCompressor(level=6).compress(content)


def compressors() -> dict[str, Callable[[bytes], bytes]]:
    """Return the functions that compress, by coding, in the order of ``PREFERENCE``. Those that are installed: gzip
    always, br and zstd with the packages ``brotli`` and ``zstandard``."""
    found: dict[str, Callable[[bytes], bytes]] = {}
    for coding, make in (("br", _brotli), ("zstd", _zstandard), ("gzip", _gzip)):
        try:
            found[coding] = make()
        except ImportError:
            continue
    return found


def compressed(compress: Callable[[bytes], bytes], content: bytes) -> bytes | None:
    """Return ``content`` compressed, or None when that saves less than a tenth."""
    made = compress(content)
    return made if len(made) <= len(content) * 9 // 10 else None


COMPRESS_AT_ONCE = 128 * 1024
"""Bytes that may be compressed on a loop: some milliseconds."""


class CompressedCache:
    """Compressed versions of files, each made once, in at most ``max_bytes``; the least recently used go first.

    Compressing happens in the caller, so a file above ``COMPRESS_AT_ONCE`` is for another thread. One above
    ``max_file`` bytes is left alone: for those there are precompressed siblings. Below ``min_file`` bytes there is
    nothing to gain: a response fits one segment either way. It may be shared by threads.
    """

    def __init__(self, max_bytes: int = 16 << 20, max_file: int = 4 << 20, min_file: int = 256) -> None:
        self._max_bytes = max_bytes
        self._max_file = max_file
        self._min_file = min_file
        self._compressors = compressors()
        self._kept: OrderedDict[tuple[Identity, str], bytes | None] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self.codings: tuple[str, ...] = tuple(self._compressors)
        """The codings that can be made, for ``choose``."""

    def accepts(self, size: int) -> bool:
        """Tell whether a file of ``size`` bytes is neither too small nor too large."""
        return self._min_file <= size <= self._max_file

    def takes_long(self, version: Identity, size: int, coding: str) -> bool:
        """Tell whether ``get`` would take longer than a loop has time for."""
        return size > COMPRESS_AT_ONCE and (version, coding) not in self._kept

    def get(self, version: Identity, content: bytes, coding: str) -> bytes | None:
        """``content``, of this version of a file, in one of ``codings``; None when that saves less than a tenth, or
        ``accepts`` says no."""
        if not self.accepts(len(content)):
            return None
        key = (version, coding)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = compressed(self._compressors[coding], content)
        with self._lock:
            self._keep(key, made)
        return made

    def _keep(self, key: tuple[Identity, str], made: bytes | None) -> None:
        if key in self._kept:  # another thread was faster
            return
        self._kept[key] = made
        self._bytes += _cost(made)
        while self._bytes > self._max_bytes:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= _cost(gone)


def _cost(made: bytes | None) -> int:
    """Bytes that an entry takes: its content, and for its key and place 400 by tracemalloc, rounded up."""
    return 512 + (len(made) if made is not None else 0)
