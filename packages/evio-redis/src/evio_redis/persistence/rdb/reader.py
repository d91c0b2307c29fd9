"""Loading RDB files: the form that a real Redis gives the base of its append-only file.

https://rdb.fnordig.de/file_format.html describes it. Functions refuse to load rather than to be lost.
"""

from __future__ import annotations

import logging
import mmap
from pathlib import Path

from ...errors import LogCorrupt
from ...keyspace.keyspace import Keyspace
from .crc64 import crc64
from .primitives import MALFORMED, Reader
from .values import VERSION, Limits, read_value

__all__ = ["load_rdb"]

log = logging.getLogger("evio_redis")

AUX, RESIZE, EXPIRE_MS, EXPIRE, SELECT, END, IDLE, FREQUENCY = 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF, 0xF8, 0xF9

CHUNK = 1 << 20
"""Bytes of a file that the checksum is taken of at once."""


def load_rdb(keyspace: Keyspace, path: Path, limits: Limits) -> int:
    """Add the keys of a file; returns where it ends: commands may follow. Raises :class:`LogCorrupt` with the offset,
    and ``OSError``."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = Reader(data)
        try:
            if data[:5] != b"REDIS" or not 1 <= int(data[5:9]) <= VERSION:
                raise ValueError(f"not an RDB file of a version up to {VERSION}")
            reader.at = 9
            _load(keyspace, reader, limits)
            if int(data[5:9]) >= 5:
                _check_sum(data, reader)
        except MALFORMED as error:
            raise LogCorrupt(f"{path}: {error} at offset {reader.at}") from None
        return reader.at


def _load(keyspace: Keyspace, reader: Reader, limits: Limits) -> None:
    database = keyspace.databases[0]
    expiry: int | None = None
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
            key, value = reader.string(), read_value(reader, code, limits)
            if not value and not isinstance(value, bytes):
                log.warning("skipping the empty key %r", key)
            else:
                database.add(key, value)
                if expiry is not None:
                    database.set_expiry(key, expiry)
            expiry = None


def _check_sum(data: mmap.mmap, reader: Reader) -> None:
    end, crc = reader.at, 0
    expected = int.from_bytes(reader.take(8), "little")
    if not expected:
        return  # rdbchecksum no
    for at in range(0, end, CHUNK):
        crc = crc64(data[at : min(at + CHUNK, end)], crc)
    if crc != expected:
        raise ValueError("wrong checksum")
