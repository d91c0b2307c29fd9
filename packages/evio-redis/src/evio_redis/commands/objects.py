"""OBJECT: how values are kept, and how long ago they were used.

https://redis.io/docs/latest/commands/object/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import CommandError
from ..keyspace.idle_times import LFU, Accesses
from ..keyspace.types.strings import encoding_of
from ..model.command import Args, command
from ..protocol.numbers import to_int
from ..protocol.resp import bulk, integer
from .help import declare_help

if TYPE_CHECKING:
    from ..clients.session import Session

__all__ = ["encoding_name"]

SHARED_INTEGERS = 10000
"""Integers below this are shared objects in Redis, with a reference count that never changes."""

ADJUST = "Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
SHARED_REFCOUNT = 2147483647


def encoding_name(value: Any) -> str:
    """The encoding that Redis would use."""
    return encoding_of(value) if isinstance(value, bytes) else str(value.encoding())


def _value(session: Session, args: Args) -> Any:
    return session.db.read(args[2])


@command("OBJECT ENCODING", arity=3, flags="readonly", keys=(2,), group="generic", since="2.2.3")
def encoding(session: Session, args: Args) -> bytes:
    value = _value(session, args)
    return session.resp.null if value is None else bulk(encoding_name(value).encode())


@command("OBJECT REFCOUNT", arity=3, flags="readonly", keys=(2,), group="generic", since="2.2.3")
def refcount(session: Session, args: Args) -> bytes:
    value = _value(session, args)
    if value is None:
        return session.resp.null
    number = to_int(value) if encoding_name(value) == "int" else None
    return integer(SHARED_REFCOUNT if number is not None and 0 <= number < SHARED_INTEGERS else 1)


@command("OBJECT IDLETIME", arity=3, flags="readonly", keys=(2,), group="generic", since="2.2.3")
def idletime(session: Session, args: Args) -> bytes:
    accesses = session.services[Accesses]
    if _value(session, args) is None:
        return session.resp.null
    if accesses.kind == LFU:
        raise CommandError(f"ERR An LFU maxmemory policy is selected, idle time not tracked. {ADJUST}")
    return integer(accesses.idle(session.db, args[2]))


@command("OBJECT FREQ", arity=3, flags="readonly", keys=(2,), group="generic", since="4.0.0")
def freq(session: Session, args: Args) -> bytes:
    accesses = session.services[Accesses]
    if _value(session, args) is None:
        return session.resp.null
    if accesses.kind != LFU:
        raise CommandError(f"ERR An LFU maxmemory policy is not selected, access frequency not tracked. {ADJUST}")
    return integer(accesses.frequency(session.db, args[2]))


declare_help(
    "OBJECT",
    "generic",
    """\
ENCODING <key>
    The internal representation that Redis would keep the value of <key> in.
FREQ <key>
    How often <key> is used, on a logarithmic scale; needs an LFU maxmemory-policy.
HELP
    This text.
IDLETIME <key>
    Seconds since <key> was last used.
REFCOUNT <key>
    References to the value of <key>.""",
)
