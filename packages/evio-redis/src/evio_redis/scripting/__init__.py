"""Scripts in Lua: EVAL and its relatives. They need an interpreter, ``pip install evio-redis[scripting]``.

https://redis.io/docs/latest/develop/interact/programmability/eval-intro/
"""

from .scripts import Script, Scripts

__all__ = ["Script", "Scripts"]
