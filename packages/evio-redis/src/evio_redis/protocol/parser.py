"""Requests, strictly: what Redis's own parser accepts, refuses and says, for any split of the input.

Nearly all requests are whole commands in a chunk, and hiredis, which is C, takes those (``server.py``). This parser
has the rest: inline commands, commands split over chunks, and everything malformed. A large argument is collected in a
buffer that becomes the argument without being copied, so that it is held once. (To keep the chunks and to join them
holds it twice, and leaves malloc with as much memory in pieces, which it cannot give back.)

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import re
from io import BytesIO
from itertools import islice

import hiredis

from .inline import split_inline

__all__ = ["INLINE_MAX", "MULTIBULK_MAX", "UNAUTHENTICATED_BULK", "UNAUTHENTICATED_MULTIBULK", "Parser"]

INLINE_MAX = 64 * 1024
"""Bytes of an inline command, and of a length line."""

MULTIBULK_MAX = 1024 * 1024
"""Arguments of a command."""

DOLLAR = ord("$")
FRAMING = len("$\r\n\r\n")
"""Bytes of an argument besides itself and the digits of its length."""

WORTH_READING = 256
"""Bytes of a chunk from which it pays to have hiredis read it."""

MANY = 16
"""Arguments missing from which it does."""

USUAL_SIZE = 64
"""Bytes of an argument with its framing, as they are on average; of larger ones, it is read more often."""

UNUSUAL = re.compile(rb"\n[^$*\w]")
"""Finds what hiredis might take for a string though it is no argument."""

BULK_MAX = 512 * 1024 * 1024
"""Bytes of an argument, unless ``proto-max-bulk-len`` says otherwise."""

UNAUTHENTICATED_MULTIBULK, UNAUTHENTICATED_BULK = 10, 16384
"""The same for clients that have not given the password yet."""

LONGEST_INTEGER = 20
"""Digits and sign of a 64-bit integer."""


def parse_length(line: bytes) -> int | None:
    """A length as Redis's ``string2ll`` takes it: no blanks, no plus sign, no leading zeros. None if it is not."""
    digits = line[1:] if line[:1] == b"-" else line
    if not digits.isdigit() or len(line) > LONGEST_INTEGER or (digits[:1] == b"0" and line != b"0"):
        return None
    number = int(line)
    return number if -(2**63) <= number < 2**63 else None


