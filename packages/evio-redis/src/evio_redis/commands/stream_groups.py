"""Consumer groups of streams: making them, acknowledging and claiming entries.

https://redis.io/docs/latest/commands/?group=stream
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import SYNTAX_ERROR, CommandError, bad_subcommand
from ..keyspace.types.stream_groups import UNKNOWN, Consumer, Delivery, Group
from ..keyspace.types.stream_ids import LAST, interval, parse_id, parse_lenient_id, show_id, to_id
from ..keyspace.types.streams import Stream
from ..model.command import Args, command
from ..protocol.numbers import LLONG_MAX, parse_int, to_int
from ..protocol.resp import EMPTY_ARRAY, OK, ONE, ZERO, array, bulk, integer
from .help import declare_help
from .stream_reads import claim, find_consumer, group_changed, now_ms

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

ATTEMPTS = 10
"""Pending entries that XAUTOCLAIM looks at, for each that it may claim."""

USUAL_COUNT = 100
MOST_CLAIMED = LLONG_MAX // 16
"""The COUNT of XAUTOCLAIM if it is not given, and the highest (Redis keeps IDs of 16 bytes)."""


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _no_group(key: bytes, name: bytes) -> CommandError:
    return CommandError(f"NOGROUP No such key '{_text(key)}' or consumer group '{_text(name)}'")


# -- XGROUP

declare_help(
    "XGROUP",
    "stream",
    """\
CREATE <key> <groupname> <id|$> [option]
    Create a group that has been given everything up to <id>, or up to now. Options are:
    * MKSTREAM
      Create an empty stream if there is none.
    * ENTRIESREAD entries_read
      The number of entries up to <id> (for internal use).
CREATECONSUMER <key> <groupname> <consumer>
    Create a consumer in a group.
DELCONSUMER <key> <groupname> <consumer>
    Remove a consumer, and forget what is pending for it.
DESTROY <key> <groupname>
    Remove a group.
SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]
    Have a group have been given everything up to <id>.
