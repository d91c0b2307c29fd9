"""A server's configuration: from a file, from the command line, from a program, from CONFIG SET."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from glob import glob
from pathlib import Path
from typing import Any

from evio_core import Address

from ..errors import ConfigError
from ..protocol.glob import matcher
from ..protocol.inline import split_inline
from ..protocol.quoting import quoted
from .converters import OutputLimits
from .directives import ALIASES, DIRECTIVES, SEVERAL, Directive
from .ignored import missed

__all__ = ["INHERITED", "SAVE_POINTS", "STDIN", "Config", "find_directive", "has_host", "read_file"]

log: logging.Logger = logging.getLogger("evio_redis")

OTHER_FLAGS = ("help", "version", "check")
"""Words that the command line takes beside directives."""

BY_FILE = frozenset({"rename-command", "user"})
"""Directives that files alone have: CONFIG SET and GET know nothing of them."""

DUPLICATE = "Duplicate user found. A user can only be defined once in config files"


def find_directive(name: str) -> Directive:
    """The directive of that name. Raises :class:`ConfigError`, which names the nearest one."""
    found = DIRECTIVES.get(ALIASES.get(name.lower(), name.lower()))
    if found is not None:
        return found
    import difflib  # only who is wrong waits for it

    near = difflib.get_close_matches(name.lower(), [*DIRECTIVES, *OTHER_FLAGS], 1)
    hint = f"did you mean '{near[0]}'?" if near else "evio-redis --help has all of them"
    raise ConfigError(f"unknown directive '{name}'; {hint}")


INHERITED = ("systemd", "fd")
"""Schemes of addresses that ``bind`` takes beside hosts."""

SAVE_POINTS = "3600 1 300 100 60 10000"
"""The moments of snapshots if a redis.conf does not set them, as in Redis."""

STDIN = "-"
"""The word in place of a file's name to have the directives read from standard input."""


