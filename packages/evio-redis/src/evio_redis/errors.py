"""Errors in Redis's words: clients decide by these texts."""

from __future__ import annotations

__all__ = [
    "AclError",
    "BAD_DB_INDEX",
    "BIT_OFFSET",
    "BUSYKEY",
    "ConfigError",
    "CommandError",
    "INVALID_CURSOR",
    "NOT_AN_INTEGER",
    "NOT_A_FLOAT",
    "NOT_POSITIVE",
    "NO_SUCH_KEY",
    "OUT_OF_RANGE",
    "OVERFLOW",
    "SAME_OBJECT",
    "SYNTAX_ERROR",
    "TIMEOUT_NEGATIVE",
    "TIMEOUT_NOT_A_FLOAT",
    "WRONGTYPE",
    "EvioRedisError",
    "LogCorrupt",
    "bad_subcommand",
    "wrong_arity",
]


class EvioRedisError(Exception):
    """The base of what this package raises to programs."""


class ConfigError(EvioRedisError, ValueError):
    """A directive or value that is not allowed; the message says which, and what is."""


class AclError(EvioRedisError, ValueError):
    """A rule of a user that makes no sense."""


class LogCorrupt(EvioRedisError):
    """The append-only file cannot be trusted from the offset that the message names."""


class CommandError(EvioRedisError):
    """A command's error reply: its message is what the client sees, with the code first (``ERR ...``)."""

    counted = False
    """True if the statistics have it already, as an error of a command that a script has called."""

    @property
    def reply(self) -> bytes:
        """As it goes over the wire; a line break would end the reply early (RESP, "Simple errors")."""
        text = str(self).replace("\r", " ").replace("\n", " ")
        return b"-" + text.encode("utf-8", "surrogateescape") + b"\r\n"


WRONGTYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
SYNTAX_ERROR = "ERR syntax error"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
NOT_A_FLOAT = "ERR value is not a valid float"
OVERFLOW = "ERR increment or decrement would overflow"
OUT_OF_RANGE = "ERR index out of range"
NOT_POSITIVE = "ERR value is out of range, must be positive"
NO_SUCH_KEY = "ERR no such key"
SAME_OBJECT = "ERR source and destination objects are the same"
BAD_DB_INDEX = "ERR DB index is out of range"
BIT_OFFSET = "ERR bit offset is not an integer or out of range"
INVALID_CURSOR = "ERR invalid cursor"
TIMEOUT_NOT_A_FLOAT = "ERR timeout is not a float or out of range"
TIMEOUT_NEGATIVE = "ERR timeout is negative"
LOADING = "LOADING Redis is loading the dataset in memory"
BUSYKEY = "BUSYKEY Target key name already exists."


def wrong_arity(name: str) -> CommandError:
    """For a command given too few or too many arguments; ``name`` as Redis shows it, ``get`` or ``client|id``."""
    return CommandError(f"ERR wrong number of arguments for '{name}' command")


def bad_subcommand(container: str, given: bytes) -> CommandError:
    """For a subcommand that checks its number of arguments itself; ``given`` as the client wrote it."""
    shown = given.decode("utf-8", "surrogateescape")
    return CommandError(
        f"ERR unknown subcommand or wrong number of arguments for '{shown}'. Try {container.upper()} HELP."
    )
