"""The append-only file, in Redis's own format: either server loads what the other wrote.

https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
"""

from .aof import AppendOnlyFile
from .child import write_base
from .loader import load_commands

__all__ = ["AppendOnlyFile", "load_commands", "write_base"]
