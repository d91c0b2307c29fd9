"""SORT.

https://redis.io/docs/latest/commands/sort/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..acl.users import Users
from ..errors import WRONGTYPE, CommandError
from ..keyspace.types.hashes import Hash
from ..keyspace.types.lists import List
from ..keyspace.types.sets import Set
from ..keyspace.types.zsets import SortedSet
from ..model.args import Options
from ..model.command import Args, Registry, command
from ..protocol.numbers import parse_double, parse_int
from ..protocol.resp import array, bulk, integer

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..keyspace.database import Database

__all__: list[str] = []

BLANKS = b" \t\n\v\f\r"
NOT_A_SCORE = "ERR One or more scores can't be converted into double"


@dataclass(slots=True)
class _Query:
    by: bytes | None = None
    offset: int = 0
    count: int = -1
    gets: list[bytes] = field(default_factory=list)
    descending: bool = False
    alpha: bool = False
    store: bytes | None = None
    unsorted: bool = False
    """BY a pattern without ``*`` leaves the order as it is, even if another BY follows."""


def _parse(session: Session, args: Args, with_store: bool) -> _Query:
    query = _Query()
    reads_all = session.user.unrestricted or _reads_everything(session, args)
    options = Options(args, 2)
    for option in options:
        if option in (b"ASC", b"DESC"):
            query.descending = option == b"DESC"
        elif option == b"ALPHA":
            query.alpha = True
        elif option == b"LIMIT":
            query.offset, query.count = map(parse_int, options.take(2))
        elif option == b"BY":
            query.by = options.word()
            query.unsorted = query.unsorted or b"*" not in query.by
            if b"*" in query.by and not reads_all:
                raise CommandError("ERR BY option of SORT denied due to insufficient ACL permissions.")
        elif option == b"GET":
            query.gets.append(options.word())
            if not reads_all:
                raise CommandError("ERR GET option of SORT denied due to insufficient ACL permissions.")
        elif option == b"STORE" and with_store:
            query.store = options.word()
        else:
            raise options.unknown()
    return query


def _reads_everything(session: Session, args: Args) -> bool:
    found = session.services[Registry].find(args)
    assert found is not None, "it runs"
    return session.services[Users].reads_everything(session.user, found, args)


OPERANDS = {b"LIMIT": 2, b"BY": 1, b"GET": 1, b"STORE": 1}


def _store_positions(args: Args) -> list[int]:
    stores: list[int] = []
    at = 2
    while at < len(args):
        option = args[at].upper()
        if option == b"STORE" and at + 1 < len(args):
            stores = [at + 1]
        at += 1 + OPERANDS.get(option, 0)
    return [1, *stores]


@command("SORT", arity=-2, flags="write denyoom movablekeys", keys=(1,), group="generic", get_keys=_store_positions)
def sort(session: Session, args: Args) -> bytes:
    query = _parse(session, args, with_store=True)
    found = _sorted(session, args[1], query)
    if query.store is None:
        return array([session.resp.null if each is None else bulk(each) for each in found])
    database, target = session.db, query.store
    if found:
        database.put(target, List([each or b"" for each in found]))
        database.changed(target, "l", "sortstore", len(found))
    elif database.lookup(target) is not None:
        database.remove(target)
        database.changed(target, "g", "del")
    return integer(len(found))


@command("SORT_RO", arity=-2, flags="readonly movablekeys", keys=(1,), group="generic", since="7.0.0")
def sort_ro(session: Session, args: Args) -> bytes:
    found = _sorted(session, args[1], _parse(session, args, with_store=False))
    return array([session.resp.null if each is None else bulk(each) for each in found])


def _sorted(session: Session, key: bytes, query: _Query) -> list[bytes | None]:
    database = session.db
    elements = _elements(database.read(key), query)
    decides = query.store is not None or session.conn is None
    if not query.unsorted or (decides and type(database.lookup(key)) is Set):
        # A set has no order of its own, and what is stored, or what a script does, must not depend on chance.
        plain = _Query(alpha=True, descending=query.descending) if query.unsorted else query
        elements = _in_order(database, elements, plain)
    start = min(max(query.offset, 0), len(elements))
    stop = len(elements) if query.count < 0 else min(start + query.count, len(elements))
    elements = elements[start:stop]
    if not query.gets:
        return list(elements)
    return [_look_up(database, pattern, element) for element in elements for pattern in query.gets]


def _elements(value: Any, query: _Query) -> list[bytes]:
    if value is None:
        return []
    if type(value) not in (List, Set, SortedSet):
        raise CommandError(WRONGTYPE)
    if type(value) is SortedSet:
        value.large = True  # Redis makes it a skiplist to read it, and leaves it one
    elements = value.listed() if type(value) is Set else list(value)
    if type(value) is not Set and query.unsorted and query.descending:
        elements.reverse()
    return elements


def _look_up(database: Database, pattern: bytes, element: bytes) -> bytes | None:
    """The value at the key, or field of a hash, that the pattern gives with the element in place of ``*``."""
    if pattern == b"#":
        return element
    if b"*" not in pattern:
        return None
    star = pattern.index(b"*")
    arrow = pattern.find(b"->", star)
    hash_field = pattern[arrow + 2 :] if arrow >= 0 and arrow + 2 < len(pattern) else None
    rest = pattern[star + 1 :] if hash_field is None else pattern[star + 1 : arrow]
    value = database.lookup(pattern[:star] + element + rest)
    if hash_field is not None:
        return value.get(hash_field) if type(value) is Hash else None
    return value if isinstance(value, bytes) else None


def _in_order(database: Database, elements: list[bytes], query: _Query) -> list[bytes]:
    by: Callable[[bytes], bytes | None] = lambda element: element  # noqa: E731
    pattern = query.by
    if pattern is not None:
        by = lambda element: _look_up(database, pattern, element)  # noqa: E731
    if query.alpha:
        missing_first = {
            element: (weight is not None, weight or b"") for element in elements for weight in [by(element)]
        }
        return sorted(elements, key=missing_first.__getitem__, reverse=query.descending)
    scores = _scores(elements if pattern is None else [by(element) or b"" for element in elements])
    # Equal scores are in the order of the elements, both ways round when descending.
    return [element for _, element in sorted(zip(scores, elements, strict=True), reverse=query.descending)]


_ALL_INTEGERS = re.compile(rb"(?:-?\d{1,15}(?: |\Z))*").fullmatch


def _scores(weights: list[bytes]) -> list[float]:
    """Read these texts as numbers. Raises :class:`CommandError`."""
    if _ALL_INTEGERS(b" ".join(weights)):  # then ``float`` takes nothing that ``strtod`` does not
        try:
            return list(map(float, weights))
        except ValueError:  # a text with a blank in it, or an empty one
            pass
    return list(map(_score, weights))


def _score(weight: bytes) -> float:
    """Return the number that ``strtod`` reads in a text: that ends at a NUL, may begin with blanks, and may be
    empty."""
    text = weight.partition(b"\0")[0]
    return parse_double(text.lstrip(BLANKS), NOT_A_SCORE) if text else 0.0
