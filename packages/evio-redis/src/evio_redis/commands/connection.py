"""Connection management.

https://redis.io/docs/latest/commands/?group=connection
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..command import Args, command
from ..errors import BAD_DB_INDEX, CommandError, wrong_arity
from ..numbers import parse_int
from ..resp import OK, array, bulk

if TYPE_CHECKING:
    from ..session import Session

__all__: list[str] = []

PONG = b"+PONG\r\n"


@command("PING", arity=-1, flags="fast")
def ping(session: Session, args: Args) -> bytes:
    if len(args) > 2:
        raise wrong_arity("ping")
    if session.subscribed and session.resp.version == 2:
        return array([bulk(b"pong"), bulk(args[1] if len(args) > 1 else b"")])
    return bulk(args[1]) if len(args) > 1 else PONG


@command("ECHO", arity=2, flags="fast")
def echo(session: Session, args: Args) -> bytes:
    return bulk(args[1])


@command("SELECT", arity=2, flags="loading stale fast")
def select(session: Session, args: Args) -> bytes:
    index = parse_int(args[1])
    databases = session.server.keyspace.databases
    if not 0 <= index < len(databases):
        raise CommandError(BAD_DB_INDEX)
    session.db = databases[index]
    return OK
