"""The states of a stream connection: its phase, and flags beside it.

A phase changes by an event and by nothing else; ``TRANSITIONS`` has them all, and an event that is not in the table
for a phase changes nothing::

    OPENING ──OPENED──> OPEN ──CLOSE──> CLOSING ───END──> GONE   (the descriptor may linger)
       ├<─────START──────┤ (TLS)
       │                 ├────DETACH──> DETACHING ─END──> GONE   (the descriptor is the caller's)
       └──────END────────┴───────END────────────────────> GONE   (error, time-out, abort)

OPENING is what comes before ``opened``: looking a name up, connecting, the PROXY header, the TLS handshake. CLOSING and
DETACHING last until the queued output is with the kernel. GONE comes before ``closed`` fires.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = [
    "ADMITTED",
    "AWAITING_HEADER",
    "CLOSE",
    "CLOSE_WHEN_OPEN",
    "CLOSING",
    "CLOSING_TURN",
    "DETACH",
    "DETACHED",
    "DETACHING",
    "DIRTY",
    "END",
    "END_OUTPUT",
    "GONE",
    "INPUT_ENDED",
    "NOT_POLLED",
    "NOT_READING",
    "OPEN",
    "OPENED",
    "OPENING",
    "OUTPUT_ENDED",
    "OUTPUT_FAILED",
    "PAUSED_BY_ANSWERS",
    "PAUSED_BY_OUTPUT",
    "PAUSED_BY_USER",
    "START",
    "START_TLS",
    "TRANSITIONS",
    "UPGRADING",
    "WAKE_WHEN_DRAINED",
]

# Phases.
OPENING: Final = 0
OPEN: Final = 1
CLOSING: Final = 2
DETACHING: Final = 3
GONE: Final = 4

# Events.
OPENED: Final = 0
"""The transport, and what it asks for before the first byte, is there."""
CLOSE: Final = 1
"""The program, the end of input or the stop of the server closes it."""
DETACH: Final = 2
"""The program takes the descriptor."""
START: Final = 4
"""The program starts TLS, which asks for a handshake before the next byte."""
END: Final = 3
"""All is sent, the descriptor was handed over, or the connection failed."""

TRANSITIONS: Mapping[tuple[int, int], int] = {
    (OPENING, OPENED): OPEN,
    (OPENING, END): GONE,
    (OPEN, START): OPENING,
    (OPEN, CLOSE): CLOSING,
    (OPEN, DETACH): DETACHING,
    (OPEN, END): GONE,
    (CLOSING, END): GONE,
    (DETACHING, END): GONE,
}

# Flags, bits of a sum. The first five are reasons not to read; input is wanted while there is none.
PAUSED_BY_USER: Final = 1
PAUSED_BY_OUTPUT: Final = 2
INPUT_ENDED: Final = 4
DETACHED: Final = 8
PAUSED_BY_ANSWERS: Final = 1024
NOT_READING: Final = PAUSED_BY_USER | PAUSED_BY_OUTPUT | INPUT_ENDED | DETACHED | PAUSED_BY_ANSWERS
DIRTY: Final = 16
"""Its flush is due at the end of the turn."""
CLOSE_WHEN_OPEN: Final = 16384
"""A dialled connection was written to and closed: the output is to arrive first."""
CLOSING_TURN: Final = 32
"""It was closed in this turn of the loop: what is written until the flush at its end still counts."""
OUTPUT_FAILED: Final = 64
"""The peer takes no more output, and input that it sent before is still to be delivered."""
END_OUTPUT: Final = 128
"""The end of the output is to be announced once all of it is with the kernel; that done, it is taken back."""
OUTPUT_ENDED: Final = 256
"""The turn in which the program ended its output is over: no more is taken, while input goes on."""
ADMITTED: Final = 2048
"""It is counted against the limits of open connections."""
AWAITING_HEADER: Final = 512
"""It is opening, and a PROXY header comes first."""
UPGRADING: Final = 4096
"""It was open, and is opening once more: TLS was started."""
START_TLS: Final = 8192
"""The handshake begins at the end of the turn, with the other output of it."""
WAKE_WHEN_DRAINED: Final = 32768
"""It is to be woken once all of its output has left."""

NOT_POLLED: Final = 1 << 8
"""The interest of a descriptor that is out of the poller for now; none of the poller's bits."""
