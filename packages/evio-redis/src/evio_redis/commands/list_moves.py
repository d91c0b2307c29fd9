"""Lists: moving elements from one to another, popping from the first of several that has any, and waiting for one.

https://redis.io/docs/latest/commands/?group=list
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clients.blocking import Blocking, parse_timeout
from ..errors import SYNTAX_ERROR, CommandError
from ..keyspace.types.lists import List
from ..model.args import mpop_options, numkeys_positions
from ..model.command import Args, command
from ..protocol.resp import array, bulk, bulks
from .lists import pop_many, pop_one, popped
from .pops import Pop, pop_first, pop_or_wait

if TYPE_CHECKING:
    from ..clients.session import Session


# -- moving


def _left(word: bytes) -> bool:
    """Tell whether LEFT, not RIGHT, is meant. Raises :class:`CommandError`."""
    if word.upper() not in (b"LEFT", b"RIGHT"):
        raise CommandError(SYNTAX_ERROR)
    return word.upper() == b"LEFT"


def _move(session: Session, source: bytes, target: bytes, left: bool, to_left: bool) -> bytes | None:
    """Move an element; None if there is none. Raises :class:`CommandError`."""
    database = session.db
    value = database.typed(source, List)
    if value is None:
        return None
    if source != target:
        database.typed(target, List)
    element = value.popleft() if left else value.pop()
    other = database.lookup(target)
    if other is None:
        other = List()
    other.appendleft(element) if to_left else other.append(element)
    if len(other) == 1 and source != target:
        database.add(target, other)
    popped(database, source, value, left)
    database.changed(target, "l", "lpush" if to_left else "rpush", 0)  # both together are one modification
    return bulk(element)


@command("RPOPLPUSH", arity=3, flags="write denyoom", keys=(1, 2), group="list", since="1.2.0")
def rpoplpush(session: Session, args: Args) -> bytes:
    return _move(session, args[1], args[2], left=False, to_left=True) or session.resp.null


@command("LMOVE", arity=5, flags="write denyoom", keys=(1, 2), group="list", since="6.2.0")
def lmove(session: Session, args: Args) -> bytes:
    left, to_left = _left(args[3]), _left(args[4])
    return _move(session, args[1], args[2], left, to_left) or session.resp.null


# -- several keys, and waiting for one


def _mpop(session: Session, left: bool, count: int) -> Pop:
    def pop(key: bytes) -> bytes | None:
        value = session.db.typed(key, List)
        if value is None:
            return None
        found = pop_many(session.db, key, value, left, count)
        session.rewrite(b"LPOP" if left else b"RPOP", key, b"%d" % len(found))
        return array([bulk(key), bulks(found)])

    return pop


@command("LMPOP", arity=-4, flags="write movablekeys", group="list", since="7.0.0", get_keys=numkeys_positions(1))
def lmpop(session: Session, args: Args) -> bytes:
    keys, left, count = mpop_options(args, 1, b"LEFT", b"RIGHT")
    return pop_first(keys, _mpop(session, left, count)) or session.resp.null_array


@command(
    "BLMPOP",
    arity=-5,
    flags="write blocking movablekeys",
    group="list",
    since="7.0.0",
    get_keys=numkeys_positions(2),
)
def blmpop(session: Session, args: Args) -> bytes:
    timeout = parse_timeout(args[1])
    keys, left, count = mpop_options(args, 2, b"LEFT", b"RIGHT")
    return pop_or_wait(session, keys, List, timeout, _mpop(session, left, count))


def _bpop(session: Session, args: Args, left: bool) -> bytes:
    database = session.db

    def pop(key: bytes) -> bytes | None:
        value = database.typed(key, List)
        if value is None:
            return None
        element = pop_one(database, key, value, left)
        session.rewrite(b"LPOP" if left else b"RPOP", key)
        return array([bulk(key), bulk(element)])

    return pop_or_wait(session, args[1:-1], List, parse_timeout(args[-1]), pop)


@command("BLPOP", arity=-3, flags="write noscript blocking", keys=(1, -2, 1), group="list", since="2.0.0")
def blpop(session: Session, args: Args) -> bytes:
    return _bpop(session, args, left=True)


@command("BRPOP", arity=-3, flags="write noscript blocking", keys=(1, -2, 1), group="list", since="2.0.0")
def brpop(session: Session, args: Args) -> bytes:
    return _bpop(session, args, left=False)


def _bmove(session: Session, args: Args, left: bool, to_left: bool, logged: Args) -> bytes:
    timeout = parse_timeout(args[-1])
    source, target = args[1], args[2]

    def move() -> bytes | None:
        found = _move(session, source, target, left, to_left)
        if found is not None:
            session.rewrite(*logged)
        return found

    def attempt(key: bytes) -> bytes | None:
        return move() if type(session.db.lookup(key)) is List else None

    return move() or session.services[Blocking].wait(session, [source], timeout, attempt, session.resp.null)


@command("BRPOPLPUSH", arity=4, flags="write denyoom noscript blocking", keys=(1, 2), group="list", since="2.2.0")
def brpoplpush(session: Session, args: Args) -> bytes:
    return _bmove(session, args, left=False, to_left=True, logged=[b"RPOPLPUSH", args[1], args[2]])


@command("BLMOVE", arity=6, flags="write denyoom noscript blocking", keys=(1, 2), group="list", since="6.2.0")
def blmove(session: Session, args: Args) -> bytes:
    return _bmove(session, args, _left(args[3]), _left(args[4]), logged=[b"LMOVE", *args[1:5]])
