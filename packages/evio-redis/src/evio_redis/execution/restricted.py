"""Tables for users who may not do everything: in them are the commands that a user may run, in front of which the keys
of a call are looked at if that is necessary. What is not in them takes the long way, which denies it.

A table is filled as its user runs commands, since most users run few of them, and there may be many users.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..acl.access import CHANNELS, first_key_only, keys_of
from ..acl.users import Users
from ..model.command import Args, Command, Entry, Function, Registry, Tables

if TYPE_CHECKING:
    from ..acl.user import User
    from ..clients.session import Session

__all__ = ["Ways"]

Deny = Callable[["Session", Command, Args], bytes]
"""Refuses a call; returns the error reply."""


class _Table(dict[bytes, Entry]):
    """The entries of one number of arguments."""

    __slots__ = ("_all", "_restricted")

    def __init__(self, everything: dict[bytes, Entry], restricted: Callable[[bytes, Entry], Entry | None]) -> None:
        self._all = everything
        self._restricted = restricted

    def __missing__(self, name: bytes) -> Entry:
        entry = self._restricted(name, self._all[name])
        if entry is None:
            raise KeyError(name)
        self[name] = entry
        return entry


class Ways(dict["str | User", Tables]):
    """The tables of each way; those of a user are made when they are asked for first."""

    __slots__ = ("_deny", "_direct", "_registry", "_users")

    def __init__(self, ways: dict[str, Tables], direct: Tables, registry: Registry, users: Users, deny: Deny) -> None:
        super().__init__()
        self.update(ways)
        self._direct = direct
        self._registry = registry
        self._users = users
        self._deny = deny

    def __missing__(self, user: str | User) -> Tables:
        assert not isinstance(user, str), "every way has tables"

        def restricted(name: bytes, entry: Entry) -> Entry | None:
            command = self._registry.find([name])
            assert command is not None, "it is in a table"
            function = self._restricted(user, command, entry[0])
            return None if function is None else (function, entry[1])

        tables = self[user] = [_Table(table, restricted) for table in self._direct]
        return tables

    def _restricted(self, user: User, command: Command, function: Function) -> Function | None:
        """Return what a user's call of a command does; None if it has to take the long way."""
        name, uses = command.name, keys_of(command)
        if any(name in selector.first for selector in user.selectors):
            return None
        allowing = [selector for selector in user.selectors if selector.allows(name)]
        for selector in allowing:
            if (selector.all_keys or uses is None) and (selector.all_channels or name not in CHANNELS):
                return function
        if not allowing or uses is None:
            return None
        denial, deny = self._users.denial, self._deny

        def looked_at(session: Session, args: Args) -> bytes:
            for at, needs in uses(args):
                if not allows_key(args[at], needs):
                    return deny(session, command, args)
            return function(session, args)

        def asked(session: Session, args: Args) -> bytes:
            return function(session, args) if denial(user, command, args) is None else deny(session, command, args)

        if len(allowing) > 1 or name in CHANNELS:
            return asked
        allows_key, only = allowing[0].allows_key, first_key_only(command)
        if only is None:
            return looked_at
        needed = only

        def one_key(session: Session, args: Args) -> bytes:
            return function(session, args) if allows_key(args[1], needed) else deny(session, command, args)

        return one_key
