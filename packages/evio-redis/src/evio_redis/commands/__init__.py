"""The commands, a file for each of Redis's groups. Importing a file declares what is in it."""

from . import client, connection, debug, expiry, keys, objects, pubsub, server, strings, transactions

__all__ = [
    "client",
    "connection",
    "debug",
    "expiry",
    "keys",
    "objects",
    "pubsub",
    "server",
    "strings",
    "transactions",
]
