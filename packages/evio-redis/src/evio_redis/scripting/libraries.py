"""Libraries of functions: FUNCTION and FCALL.

A library is a text that registers its functions when it is loaded. The texts are kept: in the append-only file as the
commands that loaded them, in snapshots each behind an opcode (``FUNCTION2``).

https://redis.io/docs/latest/develop/interact/programmability/functions-intro/
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import CommandError
from ..keyspace.functions import Texts
from ..keyspace.keyspace import Keyspace
from ..model.command import Args
from ..protocol.quoting import one_line
from .interpreter import NO_INTERPRETER, Failed, Interpreter, NoInterpreter
from .replies import to_lua
from .runner import Runner
from .source import parse_library

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..model.services import Services

__all__ = ["Function", "Libraries", "Library"]

log: logging.Logger = logging.getLogger("evio_redis")

BAD_NAME = "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long"
_NAME = re.compile(rb"[A-Za-z0-9_]+\Z").match


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function that was registered."""

    name: bytes
    callback: Any
    description: bytes | None
    flags: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """A library that was loaded, and its text."""

    name: bytes
    code: bytes
    functions: dict[bytes, Function]


class Libraries(Texts):
    """The libraries of one server, by name."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._runner = services[Runner]
        self._keyspace = services[Keyspace]
        self._interpreter = Interpreter(self._runner, to_lua, functions=True)
        self.loaded: dict[bytes, Library] = {}
        self._functions: dict[bytes, Function] = {}
        self._keyspace.functions = self

    @property
    def count(self) -> int:
        """The number of functions."""
        return len(self._functions)

    @property
    def size(self) -> int:
        """Bytes of all texts."""
        return sum(len(library.code) for library in self.loaded.values())

    @property
    def memory(self) -> int:
        """Bytes that the interpreter uses."""
        return self._interpreter.memory

    # -- changing

    def codes(self) -> list[bytes]:
        """Return the texts, for a file; also those for which there is no interpreter."""
        return [*super().codes(), *(library.code for library in self.loaded.values())]

    def keep(self, code: bytes, replace: bool = False) -> None:
        """Load a library that a file has; with ``replace``, also in place of one of that name. Raises ``ValueError``
        for one that cannot be loaded."""
        try:
            self.load(code, replace)
        except NoInterpreter:
            log.warning("a library of functions is kept, but cannot be called: %s", NO_INTERPRETER)
            super().keep(code)
        except CommandError as error:
            raise ValueError(f"a library of functions: {one_line(str(error))}") from None

    def restore(self, codes: Iterable[bytes], flush: bool = False, replace: bool = False) -> None:
        """Load several libraries, all or none; ``flush``: in place of those that there are. Raises
        :class:`CommandError`."""
        libraries = {} if flush else dict(self.loaded)
        for code in codes:
            name = parse_library(code)[0]
            if name in libraries and not replace:
                raise CommandError(f"ERR Library {_text(name)} already exists")
            self._add(libraries, code, replace)
        self._adopt(libraries)

    def load(self, code: bytes, replace: bool = False) -> Library:
        """Load a library; with ``replace``, also in place of one of that name. Raises :class:`CommandError`."""
        libraries = dict(self.loaded)
        library = self._add(libraries, code, replace)
        self._adopt(libraries)
        return library

    def delete(self, name: bytes) -> None:
        """Delete a library. Raises :class:`CommandError`."""
        if name not in self.loaded:
            raise CommandError("ERR Library not found")
        self._adopt({other: library for other, library in self.loaded.items() if other != name})

    def clear(self) -> None:
        """Delete all libraries, and whatever they may have left in the interpreter."""
        super().clear()
        self._adopt({})
        self._interpreter.forget()

    def _adopt(self, libraries: dict[bytes, Library]) -> None:
        self.loaded = libraries
        self._functions = {
            name.lower(): function for library in libraries.values() for name, function in library.functions.items()
        }

    def _add(self, libraries: dict[bytes, Library], code: bytes, replace: bool) -> Library:
        name, engine, text = parse_library(code)
        if not _NAME(name):
            raise CommandError(f"ERR {BAD_NAME}")
        if engine.lower() != "lua":
            raise CommandError(f"ERR Engine '{engine}' not found")
        if name in libraries and not replace:
            raise CommandError(f"ERR Library '{_text(name)}' already exists")
        library = Library(name, code, self._functions_of(text))
        for other in libraries.values():
            names = {each.lower() for each in other.functions} if other.name != name else set()
            for each in library.functions:
                if each.lower() in names:
                    raise CommandError(f"ERR Function {_text(each)} already exists")
        libraries.pop(name, None)
        libraries[name] = library
        return library

    def _functions_of(self, text: bytes) -> dict[bytes, Function]:
        chunk, problem = self._interpreter.compile(text)
        if chunk is None:
            raise CommandError(f"ERR Error compiling function: {problem}")
        try:
            registered = self._runner.load(self._interpreter, chunk)
        except Failed as failed:
            raise CommandError(f"ERR Error registering functions: {_text(failed.text)}") from None
        if not registered:
            raise CommandError("ERR No functions registered")
        return {
            name: Function(name, callback, description, frozenset(map(_text, flags)))
            for name, callback, description, flags in registered
        }

    # -- calling

    def find(self, name: bytes) -> Function | None:
        """Return a function, None if there is none of that name, in upper or lower case."""
        return self._functions.get(name.lower())

    def call(
        self, session: Session, args: Args, function: Function, keys: Args, arguments: Args, read_only: bool
    ) -> bytes:
        """Call a function for a session, whose command is ``args``; returns the encoded reply. Raises
        :class:`CommandError`."""
        return self._runner.execute(
            *(session, args, self._interpreter, function.callback, _text(function.name), "FUNCTION", function.flags),
            *(keys, arguments, read_only),
        )


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
