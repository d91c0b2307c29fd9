"""A Lua interpreter with the sandbox in which scripts run. EVAL has one, functions have another."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ..errors import CommandError
from ..protocol.resp import RESP2, RESP3, bulk
from .bits import BITS
from .source import without_tail_calls

__all__ = ["NO_INTERPRETER", "Failed", "Host", "Interpreter", "NoInterpreter"]

log: logging.Logger = logging.getLogger("evio_redis")

NO_INTERPRETER = "ERR scripts need a Lua interpreter: pip install 'evio-redis[scripting]'"
NO_MEMORY = b"ERR not enough memory"

MOST_MEMORY = 1 << 30
"""Bytes that the interpreter may use while a script runs. Redis has no such limit; a script of one line can need more
than there is. Allocation then fails, which is an error in Lua."""

COLLECT_FROM = 64 << 20
"""Bytes that may be left over by a script until the garbage is collected at once."""

MANY = 200
"""Keys and arguments from which a script is given them in tables."""

MARGIN = 1 << 20
"""Bytes that must be left when a function of the server's returns to a script, besides its result."""

STRING, MINUS = b"$-"
"""The first byte of a string's reply, and the second of a null."""

LEVELS = (logging.DEBUG, logging.INFO, logging.INFO, logging.WARNING)
"""The levels of redis.log here."""


class NoInterpreter(CommandError):
    """There is no Lua to run scripts with."""


