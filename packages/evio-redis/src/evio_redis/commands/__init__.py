"""The commands, a file for each of Redis's groups. Importing a file declares what is in it."""

from . import client, connection, expiry, keys, objects, pubsub, strings, transactions

__all__ = ["client", "connection", "expiry", "keys", "objects", "pubsub", "strings", "transactions"]
