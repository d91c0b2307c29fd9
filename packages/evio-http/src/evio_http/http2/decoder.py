"""Field blocks to fields (RFC 7541). The dynamic table and the Huffman code are hpack's.

``hpack.Decoder`` takes three to five times as long, most of it for copies of the rest of the block and for log lines
that nobody reads; and it gives up in the middle of a list that is too long, after which the connection cannot go on,
where here the list is read to its end, without being kept, and the request answered with 431.
"""

from __future__ import annotations

from hpack import Decoder, HPACKError
from hpack.huffman_table import (
    HUFFMAN_COMPLETE,
    HUFFMAN_EMIT_SYMBOL,
    HUFFMAN_TABLE,
    decode_huffman,
)

from .frames import Code, ConnectionFault

__all__ = ["Field", "FieldDecoder"]

Field = tuple[bytes, bytes]
"""Name and value."""

TABLE_SIZE = 4096
"""The size of the dynamic table (SETTINGS_HEADER_TABLE_SIZE), which is not changed."""

STATIC = 61
"""Entries of the static table (RFC 7541 appendix A)."""

ENTRY_OVERHEAD = 32
"""Bytes that a field counts for besides its own (RFC 7541 section 4.1, RFC 9113 section 6.5.2)."""

LONGEST_INTEGER = 5
"""Bytes of an integer behind its prefix, at most."""

MOST_STEPS = 1 << 14
"""Steps of decoding that are remembered: with ordinary text some 3,000, and a megabyte."""

_START = 0
_steps: dict[int, tuple[int, bytes]] = {}
"""Steps of the Huffman code that lead on, by state and byte: the state behind it, and the symbols. States are those of
hpack's table times 256."""

_COMPLETE = frozenset(state << 8 for state, flags, _ in HUFFMAN_TABLE if flags & HUFFMAN_COMPLETE)
"""States in which a string may end."""


MOST_TAILS, LONGEST_TAIL = 32, 64
"""Ends of blocks that are remembered, and the longest of them in bytes."""


class FieldDecoder:
    """The field blocks of one connection.

    Blocks of one page's requests differ in the path, a literal, and all behind it is in the table: what the end of a
    block means, if it has indexed fields alone, is remembered until the table changes.
    """

    __slots__ = ("_table", "_tails", "_tails_at", "changes")

    def __init__(self) -> None:
        self._table = Decoder().header_table
        self._tails: dict[bytes, tuple[list[Field], int]] = {}
        self._tails_at = 0  # the state of the table for which that is so
        self.changes: int = 0
        """Changes of the dynamic table: while there is none, the same block has the same fields."""

    def decode(self, block: bytes, most: int) -> list[Field] | None:
        """Return the fields of ``block``; None if they are longer than ``most`` bytes, as HTTP/2 counts them. Raises
        :class:`~evio_http.http2.frames.ConnectionFault` for what is no field block."""
        try:
            return self._decode(block, most)
        except (HPACKError, IndexError) as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, f"malformed field block: {error}") from None

    def _decode(self, block: bytes, most: int) -> list[Field] | None:
        fields: list[Field] = []
        table, size, place, end = self._table, 0, 0, len(block)
        get, static = table.get_by_index, table.STATIC_TABLE
        if self._tails_at != self.changes:
            self._tails.clear()
            self._tails_at = self.changes
        tail, before, size_before = b"", 0, 0  # where a run of indexed fields began
        began = False
        while place < end:
            first = block[place]
            place += 1
            if first & 0x80:  # an indexed field
                if not tail:
                    tail = block[place - 1 :]
                    known = self._tails.get(tail)
                    if known is not None:
                        return self._with_tail(fields, size, *known, most)
                    before, size_before = len(fields), size
                index = first & 0x7F
                if index == 0x7F:
                    index, place = _integer(block, place, index)
                field = static[index - 1] if 0 < index <= STATIC else get(index)
            elif first & 0xE0 == 0x20:
                tail = b""
                index = first & 0x1F
                if index == 0x1F:
                    index, place = _integer(block, place, index)
                if began or index > TABLE_SIZE:
                    raise HPACKError("a change of the table's size that is not allowed")
                table.maxsize = index
                self.changes += 1
                continue
            else:
                tail = b""
                mask = 0x3F if first & 0x40 else 0x0F
                index = first & mask
                if index == mask:
                    index, place = _integer(block, place, index)
                if index:
                    name = get(index)[0]
                else:
                    name, place = _string(block, place)
                value, place = _string(block, place)
                field = name, value
                if first & 0x40:
                    table.add(name, value)
                    self.changes += 1
            began = True
            size += len(field[0]) + len(field[1]) + ENTRY_OVERHEAD
            if size <= most:
                fields.append(field)
        if size > most:
            return None
        if tail and len(tail) <= LONGEST_TAIL and self._tails_at == self.changes and len(self._tails) < MOST_TAILS:
            self._tails[tail] = fields[before:], size - size_before
        return fields

    @staticmethod
    def _with_tail(fields: list[Field], size: int, tail: list[Field], tail_size: int, most: int) -> list[Field] | None:
        return fields + tail if size + tail_size <= most else None


def _integer(block: bytes, place: int, value: int) -> tuple[int, int]:
    """Read the rest of an integer whose prefix is full (RFC 7541 section 5.1): the integer, and the place behind it."""
    for shift in range(0, 7 * LONGEST_INTEGER, 7):
        byte = block[place]
        place += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise HPACKError("an integer that is too large")


def _string(block: bytes, place: int) -> tuple[bytes, int]:
    """Read a string (RFC 7541 section 5.2), and the place behind it."""
    first = block[place]
    place += 1
    length = first & 0x7F
    if length == 0x7F:
        length, place = _integer(block, place, length)
    end = place + length
    if end > len(block):
        raise HPACKError("a string that ends behind the block")
    text = block[place:end]
    if first & 0x80:
        text = _from_huffman(text)
    return text, end


def _from_huffman(text: bytes) -> bytes:
    """Decode a string (RFC 7541 section 5.2), a byte at a time: hpack's table has a step for each half of one."""
    state, parts, steps = _START, [], _steps
    try:
        for byte in text:
            state, part = steps[state | byte]
            parts.append(part)
    except KeyError:
        return _by_new_steps(text)
    if state not in _COMPLETE:
        raise HPACKError("a string whose Huffman code is not complete")
    return b"".join(parts)


def _by_new_steps(text: bytes) -> bytes:
    """Decode a string with steps that are not there yet."""
    decoded = decode_huffman(text)  # which raises what there is to raise
    state = _START
    for byte in text:
        key = state | byte
        found = _steps.get(key) or _step(state >> 8, byte)
        if len(_steps) < MOST_STEPS:
            _steps[key] = found
        state = found[0]
    return decoded


def _step(state: int, byte: int) -> tuple[int, bytes]:
    part = bytearray()
    for half in (byte >> 4, byte & 0x0F):
        state, flags, symbol = HUFFMAN_TABLE[state * 16 + half]
        if flags & HUFFMAN_EMIT_SYMBOL:
            part.append(symbol)
    return state << 8, bytes(part)
