"""The configuration directives: their names, values and defaults, those of ``redis.conf`` and evio's own.

https://redis.io/docs/latest/operate/oss_and_stack/management/config/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evio_core import LoadBalance

from ..keyspace.eviction import NOEVICTION, POLICIES
from ..keyspace.notifications import show_events
from .converters import (  # fmt: skip
    INT_MAX,
    LLONG_MAX,
    ULLONG_MAX,
    OutputLimits,
    clamped,
    directory,
    events,
    file_name,
    hosts,
    master,
    memory,
    memory_or_share,
    networks,
    number,
    octal,
    on_signal,
    one_of,
    output_limits,
    percentiles,
    port,
    renames,
    save_points,
    show_octal,
    show_percentiles,
    show_renames,
    show_users,
    show_yes_no,
    users,
    yes_no,
)
from .ignored import ACCEPTED, ACCEPTED_ALIASES

__all__ = ["ALIASES", "DIRECTIVES", "SEVERAL", "Directive"]


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
    hidden: bool = False
    """Shown by CONFIG GET only when asked for by its very name."""
    protected: bool = False
    """Changed by CONFIG SET only with ``enable-protected-configs``."""

    @property
    def attribute(self) -> str:
        """Its name as a Python attribute."""
        return self.name.replace("-", "_")


DIRECTIVES: dict[str, Directive] = {}

ALIASES = {
    "lua-time-limit": "busy-reply-threshold",
    "list-max-ziplist-size": "list-max-listpack-size",
    "hash-max-ziplist-entries": "hash-max-listpack-entries",
    "hash-max-ziplist-value": "hash-max-listpack-value",
    "zset-max-ziplist-entries": "zset-max-listpack-entries",
    "zset-max-ziplist-value": "zset-max-listpack-value",
} | ACCEPTED_ALIASES
"""Names that Redis used to have for directives and still takes."""

SEVERAL = frozenset({"bind", "client-output-buffer-limit", "latency-tracking-info-percentiles", "save"})
"""Directives that take any number of words, also none."""


def _add(
    name: str,
    default: Any,
    parse: Callable[[str], Any],
    help_: str,
    show: Callable[[Any], str] = str,
    mutable: bool = True,
    metavar: str = "VALUE",
    hidden: bool = False,
    protected: bool = False,
) -> None:
    DIRECTIVES[name] = Directive(name, default, parse, show, help_, mutable, metavar, hidden, protected)


# -- where to listen
_add(
    "port",
    6380,
    port,
    "TCP port; 0 for none, or for a free one if nothing else is listened on",
    metavar="PORT",
)
_bind = "hosts to listen on; * for all, systemd://[NAME] for inherited sockets"
_add("bind", ("127.0.0.1",), hosts, _bind, " ".join, metavar="HOST")
_add("unixsocket", "", str, "path of a unix socket to listen on as well", mutable=False, metavar="PATH")
_add("unixsocketperm", 0, octal, "its permissions, octal", show_octal, False, "MODE")
_add("unixsocketgroup", "", str, "the group that it belongs to, by name or number", mutable=False, metavar="GROUP")
_add("tcp-backlog", 511, number(0, INT_MAX), "connections that may wait to be accepted", mutable=False, metavar="N")
_add("tls-port", 0, port, "port for TLS; 0 for none", mutable=False, metavar="PORT")
_add("tls-cert-file", "", str, "certificate chain, PEM", mutable=False, metavar="FILE")
_add("tls-key-file", "", str, "its private key, PEM", mutable=False, metavar="FILE")
_add("tls-ca-cert-file", "", str, "authorities that client certificates must be from", mutable=False, metavar="FILE")
_add("tls-auth-clients", "yes", one_of("no", "yes", "optional"), "whether clients need a certificate", mutable=False)
_proxied = "port for load balancers, whose connections begin with a PROXY header; 0 for none"
_add("proxy-protocol-port", 0, port, _proxied, mutable=False, metavar="PORT")
_add(
    "proxy-protocol-networks",
    ("127.0.0.0/8", "::1"),
    networks,
    "where those load balancers are; connections from elsewhere are dropped",
    " ".join,
    mutable=False,
    metavar="NETWORK ...",
)

# -- clients
_add("requirepass", "", str, "password that clients have to give", metavar="PASSWORD")
_add("user", (), users, "a user and its rules, as of ACL SETUSER", show_users, mutable=False, metavar="NAME RULES")
_add("aclfile", "", str, "file of users rather than lines of this one", mutable=False, metavar="FILE")
_channels = one_of("allchannels", "resetchannels")
_add("acl-pubsub-default", "resetchannels", _channels, "channels that new users may use", metavar="RULE")
_add("acllog-max-len", 128, number(0, LLONG_MAX), "entries of the log of what was denied", metavar="N")
_add("protected-mode", True, yes_no, "without a password, serve only this machine", show_yes_no, metavar="yes|no")
_add("maxclients", 10000, number(1, 2**32 - 1), "most clients at once", metavar="N")
_add("timeout", 0, number(0, INT_MAX), "seconds after which an idle client is dropped; 0 for never", metavar="SECONDS")
_add("tcp-keepalive", 300, number(0, INT_MAX), "seconds between probes of silent peers; 0 for none", metavar="SECONDS")
_add("client-output-buffer-limit", OutputLimits(), output_limits, "output that may wait for a client")
_add("client-query-buffer-limit", 1 << 30, memory(1 << 20), "input that may wait for the rest of a command")
_add("proto-max-bulk-len", 512 << 20, memory(1 << 20), "largest argument of a command", metavar="SIZE")
_tracked = "keys remembered for clients that are tracked; 0 for no limit"
_add("tracking-table-max-keys", 1000000, number(0, LLONG_MAX), _tracked, metavar="N")
_allowed = one_of("no", "yes", "local")
_add(
    "enable-protected-configs",
    "no",
    _allowed,
    "whether CONFIG SET may change dir",
    mutable=False,
    metavar="yes|no|local",
)
_add("rename-command", {}, renames, "another name for a command", show_renames, mutable=False, metavar="OLD NEW")
_add("enable-debug-command", "no", _allowed, "whether DEBUG may be used", mutable=False, metavar="yes|no|local")

# -- keys
_add("databases", 16, number(1, INT_MAX), "number of databases", mutable=False, metavar="N")
_add("maxmemory", 0, memory(0, ULLONG_MAX), "memory that keys and clients may take; 0 for no limit", metavar="SIZE")
_add("maxmemory-policy", NOEVICTION, one_of(*POLICIES), "which keys go when it is exceeded", metavar="POLICY")
_add("maxmemory-samples", 5, number(1, INT_MAX), "keys that are looked at to find one", metavar="N")
_add("maxmemory-eviction-tenacity", 10, number(0, 100), "how long a command may wait for it", metavar="N")
_add("maxmemory-clients", "0", memory_or_share, "memory that clients may take; 0 for no limit", metavar="SIZE|%")
_add("lfu-log-factor", 10, number(0, INT_MAX), "how rarely the counter of a key grows that is used much", metavar="N")
_add("lfu-decay-time", 1, number(0, INT_MAX), "minutes without use that lower it by one; 0 for never", metavar="N")
_add("notify-keyspace-events", "", events, "events to publish: Ag$lshzxeKEtmdn", show_events, metavar="LETTERS")
_add("active-expire-effort", 1, number(1, 10), "how eagerly expired keys are looked for", metavar="N")
_add(
    "list-max-listpack-size",
    -2,
    number(-5, INT_MAX),
    "largest listpack of a list: entries, or -1 to -5 for 4 to 64 KiB",
    metavar="N",
)
_add(
    "hash-max-listpack-entries",
    512,
    number(0, LLONG_MAX),
    "entries of a hash up to which it is a listpack",
    metavar="N",
)
_add("hash-max-listpack-value", 64, memory(0), "longest entry of such a listpack", metavar="BYTES")
_add("stream-node-max-bytes", 4096, memory(0), "when entries of a stream go to a new node; 0 for never", metavar="SIZE")
_add("stream-node-max-entries", 100, number(0, LLONG_MAX), "the same, by number", metavar="N")
_add(
    "set-max-intset-entries",
    512,
    number(0, LLONG_MAX),
    "entries of a set of integers up to which it is an intset",
    metavar="N",
)
_add(
    "zset-max-listpack-entries",
    128,
    number(0, LLONG_MAX),
    "entries of a sorted set up to which it is a listpack",
    metavar="N",
)
_add("hll-sparse-max-bytes", 3000, memory(0), "up to when a HyperLogLog is sparse", metavar="BYTES")
_add("zset-max-listpack-value", 64, memory(0), "longest entry of such a listpack", metavar="BYTES")

# -- persistence
_add("save", "", save_points, "snapshot after so many seconds if so many keys have changed", metavar="SECONDS CHANGES")
_add("dbfilename", "dump.rdb", file_name, "the snapshot's file, in dir", metavar="NAME", protected=True)
_add(
    "rdbcompression",
    True,
    yes_no,
    "compress strings in snapshots, with the package python-lzf",
    show_yes_no,
    metavar="yes|no",
)
_add("rdbchecksum", True, yes_no, "have a checksum in snapshots", show_yes_no, False, "yes|no")
_add("stop-writes-on-bgsave-error", True, yes_no, "refuse writes while snapshots fail", show_yes_no, metavar="yes|no")
_add("aof-use-rdb-preamble", True, yes_no, "write the log's base as a snapshot", show_yes_no, metavar="yes|no")
_add("appendonly", False, yes_no, "log every write to the append-only file", show_yes_no, metavar="yes|no")
_add("appendfsync", "everysec", one_of("everysec", "always", "no"), "when to sync it", metavar="always|everysec|no")
_add("appendfilename", "appendonly.aof", str, "its base name", mutable=False, metavar="NAME")
_add("appenddirname", "appendonlydir", str, "the directory within dir that it is in", mutable=False, metavar="NAME")
_add("dir", ".", directory, "the working directory", metavar="PATH", protected=True)
_add("no-appendfsync-on-rewrite", False, yes_no, "do not sync while it is rewritten", show_yes_no, metavar="yes|no")
_add("auto-aof-rewrite-percentage", 100, number(0, INT_MAX), "growth after which it is rewritten; 0 for never")
_add("auto-aof-rewrite-min-size", 64 << 20, memory(0), "but not while it is smaller", metavar="SIZE")
_add("aof-timestamp-enabled", False, yes_no, "note in the log what time it is", show_yes_no, metavar="yes|no")
_add("aof-disable-auto-gc", False, yes_no, "keep files that a rewrite has replaced", show_yes_no, metavar="yes|no")
_delay = number(-INT_MAX - 1, INT_MAX)
_add("rdb-key-save-delay", 0, _delay, "microseconds that a rewrite waits after each command, for tests", hidden=True)
_add("key-load-delay", 0, _delay, "microseconds that loading waits after each key, for tests", hidden=True)
_add("aof-load-truncated", True, yes_no, "cut off a command that was half written", show_yes_no, metavar="yes|no")

# -- replication
_add("replicaof", "", master, "the master to follow", mutable=False, metavar="HOST PORT")
_add("masterauth", "", str, "password that the master asks for", metavar="PASSWORD")
_add("masteruser", "", str, "user to log in to the master as", metavar="NAME")
_add("replica-read-only", True, yes_no, "refuse writes while following a master", show_yes_no, metavar="yes|no")
_stale = "answer though the link to the master is down"
_add("replica-serve-stale-data", True, yes_no, _stale, show_yes_no, metavar="yes|no")
_add("replica-priority", 100, number(0, INT_MAX), "the lowest is promoted first; 0 for never", metavar="N")
_add("replica-announced", True, yes_no, "whether Sentinel lists this replica", show_yes_no, metavar="yes|no")
_add("replica-announce-ip", "", str, "address that the master is told", metavar="HOST")
_add("replica-announce-port", 0, port, "port that the master is told", metavar="PORT")
_add("repl-backlog-size", 1 << 20, memory(1), "bytes of the stream kept for replicas that come back", metavar="SIZE")
_add(
    "repl-backlog-ttl", 3600, number(0, LLONG_MAX), "seconds without replicas it is kept; 0 for ever", metavar="SECONDS"
)
_diskless = "send snapshots to replicas without a file"
_add("repl-diskless-sync", True, yes_no, _diskless, show_yes_no, metavar="yes|no")
_wait = "seconds that such a snapshot waits for more replicas"
_add("repl-diskless-sync-delay", 5, number(0, INT_MAX), _wait, metavar="SECONDS")
_enough = "replicas for which it waits no longer; 0 for the whole time"
_add("repl-diskless-sync-max-replicas", 0, number(0, INT_MAX), _enough, metavar="N")
_silent = "seconds after which a silent master or replica is given up"
_add("repl-timeout", 60, number(1, INT_MAX), _silent, metavar="SECONDS")
_ping = "seconds between signs of life to replicas"
_add("repl-ping-replica-period", 10, number(1, INT_MAX), _ping, metavar="SECONDS")
_add("min-replicas-to-write", 0, number(0, INT_MAX), "refuse writes with fewer replicas; 0 for never", metavar="N")
_add(
    "min-replicas-max-lag",
    10,
    number(0, INT_MAX),
    "seconds since such a replica's last sign of life",
    metavar="SECONDS",
)
_add("bind-source-addr", "", str, "address of this machine from which the master is connected to", metavar="IP")
_add("tls-replication", False, yes_no, "use TLS to the master", show_yes_no, metavar="yes|no")

# -- cluster
_add("cluster-enabled", False, yes_no, "serve a part of the keys, by a map", show_yes_no, False, "yes|no")
_map = "the map, in dir: which node has which slots; read again when it changes"
_add("cluster-config-file", "nodes.conf", file_name, _map, mutable=False, metavar="NAME")
_add("cluster-announce-ip", "", str, "the host that workers tell clients", metavar="HOST")
_covered = "serve no key while a slot is nobody's"
_add("cluster-require-full-coverage", True, yes_no, _covered, show_yes_no, metavar="yes|no")

# -- operation
_add("loglevel", "notice", one_of("debug", "verbose", "notice", "warning"), "how much to log", metavar="LEVEL")
_add("logfile", "", str, "file to log to rather than standard output", mutable=False, metavar="FILE")
_add(
    "supervised",
    "no",
    one_of("no", "upstart", "systemd", "auto"),
    "whether to tell systemd (sd_notify) when it is ready, reloads and stops; auto: if systemd asks",
    mutable=False,
    metavar="systemd|auto|no",
)
_add("syslog-enabled", False, yes_no, "log to the system's log as well", show_yes_no, False, "yes|no")
_add("syslog-ident", "redis", str, "the name there", mutable=False, metavar="NAME")
_facilities = one_of("user", *(f"local{digit}" for digit in range(8)))
_add("syslog-facility", "local0", _facilities, "user, or local0 to local7", mutable=False, metavar="FACILITY")
_add("pidfile", "", str, "file to write the process id to", mutable=False, metavar="FILE")
_add(
    "metrics-port",
    0,
    port,
    "port for Prometheus, over HTTP; 0 for none; with workers it shows all, and the next ports each",
    mutable=False,
    metavar="PORT",
)
_add("hz", 10, clamped(1, 500), "looks for expired keys and time-outs per second", metavar="N")
_add("slowlog-log-slower-than", 10000, number(-1, LLONG_MAX), "microseconds; -1 for no slow log", metavar="USEC")
_add("slowlog-max-len", 128, number(0, LLONG_MAX), "entries of the slow log", metavar="N")
_add("latency-monitor-threshold", 0, number(0, LLONG_MAX), "milliseconds; 0 for no latency monitor", metavar="MSEC")
_add("latency-tracking", True, yes_no, "time commands, for LATENCY HISTOGRAM", show_yes_no, metavar="yes|no")
_percentiles = "latency-tracking-info-percentiles"
_add(_percentiles, (50.0, 99.0, 99.9), percentiles, "what INFO latencystats shows of it", show_percentiles)
_limit = "milliseconds until others are answered BUSY while a script runs"
_add("busy-reply-threshold", 5000, number(0, LLONG_MAX), _limit, metavar="MSEC")
_words = "default, or some of: save or nosave, force (end though that fails)"
_add("shutdown-on-sigterm", "default", on_signal, f"what a SIGTERM does: {_words}", metavar="WORDS")
_add("shutdown-on-sigint", "default", on_signal, "the same of SIGINT", metavar="WORDS")
_add("shutdown-timeout", 10, number(0, INT_MAX), "seconds that replies may take to leave at the end", metavar="SECONDS")

# -- evio's own
_add(
    "workers",
    0,
    number(0, 1024),
    "processes, a cluster on the ports from --port on; 0 for none",
    mutable=False,
    metavar="N",
)
_balances = [balance.value for balance in LoadBalance]
_add("loops", 1, number(-1, 1024), "event loops (threads); -1: one per CPU", mutable=False, metavar="N")
_add("balance", "round-robin", one_of(*_balances), "which loop gets a client", mutable=False, metavar="STRATEGY")


def _text(parse: Callable[[str], Any]) -> Callable[[str], str]:
    """The value that ``parse`` finds as text, as nobody asks for more."""

    def parse_to_text(text: str) -> str:
        value = parse(text)
        return show_yes_no(value) if isinstance(value, bool) else str(value)

    return parse_to_text


for _each in ACCEPTED:
    DIRECTIVES[_each.name] = Directive(
        _each.name, _each.default, _text(_each.parse), str, "", _each.mutable, "", _each.hidden, _each.protected
    )
