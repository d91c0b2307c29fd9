"""Numbers of turns for loops and sockets that do not say which events were found by the same poll."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

__all__ = ["own_turns"]

own_turns: Iterator[int] = itertools.count(-1, -1)
"""Unique numbers below 0; those of real turns count upwards from 0."""
