"""Parsed heads, remembered.

Operations: find what a head was parsed to, keep one; O(1) each. Goals: one look-up in a dictionary for what is in
use, bounded memory, and no bookkeeping on a hit.

There are two generations. The dictionary itself is the young one; when it is full it becomes the old one, and what
is then asked for again moves back. What nobody asks for is gone after two fillings.

It is sound because the key is the very bytes of a complete head, found at a message boundary, which was parsed
without error and has neither content nor Expect nor Upgrade: parsing the same bytes again could give nothing else.
"""

from __future__ import annotations

from .request import Request

__all__ = ["Memo"]

MAX_HEADS = 16 * 1024
MAX_BYTES = 4 * 1024 * 1024
"""Of one generation: its heads, and the sum of their lengths."""

LONGEST = 2 * 1024
"""A longer head is not kept: it is not what is sent again and again."""


class Memo(dict[bytes, Request]):
    """From heads to requests. One may serve the connections of several threads: what they race for is the work of
    parsing once more."""

    __slots__ = ("_bytes", "_old")

    def __init__(self) -> None:
        super().__init__()
        self._old: dict[bytes, Request] = {}
        self._bytes = 0

    def find(self, head: bytes) -> Request | None:
        """What HEAD was parsed to, if that is remembered."""
        request = self.get(head)
        if request is None:
            request = self._old.pop(head, None)
            if request is not None:
                self.keep(head, request)
        return request

    def keep(self, head: bytes, request: Request) -> None:
        """Remember what HEAD was parsed to."""
        if len(head) > LONGEST:
            return
        if len(self) >= MAX_HEADS or self._bytes >= MAX_BYTES:
            self._old = dict(self)
            self.clear()
            self._bytes = 0
        self[head] = request
        self._bytes += len(head)
