"""Running commands: every check that Redis makes before one, the call, and what follows from it.

This is the way that considers everything. The usual case takes a shorter one (``server.py``), which is right only while
none of this has anything to say: then ``choose_tables`` leaves commands in the tables.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING

from ..errors import CommandError, wrong_arity
from ..keyspace.idle_times import NO_USE
from ..model.command import Args, Command, Function, Tables
from ..protocol.resp import QUEUED

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..server import Server

__all__ = ["Dispatcher"]

log = logging.getLogger("evio_redis")

OOM = "OOM command not allowed when used memory > 'maxmemory'."
SUBSCRIBED = frozenset(
    ("subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe", "ping", "quit", "reset")
)
NEVER_QUEUED = frozenset({"exec", "discard", "multi", "watch", "quit", "reset"})

HTTP = frozenset({b"post", b"host:"})
"""What no command is called, so that a browser that is made to send here gets nowhere (cross-protocol scripting)."""

SHOWN_ARGUMENTS = 128
"""Bytes of the arguments in the error about an unknown command."""


LOOKED_FOR = frozenset("mn")
"""Classes of events that only the long way can tell of: that a key was missed, that a key is new."""

TIMED = 16
"""Commands that are timed at each tick, of those that usually are not."""


class _Paused(Exception):  # no error: the command will run later
    """The command has to wait for the end of CLIENT PAUSE."""


class Dispatcher:
    """Runs commands for the sessions of one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.tables: Tables = []
        self.direct_calls: defaultdict[Function | None, int] = defaultdict(int)  # of what the tables held; None is none
        self.direct_failures: defaultdict[Function, int] = defaultdict(int)
        self._owners: dict[Function, Command] = {}
        self._all: Tables = []
        self._reads: Tables = []
        self._followed: Tables = []
        self._none: Tables = []
        self._to_time = 0
        self.build_tables()
        self.time_some()

    # -- the short way, when it is right

    def build_tables(self) -> None:
        """Make the tables, of all commands, of those that only read, of all with writes followed up, and of none."""
        registry = self._server.registry
        self._all = registry.tables(lambda command: command.function)
        self._reads = registry.tables(lambda command: None if "write" in command.flags else command.function)
        self._followed = registry.tables(cache(self._follow_up))
        self._none = [{} for _ in self._all]
        self._owners |= {command.function: command for command in registry.all()}
        self.choose_tables()

    def _follow_up(self, command: Command) -> Function | None:
        """The command's function, which if it writes also does what its change calls for: log it, and serve clients
        that were blocked."""
        if "write" not in command.flags:
            return command.function
        if not command.keys[0]:
            return None  # may change another database than the session's
        server, function, ready_keys = self._server, command.function, self._server.keyspace.ready_keys

        def followed(session: Session, args: Args) -> bytes:
            if server.write_error:
                raise CommandError(server.write_error)
            session.rewritten.clear()
            database = session.db
            before = database.changes
            reply = function(session, args)
            if database.changes != before and server.log is not None:
                server.log.record(session, args)
            if ready_keys:
                server.blocking.serve()
            return reply

        self._owners[followed] = command
        return followed

    def choose_tables(self) -> None:
        """Leave to the short way what it may do now; to be called when what it depends on has changed."""
        server = self._server
        shown = server.monitors or server.accesses.recording or server.times_everything or self._to_time
        if shown or server.pause.active or not LOOKED_FOR.isdisjoint(server.keyspace.events):
            self.tables = self._none
        elif server.config.maxmemory:
            self.tables = self._reads
        elif server.blocking.waiting or server.log is not None:
            self.tables = self._followed
        else:
            self.tables = self._all

    def time_some(self) -> None:
        """Have the next few commands go the long way, which times them: what ``INFO commandstats`` says of the time
        that commands take is extrapolated from these."""
        self._to_time = TIMED
        self.choose_tables()

    def settle_calls(self) -> None:
        """Add the calls that were made the short way to what is known of the commands."""
        for function, count in self.direct_calls.items():
            if function is not None and count:
                self._owners[function].calls += count
                self._server.lookups.settle(self._owners[function], count)
                self._server.commands_processed += count
        for function, count in self.direct_failures.items():
            self._owners[function].failed += count
        self.direct_calls.clear()
        self.direct_failures.clear()

    # -- many commands

    def run_all(self, session: Session, commands: Iterable[Args], replies: list[bytes]) -> list[bytes]:
        """Run commands in order, adding to ``replies``; those behind one that blocks are kept for later."""
        session.replies = replies
        try:
            for args in commands:
                if session.closing:
                    break
                if session.blocked is not None:
                    session.backlog.append(args)
                    continue
                reply = self.process(session, args)
                if session.blocked is not None:
                    continue
                if session.reply_mode == "on":
                    replies.append(reply)
                else:
                    session.silenced()
        finally:
            session.replies = None
        return replies

    def resume(self, session: Session) -> None:
        """A session is no longer blocked: run what has arrived meanwhile."""
        if session.backlog or session.parser.error is not None:
            backlog, session.backlog, session.backlog_bytes = session.backlog, type(session.backlog)(), 0
            replies = self.run_all(session, backlog, [])
            replies.append(session.protocol_error())
            session.push(b"".join(replies))
            if session.conn is not None and session.closing:
                session.conn.write(session.take_outbox())
                session.conn.close()
        session.settle()

    # -- one command

    def process(self, session: Session, args: Args) -> bytes:
        """Check and run one command; returns its reply, an error reply included."""
        command = self._server.registry.find(args)
        try:
            if command is None:
                return self._unknown(session, args)
            self._check(session, command, args)
            if session.queue is not None and command.name not in NEVER_QUEUED:
                session.queue.append(args)
                return QUEUED
        except _Paused:
            self._server.pause.postpone(session, args)
            return b""
        except CommandError as error:
            session.dirty_exec = True  # matters in a transaction only
            if command is not None and not command.subcommands:
                command.rejected += 1
            if args[0].upper() == b"EXEC":
                error = _exec_abort(session, error)
            self._server.count_error(error)
            return error.reply
        try:
            reply = self.call(session, command, args)
        except CommandError as error:
            self._server.count_error(error)
            reply = error.reply
        if self._server.keyspace.ready_keys:
            self._server.blocking.serve()
        return reply

    def _unknown(self, session: Session, args: Args) -> bytes:
        if args[0].lower() not in HTTP:
            raise _unknown(args)
        log.warning("closing client %d: %r is HTTP, sent by a browser perhaps", session.id, args[0])
        session.closing = True
        session.settle()
        return b""

    def _check(self, session: Session, command: Command, args: Args) -> None:
        server = self._server
        if command.subcommands and (len(args) > 1 or command.arity == -2):
            raise _unknown_subcommand(command, args)
        if not command.accepts(len(args)):
            raise wrong_arity(command.name)
        if not session.authenticated and "no_auth" not in command.flags:
            raise CommandError("NOAUTH Authentication required.")
        if session.queue is not None and "no_multi" in command.flags:
            raise CommandError("ERR Command not allowed inside a transaction")
        if server.config.maxmemory and server.out_of_memory() and self._needs_memory(session, command):
            raise CommandError(OOM)
        if server.write_error and "write" in command.flags:
            raise CommandError(server.write_error)
        if session.subscribed and session.resp.version == 2 and command.name not in SUBSCRIBED:
            raise CommandError(
                f"ERR Can't execute '{command.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are"
                " allowed in this context"
            )
        if session.monitor and command.flags & {"write", "readonly", "may_replicate"}:
            raise CommandError("ERR Replica can't interact with the keyspace")
        if server.pause.active and server.pause.holds(session, command, args):
            raise _Paused

    def _needs_memory(self, session: Session, command: Command) -> bool:
        """Whether it, or what EXEC would run, may make the keyspace larger."""
        if command.name != "exec" or session.queue is None:
            return "denyoom" in command.flags
        queued = map(self._server.registry.find, session.queue)
        return any(each is not None and "denyoom" in each.flags for each in queued)

    def run_atomically(self, session: Session, queue: list[Args]) -> list[bytes]:
        """Run what EXEC found queued; time stands still and nothing blocks. One that fails does not stop the others."""
        server = self._server
        clock = server.keyspace.clock
        clock.frozen = clock.ms()
        session.atomic = True
        session.executing = queue
        if server.log is not None:
            server.log.begin_transaction()
        replies = []
        try:
            for args in queue:
                command = server.registry.find(args)
                assert command is not None, "it was checked when it was queued"
                try:
                    replies.append(self.call(session, command, args))
                except CommandError as error:
                    server.count_error(error)
                    replies.append(error.reply)
        finally:
            session.atomic = False
            session.executing = None
            clock.frozen = 0
            if server.log is not None:
                server.log.end_transaction(session)
        return replies

    def call(self, session: Session, command: Command, args: Args) -> bytes:
        """Run a command that is allowed to, and do what follows from it: count and time it, log it, show it to
        MONITOR. Raises :class:`CommandError`."""
        server = self._server
        logging_from = server.log.begin(session) if server.log is not None else None
        missing = server.lookups.look(command, session.db, args)
        if "n" in server.keyspace.events and "write" in command.flags:
            keys = (args[at] for at in command.key_positions(args) if at < len(args))
            server.keyspace.absent = {key for key in keys if not session.db.has(key)}
        if not session.atomic:
            session.last_command = command.name
        begin = perf_counter()
        try:
            return command.function(session, args)
        except CommandError:
            command.failed += 1
            raise
        except Exception:
            command.failed += 1
            log.exception("%s failed", command.name)
            raise CommandError("ERR internal error, see the server's log") from None
        finally:
            taken = perf_counter() - begin
            server.keyspace.absent.clear()
            for key in missing:
                server.keyspace.notify(session.db, "m", "keymiss", key)
            server.latency.sample("fast-command" if "fast" in command.flags else "command", taken)
            if server.accesses.recording and command.name not in NO_USE and not session.no_touch:
                server.accesses.record(session.db, [args[at] for at in command.key_positions(args) if at < len(args)])
            command.calls += 1
            command.timed += 1
            command.usec += taken * 1e6
            if server.config.latency_tracking:
                command.latencies.record(taken)
            if self._to_time:
                self._to_time -= 1
                if not self._to_time:
                    self.choose_tables()
            server.commands_processed += 1
            if logging_from is not None and server.log is not None:
                server.log.end(session, command, args, logging_from)
            shown, session.redacted = session.redacted or args, None
            if server.monitors and not command.flags & {"skip_monitor", "admin"}:
                server.monitors.feed(session, shown)
            if session.blocked is not None:  # it is slow or not when it has been served
                session.blocked.args, session.blocked.taken = shown, taken
            elif taken * 1e6 >= server.slowlog.threshold >= 0 and "skip_slowlog" not in command.flags:
                server.slowlog.add(session, shown, taken)


def _shown(argument: bytes) -> str:
    return argument.partition(b"\0")[0].decode("utf-8", "surrogateescape")  # Redis's strings end there


def _exec_abort(session: Session, error: CommandError) -> CommandError:
    session.leave_multi()
    if session.server.monitors:
        session.server.monitors.feed(session, [b"exec"])
    return CommandError(f"EXECABORT Transaction discarded because of: {str(error).removeprefix('ERR ')}")


def _unknown(args: Args) -> CommandError:
    shown = ""
    for argument in args[1:]:
        if len(shown) >= SHOWN_ARGUMENTS:
            break
        shown += f"'{_shown(argument[: SHOWN_ARGUMENTS - len(shown)])}' "
    name = _shown(args[0][:SHOWN_ARGUMENTS])
    return CommandError(f"ERR unknown command '{name}', with args beginning with: {shown}")


def _unknown_subcommand(container: Command, args: Args) -> CommandError:
    if len(args) < 2:
        return wrong_arity(container.name)
    shown = _shown(args[1][:SHOWN_ARGUMENTS])
    return CommandError(f"ERR unknown subcommand '{shown}'. Try {_shown(args[0]).upper()} HELP.")
