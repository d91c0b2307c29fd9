"""The server: its parts, its life, and the events of evio_core."""

from __future__ import annotations

import logging
import os
import platform
import secrets
import select
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from types import TracebackType
from typing import Any

import evio_core
from evio_core import Action, Conn, Events, LoadBalance, Options

from . import commands as _commands  # noqa: F401  # declares the built-in ones
from .clients.blocking import Blocking
from .clients.describe import local_peer
from .clients.limits import OutputGuard
from .clients.monitor import Monitors
from .clients.pause import Pause
from .clients.pubsub import PubSub
from .clients.session import Session
from .config.config import Config
from .errors import CommandError, ConfigError, LogCorrupt
from .execution.dispatcher import Dispatcher
from .execution.fast_path import make_data
from .keyspace.cursors import Scans
from .keyspace.expirer import Expirer
from .keyspace.idle_times import Accesses
from .keyspace.keyspace import Keyspace
from .model.command import Function, Registry
from .persistence import AppendOnlyFile
from .process.signals import pid_file
from .scripting import Scripts
from .stats import memory
from .stats.hit_ratio import Lookups
from .stats.latency_monitor import Latency
from .stats.rates import Rates
from .stats.slowlog import SlowLog

__all__ = ["Server"]

log = logging.getLogger("evio_redis")

UNLIMITED = 1 << 60
"""Bytes. Redis reads on whatever a client leaves unread: one that sends a long pipeline before it reads the first reply
would otherwise wait for ever. What may pile up is ``client-output-buffer-limit``'s business."""

SHORT_COMMAND_USEC = 1000
"""With a lower ``slowlog-log-slower-than`` even commands of constant time are timed."""

ONCE = "a Server runs once: make another one to serve again"
TOO_MANY = b"-ERR max number of clients reached\r\n"
PROTECTED = (
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the"
    b" default user. In this mode connections are only accepted from the loopback interface. To connect from other"
    b" machines, set a password with 'requirepass' or, in a network that you trust, 'protected-mode no'.\r\n"
)


