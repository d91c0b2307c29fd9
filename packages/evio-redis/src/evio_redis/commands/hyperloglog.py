"""HyperLogLogs: strings that tell how many different elements were added.

https://redis.io/docs/latest/commands/?group=hyperloglog
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..config.config import Config
from ..errors import WRONGTYPE, CommandError
from ..keyspace.types.hyperloglog import NEW, REGISTERS, Corrupt, HyperLogLog, Sketches, estimate, highest
from ..model.command import Args, command
from ..protocol.resp import OK, ONE, ZERO, array, bulk, integer, simple

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

CORRUPT = "INVALIDOBJ Corrupted HLL object detected"
NOT_ONE = "WRONGTYPE Key is not a valid HyperLogLog string value."


def _value(value: object) -> bytes | None:
    """Return what was found at a key if that is one, or nothing. Raises :class:`CommandError`."""
    if value is None:
        return None
    if not isinstance(value, bytes):
        raise CommandError(WRONGTYPE)
    if not HyperLogLog.valid(value):
        raise CommandError(NOT_ONE)
    return value


def _get(session: Session, key: bytes, read: bool = False) -> HyperLogLog | None:
    """The one at a key, a copy; ``read`` if that counts as reading it. Raises :class:`CommandError`."""
    value = _value(session.db.read(key) if read else session.db.lookup(key))
    return None if value is None else HyperLogLog(value)


def _put(session: Session, key: bytes, value: HyperLogLog) -> None:
    """Keep it; an expiry time stays."""
    session.db.data[key] = value.store()


@command("PFADD", arity=-2, flags="write denyoom fast", keys=(1,), group="hyperloglog", since="2.8.9")
def pfadd(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    data, services = database.lookup(key), session.services
    sketches = services[Sketches]
    value = sketches.get(key)
    if value is None or value.stored is not data:
        value = sketches.take(key, _value(data) or NEW)
    try:
        updated = value.add(args[2:], services[Config].hll_sparse_max_bytes)
    except Corrupt:
        del sketches[key]
        raise CommandError(CORRUPT) from None
    if data is None:
        updated += 1
    if not updated:
        return ZERO
    database.data[key] = value.store()
    database.changed(key, "$", "pfadd", updated)
    return ONE


@command("PFCOUNT", arity=-2, flags="readonly may_replicate", keys=(1, -1, 1), group="hyperloglog", since="2.8.9")
def pfcount(session: Session, args: Args) -> bytes:
    if len(args) > 2:
        return integer(estimate(_union(session, args[1:])[0]))
    database, key = session.db, args[1]
    value = _get(session, key, read=True)
    if value is None:
        return ZERO
    count = value.counted
    if count is None:
        try:
            count = value.count()
        except Corrupt:
            raise CommandError(CORRUPT) from None
        _put(session, key, value)
        database.changes += 1
        if database.has_listeners:
            database.keyspace.notify_watchers(database, key)
    return integer(count)


def _union(session: Session, keys: Args) -> tuple[bytearray, bool]:
    """The highest registers of all, and whether any of them is dense."""
    union = bytearray(REGISTERS)
    dense = False
    for key in keys:
        value = _get(session, key, read=True)
        if value is not None:
            dense = dense or not value.sparse
            try:
                union = highest(union, value.registers())
            except Corrupt:
                raise CommandError(CORRUPT) from None
    return union, dense


@command("PFMERGE", arity=-2, flags="write denyoom", keys=(1, -1, 1), group="hyperloglog", since="2.8.9")
def pfmerge(session: Session, args: Args) -> bytes:
    union, dense = _union(session, args[1:])  # what is merged into is part of it
    value = _get(session, args[1]) or HyperLogLog()
    if dense or not value.sparse:
        value.set_dense(union)
    else:
        registers = [(register, most) for register, most in enumerate(union) if most]
        value.raise_all(registers, session.services[Config].hll_sparse_max_bytes)
    value.invalidate()
    _put(session, args[1], value)
    session.db.changed(args[1], "$", "pfadd")
    return OK


@command("PFDEBUG", arity=3, flags="write denyoom admin", keys=(2,), group="hyperloglog", since="2.8.9")
def pfdebug(session: Session, args: Args) -> bytes:
    what, key = args[1].upper(), args[2]
    value = _get(session, key)
    if value is None:
        raise CommandError("ERR The specified key does not exist")
    if what == b"ENCODING":
        return simple("sparse" if value.sparse else "dense")
    if what == b"DECODE":
        return _decode(value)
    if what not in (b"GETREG", b"TODENSE"):
        raise CommandError(f"ERR Unknown PFDEBUG subcommand '{args[1].decode('utf-8', 'surrogateescape')}'")
    was_sparse = value.sparse
    if was_sparse:
        try:
            value.to_dense()
        except Corrupt:
            raise CommandError(CORRUPT) from None
        _put(session, key, value)
        session.db.changes += 1
    if what == b"GETREG":
        return array([integer(register) for register in value.registers()])
    return ONE if was_sparse else ZERO


def _decode(value: HyperLogLog) -> bytes:
    if not value.sparse:
        raise CommandError("ERR HLL encoding is not sparse")
    words = [f"v:{most},{size}" if most else f"{' zZ'[width]}:{size}" for most, size, width in value.runs()]
    return bulk(" ".join(words).encode())


SELF_TEST_ELEMENTS = 10_000
"""Redis adds ten million, for which this would block everybody for a minute."""


@command("PFSELFTEST", arity=1, flags="admin", group="hyperloglog", since="2.8.9")
def pfselftest(session: Session, args: Args) -> bytes:
    sparse, dense, seed = HyperLogLog(), HyperLogLog(), os.urandom(8)
    dense.to_dense()
    limit = session.services[Config].hll_sparse_max_bytes
    for number in range(1, SELF_TEST_ELEMENTS + 1):
        element = seed + b"%d" % number
        sparse.add([element], limit)
        dense.add([element], limit)
        if number in (10, 100, 1000, SELF_TEST_ELEMENTS):
            if sparse.registers() != dense.registers():
                raise CommandError("ERR TESTFAILED dense/sparse disagree")
            error = abs(dense.count() - number)
            if error > max(1, 6 * 1.04 / 128 * number):
                raise CommandError(f"ERR TESTFAILED Too big error. card:{number} abserr:{error}")
    return OK
