"""The codes that an RDB file has in place of a value's type (see Redis's ``rdb.h``), and what it says about itself."""

from __future__ import annotations

__all__ = ["AUX", "END", "EXPIRE", "EXPIRE_MS", "FREQUENCY", "FUNCTION", "FUNCTION_OLD", "IDLE", "MODULE_AUX"]
__all__ += ["LOWEST", "REPL_DATABASE", "REPL_ID", "REPL_OFFSET", "RESIZE", "SELECT", "Facts"]

LOWEST = 0xF0
"""Types of values are below."""

FUNCTION, FUNCTION_OLD, MODULE_AUX, IDLE, FREQUENCY, AUX = 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA
RESIZE, EXPIRE_MS, EXPIRE, SELECT, END = 0xFB, 0xFC, 0xFD, 0xFE, 0xFF

Facts = dict[bytes, bytes]
"""The auxiliary fields of a file (``AUX``): what it says about itself."""

REPL_ID, REPL_OFFSET, REPL_DATABASE = b"repl-id", b"repl-offset", b"repl-stream-db"
"""The facts about the replication stream whose state a file holds, as Redis names them."""
