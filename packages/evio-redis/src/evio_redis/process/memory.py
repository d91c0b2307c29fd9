"""The memory of the process."""

from __future__ import annotations

import ctypes
import gc
import sys

__all__ = ["give_back"]


def give_back() -> None:
    """Give memory back to the system that is free: what only a collection finds, and what malloc keeps
    (malloc_trim(3), of the GNU C library)."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
