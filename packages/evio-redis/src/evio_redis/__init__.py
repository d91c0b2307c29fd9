"""A key-value server that speaks RESP, on evio_core; as a library: :class:`Server`."""

from .command import Args, Function
from .errors import CommandError, ConfigError, EvioRedisError, LogCorrupt
from .resp import OK, array, bulk, bulks, integer, simple
from .server import Server
from .session import Session

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
