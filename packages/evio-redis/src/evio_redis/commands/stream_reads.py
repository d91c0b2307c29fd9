"""Streams: reading what is new in several, and waiting for it.

https://redis.io/docs/latest/commands/xread/
https://redis.io/docs/latest/commands/xreadgroup/
"""

from __future__ import annotations

from dataclasses import dataclass
from time import time_ns
from typing import TYPE_CHECKING

from ..clients.blocking import Blocking
from ..errors import SYNTAX_ERROR, TIMEOUT_NEGATIVE, CommandError
from ..keyspace.types.stream_groups import Consumer, Group
from ..keyspace.types.stream_ids import LAST, parse_id, show_id
from ..keyspace.types.streams import Stream
from ..model.command import Args, command
from ..protocol.numbers import LLONG_MAX, parse_int
from ..protocol.resp import array, bulk

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..keyspace.database import Database

__all__ = ["claim", "find_consumer", "group_changed", "now_ms"]

NEW = LAST + 1
"""For an ID: the entries that the group was not given yet."""

GONE = "UNBLOCKED the stream key no longer exists"
NO_GROUP_ANY_MORE = "NOGROUP the consumer group this client was blocked on no longer exists"


# -- options


@dataclass(slots=True)
class _Options:
    """The options of a call. ``timeout`` is in seconds, 0 for ever, None for not to wait; ``count`` 0 is no limit."""

    keys: Args
    ids: Args
    count: int = 0
    timeout: float | None = None
    group: bytes | None = None
    consumer: bytes = b""
    noack: bool = False


