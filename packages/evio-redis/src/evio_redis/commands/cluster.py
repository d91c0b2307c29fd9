"""Commands of a cluster, refused in Redis's words: this server is alone.

https://redis.io/docs/latest/commands/?group=cluster
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ..errors import CommandError
from ..model.command import Args, command

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

ADMIN = "admin stale no_async_loading"

SUBCOMMANDS = {
    ("ADDSLOTS", -3): ADMIN,
    ("ADDSLOTSRANGE", -4): ADMIN,
    ("BUMPEPOCH", 2): ADMIN,
    ("COUNT-FAILURE-REPORTS", 3): "admin stale",
    ("COUNTKEYSINSLOT", 3): "stale",
    ("DELSLOTS", -3): ADMIN,
    ("DELSLOTSRANGE", -4): ADMIN,
    ("FAILOVER", -2): ADMIN,
    ("FLUSHSLOTS", 2): ADMIN,
    ("FORGET", 3): ADMIN,
    ("GETKEYSINSLOT", 4): "stale",
    ("HELP", 2): "loading stale",
    ("INFO", 2): "stale",
    ("KEYSLOT", 3): "stale",
    ("LINKS", 2): "stale",
    ("MEET", -4): ADMIN,
    ("MYID", 2): "stale",
    ("NODES", 2): "stale",
    ("REPLICAS", 3): "admin stale",
    ("REPLICATE", 3): ADMIN,
    ("RESET", -2): "admin stale noscript",
    ("SAVECONFIG", 2): ADMIN,
    ("SET-CONFIG-EPOCH", 3): ADMIN,
    ("SETSLOT", -4): ADMIN,
    ("SHARDS", 2): "stale",
    ("SLAVES", 3): "admin stale",
    ("SLOTS", 2): "stale",
}
"""Flags by name and arity."""


def refuse(session: Session, args: Args) -> NoReturn:
    """Say that there is no cluster, as Redis does of a server whose ``cluster-enabled`` is no."""
    raise CommandError("ERR This instance has cluster support disabled")


for (_name, _arity), _flags in SUBCOMMANDS.items():
    command(f"CLUSTER {_name}", _arity, _flags, group="cluster", since="3.0.0")(refuse)
command("READONLY", 1, "loading stale fast", group="cluster", since="3.0.0")(refuse)
command("READWRITE", 1, "loading stale fast", group="cluster", since="3.0.0")(refuse)
command("ASKING", 1, "fast", group="cluster", since="3.0.0")(refuse)
