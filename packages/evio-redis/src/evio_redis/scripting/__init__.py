"""Scripts in Lua, EVAL and its relatives, and functions. They need an interpreter, ``pip install
evio-redis[scripting]``.

https://redis.io/docs/latest/develop/interact/programmability/
"""

from .libraries import Function, Libraries, Library
from .runner import Run, Runner
from .scripts import Script, Scripts
from .writing import scripts_may_write

__all__ = ["Function", "Libraries", "Library", "Run", "Runner", "Script", "Scripts", "scripts_may_write"]
