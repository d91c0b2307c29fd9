"""The choice of the loop that gets the next connection.

A strategy is called by the accepting loop alone, and only when a connection has been accepted: a failed accept
does not use up a turn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Protocol

from ..events import LoadBalance

__all__ = ["Countable", "make_balancer"]


class Countable(Protocol):
    """A target of balancing."""

    @property
    def open_connections(self) -> int:
        """The number of its connections, those on their way to it included."""


def make_balancer(strategy: LoadBalance, loops: Sequence[Countable]) -> Callable[[], int]:
    """A function that names the index of the loop for the next connection."""
    if len(loops) == 1:
        return lambda: 0
    indices = range(len(loops))
    if strategy is LoadBalance.RANDOM:
        return lambda: random.randrange(len(loops))
    if strategy is LoadBalance.ROUND_ROBIN:
        return cycle(indices).__next__
    return lambda: min(indices, key=lambda index: loops[index].open_connections)
