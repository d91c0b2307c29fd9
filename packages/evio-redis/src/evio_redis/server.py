"""The server: its parts, its life, and the events of evio_core."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from types import TracebackType
from typing import Any

import evio_core
from evio_core import Action, Conn, Events, LoadBalance, Options

from . import commands as _commands  # noqa: F401  # declares the built-in ones
from .acl.log import AclLog
from .acl.users import Users
from .clients.blocking import Blocking
from .clients.connected import Clients
from .clients.describe import local_peer
from .clients.limits import OutputGuard
from .clients.monitor import Monitors
from .clients.pause import Pause
from .clients.pubsub import PubSub
from .clients.session import Session
from .clients.tracking import Tracking
from .cluster.cluster import Cluster
from .cluster.nodes import Map
from .config.config import INHERITED, Config
from .errors import ConfigError, LogCorrupt
from .execution.dispatcher import Dispatcher
from .execution.fast_path import make_data
from .keyspace.cursors import Scans
from .keyspace.eviction import Eviction
from .keyspace.expirer import Expirer
from .keyspace.idle_times import Accesses
from .keyspace.keyspace import Keyspace
from .keyspace.last_save import LastSave
from .keyspace.types.hyperloglog import Sketches
from .keyspace.usage import Usage
from .model.command import Function, Registry
from .model.route import Route
from .model.services import Services
from .persistence import AppendOnlyFile
from .persistence.loading import Loading
from .persistence.rdb.payload import Checksums
from .persistence.snapshots import Snapshots
from .process.listeners import Listeners
from .process.running import Running
from .process.signals import pid_file
from .process.unix_group import give_to_group
from .replication.replicas import Replicas
from .replication.replication import Replication
from .scripting import Libraries, Runner, Scripts, scripts_may_write
from .stats.info import Info
from .stats.latency_monitor import Latency
from .stats.memory import MemoryLimit
from .stats.metrics import InfoCollector, serve_collector
from .stats.rates import Rates
from .stats.slowlog import SlowLog
from .stats.totals import Totals

__all__ = ["Server"]

log: logging.Logger = logging.getLogger("evio_redis")

UNLIMITED = 1 << 60
"""Bytes. Redis reads on whatever a client leaves unread: one that sends a long pipeline before it reads the first reply
would otherwise wait for ever. What may pile up is ``client-output-buffer-limit``'s business."""

LET_OTHERS = 0.0005
"""Seconds for which a script that takes long lets other loops run."""

