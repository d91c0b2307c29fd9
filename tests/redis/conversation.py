"""Conversations of several clients with one server, written as text: ``name: COMMAND``.

After each command all clients read what has arrived for them meanwhile: the replies and, with the name of the client
that they came to, everything that nobody asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .transcripts import shown
from .wire import Wire, typed

__all__ = ["talk"]

ID = re.compile(r"(?<=redirect :)\d+|(?<=broken :)\d+|(?<=id :)\d+|(?<=id=)\d+|(?<=redir=)\d+")


ENDS = (b"EXEC", b"DISCARD", b"CLIENT REPLY ON")


class Talker:
    """One client: it knows all that has come to it once the reply to its latest question is there."""

    def __init__(self, port: int) -> None:
        self.wire = Wire(port)
        self._unheard = False  # after MULTI, or without replies

    def tell(self, command: bytes, answered: bool) -> list[str]:
        """Send a command; return what has come since the last one, up to its reply or a while after it."""
        self.wire.send(typed(command))
        if not answered:
            self._unheard = True
            return []
        self._unheard = command == b"MULTI" or (self._unheard and command not in ENDS)
        return [shown(self.wire.reply()), *self.arrived()]

    def arrived(self) -> list[str]:
        """Return what has come since the last time, but not in a transaction. An error about CLIENT leaves all other
        states as they are."""
        if self._unheard:
            return []
        self.wire.send(["CLIENT", "REPLY", "mark"])
        found: list[str] = []
        while True:
            reply = shown(self.wire.reply())
            if reply == "-ERR syntax error" or "only (P|S)SUBSCRIBE" in reply:
                return found
            found.append(reply)


def _until_gone(port: int, identity: bytes) -> None:
    with Wire(port) as wire:
        while wire.ask([b"CLIENT", b"LIST", b"ID", identity]) != b"$0\r\n\r\n":
            pass


def talk(port: int, lines: Iterable[str]) -> list[str]:
    """Return what each client of an empty server receives: ``name< reply``. ``{name}`` in a command is the client's
    id, and ids are shown that way."""
    talkers: dict[str, Talker] = {}
    ids: dict[str, bytes] = {}
    said: list[str] = []
    try:
        with Wire(port) as wire:
            wire.ask("FLUSHALL")
        for line in lines:
            name, _, command = line.partition(": ")
            if name not in talkers:
                talkers[name] = Talker(port)
                ids[name] = talkers[name].wire.ask("CLIENT ID")[1:-2]
            if command == "hang up":
                talkers.pop(name).wire.close()
                _until_gone(port, ids[name])
                continue
            words = command.encode()
            for other, identity in ids.items():
                words = words.replace(b"{%b}" % other.encode(), identity)
            answered = not command.startswith("silent ")
            received = talkers[name].tell(words.removeprefix(b"silent "), answered)
            said += [f"{name}> {command}", *(f"{name}< {reply}" for reply in received)]
            for other, talker in talkers.items():
                if other != name:
                    said += [f"{other}< {reply}" for reply in talker.arrived()]
        known = {identity.decode(): name for name, identity in ids.items()}
        return [ID.sub(lambda found: known.get(found[0], found[0]), each) for each in said]
    finally:
        for talker in talkers.values():
            talker.wire.close()
