"""Directives of ``redis.conf`` that are accepted though nothing here depends on them, so that the file of a Redis 7.0
starts this server: each with Redis's default and Redis's check. What somebody who sets it would miss is said when the
server starts; what would be dangerous to be without (a replica that takes writes) is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .converters import (  # fmt: skip
    INT_MAX,
    LLONG_MAX,
    ULLONG_MAX,
    host_name,
    memory,
    no_defrag,
    number,
    numbers,
    one_of,
    port,
    refused,
    yes_no,
)

__all__ = ["ACCEPTED", "ACCEPTED_ALIASES", "Accepted", "missed"]


class Accepted(NamedTuple):
    """A directive without effect. ``parse`` says what is allowed; the text is kept as it is. ``missing`` is what is
    missed when the value is not ``default``. A ``hidden`` one is shown by CONFIG GET only when asked for by name."""

    name: str
    default: str
    parse: Callable[[str], object] = str
    missing: str = ""
    mutable: bool = True
    hidden: bool = False
    protected: bool = False


_PROTECTED = one_of("no", "yes", "local")
_POSITIVE = number(0, INT_MAX)
_ENDPOINTS = one_of("ip", "hostname", "unknown-endpoint")
_NO_TLS_CHOICE = "TLS 1.2 and 1.3 with the ciphers of the system's OpenSSL are offered, and no choice among them"

ACCEPTED = (
    # -- snapshots
    Accepted("rdb-del-sync-files", "no", yes_no),
    Accepted("rdb-save-incremental-fsync", "yes", yes_no),
    Accepted("aof-rewrite-incremental-fsync", "yes", yes_no),
    Accepted("sanitize-dump-payload", "no", one_of("no", "yes", "clients")),
    # -- memory
    Accepted("lazyfree-lazy-eviction", "no", yes_no),
    Accepted("lazyfree-lazy-expire", "no", yes_no),
    Accepted("lazyfree-lazy-server-del", "no", yes_no),
    Accepted("lazyfree-lazy-user-del", "no", yes_no),
    Accepted("lazyfree-lazy-user-flush", "no", yes_no),
    Accepted("activerehashing", "yes", yes_no),
    Accepted("activedefrag", "no", no_defrag),
    Accepted("active-defrag-cycle-max", "25", number(1, 99)),
    Accepted("active-defrag-cycle-min", "1", number(1, 99)),
    Accepted("active-defrag-ignore-bytes", "104857600", memory(1)),
    Accepted("active-defrag-max-scan-fields", "1000", number(1, LLONG_MAX)),
    Accepted("active-defrag-threshold-lower", "10", number(0, 1000)),
    Accepted("active-defrag-threshold-upper", "100", number(0, 1000)),
    Accepted("list-compress-depth", "0", _POSITIVE),
    # -- the process
    Accepted("daemonize", "no", yes_no, "the server stays in the foreground", mutable=False),
    Accepted("set-proc-title", "yes", yes_no, mutable=False),
    Accepted("proc-title-template", "{title} {listen-addr} {server-mode}"),
    Accepted("always-show-logo", "no", yes_no, mutable=False),
    Accepted("crash-log-enabled", "yes", yes_no),
    Accepted("crash-memcheck-enabled", "yes", yes_no),
    Accepted("use-exit-on-panic", "no", yes_no, hidden=True),
    Accepted("watchdog-period", "0", _POSITIVE, hidden=True),
    Accepted("ignore-warnings", ""),
    Accepted("oom-score-adj", "no", one_of("no", "yes", "relative", "absolute"), "the score is left as it is"),
    Accepted("oom-score-adj-values", "0 200 800", numbers(3, -2000, 2000)),
    Accepted("disable-thp", "yes", yes_no, mutable=False),
    Accepted("jemalloc-bg-thread", "yes", yes_no),
    Accepted("dynamic-hz", "yes", yes_no),
    Accepted("io-threads", "1", number(1, 128), "see loops", mutable=False),
    Accepted("io-threads-do-reads", "no", yes_no, mutable=False),
    Accepted("server_cpulist", "", missing="see taskset(1)", mutable=False),
    Accepted("bio_cpulist", "", missing="see taskset(1)", mutable=False),
    Accepted("aof_rewrite_cpulist", "", missing="see taskset(1)", mutable=False),
    Accepted("bgsave_cpulist", "", mutable=False),
    Accepted("socket-mark-id", "0", number(0, 2**32 - 1), "sockets are not marked", mutable=False),
    Accepted("loading-process-events-interval-bytes", "2097152", number(1024, INT_MAX), hidden=True),
    # -- modules, scripts, rules
    Accepted("enable-module-command", "no", _PROTECTED, mutable=False),
    Accepted("propagation-error-behavior", "ignore", one_of("ignore", "panic", "panic-on-replicas")),
    # -- replication
    Accepted("repl-disable-tcp-nodelay", "no", yes_no),
    Accepted("repl-diskless-load", "disabled", one_of("disabled", "on-empty-db", "swapdb")),
    Accepted("replica-ignore-disk-write-errors", "no", yes_no),
    Accepted("replica-ignore-maxmemory", "yes", yes_no),
    Accepted("replica-lazy-flush", "no", yes_no),
    # -- cluster
    Accepted("cluster-allow-pubsubshard-when-down", "yes", yes_no),
    Accepted("cluster-allow-reads-when-down", "no", yes_no),
    Accepted("cluster-allow-replica-migration", "yes", yes_no),
    Accepted("cluster-announce-bus-port", "0", port),
    Accepted("cluster-announce-hostname", "", host_name),
    Accepted("cluster-announce-port", "0", port),
    Accepted("cluster-announce-tls-port", "0", port),
    Accepted("cluster-link-sendbuf-limit", "0", memory(0, ULLONG_MAX)),
    Accepted("cluster-migration-barrier", "1", _POSITIVE),
    Accepted("cluster-node-timeout", "15000", number(0, LLONG_MAX)),
    Accepted("cluster-port", "0", port, mutable=False),
    Accepted("cluster-preferred-endpoint-type", "ip", _ENDPOINTS),
    Accepted("cluster-replica-no-failover", "no", yes_no),
    Accepted("cluster-replica-validity-factor", "10", _POSITIVE),
    # -- TLS
    Accepted("tls-ca-cert-dir", "", refused("", "only tls-ca-cert-file is offered")),
    Accepted("tls-ciphers", "", refused("", _NO_TLS_CHOICE)),
    Accepted("tls-ciphersuites", "", refused("", _NO_TLS_CHOICE)),
    Accepted("tls-protocols", "", refused("", _NO_TLS_CHOICE)),
    Accepted("tls-prefer-server-ciphers", "no", yes_no),
    Accepted("tls-dh-params-file", ""),
    Accepted("tls-key-file-pass", "", refused("", "a key with a passphrase is not offered")),
    Accepted("tls-client-cert-file", ""),
    Accepted("tls-client-key-file", ""),
    Accepted("tls-client-key-file-pass", ""),
    Accepted("tls-cluster", "no", yes_no),
    Accepted("tls-session-cache-size", "20480", _POSITIVE),
    Accepted("tls-session-cache-timeout", "300", _POSITIVE),
    Accepted("tls-session-caching", "yes", yes_no),
)

ACCEPTED_ALIASES = {
    "slaveof": "replicaof",
    "min-slaves-to-write": "min-replicas-to-write",
    "min-slaves-max-lag": "min-replicas-max-lag",
    "repl-ping-slave-period": "repl-ping-replica-period",
    "cluster-slave-no-failover": "cluster-replica-no-failover",
    "cluster-slave-validity-factor": "cluster-replica-validity-factor",
} | {
    f"slave-{what}": f"replica-{what}"
    for what in (
        "announce-ip", "announce-port", "ignore-maxmemory", "lazy-flush", "priority", "read-only", "serve-stale-data",
    )
}  # fmt: skip


def missed(values: Callable[[str], str]) -> list[str]:
    """Return the effects that are missing with ``values``: a text for each directive."""
    return [
        f"{each.name} {values(each.name)} ({each.missing})"
        for each in ACCEPTED
        if each.missing and values(each.name) != each.default
    ]