LOOK = 0.05
"""Seconds after which a thread is looked at that may have ended while it loads."""

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
        self.config: Any | Config = settings.pop("config", None) or Config(settings)
        self.handle_signals = True  # False if SIGINT and SIGTERM are not to stop it though it runs in the main thread
        self._make_parts()
        self.lock: threading.RLock = threading.RLock()  # held by callbacks if there are several loops
        self._ids = 0
        self._begun = False
        self._facts: dict[bytes, bytes] = {}  # that the snapshot has said about itself
        self._complete = False  # what was loaded at the start is whole
        self._announce: Callable[[], None]  # that the server is ready; set when it serves
        self._end = ExitStack()
        self._thread: evio_core.ServerThread | None = None
        self._follow_config()

    def _make_parts(self) -> None:
        """Make the parts, each of which gets those that it uses."""
        config = self.config
        services = Services()
        self.services: Services = services
        add = services.add
        add(config)
        route = add(Route())
        self.registry: Registry = add(Registry())
        self._cluster = add(Cluster(services))
        for old, new in config.rename_command.items():
            self._rename(old, new)
        self._users = add(Users(config, self.registry))
        self._users.on_change = self._rules_changed
        add(AclLog(config))
        self.keyspace: Keyspace = add(Keyspace(config.databases, route))
        self._expirer = add(Expirer(self.keyspace))
        add(Scans())
        add(Sketches())
        self._accesses = add(Accesses(self.keyspace))
        usage = add(Usage(self.keyspace))
        add(Eviction(self.keyspace, usage, self._accesses))
        add(LastSave())
        add(Checksums())
        self._running = add(Running(config))
        self._listeners = add(Listeners(config, self._running))
        self._totals = add(Totals())
        self._rates = add(Rates())
        add(SlowLog(config))
        self.latency: Latency = add(Latency(config))
        pubsub = add(PubSub())
        self.keyspace.publish = pubsub.publish
        pubsub.on_heard = self.keyspace.set_heard
        self._pause = add(Pause(route, self.keyspace, self.registry))
        self._blocking = add(Blocking(self.keyspace))
        self._outputs = add(OutputGuard(config))
        monitors = add(Monitors(route))
        self._tracking = add(Tracking(config, route, self.keyspace))
        self._tracking.later = self._later
        self._clients = add(Clients(pubsub, self._pause, self._blocking, monitors, self._outputs, self._tracking))
        self._memory = add(MemoryLimit(services))
        self._loading = add(Loading(services))
        self._aof = add(AppendOnlyFile(services))
        self._snapshots = add(Snapshots(services))
        self._aof.later = self._later
        self._replicas = add(Replicas(services))
        self._snapshots.stream = self._replicas.facts
        self._replication = add(Replication(services))
        self._cluster.on_map = self._take_role
        self._cluster.is_replica = lambda: self._replication.master is not None
        self._one_child_at_a_time()
        self.dispatcher: Dispatcher = add(Dispatcher(services))
        runner = add(Runner(services))
        runner.let_others = self._let_others
        scripts, libraries = add(Scripts(services)), add(Libraries(services))
        self._memory.scripts = lambda: scripts.memory + libraries.memory
        self._pause.script_may_write = scripts_may_write(scripts, libraries)
        self._info = add(
            Info(
                *(services, self._aof, self._snapshots, self._loading, self._replication),
                *(scripts, libraries, self.dispatcher.settle),
            )
        )

    def _one_child_at_a_time(self) -> None:
        parts = self._aof.rewrites, self._snapshots, self._replicas
        for part in parts:
            others = [each for each in parts if each is not part]
            part.others_active = lambda others=others: any(each.active for each in others)  # type: ignore[misc]

    def _rename(self, old: str, new: str) -> None:
        try:
            self.registry.rename(old, new)
        except ValueError as error:
            raise ConfigError(f"rename-command: {error}") from None

    def _follow_config(self) -> None:
        config = self.config
        config.on_change("requirepass", self._users.follow_requirepass)
        config.on_change("client-output-buffer-limit", lambda: self._outputs.limit_all(self.sessions.values()))
        config.on_change("notify-keyspace-events", self._events_changed)
        config.on_change("active-expire-effort", self._events_changed)
        config.on_change("appendonly", self._appendonly_changed)
        self._events_changed()

    def _rules_changed(self) -> None:
        self.dispatcher.choose_tables()
        for session in self.sessions.values():
            session.update_plain()

    def _events_changed(self) -> None:
        self.keyspace.set_events(self.config.notify_keyspace_events)
        self._expirer.effort = self.config.active_expire_effort

    @property
    def sessions(self) -> dict[int, Session]:
        """The clients that are connected, by their id."""
        return self._clients.sessions

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
        """True once all is loaded; clients that connect before are told so."""
        return self._running.ready.is_set()

    @property
    def port(self) -> int:
        """The TCP port, once it runs; 0 if it listens on none."""
        return self._listeners.port

    def run(self) -> None:
        """Serve in the calling thread until stopped. Raises what :func:`evio_core.serve` raises, :class:`LogCorrupt`
        when the append-only file cannot be trusted, ``OSError`` when it cannot be read or written, and ``RuntimeError``
        for a server that has run before."""
        events = self._begin()
        with self._end:
            evio_core.serve(events, *self.config.addresses())

    def _begin(self) -> Events:
        """Prepare for serving; what is to be undone at the end is in ``_end``. Raises ``RuntimeError``."""
        if self._begun:
            raise RuntimeError(ONCE)
        self._begun = True
        self._users.load_at_start()
        self._aof.grouped = self.config.appendonly
        self._end.enter_context(pid_file(self.config.pidfile))
        self._end.callback(self._close_files)
        try:
            if self.config.metrics_port:
                self._serve_metrics()
        except BaseException:
            self._end.close()
            raise
        events = self.events()
        events.stopped = self._end.close
        return events

    def _serve_metrics(self) -> None:
        """Serve metrics until the end. Raises :class:`ConfigError` without ``prometheus-client``, and ``OSError``."""
        host = next((each for each in self.config.bind if "://" not in each), "127.0.0.1").removeprefix("-")
        address = {"*": "0.0.0.0", "::*": "::"}.get(host, host)

        def call(function: Callable[[], object]) -> None:
            core = self._running.core
            if core is None:
                raise RuntimeError("the server is not there yet")
            core.call(self._guarded(function) if self.config.loops not in (0, 1) else function)

        try:
            collector = InfoCollector(self._info.render, call)
        except ImportError:
            text = "metrics-port needs prometheus-client: pip install 'evio-redis[metrics]'"
            raise ConfigError(text) from None
        try:
            self._end.callback(serve_collector(address, self.config.metrics_port, collector))
        except OSError as error:
            where = f"http://{host}:{self.config.metrics_port}"
            raise evio_core.ListenError(error.errno or 0, error.strerror or str(error), where) from None

    def _close_files(self) -> None:
        whole = self._complete and not self._loading.active
        self._loading.end()
        self._replicas.close()
        self._aof.close()
        if whole:
            self._snapshots.close()

    def _appendonly_changed(self) -> None:
        if self._loading.active:
            return  # it is looked at when all is loaded
        logging_now = self._aof.on or self._aof.waiting
        if self.config.appendonly and not logging_now:
            try:
                self._aof.turn_on()
            except (OSError, LogCorrupt) as error:
                log.error("Cannot turn on the append-only file: %s", error)
                self.config.appendonly = False
                why = "CONFIG SET failed (possibly related to argument 'appendonly')"
                raise ConfigError(f"{why} - Unable to turn on AOF. Check server logs.") from None
        elif not self.config.appendonly and logging_now:
            self._aof.turn_off()

    def start(self) -> None:
        """Serve in a thread; returns when all is loaded. Raises what :meth:`run` raises."""
        events = self._begin()
        try:
            self._thread = evio_core.start(events, *self.config.addresses())
        except BaseException:
            self._end.close()
            raise
        while not self._running.ready.wait(LOOK):
            if not self._thread.is_running:
                self._thread.join()
                return

    def stop(self) -> None:
        """Stop; one that was started in a thread has ended then. Raises what ended it, the first time."""
        if self._thread is not None:
            self._thread.close()
        elif self._running.core is not None:
            self._running.core.stop()

    def end_on_signal(self, number: int) -> bool:
        """Stop as a signal wants it (``shutdown-on-sigterm``, ``shutdown-on-sigint``); to be called on the loop.
        Returns False if the last snapshot cannot be written: the server goes on then."""
        with self.lock:
            words = (
                self.config.shutdown_on_sigint if number == signal.SIGINT else self.config.shutdown_on_sigterm
            ).split()
            wanted = True if "save" in words else False if "nosave" in words else None
            if self.services[Runner].run is not None:
                wanted = False  # as half of what a script does would be in it
            if not self._snapshots.save_last(wanted, "force" in words):
                return False
        self._running.shut_down()
        return True

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
        several = self.config.loops != 1
        guard = self._guarded if several else _unguarded
        return Events(
            serving=self._serving,
            opened=guard(self._opened),
            data=guard(_in_order(make_data(self.services))) if several else make_data(self.services),
            woken=guard(_send_outbox) if several else None,
            pre_write=guard(self._aof.flush) if self._aof.grouped else None,
            closed=guard(self._closed),
            tick=guard(self._tick),
            num_loops=self.config.loops,
            load_balance=LoadBalance(self.config.balance),
            options=Options(tcp_keepalive=self.config.tcp_keepalive, high_water=UNLIMITED, max_pending=0),
            shutdown_timeout=self.config.shutdown_timeout,
            handle_signals=self.handle_signals,
            notify_systemd=self.config.supervised in ("systemd", "auto"),
        )

    def _guarded(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Loops share the keyspace: one command at a time, as in Redis."""
        lock = self.lock

        def guarded(*arguments: Any) -> Any:
            with lock:
                return callback(*arguments)

        return guarded

    def _later(self, function: Callable[[], object]) -> None:
        """Have a function called on the first loop once the events of this turn are done."""
        assert self._running.core is not None, "there are clients"
        with_lock = self.config.loops != 1
        self._running.core.call_soon(self._guarded(function) if with_lock else function)

    def _let_others(self) -> None:
        """Let other loops answer their clients while a script takes long on this one."""
        if self.config.loops not in (0, 1):
            self.lock.release()
            time.sleep(LET_OTHERS)
            self.lock.acquire()

    def _serving(self, core: evio_core.Server) -> None:
        self._running.core = core
        log.info("evio-redis %s on Python %s, PID: %d", evio_core.__version__, sys.version.split()[0], os.getpid())
        log.info("Server initialized")
        if find_spec("lupa") is None:
            log.info("Without scripts (EVAL, EVALSHA, FCALL), which need lupa: pip install 'evio-redis[scripting]'")
        if self.config.unixsocketgroup:
            give_to_group(self.config.unixsocket, self.config.unixsocketgroup)
        missed = self.config.missed()
        if missed:
            log.warning("Without effect: %s", "; ".join(missed))
        self._cluster.load()
        self._listeners.begin()
        self._announce = core.hold_ready()
        if self.config.appendonly:
            self._loading.begin(self._aof.opening(), self._aof.to_load)
        else:
            self._loading.begin(self._snapshots.loading(self._facts), self._snapshots.to_load)
        self._go_on_loading()

    def _go_on_loading(self) -> None:
        """Load for a while, and begin to serve when all is there. Raises :class:`LogCorrupt` and ``OSError``."""
        core = self._running.core
        assert core is not None, "it is being started"
        if self._loading.go_on():
            return
        self._complete = True
        if self.config.appendonly and not self._aof.on:
            self._appendonly_changed()
        self._memory.configure()
        for address, name in zip(self.config.addresses(), core.addrs, strict=True):
            scheme = address.partition("://")[0]
            if scheme in INHERITED:
                scheme = "tcp" if isinstance(name, tuple) else "unix"
            log.info("Ready to accept connections on %s", evio_core.url(scheme, name))
        self._running.ready.set()
        self._announce()
        mapped = self._cluster.map
        self._replicas.restore(self._facts, bool(mapped.myself.master.strip("-") if mapped else self.config.replicaof))
        if self._cluster.map is not None:
            self._take_role(self._cluster.map)
        else:
            self._replication.start()

    def _take_role(self, known: Map) -> None:
        """Follow the master that the cluster's map gives this server, or none."""
        masters = [each for each in known.nodes if each.id == known.myself.master]
        if not masters:
            self._replication.lead()
        elif self._replication.master != (masters[0].host, masters[0].port):
            self._replication.follow(masters[0].host, masters[0].port)

    def _opened(self, conn: Conn) -> Any:
        self._totals.connections_received += 1
        refusal = self._refusal(conn)
        if refusal is not None:
            self._totals.rejected_connections += 1
            return refusal, Action.CLOSE
        self._ids += 1
        session = conn.context = Session(self.services, conn, self._ids)
        self._clients.add(session)
        return None

    def _refusal(self, conn: Conn) -> bytes | None:
        if len(self.sessions) >= self.config.maxclients:
            return TOO_MANY
        if self.config.protected_mode and self._users.default.nopass and not local_peer(conn):
            return PROTECTED
        return None

    def _closed(self, conn: Conn, error: BaseException | None) -> None:
        session: Session | None = conn.context
        if session is not None:
            if isinstance(error, evio_core.OutputLimitExceeded):
                log.warning("closed client %d: %s", session.id, error)
            session.conn = None
            self._replicas.remove(session)
            self._clients.remove(session)

    def _tick(self) -> float:
        clients, core = self._clients, self._running.stats
        clients.now = time.time()
        if not self.serving:
            self._go_on_loading()
            return 0.0
        self._pause.tick()
        self.latency.timed(self._expirer.cycle, "expire-cycle")
        self._blocking.serve()  # those who wait for a stream that has expired
        self._outputs.check(clients.sessions.values(), clients.now)
        self._tracking.limit()
        self._aof.tick()
        self._snapshots.tick()
        self._replication.tick()
        self._cluster.tick()
        self._accesses.tick()
        if self.config.maxmemory or self.config.maxmemory_clients != "0":
            self._memory.update()
        self.dispatcher.settle()
        self._rates.sample(self._totals.commands_processed, core.total.bytes_in, core.total.bytes_out)
        waiting = self._blocking.tick()
        usual = 1.0 / self.config.hz
        return usual if waiting is None else min(usual, max(waiting, 0.001))


def _in_order(data: Callable[[Conn, bytes], Any]) -> Callable[[Conn, bytes], Any]:
    """With several loops: what others have for a client (``Session.push``) leaves before what it is replied now."""

    def ordered(conn: Conn, chunk: bytes) -> Any:
        session: Session | None = conn.context
        if session is not None and session.outbox:
            conn.write(session.take_outbox())
        return data(conn, chunk)

    return ordered


def _send_outbox(conn: Conn) -> bytes | None:
    session: Session | None = conn.context
    return session.take_outbox() if session is not None and session.outbox else None


def _unguarded(callback: Callable[..., Any]) -> Callable[..., Any]:
    return callback
