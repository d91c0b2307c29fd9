"""Limits of what a peer does too often: a bucket of tokens, which fills again with time."""

from __future__ import annotations

from time import monotonic

from .frames import Code, ConnectionFault

__all__ = ["Budget"]


class Budget:
    """``burst`` at once, ``rate`` a second for ever. Beyond that the connection ends (RFC 9113 section 10.5)."""

    __slots__ = ("_burst", "_left", "_rate", "_since", "_what")

    def __init__(self, what: str, burst: int, rate: int) -> None:
        self._what = what
        self._burst = burst
        self._rate = rate
        self._left = float(burst)
        self._since = 0.0

    def spend(self) -> None:
        """Count one. Raises :class:`~evio_http.http2.frames.ConnectionFault` when it is one too many."""
        self._left -= 1
        if self._left >= 0:
            return
        now = monotonic()
        if self._since:
            self._left = min(self._burst - 1, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < 0:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"too many {self._what}")
