"""The descriptions of Redis's commands, from ``descriptions.txt``, which is read when first asked for.

A description is one line, ``name | summary | complexity``, the last if there is one. The lines about the same command
that follow are indented: ``version:`` and what changed then, ``replaced:`` and what to use instead, ``note N:`` about
the Nth specification of its keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..model.command import Command
from ..protocol.resp import Resp2, array, bulk, integer, simple

__all__ = ["Description", "description_of", "encoded"]


@dataclass(slots=True)
class Description:
    """A command in words."""

    summary: str
    complexity: str = ""
    history: list[tuple[str, str]] = field(default_factory=list)
    """Versions, and what changed in them."""

    replaced_by: str = ""
    notes: dict[int, str] = field(default_factory=dict)
    """About the specifications of keys, by their index."""


@cache
def _descriptions() -> dict[str, Description]:
    found: dict[str, Description] = {}
    latest = Description("")
    for line in Path(__file__).with_name("descriptions.txt").read_text().splitlines():
        if not line.startswith(" "):
            name, summary, *complexity = line.split(" | ")
            latest = found[name] = Description(summary, "".join(complexity))
            continue
        kind, _, text = line.strip().partition(": ")
        if kind == "replaced":
            latest.replaced_by = text
        elif kind.startswith("note "):
            latest.notes[int(kind[5:])] = text
        else:
            latest.history.append((kind, text))
    return found


def description_of(each: Command) -> Description:
    """Return the description of a command; that of a program's own is in its declaration."""
    known = _descriptions().get(each.name)
    if known is not None and each.group != "module":
        return known
    return Description(each.summary or each.name.upper().replace("|", " "))


def encoded(value: Any, resp: Resp2, field: str = "") -> bytes:
    """A fact as a reply."""
    if isinstance(value, dict):
        return resp.map([part for name in value for part in (bulk(name.encode()), encoded(value[name], resp, name))])
    if isinstance(value, list):
        if field == "flags":
            return resp.set([simple(word) for word in value])
        return array([encoded(each, resp) for each in value])
    return integer(value) if isinstance(value, int) else bulk(value.encode())
