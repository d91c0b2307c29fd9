"""A command's keyspace events, and how many changes it counts as."""

from __future__ import annotations

import re

from .wire import Wire

__all__ = ["Case", "check"]

Case = tuple[list[str], str, int, list[tuple[str, str]]]
"""The commands before, a command, the number of its changes, and its keyspace events: channel and message."""


def check(port: int, case: Case) -> None:
    """Run a case on an empty server."""
    before, command, changes, events = case
    with Wire(port) as wire, Wire(port) as subscriber:
        for each in ("FLUSHALL", "CONFIG SET notify-keyspace-events KA", *before):
            wire.ask(each)
        subscriber.ask("PSUBSCRIBE __key*")
        start = _changes(wire)
        wire.ask(command.encode() + b"\r\n")
        assert _changes(wire) - start == changes
        wire.ask("CONFIG SET notify-keyspace-events KE")
        wire.ask("PUBLISH __key_end x")
        got = []
        while b"__key_end" not in (message := subscriber.reply()):
            words = message.split(b"\r\n")
            got.append((words[6].decode().removeprefix("__keyspace@"), words[8].decode()))
        assert got == events


def _changes(wire: Wire) -> int:
    found = re.search(rb"rdb_changes_since_last_save:(\d+)", wire.ask("INFO persistence"))
    assert found is not None
    return int(found[1])
