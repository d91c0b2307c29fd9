"""The server: events of evio_core on one side, sessions and commands on the other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import hiredis

import evio_core
from evio_core import Action, Conn, Events

from . import commands as _commands  # noqa: F401  # declares the built-in ones
from .accesses import Accesses
from .blocking import Blocking
from .command import Function, Registry
from .config import Config
from .dispatch import Dispatcher
from .errors import CommandError
from .keyspace import Keyspace
from .monitor import Monitors
from .pause import Pause
from .pubsub import PubSub
from .scan import Scans
from .session import Session
from .slowlog import SlowLog

__all__ = ["Server"]

log = logging.getLogger("evio_redis")

TICK = 0.1
"""Seconds between looks at time-outs and expired keys (Redis's ``hz 10``)."""


class Server:
    """A key-value server; as a context manager it runs in a thread of its own::

        with evio_redis.Server(port=0) as server:
            redis.Redis(port=server.port).set("greeting", "hello")

    Settings are those of ``redis.conf``, with underscores: ``Server(port=0, requirepass="secret")``. Raises
    :class:`evio_redis.ConfigError` for one that does not exist or has a value that is not allowed.
    """

    def __init__(self, **settings: Any) -> None:
        self.config = Config(settings)
        self.now = time.time()
        self.started = self.now
        self.registry = Registry()
        self.keyspace = Keyspace(self.config.databases)
        self.sessions: dict[int, Session] = {}
        self.monitors = Monitors(self)
        self.times_everything = False  # SLOWLOG wants to see short commands too
        self.maxmemory = 0
        self.write_error = ""
        self.log: Any = None  # the append-only file, when on
        self.commands_processed = 0
        self.connections_received = 0
        self.errors: dict[str, int] = {}
        self.slowlog = SlowLog()
        self.scans = Scans()
        self.accesses = Accesses(self)
        self.pause = Pause(self)
        self.blocking = Blocking(self)
        self.pubsub = PubSub()
        self.keyspace.publish = self.pubsub.publish
        self.lock = threading.RLock()  # held by callbacks if there are several loops
        self._ids = 0
        self._core: evio_core.Server | None = None
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self.dispatcher = Dispatcher(self)

    # -- own commands

    def command(
        self, name: str, arity: int, keys: tuple[int, ...] = (), flags: str = "", summary: str = ""
    ) -> Callable[[Function], Function]:
        """Add a command in Python; see :mod:`evio_redis.command`::

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
    def port(self) -> int:
        """The TCP port, once it runs; 0 if it listens on none."""
        assert self._core is not None, "the server does not run"
        ports = [name[1] for name in self._core.addrs if isinstance(name, tuple)]
        return int(ports[0]) if ports else 0

    def run(self) -> None:
        """Serve in the calling thread until stopped. Raises what :func:`evio_core.serve` raises."""
        evio_core.serve(self.events(), *self.config.addresses())

    def start(self) -> None:
        """Serve in a thread; returns when clients can connect. Raises what :meth:`run` raises."""

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
        guard = self._guarded if several else (lambda callback: callback)
        return Events(
            serving=self._serving,
            opened=guard(self._opened),
            data=guard(self._make_data()),
            closed=guard(self._closed),
            tick=guard(self._tick),
            num_loops=self.config.loops,
            load_balance=self.config.balance,
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
        self._started.set()

    def _opened(self, conn: Conn) -> Any:
        self.connections_received += 1
        if len(self.sessions) >= self.config.maxclients:
            return b"-ERR max number of clients reached\r\n", Action.CLOSE
        self._ids += 1
        session = conn.context = Session(self, conn, self._ids)
        self.sessions[session.id] = session
        return None

    def _closed(self, conn: Conn, error: BaseException | None) -> None:
        session: Session | None = conn.context
        if session is not None:
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

    def _make_data(self) -> Callable[[Conn, bytes], Any]:
        # A closure: its names are the hot path's locals. One reader serves all sessions, as it only ever sees whole
        # commands: whatever else a chunk holds, it is replaced and the session's own parser takes the chunk.
        reader = hiredis.Reader()
        feed, gets = reader.feed, reader.gets
        dispatcher, process, receive = self.dispatcher, self.dispatcher.process, self._receive

        def data(conn: Conn, chunk: bytes) -> Any:
            nonlocal feed, gets
            session: Session = conn.context
            if not session.plain:
                return receive(session, chunk)
            try:
                feed(chunk)
                args = gets()
                following = gets()
                if following is False:
                    commands = [args]
                    count = len(args)
                else:
                    commands = [args, following, *iter(gets, False)]
                    count = sum(map(len, commands))
            except (hiredis.HiredisError, TypeError):
                count = -1
            # Each argument has a length line of its own: with another number of them, something is not whole, not a
            # bulk string or not a command. A value that happens to hold one is no harm, only slower.
            if count != chunk.count(b"\r\n$"):
                fresh = hiredis.Reader()
                feed, gets = fresh.feed, fresh.gets
                return receive(session, chunk)
            session.seen = self.now
            self.commands_processed += len(commands)
            tables = dispatcher.tables
            replies: list[bytes] = []
            session.last_command = commands[-1][0] if commands[-1] else b""
            pending = iter(commands)
            for args in pending:
                try:
                    function = tables[len(args)][args[0]]
                except (KeyError, IndexError):
                    if not args:
                        continue
                    replies.append(process(session, args))
                    if not session.plain:
                        return self._end(session, dispatcher.run_all(session, pending, replies))
                    continue
                try:
                    replies.append(function(session, args))
                except CommandError as error:
                    replies.append(error.reply)
                    self.count_error(error)
                except Exception:
                    log.exception("%r failed", args[0])
                    replies.append(b"-ERR internal error, see the server's log\r\n")
            return replies[0] if len(replies) == 1 else b"".join(replies)

        return data

    def _receive(self, session: Session, chunk: bytes) -> Any:
        """Input of a session in a rare state, or with something else than whole commands."""
        session.seen = self.now
        commands = session.parser.parse(chunk)
        replies = self.dispatcher.run_all(session, commands, [])
        return self._end(session, replies)

    def _end(self, session: Session, replies: list[bytes]) -> Any:
        error = session.parser.error
        if error is not None and not session.closing:
            replies.append(CommandError(f"ERR Protocol error: {error}").reply)
            session.closing = True
        session.settle()
        output = b"".join(replies)
        return (output, Action.CLOSE) if session.closing else output

    def _tick(self) -> float:
        self.now = time.time()
        self.pause.tick()
        return TICK

    # -- what commands need

    def count_error(self, error: CommandError) -> None:
        """``INFO errorstats``: errors by their code."""
        code = str(error).partition(" ")[0]
        self.errors[code] = self.errors.get(code, 0) + 1