def read_file(path: str, included_by: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """The directives of a ``redis.conf``, in order, with those of the files that it includes, whose names may be
    patterns. Raises :class:`ConfigError` with file and line, and ``OSError``."""
    found: list[tuple[str, str]] = []
    shown, data = ("standard input", sys.stdin.buffer.read()) if path == STDIN else (path, Path(path).read_bytes())
    chain = (*included_by, os.path.realpath(path))
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        words = split_inline(line)
        if not words:
            raise ConfigError(f"{shown}, line {number}: unbalanced quotes")
        name, *values = (word.decode("utf-8", "surrogateescape") for word in words)
        try:
            if name.lower() == "include":
                for each in [file for value in values for file in sorted(glob(value)) or [value]]:
                    if os.path.realpath(each) in chain:
                        raise ConfigError(f"{each} includes itself")
                    found += read_file(each, chain)
                continue
            directive = find_directive(name)
            if not values and directive.name not in SEVERAL:
                raise ConfigError(f"'{name}' needs a value")
            text = " ".join(values) if directive.name != "rename-command" else " ".join(map(_quoted, values))
            directive.parse(text)
        except ConfigError as error:
            raise ConfigError(f"{shown}, line {number}: {name}: {error}") from None
        found.append((directive.name, text))
    return found


def _quoted(text: str) -> str:
    return quoted(text.encode("utf-8", "surrogateescape"))


class Config:
    """The values in force, as attributes: ``tcp-keepalive`` is ``tcp_keepalive``."""

    # What the rest of the package reads.
    acl_pubsub_default: str
    aclfile: str
    acllog_max_len: int
    aof_load_truncated: bool
    aof_disable_auto_gc: bool
    aof_timestamp_enabled: bool
    active_expire_effort: int
    appenddirname: str
    appendfilename: str
    appendfsync: str
    aof_use_rdb_preamble: bool
    appendonly: bool
    auto_aof_rewrite_min_size: int
    auto_aof_rewrite_percentage: int
    balance: str
    bind: tuple[str, ...]
    bind_source_addr: str
    client_output_buffer_limit: OutputLimits
    client_query_buffer_limit: int
    databases: int
    dbfilename: str
    dir: str
    enable_debug_command: str
    enable_protected_configs: str
    hash_max_listpack_entries: int
    hash_max_listpack_value: int
    hz: int
    latency_monitor_threshold: int
    busy_reply_threshold: int
    latency_tracking: bool
    latency_tracking_info_percentiles: tuple[float, ...]
    hll_sparse_max_bytes: int
    list_max_listpack_size: int
    logfile: str
    loglevel: str
    loops: int
    key_load_delay: int
    maxclients: int
    metrics_port: int
    lfu_decay_time: int
    lfu_log_factor: int
    maxmemory: int
    maxmemory_clients: str
    maxmemory_eviction_tenacity: int
    maxmemory_policy: str
    maxmemory_samples: int
    no_appendfsync_on_rewrite: bool
    notify_keyspace_events: str
    pidfile: str
    port: int
    proto_max_bulk_len: int
    protected_mode: bool
    proxy_protocol_networks: tuple[str, ...]
    proxy_protocol_port: int
    rename_command: Mapping[str, str]
    rdb_key_save_delay: int
    rdbchecksum: bool
    rdbcompression: bool
    requirepass: str
    save: str
    set_max_intset_entries: int
    stop_writes_on_bgsave_error: bool
    stream_node_max_bytes: int
    stream_node_max_entries: int
    supervised: str
    replicaof: str
    masterauth: str
    masteruser: str
    replica_read_only: bool
    replica_serve_stale_data: bool
    replica_priority: int
    replica_announced: bool
    replica_announce_ip: str
    replica_announce_port: int
    repl_backlog_size: int
    repl_backlog_ttl: int
    repl_diskless_sync: bool
    repl_diskless_sync_delay: int
    repl_diskless_sync_max_replicas: int
    repl_timeout: int
    repl_ping_replica_period: int
    min_replicas_to_write: int
    min_replicas_max_lag: int
    tls_replication: bool
    workers: int
    cluster_enabled: bool
    cluster_announce_ip: str
    cluster_config_file: str
    cluster_require_full_coverage: bool
    shutdown_on_sigint: str
    shutdown_on_sigterm: str
    shutdown_timeout: int
    slowlog_log_slower_than: int
    slowlog_max_len: int
    tcp_backlog: int
    tcp_keepalive: int
    timeout: int
    tls_auth_clients: str
    tls_ca_cert_file: str
    tls_cert_file: str
    tls_key_file: str
    tls_port: int
    tracking_table_max_keys: int
    unixsocket: str
    syslog_enabled: bool
    syslog_facility: str
    syslog_ident: str
    unixsocketgroup: str
    unixsocketperm: int
    user: tuple[tuple[str, ...], ...]
    zset_max_listpack_entries: int
    zset_max_listpack_value: int

    def __init__(self, settings: Mapping[str, Any] | None = None, path: str = "") -> None:
        self.path = path
        self.user_lines: Callable[[], list[str]] = list  # what a rewritten file has of users; set by them
        self._watchers: dict[str, list[Callable[[], None]]] = {}
        for directive in DIRECTIVES.values():
            setattr(self, directive.attribute, directive.default)
        for name, value in (settings or {}).items():
            self.load(name.replace("_", "-"), value)

    def load(self, name: str, value: Any) -> None:
        """Set a directive while the server does not run; a value may be text or what the directive shows as text.
        Raises :class:`ConfigError`."""
        directive = find_directive(name)
        if directive.name == "user" and isinstance(value, tuple | list):
            for each in value:
                self.load(name, each)
            return
        if isinstance(value, bool):
            value = "yes" if value else "no"
        elif isinstance(value, tuple | list):
            value = " ".join(map(str, value))
        elif isinstance(value, bytes):
            value = value.decode("utf-8", "surrogateescape")
        try:
            parsed = directive.parse(str(value))
        except ConfigError as error:
            takes = f"; it takes {directive.metavar}" if directive.metavar not in ("", "VALUE") else ""
            raise ConfigError(f"{name}: {error} (given {str(value)!r}{takes})") from None
        if directive.name == "rename-command":
            parsed = {**self.rename_command, **parsed}
        elif directive.name == "user":
            if any(parsed[0][0] == known for known, *_ in self.user):
                raise ConfigError(f"user: {DUPLICATE} (given '{parsed[0][0]}')")
            parsed = self.user + parsed
        elif directive.name == "save" and parsed:
            parsed = f"{self.save} {parsed}".strip()  # a line for each pair; an empty one takes them all back
        setattr(self, directive.attribute, parsed)

    # -- at run time

    def on_change(self, name: str, watcher: Callable[[], None]) -> None:
        """Have ``watcher()`` called when CONFIG SET has changed a directive."""
        self._watchers.setdefault(name, []).append(watcher)

    def set(self, pairs: Iterable[tuple[str, str]], protected: bool = False) -> None:
        """Change directives, all or none (CONFIG SET), the protected ones only if ``protected``. Raises
        :class:`ConfigError` in Redis's words."""
        changes: dict[str, tuple[Directive, Any]] = {}
        given = list(pairs)
        for name, _ in given:
            if ALIASES.get(name.lower(), name.lower()) not in DIRECTIVES or name.lower() in BY_FILE:
                raise ConfigError(f"Unknown option or number of arguments for CONFIG SET - '{name}'")
        for name, text in given:
            directive = find_directive(name)
            try:
                if not directive.mutable:
                    raise ConfigError("can't set immutable config")
                if directive.protected and not protected:
                    raise ConfigError("can't set protected config")
                if directive.name in changes:
                    raise ConfigError("duplicate parameter")
                changes[directive.name] = directive, directive.parse(text)
            except ConfigError as error:
                raise ConfigError(f"CONFIG SET failed (possibly related to argument '{name}') - {error}") from None
        before = {directive.attribute: getattr(self, directive.attribute) for directive, _ in changes.values()}
        for directive, value in changes.values():
            setattr(self, directive.attribute, value)
        followed: list[Callable[[], None]] = []
        try:
            for name in changes:
                for watcher in self._watchers.get(name, ()):
                    watcher()
                    followed.append(watcher)
        except ConfigError:
            for attribute, value in before.items():
                setattr(self, attribute, value)
            for watcher in followed:
                try:
                    watcher()
                except ConfigError as error:
                    log.warning("Failed applying restored failed CONFIG SET command: %s", error)
            raise

    def shown(self, patterns: Iterable[bytes] = (b"*",)) -> dict[str, str]:
        """Return the reply of CONFIG GET to some patterns in lower case, old names included, with the values as
        text."""
        found: dict[str, str] = {}
        given = list(patterns)
        matchers = [matcher(pattern) for pattern in given]
        for name in [*DIRECTIVES, *ALIASES]:
            directive, key = find_directive(name), name.encode()
            if directive.name in BY_FILE:
                continue
            if key in given if directive.hidden else any(matches(key) for matches in matchers):
                found[name] = self._show(directive)
        return found

    def missed(self) -> list[str]:
        """Return the directives that are set and have no effect here."""
        return missed(lambda name: str(getattr(self, find_directive(name).attribute)))

    def _show(self, directive: Directive) -> str:
        if directive.name == "dir":
            return os.path.abspath(self.dir)
        return directive.show(getattr(self, directive.attribute))

    def enter_directory(self) -> None:
        """Make ``dir`` the working directory, so that names of files are relative to it, as in Redis. Raises
        ``OSError``."""
        os.chdir(self.dir)
        self.dir = os.getcwd()

    def rewrite(self) -> None:
        """Bring the file up to date (CONFIG REWRITE): lines of directives that have changed are replaced, new ones
        added at the end, comments stay. Raises :class:`ConfigError` without a file, and ``OSError``."""
        if not self.path:
            raise ConfigError("The server is running without a config file")
        path = Path(self.path)
        lines: list[str] = []
        written: set[str] = set()
        for line in path.read_text("utf-8", "surrogateescape").splitlines():
            name = line.split(None, 1)[0].lower() if line.strip() else "#"
            name = ALIASES.get(name, name)
            if name == "user":
                continue
            if name not in DIRECTIVES or name in BY_FILE:
                lines.append(line)
            elif name not in written:
                written.add(name)
                lines.append(self._line(DIRECTIVES[name]))
        for directive in DIRECTIVES.values():
            default = SAVE_POINTS if directive.name == "save" else directive.default
            changed = getattr(self, directive.attribute) != default
            if changed and directive.name not in written and directive.name not in BY_FILE:
                lines.append(self._line(directive))
        lines += self.user_lines()
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        temporary.write_text("\n".join(lines) + "\n", "utf-8", "surrogateescape")
        os.replace(temporary, path)

    def _line(self, directive: Directive) -> str:
        text = self._show(directive)
        plain = text and (directive.name in SEVERAL or text.isalnum())
        return f"{directive.name} {text if plain else _quoted(text)}"

    # -- where to listen

    def addresses(self, running: int | None = None) -> list[str]:
        """For :func:`evio_core.serve`. Port 0 is any free one, unless something else is listened on: then none. Of a
        server that runs already, ``running`` is the TCP port in place of ``port``, and 0 is none. Raises
        :class:`ConfigError` for TLS without a certificate and for what ``bind`` does not take, and
        :class:`evio_core.AddressError`."""
        hosts = self._hosts()
        found = self._inherited()
        number = self.port if running is None else running
        others = self.unixsocket or self.tls_port or self.proxy_protocol_port or found
        if number or (running is None and not others):
            found += [Address.make("tcp", (host, number)) for host in hosts]
        if self.tls_port:
            if not (self.tls_cert_file and self.tls_key_file):
                raise ConfigError("tls-port needs tls-cert-file and tls-key-file")
            found += [Address.make("tls", (host, self.tls_port), **self._tls_options()) for host in hosts]
        if self.unixsocket:
            found.append(Address.make("unix", self.unixsocket, mode=self.unixsocketperm or None))
        if self.proxy_protocol_port:
            trusted = [ipaddress.ip_network(each, strict=False) for each in self.proxy_protocol_networks]
            where = [(host, self.proxy_protocol_port) for host in hosts]
            found += [Address.make("tcp", each, proxy_protocol=trusted) for each in where]
        backlog = self.tcp_backlog
        return [str(each.with_options(backlog=backlog) if each.allows("backlog") else each) for each in found]

    def _inherited(self) -> list[Address]:
        """The sockets that are not ours to bind. Raises :class:`ConfigError` for other addresses: they have directives
        of their own."""
        found = [Address.parse(given) for given in self.bind if "://" in given]
        for each in found:
            if each.base not in INHERITED:
                raise ConfigError(
                    f"bind takes hosts, systemd://NAME and fd://NUMBER, not {each}; see port, tls-port and unixsocket"
                )
        return found

    def _hosts(self) -> list[str]:
        found = []
        for given in self.bind:
            if "://" in given:
                continue
            host = given.removeprefix("-")
            if host == "*":
                found.append("")
            elif host == "::*":
                if "*" not in self.bind:  # which is for IPv6 as well
                    found.append("::")
            elif given == host or has_host(host):
                found.append(host)
        return found

    def _tls_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"certs": [(self.tls_cert_file, self.tls_key_file)]}
        if self.tls_ca_cert_file and self.tls_auth_clients == "yes":
            options["client_ca"] = self.tls_ca_cert_file
        return options


def has_host(host: str) -> bool:
    """Tell whether this machine has the address: ``-::1`` is to be left out where there is no IPv6."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(where)
    except OSError:
        return False
    return True
