"""A key-value server that speaks RESP, on evio_core; as a library: :class:`Server`."""

from .clients.session import Session
from .errors import CommandError, ConfigError, EvioRedisError, LogCorrupt
from .model.command import Args, Function
from .protocol.resp import OK, array, bulk, bulks, integer, simple
from .server import Server

__all__ = [
    "OK",
    "Args",
    "CommandError",
    "ConfigError",
    "EvioRedisError",
    "Function",
    "LogCorrupt",
    "Server",
    "Session",
    "array",
    "bulk",
    "bulks",
    "integer",
    "simple",
]
