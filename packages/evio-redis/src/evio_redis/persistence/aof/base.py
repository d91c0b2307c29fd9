"""The base of the append-only file: all keys as of one moment, as RDB or as commands."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ...config.config import Config
from ...keyspace.keyspace import Keyspace
from ..rdb.writer import write_rdb
from .encode import commands_of, pieces

__all__ = ["write_base", "write_commands"]

CHUNK = 1 << 20
"""Bytes written at once."""


def write_base(config: Config, keyspace: Keyspace, path: Path) -> None:
    """Write the keyspace to a new file, and sync it; as RDB with ``aof-use-rdb-preamble``. Raises ``OSError``."""
    if config.aof_use_rdb_preamble:
        write_rdb(config, keyspace, path, base=True)
    else:
        write_commands(config, keyspace, path)


def write_commands(config: Config, keyspace: Keyspace, path: Path) -> None:
    """Write the keyspace to a new file as commands, and sync it. Raises ``OSError``."""
    path.unlink(missing_ok=True)  # an orphan of a server that was killed may be writing to it still
    delay = config.rdb_key_save_delay / 1e6
    with open(path, "xb", buffering=CHUNK) as file:
        if config.aof_timestamp_enabled:
            file.write(b"#TS:%d\r\n" % time.time())
        for code in keyspace.functions.codes():
            file.writelines(pieces([b"FUNCTION", b"LOAD", code]))
        for args in commands_of(keyspace.databases):
            file.writelines(pieces(args))
            if delay:
                file.flush()
                time.sleep(delay)
        file.flush()
        os.fsync(file.fileno())
