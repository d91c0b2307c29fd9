"""Checking the files that persistence leaves, without serving them (``evio-redis --check FILE``)."""

from __future__ import annotations

from pathlib import Path

from ..config.config import Config
from ..keyspace.keyspace import Keyspace
from ..model.route import Route
from .rdb.reader import load_rdb

__all__ = ["check_snapshot"]

MOST_DATABASES = 1 << 16
"""Of a file that is checked; how many it has been written with is not in it."""


def check_snapshot(path: Path) -> str:
    """Load a snapshot, or the RDB base of an append-only file; returns what is in it. Raises :class:`LogCorrupt` with
    the offset of what is wrong, and ``OSError``."""
    keyspace = Keyspace(MOST_DATABASES, Route())
    end = load_rdb(keyspace, path, Config())
    used = [database for database in keyspace.databases if database.data]
    keys, expires = (sum(len(getattr(each, name)) for each in used) for name in ("data", "expires"))
    found = [f"{keys} keys in {len(used)} databases", f"{expires} of them expire"]
    if keyspace.functions.codes():
        found.append(f"{len(keyspace.functions.codes())} libraries of functions")
    left = path.stat().st_size - end
    if left:
        found.append(f"followed by {left} bytes of commands")
    return f"{path}: {', '.join(found)}"
