"""Loading RDB files: the form that a real Redis gives the base of its append-only file.

https://rdb.fnordig.de/file_format.html describes it; the newer types are those of Redis 7.0's rdb.h. What this server
has no type for (streams, modules, functions) refuses to load rather than to lose it.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import LogCorrupt
from ..keyspace import Keyspace
from ..numbers import parse_double
from ..types.hashes import Hash
from ..types.lists import List
from ..types.sets import Set
from ..types.zsets import SortedSet
from .listpack import intset, listpack, lzf, ziplist

__all__ = ["load_rdb"]

NEWEST = 10
"""The version of Redis 7.0."""

AUX, RESIZE, EXPIRE_MS, EXPIRE, SELECT, END, IDLE, FREQUENCY = 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF, 0xF8, 0xF9


def load_rdb(keyspace: Keyspace, path: Path) -> int:
    """Add the keys of a file; returns where it ends: commands may follow. Raises :class:`LogCorrupt` with the offset,
    and ``OSError``."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        try:
            if data[:5] != b"REDIS" or not 1 <= int(data[5:9]) <= NEWEST:
                raise ValueError("not an RDB file of a version up to 10")
            _load(keyspace, reader)
            if int(data[5:9]) >= 5:
                _check_sum(data[: reader.at], reader.take(8))
        except (ValueError, IndexError, struct.error) as error:
            raise LogCorrupt(f"{path}: {error} at offset {reader.at}") from None
        return reader.at


def _load(keyspace: Keyspace, reader: _Reader) -> None:
    database = keyspace.databases[0]
    expiry: int | None = None
    reader.at = 9
    while True:
        code = reader.byte()
        if code == END:
            return
        if code == SELECT:
            database = keyspace.databases[reader.length()]
        elif code == EXPIRE_MS:
            expiry = int.from_bytes(reader.take(8), "little", signed=True)
        elif code == EXPIRE:
            expiry = int.from_bytes(reader.take(4), "little", signed=True) * 1000
        elif code == AUX:
            reader.string()
            reader.string()
        elif code == RESIZE:
            reader.length()
            reader.length()
        elif code == IDLE:
            reader.length()
        elif code == FREQUENCY:
            reader.byte()
        else:
            key = reader.string()
            database.add(key, _value(reader, code))
            if expiry is not None:
                database.set_expiry(key, expiry)
                expiry = None


class _Reader:
    """The bytes and where we are in them."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        if len(part) < size:
            raise ValueError("the file ends too early")
        self.at += size
        return part

    def byte(self) -> int:
        return self.take(1)[0]

    def length(self) -> int:
        size, special = self._length()
        if special:
            raise ValueError("expected a length")
        return size

    def _length(self) -> tuple[int, bool]:
        first = self.byte()
        kind = first >> 6
        if kind == 0:
            return first & 0x3F, False
        if kind == 1:
            return (first & 0x3F) << 8 | self.byte(), False
        if kind == 3:
            return first & 0x3F, True
        if first not in (0x80, 0x81):
            raise ValueError("unknown kind of length")
        return int.from_bytes(self.take(4 if first == 0x80 else 8), "big"), False

    def string(self) -> bytes:
        size, special = self._length()
        if not special:
            return self.take(size)
        if size < 3:
            return b"%d" % int.from_bytes(self.take(1 << size), "little", signed=True)
        if size == 3:
            compressed, plain = self.length(), self.length()
            return lzf(self.take(compressed), plain)
        raise ValueError("unknown kind of string")

    def strings(self, count: int) -> list[bytes]:
        return [self.string() for _ in range(count)]

    def old_double(self) -> float:
        size = self.byte()
        if size >= 253:
            return {253: float("nan"), 254: float("inf"), 255: float("-inf")}[size]
        return parse_double(self.take(size))


def _pairs(flat: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    if len(flat) % 2:
        raise ValueError("an odd number of elements where pairs are expected")
    return zip(flat[::2], flat[1::2], strict=True)


def _value(reader: _Reader, code: int) -> Any:
    if code == 0:
        return reader.string()
    if code in (1, 10, 14, 18):
        return List(_list(reader, code))
    if code in (2, 11):
        return Set(reader.strings(reader.length()) if code == 2 else intset(reader.string()))
    if code in (4, 13, 16):
        flat = reader.strings(2 * reader.length()) if code == 4 else _packed(reader, code == 16)
        return _sized(Hash(dict(_pairs(flat))), code == 4)
    if code in (3, 5, 12, 17):
        return _sized(SortedSet(_scores(reader, code)), code in (3, 5))
    raise ValueError(f"a value of type {code}, which this server does not have")


def _sized(value: Any, large: bool) -> Any:
    value.large = large
    return value


def _packed(reader: _Reader, new: bool) -> list[bytes]:
    return listpack(reader.string()) if new else ziplist(reader.string())


def _list(reader: _Reader, code: int) -> list[bytes]:
    if code == 1:
        return reader.strings(reader.length())
    if code == 10:
        return ziplist(reader.string())
    elements: list[bytes] = []
    for _ in range(reader.length()):
        plain = code == 18 and reader.length() == 1
        elements += [reader.string()] if plain else _packed(reader, code == 18)
    return elements


def _scores(reader: _Reader, code: int) -> list[tuple[bytes, float]]:
    if code in (12, 17):
        return [(member, parse_double(score)) for member, score in _pairs(_packed(reader, code == 17))]
    pairs = []
    for _ in range(reader.length()):
        member = reader.string()
        pairs.append((member, struct.unpack("<d", reader.take(8))[0] if code == 5 else reader.old_double()))
    return pairs


def _crc64_table() -> list[int]:
    """CRC-64 as Redis uses it: Jones' polynomial, reflected."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
        table.append(crc)
    return table


def _check_sum(data: bytes, found: bytes) -> None:
    expected = int.from_bytes(found, "little")
    if not expected:
        return  # rdbchecksum no
    table, crc = _crc64_table(), 0
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    if crc != expected:
        raise ValueError("wrong checksum")