class Failed(Exception):
    """A script ended with an error: its text, and the line if that is known."""

    def __init__(self, text: bytes, line: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.line = line


class Host(Protocol):
    """The server, as far as scripts see it."""

    def call(self, args: list[bytes]) -> tuple[bytes | CommandError, bool]:
        """Run one command; returns its reply, and whether it is an error."""

    def overdue(self, ended: bool) -> bytes | None:
        """Return why a script has to end now, None if it has not; asked every now and then. ``ended`` says that only
        its reply is missing."""

    def allowed(self, words: list[bytes]) -> bool | None:
        """Tell whether the client that runs the script may run a command; None if there is no such."""

    def set_resp(self, version: int) -> None:
        """Follow ``redis.setresp``."""

    def set_repl(self, flags: int) -> None:
        """Follow ``redis.set_repl``."""


class Interpreter:
    """One, which is made when it is first needed. ``functions``: it is for libraries of functions."""

    def __init__(self, host: Host, to_lua: Callable[[bytes, Any], Any], functions: bool = False) -> None:
        self._host = host
        self._to_lua = to_lua
        self._functions = functions
        self._lua: Any = None
        self._parts: Any = None
        self._memory_error: type[Exception] = MemoryError
        self._used = 0  # bytes, after what it did last

    @property
    def memory(self) -> int:
        """Bytes that it uses."""
        return 0 if self._lua is None else int(self._lua.get_memory_used(total=True))

    def forget(self) -> None:
        """Drop it, and everything that was left in it."""
        self._lua = self._parts = None

    def compile(self, code: bytes) -> tuple[Any, str]:
        """Compile a text; returns the function, or None and what is wrong."""
        self._start()
        function, problem = self._parts.compile(without_tail_calls(code))
        self._used = self._lua.get_memory_used()
        return function, problem.decode("utf-8", "surrogateescape") if function is None else ""

    def load(self, function: Any) -> list[tuple[bytes, Any, bytes | None, list[bytes]]]:
        """Run the text of a library; returns what it has registered: name, function, description and flags of each.
        Raises :class:`Failed`."""
        found, error = self._guard(lambda: self._parts.load(function))
        self._used = self._lua.get_memory_used()
        if found is None:
            raise Failed(error)
        return [
            (each[b"name"], each[b"callback"], each[b"description"] or None, list(each[b"flags"].values()))
            for each in found.values()
        ]

    def run(self, function: Any, keys: list[bytes], arguments: list[bytes], resp: int) -> bytes:
        """Run a script or a function; returns its encoded reply. Raises :class:`Failed`."""
        lua, parts, count = self._lua, self._parts, len(keys)
        words, size = [*keys, *arguments], self._used
        if len(words) < MANY:
            for word in words:
                size += len(word)
        if len(words) < MANY and size < MOST_MEMORY - MARGIN:
            # To make tables here takes longer than all the rest. What ``_guard`` does is written out.
            lua.set_max_memory(MOST_MEMORY)
            try:
                result = parts.run(function, resp, count, None, *words)
            except self._memory_error:
                result = parts.exhausted()
            finally:
                lua.set_max_memory(0)
        else:  # without a limit: see ``_guarded``
            given = lua.table_from(keys), lua.table_from(arguments)
            result = self._guard(lambda: parts.run(function, resp, *given))
        self._used = lua.get_memory_used()
        if self._used > COLLECT_FROM:
            parts.collect()
            self._used = lua.get_memory_used()
        if type(result) is bytes:
            return bulk(result)
        reply: bytes | None = result[0]
        if reply is None:
            raise Failed(*result[1:])
        if reply.startswith(b"-"):
            raise Failed(reply[1:-2], -1)
        return reply

    def _guard(self, run: Callable[[], Any]) -> Any:
        lua, parts = self._lua, self._parts
        lua.set_max_memory(MOST_MEMORY)
        try:
            return run()
        except self._memory_error:
            return parts.exhausted()
        finally:
            lua.set_max_memory(0)

    def _start(self) -> None:
        if self._lua is not None:
            return
        try:
            from lupa.lua51 import LuaMemoryError, LuaRuntime
        except ImportError:
            raise NoInterpreter(NO_INTERPRETER) from None
        # Scripts never get hold of a Python object; if one did, it could do nothing with it.
        lua = LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_no_attribute,
            max_memory=0,
        )
        folder, host = Path(__file__).parent, self._host
        functions = {
            b"source": lambda name: (folder / f"{name.decode()}.lua").read_bytes(),
            b"call": self._call,
            b"call_with": lambda table: self._call(*(table[at] for at in range(1, len(table) + 1))),
            b"overdue": host.overdue,
            b"bit": lambda name, *numbers: BITS[name](*numbers),
            b"sha1hex": lambda text: hashlib.sha1(text, usedforsecurity=False).hexdigest().encode(),
            b"log": lambda level, text: log.log(LEVELS[int(level)], "%s", text.decode("utf-8", "replace")),
            b"double": lambda number, resp: (RESP3 if resp == 3 else RESP2).double(float(number)),
            b"allowed": lambda *words: host.allowed([word for word in words if word is not None]),
            b"setresp": host.set_resp,
            b"set_repl": lambda flags: host.set_repl(int(flags)),
        }
        exceeded = secrets.token_bytes(16)
        given: dict[bytes, Any] = {name: self._guarded(lua, function, exceeded) for name, function in functions.items()}
        given |= {b"exceeded": exceeded, b"unlimit": lambda: lua.set_max_memory(0), b"functions": self._functions}
        given |= {b"version": b"7.0.15", b"version_number": 0x07000F, b"seed": secrets.randbits(31)}
        parts = _Parts(*lua.execute((folder / "sandbox.lua").read_bytes(), lua.table_from(given)))
        parts.collect()  # what only loading it took
        self._lua, self._parts, self._memory_error = lua, parts, LuaMemoryError

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

    def _call(self, *args: bytes) -> Any:
        reply, failed = self._host.call(list(args))
        if type(reply) is bytes and reply[0] == STRING and reply[1] != MINUS:  # the usual
            return reply[reply.index(b"\r\n") + 2 : -2], failed
        table = self._lua.table_from
        if isinstance(reply, CommandError):
            return table({b"err": str(reply).encode("utf-8", "surrogateescape")}), failed
        return self._to_lua(reply, table), failed


class _Parts:
    """The functions of the sandbox that the server calls."""

    def __init__(self, compile_: Any, load: Any, run: Any, unwatch: Any, collect: Any) -> None:
        self.compile = compile_
        self.load = load
        self.run = run
        self.unwatch = unwatch
        self.collect = collect

    def exhausted(self) -> tuple[None, bytes]:
        """Clean up after a script that had no memory left; returns its error."""
        self.unwatch()
        self.collect()
        return None, NO_MEMORY


def _no_attribute(thing: object, name: object, setting: bool) -> str:
    raise AttributeError("not for scripts")
