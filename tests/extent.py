"""The extent of a run: ``EVIO_TESTS=daily``, which is the default, or ``full``.

A daily run has the cells of the matrix that differ in their code and a part of the random examples; a full one has all.
"""

from __future__ import annotations

import os

import pytest

__all__ = ["FULL", "examples", "full_only"]

_EXTENT = os.environ.get("EVIO_TESTS", "daily")

if _EXTENT not in ("daily", "full"):
    raise ValueError(f"EVIO_TESTS={_EXTENT}: neither daily nor full")

FULL = _EXTENT == "full"


full_only = pytest.mark.skipif(not FULL, reason="a full run has it: EVIO_TESTS=full")
"""For what takes long and is about the project's tools and documents, or varies what a daily test has."""


def examples(count: int) -> int:
    """The number of random examples of this run: ``count`` in a full one, a fifth in a daily one."""
    return count if FULL else -(-count // 5)
