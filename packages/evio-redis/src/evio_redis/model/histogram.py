"""The durations of each command's calls: a histogram (``latency-tracking``; LATENCY HISTOGRAM, INFO latencystats).

Goals: a call costs a dictionary access; a few hundred counters at most, whatever the times; what is shown is what Redis
shows, which counts in nanoseconds with two significant digits (HdrHistogram: values up to 255 on their own, then 128
steps for each power of two).
"""

from __future__ import annotations

from collections import Counter

__all__ = ["Latencies"]

DIGITS = 8
"""Bits of a time that are told apart."""

FIRST_STEP = 1024
"""Nanoseconds; LATENCY HISTOGRAM says how many calls took so long at most, twice so long, and so on."""


def _highest(nanoseconds: int) -> int:
    """The longest time that is not told apart from this one."""
    shift = max(0, nanoseconds.bit_length() - DIGITS)
    return (nanoseconds >> shift << shift) + (1 << shift) - 1


class Latencies:
    """Those of one command."""

    __slots__ = ("_counts", "timed")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.timed: int = 0

    def record(self, nanoseconds: int, calls: int = 1) -> None:
        """Record the duration of one or several calls."""
        self._counts[_highest(nanoseconds or 1)] += calls
        self.timed += calls

    def percentile(self, percent: float) -> float:
        """The microseconds that so many of the calls took at most."""
        wanted = max(1, int(percent / 100 * self.timed + 0.5))
        for time in sorted(self._counts):
            wanted -= self._counts[time]
            if wanted <= 0:
                return time / 1000
        return 0.0

    def steps(self, calls: int) -> list[tuple[int, int]]:
        """Microseconds, each about twice the one before, and how many of ``calls`` took so long at most; a step that
        adds none is left out."""
        found: list[tuple[int, int]] = []
        step, counted = FIRST_STEP, 0
        for time in sorted(self._counts):
            while _highest(step) < time:
                step *= 2
            counted += self._counts[time]
            entry = _highest(step) // 1000, round(counted * calls / self.timed)
            if found and found[-1][0] == entry[0]:
                found.pop()
            found.append(entry)
        return found