HELP
    This text.""",
)


def _group_options(args: Args, creating: bool) -> tuple[bool, int]:
    """MKSTREAM and ENTRIESREAD. Raises :class:`CommandError`."""
    make, read = False, UNKNOWN
    words = iter(args[5:])
    for word in words:
        if creating and word.upper() == b"MKSTREAM":
            make = True
        elif word.upper() == b"ENTRIESREAD" and (text := next(words, None)) is not None:
            read = parse_int(text)
            if read < 0 and read != UNKNOWN:
                raise CommandError("ERR value for ENTRIESREAD must be positive or -1")
        else:
            raise bad_subcommand("XGROUP", args[1])
    return make, read


def _stream(session: Session, key: bytes) -> Stream:
    value = session.db.typed(key, Stream)
    if value is None:
        raise CommandError(
            "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM"
            " option to create an empty stream automatically."
        )
    return value


def _group(session: Session, args: Args) -> Group:
    group = _stream(session, args[2]).groups.get(args[3])
    if group is None:
        raise CommandError(f"NOGROUP No such consumer group '{_text(args[3])}' for key name '{_text(args[2])}'")
    return group


def _last_id(value: Stream | None) -> int:
    """Return the ID that ``$`` stands for."""
    return value.last_id if value is not None else 0


@command("XGROUP CREATE", arity=-5, flags="write denyoom", keys=(2,), group="stream", since="5.0.0")
def create(session: Session, args: Args) -> bytes:
    make, read = _group_options(args, creating=True)
    database, key, name = session.db, args[2], args[3]
    value = database.typed(key, Stream) if make else _stream(session, key)
    last_id = _last_id(value) if args[4] == b"$" else parse_id(args[4])
    if value is None:
        value = Stream()
        database.add(key, value)
        if database.has_listeners:
            database.keyspace.notify_watchers(database, key)
    elif name in value.groups:
        raise CommandError("BUSYGROUP Consumer Group name already exists")
    value.groups[name] = Group(last_id, read)
    group_changed(database, key, "xgroup-create")
    return OK


@command("XGROUP SETID", arity=-5, flags="write", keys=(2,), group="stream", since="5.0.0")
def setid(session: Session, args: Args) -> bytes:
    _, read = _group_options(args, creating=False)
    group = _group(session, args)
    text = args[4]  # unlike XGROUP CREATE it takes "-" and "+"
    group.last_id = _last_id(session.db.lookup(args[2])) if text == b"$" else parse_lenient_id(text)
    group.read = read
    group_changed(session.db, args[2], "xgroup-setid")
    return OK


@command("XGROUP DESTROY", arity=4, flags="write", keys=(2,), group="stream", since="5.0.0")
def destroy(session: Session, args: Args) -> bytes:
    database, key = session.db, args[2]
    value = _stream(session, key)
    if value.groups.pop(args[3], None) is None:
        return ZERO
    group_changed(database, key, "xgroup-destroy")
    if database.blocked and key in database.blocked:
        database.keyspace.ready(database, key)
    return ONE


@command("XGROUP CREATECONSUMER", arity=5, flags="write denyoom", keys=(2,), group="stream", since="6.2.0")
def createconsumer(session: Session, args: Args) -> bytes:
    group = _group(session, args)
    if args[4] in group.consumers:
        return ZERO
    find_consumer(session, args[2], group, args[4])
    return ONE


@command("XGROUP DELCONSUMER", arity=5, flags="write", keys=(2,), group="stream", since="5.0.0")
def delconsumer(session: Session, args: Args) -> bytes:
    pending = _group(session, args).remove_consumer(args[4])
    if pending is None:
        return ZERO
    group_changed(session.db, args[2], "xgroup-delconsumer")
    return integer(pending)


# -- acknowledging


@command("XACK", arity=-4, flags="write fast", keys=(1,), group="stream", since="5.0.0")
def xack(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.typed(key, Stream)
    group = value.groups.get(args[2]) if value is not None else None
    if group is None:
        return ZERO
    ids = [parse_id(text) for text in args[3:]]
    count = sum(group.acknowledge(entry_id) for entry_id in ids)
    database.changes += count
    return integer(count)


# -- claiming


class _Claims:
    """Claims entries of a group for a consumer, and logs what that has changed."""

    def __init__(self, session: Session, args: Args, value: Stream, group: Group) -> None:
        self._session = session
        self._key, self._group_name, self._consumer_name = args[1:4]
        self._value = value
        self._group = group
        self._consumer: Consumer | None = None
        self.changes = 0

    @property
    def consumer(self) -> Consumer:
        """The one that claims, made when it claims the first entry."""
        if self._consumer is None:
            self._consumer = find_consumer(self._session, self._key, self._group, self._consumer_name)
        return self._consumer

    def forget(self, entry_id: int) -> None:
        """An entry that is pending was deleted from the stream."""
        self._log(entry_id)
        self._group.acknowledge(entry_id)

    def take(self, entry_id: int, time: int, count: int, justid: bool) -> bytes:
        """Have an entry be pending for the consumer; returns the reply."""
        self._group.give(entry_id, self.consumer, time, count)
        self._log(entry_id)
        shown = bulk(show_id(entry_id))
        return shown if justid else array([shown, self._value.body_of(entry_id) or EMPTY_ARRAY])

    def _log(self, entry_id: int) -> None:
        self.changes += 1
        self._session.db.changes += 1
        if self._session.db.keyspace.propagate is not None:
            self._session.rewrite(*claim(self._key, self._group_name, self._group, entry_id))


def _minimum_idle(text: bytes, name: str) -> int:
    return max(0, parse_int(text, f"ERR Invalid min-idle-time argument for {name}"))


@command("XCLAIM", arity=-6, flags="write fast", keys=(1,), group="stream", since="5.0.0")
def xclaim(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.typed(key, Stream)
    group = value.groups.get(args[2]) if value is not None else None
    if value is None or group is None:
        raise _no_group(key, args[2])
    min_idle = _minimum_idle(args[4], "XCLAIM")
    ids: list[int] = []
    for text in args[5:]:
        entry_id = to_id(text)
        if entry_id is None:
            break
        ids.append(entry_id)
    now = now_ms(session)
    time, retries, force, justid, last_id = _claim_options(args[5 + len(ids) :], now)
    moved = last_id > group.last_id
    if moved:
        if session.conn is None and ids == [last_id]:  # so XREADGROUP is logged
            value.advance(group, last_id)
        group.last_id = last_id
    claims = _Claims(session, args, value, group)
    replies: list[bytes] = []
    for entry_id in ids:
        delivery = group.pending.get(entry_id)
        if entry_id not in value:
            if delivery is not None:
                claims.forget(entry_id)
            continue
        if delivery is None:
            if not force:
                continue
        elif min_idle and now - delivery.time < min_idle:
            continue
        before = delivery.count if delivery is not None else 1
        count = retries if retries >= 0 else before + (not justid)
        replies.append(claims.take(entry_id, time, count, justid))
    if moved and not claims.changes:
        database.changes += 1
        read = b"%d" % group.read
        session.rewrite(b"XGROUP", b"SETID", key, args[2], show_id(group.last_id), b"ENTRIESREAD", read)
    return array(replies)


def _claim_options(words: Args, now: int) -> tuple[int, int, bool, bool, int]:
    """The time of delivery, the number of deliveries (-1: not given), FORCE, JUSTID and the last ID. Raises
    :class:`CommandError`."""
    time, retries, force, justid, last_id = -1, -1, False, False, 0
    rest = iter(words)
    for word in rest:
        name = word.upper()
        if name == b"FORCE":
            force = True
            continue
        if name == b"JUSTID":
            justid = True
            continue
        text = next(rest, None) if name in (b"IDLE", b"TIME", b"RETRYCOUNT", b"LASTID") else None
        if text is None:
            raise CommandError(f"ERR Unrecognized XCLAIM option '{_text(word)}'")
        if name == b"LASTID":
            last_id = parse_id(text)
            continue
        number = parse_int(text, f"ERR Invalid {name.decode()} option argument for XCLAIM")
        if name == b"RETRYCOUNT":
            retries = number
        else:
            time = now - number if name == b"IDLE" else number
    return time if 0 <= time <= now else now, retries, force, justid, last_id


@command("XAUTOCLAIM", arity=-6, flags="write fast", keys=(1,), group="stream", since="6.2.0")
def xautoclaim(session: Session, args: Args) -> bytes:
    min_idle = _minimum_idle(args[4], "XAUTOCLAIM")
    start, _ = interval(args[5], b"+")
    count, justid = _autoclaim_options(args[6:])
    database, key = session.db, args[1]
    value = database.typed(key, Stream)
    group = value.groups.get(args[2]) if value is not None else None
    if value is None or group is None:
        raise _no_group(key, args[2])
    now = now_ms(session)
    claims = _Claims(session, args, value, group)
    claimed: list[bytes] = []
    deleted: list[bytes] = []
    attempts = ATTEMPTS * count
    entry_id = group.pending.first(start)
    while entry_id is not None and attempts and count:
        attempts -= 1
        delivery: Delivery = group.pending.deliveries[entry_id]
        if entry_id not in value:
            claims.forget(entry_id)
            deleted.append(bulk(show_id(entry_id)))
            count -= 1
        elif not min_idle or now - delivery.time >= min_idle:
            claimed.append(claims.take(entry_id, now, delivery.count + (not justid), justid))
            count -= 1
        entry_id = group.pending.first(entry_id + 1)
    return array([bulk(show_id(entry_id or 0)), array(claimed), array(deleted)])


def _autoclaim_options(words: Args) -> tuple[int, bool]:
    count, justid = USUAL_COUNT, False
    rest = iter(words)
    for word in rest:
        if word.upper() == b"JUSTID":
            justid = True
        elif word.upper() == b"COUNT" and (text := next(rest, None)) is not None:
            number = to_int(text)
            if number is None or not 1 <= number <= MOST_CLAIMED:
                raise CommandError("ERR COUNT must be > 0")
            count = number
        else:
            raise CommandError(SYNTAX_ERROR)
    return count, justid


# -- what is pending


@command("XPENDING", arity=-3, flags="readonly", keys=(1,), group="stream", since="5.0.0")
def xpending(session: Session, args: Args) -> bytes:
    if len(args) != 3 and not 6 <= len(args) <= 9:
        raise CommandError(SYNTAX_ERROR)
    min_idle, rest = 0, args[3:]
    start, stop, count = 0, LAST, 0
    if rest:
        if rest[0].upper() == b"IDLE":
            min_idle = parse_int(rest[1])
            if len(args) < 8:
                raise CommandError(SYNTAX_ERROR)
            rest = rest[2:]
        count = max(0, parse_int(rest[2]))
        start, stop = interval(rest[0], rest[1])
    value = session.db.typed(args[1], Stream)
    group = value.groups.get(args[2]) if value is not None else None
    if group is None:
        raise _no_group(args[1], args[2])
    if not rest:
        return _summary(session, group)
    pending = group.pending
    if len(rest) > 3:
        consumer = group.consumers.get(rest[3])
        if consumer is None:
            return EMPTY_ARRAY
        pending = consumer.pending
    now = session.db.keyspace.clock.ms()
    found: list[bytes] = []
    for entry_id in pending.ids(start):
        if entry_id > stop or len(found) >= count:
            break
        delivery = pending.deliveries[entry_id]
        idle = now - delivery.time
        if not min_idle or idle >= min_idle:
            name = bulk(delivery.consumer.name)
            found.append(array([bulk(show_id(entry_id)), name, integer(max(0, idle)), integer(delivery.count)]))
    return array(found)


def _summary(session: Session, group: Group) -> bytes:
    pending = group.pending
    if not pending:
        return array([ZERO, session.resp.null, session.resp.null, session.resp.null_array])
    consumers = [
        array([bulk(name), bulk(b"%d" % len(consumer.pending))])
        for name, consumer in sorted(group.consumers.items())
        if consumer.pending
    ]
    first = pending.first()
    assert first is not None
    return array([integer(len(pending)), bulk(show_id(first)), bulk(show_id(pending.last())), array(consumers)])
