"""Frames (RFC 9113 sections 4 and 6): their names, their bytes, and the faults that end a stream or a connection."""

from __future__ import annotations

import enum
import struct

__all__ = [
    "ACK",
    "BACKGROUND",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "FRAME_SIZE",
    "GOAWAY",
    "HEADER",
    "HEADERS",
    "LARGEST_WINDOW",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITISED",
    "PRIORITY",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW",
    "WINDOW_UPDATE",
    "Code",
    "ConnectionFault",
    "Setting",
    "StreamFault",
    "frame",
    "goaway",
    "headers",
    "reset",
    "settings",
    "window_update",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of a client (section 3.4)."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
"""Types (section 6)."""

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20
"""Flags. The last one is called PRIORITY (section 6.2)."""

FRAME_SIZE = 16 * 1024
"""Bytes of a frame's payload that every peer takes (section 4.2), and the most that is taken here."""

WINDOW = 65535
"""The window that flow control begins with (section 6.9.2), in bytes."""

LARGEST_WINDOW = 2**31 - 1

BACKGROUND = 0
"""The stream of frames that are about the connection."""

HEADER = struct.Struct(">HBBBL")
"""A frame's header: length (16 and 8 bits), type, flags, stream."""

_PAIR = struct.Struct(">HL")
_NUMBER = struct.Struct(">L")


class Code(enum.IntEnum):
    """Error codes (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Setting(enum.IntEnum):
    """Settings (section 6.5.2)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ConnectionFault(Exception):
    """The connection cannot go on (section 5.4.1). ``reason`` is for logs."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class StreamFault(Exception):
    """A stream cannot go on (section 5.4.2). ``reason`` is for logs."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    size = len(payload)
    return HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def headers(stream: int, block: bytes, *, end_stream: bool = False) -> bytes:
    """HEADERS with a field block, and CONTINUATION for what does not fit."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= FRAME_SIZE:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    frames = [frame(HEADERS, flags, stream, block[:FRAME_SIZE])]
    for start in range(FRAME_SIZE, len(block), FRAME_SIZE):
        last = start + FRAME_SIZE >= len(block)
        frames.append(frame(CONTINUATION, END_HEADERS if last else 0, stream, block[start : start + FRAME_SIZE]))
    return b"".join(frames)


def settings(values: dict[Setting, int]) -> bytes:
    """SETTINGS."""
    return frame(SETTINGS, 0, BACKGROUND, b"".join(_PAIR.pack(name, value) for name, value in values.items()))


def reset(stream: int, code: Code) -> bytes:
    """RST_STREAM."""
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def goaway(last: int, code: Code) -> bytes:
    """GOAWAY: streams above ``last`` were not looked at."""
    return frame(GOAWAY, 0, BACKGROUND, _NUMBER.pack(last) + _NUMBER.pack(code))


def window_update(stream: int, increment: int) -> bytes:
    """WINDOW_UPDATE."""
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(increment))
