"""The configuration directives: their names, values and defaults, those of ``redis.conf`` and evio's own.

https://redis.io/docs/latest/operate/oss_and_stack/management/config/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evio_core import LoadBalance

from .errors import ConfigError
from .inline import split_inline
from .keyspace import parse_events, show_events

__all__ = ["ALIASES", "DIRECTIVES", "Directive", "parse_memory"]

LLONG_MAX = 2**63 - 1

UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 10**6, "mb": 1 << 20, "g": 10**9, "gb": 1 << 30}


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive. ``parse`` turns its words into a value and raises :class:`ConfigError` saying what is allowed;
    ``show`` turns a value into text that ``parse`` takes."""

    name: str
    default: Any
    parse: Callable[[str], Any]
    show: Callable[[Any], str]
    help: str
    mutable: bool = True
    metavar: str = "VALUE"

    @property
    def attribute(self) -> str:
        """Its name as a Python attribute."""
        return self.name.replace("-", "_")


DIRECTIVES: dict[str, Directive] = {}

ALIASES = {
    "list-max-ziplist-size": "list-max-listpack-size",
    "hash-max-ziplist-entries": "hash-max-listpack-entries",
    "hash-max-ziplist-value": "hash-max-listpack-value",
    "zset-max-ziplist-entries": "zset-max-listpack-entries",
    "zset-max-ziplist-value": "zset-max-listpack-value",
}
"""Names that Redis used to have for directives and still takes."""


def _add(
    name: str,
    default: Any,
    parse: Callable[[str], Any],
    help_: str,
    show: Callable[[Any], str] = str,
    mutable: bool = True,
    metavar: str = "VALUE",
) -> None:
    DIRECTIVES[name] = Directive(name, default, parse, show, help_, mutable, metavar)


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ConfigError("argument couldn't be parsed into an integer") from None
        if not low <= number <= high:
            raise ConfigError(f"argument must be between {low} and {high} inclusive")
        return number

    return parse


def parse_memory(text: str) -> int:
    """A size such as ``512mb``; ``k`` is 1000 and ``kb`` 1024 bytes, as in Redis. Raises :class:`ConfigError`."""
    digits = text.rstrip("bkmgBKMG")
    factor = UNITS.get(text[len(digits) :].lower())
    if factor is None or not digits.isascii() or not digits.isdigit():
        raise ConfigError("argument must be a memory value")
    return int(digits) * factor


