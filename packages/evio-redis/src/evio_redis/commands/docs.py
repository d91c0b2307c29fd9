"""Facts that COMMAND tells of Redis's commands beyond their declarations: from ``facts.json``, which
``tools/redis_facts.py`` has a redis-server write, and ``descriptions.txt``. Both are read when first asked for.

A description is one line, ``name | summary | complexity``, the last if there is one. The lines about the same command
that follow are indented: ``version:`` and what changed then, ``replaced:`` and what to use instead, ``note N:`` about
the Nth specification of its keys.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from ..model.command import Args, Command
from ..protocol.resp import Resp2, array, bulk, integer, simple

__all__ = ["Description", "description_of", "encoded", "facts_of", "key_flags", "takes_channels"]


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
    for line in resources.files(__package__).joinpath("descriptions.txt").read_text().splitlines():
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


@cache
def _facts() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(resources.files(__package__).joinpath("facts.json").read_text())
    return found


def facts_of(each: Command) -> dict[str, Any]:
    """``categories``, ``tips``, ``keys`` and ``arguments``; of a program's own command only its keys."""
    known = _facts().get(each.name)
    if known is not None and each.group != "module":
        return known
    first, last, step = each.keys
    if not first:
        return {}
    span = {"lastkey": last - first if last >= 0 else last, "keystep": step, "limit": 0}
    return {
        "keys": [
            {
                "flags": ["RW", "update"] if "write" in each.flags else ["RO", "access"],
                "begin_search": {"type": "index", "spec": {"index": first}},
                "find_keys": {"type": "range", "spec": span},
            }
        ]
    }


def encoded(value: Any, resp: Resp2, field: str = "") -> bytes:
    """A fact as a reply."""
    if isinstance(value, dict):
        return resp.map([part for name in value for part in (bulk(name.encode()), encoded(value[name], resp, name))])
    if isinstance(value, list):
        if field == "flags":
            return resp.set([simple(word) for word in value])
        return array([encoded(each, resp) for each in value])
    return integer(value) if isinstance(value, int) else bulk(value.encode())


def key_flags(each: Command, call: Args, positions: list[int]) -> list[list[str]]:
    """Return the ways in which a call uses the keys at these positions
    (https://redis.io/docs/latest/develop/reference/key-specs/)."""
    flags: dict[int, list[str]] = {}
    rest: list[str] = []
    for spec in facts_of(each).get("keys", ()):
        covered = _covered(spec, call)
        for at in covered:
            flags[at] = spec["flags"]
        if not covered:
            rest = spec["flags"]
    return [_sharpened(each, call, flags.get(at, rest)) for at in positions]


def takes_channels(each: Command) -> bool:
    """Tell whether the names of channels stand in the places of keys."""
    return any("not_key" in spec["flags"] for spec in facts_of(each).get("keys", ()))


def _covered(spec: dict[str, Any], call: Args) -> range:
    """The positions of the keys that a specification means; none where it does not know them."""
    begin, find = spec["begin_search"], spec["find_keys"]
    if begin["type"] != "index":
        return range(0)
    at, how = begin["spec"]["index"], find["spec"]
    if find["type"] == "range":
        last = at + how["lastkey"] if how["lastkey"] >= 0 else len(call) + how["lastkey"]
        return range(at, last + 1, how["keystep"])
    if find["type"] == "keynum":
        first = at + how["firstkey"]
        return range(first, first + int(call[at + how["keynumidx"]]) * how["keystep"], how["keystep"])
    return range(0)


def _sharpened(each: Command, call: Args, flags: list[str]) -> list[str]:
    """Of two commands the arguments say more (``variable_flags``)."""
    words = {word.upper() for word in call[2:]}
    if each.name == "set" and b"GET" not in words:
        return ["OW", "update"]
    if each.name == "bitfield" and not words & {b"SET", b"INCRBY"}:
        return ["RO", "access"]
    return [flag for flag in flags if flag not in ("variable_flags", "incomplete")]
