"""The scripts of one server and the interpreter that runs them.

A script runs to its end before anything else does, as in Redis; here the loop itself runs it, so that nobody could send
SCRIPT KILL. A script that has run for ``busy-reply-threshold`` and has written nothing is therefore ended; one that has
written goes on, as it must be all or nothing, and the log says so.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from dataclasses import dataclass
from importlib.resources import files
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..acl.users import Users
from ..clients.pause import Pause
from ..clients.session import Session
from ..clients.tracker import Tracker
from ..clients.tracking import Tracking
from ..config.config import Config
from ..errors import CommandError
from ..execution.dispatcher import Dispatcher
from ..execution.recording import OOM
from ..keyspace.keyspace import Keyspace
from ..model.command import Args, Command, Registry
from ..model.route import Route
from ..persistence import AppendOnlyFile
from ..protocol.resp import RESP2, RESP3
from ..stats.memory import MemoryLimit
from ..stats.totals import Totals
from .bits import BITS
from .replies import to_lua
from .source import parse_shebang, without_tail_calls

if TYPE_CHECKING:
    from ..model.services import Services

__all__ = ["Script", "Scripts"]

log = logging.getLogger("evio_redis")

NO_INTERPRETER = "ERR scripts need a Lua interpreter: pip install 'evio-redis[scripting]'"
NO_SUCH_SCRIPT = "NOSCRIPT No matching script. Please use EVAL."
NO_MEMORY = "ERR not enough memory"
READ_ONLY = "ERR Write commands are not allowed from read-only scripts."

MOST_MEMORY = 1 << 30
"""Bytes that the interpreter may use while a script runs. Redis has no such limit; a script of one line can need more
than there is. Allocation then fails, which is an error in Lua."""

COLLECT_FROM = 64 << 20
"""Bytes that may be left over by a script until the garbage is collected at once."""

MARGIN = 1 << 20
"""Bytes that must be left when a function of the server's returns to a script, besides its result."""

LEVELS = (logging.DEBUG, logging.INFO, logging.INFO, logging.WARNING)
"""The levels of redis.log here."""

REPL_AOF = 1

DENIED = {
    "command": "can't run this command or subcommand",
    "key": "can't access at least one of the keys mentioned in the command arguments",
    "channel": "can't publish to the channel mentioned in the command",
}


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """A script that has been compiled."""

    sha: str
    function: Any
    flags: frozenset[str] | None
    """Those of its first line (``#!lua flags=no-writes``); None without such a line."""

    size: int
    """Bytes of its text."""


