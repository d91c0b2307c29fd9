"""Writing RDB files of version 10, which Redis 7.0 and later load.

https://rdb.fnordig.de/file_format.html describes the format.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from ...config.config import Config
from ...keyspace.keyspace import Keyspace
from ...model.version import REDIS_VERSION
from ...stats.memory import resident
from .codes import AUX, END, EXPIRE_MS, FUNCTION, RESIZE, SELECT, Facts
from .crc64 import crc64
from .primitives import compressed, length, string
from .values import STRING, VERSION, code_of, pieces

__all__ = ["send_rdb", "write_rdb"]

CHUNK = 1 << 20
"""Bytes written at once."""


def write_rdb(config: Config, keyspace: Keyspace, path: Path, base: bool = False, facts: Facts | None = None) -> None:
    """Write all keys to a new file, and sync it; ``base`` says in it that it is one of an append-only file, and so do
    more ``facts``. Raises ``OSError``."""
    path.unlink(missing_ok=True)  # an orphan of a server that was killed may be writing to it still
    with open(path, "xb", buffering=0) as file:
        output = _Output(file.fileno(), config.rdbchecksum)
        _write(config, keyspace, output, _facts(base) | (facts or {}))
        output.finish()
        os.fsync(file.fileno())


def send_rdb(config: Config, keyspace: Keyspace, fd: int, facts: Facts) -> None:
    """Write all keys to a pipe, and close it. Raises ``OSError``."""
    output = _Output(fd, config.rdbchecksum)
    _write(config, keyspace, output, _facts(base=False) | facts)
    output.finish()
    os.close(fd)


class _Output:
    """Collects what is written, and takes the checksum of it. ``parts`` is what was not written yet."""

    def __init__(self, fd: int, checked: bool) -> None:
        self._fd = fd
        self._checked = checked
        self._sum = 0
        self._size = 0
        self.parts: list[bytes] = []

    def flush(self) -> None:
        """Write what there is. Raises ``OSError``."""
        data = b"".join(self.parts)
        self.parts.clear()
        if self._checked:
            self._sum = crc64(data, self._sum)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def finish(self) -> None:
        """Write the rest and the checksum. Raises ``OSError``."""
        self.flush()
        self.parts.append(self._sum.to_bytes(8, "little"))
        self._checked = False
        self.flush()


def _write(config: Config, keyspace: Keyspace, output: _Output, facts: Facts) -> None:
    parts = output.parts
    parts.append(b"REDIS%04d" % VERSION)
    for name, value in facts.items():
        parts += (bytes((AUX,)), string(name), string(value))
    for code in keyspace.functions.codes():
        parts += (bytes((FUNCTION,)), string(code))
    text = compressed if config.rdbcompression else string
    delay = config.rdb_key_save_delay / 1e6
    size = 0
    for database in keyspace.databases:
        if not database.data:
            continue
        expires = database.expires
        parts += (bytes((SELECT,)), length(database.index))
        parts += (bytes((RESIZE,)), length(len(database.data)), length(len(expires)))
        for key, value in database.data.items():
            if key in expires:
                parts += (bytes((EXPIRE_MS,)), expires[key].to_bytes(8, "little", signed=True))
            if type(value) is bytes:
                parts += (_STRING, string(key), text(value))
                size += len(key) + len(value) + 8
            else:
                parts += (bytes((code_of(value),)), string(key))
                for piece in pieces(value, config):
                    parts.append(piece)
                    size += len(piece)
                    if size >= CHUNK:
                        output.flush()
                        size = 0
            if size >= CHUNK or delay:
                output.flush()
                size = 0
                if delay:
                    time.sleep(delay)
    parts.append(bytes((END,)))


_STRING = bytes((STRING,))


def _facts(base: bool) -> Facts:
    """Return the facts that a file has about itself, as Redis has them."""
    return {
        b"redis-ver": REDIS_VERSION.encode(),
        b"redis-bits": b"64",
        b"ctime": b"%d" % time.time(),
        b"used-mem": b"%d" % resident(),
        b"aof-base": b"%d" % base,
    }
