"""Conversations with a server, written as text: ``COMMAND -> reply``, and ``| reply`` where RESP3 has another.

A blank line begins a new conversation with an empty server; two blanks continue a line. Arguments may be quoted as in
redis-cli; replies are as they come, but on one line and with escapes for what cannot be shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import evio_redis
from tests.tables import grouped

from .wire import Wire, redis_server, typed

__all__ = ["SERVERS", "Conversation", "check", "conversations", "exchange", "running", "shown"]

SERVERS = ["evio-redis", "redis-server"]
"""The servers of which every transcript is true."""

Line = tuple[str, str, str]
"""A command, its reply in RESP2, and in RESP3."""

Conversation = list[Line]
"""Lines that a server that was empty takes one after the other."""


def conversations(text: str) -> list[Any]:
    """The conversations of a transcript, as parameters of a test: those that end with the same command are one."""
    parts = text.strip("\n").replace("\n  ", " ").split("\n\n")
    return grouped([[_line(line) for line in part.splitlines()] for part in parts], _subject)


def _subject(lines: Conversation) -> str:
    return lines[-1][0].split()[0].upper()


def _line(line: str) -> Line:
    command, arrow, replies = line.partition(" -> ")
    assert arrow, f"no reply in {line!r}"
    reply, _, other = replies.partition(" | ")
    return command, reply, other or reply


def shown(reply: bytes) -> str:
    """A reply on one line."""
    text = reply.removesuffix(b"\r\n").replace(b"\r\n", b" ").decode("latin-1")
    return text.encode("unicode_escape").decode().rstrip()


def exchange(port: int, commands: list[str], protocol: int) -> list[str]:
    """Return the replies of an empty server."""
    with Wire(port) as wire:
        assert wire.ask("FLUSHALL") == b"+OK\r\n"
        wire.ask(["HELLO", protocol])
        return [shown(wire.ask(typed(command.encode()))) for command in commands]


def check(port: int, group: list[Conversation]) -> None:
    """Compare conversations with what the server says now."""
    for lines in group:
        commands = [command for command, _, _ in lines]
        for protocol in (2, 3):
            got = list(zip(commands, exchange(port, commands, protocol), strict=True))
            assert got == [(line[0], line[protocol - 1]) for line in lines], f"RESP{protocol}"


def running(which: str) -> Iterator[int]:
    """Run one of the ``SERVERS``: its port. To be made a fixture."""
    if which == "evio-redis":
        with evio_redis.Server(port=0, enable_debug_command="yes") as server:
            yield server.port
    else:
        with redis_server("--enable-debug-command", "yes") as port:
            yield port
