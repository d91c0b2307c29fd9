"""Values as RDB has them: what is in RDB files, in the payloads of DUMP, and in the base of Redis's append-only file.

A value is a code for its type and encoding, and after that (in a file the key is between them) lengths, strings and the
compact encodings of small collections. Everything that Redis has written since 2.0 is read; written is what Redis 7.0
writes, but for compression. What this server has no type for (modules) refuses to load rather than to lose it.

https://rdb.fnordig.de/file_format.html describes it; the newer types are those of Redis 7.0's rdb.h.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from ...errors import CommandError
from ...keyspace.types.hashes import Hash
from ...keyspace.types.lists import List
from ...keyspace.types.sets import Set
from ...keyspace.types.streams import Stream
from ...keyspace.types.zsets import SortedSet
from ...protocol.numbers import format_double, parse_double
from . import intset, listpack, ziplist
from .primitives import Reader, length, string
from .streams import STREAM, STREAM_2, STREAM_3, read_stream, stream_pieces

__all__ = ["VERSION", "Limits", "code_of", "pieces", "read_value"]

VERSION = 10
"""The version of Redis 7.0."""

STRING, LIST, SET, ZSET_TEXT, HASH, ZSET = 0, 1, 2, 3, 4, 5
HASH_ZIPMAP, LIST_ZIPLIST, SET_INTSET, ZSET_ZIPLIST, HASH_ZIPLIST, LIST_ZIPLISTS = 9, 10, 11, 12, 13, 14
HASH_LISTPACK, ZSET_LISTPACK, LIST_NODES, SET_LISTPACK = 16, 17, 18, 20

PLAIN_NODE, PACKED_NODE = 1, 2
"""The two kinds of a list's nodes: one long element, or a listpack."""

ZIPLISTS = (LIST_ZIPLIST, LIST_ZIPLISTS, HASH_ZIPLIST, ZSET_ZIPLIST)

NODE_SIZES = (4096, 8192, 16384, 32768, 65536)
"""Bytes of a list's node for a ``list-max-listpack-size`` of -1, -2..."""

NODE_SIZE_SAFE = 8192
"""Bytes of a list's node that has a number of elements as its limit."""

ELEMENT_OVERHEAD = 8
"""Bytes that an element of a node is taken to need besides its own."""


class Limits(Protocol):
    """Of a configuration, up to when small collections have a compact encoding."""

    hash_max_listpack_entries: int
    hash_max_listpack_value: int
    list_max_listpack_size: int
    set_max_intset_entries: int
    zset_max_listpack_entries: int
    zset_max_listpack_value: int


# -- reading


def read_value(reader: Reader, code: int, limits: Limits) -> Any:
    """The value of the type and encoding ``code``, an empty collection if it has no elements. Raises one of
    ``MALFORMED``."""
    if code == STRING:
        return reader.string()
    if code in (LIST, LIST_ZIPLIST, LIST_ZIPLISTS, LIST_NODES):
        return List(_elements(reader, code))
    if code in (SET, SET_INTSET, SET_LISTPACK):
        return _set(reader, code, limits)
    if code in (HASH, HASH_ZIPMAP, HASH_ZIPLIST, HASH_LISTPACK):
        return _hash(reader, code, limits)
    if code in (ZSET_TEXT, ZSET, ZSET_ZIPLIST, ZSET_LISTPACK):
        return _sorted_set(reader, code, limits)
    if code in (STREAM, STREAM_2, STREAM_3):
        return read_stream(reader, code)
    raise ValueError(f"a value of type {code}, which this server does not have")


def _elements(reader: Reader, code: int) -> list[bytes]:
    if code == LIST:
        return reader.strings(reader.length())
    if code == LIST_ZIPLIST:
        return _packed(reader, code)
    elements: list[bytes] = []
    for _ in range(reader.length()):
        container = reader.length() if code == LIST_NODES else PACKED_NODE
        if container not in (PLAIN_NODE, PACKED_NODE):
            raise ValueError("a list of unknown nodes")
        if container == PLAIN_NODE:
            elements.append(reader.string())
            if not elements[-1]:
                raise ValueError("a list of a long element that is empty")
        else:
            elements += _packed(reader, code)
    return elements


def _packed(reader: Reader, code: int) -> list[bytes]:
    return ziplist.unpack(reader.string()) if code in ZIPLISTS else listpack.unpack(reader.string())


