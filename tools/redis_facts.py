"""Ask a real redis-server what COMMAND INFO and COMMAND DOCS know of its commands beyond what evio-redis's own
declarations and descriptions say: key specifications, tips, ACL categories, arguments, what is deprecated.
``python -m tools.redis_facts PORT`` writes them to ``evio_redis/model/facts.json``; tests/redis/test_command.py
compares the result with the server's. The names of all its commands, with their groups, go to
``docs/redis/commands-7.0.json``, of which the documentation makes its table of what is there and what is not.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import hiredis

from evio_redis.model.command import Registry

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "packages/evio-redis/src/evio_redis/model/facts.json"
NAMES = ROOT / "docs/redis/commands-7.0.json"
NAME, TIPS, CATEGORIES, KEYS, CHILDREN = 0, 7, 6, 8, 9
"""Places in a row of COMMAND INFO (https://redis.io/docs/latest/commands/command/)."""


def ask(port: int, *command: str) -> Any:
    """The reply to one command over RESP3, where maps are told from arrays."""
    reader = hiredis.Reader(encoding="utf-8")
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"HELLO 3\r\n" + " ".join(command).encode() + b"\r\n")
        replies: list[Any] = []
        while len(replies) < 2:
            reply = reader.gets()
            if reply is False:
                reader.feed(sock.recv(1 << 16))
            else:
                replies.append(reply)
    return replies[1]


def facts(row: list[Any], docs: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """Return the facts that are kept of a command and its subcommands, by name."""
    name = row[NAME]
    kept: dict[str, Any] = {"categories": sorted(word.removeprefix("@") for word in row[CATEGORIES])}
    keys = [{field: value for field, value in spec.items() if field != "notes"} for spec in row[KEYS]]
    for field, value in (
        ("since", docs["since"]),
        ("tips", row[TIPS]),
        ("keys", keys),
        ("arguments", docs.get("arguments")),
        ("doc_flags", docs.get("doc_flags")),
        ("deprecated_since", docs.get("deprecated_since")),
    ):
        if value:
            kept[field] = value
    found = {name: kept} if name in known else {}
    for child in row[CHILDREN]:
        found |= facts(child, docs.get("subcommands", {}).get(child[NAME], {}), known)
    return found


def groups(row: list[Any], docs: dict[str, Any]) -> dict[str, str]:
    """Return the group of a command and of its subcommands, by name."""
    found = {row[NAME]: docs["group"]}
    for child in row[CHILDREN]:
        found |= groups(child, docs["subcommands"][child[NAME]])
    return found


def main(arguments: list[str] | None = None) -> int:
    """Write both files."""
    (port,) = map(int, sys.argv[1:] if arguments is None else arguments)
    commands = Registry().commands.values()
    known = {each.name for top in commands for each in (top, *top.subcommands.values())}
    docs = ask(port, "COMMAND", "DOCS")
    found: dict[str, Any] = {}
    names: dict[str, str] = {}
    for row in ask(port, "COMMAND"):
        found |= facts(row, docs[row[NAME]], known)
        names |= groups(row, docs[row[NAME]])
    lines = [f"{json.dumps(name)}: {json.dumps(found[name], separators=(',', ':'))}" for name in sorted(found)]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    NAMES.write_text(json.dumps(names, indent=0, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
