"""The hash slot of a key.

https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from __future__ import annotations

from binascii import crc_hqx

__all__ = ["SLOTS", "slot_of"]

SLOTS = 16384
"""Slots of a cluster."""


def slot_of(key: bytes) -> int:
    """Return the slot of a key: the CRC16 of it, or of what is between its first ``{`` and the next ``}`` if that is
    not empty, so that programs can put keys together."""
    if b"{" in key:
        tag, brace, _ = key.partition(b"{")[2].partition(b"}")
        if brace and tag:
            key = tag
    return crc_hqx(key, 0) & (SLOTS - 1)  # the CRC16 of XMODEM
