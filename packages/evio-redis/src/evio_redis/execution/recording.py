"""Side work of commands while it matters which keys are used and how much memory these take.

The dispatcher puts these functions in its tables in place of the commands' own while ``maxmemory`` or recording is on
(:mod:`evio_redis.keyspace.usage`, :mod:`evio_redis.keyspace.idle_times`), so that they cost nothing else.
"""

from __future__ import annotations

from random import random
from typing import TYPE_CHECKING, Any

from ..errors import CommandError
from ..keyspace.idle_times import LRU, NO_USE, Accesses
from ..keyspace.usage import STRING, Usage
from ..model.command import Args, Batch, Command, Function

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..keyspace.database import Database
    from ..keyspace.keyspace import Keyspace
    from ..stats.memory import MemoryLimit

__all__ = ["OOM", "Recording"]

OOM = "OOM command not allowed when used memory > 'maxmemory'."

ONLY_STRINGS = {bytes}

LEAVE_VALUES = frozenset({"expire", "pexpire", "expireat", "pexpireat", "persist"})
"""Commands that change no value; if they remove a key, they count that themselves."""

COLLECTIONS = frozenset({"hash", "list", "set", "sorted-set", "geo", "stream"})
"""Groups of commands that, if they have one key, change or make a collection in place."""

OTHER_DATABASE = frozenset({"copy", "move"})
"""Commands that may make a key in another database than the session's."""


