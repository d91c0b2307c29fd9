"""XINFO: what is known of a stream, its groups and their consumers.

https://redis.io/docs/latest/commands/xinfo-stream/
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ..errors import NO_SUCH_KEY, CommandError, bad_subcommand
from ..keyspace.types.stream_groups import UNKNOWN, Consumer, Group, Pending
from ..keyspace.types.stream_ids import show_id
from ..keyspace.types.streams import Node, Stream
from ..model.command import Args, command
from ..protocol.numbers import parse_int
from ..protocol.resp import array, bulk, integer
from .help import declare_help

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

FEW = 10
"""Entries and pending ones that FULL shows unless it is given a COUNT."""

SAMPLE = 1000
"""Nodes from which the size of Redis's radix tree is estimated."""

KEY_BITS, BYTE = 128, 8

declare_help(
    "XINFO",
    "stream",
    """\
CONSUMERS <key> <groupname>
    What is known of the consumers of a group.
GROUPS <key>
    What is known of the groups of a stream.
STREAM <key> [FULL [COUNT <count>]
    What is known of a stream.
HELP
    This text.""",
)


def _stream(session: Session, key: bytes) -> Stream:
    value = session.db.typed(key, Stream)
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    return value


def _map(session: Session, fields: dict[str, bytes]) -> bytes:
    return session.resp.map([part for name, reply in fields.items() for part in (bulk(name.encode()), reply)])


def _id(entry_id: int) -> bytes:
    return bulk(show_id(entry_id))


def _optional(session: Session, number: int | None) -> bytes:
    return session.resp.null if number is None else integer(number)


# -- GROUPS and CONSUMERS


@command("XINFO GROUPS", arity=3, flags="readonly", keys=(2,), group="stream", since="5.0.0")
def groups(session: Session, args: Args) -> bytes:
    value = _stream(session, args[2])
    return array(
        [
            _map(
                session,
                {
                    "name": bulk(name),
                    "consumers": integer(len(group.consumers)),
                    "pending": integer(len(group.pending)),
                    "last-delivered-id": _id(group.last_id),
                    **_progress(session, value, group),
                },
            )
            for name, group in sorted(value.groups.items())
        ]
    )


def _progress(session: Session, value: Stream, group: Group) -> dict[str, bytes]:
    read = group.read if group.read != UNKNOWN else None
    return {"entries-read": _optional(session, read), "lag": _optional(session, value.lag(group))}


@command("XINFO CONSUMERS", arity=4, flags="readonly", keys=(2,), group="stream", since="5.0.0")
def consumers(session: Session, args: Args) -> bytes:
    group = _stream(session, args[2]).groups.get(args[3])
    if group is None:
        key, name = (text.decode("utf-8", "surrogateescape") for text in args[2:4])
        raise CommandError(f"NOGROUP No such consumer group '{name}' for key name '{key}'")
    now = session.db.keyspace.clock.ms()
    return array(
        [
            _map(
                session,
                {
                    "name": bulk(name),
                    "pending": integer(len(consumer.pending)),
                    "idle": integer(max(0, now - consumer.seen)),
                },
            )
            for name, consumer in sorted(group.consumers.items())
        ]
    )


# -- STREAM


@command("XINFO STREAM", arity=-3, flags="readonly", keys=(2,), group="stream", since="5.0.0")
def stream(session: Session, args: Args) -> bytes:
    value = _stream(session, args[2])
    full, count = _stream_options(args)
    fields = {
        "length": integer(value.length),
        "radix-tree-keys": integer(len(value.nodes)),
        "radix-tree-nodes": integer(_tree_nodes(value.nodes)),
        "last-generated-id": _id(value.last_id),
        "max-deleted-entry-id": _id(value.max_deleted),
        "entries-added": integer(value.added),
        "recorded-first-entry-id": _id(value.first_id),
    }
    if full:
        shown = [_full_group(session, value, name, group, count) for name, group in sorted(value.groups.items())]
        fields |= {"entries": value.reply(count=count or None), "groups": array(shown)}
    else:
        fields |= {
            "groups": integer(len(value.groups)),
            "first-entry": _edge(session, value, backwards=False),
            "last-entry": _edge(session, value, backwards=True),
        }
    return _map(session, fields)


def _stream_options(args: Args) -> tuple[bool, int]:
    """FULL and its COUNT, 0 for all. Raises :class:`CommandError`."""
    if len(args) == 3:
        return False, 0
    if args[3].upper() != b"FULL" or len(args) not in (4, 6) or (len(args) == 6 and args[4].upper() != b"COUNT"):
        raise bad_subcommand("XINFO", args[1])
    if len(args) == 4:
        return True, FEW
    count = parse_int(args[5])
    return True, count if count >= 0 else FEW


def _edge(session: Session, value: Stream, backwards: bool) -> bytes:
    return value.reply(count=1, backwards=backwards).removeprefix(b"*1\r\n") if value.length else session.resp.null


def _full_group(session: Session, value: Stream, name: bytes, group: Group, count: int) -> bytes:
    pending = [
        array([_id(entry_id), bulk(delivery.consumer.name), integer(delivery.time), integer(delivery.count)])
        for entry_id in _some(group.pending, count)
        for delivery in (group.pending.deliveries[entry_id],)
    ]
    return _map(
        session,
        {
            "name": bulk(name),
            "last-delivered-id": _id(group.last_id),
            **_progress(session, value, group),
            "pel-count": integer(len(group.pending)),
            "pending": array(pending),
            "consumers": array([_full_consumer(session, each, count) for _, each in sorted(group.consumers.items())]),
        },
    )


def _full_consumer(session: Session, consumer: Consumer, count: int) -> bytes:
    pending = [
        array([_id(entry_id), integer(delivery.time), integer(delivery.count)])
        for entry_id in _some(consumer.pending, count)
        for delivery in (consumer.pending.deliveries[entry_id],)
    ]
    return _map(
        session,
        {
            "name": bulk(consumer.name),
            "seen-time": integer(consumer.seen),
            "pel-count": integer(len(consumer.pending)),
            "pending": array(pending),
        },
    )


def _some(pending: Pending, count: int) -> list[int]:
    found: list[int] = []
    for entry_id in pending.ids():
        found.append(entry_id)
        if len(found) == count:
            break
    return found


def _tree_nodes(nodes: list[Node]) -> int:
    """The nodes of the radix tree in which Redis would keep nodes: one for each key at its end, one wherever keys part,
    and one for each stretch between these. Estimated if there are many."""
    if not nodes:
        return 1
    firsts = [node.first for node in nodes[-SAMPLE:]]
    # Where keys part, by how many bytes they have in common with the one before; a stack as in a depth-first walk.
    count, parted = 0, [-1]  # depths of the places on the way to the current key where keys part
    depth_of_leaf = KEY_BITS // BYTE
    for one, other in pairwise(firsts):
        common = (KEY_BITS - (one ^ other).bit_length()) // BYTE
        below = depth_of_leaf
        while parted[-1] > common:
            count += 1 + (below - parted[-1] > 1)
            below = parted.pop()
        count += below - common > 1
        if parted[-1] != common:
            parted.append(common)
    below = depth_of_leaf
    while len(parted) > 1:
        count += 1 + (below - parted[-1] > 1)
        below = parted.pop()
    count += below > 0
    return (count + len(firsts)) * len(nodes) // len(firsts)
