"""Strings.

https://redis.io/docs/latest/commands/?group=string
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..command import Args, command
from ..errors import WRONGTYPE, CommandError
from ..resp import HEADS, OK, bulk

if TYPE_CHECKING:
    from ..session import Session

__all__: list[str] = []


@command("GET", arity=2, flags="readonly fast", keys=(1,))
def get(session: Session, args: Args) -> bytes:
    database = session.db
    value = database.data.get(args[1])
    if type(value) is bytes and not database.expires:
        size = len(value)
        return HEADS[size] + value + b"\r\n" if size < 1024 else b"$%d\r\n%b\r\n" % (size, value)
    value = database.lookup(args[1])
    if value is None:
        return session.resp.null
    if type(value) is not bytes:
        raise CommandError(WRONGTYPE)
    return bulk(value)


@command("SET", arity=-3, flags="write denyoom", keys=(1,))
def set_(session: Session, args: Args) -> bytes:
    database = session.db
    if len(args) == 3:
        key = args[1]
        database.data[key] = args[2]
        database.changes += 1
        if database.expires:
            database.expires.pop(key, None)
        if database.alert:
            database.keyspace.touched(database, key)
            database.keyspace.notify(database, "$", "set", key)
        return OK
    return OK
