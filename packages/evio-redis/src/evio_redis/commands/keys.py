"""Keys, whatever they hold.

https://redis.io/docs/latest/commands/?group=generic
"""

from __future__ import annotations

import random
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..cluster.cluster import Cluster
from ..errors import BAD_DB_INDEX, NO_SUCH_KEY, SAME_OBJECT, SYNTAX_ERROR, CommandError
from ..keyspace.cursors import Scans, parse_cursor, parse_options
from ..keyspace.keyspace import Keyspace
from ..model.args import Options
from ..model.command import Args, command
from ..persistence.snapshots import Snapshots
from ..protocol.glob import matcher
from ..protocol.numbers import parse_int32
from ..protocol.resp import OK, ONE, ZERO, bulk, bulks, integer

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..keyspace.database import Database

__all__ = ["type_name"]

TYPE_NAMES = {"List": "list", "Hash": "hash", "Set": "set", "SortedSet": "zset", "Stream": "stream"}


def type_name(value: Any) -> str:
    """A value's type as TYPE names it."""
    return "string" if isinstance(value, bytes) else TYPE_NAMES[type(value).__name__]


def _database(session: Session, text: bytes, error: str | None = None) -> Database:
    index = parse_int32(text) if error is None else parse_int32(text, error, error)
    databases = session.services[Keyspace].databases
    if not 0 <= index < len(databases):
        raise CommandError(BAD_DB_INDEX)
    return databases[index]


@command("DEL", arity=-2, flags="write", keys=(1, -1, 1), group="generic")
def del_(session: Session, args: Args) -> bytes:
    database = session.db
    if len(args) == 2:
        return ONE if _delete(database, args[1]) else ZERO
    return integer(sum([_delete(database, key) for key in args[1:]]))


def _delete(database: Database, key: bytes) -> bool:
    """Delete a key; returns False if there is none."""
    if key in database.expires:
        if database.lookup(key) is None:
            return False
        del database.expires[key]
    if database.blocked:  # by XREADGROUP perhaps, which has to hear of it
        if not database.remove(key):
            return False
    elif database.data.pop(key, None) is None:
        return False
    database.changes += 1
    if database.has_listeners:
        database.keyspace.notify_watchers(database, key)
        database.keyspace.notify(database, "g", "del", key)
    return True


@command("UNLINK", arity=-2, flags="write fast", keys=(1, -1, 1), group="generic", since="4.0.0")
def unlink(session: Session, args: Args) -> bytes:
    return del_(session, args)


@command("EXISTS", arity=-2, flags="readonly fast", keys=(1, -1, 1), group="generic")
def exists(session: Session, args: Args) -> bytes:
    read = session.db.read
    if len(args) == 2:
        return ONE if read(args[1]) is not None else ZERO
    return integer(sum([read(key) is not None for key in args[1:]]))


@command("TOUCH", arity=-2, flags="readonly fast", keys=(1, -1, 1), group="generic", since="3.2.1")
def touch(session: Session, args: Args) -> bytes:
    return exists(session, args)


@command("TYPE", arity=2, flags="readonly fast", keys=(1,), group="generic")
def type_(session: Session, args: Args) -> bytes:
    value = session.db.read(args[1])
    return b"+%b\r\n" % (b"none" if value is None else type_name(value).encode())


@command("DBSIZE", arity=1, flags="readonly fast", group="server")
def dbsize(session: Session, args: Args) -> bytes:
    return integer(len(session.db.data))


@command("RANDOMKEY", arity=1, flags="readonly", group="generic")
def randomkey(session: Session, args: Args) -> bytes:
    database = session.db
    while database.data:
        # Walking there is O(N), as a dict has no index; in a large one a hundredth of a second.
        key = next(islice(database.data, random.randrange(len(database.data)), None))
        if database.lookup(key) is not None:
            return bulk(key)
    return session.resp.null


@command("KEYS", arity=2, flags="readonly", group="generic")
def keys(session: Session, args: Args) -> bytes:
    database, match = session.db, matcher(args[1])
    found = [key for key in database.data if match(key)]
    if database.expires:
        found = [key for key in found if database.lookup(key) is not None]
    return bulks(found)


@command("SCAN", arity=-2, flags="readonly", group="generic", since="2.8.0")
def scan(session: Session, args: Args) -> bytes:
    cursor = parse_cursor(args[1])
    match, count, kind = parse_options(args, 2, with_type=True)
    database = session.db
    cursor, found = session.services[Scans].scan(database, lambda: database.data, cursor, count)
    if match is not None:
        found = [key for key in found if match(key)]
    if kind is not None:
        values = [(key, database.lookup(key)) for key in found]
        found = [key for key, value in values if value is not None and type_name(value).encode() == kind]
    elif database.expires:
        found = [key for key in found if database.lookup(key) is not None]
    else:
        data = database.data
        found = [key for key in found if key in data]
    text = b"%d" % cursor
    return b"*2\r\n$%d\r\n%b\r\n%b" % (len(text), text, bulks(found))


