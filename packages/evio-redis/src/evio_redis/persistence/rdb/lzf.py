"""LZF (liblzf), to which Redis compresses strings of more than 20 bytes that get shorter by it.

Decompressing is done here. Compressing takes about a microsecond for a few bytes in Python, so it is done where the
package ``python-lzf`` is installed (``evio-redis[compression]``), and of strings as values; readers take others as they
are.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

__all__ = ["compress", "decompress"]

LEAST = 20
"""Bytes up to which Redis does not try."""


def _found() -> Callable[[bytes, int], bytes | None] | None:
    try:
        module = import_module("lzf")
    except ImportError:
        return None
    found: Callable[[bytes, int], bytes | None] = module.compress
    return found


_compress = _found()


def compress(data: bytes) -> bytes | None:
    """The data in fewer bytes, by four at least; None if it does not get shorter, or if nothing here can do that."""
    return None if _compress is None or len(data) <= LEAST else _compress(data, len(data) - 4)


def decompress(data: bytes, size: int) -> bytes:
    """The ``size`` bytes that were compressed. Raises ``ValueError`` and ``IndexError`` for what does not give them."""
    result = bytearray()
    at = 0
    while at < len(data):
        control = data[at]
        at += 1
        if control < 32:
            result += data[at : at + control + 1]
            at += control + 1
            continue
        length = (control >> 5) + 2
        if length == 9:
            length += data[at]
            at += 1
        distance = ((control & 0x1F) << 8) + data[at] + 1
        at += 1
        made = len(result)
        if distance > made:
            raise ValueError("LZF refers to what is before the beginning")
        if made > size:
            break  # a few bytes may make many
        repeated = result[made - distance :]  # it may overlap with what it makes
        result += repeated[:length] if length <= distance else (repeated * (length // distance + 1))[:length]
    if len(result) != size:
        raise ValueError("LZF of another length than announced")
    return bytes(result)
