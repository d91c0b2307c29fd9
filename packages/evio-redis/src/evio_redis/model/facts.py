"""Facts about Redis's commands beyond their declarations: from ``facts.json``, which ``tools/redis_facts.py`` has a
redis-server write. It is read when first asked for.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from ..protocol.numbers import to_int
from .command import Args, Command

__all__ = ["built_in_categories", "categories_of", "facts_of", "key_flags", "takes_channels"]


@cache
def _facts() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("facts.json").read_text())
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


def built_in_categories() -> dict[str, list[str]]:
    """Return the ACL categories of all built-in commands, also of those that ``rename-command`` has taken away."""
    return {name: facts["categories"] for name, facts in _facts().items()}


def categories_of(each: Command) -> list[str]:
    """Return its ACL categories (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/)."""
    known = facts_of(each).get("categories")
    if known is not None:
        return list(known)
    found: list[str] = [name for name in ("write", "pubsub", "blocking", "fast") if name in each.flags]
    if "readonly" in each.flags:
        found.append("read")
    if "fast" not in each.flags:
        found.append("slow")
    if "admin" in each.flags:
        found += ["admin", "dangerous"]
    return found


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
        count = to_int(call[at + how["keynumidx"]]) if at + how["keynumidx"] < len(call) else None
        return range(first, min(first + (count or 0) * how["keystep"], len(call)), how["keystep"])
    return range(0)


def _sharpened(each: Command, call: Args, flags: list[str]) -> list[str]:
    """Of two commands the arguments say more (``variable_flags``)."""
    if each.name == "set" and b"GET" not in {word.upper() for word in call[3:]}:  # behind the value
        return ["OW", "update"]
    if each.name == "bitfield" and _only_reads(call):
        return ["RO", "access"]
    return [flag for flag in flags if flag not in ("variable_flags", "incomplete")]


def _only_reads(call: Args) -> bool:
    """Tell whether a call of BITFIELD has nothing but GET and OVERFLOW."""
    at = 2
    while at < len(call):
        size = {b"GET": 3, b"OVERFLOW": 2}.get(call[at].upper(), 0)
        if not size or at + size > len(call):
            return False
        at += size
    return True
