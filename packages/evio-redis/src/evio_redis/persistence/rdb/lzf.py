"""Decompressing LZF (liblzf), which Redis does to strings of more than 20 bytes that get shorter by it.

Nothing here compresses: in Python that takes about a microsecond for a few bytes, and readers take strings as they are.
"""

from __future__ import annotations

__all__ = ["decompress"]


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
        if distance > len(result):
            raise ValueError("LZF refers to what is before the beginning")
        repeated = result[len(result) - distance :]  # it may overlap with what it makes
        result += repeated[:length] if length <= distance else (repeated * (length // distance + 1))[:length]
    if len(result) != size:
        raise ValueError("LZF of another length than announced")
    return bytes(result)