def _options(session: Session, args: Args, grouped: bool) -> _Options:
    options = _Options([], [])
    at, last = 1, len(args) - 1
    while at <= last:
        word = args[at].upper()
        if word == b"STREAMS" and at < last:
            words = args[at + 1 :]
            if len(words) % 2:
                raise CommandError(
                    "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."
                )
            options.keys, options.ids = words[: len(words) // 2], words[len(words) // 2 :]
            break
        if word == b"BLOCK" and at < last:
            if session.scripted:
                name = args[0].decode("utf-8", "surrogateescape")
                raise CommandError(f"ERR {name} command is not allowed with BLOCK option from scripts")
            at += 1
            options.timeout = _timeout(args[at])
        elif word == b"COUNT" and at < last:
            at += 1
            options.count = max(0, parse_int(args[at]))
        elif word == b"GROUP" and at + 1 < last:
            _only_grouped(grouped, "GROUP")
            options.group, options.consumer = args[at + 1 : at + 3]
            at += 2
        elif word == b"NOACK":
            _only_grouped(grouped, "NOACK")
            options.noack = True
        else:
            raise CommandError(SYNTAX_ERROR)
        at += 1
    if not options.keys:
        raise CommandError(SYNTAX_ERROR)
    if grouped and options.group is None:
        raise CommandError("ERR Missing GROUP option for XREADGROUP")
    return options


def _only_grouped(grouped: bool, option: str) -> None:
    if not grouped:
        raise CommandError(f"ERR The {option} option is only supported by XREADGROUP. You called XREAD instead.")


def _timeout(text: bytes) -> float:
    milliseconds = parse_int(text, "ERR timeout is not an integer or out of range")
    if milliseconds < 0:
        raise CommandError(TIMEOUT_NEGATIVE)
    return milliseconds / 1000


def _positions(args: Args) -> list[int]:
    """Return the positions of the keys, for ``get_keys``."""
    at = 1
    while at < len(args):
        word = args[at].upper()
        if word == b"STREAMS":
            count = len(args) - at - 1
            return list(range(at + 1, at + 1 + count // 2)) if count and count % 2 == 0 else []
        at += {b"BLOCK": 2, b"COUNT": 2, b"GROUP": 3}.get(word, 1)
    return []


def _streams_reply(session: Session, found: list[tuple[bytes, bytes]]) -> bytes:
    """Keys and their entries: a map, in RESP2 an array of pairs."""
    if session.resp.version == 3:
        return session.resp.map([part for key, entries in found for part in (bulk(key), entries)])
    return array([array([bulk(key), entries]) for key, entries in found])


# -- XREAD


@command("XREAD", arity=-4, flags="readonly blocking movablekeys", group="stream", since="5.0.0", get_keys=_positions)
def xread(session: Session, args: Args) -> bytes:
    options = _options(session, args, grouped=False)
    database, count = session.db, options.count or None
    after: dict[bytes, int] = {}
    found: list[tuple[bytes, bytes]] = []
    wanted: list[tuple[bytes, int]] = []
    for key, text in zip(options.keys, options.ids, strict=True):
        value = database.typed(key, Stream)
        wanted.append((key, _after(value, text)))
        after.setdefault(*wanted[-1])  # of a key that is given twice it waits for the first ID
    for key, last_read in wanted:
        value = database.lookup(key)
        if type(value) is Stream and value.nodes and value.last_entry_id > last_read:
            found.append((key, value.reply(last_read + 1, LAST, count)))
    if found:
        return _streams_reply(session, found)
    if options.timeout is None:
        return session.resp.null_array

    def attempt(key: bytes) -> bytes | None:
        value = database.lookup(key)
        if type(value) is not Stream or value.last_id <= after[key]:
            return None
        return _streams_reply(session, [(key, value.reply(after[key] + 1, LAST, count))])

    return session.services[Blocking].wait(session, options.keys, options.timeout, attempt, session.resp.null_array)


def _after(value: Stream | None, text: bytes) -> int:
    """The ID after which XREAD reads."""
    if text == b"$":
        return value.last_id if value is not None else 0
    if text == b">":
        raise CommandError(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
        )
    return parse_id(text)


# -- XREADGROUP


@command(
    "XREADGROUP",
    arity=-7,
    flags="write blocking movablekeys",
    group="stream",
    since="5.0.0",
    get_keys=_positions,
)
def xreadgroup(session: Session, args: Args) -> bytes:
    options = _options(session, args, grouped=True)
    database, name = session.db, options.group
    assert name is not None
    wanted: list[tuple[bytes, Stream, int]] = []
    for key, text in zip(options.keys, options.ids, strict=True):
        value = database.typed(key, Stream)
        if value is None or name not in value.groups:
            where = f"No such key '{_text(key)}' or consumer group '{_text(name)}'"
            raise CommandError(f"NOGROUP {where} in XREADGROUP with GROUP option")
        wanted.append((key, value, _after_in_group(text)))
    found: list[tuple[bytes, bytes]] = []
    for key, value, after in wanted:
        if after != NEW:
            found.append((key, _history(session, key, value, options, after)))
        elif value.nodes and value.last_entry_id > value.groups[name].last_id:
            found.append((key, _deliver(session, database, key, value, options)))
    if found:
        return _streams_reply(session, found)
    if options.timeout is None:
        return session.resp.null_array

    def attempt(key: bytes) -> bytes | None:
        value = database.lookup(key)
        if type(value) is not Stream:
            raise CommandError(GONE)
        group = value.groups.get(name)
        if group is None:
            raise CommandError(NO_GROUP_ANY_MORE)
        if value.last_id <= group.last_id:
            return None
        return _streams_reply(session, [(key, _deliver(session, database, key, value, options))])

    return session.services[Blocking].wait(
        session, options.keys, options.timeout, attempt, session.resp.null_array, needs_key=False
    )


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _after_in_group(text: bytes) -> int:
    if text == b">":
        return NEW
    if text == b"$":
        raise CommandError(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by"
            " specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result"
            " set."
        )
    return parse_id(text)


def group_changed(database: Database, key: bytes, event: str) -> None:
    """Tell of a change of a group. It is none of the key's as far as WATCH is concerned."""
    database.changes += 1
    if database.has_listeners:
        database.keyspace.notify(database, "t", event, key)


def now_ms(session: Session) -> int:
    """Unix milliseconds; of a log that is loaded the present ones, too, which time does not stand still for."""
    return session.db.keyspace.clock.ms() if session.conn is not None else time_ns() // 1_000_000


def find_consumer(session: Session, key: bytes, group: Group, name: bytes) -> Consumer:
    """The consumer of this name, made if there is none; it is seen now."""
    database = session.db
    now = now_ms(session)
    consumer = group.consumers.get(name)
    if consumer is None:
        consumer = group.consumers[name] = Consumer(name, now)
        group_changed(database, key, "xgroup-createconsumer")
    consumer.seen = now
    return consumer


def claim(key: bytes, group_name: bytes, group: Group, entry_id: int) -> Args:
    """The command with which the log has an entry be pending as it is now."""
    delivery = group.pending.deliveries[entry_id]
    return [
        *(b"XCLAIM", key, group_name, delivery.consumer.name, b"0", show_id(entry_id)),
        *(b"TIME", b"%d" % delivery.time, b"RETRYCOUNT", b"%d" % delivery.count),
        *(b"FORCE", b"JUSTID", b"LASTID", show_id(group.last_id)),
    ]


def _reader(session: Session, key: bytes, group: Group, options: _Options) -> Consumer:
    """The consumer that reads, whose making is logged unless an XCLAIM will make it."""
    assert options.group is not None
    known = options.consumer in group.consumers
    consumer = find_consumer(session, key, group, options.consumer)
    if options.noack and not known:
        session.rewrite(b"XGROUP", b"CREATECONSUMER", key, options.group, options.consumer)
    return consumer


def _deliver(session: Session, database: Database, key: bytes, value: Stream, options: _Options) -> bytes:
    """Give new entries to a consumer; returns them."""
    assert options.group is not None
    group = value.groups[options.group]
    consumer = _reader(session, key, group, options)
    now = database.keyspace.clock.ms()
    entries: list[bytes] = []
    for entry_id, body in value.items(group.last_id + 1, LAST, options.count or None):
        value.advance(group, entry_id)
        if not options.noack:
            group.give(entry_id, consumer, now, 1)
            if session.db.keyspace.propagate is not None:
                session.rewrite(*claim(key, options.group, group, entry_id))
        entries.append(array([bulk(show_id(entry_id)), body]))
    database.changes += 1
    if options.noack:
        read = b"%d" % group.read
        session.rewrite(b"XGROUP", b"SETID", key, options.group, show_id(group.last_id), b"ENTRIESREAD", read)
    return array(entries)


def _history(session: Session, key: bytes, value: Stream, options: _Options, after: int) -> bytes:
    """Return the entries pending for a consumer after an ID; an entry that was deleted is null."""
    assert options.group is not None
    group = value.groups[options.group]
    consumer = _reader(session, key, group, options)
    session.db.changes += 1
    session.rewrite()  # as Redis, which logs neither the reading nor a consumer that it has made
    now = session.db.keyspace.clock.ms()
    entries: list[bytes] = []
    for entry_id in consumer.pending.ids(after + 1) if after < LAST else ():
        body = value.body_of(entry_id)
        entries.append(array([bulk(show_id(entry_id)), body if body is not None else session.resp.null_array]))
        if body is not None:
            delivery = consumer.pending.deliveries[entry_id]
            delivery.time, delivery.count = now, min(delivery.count + 1, LLONG_MAX)
        if len(entries) == options.count:
            break
    return array(entries)