class Server:
    """A key-value server; as a context manager it runs in a thread of its own::

        with evio_redis.Server(port=0) as server:
            redis.Redis(port=server.port).set("greeting", "hello")

    Settings are those of ``redis.conf``, with underscores: ``Server(port=0, requirepass="secret")``. Raises
    :class:`evio_redis.ConfigError` for one that does not exist or has a value that is not allowed.
    """

    def __init__(self, **settings: Any) -> None:
        self.config = settings.pop("config", None) or Config(settings)
        self.handle_signals = True  # whether SIGINT and SIGTERM stop it if it runs in the main thread
        self.now = self.started = self.last_save = time.time()
        self.run_id = secrets.token_hex(20)
        self.poller = "epoll" if hasattr(select, "epoll") else "kqueue" if hasattr(select, "kqueue") else "select"
        self.startup_memory = memory.resident()
        self.registry = Registry()
        self.keyspace = Keyspace(self.config.databases)
        self.sessions: dict[int, Session] = {}
        self.write_error = ""  # why writes are refused, as an error reply; empty while they are not
        self.log: AppendOnlyFile | None = None  # ``aof`` while commands are to be logged
        self.latest_fork_usec = self.total_forks = self.saved_dirty = 0
        self.lookups = Lookups()
        self.reset_statistics()
        self.scans = Scans()
        self.scripts = Scripts(self)
        self.slowlog = SlowLog(self.config)
        self.latency = Latency(self.config)
        self.monitors = Monitors(self)
        self.accesses = Accesses(self)
        self.checks_payloads = True  # the checksums of RESTORE
        self.pause = Pause(self)
        self.blocking = Blocking(self)
        self.outputs = OutputGuard(self)
        self.expirer = Expirer(self.keyspace)
        self.pubsub = PubSub()
        self.keyspace.publish = self.pubsub.publish
        self.lock = threading.RLock()  # held by callbacks if there are several loops
        self._used_memory = self.startup_memory
        self._ids = 0
        self._core: evio_core.Server | None = None
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        for old, new in self.config.rename_command.items():
            self._rename(old, new)
        self.dispatcher = Dispatcher(self)
        self.aof = AppendOnlyFile(self)
        self._follow_config()

    def _rename(self, old: str, new: str) -> None:
        try:
            self.registry.rename(old, new)
        except ValueError as error:
            raise ConfigError(f"rename-command: {error}") from None

    def _follow_config(self) -> None:
        for name in ("slowlog-log-slower-than", "maxmemory"):
            self.config.on_change(name, self._limits_changed)
        self.config.on_change("client-output-buffer-limit", self.outputs.limit_all)
        self.config.on_change("notify-keyspace-events", self._events_changed)
        self.config.on_change("active-expire-effort", self._events_changed)
        self.config.on_change("appendonly", self._appendonly_changed)
        self._events_changed()
        self._limits_changed()

    def _limits_changed(self) -> None:
        self._used_memory = memory.resident()
        self.dispatcher.choose_tables()

    def _events_changed(self) -> None:
        self.keyspace.set_events(self.config.notify_keyspace_events)
        self.expirer.effort = self.config.active_expire_effort
        self.dispatcher.choose_tables()

    def reset_statistics(self) -> None:
        """Set to zero what CONFIG RESETSTAT does."""
        self.commands_processed = 0
        self.connections_received = 0
        self.rejected_connections = 0
        self.errors: dict[str, int] = {}
        self.rates = Rates()
        self.lookups.reset()
        self.keyspace.expired_keys = 0
        for command in self.registry.all():
            command.reset_statistics()

    # -- own commands

    def command(
        self, name: str, arity: int, keys: tuple[int, ...] = (), flags: str = "", summary: str = ""
    ) -> Callable[[Function], Function]:
        """Add a command in Python; see :mod:`evio_redis.model.command`::

            @server.command("GREET", arity=2)
            def greet(session, args):
                return evio_redis.bulk(b"hello " + args[1])

        ``arity`` counts the name and is negative for "at least"; ``keys`` is ``(first, last, step)``; ``flags`` are
        those of COMMAND INFO (``"write denyoom"``: only what says ``write`` may change keys). Raises ``ValueError``
        for nonsense.
        """

        def declare(function: Function) -> Function:
            self.registry.own(name, function, arity, flags, keys, summary)
            self.dispatcher.build_tables()
            return function

        return declare

    # -- running

    @property
    def serving(self) -> bool:
        """Whether clients can connect: all is loaded."""
        return self._started.is_set()

    @property
    def port(self) -> int:
        """The TCP port, once it runs; 0 if it listens on none."""
        assert self._core is not None, "the server does not run"
        ports = [name[1] for name in self._core.addrs if isinstance(name, tuple)]
        return int(ports[0]) if ports else 0

    def run(self) -> None:
        """Serve in the calling thread until stopped. Raises what :func:`evio_core.serve` raises, :class:`LogCorrupt`
        when the append-only file cannot be trusted, ``OSError`` when it cannot be read or written, and ``RuntimeError``
        for a server that has run before."""
        if self._core is not None:
            raise RuntimeError(ONCE)
        self.aof.grouped = self.config.appendonly
        try:
            with pid_file(self.config.pidfile):
                evio_core.serve(self.events(), *self.config.addresses())
        finally:
            self.aof.close()

    def _appendonly_changed(self) -> None:
        logging_now = self.aof.on or self.aof.waiting
        if self.config.appendonly and not logging_now:
            try:
                self.aof.turn_on()
            except (OSError, LogCorrupt) as error:
                log.error("Cannot turn on the append-only file: %s", error)
                self.config.appendonly = False
                why = "CONFIG SET failed (possibly related to argument 'appendonly')"
                raise ConfigError(f"{why} - Unable to turn on AOF. Check server logs.") from None
        elif not self.config.appendonly and logging_now:
            self.aof.turn_off()

    def start(self) -> None:
        """Serve in a thread; returns when clients can connect. Raises what :meth:`run` raises."""
        if self._thread is not None:
            raise RuntimeError(ONCE)

        def run() -> None:
            try:
                self.run()
            except BaseException as error:
                self._failure = error
            finally:
                self._started.set()

        self._thread = threading.Thread(target=run, name="evio-redis", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop and wait for the end. Raises what ended the server, if anything did."""
        if self._core is not None:
            self._core.stop()
        if self._thread is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # -- events

    def events(self) -> Events:
        """The callbacks for :func:`evio_core.serve`."""
        several = self.config.loops not in (0, 1)
        guard = self._guarded if several else _unguarded
        return Events(
            serving=self._serving,
            opened=guard(self._opened),
            data=guard(_in_order(make_data(self))) if several else make_data(self),
            pre_write=guard(self.aof.flush) if self.aof.grouped else None,
            closed=guard(self._closed),
            tick=guard(self._tick),
            num_loops=self.config.loops,
            load_balance=LoadBalance(self.config.balance),
            options=Options(tcp_keepalive=self.config.tcp_keepalive, high_water=UNLIMITED, max_pending=0),
            shutdown_timeout=self.config.shutdown_timeout,
            handle_signals=self.handle_signals,
        )

    def _guarded(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Loops share the keyspace: one command at a time, as in Redis."""
        lock = self.lock

        def guarded(*arguments: Any) -> Any:
            with lock:
                return callback(*arguments)

        return guarded

    def _serving(self, core: evio_core.Server) -> None:
        self._core = core
        log.info("evio-redis %s on Python %s, PID: %d", version("evio-redis"), platform.python_version(), os.getpid())
        log.info("Server initialized")
        missed = self.config.missed()
        if missed:
            log.warning("Without effect: %s", "; ".join(missed))
        if self.config.appendonly:
            self.aof.open()
        for address, name in zip(self.config.addresses(), core.addrs, strict=True):
            log.info("Ready to accept connections on %s", evio_core.url(address.partition("://")[0], name))
        self._started.set()

    def _opened(self, conn: Conn) -> Any:
        self.connections_received += 1
        refusal = self._refusal(conn)
        if refusal is not None:
            self.rejected_connections += 1
            return refusal, Action.CLOSE
        self._ids += 1
        session = conn.context = Session(self, conn, self._ids)
        self.sessions[session.id] = session
        self.outputs.limit(session)
        return None

    def _refusal(self, conn: Conn) -> bytes | None:
        if len(self.sessions) >= self.config.maxclients:
            return TOO_MANY
        if self.config.protected_mode and not self.config.requirepass and not local_peer(conn):
            return PROTECTED
        return None

    def _closed(self, conn: Conn, error: BaseException | None) -> None:
        session: Session | None = conn.context
        if session is not None:
            if isinstance(error, evio_core.OutputLimitExceeded):
                log.warning("closed client %d: %s", session.id, error)
            session.conn = None
            self.sessions.pop(session.id, None)
            self.forget(session)

    def forget(self, session: Session) -> None:
        """Undo everything that a session holds: transaction, subscriptions, waiting, monitoring."""
        session.leave_multi()
        self.pubsub.forget(session)
        self.pause.forget(session)
        self.blocking.forget(session)
        self.monitors.remove(session)
        session.closing = True
        session.settle()

    def _tick(self) -> float:
        self.now = time.time()
        self.pause.tick()
        self.latency.timed(self.expirer.cycle, "expire-cycle")
        self.outputs.check()
        self.aof.tick()
        if self.config.maxmemory:
            self._used_memory = memory.resident()
        core = self.core_stats()
        self.dispatcher.settle_calls()
        self.dispatcher.time_some()
        self.rates.sample(self.commands_processed, core.total("bytes_in"), core.total("bytes_out"))
        waiting = self.blocking.tick()
        usual = 1.0 / self.config.hz
        return usual if waiting is None else min(usual, max(waiting, 0.001))

    def reload_certificates(self) -> None:
        """Read the certificates anew, for new connections; bad ones are told of and the old ones stay. From any thread,
        and from a signal handler."""
        core = self._core

        def reload() -> None:
            assert core is not None
            try:
                core.reload_certificates()
                log.info("certificates reloaded")
            except evio_core.TLSError as error:
                log.error("%s; the certificates in use stay", error)

        if core is not None and self.config.tls_port:
            core.call(reload)

    # -- what commands need

    def shut_down(self) -> None:
        """Stop (SHUTDOWN)."""
        assert self._core is not None
        log.warning("User requested shutdown...")
        self._core.stop(self.config.shutdown_timeout)

    def core_stats(self) -> evio_core.Stats:
        """The counters of the loops."""
        return self._core.stats() if self._core is not None else evio_core.Stats([])

    @property
    def times_everything(self) -> bool:
        """Whether the slow log wants to see short commands too."""
        return 0 <= self.config.slowlog_log_slower_than < SHORT_COMMAND_USEC

    def out_of_memory(self) -> bool:
        """Whether more memory is used than ``maxmemory``, as of the last tick."""
        return 0 < self.config.maxmemory < self._used_memory

    def count_error(self, error: CommandError) -> None:
        """``INFO errorstats``: errors by their code."""
        if error.counted:
            return
        code = str(error).partition(" ")[0]
        self.errors[code] = self.errors.get(code, 0) + 1


def _in_order(data: Callable[[Conn, bytes], Any]) -> Callable[[Conn, bytes], Any]:
    """With several loops: what others have for a client (``Session.push``) leaves before what it is replied now."""

    def ordered(conn: Conn, chunk: bytes) -> Any:
        session: Session | None = conn.context
        if session is not None and session.outbox:
            conn.write(session.take_outbox())
        return data(conn, chunk) if chunk else None  # else it was only woken

    return ordered


def _unguarded(callback: Callable[..., Any]) -> Callable[..., Any]:
    return callback
