"""Runs of scripts and functions: what they may call, how long they have, and how they are ended.

A script runs to its end before anything else does, as in Redis. Once it has run for ``busy-reply-threshold``, others
are served while it goes on: they are answered BUSY, unless they end it (SCRIPT KILL, FUNCTION KILL, SHUTDOWN NOSAVE).
One that has written cannot be killed, as it must be all or nothing, until only its reply is missing.

https://redis.io/docs/latest/develop/interact/programmability/#script-timeout
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from ..acl.users import Users
from ..clients.session import Session
from ..clients.tracking import Tracking
from ..cluster.cluster import Cluster
from ..config.config import Config
from ..errors import CommandError
from ..execution.dispatcher import Dispatcher
from ..execution.recording import OOM
from ..keyspace.keyspace import Keyspace
from ..model.command import Args, Command, Registry
from ..model.route import Route
from ..persistence import AppendOnlyFile
from ..process.running import Running
from ..protocol.resp import RESP2, RESP3
from ..stats.memory import MemoryLimit
from ..stats.totals import Totals
from .interpreter import Failed, Interpreter

if TYPE_CHECKING:
    from ..model.services import Services

__all__ = ["Run", "Runner"]

log: logging.Logger = logging.getLogger("evio_redis")

READ_ONLY = "ERR Write commands are not allowed from read-only scripts."
NOT_BUSY = "NOTBUSY No scripts in execution right now."
UNKILLABLE = (
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script"
    " termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
)
DENIED = {
    "command": "can't run this command or subcommand",
    "key": "can't access at least one of the keys mentioned in the command arguments",
    "channel": "can't publish to the channel mentioned in the command",
}
REPL_AOF = 1

LOAD_TIMEOUT = 0.5
"""Seconds that a library may take to register its functions."""

NO_FLAGS: frozenset[str] = frozenset()


class Run:
    """One that is under way. ``name`` is a script's SHA-1 or a function's name, ``kind`` SCRIPT or FUNCTION."""

    __slots__ = (
        "args",
        "begun",
        "checks_memory",
        "ended",
        "keys",
        "killed",
        "kind",
        "logs",
        "name",
        "read_only",
        "session",
        "wrote",
    )

    def __init__(
        self, session: Session, args: Args, keys: Args, name: str, kind: str, read_only: bool, checks_memory: bool
    ) -> None:
        self.session = session
        self.args = args
        self.keys = keys
        self.name = name
        self.kind = kind
        self.read_only = read_only
        self.checks_memory = checks_memory
        self.begun: float = monotonic()
        self.wrote: bool = False
        self.logs: bool = True
        self.ended: bool = False
        self.killed: bytes | None = None  # why it has to end

    @property
    def busy_error(self) -> CommandError:
        """The answer to others while it goes on."""
        return CommandError(
            f"BUSY Redis is busy running a script. You can only call {self.kind} KILL or SHUTDOWN NOSAVE."
        )

    @property
    def milliseconds(self) -> int:
        """The time that it has run."""
        return int((monotonic() - self.begun) * 1000)


class Runner:
    """Runs scripts and functions, one at a time; the :class:`Host` of both interpreters."""

    def __init__(self, services: Services) -> None:
        self._config = services[Config]
        self._keyspace = services[Keyspace]
        self._registry = services[Registry]
        self._memory = services[MemoryLimit]
        self._totals = services[Totals]
        self._aof = services[AppendOnlyFile]
        self._route = services[Route]
        self._cluster = services[Cluster]
        self._running = services[Running]
        self._dispatcher = services[Dispatcher]
        self._tracking = services[Tracking]
        self._users = services[Users]
        self.let_others: Callable[[], None] = lambda: None  # lets other loops run commands; set by the server
        self._own = Session(services, None, 0)
        self._own.scripted = True
        self.run: Run | None = None
        """The one that is under way."""

        self.denies: bool = True
        """False if scripts may call all commands, which some cannot stand: for tests (DEBUG)."""

        self._busy = False
        self._deadline = 0.0
        self._load_deadline = 0.0
        self._counted: set[str] = set()  # the errors of what it has called

    # -- running one

    def execute(
        self,
        session: Session,
        args: Args,
        interpreter: Interpreter,
        function: object,
        name: str,
        kind: str,
        flags: frozenset[str] | None,
        keys: Args,
        arguments: Args,
        read_only: bool,
    ) -> bytes:
        """Run a script (``kind`` SCRIPT; ``flags`` of its first line, None without it) or a function (FUNCTION) for a
        session; returns the encoded reply. Raises :class:`CommandError`."""
        if flags is not None:
            self._check(flags, read_only)
        elif self._route.stale:
            raise CommandError(self._route.stale)
        aof, clock, own = self._aof, self._keyspace.clock, self._own
        declared = flags or NO_FLAGS
        own.resp = RESP2
        own.db, own.user, own.atomic, own.authenticated = session.db, session.user, True, True
        checks_memory = "allow-oom" not in declared and self._memory.exceeded
        read_only = read_only or "no-writes" in declared
        run = self.run = Run(session, args, keys, name, kind, read_only, checks_memory)
        self._counted.clear()
        self._deadline = run.begun + self._config.busy_reply_threshold / 1000
        nested = session.atomic  # in a transaction
        if not nested:
            clock.frozen = clock.ms()
            if aof.logging:
                aof.begin_transaction()
        try:
            return interpreter.run(function, keys, arguments, session.resp.version)
        except Failed as failed:
            raise self._error(run, failed) from None
        finally:
            self.run = None
            if self._busy:
                self._end_busy(run)
            if not nested:
                clock.frozen = 0
                if aof.logging:
                    aof.end_transaction(session)

    def load(self, interpreter: Interpreter, function: object) -> list[tuple[bytes, object, bytes | None, list[bytes]]]:
        """Run the text of a library. Raises :class:`Failed`."""
        self._load_deadline = monotonic() + LOAD_TIMEOUT
        try:
            return interpreter.load(function)
        finally:
            self._load_deadline = 0.0

    def _error(self, run: Run, failed: Failed) -> CommandError:
        """Return the error of a script; the statistics have it already if a command that it has called failed with
        it."""
        text = failed.text.decode("utf-8", "surrogateescape")
        where = f" script: {run.name}" if failed.line != -1 else ""  # -1: it returned an error
        if failed.line not in (None, -1):
            where += f", on @user_{run.kind.lower()}:{failed.line}."
        failure = CommandError(text + where)
        failure.counted = text in self._counted
        return failure

    def _check(self, flags: frozenset[str], read_only: bool) -> None:
        """Check as Redis does a function, or a script that declares itself in its first line."""
        if self._route.stale and "allow-stale" not in flags:
            raise CommandError(self._route.stale)
        if "no-writes" in flags:
            return
        if read_only:
            raise CommandError("ERR Can not execute a script with write flag using *_ro command.")
        if self._route.refusal:
            raise CommandError(self._route.refusal)
        if self._memory.exceeded and "allow-oom" not in flags:
            raise CommandError(OOM)

    # -- ending one

    def kill(self, kind: str) -> None:
        """End what is under way, if it is of this kind. Raises :class:`CommandError`."""
        run = self.run
        if run is None:
            raise CommandError(NOT_BUSY)
        if run.wrote and not run.ended:
            raise CommandError(UNKILLABLE)
        if run.kind != kind:
            raise run.busy_error
        run.killed = b"Script killed by user with SCRIPT KILL..."

    def overdue(self, ended: bool) -> bytes | None:
        """Return why a script has to end now, None if it has not; asked every now and then. Others are served once it
        has run for long."""
        now = monotonic()
        if self._load_deadline:
            return b"FUNCTION LOAD timeout" if now > self._load_deadline else None
        run = self.run
        if run is None or now < self._deadline:
            return None
        if not self._busy:
            self._begin_busy(run)
        run.ended = ended
        self._serve_others(run, ended)
        if run.killed is not None:
            log.warning("Lua script killed by user with SCRIPT KILL.")
        return run.killed

    def _begin_busy(self, run: Run) -> None:
        self._busy = True
        log.warning(
            "Slow script detected: still in execution after %d milliseconds. You can try killing the script using the"
            " %s KILL command. Script name is: %s.",
            *(run.milliseconds, run.kind, run.name),
        )
        self._dispatcher.busy = run.busy_error
        self._route.hold("a script that takes long")
        if run.session.conn is not None:
            run.session.conn.pause_reading()

    def _end_busy(self, run: Run) -> None:
        self._busy = False
        self._dispatcher.busy = None
        self._route.release("a script that takes long")
        if run.session.conn is not None:
            run.session.conn.resume_reading()

    def _serve_others(self, run: Run, ended: bool) -> None:
        core = self._running.core
        if core is None:
            return
        self.let_others()
        if not core.serve_others() and run.killed is None:
            run.killed = b"the server shuts down"
            if run.wrote and not ended:
                self._aof.abandon_transaction()

    # -- what scripts call

    def call(self, args: Args) -> tuple[bytes | CommandError, bool]:
        """Run one command; returns its reply, and whether it is an error."""
        run = self.run
        assert run is not None, "a script runs"
        try:
            return self._checked(run, args), False
        except CommandError as error:
            self._totals.count_error(error)
            self._counted.add(str(error))
            return error, True

    def _checked(self, run: Run, args: Args) -> bytes:
        command = self._registry.find(args)
        if command is None or (command.subcommands and len(args) > 1):
            raise CommandError("ERR Unknown Redis command called from script")
        try:
            self._check_call(run, command, args)
        except CommandError:
            command.rejected += 1
            raise
        aof = self._aof
        logging_before = aof.logging
        if not run.logs:
            aof.logging = False
        try:
            return self._dispatcher.call(self._own, command, args)
        finally:
            aof.logging = logging_before
            tracker = run.session.tracking
            if tracker is not None and tracker.remembers and "readonly" in command.flags:
                self._tracking.remember(tracker, run.keys)  # what the call declares, not what it reads

    def _check_call(self, run: Run, command: Command, args: Args) -> None:
        if not command.accepts(len(args)):
            raise CommandError("ERR Wrong number of args calling Redis command from script")
        if "noscript" in command.flags and self.denies:
            raise CommandError("ERR This Redis command is not allowed from script")
        if self._route.stale and "stale" not in command.flags:
            raise CommandError("ERR Can not execute the command on a stale replica")
        if not self._own.user.unrestricted:
            denied = self._dispatcher.denied(run.session, command, args, "lua")
            if denied:
                raise CommandError(f"ERR The user executing the script {DENIED[denied]}")
        if self._cluster.map is not None:
            self._cluster.check_script(run.session, command, args)
        if "write" in command.flags:
            self._check_write(run, command)
        elif run.read_only and "may_replicate" in command.flags:
            raise CommandError(READ_ONLY)
        elif run.checks_memory and not run.wrote and "denyoom" in command.flags:
            raise CommandError(OOM)

    def _check_write(self, run: Run, command: Command) -> None:
        if run.read_only:
            raise CommandError(READ_ONLY)
        if self._route.refusal:
            raise CommandError(self._route.refusal)
        if run.checks_memory and not run.wrote and "denyoom" in command.flags:
            raise CommandError(OOM)
        run.wrote = True

    def allowed(self, words: Args) -> bool | None:
        """Tell whether the client that runs the script may run a command; None if there is no such."""
        command = self._registry.find(words)
        if command is None or command.subcommands:
            return None
        return self._users.denial(self._own.user, command, words) is None

    def set_resp(self, version: int) -> None:
        """Follow ``redis.setresp``."""
        self._own.resp = RESP3 if version == 3 else RESP2

    def set_repl(self, flags: int) -> None:
        """Follow ``redis.set_repl``."""
        assert self.run is not None, "a script runs"
        self.run.logs = bool(flags & REPL_AOF)