def _pairs(flat: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    if len(flat) % 2:
        raise ValueError("an odd number of elements where pairs are expected")
    return zip(flat[::2], flat[1::2], strict=True)


def _set(reader: Reader, code: int, limits: Limits) -> Set:
    if code == SET:
        members = reader.strings(reader.length())
    else:
        members = (intset if code == SET_INTSET else listpack).unpack(reader.string())
    value = Set(members, limits.set_max_intset_entries)
    if len(value) != len(members):
        raise ValueError("a set that has a member twice")
    return value


def _hash(reader: Reader, code: int, limits: Limits) -> Hash:
    if code == HASH:
        flat = reader.strings(2 * reader.length())
    elif code == HASH_ZIPMAP:
        flat = ziplist.unpack_zipmap(reader.string())
    else:
        flat = _packed(reader, code)
    value = Hash(dict(_pairs(flat)))
    if len(value) != len(flat) // 2:
        raise ValueError("a hash that has a field twice")
    # Of what is packed already Redis looks at the number only, not at the sizes.
    longest = max(map(len, flat), default=0) if code in (HASH, HASH_ZIPMAP) else 0
    value.large = len(value) > limits.hash_max_listpack_entries or longest > limits.hash_max_listpack_value
    return value


def _sorted_set(reader: Reader, code: int, limits: Limits) -> SortedSet:
    if code in (ZSET, ZSET_TEXT):
        scores = [(reader.string(), _score(reader, code)) for _ in range(reader.length())]
        longest = max((len(member) for member, _ in scores), default=0)
    else:
        scores = [(member, _double(text)) for member, text in _pairs(_packed(reader, code))]
        longest = 0
    value = SortedSet(scores)
    if len(value) != len(scores):
        raise ValueError("a sorted set that has a member twice")
    if any(math.isnan(score) for score in value.scores.values()):
        raise ValueError("a score that is no number")
    value.settle(longest, limits.zset_max_listpack_entries, limits.zset_max_listpack_value)
    return value


def _score(reader: Reader, code: int) -> float:
    if code == ZSET:
        return float(struct.unpack("<d", reader.take(8))[0])
    size = reader.byte()
    if size >= 253:
        return {253: math.nan, 254: math.inf, 255: -math.inf}[size]
    return _double(reader.take(size))


def _double(text: bytes) -> float:
    try:
        return parse_double(text)
    except CommandError:
        raise ValueError("a score that is no number") from None


# -- writing


def code_of(value: Any) -> int:
    """The type and encoding that :func:`pieces` writes a value in."""
    if isinstance(value, bytes):
        return STRING
    kind = type(value)
    if kind is List:
        return LIST_NODES
    if kind is Set:
        return SET if value.plain else SET_INTSET
    if kind is Hash:
        return HASH if value.large else HASH_LISTPACK
    if kind is Stream:
        return STREAM_2
    assert kind is SortedSet, f"RDB has nothing for a {kind.__name__}"
    return ZSET if value.large else ZSET_LISTPACK


def pieces(value: Any, limits: Limits) -> Iterator[bytes]:
    """The bytes of a value, its type not among them."""
    code = code_of(value)
    if code == STRING:
        yield string(value)
    elif code == LIST_NODES:
        nodes = list(_nodes(value, limits.list_max_listpack_size))
        yield length(len(nodes))
        for node in nodes:
            yield length(PACKED_NODE) + string(node)
    elif code == SET_INTSET:
        yield string(intset.pack(value))
    elif code == HASH_LISTPACK:
        yield string(listpack.pack([part for pair in value.items() for part in pair]))
    elif code == STREAM_2:
        yield from stream_pieces(value)
    elif code == ZSET_LISTPACK:
        yield string(listpack.pack([part for score, member in value.items() for part in (member, _score_text(score))]))
    else:
        yield length(len(value))
        yield from _large(value, code)


def _large(value: Any, code: int) -> Iterator[bytes]:
    if code == SET:
        yield from map(string, value)
    elif code == HASH:
        for field, each in value.items():
            yield string(field)
            yield string(each)
    else:
        for score, member in reversed(list(value.items())):  # what is loaded then always goes to the beginning
            yield string(member) + struct.pack("<d", score)


def _score_text(score: float) -> bytes:
    """As Redis keeps it in a listpack, where there is no negative zero."""
    if abs(score) <= 2**62 and score.is_integer():
        return b"%d" % int(score)
    return format_double(score)


def _nodes(elements: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """The listpacks of a list, filled from its beginning."""
    node: list[bytes] = []
    size = listpack.HEADER + 1
    most_bytes = NODE_SIZES[-limit - 1] if limit < 0 else NODE_SIZE_SAFE
    for value in elements:
        fits = size + len(value) + ELEMENT_OVERHEAD <= most_bytes and (limit < 0 or len(node) < limit)
        if node and not fits:
            yield listpack.join(node)
            node, size = [], listpack.HEADER + 1
        node.append(listpack.element(value))
        size += len(node[-1])
    if node:
        yield listpack.join(node)