@command("RENAME", arity=3, flags="write", keys=(1, 2), group="generic")
def rename(session: Session, args: Args) -> bytes:
    _rename(session, args[1], args[2])
    return OK


@command("RENAMENX", arity=3, flags="write fast", keys=(1, 2), group="generic")
def renamenx(session: Session, args: Args) -> bytes:
    database = session.db
    if database.lookup(args[1]) is None:
        raise CommandError(NO_SUCH_KEY)
    if database.lookup(args[2]) is not None:
        return ZERO
    _rename(session, args[1], args[2])
    return ONE


def _rename(session: Session, old: bytes, new: bytes) -> None:
    database = session.db
    value = database.lookup(old)
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    if old == new:
        return
    expiry = database.expires.get(old)
    database.lookup(new)  # an expired one is told of as expired
    database.remove(old)
    database.put(new, value)
    if expiry is not None:
        database.set_expiry(new, expiry)
    database.changes += 1
    if database.has_listeners:
        keyspace = database.keyspace
        keyspace.notify_watchers(database, old)
        keyspace.notify_watchers(database, new)
        keyspace.notify(database, "g", "rename_from", old)
        keyspace.notify(database, "g", "rename_to", new)


@command("COPY", arity=-3, flags="write denyoom", keys=(1, 2), group="generic", since="6.2.0")
def copy(session: Session, args: Args) -> bytes:
    source, target, replace = session.db, session.db, False
    options = Options(args, 3)
    for option in options:
        if option == b"REPLACE":
            replace = True
        elif option == b"DB":
            target = _database(session, options.word())
            if target is not source:
                _needs_databases(session, "Copying to another database is")
        else:
            raise options.unknown()
    if source is target and args[1] == args[2]:
        raise CommandError(SAME_OBJECT)
    value = source.read(args[1])
    if value is None or (target.lookup(args[2]) is not None and not replace):
        return ZERO
    new = args[2] not in target.data
    target.put(args[2], value if isinstance(value, bytes) else value.copy())
    if new and target is not session.db and target.has_listeners:
        target.keyspace.created(target, args[2])
    if args[1] in source.expires:
        target.set_expiry(args[2], source.expires[args[1]])
    target.changed(args[2], "g", "copy_to")
    return ONE


@command("MOVE", arity=3, flags="write fast", keys=(1,), group="generic")
def move(session: Session, args: Args) -> bytes:
    _needs_databases(session, "MOVE is")
    source, target, key = session.db, _database(session, args[2]), args[1]
    if source is target:
        raise CommandError(SAME_OBJECT)
    value = source.lookup(key)
    if value is None or target.lookup(key) is not None:
        return ZERO
    expiry = source.expires.get(key)
    source.remove(key)
    target.add(key, value)
    if target.has_listeners:
        target.keyspace.created(target, key)
    if expiry is not None:
        target.set_expiry(key, expiry)
    source.changes += 1
    for database, event in ((source, "move_from"), (target, "move_to")):
        if database.has_listeners:
            database.keyspace.notify_watchers(database, key)
            database.keyspace.notify(database, "g", event, key)
    return ONE


def _needs_databases(session: Session, what: str) -> None:
    if session.services[Cluster].enabled:
        raise CommandError(f"ERR {what} not allowed in cluster mode")


@command("SWAPDB", arity=3, flags="write fast", group="server", since="4.0.0")
def swapdb(session: Session, args: Args) -> bytes:
    _needs_databases(session, "SWAPDB is")
    one = _database(session, args[1], "ERR invalid first DB index")
    other = _database(session, args[2], "ERR invalid second DB index")
    session.services[Keyspace].swap(one, other)
    return OK


@command("FLUSHDB", arity=-1, flags="write", group="server")
def flushdb(session: Session, args: Args) -> bytes:
    _check_flush(args)
    session.services[Keyspace].flush([session.db])
    return OK


@command("FLUSHALL", arity=-1, flags="write", group="server")
def flushall(session: Session, args: Args) -> bytes:
    _check_flush(args)
    session.services[Keyspace].flush(session.services[Keyspace].databases)
    session.services[Snapshots].flushed()
    return OK


def _check_flush(args: Args) -> None:
    if len(args) > 2 or (len(args) == 2 and args[1].upper() not in (b"SYNC", b"ASYNC")):
        raise CommandError(SYNTAX_ERROR)
