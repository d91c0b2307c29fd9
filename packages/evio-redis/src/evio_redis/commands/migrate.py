"""MIGRATE.

https://redis.io/docs/latest/commands/migrate/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import evio_core

from ..errors import CommandError
from ..model.args import Options
from ..model.command import Args, command
from ..process.running import Running
from ..protocol.numbers import parse_int, to_int
from ..protocol.resp import simple
from ..replication.migration import NOT_CONNECTED, NOT_WRITTEN, Migration

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

DEFAULT_TIMEOUT = 1000
"""Milliseconds, for a time-out of 0 or less."""

FIXED = 6
"""Arguments before the options."""

VALUES = {b"AUTH": 1, b"AUTH2": 2}
"""Options and how many arguments they take."""


def _keys(args: Args) -> list[int]:
    """Return the positions of the keys."""
    at = FIXED
    while at < len(args):
        name = args[at].upper()
        if name == b"KEYS" and not args[3]:
            return list(range(at + 1, len(args)))
        at += 1 + VALUES.get(name, 0)
    return [3]


@command("MIGRATE", arity=-6, flags="write movablekeys", keys=(3, 3, 1), group="generic", since="2.6.0", get_keys=_keys)
def migrate(session: Session, args: Args) -> bytes:
    copy = replace = False
    login: list[bytes] = []
    options = Options(args, FIXED)
    for name in options:
        if name == b"COPY":
            copy = True
        elif name == b"REPLACE":
            replace = True
        elif name in VALUES:
            login = options.take(VALUES[name])
            session.redact(args, *range(options.at - len(login), options.at))
        elif name == b"KEYS":
            if args[3]:
                raise CommandError(
                    "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
                )
            break
        else:
            raise options.unknown()
    timeout = parse_int(args[5])
    database = parse_int(args[4])
    keys = [args[at] for at in _keys(args)]
    present = [key for key in dict.fromkeys(keys) if session.db.read(key) is not None]
    if not present:
        return simple("NOKEY")
    if session.atomic:
        raise CommandError("ERR MIGRATE cannot be used here within a transaction or a script: the client has to wait")
    core = session.services[Running].core
    port = to_int(args[2])
    if core is None or port is None or not 0 < port < 65536:
        raise CommandError(NOT_WRITTEN)  # as to a port where nobody listens
    seconds = (timeout if timeout > 0 else DEFAULT_TIMEOUT) / 1000
    migration = Migration(session.services, session, present, database, login, copy, replace)
    try:
        core.dial(evio_core.url("tcp", (args[1].decode("utf-8", "replace"), port)), timeout=seconds, handler=migration)
    except evio_core.EvioError:
        raise CommandError(NOT_CONNECTED) from None
    return migration.begin(core, seconds)
