"""The role of a server, master or replica, and how it changes (REPLICAOF)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import evio_core

from ..acl.users import Users
from ..clients.blocking import Blocking
from ..clients.connected import Clients
from ..clients.session import Session
from ..config.config import Config
from ..keyspace.keyspace import Keyspace
from ..model.route import Route
from ..model.services import Services
from ..process.running import Running
from ..stats.memory import MemoryLimit
from .failover import Failover, FailoverState
from .link import Link, LinkState
from .replicas import Replicas

__all__ = ["Replication"]

log: logging.Logger = logging.getLogger("evio_redis")

SILENT = {
    LinkState.CONNECTING: "Timeout connecting to the MASTER...",
    LinkState.HANDSHAKE: "Timeout connecting to the MASTER...",
    LinkState.SYNC: "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout'"
    " parameter in redis.conf to a larger value.",
    LinkState.CONNECTED: "MASTER timeout: no data nor PING received...",
}
"""The lines of the log about a master of which nothing is heard."""

READ_ONLY = "READONLY You can't write against a read only replica."
STALE = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
FOLLOWING = "this server is a replica"

RETRY = 1.0
"""Seconds from an attempt that failed to the next one; a link that ends is followed by one at once."""

CONNECT_TIMEOUT = 10.0
"""Seconds for the connection to the master to open."""


class Replication:
    """The role of one server: its master if it follows one, and the link to it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._config = services[Config]
        self._keyspace = services[Keyspace]
        self._route = services[Route]
        self._running = services[Running]
        self.replicas: Replicas = services[Replicas]
        self.failover: Failover = Failover(services)
        self.failover.follow, self.failover.lead = self.follow, self.lead
        self.master: tuple[str, int] | None = None
        self.link: Link | None = None
        self._retry_at = 0.0
        self._acknowledged_at = 0.0
        self._down_since = 0.0
        for name in ("replica-read-only", "replica-serve-stale-data"):
            self._config.on_change(name, self._refuse_or_accept)

    # -- the role

    def start(self) -> None:
        """Follow the master that the configuration names, if it names one."""
        if self._config.replicaof:
            host, port = self._config.replicaof.rsplit(" ", 1)
            self.follow(host, int(port))

    def follow(self, host: str, port: int) -> None:
        """Become a replica of this master."""
        self._drop_link()
        if self.master is None:
            log.info("Before turning into a replica, using my own master parameters to synthesize a cached master")
            self.replicas.begin_following()
            for session in list(self._services[Clients].sessions.values()):
                self._services[Blocking].disconnect(session)
        self.master = host, port
        self._config.replicaof = f"{host} {port}"
        self._keyspace.follows = True
        self._down_since = time.monotonic()
        self._refuse_or_accept()
        self._connect()

    def lead(self) -> None:
        """Become a master (REPLICAOF NO ONE)."""
        if self.master is None:
            return
        self._drop_link()
        self.master = None
        self._config.replicaof = ""
        self._keyspace.follows = False
        self.replicas.lead()
        self._refuse_or_accept()
        self._services[MemoryLimit].recount()
        log.info("MASTER MODE enabled")

    def _refuse_or_accept(self) -> None:
        if self.master is not None and self._config.replica_read_only:
            self._route.refuse_writes(FOLLOWING, READ_ONLY)
        else:
            self._route.accept_writes(FOLLOWING)
        writable = self.master is not None and not self._config.replica_read_only
        if writable != (self._keyspace.own_volatile is not None):
            self._keyspace.own_volatile = {} if writable else None
            (self._route.hold if writable else self._route.release)("keys of a replica's own")
        stale = self.master is not None and not self.up and not self._config.replica_serve_stale_data
        if stale != bool(self._route.stale):
            self._route.refuse_stale(STALE if stale else "")

    # -- the link

    def _connect(self) -> None:
        assert self.master is not None, "it follows one"
        core = self._running.core
        if core is None:
            return
        session = Session(self._services, None, 0)
        session.user = self._services[Users].anybody
        session.authenticated = session.atomic = True  # atomic: nothing blocks
        log.info("Connecting to MASTER %s:%d", *self.master)
        self._retry_at = time.monotonic() + RETRY
        handing_over = self.failover.state is FailoverState.IN_PROGRESS
        link: Link
        link = self.link = Link(
            self._services,
            session,
            self._refuse_or_accept,
            lambda: self._ended(link),
            self.failover.answered if handing_over else None,
        )
        scheme = "tls" if self._config.tls_replication else "tcp"
        options: dict[str, object] = {}
        if scheme == "tls" and self._config.tls_ca_cert_file:
            options["ca"] = self._config.tls_ca_cert_file
        if self._config.bind_source_addr:
            options["bind"] = self._config.bind_source_addr, 0
        try:
            address = evio_core.Address.make(scheme, self.master, **options)
            core.dial(str(address), timeout=CONNECT_TIMEOUT, handler=link)
        except evio_core.ServerStopped:
            self.link = None
        except evio_core.EvioError as error:
            log.error("Unable to connect to MASTER: %s", error)
            self.link = None

    def disconnect(self, fits: Callable[[evio_core.Conn], bool]) -> bool:
        """Close the connection to the master, which is made anew, if it ``fits``; return whether it does."""
        conn = self.link.conn if self.link is not None and hasattr(self.link, "conn") else None
        if conn is None or not fits(conn):
            return False
        conn.abort()
        return True

    def _ended(self, link: Link) -> None:
        if link is self.link:
            self.link = None
            now = self._down_since = time.monotonic()
            self._retry_at = now if link.state is LinkState.CONNECTED else now + RETRY
            self._refuse_or_accept()

    def _drop_link(self) -> None:
        link, self.link = self.link, None
        if link is not None and hasattr(link, "conn"):
            link.give_up_loading()
            link.conn.abort()

    def tick(self) -> None:
        """Acknowledge once a second, give up on a silent master, and try again."""
        self.replicas.tick()
        self.failover.tick()
        if self.master is None:
            return
        if self.link is not None:
            self.link.go_on()
        now = time.monotonic()
        if self.link is None:
            if now >= self._retry_at:
                self._connect()
        elif now - self.link.last_input > self._config.repl_timeout:
            log.warning(SILENT[self.link.state])
            self._drop_link()
            self._retry_at = now + RETRY
        elif now - self._acknowledged_at >= 1.0:
            self._acknowledged_at = now
            self.link.acknowledge()

    @property
    def up(self) -> bool:
        """True while the stream of the master is being followed."""
        return self.link is not None and self.link.state is LinkState.CONNECTED

    # -- what is shown of it

    @property
    def state(self) -> str:
        """The state of the link, as ROLE has it."""
        if self.link is None:
            return "connect"
        return self.link.state.value

    def counts(self) -> dict[str, Any]:
        """Fields of ``INFO stats``."""
        replicas = self.replicas
        return {
            "sync_full": replicas.full,
            "sync_partial_ok": replicas.partial,
            "sync_partial_err": replicas.partial_failed,
        }

    def info(self) -> dict[str, Any]:
        """Fields of ``INFO replication``."""
        if self.master is None:
            return {"role": "master"} | self._stream_info()
        now = time.monotonic()
        fields: dict[str, Any] = {
            "role": "slave",
            "master_host": self.master[0],
            "master_port": self.master[1],
            "master_link_status": "up" if self.up else "down",
            "master_last_io_seconds_ago": int(now - self.link.last_input) if self.up and self.link else -1,
            "master_sync_in_progress": int(self.link is not None and self.link.state is LinkState.SYNC),
            "slave_read_repl_offset": self.replicas.offset + (self.link.held if self.link is not None else 0),
            "slave_repl_offset": self.replicas.offset,
        }
        if not self.up:
            fields["master_link_down_since_seconds"] = int(now - self._down_since)
        return (
            fields
            | {
                "slave_priority": self._config.replica_priority,
                "slave_read_only": int(self._config.replica_read_only),
                "replica_announced": int(self._config.replica_announced),
            }
            | self._stream_info()
        )

    def _stream_info(self) -> dict[str, Any]:
        fields = self.replicas.info()
        fields["master_failover_state"] = self.failover.state.value
        return fields
