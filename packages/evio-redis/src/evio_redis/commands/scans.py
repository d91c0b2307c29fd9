"""HSCAN, SSCAN and ZSCAN: the same walk over three types."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, TypeVar

from ..keyspace.cursors import Scans, parse_cursor, parse_options
from ..protocol.resp import array, bulk, bulks

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..model.command import Args

__all__ = ["scan_value"]

Value = TypeVar("Value")


def scan_value(
    session: Session,
    args: Args,
    kind: type[Value],
    packed: Callable[[Value], list[bytes] | None],
    members: Callable[[Value], Collection[bytes]],
    shown: Callable[[Value, bytes], tuple[bytes, ...]],
) -> bytes:
    """The reply of a scan. ``packed`` returns all members of a value that is small enough to be returned at once, else
    None; ``members`` all members in any order; ``shown`` what is shown of one, nothing if it is gone. Raises
    :class:`CommandError`."""
    cursor = parse_cursor(args[2])
    value = session.db.read_typed(args[1], kind)
    if value is None:
        return array([bulk(b"0"), array([])])
    match, count, _ = parse_options(args, 3)
    found = packed(value)
    if found is not None:
        cursor = 0
    else:
        cursor, found = session.services[Scans].scan(value, lambda: members(value), cursor, count)
    parts = [part for member in found if match is None or match(member) for part in shown(value, member)]
    return array([bulk(b"%d" % cursor), bulks(parts)])
