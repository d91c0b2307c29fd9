"""Frames out of chunks: for handlers whose protocol does not end its messages where the kernel does.

Operations: ``begin`` gives what was left over plus the new chunk; ``end`` says what is left over now; ``skip`` drops
what nobody wants, as it comes.
Goals: a chunk that is consumed whole is never copied; a frame of known size that arrives in many chunks is
copied once, not once per chunk.
Complexity: linear in the bytes received, provided that ``end`` is told the size of a large frame.

::

    def data(conn, chunk):
        stream = conn.context                # an InputStream made in ``opened``
        buffer = stream.begin(chunk)
        while b"\\n" in buffer:
            line, buffer = buffer.split(b"\\n", 1)
            ...
        stream.end(buffer)
"""

from __future__ import annotations

from ..checks import not_negative
from ..errors import InputLimitExceeded
from ..events import Buffer

__all__ = ["InputStream"]


class InputStream:
    """The unconsumed input of one connection."""

    __slots__ = ("_chunks", "_limit", "_need", "_size", "_skip")

    def __init__(self, limit: int = 0) -> None:
        """``limit``: the most bytes that may be left over, and that a frame may have whose size ``end`` is told; 0: any
        number. Raises ``ValueError`` when it is negative."""
        self._chunks: list[bytes] = []
        self._limit = int(not_negative("limit", limit))
        self._size = 0
        self._need = 0
        self._skip = 0

    def __len__(self) -> int:
        """Return the number of bytes left over."""
        return self._size

    def begin(self, chunk: Buffer) -> bytes:
        """Return what is left over plus ``chunk``; ``b""`` while there is less than ``end`` said is needed. Everything
        returned and not given back with ``end`` counts as consumed."""
        if self._skip:
            chunk = self._skipped(chunk)
        if not self._chunks and len(chunk) >= self._need:
            return bytes(chunk)  # bytes of bytes is no copy
        if len(chunk):
            self._chunks.append(bytes(chunk))
            self._size += len(chunk)
        if self._size < self._need:
            return b""
        whole = b"".join(self._chunks)
        self._chunks.clear()
        self._size = self._need = 0
        return whole

    def end(self, rest: Buffer, need: int = 0) -> None:
        """Keep ``rest`` for the next ``begin``. With ``need``, the size of the frame that ``rest`` begins,
        ``begin`` collects silently until that many bytes are there.

        Raises ``ValueError`` when ``need`` is negative, and :class:`InputLimitExceeded` for more than the limit. A
        callback that lets that pass ends its connection with it.
        """
        if need < 0:
            raise ValueError(f"need must be 0 or more, not {need}")
        if self._limit and (need > self._limit or len(rest) > self._limit):
            raise InputLimitExceeded(f"{max(need, len(rest))} bytes of input to keep, {self._limit} allowed")
        if self._chunks and not len(rest):
            return  # begin returned b"" and everything is kept already
        if len(rest):
            self._chunks.insert(0, bytes(rest))
            self._size += len(rest)
        self._need = need

    def skip(self, size: int) -> None:
        """Drop the next ``size`` bytes, of what is left over and then of what comes, without keeping any: a frame that
        is too large, say, after ``end`` was told what is left over. Until then ``begin`` returns ``b""``, or what
        follows in the same chunk. A frame that ``end`` was told the size of is forgotten.

        Raises ``ValueError`` when ``size`` is negative.
        """
        if size < 0:
            raise ValueError(f"size must be 0 or more, not {size}")
        self._need = 0
        self._skip += size
        if self._chunks:
            left = self._skipped(b"".join(self._chunks))
            self._chunks = [bytes(left)] if len(left) else []
            self._size = len(left)

    def _skipped(self, chunk: Buffer) -> Buffer:
        """The part of ``chunk`` after the bytes to drop."""
        dropped = min(self._skip, len(chunk))
        self._skip -= dropped
        return chunk[dropped:]
