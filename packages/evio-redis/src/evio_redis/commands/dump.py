"""DUMP and RESTORE: values as bytes, which another server, or a real Redis, makes values of again.

https://redis.io/docs/latest/commands/restore/
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.config import Config
from ..errors import BUSYKEY, CommandError
from ..keyspace.idle_times import Accesses
from ..model.args import Options
from ..model.command import Args, command
from ..persistence.rdb import payload
from ..persistence.rdb.payload import Checksums
from ..protocol.numbers import parse_int
from ..protocol.quoting import one_line
from ..protocol.resp import OK, bulk

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

log: logging.Logger = logging.getLogger("evio_redis")

MOST_FREQUENT = 255


@command("DUMP", arity=2, flags="readonly", keys=(1,), group="generic", since="2.6.0")
def dump(session: Session, args: Args) -> bytes:
    value = session.db.read(args[1])
    return session.resp.null if value is None else bulk(payload.pack(value, session.services[Config]))


@dataclass(slots=True)
class _Options:
    replace: bool = False
    absolute: bool = False
    idle: int | None = None
    frequency: int | None = None


def _options(args: Args, at: int) -> _Options:
    options = _Options()
    rest = Options(args, at)
    for name in rest:
        if name == b"REPLACE":
            options.replace = True
        elif name == b"ABSTTL":
            options.absolute = True
        elif name == b"IDLETIME" and options.frequency is None:
            options.idle = parse_int(rest.word())
            if options.idle < 0:
                raise CommandError("ERR Invalid IDLETIME value, must be >= 0")
        elif name == b"FREQ" and options.idle is None:
            options.frequency = parse_int(rest.word())
            if not 0 <= options.frequency <= MOST_FREQUENT:
                raise CommandError("ERR Invalid FREQ value, must be >= 0 and <= 255")
        else:
            raise rest.unknown()
    return options


@command("RESTORE", arity=-4, flags="write denyoom", keys=(1,), group="generic", since="2.6.0")
def restore(session: Session, args: Args) -> bytes:
    database, key, data = session.db, args[1], args[3]
    options = _options(args, 4)
    if not options.replace and database.lookup(key) is not None:
        raise CommandError(BUSYKEY)
    when = parse_int(args[2])
    if when < 0:
        raise CommandError("ERR Invalid TTL value, must be >= 0")
    if not payload.intact(data, session.services[Checksums].checked):
        raise CommandError("ERR DUMP payload version or checksum are wrong")
    try:
        value = payload.unpack(data, session.services[Config])
    except ValueError as error:
        log.warning("RESTORE: the payload's integrity check failed: %s", one_line(str(error)))
        raise CommandError("ERR Bad data format") from None
    now = database.keyspace.clock.ms()
    if when and not options.absolute:
        when += now
    existed = database.lookup(key) is not None and database.remove(key)
    if when and when <= now:
        if existed:
            database.changed(key, "g", "del")
            session.rewrite(b"DEL", key)
        return OK
    database.add(key, value)
    if when:
        database.set_expiry(key, when)
        if not options.absolute:
            session.rewrite(args[0], key, b"%d" % when, data, *args[4:], b"ABSTTL")
    accesses = session.services[Accesses]
    if options.idle is not None:
        accesses.set_idle(database, key, options.idle)
    elif options.frequency is not None:
        accesses.set_frequency(database, key, options.frequency)
    database.changed(key, "g", "restore")
    return OK
