"""The scripts of one server: EVAL and its relatives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import CommandError
from ..model.command import Args
from .interpreter import Interpreter
from .replies import to_lua
from .runner import Runner
from .source import parse_shebang

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..model.services import Services

__all__ = ["Script", "Scripts"]

NO_SUCH_SCRIPT = "NOSCRIPT No matching script. Please use EVAL."


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
    """The scripts that were loaded, by SHA-1."""

    def __init__(self, services: Services) -> None:
        self._runner = services[Runner]
        self._interpreter = Interpreter(self._runner, to_lua)
        self._loaded: dict[str, Script] = {}
        self._by_text: dict[bytes, Script] = {}

    def __len__(self) -> int:
        return len(self._loaded)

    def __contains__(self, sha: str) -> bool:
        return sha in self._loaded

    def flush(self) -> None:
        """Forget all scripts, and whatever they may have left in the interpreter."""
        self._loaded.clear()
        self._by_text.clear()
        self._interpreter.forget()

    def find(self, sha: bytes) -> Script:
        """A script that was loaded. Raises :class:`CommandError`, NOSCRIPT."""
        found = self._loaded.get(sha.decode("latin-1").lower())
        if found is None:
            raise CommandError(NO_SUCH_SCRIPT)
        return found

    def flags(self, text: bytes, loaded: bool) -> frozenset[str] | None:
        """Return the flags of a script, given by its text or its SHA-1; None if it has declared none."""
        try:
            return self.find(text).flags if loaded else parse_shebang(text)[0]
        except CommandError:
            return None

    def load(self, body: bytes) -> Script:
        """Compile a script, or find it. Raises :class:`CommandError`."""
        found = self._by_text.get(body)  # which is faster than its SHA-1
        if found is not None:
            return found
        sha = hashlib.sha1(body, usedforsecurity=False).hexdigest()
        found = self._loaded.get(sha)
        if found is None:
            flags, code = parse_shebang(body)
            function, problem = self._interpreter.compile(code)
            if function is None:
                raise CommandError(f"ERR Error compiling script (new function): {problem}")
            found = self._loaded[sha] = self._by_text[body] = Script(sha, function, flags, len(body))
        return found

    @property
    def size(self) -> int:
        """Bytes of the texts of all scripts."""
        return sum(script.size for script in self._loaded.values())

    @property
    def memory(self) -> int:
        """Bytes that the interpreter uses."""
        return self._interpreter.memory

    def run(self, session: Session, args: Args, script: Script, keys: Args, arguments: Args, read_only: bool) -> bytes:
        """Run a script for a session, whose command is ``args``; returns the encoded reply. Raises
        :class:`CommandError`."""
        interpreter, function, flags = self._interpreter, script.function, script.flags
        return self._runner.execute(
            session, args, interpreter, function, script.sha, "SCRIPT", flags, keys, arguments, read_only
        )
