"""The addresses of a host in the order in which they are tried, and the pace (RFC 8305, "happy eyeballs")."""

from __future__ import annotations

from collections.abc import Iterable

from ..events import SocketAddress

__all__ = ["ATTEMPT_DELAY", "Candidate", "alternate"]

ATTEMPT_DELAY = 0.25
"""Seconds that an attempt has before the next address is tried beside it (RFC 8305 section 5)."""

Candidate = tuple[int, SocketAddress]
"""A family and an address of it."""


def alternate(found: Iterable[Candidate]) -> list[Candidate]:
    """Let the families take turns, that of the first address first (RFC 8305 section 4): one that leads nowhere costs
    one delay, however many addresses it has."""
    families: dict[int, list[Candidate]] = {}
    for each in found:
        families.setdefault(each[0], []).append(each)
    order = {family: place for place, family in enumerate(families)}
    ranked = [(rank, order[each[0]], each) for of_family in families.values() for rank, each in enumerate(of_family)]
    ranked.sort(key=lambda entry: entry[:2])
    return [each for _, _, each in ranked]
