"""Running commands.

There are three ways. The direct one is a look-up, the call of the command's function, and the time that it took; the
dispatcher's tables hold the commands that may take it. With followed writes, the function in the table also logs
what it has changed. The long way (:meth:`Dispatcher.process`) considers
everything, one step after the other; it is for sessions in an unusual state, for commands that are in no table, and
for all of them while ``Route`` is held.

Nothing about a command is sampled: each is timed, by one reading of the clock, as the end of one is the beginning of
the next.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice, repeat
from operator import length_hint
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from ..acl.log import AclLog, Denied
from ..acl.users import Users
from ..clients.blocking import Blocking, Waiter
from ..clients.describe import describe
from ..clients.monitor import Monitors
from ..clients.pause import Pause
from ..clients.session import DIRECT, QUEUE, TRACKED, Session
from ..clients.tracking import Tracking
from ..cluster.cluster import Cluster, Redirection
from ..config.config import Config
from ..errors import CommandError, wrong_arity
from ..keyspace.idle_times import Accesses
from ..keyspace.keyspace import Keyspace
from ..model.command import STEP_BITS, Args, Batch, Command, Entry, Function, Registry, Tables, Times
from ..model.route import Route
from ..persistence import AppendOnlyFile
from ..protocol.resp import QUEUED
from ..stats.latency_monitor import Latency
from ..stats.memory import MemoryLimit
from ..stats.slowlog import SlowLog
from ..stats.totals import Totals
from .recording import OOM, Recording
from .restricted import Ways

if TYPE_CHECKING:
    from ..acl.user import User
    from ..model.services import Services

__all__ = ["Dispatcher"]

log: logging.Logger = logging.getLogger("evio_redis")

SUBSCRIBED = frozenset(
    ("subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe", "ping", "quit", "reset")
)
NEVER_QUEUED = frozenset({"exec", "discard", "multi", "watch", "quit", "reset"})

READ_BY_OTHERS = frozenset({"eval_ro", "evalsha_ro", "fcall_ro"})
"""Commands that read through others, which it is remembered of."""

DENIED = {
    "command": "this user has no permissions to run the '{}' command",
    "key": "this user has no permissions to access one of the keys used as arguments",
    "channel": "this user has no permissions to access one of the channels used as arguments",
}
RULES_CHANGED = (
    "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no"
    " longer allowed for the following reason: "
)
NO_LONGER = {
    "command": "no permission to execute the command or subcommand",
    "key": "no permission to touch the specified keys",
    "channel": "no permission to access one of the channels used as arguments",
}

HTTP = frozenset({b"post", b"host:"})
"""Names that no command has, so that a browser that is made to send here gets nowhere (cross-protocol scripting)."""

SHOWN_ARGUMENTS = 128
"""Bytes of the arguments in the error about an unknown command."""

NEVER = 1 << 62
"""Nanoseconds that no command takes."""

NO_WAY = "none"
"""No session's way: that of sessions whose commands all take the long way."""


class _Paused(Exception):  # no error: the command will run later
    """The command has to wait for the end of CLIENT PAUSE."""


