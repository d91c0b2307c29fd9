"""A command's keyspace events, and how many changes it counts as."""

from __future__ import annotations

import re
from typing import Any

from tests.tables import grouped

from .wire import Wire

__all__ = ["Case", "cases", "check"]

Case = tuple[list[str], str, int, list[tuple[str, str]]]
"""The commands before, a command, the number of its changes, and its keyspace events: channel and message."""


def cases(table: list[Case]) -> list[Any]:
    """The cases as parameters of a test: those of the same command are one."""
    return grouped(table, lambda case: case[1].split()[0])


def check(port: int, group: list[Case]) -> None:
    """Run each case on an empty server."""
    for before, command, changes, events in group:
        with Wire(port) as wire, Wire(port) as subscriber:
            for each in ("FLUSHALL", "CONFIG SET notify-keyspace-events KA", *before):
                wire.ask(each)
            subscriber.ask("PSUBSCRIBE __key*")
            start = _changes(wire)
            wire.ask(command.encode() + b"\r\n")
            assert _changes(wire) - start == changes, (before, command)
            wire.ask("CONFIG SET notify-keyspace-events KE")
            wire.ask("PUBLISH __key_end x")
            got = []
            while b"__key_end" not in (message := subscriber.reply()):
                words = message.split(b"\r\n")
                got.append((words[6].decode().removeprefix("__keyspace@"), words[8].decode()))
            assert got == events, (before, command)


def _changes(wire: Wire) -> int:
    found = re.search(rb"rdb_changes_since_last_save:(\d+)", wire.ask("INFO persistence"))
    assert found is not None
    return int(found[1])
