"""The append-only file, in Redis's own format: either server loads what the other wrote.

https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
"""

from .aof.base import write_base
from .aof.files import AppendOnlyFile
from .aof.loader import load_commands

__all__ = ["AppendOnlyFile", "load_commands", "write_base"]
