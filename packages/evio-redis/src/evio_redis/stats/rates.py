"""Commands and bytes per second, as INFO shows them."""

from __future__ import annotations

from collections import deque
from time import monotonic

__all__ = ["Rates"]

SAMPLES = 16
"""Ticks averaged over."""


class Rates:
    """Averages over the latest ticks."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the samples."""
        self._samples: deque[tuple[float, int, int, int]] = deque(maxlen=SAMPLES)

    def sample(self, commands: int, bytes_in: int, bytes_out: int) -> None:
        """The totals so far."""
        self._samples.append((monotonic(), commands, bytes_in, bytes_out))

    def _rate(self, which: int) -> float:
        if len(self._samples) < 2:
            return 0.0
        first, last = self._samples[0], self._samples[-1]
        return (last[which] - first[which]) / max(last[0] - first[0], 1e-9)

    @property
    def commands(self) -> int:
        """Commands per second."""
        return int(self._rate(1))

    @property
    def bytes_in(self) -> float:
        """Bytes received per second."""
        return self._rate(2)

    @property
    def bytes_out(self) -> float:
        """Bytes sent per second."""
        return self._rate(3)
