"""Scripts and functions that say of themselves that they write nothing."""

from __future__ import annotations

from collections.abc import Callable

from .libraries import Libraries
from .scripts import Scripts

__all__ = ["scripts_may_write"]


def scripts_may_write(scripts: Scripts, libraries: Libraries) -> Callable[[str, bytes], bool]:
    """Return what tells whether ``command``, EVAL, EVALSHA or FCALL, of ``script``, a text or a name, may write."""

    def may_write(command: str, script: bytes) -> bool:
        if command == "fcall":
            function = libraries.find(script)
            return function is None or "no-writes" not in function.flags
        flags = scripts.flags(script, command == "evalsha")
        return flags is None or "no-writes" not in flags

    return may_write