class Dispatcher:
    """Runs commands for the sessions of one server."""

    def __init__(self, services: Services) -> None:
        self._config = services[Config]
        self._registry = services[Registry]
        self._users = services[Users]
        self._acl_log = services[AclLog]
        self._keyspace = services[Keyspace]
        self._ready_keys = self._keyspace.ready_keys
        self._route = services[Route]
        self._cluster = services[Cluster]
        self._aof = services[AppendOnlyFile]
        self._blocking = services[Blocking]
        self._pause = services[Pause]
        self._monitors = services[Monitors]
        self._tracking = services[Tracking]
        self._memory = services[MemoryLimit]
        self._recording = Recording(self._keyspace, self._memory, services[Accesses])
        self._slowlog = services[SlowLog]
        self._latency = services[Latency]
        self._totals = services[Totals]
        self._functions: dict[Command, Function] = {}  # with what has to be done besides at present
        self._records = False  # there is anything
        self._recorded: dict[bool, Tables] = {}  # of these, by whether writes are followed, too
        self.ways: dict[str | User, Tables] = {}
        self.batches: dict[bytes, tuple[int, Batch, Times]] = {}
        """By name: how many arguments, the batch form, where its times are counted."""

        self._limit = NEVER  # nanoseconds from which the slow log or the latency monitor wants to see a command
        self._uncounted: Times = defaultdict(int)  # of commands that are only queued
        self._blocking.runner = self
        self._pause.resume = self.resume
        self._route.on_change = self._cluster.on_change = self.choose_tables
        services[Accesses].on_begin = self._memory.on_change = self._recording_changed
        for name in ("slowlog-log-slower-than", "latency-monitor-threshold"):
            self._config.on_change(name, self.update_limit)
        self.busy: CommandError | None = None  # the answer to commands while a script takes long
        self.update_limit()
        self.build_tables()

    # -- tables

    def build_tables(self) -> None:
        """Make the tables of each way; to be called when commands have changed."""
        registry = self._registry
        self._direct = registry.tables(lambda command: (command.function, command.times))
        self._followed = registry.tables(lambda command: (self._follow_up(command), command.times))
        self._queueing = registry.tables(self._queueing_entry)
        self._none: Tables = [{} for _ in self._direct]
        self._batches = {
            case: (*command.batch, command.times)
            for name, command in registry.commands.items()
            if command.batch is not None
            for case in (name.encode(), name.lower().encode())
        }
        self._recording_changed()

    def _recording_changed(self) -> None:
        """Have commands do from now on what has to be done besides."""
        self._functions.clear()
        self._recorded.clear()
        self.choose_tables()

    def choose_tables(self) -> None:
        """Leave to the direct way what may take it now."""
        route = self._route
        recording = self._records = self._recording.on
        if route.long:
            direct = self._none
        elif recording:
            direct = self._recorded_tables(route.writes_followed)
        else:
            direct = self._followed if route.writes_followed else self._direct
        tracked = direct
        if self._tracking.active and not route.long:
            tracked = self._registry.wrapped(direct, self._remembering)
            direct = self._registry.wrapped(direct, self._invalidating)
        queueing = self._none if route.long or self._cluster.enabled else self._queueing
        if self._tracking.active:
            queueing = self._registry.wrapped(queueing, self._ending)
        if self._cluster.enabled:
            direct, tracked = (self._registry.wrapped(each, self._cluster.wrap) for each in (direct, tracked))
        if route.refusal:
            direct, tracked, queueing = map(self._registry.without_writes, (direct, tracked, queueing))
        ways = {DIRECT: direct, TRACKED: tracked, QUEUE: queueing, NO_WAY: self._none}
        self.ways = Ways(ways, direct, self._registry, self._users, self._deny)
        usual = not (route.long or self._tracking.active or route.refusal or self._cluster.enabled)
        self.batches = self._batches if usual else {}
        if recording and self.batches:
            self.batches = self._recorded_batches()

    def _deny(self, session: Session, command: Command, args: Args) -> bytes:
        """Refuse a call that is not allowed; it is no call that is counted."""
        command.calls -= 1  # as the caller is going to add it
        return self.process(session, args)

    def _function(self, command: Command) -> Function:
        """The command's function, with what has to be done besides at present."""
        if not self._records:
            return command.function
        function = self._functions.get(command)
        if function is None:
            function = self._functions[command] = self._recording.wrapped(command)
        return function

    def _recorded_tables(self, followed: bool) -> Tables:
        tables = self._recorded.get(followed)
        if tables is None:
            make = self._follow_up if followed else self._function
            tables = self._recorded[followed] = self._registry.tables(lambda command: (make(command), command.times))
        return tables

    def _recorded_batches(self) -> dict[bytes, tuple[int, Batch, Times]]:
        wrapped = {
            command: self._recording.batch(command, command.batch[1])
            for command in self._registry.commands.values()
            if command.batch is not None
        }
        return {
            name: (count, wrapped[self._registry.commands[name.decode().upper()]], times)
            for name, (count, _, times) in self._batches.items()
        }

    def _follow_up(self, command: Command) -> Function:
        """Return the command's function, which if it writes also logs what it has changed."""
        changes = "write" in command.flags or ("may_replicate" in command.flags and command.keys[0])
        function = self._function(command)
        # Without keys, or with two databases, it may change another one than the session's.
        everywhere = not command.keys[0] or command.name == "copy"
        return self._aof.following(function, everywhere) if changes else function

    def _invalidating(self, command: Command, function: Function) -> Function:
        """Return what a command does while clients are tracked: those whom its changes concern are told, the client
        that runs it after its reply."""
        if "readonly" in command.flags:
            return function
        tracking = self._tracking

        def invalidating(session: Session, args: Args) -> bytes:
            if tracking.current is not None:
                return function(session, args)  # within EXEC
            tracking.current = session
            try:
                reply = function(session, args)
            except BaseException:
                tracking.failed(session)
                raise
            return tracking.end(session, reply)

        return invalidating

    def _ending(self, command: Command, function: Function) -> Function:
        """Return what a command does in a transaction while clients are tracked: the client is told of what EXEC has
        changed after all of its reply."""
        return self._invalidating(command, function) if command.name == "exec" else function

    def _remembering(self, command: Command, function: Function) -> Function:
        """Return what a command does for a client that is tracked: what it reads is remembered."""
        if "readonly" not in command.flags:
            return self._invalidating(command, function)
        remember, tracking = self._remember, self._tracking

        def remembering(session: Session, args: Args) -> bytes:
            outermost = tracking.current is None
            if outermost:
                tracking.current = session  # a key that has expired is noticed now, perhaps
            try:
                reply = function(session, args)
            except BaseException:
                if outermost:
                    tracking.failed(session)
                raise
            finally:
                remember(session, command, args)
            return tracking.end(session, reply) if outermost else reply

        return remembering

    def _remember(self, session: Session, command: Command, args: Args) -> None:
        """Remember what a client that is tracked has just read."""
        tracker = session.tracking
        if (
            tracker is not None
            and tracker.remembers
            and "readonly" in command.flags
            and command.name not in READ_BY_OTHERS
        ):
            self._tracking.remember(tracker, command.keys_in(args))

    def _queueing_entry(self, command: Command) -> Entry | None:
        """Return what a command does in a transaction that is being queued."""
        if "no_multi" in command.flags:
            return None
        return (command.function, command.times) if command.name in NEVER_QUEUED else (_queue, self._uncounted)

    def update_limit(self) -> None:
        """Follow a change of what is slow."""
        slow, event = self._config.slowlog_log_slower_than, self._config.latency_monitor_threshold
        self._limit = min(slow * 1000 if slow >= 0 else NEVER, event * 1_000_000 or NEVER)

    def settle(self) -> None:
        """Add the latest calls to the statistics of the commands."""
        tracking = self._config.latency_tracking
        for command in self._registry.all():
            if command.times:
                self._totals.commands_processed += command.settle(tracking)
        self._uncounted.clear()

    # -- many commands

    def run(self, session: Session, commands: Iterable[Args], replies: list[bytes]) -> list[bytes]:
        """Run commands in order, adding to ``replies``; those behind one that blocks are kept for later."""
        if session.blocked is not None:
            session.backlog.extend(commands)
            return replies
        if session.closing:
            return replies
        way = session.way or NO_WAY
        tables, limit, append, clock, step = self.ways[way], self._limit, replies.append, perf_counter_ns, STEP_BITS
        pending, function, ready_keys = iter(commands), None, self._ready_keys
        session.replies = replies
        before = clock()
        for args in pending:
            try:
                function, times = tables[len(args)][args[0]]
            except LookupError:
                if not args:
                    continue
                function = None
                reply = self.process(session, args)
                tables, limit, before = self.ways[way], self._limit, clock()
            else:
                try:
                    reply = function(session, args)
                except CommandError as error:
                    reply = self._failed(args, error)
                except Exception:
                    reply = self._broken(args)
                now = clock()
                taken, before = now - before, now
                times[taken >> step] += 1
                if taken >= limit or (session.way is not way and session.blocked is not None):
                    self._judge(session, session.shown(args), taken)
                if ready_keys:
                    self._blocking.serve()
                    before = clock()
            if session.way is way:
                append(reply)
                continue
            if session.blocked is not None:
                session.backlog.extend(pending)
                break
            if session.reply_mode == "on":
                append(reply)
            else:
                session.silenced()
            if session.closing:
                break
            way = session.way or NO_WAY
            tables = self.ways[way]
            if way is QUEUE and type(commands) is list:
                queued = self._queue_up(session, commands, len(commands) - length_hint(pending))
                if queued:
                    append(QUEUED * queued)
                    args = next(islice(pending, queued - 1, queued))
                    before = clock()
        session.replies = None
        if function is not None and args:
            session.last_command = args[0]
        return replies

    def _queue_up(self, session: Session, commands: list[Args], begin: int) -> int:
        """Queue the commands from ``begin`` on, up to one that is not just queued; returns how many."""
        tables, end = self.ways[QUEUE], begin
        try:
            for args in islice(commands, begin, None):
                if tables[len(args)][args[0]][0] is not _queue:
                    break
                end += 1
        except LookupError:
            pass
        assert session.queue is not None, "it is in a transaction"
        session.queue += commands[begin:end]
        return end - begin

    def run_one(self, session: Session, args: Args) -> bytes:
        """Run the only command of a plain session's input; returns its reply, what it sends besides first. It is what
        :meth:`run` does, for half the time."""
        way = session.way or NO_WAY
        try:
            function, times = self.ways[way][len(args)][args[0]]
        except LookupError:
            return b"".join(self.run(session, (args,), []))
        pushed: list[bytes] = []
        session.replies = pushed
        begin = perf_counter_ns()
        try:
            reply = function(session, args)
        except CommandError as error:
            reply = self._failed(args, error)
        except Exception:
            reply = self._broken(args)
        taken = perf_counter_ns() - begin
        times[taken >> STEP_BITS] += 1
        if taken >= self._limit or (session.way is not way and session.blocked is not None):
            self._judge(session, session.shown(args), taken)
        if self._ready_keys:
            self._blocking.serve()
        if session.way is not way:
            if session.blocked is not None:
                reply = b""
            elif session.reply_mode != "on":
                session.silenced()
                reply = b""
        session.replies = None
        session.last_command = args[0]
        return b"".join((*pushed, reply)) if pushed else reply

    def _failed(self, args: Args, error: CommandError) -> bytes:
        """Count a failure; returns the error reply."""
        command = self._registry.find(args)
        if command is not None:
            command.failed += 1
        self._totals.count_error(error)
        return error.reply

    def _broken(self, args: Args) -> bytes:
        log.exception("%r failed", args[0])
        return self._failed(args, _internal_error())

    def run_batch(
        self, session: Session, name: bytes, columns: Sequence[Sequence[bytes]], last: Sequence[bytes], raw: bytes = b""
    ) -> bytes | None:
        """Run several calls of one command at once, given their arguments by columns, and the bytes that they came as
        if these are nothing else; returns the replies, or None if it has to be done one by one."""
        _, batch, times = self.batches[name]
        begin = perf_counter_ns()
        database = session.db
        before = database.changes
        output = batch(session, *columns, last)
        if output is None:
            return None
        if database.changes != before and self._aof.logging:
            self._aof.record_rows(session, name, [*columns, last], raw)
        each = (perf_counter_ns() - begin) // len(last)
        if each >= self._limit:
            for row in zip(repeat(name), *columns, last):
                self._judge(session, list(row), each)
        times[each >> STEP_BITS] += len(last)
        session.last_command = name
        return output

    def resume(self, session: Session) -> None:
        """Run what a session has sent while it was blocked."""
        if session.backlog or session.parser.error is not None:
            backlog, session.backlog, session.backlog_bytes = session.backlog, type(session.backlog)(), 0
            session.update_plain()
            replies = self.run(session, backlog, [])
            replies.append(session.protocol_error())
            session.push(b"".join(replies))
            if session.conn is not None and session.closing:
                session.conn.write(session.take_outbox())
                session.conn.close()
        session.update_plain()

    # -- one command, the long way

    def process(self, session: Session, args: Args) -> bytes:
        """Check and run one command; returns its reply, an error reply included."""
        command = self._registry.find(args)
        reply = self._process(session, command, args)
        tracker = session.tracking
        if tracker is not None and tracker.caching and session.queue is None and not _of_client(command):
            tracker.caching = False  # CLIENT CACHING is about the next command, or transaction
            session.update_plain()
        return reply

    def _process(self, session: Session, command: Command | None, args: Args) -> bytes:
        try:
            if command is None:
                return self._unknown(session, args)
            session.last_command = command.name
            self._check(session, command, args)
        except _Paused:
            self._pause.postpone(session, args)
            return b""
        except CommandError as error:
            return self._rejected(session, command, args, error)
        if session.queue is not None and command.name not in NEVER_QUEUED:
            return _queue(session, args)
        tracking = self._tracking
        if tracking.active and tracking.current is None:  # else a script is under way, and takes long
            tracking.current = session
            reply = tracking.end(session, self._reply(session, command, args))
        else:
            reply = self._reply(session, command, args)
        if self._keyspace.ready_keys and self.busy is None:
            self._blocking.serve()
        return reply

    def _unknown(self, session: Session, args: Args) -> bytes:
        if args[0].lower() not in HTTP:
            raise _unknown(args)
        log.warning("closing client %d: %r is HTTP, sent by a browser perhaps", session.id, args[0])
        session.closing = True
        session.update_plain()
        return b""

    def _check(self, session: Session, command: Command, args: Args) -> None:
        """Raise :class:`CommandError` for a command that may not run now, and :class:`_Paused` for one that has to
        wait."""
        if command.subcommands and (len(args) > 1 or command.arity == -2):
            raise _unknown_subcommand(command, args)
        if not command.accepts(len(args)):
            raise wrong_arity(command.name)
        if not session.authenticated and "no_auth" not in command.flags:
            raise CommandError("NOAUTH Authentication required.")
        if self.busy is not None and "allow_busy" not in command.flags:
            raise self.busy
        if session.queue is not None and "no_multi" in command.flags:
            raise CommandError("ERR Command not allowed inside a transaction")
        if not session.user.unrestricted:
            denied = self.denied(session, command, args, "toplevel" if session.queue is None else "multi")
            if denied:
                raise CommandError(f"NOPERM {DENIED[denied].format(command.name)}")
        if self._memory.exceeded and not self._memory.make_room() and self._any(session, command, "denyoom"):
            raise CommandError(OOM)
        if self._cluster.enabled:
            self._cluster.check(session, command, args)
        if self._route.stale and not self._all(session, command, "stale"):
            raise CommandError(self._route.stale)
        if self._route.loading and not self._all(session, command, "loading"):
            raise CommandError(self._route.loading)
        if self._route.refusal and self._any(session, command, "write"):
            raise CommandError(self._route.refusal)
        if session.subscribed and session.resp.version == 2 and command.name not in SUBSCRIBED:
            raise CommandError(
                f"ERR Can't execute '{command.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are"
                " allowed in this context"
            )
        if session.monitor and command.flags & {"write", "readonly", "may_replicate"}:
            raise CommandError("ERR Replica can't interact with the keyspace")
        if self._pause.active and self._pause.holds(session, command, args):
            raise _Paused

    def denied(self, session: Session, command: Command, args: Args, context: str) -> str:
        """Return why the user of a client may not run a command, ``command``, ``key`` or ``channel``, and note that in
        the log of the rules; empty if it may."""
        denial = self._users.denial(session.user, command, args)
        if denial is None:
            return ""
        name = session.user.name.encode("utf-8", "surrogateescape")
        self._acl_log.add(Denied(denial[0], context, denial[1], name, describe(session, args)))
        return denial[0]

    def _any(self, session: Session, command: Command, flag: str) -> bool:
        """Return True if it has the flag or, of EXEC, if a command has that it would run."""
        if command.name != "exec" or session.queue is None:
            return flag in command.flags
        queued = map(self._registry.find, session.queue)
        return any(each is not None and flag in each.flags for each in queued)

    def _all(self, session: Session, command: Command, flag: str) -> bool:
        """Return True if it has the flag or, of EXEC, if all commands have that it would run."""
        if command.name != "exec" or session.queue is None:
            return flag in command.flags
        queued = map(self._registry.find, session.queue)
        return all(each is not None and flag in each.flags for each in queued)

    def _rejected(self, session: Session, command: Command | None, args: Args, error: CommandError) -> bytes:
        """Count a command that did not run; returns the error reply."""
        session.dirty_exec = True  # matters in a transaction only
        if command is not None and not command.subcommands:
            command.rejected += 1
        if args[0].upper() == b"EXEC":
            session.leave_multi()
            if self._monitors:
                self._monitors.feed(session, [b"exec"])
            if isinstance(error, Redirection):
                self._totals.count_error(error)
                return error.reply
            error = CommandError(f"EXECABORT Transaction discarded because of: {str(error).removeprefix('ERR ')}")
        self._totals.count_error(error)
        return error.reply

    def _reply(self, session: Session, command: Command, args: Args) -> bytes:
        try:
            return self.call(session, command, args)
        except CommandError as error:
            self._totals.count_error(error)
            return error.reply

    def call(self, session: Session, command: Command, args: Args) -> bytes:
        """Run a command that is allowed to, and do what follows from it. Raises :class:`CommandError`."""
        aof, long = self._aof, self._route.long
        logged_from = aof.begin(session) if aof.logging else None
        if long:
            self._remove_expired_keys(session, command, args)
            self._note_absent_keys(session, command, args)
        begin = perf_counter_ns()
        try:
            return (self._function(command) if self._records else command.function)(session, args)
        except CommandError:
            command.failed += 1
            raise
        except Exception:
            command.failed += 1
            log.exception("%s failed", command.name)
            raise _internal_error() from None
        finally:
            taken = perf_counter_ns() - begin
            command.times[taken >> STEP_BITS] += 1
            if logged_from is not None and aof.logging:
                aof.end(session, command, args, logged_from)
            shown = args
            if session.redacted is not None:
                shown, session.redacted = session.shown(args), None
            if session.tracking is not None:
                self._remember(session, command, args)
            if long:
                self._keyspace.absent.clear()
                self._note_volatile_keys(session, command, args)
                self._show(session, command, shown)
            if taken >= self._limit or session.blocked is not None:
                self._judge(session, shown, taken)

    def _note_absent_keys(self, session: Session, command: Command, args: Args) -> None:
        """Have the keyspace notify of keys that the command creates."""
        if "n" in self._keyspace.events and "write" in command.flags:
            self._keyspace.absent = {key for key in command.keys_in(args) if not session.db.has(key)}

    def _remove_expired_keys(self, session: Session, command: Command, args: Args) -> None:
        """On a replica that its clients may write to, have them find no expiry time of a key that is not there."""
        database = session.db
        if self._keyspace.own_volatile is not None and database.expires and "write" in command.flags:
            for key in command.keys_in(args):
                if not database.lives(key):
                    database.expire(key)

    def _note_volatile_keys(self, session: Session, command: Command, args: Args) -> None:
        """On a replica, keep in mind which keys its own clients have made volatile."""
        own, expires = self._keyspace.own_volatile, session.db.expires
        if own is not None and "write" in command.flags:
            own.update(((session.db, key), None) for key in command.keys_in(args) if key in expires)

    def _show(self, session: Session, command: Command, args: Args) -> None:
        if self._monitors and command.flags.isdisjoint(("skip_monitor", "admin")):
            self._monitors.feed(session, args)

    def _judge(self, session: Session, args: Args, taken: int) -> None:
        """Tell the latency monitor and the slow log of a command that took so many nanoseconds, if that is much. One
        that waits is slow or not when it has been served."""
        command = self._registry.find(args)
        if command is None or (session.queue is not None and command.name not in NEVER_QUEUED):
            return  # it was only queued, which is not what these are about
        self._latency.sample("fast-command" if "fast" in command.flags else "command", taken / 1e9)
        if isinstance(session.blocked, Waiter):
            session.blocked.args, session.blocked.taken = args, taken
        elif "skip_slowlog" not in command.flags:
            self._slowlog.add(session, args, taken)

    # -- transactions

    def run_atomically(self, session: Session, queue: list[Args]) -> list[bytes]:
        """Run what EXEC found queued; time stands still and nothing blocks. One that fails does not stop the others."""
        clock, aof = self._keyspace.clock, self._aof
        clock.frozen = clock.ms()
        session.atomic = True
        session.executing = queue
        if aof.logging:
            aof.begin_transaction()
        try:
            return self._run_each(session, queue)
        finally:
            session.atomic = False
            session.executing = None
            clock.frozen = 0
            if aof.logging:
                aof.end_transaction(session)

    def _run_each(self, session: Session, queue: list[Args]) -> list[bytes]:
        restricted = not session.user.unrestricted
        way = NO_WAY if restricted else session.reading_way
        tables, limit, clock, step = self.ways[way], self._limit, perf_counter_ns, STEP_BITS
        replies: list[bytes] = []
        before = clock()
        for args in queue:
            try:
                function, times = tables[len(args)][args[0]]
            except LookupError:
                command = self._registry.find(args)
                assert command is not None, "it was checked when it was queued"
                if restricted and (denied := self.denied(session, command, args, "multi")):
                    replies.append(self._failed(args, CommandError(RULES_CHANGED + NO_LONGER[denied])))
                else:
                    replies.append(self._reply(session, command, args))
                restricted = not session.user.unrestricted
                way = NO_WAY if restricted else session.reading_way
                tables, limit, before = self.ways[way], self._limit, clock()
                continue
            try:
                reply = function(session, args)
            except CommandError as error:
                reply = self._failed(args, error)
            except Exception:
                reply = self._broken(args)
            replies.append(reply)
            now = clock()
            taken, before = now - before, now
            times[taken >> step] += 1
            if taken >= limit:
                self._judge(session, session.shown(args), taken)
        return replies

    # -- clients that wait

    def attempt(self, waiter: Waiter, key: bytes) -> bytes | None:
        """Have a waiter try a key; returns its reply, or None."""
        session, aof = waiter.session, self._aof
        logged_from = aof.begin(session) if aof.logging else None
        before = self._values(waiter) if self._memory.usage.counting else ()
        tracking = self._tracking
        if tracking.active:
            tracking.current = session
        begin = perf_counter_ns()
        try:
            reply = waiter.attempt(key)
        except CommandError as error:
            reply = self._failed(waiter.args, error)
        if tracking.current is not None:
            reply = None if reply is None else tracking.end(session, reply, waited=True)
            tracking.current = None
        for changed, value in before:
            self._recording.settle(waiter.database, changed, value, waiter.args)
        if reply is not None:
            if logged_from is not None:
                aof.end(session, None, [], logged_from)
            self._slowlog.add(session, waiter.args, waiter.taken + perf_counter_ns() - begin)
        return reply

    def _values(self, waiter: Waiter) -> list[tuple[bytes, Any]]:
        """The keys that a waiting command may change, with their values."""
        command = self._registry.find(waiter.args)
        keys = command.keys_in(waiter.args) if command is not None else ()
        return [(key, waiter.database.lookup(key)) for key in keys]

    def unblocked(self, session: Session, error: CommandError) -> None:
        """Count the error with which CLIENT UNBLOCK ends a client's waiting."""
        last = session.last_command
        self._failed([last if isinstance(last, bytes) else last.encode()], error)


def _of_client(command: Command | None) -> bool:
    return command is not None and command.name.startswith("client|")


def _queue(session: Session, args: Args) -> bytes:
    assert session.queue is not None, "it is in a transaction"
    session.queue.append(args)
    return QUEUED


def _internal_error() -> CommandError:
    return CommandError("ERR internal error, see the server's log")


def _shown(argument: bytes) -> str:
    return argument.partition(b"\0")[0].decode("utf-8", "surrogateescape")  # Redis's strings end there


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
