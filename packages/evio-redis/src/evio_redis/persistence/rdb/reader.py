"""Loading RDB files: snapshots, and the base of an append-only file.

https://rdb.fnordig.de/file_format.html describes it. Functions are kept as they are; modules refuse to load
rather than to be lost.
"""

from __future__ import annotations

import logging
import mmap
import os
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

from ...errors import LogCorrupt
from ...keyspace.keyspace import Keyspace
from .codes import (
    AUX,
    END,
    EXPIRE,
    EXPIRE_MS,
    FREQUENCY,
    FUNCTION,
    FUNCTION_OLD,
    IDLE,
    LOWEST,
    MODULE_AUX,
    REPL_ID,
    RESIZE,
    SELECT,
    Facts,
)
from .crc64 import crc64
from .primitives import MALFORMED, Reader, why
from .values import STRING, Limits, read_value

__all__ = ["Settings", "load_rdb", "loading_rdb"]

log: logging.Logger = logging.getLogger("evio_redis")

OLDEST, NEWEST = 1, 11
"""Versions that are read: up to that of Redis 7.2."""

CHUNK = 1 << 18
"""Bytes of a file that the checksum is taken of at once."""

SLICE = 1 << 14
"""Bytes of keys that are loaded at once, at least: one key is loaded whole."""

KEPT = 1 << 22
"""Bytes of a file that stay in memory when they have been read."""


class Settings(Limits, Protocol):
    """The directives that loading follows."""

    key_load_delay: int
    """Microseconds to wait for each key; for as many keys as the number says, 1, if it is negative."""


def load_rdb(keyspace: Keyspace, path: Path, settings: Settings, now: int = 0, *, replace: bool = False) -> int:
    """Add the keys of a file, but for those that have expired ``now`` (Unix milliseconds; 0 for none); returns where it
    ends: commands may follow. With ``replace``, those that are there already are replaced. Raises :class:`LogCorrupt`
    with the offset, and ``OSError``."""
    loading = loading_rdb(keyspace, path, settings, {}, now, replace=replace)
    while True:
        try:
            next(loading)
        except StopIteration as end:
            return int(end.value)


def loading_rdb(
    keyspace: Keyspace, path: Path, settings: Settings, facts: Facts, now: int = 0, *, replace: bool = False
) -> Generator[int, None, int]:
    """The same piece by piece: yields how many bytes are done; ``facts`` gets what the file says about itself."""
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise LogCorrupt(f"{path}: it is empty, not an RDB file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = Reader(data)
            return (yield from _loading_mapped(path, data, _Loading(keyspace, reader, settings, facts, now, replace)))


def _loading_mapped(path: Path, data: mmap.mmap, loading: _Loading) -> Generator[int, None, int]:
    reader = loading.reader
    try:
        version = data[5:9]
        if data[:5] != b"REDIS" or not version.isdigit() or not OLDEST <= int(version) <= NEWEST:
            raise ValueError(f"not an RDB file of a version up to {NEWEST}")
        reader.at = 9
        yield from _released(data, loading.run())
        if int(version) >= 5:
            for _ in _released(data, _check_sum(data, reader)):
                yield reader.at
    except MALFORMED as error:
        raise LogCorrupt(f"{path}: {why(error)} at offset {reader.at}") from None
    return reader.at


def _released(data: mmap.mmap, steps: Iterator[int]) -> Iterator[int]:
    """Let the kernel take back the pages of what is done, at each of which ``steps`` arrives; else a process had all of
    a large file in its memory at the end."""
    before = 0
    for at in steps:
        if sys.platform != "win32" and at - before >= KEPT:
            end = at - at % mmap.PAGESIZE
            data.madvise(mmap.MADV_DONTNEED, before, end - before)
            before = end
        yield at


class _Loading:
    """Adds the keys of a file to the databases."""

    def __init__(
        self, keyspace: Keyspace, reader: Reader, settings: Settings, facts: Facts, now: int, replace: bool
    ) -> None:
        self.reader: Reader = reader
        self._keyspace = keyspace
        self._settings = settings
        self._facts = facts
        self._now = now
        self._replace = replace
        self._database = keyspace.databases[0]
        self._expiry: int | None = None
        self._expired = 0  # keys left out

    def run(self) -> Generator[int, None, None]:
        """Read to the end, piece by piece. Raises one of ``MALFORMED``."""
        reader, settings = self.reader, self._settings
        until, keys = SLICE, 0
        while True:
            code = reader.byte()
            if code < LOWEST:
                keys += 1
                key = reader.string()
                self._add(key, reader.string() if code == STRING else read_value(reader, code, settings))
                if settings.key_load_delay:
                    wait_for_key(settings.key_load_delay, keys)
                    yield reader.at
                elif reader.at >= until:
                    until = reader.at + SLICE
                    yield reader.at
            elif code == END:
                self._keyspace.last_load = keys - self._expired, self._expired
                return
            else:
                self._note(code)

    def _add(self, key: bytes, value: Any) -> None:
        database, expiry = self._database, self._expiry
        self._expiry = None
        if type(value) is not bytes and not value:
            log.warning("skipping the empty key %r", key)
            return
        if expiry is not None and expiry <= self._now and REPL_ID not in self._facts:
            self._expired += 1
            return  # else replicas, who go on from here, are told when it is removed
        if key in database.data:
            if not self._replace:
                raise ValueError(f"a key twice, {key[:64]!r},")
            database.remove(key)
        database.data[key] = value
        if expiry is not None:
            database.set_expiry(key, expiry)

    def _note(self, code: int) -> None:
        """Read a note about the key that follows, or about the file."""
        reader = self.reader
        if code == EXPIRE_MS:
            self._expiry = int.from_bytes(reader.take(8), "little", signed=True)
        elif code == EXPIRE:
            self._expiry = int.from_bytes(reader.take(4), "little", signed=True) * 1000
        elif code == SELECT:
            index, databases = reader.length(), self._keyspace.databases
            if index >= len(databases):
                raise ValueError(f"database {index}, though there are {len(databases)} (see 'databases'),")
            self._database = databases[index]
        elif code == AUX:
            name = reader.string()
            self._facts[name] = reader.string()
        elif code == RESIZE:
            reader.length()
            reader.length()
        elif code == IDLE:
            reader.length()
        elif code == FREQUENCY:
            reader.byte()
        elif code == FUNCTION:
            self._keyspace.functions.keep(reader.string(), self._replace)
        elif code in (MODULE_AUX, FUNCTION_OLD):
            what = "data of a module" if code == MODULE_AUX else "functions of a release candidate of Redis 7"
            raise ValueError(f"{what}, which this server does not have,")
        else:
            raise ValueError(f"unknown type {code}")


def wait_for_key(delay: int, keys: int) -> None:
    """Wait as ``key-load-delay`` says, after so many keys."""
    if delay > 0:
        time.sleep(delay / 1e6)
    elif keys % -delay == 0:
        time.sleep(1e-6)


def _check_sum(data: mmap.mmap, reader: Reader) -> Generator[int, None, None]:
    end, crc = reader.at, 0
    expected = int.from_bytes(reader.take(8), "little")
    if not expected:
        return  # rdbchecksum no
    for at in range(0, end, CHUNK):
        crc = crc64(data[at : min(at + CHUNK, end)], crc)
        yield at
    if crc != expected:
        raise ValueError("RDB CRC error: the checksum is wrong")