def _memory(low: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        size = parse_memory(text)
        if not low <= size <= LLONG_MAX:
            raise ConfigError(f"argument must be between {low} and {LLONG_MAX} inclusive")
        return size

    return parse


def _yes_no(text: str) -> bool:
    if text.lower() not in ("yes", "no"):
        raise ConfigError("argument must be 'yes' or 'no'")
    return text.lower() == "yes"


def _show_yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ConfigError(f"argument(s) must be one of the following: {', '.join(words)}")
        return text.lower()

    return parse


def _events(text: str) -> str:
    events = parse_events(text)
    if events is None:
        raise ConfigError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    return events


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _no_saving(text: str) -> str:
    if text not in ("", '""'):
        raise ConfigError('snapshots are not offered, so only "" is allowed; see appendonly')
    return ""


def _renames(text: str) -> dict[str, str]:
    words = split_inline(text.encode())
    if words is None or len(words) % 2:
        raise ConfigError('rename-command takes a command and its new name, "" to disable it')
    return {old.decode().upper(): new.decode().upper() for old, new in zip(words[::2], words[1::2], strict=True)}


def _show_renames(renames: Mapping[str, str]) -> str:
    return " ".join(f'{old} "{new}"' for old, new in renames.items())


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """``client-output-buffer-limit``: for each class the hard limit, the soft limit in bytes, and for how many seconds
    the soft one may be exceeded. 0 is no limit."""

    normal: tuple[int, int, int] = (0, 0, 0)
    replica: tuple[int, int, int] = (268435456, 67108864, 60)
    pubsub: tuple[int, int, int] = (33554432, 8388608, 60)

    def __str__(self) -> str:
        rows = (("normal", self.normal), ("slave", self.replica), ("pubsub", self.pubsub))
        return " ".join(f"{name} {hard} {soft} {seconds}" for name, (hard, soft, seconds) in rows)


def _output_limits(text: str) -> OutputLimits:
    words = text.split()
    if not words or len(words) % 4:
        raise ConfigError("Wrong number of arguments in buffer limit configuration.")
    limits: dict[str, tuple[int, int, int]] = {}
    for at in range(0, len(words), 4):
        name = "replica" if words[at].lower() == "slave" else words[at].lower()
        if name not in ("normal", "replica", "pubsub"):
            raise ConfigError("Invalid client class specified in buffer limit configuration.")
        try:
            limits[name] = parse_memory(words[at + 1]), parse_memory(words[at + 2]), int(words[at + 3])
        except ValueError:
            raise ConfigError("Error in hard, soft or soft_seconds setting in buffer limit configuration.") from None
    return OutputLimits(**limits)


def _octal(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise ConfigError("argument must be an octal file mode such as 700")
    return mode


def _refuse_rdb(text: str) -> bool:
    if _yes_no(text):
        raise ConfigError("only 'no' is allowed: a rewrite writes commands, which every Redis loads")
    return False


_INT = 2**31 - 1
_PORT = _number(0, 65535)

# -- where to listen
_add("port", 6380, _PORT, "TCP port; 0 for none", mutable=False, metavar="PORT")
_add("bind", ("127.0.0.1",), _hosts, "hosts to listen on; * for all", " ".join, mutable=False, metavar="HOST")
_add("unixsocket", "", str, "path of a unix socket to listen on as well", mutable=False, metavar="PATH")
_add("unixsocketperm", 0, _octal, "its permissions, octal", lambda mode: f"{mode:o}", False, "MODE")
_add("tcp-backlog", 511, _number(0, _INT), "connections that may wait to be accepted", mutable=False, metavar="N")
_add("tls-port", 0, _PORT, "port for TLS; 0 for none", mutable=False, metavar="PORT")
_add("tls-cert-file", "", str, "certificate chain, PEM", mutable=False, metavar="FILE")
_add("tls-key-file", "", str, "its private key, PEM", mutable=False, metavar="FILE")
_add("tls-ca-cert-file", "", str, "authorities that client certificates must be from", mutable=False, metavar="FILE")
_add("tls-auth-clients", "yes", _one_of("yes", "no"), "whether clients need a certificate", mutable=False)

# -- clients
_add("requirepass", "", str, "password that clients have to give", metavar="PASSWORD")
_add("protected-mode", True, _yes_no, "without a password, serve only this machine", _show_yes_no, metavar="yes|no")
_add("maxclients", 10000, _number(1, 2**32 - 1), "most clients at once", metavar="N")
_add("timeout", 0, _number(0, _INT), "seconds after which an idle client is dropped; 0 for never", metavar="SECONDS")
_add("tcp-keepalive", 300, _number(0, _INT), "seconds between probes of silent peers; 0 for none", metavar="SECONDS")
_add("client-output-buffer-limit", OutputLimits(), _output_limits, "output that may wait for a client")
_add("client-query-buffer-limit", 1 << 30, _memory(1 << 20), "input that may wait for the rest of a command")
_add("proto-max-bulk-len", 512 << 20, _memory(1 << 20), "largest argument of a command", metavar="SIZE")
_add("rename-command", {}, _renames, "another name for a command", _show_renames, mutable=False, metavar="OLD NEW")
_debug = _one_of("yes", "no", "local")
_add("enable-debug-command", "no", _debug, "whether DEBUG may be used", mutable=False, metavar="yes|no|local")

# -- keys
_add("databases", 16, _number(1, _INT), "number of databases", mutable=False, metavar="N")
_add("maxmemory", 0, _memory(0), "memory above which writes are refused; 0 for no limit", metavar="SIZE")
_add("maxmemory-policy", "noeviction", _one_of("noeviction"), "what to do then", metavar="noeviction")
_add("notify-keyspace-events", "", _events, "events to publish: Ag$lshzxeKEtmdn", show_events, metavar="LETTERS")
_add("active-expire-effort", 1, _number(1, 10), "how eagerly expired keys are looked for", metavar="N")
_add("list-max-listpack-size", -2, _number(-5, _INT), "when a list is no listpack any more", metavar="N")
_add("list-compress-depth", 0, _number(0, _INT), "accepted; lists are never compressed", metavar="N")
_add("hash-max-listpack-entries", 512, _number(0, LLONG_MAX), "when a hash is no listpack any more", metavar="N")
_add("hash-max-listpack-value", 64, _number(0, LLONG_MAX), "the same, by length", metavar="BYTES")
_add("set-max-intset-entries", 512, _number(0, LLONG_MAX), "when a set of integers is no intset any more", metavar="N")
_add("zset-max-listpack-entries", 128, _number(0, LLONG_MAX), "when a sorted set is no listpack any more", metavar="N")
_add("zset-max-listpack-value", 64, _number(0, LLONG_MAX), "the same, by length", metavar="BYTES")

# -- persistence
_add("appendonly", False, _yes_no, "log every write to the append-only file", _show_yes_no, metavar="yes|no")
_add("appendfsync", "everysec", _one_of("everysec", "always", "no"), "when to sync it", metavar="always|everysec|no")
_add("appendfilename", "appendonly.aof", str, "its base name", mutable=False, metavar="NAME")
_add("appenddirname", "appendonlydir", str, "the directory within dir that it is in", mutable=False, metavar="NAME")
_add("dir", ".", str, "the working directory", mutable=False, metavar="PATH")
_add("no-appendfsync-on-rewrite", False, _yes_no, "do not sync while it is rewritten", _show_yes_no, metavar="yes|no")
_add("auto-aof-rewrite-percentage", 100, _number(0, _INT), "growth after which it is rewritten; 0 for never")
_add("auto-aof-rewrite-min-size", 64 << 20, _memory(0), "but not while it is smaller", metavar="SIZE")
_add("aof-timestamp-enabled", False, _yes_no, "note in the log what time it is", _show_yes_no, metavar="yes|no")
_add("aof-disable-auto-gc", False, _yes_no, "keep files that a rewrite has replaced", _show_yes_no, metavar="yes|no")
_add("rdb-key-save-delay", 0, _number(-_INT, _INT), "microseconds that a rewrite waits after each command, for tests")
_add("aof-load-truncated", True, _yes_no, "cut off a command that was half written", _show_yes_no, metavar="yes|no")
_add("aof-use-rdb-preamble", False, _refuse_rdb, "always no: a rewrite writes commands", _show_yes_no)
_add("save", "", _no_saving, 'always "": there are no snapshots', metavar='""')

# -- operation
_add("loglevel", "notice", _one_of("debug", "verbose", "notice", "warning"), "how much to log", metavar="LEVEL")
_add("logfile", "", str, "file to log to rather than standard output", mutable=False, metavar="FILE")
_add("pidfile", "", str, "file to write the process id to", mutable=False, metavar="FILE")
_add("hz", 10, _number(1, 500), "looks for expired keys and time-outs per second", metavar="N")
_add("slowlog-log-slower-than", 10000, _number(-1, LLONG_MAX), "microseconds; -1 for no slow log", metavar="USEC")
_add("slowlog-max-len", 128, _number(0, LLONG_MAX), "entries of the slow log", metavar="N")
_add("latency-monitor-threshold", 0, _number(0, LLONG_MAX), "milliseconds; 0 for no latency monitor", metavar="MSEC")
_add("shutdown-timeout", 10, _number(0, _INT), "seconds that replies may take to leave at the end", metavar="SECONDS")

# -- evio's own
_balances = [balance.value for balance in LoadBalance]
_add("loops", 1, _number(-1, 1024), "event loops (threads); -1: one per CPU", mutable=False, metavar="N")
_add("balance", "round-robin", _one_of(*_balances), "which loop gets a client", mutable=False, metavar="STRATEGY")
