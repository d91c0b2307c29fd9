"""Frames out of chunks: for handlers whose protocol does not end its messages where the kernel does.

Operations: ``begin`` gives what was left over plus the new chunk; ``end`` says what is left over now.
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

from ..events import Buffer

__all__ = ["InputStream"]


class InputStream:
    """The unconsumed input of one connection."""

    __slots__ = ("_chunks", "_need", "_size")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._need = 0

    def __len__(self) -> int:
        """Return the number of bytes left over."""
        return self._size

    def begin(self, chunk: Buffer) -> bytes:
        """Return what is left over plus ``chunk``; ``b""`` while there is less than ``end`` said is needed. Everything
        returned and not given back with ``end`` counts as consumed."""
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

        Raises ``ValueError`` when ``need`` is negative.
        """
        if need < 0:
            raise ValueError(f"need must be 0 or more, not {need}")
        if self._chunks and not len(rest):
            return  # begin returned b"" and everything is kept already
        if len(rest):
            self._chunks.insert(0, bytes(rest))
            self._size += len(rest)
        self._need = need