class Scripts:
    """The scripts that were loaded, by SHA-1, and their runs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._config = services[Config]
        self._keyspace = services[Keyspace]
        self._registry = services[Registry]
        self._memory = services[MemoryLimit]
        self._totals = services[Totals]
        self._aof = services[AppendOnlyFile]
        self._route = services[Route]
        self._dispatcher = services[Dispatcher]
        self._tracking = services[Tracking]
        services[Pause].script_may_write = self.may_write
        self._loaded: dict[str, Script] = {}
        self._lua: Any = None
        self._compile: Any = None
        self._run: Any = None
        self._unwatch: Any = None
        self._collect: Any = None
        self._memory_error: type[Exception] = MemoryError
        # of the script that runs
        self._own = Session(services, None, 0)
        self._session: Session | None = None
        self._read_only = False
        self._checks_memory = False
        self._tracker: Tracker | None = None  # of the client that runs it
        self._keys: Args = []
        self._caller: Session | None = None
        self._wrote = False
        self._logs = True
        self._deadline = 0.0
        self._counted: set[str] = set()  # the errors of what it has called

    def __len__(self) -> int:
        return len(self._loaded)

    def __contains__(self, sha: str) -> bool:
        return sha in self._loaded

    def flush(self) -> None:
        """Forget all scripts, and whatever they may have left in the interpreter."""
        self._loaded.clear()
        self._lua = self._compile = self._run = self._unwatch = self._collect = None

    def find(self, sha: bytes) -> Script:
        """A script that was loaded. Raises :class:`CommandError`, NOSCRIPT."""
        found = self._loaded.get(sha.decode("latin-1").lower())
        if found is None:
            raise CommandError(NO_SUCH_SCRIPT)
        return found

    def may_write(self, text: bytes, loaded: bool) -> bool:
        """Tell whether a script, given by its text or its SHA-1, does not say of itself that it writes nothing."""
        try:
            flags = self.find(text).flags if loaded else parse_shebang(text)[0]
        except CommandError:
            return True
        return flags is None or "no-writes" not in flags

    def load(self, body: bytes) -> Script:
        """Compile a script, or find it. Raises :class:`CommandError`."""
        sha = hashlib.sha1(body, usedforsecurity=False).hexdigest()
        found = self._loaded.get(sha)
        if found is None:
            self._start()
            flags, code = parse_shebang(body)
            function, problem = self._compile(without_tail_calls(code))
            if function is None:
                text = problem.decode("utf-8", "surrogateescape")
                raise CommandError(f"ERR Error compiling script (new function): {text}")
            found = self._loaded[sha] = Script(sha, function, flags, len(body))
        return found

    @property
    def size(self) -> int:
        """Bytes of the texts of all scripts."""
        return sum(script.size for script in self._loaded.values())

    @property
    def memory(self) -> int:
        """Bytes that the interpreter uses."""
        return 0 if self._lua is None else int(self._lua.get_memory_used(total=True))

    def _start(self) -> None:
        if self._lua is not None:
            return
        try:
            from lupa.lua51 import LuaMemoryError, LuaRuntime
        except ImportError:
            raise CommandError(NO_INTERPRETER) from None
        # Scripts never get hold of a Python object; if one did, it could do nothing with it.
        lua = LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_no_attribute,
            max_memory=0,
        )
        folder = files(__package__)
        functions = {
            b"source": lambda name: (folder / f"{name.decode()}.lua").read_bytes(),
            b"call": self._call,
            b"call_with": lambda table: self._call(*(table[at] for at in range(1, len(table) + 1))),
            b"overdue": self._overdue,
            b"bit": lambda name, *numbers: BITS[name](*numbers),
            b"sha1hex": lambda text: hashlib.sha1(text, usedforsecurity=False).hexdigest().encode(),
            b"log": lambda level, text: log.log(LEVELS[int(level)], "%s", text.decode("utf-8", "replace")),
            b"double": lambda number, resp: (RESP3 if resp == 3 else RESP2).double(float(number)),
            b"allowed": self._allowed,
            b"setresp": self._setresp,
            b"set_repl": self._set_repl,
        }
        exceeded = secrets.token_bytes(16)
        host: dict[bytes, Any] = {name: self._guarded(lua, function, exceeded) for name, function in functions.items()}
        host |= {b"exceeded": exceeded, b"unlimit": lambda: lua.set_max_memory(0)}
        host |= {b"version": b"7.0.15", b"version_number": 0x07000F, b"seed": secrets.randbits(31)}
        code = (folder / "sandbox.lua").read_bytes()
        self._compile, self._run, self._unwatch, self._collect = lua.execute(code, lua.table_from(host))
        self._collect()  # what only loading it took
        self._lua, self._memory_error = lua, LuaMemoryError

    def _guarded(self, lua: Any, function: Any, exceeded: bytes) -> Any:
        """No exception becomes a value that a script could catch: it would be a Python object. Memory is not limited
        meanwhile: an allocation that fails ends the function by a jump that Python knows nothing of."""
        set_limit, get_used = lua.set_max_memory, lua.get_memory_used

        def guarded(*arguments: Any) -> Any:
            set_limit(0)
            try:
                result = function(*arguments)
            except Exception:
                log.exception("a script's call failed")
                result = lua.table_from({b"err": b"ERR internal error, see the server's log"}), True
            first = result[0] if type(result) is tuple else result
            room = MARGIN + len(first) if type(first) is bytes else MARGIN
            if get_used() + room > MOST_MEMORY:
                return exceeded
            set_limit(MOST_MEMORY)
            return result

        return guarded

    # -- running one

    def run(self, session: Session, script: Script, keys: Args, arguments: Args, read_only: bool) -> bytes:
        """Run a script for a session; returns the encoded reply. Raises :class:`CommandError`."""
        self._check(script, read_only)
        flags, aof = script.flags or frozenset(), self._aof
        own = self._session = self._own
        own.resp = RESP2
        own.db, own.user, own.atomic, own.authenticated = session.db, session.user, True, True
        self._caller = session
        self._read_only = read_only or "no-writes" in flags
        self._tracker, self._keys = session.tracking, keys
        self._checks_memory = "allow-oom" not in flags and self._memory.exceeded
        self._wrote, self._logs = False, True
        self._counted.clear()
        self._deadline = monotonic() + self._config.busy_reply_threshold / 1000
        clock = self._keyspace.clock
        nested = session.atomic  # in a transaction
        if not nested:
            clock.frozen = clock.ms()
            if aof.logging:
                aof.begin_transaction()
        table = self._lua.table_from
        given = table(keys), table(arguments)
        self._lua.set_max_memory(MOST_MEMORY)
        try:
            result = self._run(script.function, *given, session.resp.version)
        except self._memory_error:
            self._unwatch()
            self._collect()
            result = None, NO_MEMORY.encode()
        finally:
            self._lua.set_max_memory(0)
            self._session = None
            if not nested:
                clock.frozen = 0
                if aof.logging:
                    aof.end_transaction(session)
        if self._lua.get_memory_used() > COLLECT_FROM:
            self._collect()
        if isinstance(result, bytes):
            if result.startswith(b"-"):
                raise self._counted_once(result[1:-2], result[1:-2].decode("utf-8", "surrogateescape"))
            return result
        raise self._counted_once(result[1], self._failed(script, *result))

    def _counted_once(self, error: bytes, shown: str) -> CommandError:
        """Return the error of a script; the statistics have it already if a command that it has called failed with
        it."""
        failure = CommandError(shown)
        failure.counted = error.decode("utf-8", "surrogateescape") in self._counted
        return failure

    def _check(self, script: Script, read_only: bool) -> None:
        """Check as Redis does a script that declares itself in its first line."""
        if script.flags is None or "no-writes" in script.flags:
            return
        if read_only:
            raise CommandError("ERR Can not execute a script with write flag using *_ro command.")
        if self._route.refusal:
            raise CommandError(self._route.refusal)
        if self._memory.exceeded and "allow-oom" not in script.flags:
            raise CommandError(OOM)

    @staticmethod
    def _failed(script: Script, _nothing: None, error: bytes, line: int | None = None) -> str:
        text = error.decode("utf-8", "surrogateescape")
        where = f" script: {script.sha}, on @user_script:{line}." if line is not None else f" script: {script.sha}"
        return text + where

    # -- what scripts call

    def _call(self, *args: bytes) -> Any:
        """Run one command; returns its reply, and whether it is an error."""
        session = self._session
        assert session is not None, "a script runs"
        table = self._lua.table_from
        try:
            reply = self._checked(session, list(args))
        except CommandError as error:
            self._totals.count_error(error)
            self._counted.add(str(error))
            return table({b"err": str(error).encode("utf-8", "surrogateescape")}), True
        return to_lua(reply, table), False

    def _checked(self, session: Session, args: Args) -> bytes:
        command = self._registry.find(args)
        if command is None or (command.subcommands and len(args) > 1):
            raise CommandError("ERR Unknown Redis command called from script")
        try:
            self._check_call(command, args)
        except CommandError:
            command.rejected += 1
            raise
        aof = self._aof
        logging_before = aof.logging
        aof.logging = logging_before and self._logs
        try:
            return self._dispatcher.call(session, command, args)
        finally:
            aof.logging = logging_before
            if self._tracker is not None and self._tracker.remembers and "readonly" in command.flags:
                self._tracking.remember(self._tracker, self._keys)  # what the call declares, not what it reads

    def _check_call(self, command: Command, args: Args) -> None:
        if not command.accepts(len(args)):
            raise CommandError("ERR Wrong number of args calling Redis command from script")
        if "noscript" in command.flags:
            raise CommandError("ERR This Redis command is not allowed from script")
        if not self._own.user.unrestricted and self._caller is not None:
            denied = self._dispatcher.denied(self._caller, command, args, "lua")
            if denied:
                raise CommandError(f"ERR The user executing the script {DENIED[denied]}")
        if "write" in command.flags:
            self._check_write(command)
        elif self._read_only and "may_replicate" in command.flags:
            raise CommandError(READ_ONLY)
        elif self._checks_memory and not self._wrote and "denyoom" in command.flags:
            raise CommandError(OOM)

    def _check_write(self, command: Command) -> None:
        if self._read_only:
            raise CommandError(READ_ONLY)
        if self._route.refusal:
            raise CommandError(self._route.refusal)
        if self._checks_memory and not self._wrote and "denyoom" in command.flags:
            raise CommandError(OOM)
        self._wrote = True

    def _overdue(self, ended: bool) -> bytes | None:
        """Return why a script has to end now, None if it has not. ``ended`` says that only its reply is missing."""
        if monotonic() < self._deadline:
            return None
        threshold = self._config.busy_reply_threshold
        if self._wrote and not ended:
            self._deadline = monotonic() + max(1.0, threshold / 1000)
            log.warning("a script has been running for %d ms or more; it has written, so it goes on", threshold)
            return None
        log.warning("a script was ended after %d ms (busy-reply-threshold)", threshold)
        return b"Script killed: it ran for longer than busy-reply-threshold"

    def _allowed(self, *words: bytes | None) -> bool | None:
        """Tell whether the client that runs the script may run a command; None if there is no such."""
        args = [word for word in words if word is not None]
        command = self._registry.find(args)
        if command is None or command.subcommands:
            return None
        return self._services[Users].denial(self._own.user, command, args) is None

    def _setresp(self, version: int) -> None:
        assert self._session is not None, "a script runs"
        self._session.resp = RESP3 if version == 3 else RESP2

    def _set_repl(self, flags: int) -> None:
        self._logs = bool(int(flags) & REPL_AOF)


def _no_attribute(thing: object, name: object, setting: bool) -> str:
    raise AttributeError("not for scripts")