class Parser:
    """Turns chunks into commands. ``error`` is what ended the stream, once something has."""

    __slots__ = (
        "_args",
        "_buffer",
        "_have",
        "_held",
        "_large",
        "_length",
        "_missing",
        "authenticated",
        "bulk_max",
        "error",
    )

    def __init__(self) -> None:
        self.authenticated: bool = True
        self.bulk_max: int = BULK_MAX
        self.error: str | None = None
        self._args: list[bytes] = []  # of the command under way
        self._held = 0  # bytes in them
        self._missing = 0  # arguments it still lacks
        self._length = -1  # of the argument under way; -1 before its length line
        self._large: BytesIO | None = None  # a large argument under way
        self._have = 0  # bytes in it
        self._buffer = b""  # input not understood yet

    @property
    def empty(self) -> bool:
        """True if the last chunk ended with the end of a command."""
        return not (self._buffer or self._missing)

    @property
    def buffered(self) -> int:
        """Bytes held of a command under way."""
        return len(self._buffer) + self._have + self._held

    def take(self) -> bytes:
        """Give up input that is not understood yet, if a command begins with it."""
        if self._missing:
            return b""
        buffer, self._buffer = self._buffer, b""
        return buffer

    def parse(self, chunk: bytes, first_only: bool = False) -> list[list[bytes]]:
        """The commands that this chunk completes, or only the first of them; none after an ``error``."""
        commands: list[list[bytes]] = []
        if self._large is not None:
            chunk = self._collect(self._large, chunk)
            if self._large is not None:
                return commands
            self._complete(commands)
        data = self._buffer + chunk if self._buffer else chunk
        at, size = 0, len(data)
        worth = self.authenticated
        while at < size and self.error is None and not (first_only and commands):
            before = at
            if worth and self._missing >= MANY and self._length < 0 and size - at >= WORTH_READING:
                at = self._usual_arguments(data, at)
                worth = at > before
                continue
            at = self._argument(data, at, commands) if self._missing else self._command(data, at, commands)
            if at == before:
                break
        self._buffer = b"" if self.error is not None else data[at:]
        if self._length >= INLINE_MAX and self._missing:
            # As much as was announced: calloc(3) gives such pages as they are written. If it grew, it would be copied.
            self._large, self._have = BytesIO(bytes(self._length + 2)), 0
            self._collect(self._large, self._buffer)
            self._buffer = b""
        return commands

    def _command(self, data: bytes, at: int, commands: list[list[bytes]]) -> int:
        """Parse the first line of a command; returns where to go on, ``at`` itself to wait for more input."""
        if data[at] != ord("*"):
            return self._inline(data, at, commands)
        line = self._line(data, at, "mbulk count")
        if line is None:
            return at
        count = parse_length(line)
        if count is None or count > MULTIBULK_MAX:
            self.error = "invalid multibulk length"
        elif count > UNAUTHENTICATED_MULTIBULK and not self.authenticated:
            self.error = "unauthenticated multibulk length"
        elif count > 0:
            self._missing = count
        return at + len(line) + 3

    def _inline(self, data: bytes, at: int, commands: list[list[bytes]]) -> int:
        end = data.find(b"\n", at)
        if (len(data) if end < 0 else end) - at > INLINE_MAX:
            self.error = "too big inline request"
            return at
        if end < 0:
            return at
        args = split_inline(data[at:end].removesuffix(b"\r"))
        if args is None:
            self.error = "unbalanced quotes in request"
        elif args:
            commands.append(args)
        return end + 1

    def _line(self, data: bytes, at: int, what: str) -> bytes | None:
        """The rest of a length line after its type byte; None while it is not whole."""
        end = data.find(b"\r", at)
        if (len(data) if end < 0 else end) - at > INLINE_MAX:
            self.error = f"too big {what} string"
            return None
        if end < 0:
            return None
        return data[at + 1 : end] if end + 1 < len(data) else None

    def _argument(self, data: bytes, at: int, commands: list[list[bytes]]) -> int:
        if self._length < 0:
            return self._bulk_length(data, at)
        end = at + self._length
        if len(data) < end + 2:
            return at
        self._args.append(data[at:end])
        self._held += self._length
        self._complete(commands)
        return end + 2

    def _usual_arguments(self, data: bytes, at: int) -> int:
        """Take the whole arguments that follow, but for the last of the command, all at once; returns where to go on,
        ``at`` itself if there is anything about them that is unusual. A command of thousands of arguments mostly comes
        in several chunks, and hiredis takes a tenth of the time. Only so much is read as they may be: there may be many
        commands."""
        piece = data[at : at + max(WORTH_READING, USUAL_SIZE * self._missing)]
        if piece[0] != DOLLAR or UNUSUAL.search(piece) is not None:
            return at
        reader = hiredis.Reader()
        try:
            reader.feed(piece)
            args: list[bytes] = list(islice(iter(reader.gets, False), self._missing - 1))
            sizes = list(map(len, args))
            held = len(b"".join(args))
        except (hiredis.HiredisError, TypeError, MemoryError):
            return at
        if not args or max(sizes) > self.bulk_max:
            return at
        self._args += args
        self._missing -= len(args)
        self._held += held
        return at + held + FRAMING * len(args) + len("".join(map(str, sizes)))

    def _bulk_length(self, data: bytes, at: int) -> int:
        line = self._line(data, at, "bulk count")
        if line is None:
            return at
        length = parse_length(line)
        if data[at] != ord("$"):
            got = data[at : at + 1].decode("utf-8", "surrogateescape")  # it is sent back as it came
            self.error = f"expected '$', got '{got}'"
        elif length is None or not 0 <= length <= self.bulk_max:
            self.error = "invalid bulk length"
        elif length > UNAUTHENTICATED_BULK and not self.authenticated:
            self.error = "unauthenticated bulk length"
        else:
            self._length = length
        return at + len(line) + 3

    def _collect(self, large: BytesIO, chunk: bytes) -> bytes:
        """Add to a large argument; returns what of the chunk is beyond it."""
        lacking = self._length + 2 - self._have
        self._have += large.write(chunk if len(chunk) <= lacking else memoryview(chunk)[:lacking])
        if self._have == self._length + 2:
            large.truncate(self._length)
            self._args.append(large.getvalue())  # of a BytesIO that nothing is written to any more: no copy
            self._held += self._length
            self._large, self._have = None, 0
        return chunk[lacking:]

    def _complete(self, commands: list[list[bytes]]) -> None:
        """An argument is whole."""
        self._length = -1
        self._missing -= 1
        if not self._missing:
            commands.append(self._args)
            self._args = []
            self._held = 0
