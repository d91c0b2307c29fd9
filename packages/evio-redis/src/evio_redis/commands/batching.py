"""Common parts of the batch forms of commands.

A pipeline of one command, as bulk loading sends it, is served at once, column by column. A batch form, which stands
beside its command, does what the command would do for each of the rows in turn, and returns all their replies. It gets
the arguments' columns, without the name. It returns None, and has changed nothing, if it is not sure: then the commands
are run one by one. Batch forms rely on nobody having to be told of each change: the dispatcher sees to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ..keyspace.database import Database
from ..protocol.resp import bulk

if TYPE_CHECKING:
    from ..clients.session import Session

__all__ = ["Column", "common", "integers", "strings", "volatile"]

Column: TypeAlias = Sequence[bytes]


def strings(values: Sequence[bytes]) -> bytes:
    """Bulk strings, one behind the other. Raises ``TypeError`` if one is no string."""
    sizes = set(map(len, values))
    if len(sizes) > 1:
        return b"".join(map(bulk, values))
    (size,) = sizes
    head = b"$%d\r\n" % size
    return head + (b"\r\n" + head).join(values) + b"\r\n"


def integers(numbers: range) -> bytes:
    """Integers, likewise."""
    return b":%d\r\n" * len(numbers) % tuple(numbers)


def volatile(database: Database, keys: Iterable[bytes]) -> bool:
    """Tell whether any of these may expire."""
    return bool(database.expires) and not database.expires.keys().isdisjoint(keys)


def common(session: Session, keys: Column, kind: type) -> bytes | None:
    """The key that all rows are about, if it holds this type, does not expire, and changes of it are nobody's
    business."""
    database, key = session.db, keys[0]
    if type(database.data.get(key)) is not kind or database.has_listeners or key in database.expires:
        return None
    return key if keys.count(key) == len(keys) else None
