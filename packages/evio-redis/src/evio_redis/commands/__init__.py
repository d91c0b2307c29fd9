"""The commands, a file for each of Redis's groups. Importing a file declares what is in it."""

from . import (
    client,
    connection,
    debug,
    expiry,
    keys,
    lists,
    objects,
    pubsub,
    server,
    sets,
    sort,
    strings,
    transactions,
    zset_algebra,
    zset_ranges,
    zsets,
)

__all__ = [
    "client",
    "connection",
    "debug",
    "expiry",
    "keys",
    "lists",
    "objects",
    "pubsub",
    "server",
    "sets",
    "sort",
    "strings",
    "transactions",
    "zset_algebra",
    "zset_ranges",
    "zsets",
]