class Recording:
    """Makes these functions for one server."""

    def __init__(self, keyspace: Keyspace, memory: MemoryLimit, accesses: Accesses) -> None:
        self._keyspace = keyspace
        self._memory = memory
        self._usage: Usage = memory.usage
        self._accesses = accesses

    @property
    def on(self) -> bool:
        """True while commands have to do something besides."""
        return self._usage.counting or self._accesses.recording

    def wrapped(self, command: Command) -> Function:
        """The command's function with what is to be done besides."""
        has_keys = command.get_keys is not None or bool(command.keys[0])
        if not has_keys or command.subcommands:
            return command.function
        one_key = command.get_keys is None and command.keys[:2] == (1, 1)
        touches = self._accesses.recording and command.name not in NO_USE
        if self._usage.counting and "write" in command.flags and command.name not in LEAVE_VALUES:
            if not one_key or command.name in OTHER_DATABASE:
                return self._counting(command, touches)
            counting = self._counting_collection if command.group in COLLECTIONS else self._counting_one
            return counting(command, touches and self._accesses.kind == LRU, touches)
        if not touches:
            return command.function
        if one_key:
            touching = self._touching_lru if self._accesses.kind == LRU else self._touching_lfu
            return touching(command.function)
        return self._touching(command)

    def refuse_or_make_room(self, session: Session, command: Command) -> None:
        """Make room, which is to be called while the limit is exceeded. Raises :class:`CommandError` if there is none
        and the command needs some. Within a transaction or a script nothing is done: it has been asked before."""
        if not session.atomic and not self._memory.make_room() and "denyoom" in command.flags:
            raise CommandError(OOM)

    # -- commands that read

    def _touching_lru(self, function: Function) -> Function:
        accesses = self._accesses

        def touched(session: Session, args: Args) -> bytes:
            reply = function(session, args)
            key, database = args[1], session.db
            if key in database.data and not session.no_touch:
                database.uses[key] = accesses.now
            return reply

        return touched

    def _touching_lfu(self, function: Function) -> Function:
        accesses = self._accesses

        def touched(session: Session, args: Args) -> bytes:
            reply = function(session, args)
            key, database = args[1], session.db
            use = database.uses.get(key)
            # Mostly nothing changes: the counter of a key that is used much grows rarely.
            grows = use is None or use >> 8 != accesses.minute or random() < accesses.chances[use & 255]
            if grows and not session.no_touch:
                accesses.record(database, (key,), sure=True)
            return reply

        return touched

    def _touching(self, command: Command) -> Function:
        function, accesses = command.function, self._accesses

        def touched(session: Session, args: Args) -> bytes:
            reply = function(session, args)
            if not session.no_touch:
                accesses.record(session.db, command.keys_in(args))
            return reply

        return touched

    # -- commands that write

    def _counting_collection(self, command: Command, touches_lru: bool, touches: bool) -> Function:
        """Of a command that changes the collection at its one key: what was counted for it is written down, so it need
        not be looked up before."""
        function, usage, accesses, recount = command.function, self._usage, self._accesses, self._recount

        def counted(session: Session, args: Args) -> bytes:
            if usage.bytes > usage.limit:
                self.refuse_or_make_room(session, command)
            reply = function(session, args)
            key, database = args[1], session.db
            known = database.counted.get(key)
            if known is None or not known.low <= len(known.members) <= known.high or len(args[-1]) > known.unlike:
                recount(database, key, database.data.get(key), args)
            if touches_lru:
                database.uses[key] = accesses.now
            elif touches:
                use = database.uses.get(key)
                if use is None or use >> 8 != accesses.minute or random() < accesses.chances[use & 255]:
                    accesses.record(database, (key,), sure=True)
            return reply

        return counted

    def _recount(self, database: Database, key: bytes, value: Any, args: Args) -> None:
        """Count a key that holds or held a collection, if anything does."""
        known = database.counted.get(key)
        if value is None:
            if known is not None:
                self._usage.remove(database, key, value)
        elif known is not None:
            self._usage.resize(database, known, value, len(args[-1]) > known.unlike)
        elif not isinstance(value, bytes):
            self._usage.settle(database, key, None, value)

    def _counting_one(self, command: Command, touches_lru: bool, touches: bool) -> Function:
        """Of any other command with one key."""
        function, usage, accesses = command.function, self._usage, self._accesses
        keyspace = self._keyspace

        def counted(session: Session, args: Args) -> bytes:
            if usage.bytes > usage.limit:
                self.refuse_or_make_room(session, command)
            key, database = args[1], session.db
            data, expired = database.data, keyspace.expired_keys
            before = data.get(key)
            reply = function(session, args)
            after = data.get(key)
            if keyspace.expired_keys != expired:
                before = None  # it was removed, and is counted no more
            if after is before:
                if after is not None and type(after) is not bytes and not isinstance(after, bytes):
                    self._recount(database, key, after, args)
            elif type(after) is bytes and (before is None or type(before) is bytes):
                if before is None:
                    change = STRING + len(key) + len(after)
                    database.candidates.append(key)
                else:
                    change = len(after) - len(before)
                database.bytes += change
                usage.bytes += change
            else:
                usage.settle(database, key, before, after)
            if touches_lru:
                if after is not None:
                    database.uses[key] = accesses.now
            elif touches:
                use = database.uses.get(key)
                if use is None or use >> 8 != accesses.minute or random() < accesses.chances[use & 255]:
                    accesses.record(database, (key,), sure=True)
            return reply

        return counted

    def _counting(self, command: Command, touches: bool) -> Function:
        """Of any command. Time stands still, so that no key expires between the looks at its value."""
        function, usage, accesses = command.function, self._usage, self._accesses

        def counted(session: Session, args: Args) -> bytes:
            if usage.bytes > usage.limit:
                self.refuse_or_make_room(session, command)
            database = session.db
            clock, keys = database.keyspace.clock, dict.fromkeys(command.keys_in(args))
            databases = database.keyspace.databases if command.name in OTHER_DATABASE else (database,)
            frozen = clock.frozen
            clock.frozen = clock.ms()
            try:
                before = [(each, key, each.lookup(key)) for each in databases for key in keys]
                return function(session, args)
            finally:
                clock.frozen = frozen
                for each, key, value in before:
                    self.settle(each, key, value, args)
                if touches:
                    accesses.record(database, list(keys))

        return counted

    def settle(self, database: Database, key: bytes, before: Any, args: Args) -> None:
        """Count a key as it is now; ``before`` is what it was, None if it was not there."""
        after = database.data.get(key)
        if after is not before:
            self._usage.settle(database, key, before, after)
        elif after is not None:
            self._recount(database, key, after, args)

    def batch(self, command: Command, batch: Batch) -> Batch:
        """The batch form of a command, with what is to be done besides."""
        usage, accesses = self._usage, self._accesses
        counts = usage.counting and "write" in command.flags
        touches, sets = accesses.recording and command.name not in NO_USE, command.name == "set"
        if not counts and not touches:
            return batch

        def wrapped(session: Session, *columns: Any) -> bytes | None:
            if counts and usage.bytes > usage.limit and not self._memory.make_room():
                return None  # one by one, which are refused
            database, keys = session.db, columns[0]
            if not counts:
                output = batch(session, *columns)
                if output is not None and not session.no_touch:
                    accesses.record(database, keys)
                return output
            data, distinct = database.data, set(keys)
            if database.expires and not database.expires.keys().isdisjoint(distinct):
                return None
            before: list[Any] = [*map(data.get, distinct)]
            output = batch(session, *columns)
            if output is None:
                return None
            after: list[Any] = columns[-1] if sets and len(distinct) == len(keys) else [*map(data.get, distinct)]
            if {*map(type, before), *map(type, after)} == ONLY_STRINGS:
                change = sum(map(len, after)) - sum(map(len, before))
                database.bytes += change
                usage.bytes += change
            else:
                last = [max(columns[-1], key=len)]
                for key, was in zip(distinct, before, strict=True):
                    self.settle(database, key, was, last)
            if touches:
                accesses.record(database, keys)
            return output

        return wrapped
