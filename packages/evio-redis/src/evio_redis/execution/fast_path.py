"""From a chunk of input to its replies.

Of a session that is ``plain`` the chunk is parsed by a reader that all sessions share; everything else goes through the
session's own parser.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import re
import secrets
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any

import hiredis

from evio_core import Action, Conn

from ..clients.connected import Clients
from ..clients.session import DIRECT
from ..config.config import Config
from ..protocol.parser import Parser
from .dispatcher import Dispatcher
from .templates import LEAST, alike

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..model.services import Services

__all__ = ["JOINED", "make_data"]

log: logging.Logger = logging.getLogger("evio_redis")

SHORTEST = 4
"""Commands from which it pays to look if they are all the same."""


TRIES, SKIPPED = 4, 60
"""Mixed pipelines in a row after which a client is believed to send no others, and for how many of them."""


def make_data(services: Services) -> Callable[[Conn, bytes], Any]:
    """Make the ``data`` callback. A closure: its names are the hot path's locals."""
    dispatcher, clients = services[Dispatcher], services[Clients]
    run, run_one = dispatcher.run, dispatcher.run_one
    # One reader serves all sessions, as it only ever sees whole commands: whatever else a chunk holds, the reader is
    # replaced and the session's own parser takes the chunk.
    reader = hiredis.Reader()
    feed: Callable[[bytes], None] = reader.feed
    gets, has_data = reader.gets, reader.has_data
    careful = False

    def renew(session: Session, chunk: bytes) -> None:
        """Take a new reader after a chunk that ended in the middle of a command."""
        nonlocal feed, gets, has_data, reader, careful
        if not careful and session.parser.error is not None and oversized(chunk):
            empty_lists()
            careful = True
        reader = hiredis.Reader()
        feed = _cautious(reader.feed) if careful else reader.feed
        gets, has_data = reader.gets, reader.has_data

    def data(conn: Conn, chunk: bytes) -> Any:
        session: Session = conn.context
        if not session.plain:
            return receive(services, session, chunk)
        may_be_batch = False
        if len(chunk) >= LEAST and session.way is DIRECT:
            if session.batch_tries > 0 and dispatcher.batches:
                may_be_batch = True
                same = alike(chunk)
                output = serve_alike(session, dispatcher, *same, chunk) if same is not None else None
                if output is not None:
                    session.batch_tries = TRIES
                    session.seen = clients.now
                    return output
            else:
                session.batch_tries += 1
        commands = split(feed, gets, has_data, chunk)
        if may_be_batch and len(commands) >= SHORTEST:
            output = serve_batch(session, dispatcher, commands, chunk)
            if output is not None:
                session.batch_tries = TRIES
                session.seen = clients.now
                return output
            session.batch_tries = session.batch_tries - 1 or -SKIPPED
        if not all_strings(commands, len(chunk)):
            try:
                return receive(services, session, chunk)
            finally:
                renew(session, chunk)
        session.seen = clients.now
        if len(commands) == 1:
            reply = run_one(session, commands[0])
            return reply if session.plain else finish(session, [reply])
        replies = run(session, commands, [])
        return b"".join(replies) if session.plain else finish(session, replies)

    return data


ARRAY, STATUS = b"*+"
"""First bytes of replies."""

MARK = secrets.token_hex(8).encode()
END = b"+%b\r\n" % MARK
"""The bytes that the reader is fed behind several commands. If it comes out as the last reply, nothing was cut off; as
it is secret, no client can have sent it."""


def split(
    feed: Callable[[bytes], None], gets: Callable[[], Any], has_data: Callable[[], bool], chunk: bytes
) -> list[Any]:
    """The commands in a chunk, lists of arguments that may still be something else than strings. Nothing if there is
    anything but whole commands in it; then the reader is of no more use."""
    try:
        feed(chunk)
        first = gets()
        if first is False:
            return []
        commands = [first]
        if has_data():
            feed(END)
            commands += iter(gets, False)
            if commands.pop() != MARK:
                return []
    except (hiredis.HiredisError, MemoryError):
        return []  # the session's parser says what is wrong
    # To look for a byte by its number costs a sixth of looking for it as a string.
    return [] if chunk[0] != ARRAY or (STATUS in chunk and b"\n+" in chunk) else commands


LISTS, STRINGS = {list}, {bytes}
JOINED = 512
"""Bytes of a command, on average, up to which it is faster to join its arguments than to look at their types."""


def all_strings(commands: list[Any], size: int) -> bool:
    """Tell whether these are commands, at least one, whose arguments are strings; they came as ``size`` bytes."""
    if size > JOINED * len(commands):
        return {*map(type, commands)} == LISTS and STRINGS.issuperset(map(type, chain.from_iterable(commands)))
    try:
        if len(commands) == 1:
            b"".join(commands[0])
            return type(commands[0]) is list
        for args in commands:
            b"".join(args)
    except TypeError:
        return False
    return [*map(type, commands)].count(list) == len(commands) > 0


def serve_alike(
    session: Session, dispatcher: Dispatcher, common: list[bytes], last: list[bytes], raw: bytes
) -> bytes | None:
    """Serve commands that differ in their last argument only, which came as ``raw``; returns their replies, or None if
    that cannot be done at once."""
    name, *others = common
    found = dispatcher.batches.get(name)
    if found is None or found[0] != len(common) + 1:
        return None
    return dispatcher.run_batch(session, name, [(other,) * len(last) for other in others], last, raw)


def serve_batch(session: Session, dispatcher: Dispatcher, commands: list[Any], raw: bytes = b"") -> bytes | None:
    """Serve commands that are all the same one, which came as ``raw`` if that is known; returns their replies, or None
    if that cannot be done at once."""
    try:
        name, count = commands[-1][0], len(commands[0])
        if commands[0][0] != name or dispatcher.batches[name][0] != count or len({*map(len, commands)}) > 1:
            return None
        names, *columns = zip(*commands, strict=True)
        for column in columns:
            b"".join(column)
    except (KeyError, IndexError):  # no such command or batch of it; no arguments
        return None
    except (TypeError, ValueError):  # no strings; more arguments in some commands than in others
        return None
    if names.count(name) != len(names):
        return None
    return dispatcher.run_batch(session, name, columns[:-1], columns[-1], raw)


def _serve_stream(session: Session, dispatcher: Dispatcher, commands: list[Any]) -> bytes | None:
    """The same for what one large chunk of many completes, as bulk loading sends them."""
    if session.way is not DIRECT or not dispatcher.batches or len(commands) < SHORTEST:
        return None
    if session.batch_tries <= 0:
        session.batch_tries += 1
        return None
    output = serve_batch(session, dispatcher, commands)
    session.batch_tries = TRIES if output is not None else session.batch_tries - 1 or -SKIPPED
    return output


def empty_lists() -> None:
    """Empty the lists that hiredis made for elements which were only announced, at no cost.

    The collector would visit every element in each collection, which takes 10 s for 24 GB; to free the list takes as
    long, and a process with so much memory may be unable to fork. CPython has such a list as ``PyListObject``: its
    size, then the address of its elements. Only a list that is not finished ends with NULL; nothing is lost with it.
    """
    for each in gc.get_objects():
        if type(each) is list and len(each) >= ANNOUNCED:
            head = id(each) + object.__basicsize__
            size, items = ctypes.c_ssize_t.from_address(head), ctypes.c_void_p.from_address(head + POINTER)
            if size.value == len(each) and items.value is not None:
                last = ctypes.c_void_p.from_address(items.value + (size.value - 1) * POINTER)
                if last.value is None:
                    size.value = 0


def _cautious(feed: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def checked(chunk: bytes) -> None:
        if oversized(chunk):
            raise hiredis.ProtocolError("too many elements")
        feed(chunk)

    return checked


def receive(services: Services, session: Session, chunk: bytes) -> Any:
    """Take input of a session that is not plain, or that is something else than whole commands; returns what the
    callback returns."""
    session.seen = services[Clients].now
    config, dispatcher, parser = services[Config], services[Dispatcher], session.parser
    parser.bulk_max = config.proto_max_bulk_len
    if not parser.authenticated:
        return finish(session, _one_by_one(dispatcher, session, chunk))
    before = parser.buffered
    if 0 < services[Clients].memory_limit < before + len(chunk) and not session.no_evict:
        services[Clients].drop(session)
        return None
    if len(chunk) >= SPLIT_FROM:
        if parser.empty:
            commands, rest = [], chunk
        else:
            commands = parser.parse(chunk, first_only=True)
            rest = parser.take() if commands else b""
        if rest:
            commands += _parse_most(parser, rest)
    else:
        commands = parser.parse(chunk)
    output = _serve_stream(session, dispatcher, commands) if len(chunk) >= SPLIT_FROM else None
    replies = [output] if output is not None else dispatcher.run(session, commands, [])
    if session.blocked is not None:
        session.backlog_bytes += len(chunk) + before - parser.buffered
    if parser.buffered + session.backlog_bytes > config.client_query_buffer_limit:
        log.warning("closing client %d: it exceeds client-query-buffer-limit", session.id)
        session.closing = True
    return finish(session, replies)


def _one_by_one(dispatcher: Dispatcher, session: Session, chunk: bytes) -> list[bytes]:
    """Run a chunk's commands before the next is parsed: what follows the password may be larger than what is before."""
    parser, run = session.parser, dispatcher.run
    replies: list[bytes] = []
    for end in range(SPLIT_FROM, len(chunk) + SPLIT_FROM, SPLIT_FROM):  # else the rest were copied for each command
        rest = chunk[end - SPLIT_FROM : end]
        while commands := parser.parse(rest, first_only=True):
            run(session, commands, replies)
            rest = parser.take()
    return replies


oversized: Callable[[bytes], re.Match[bytes] | None] = re.compile(rb"\*\d{7}").search
"""Find what may announce more arguments than a chunk can hold. hiredis makes a list for as many as are announced, up to
2**32, though 13 bytes are enough to ask for it. A search in every chunk would cost up to a tenth of a request's time,
so it begins once somebody has sent such a number."""

ANNOUNCED = 10_000_000
"""Elements from which the list that hiredis makes for a command is looked for; a command may have 2**20 arguments."""

POINTER = ctypes.sizeof(ctypes.c_void_p)

SPLIT_FROM = 4096
"""Bytes of a chunk from which it pays to have hiredis parse all but the command that is cut off at its end."""


BEGINNING = re.compile(rb"\*[1-9]\d*\r\n\$").match
BEGINNINGS = re.compile(rb"\r\n\*[1-9]\d*\r\n\$").finditer
"""Find what looks like a command's beginning, the latter with the end of the one before."""


def _parse_most(parser: Parser, chunk: bytes) -> list[list[bytes]]:
    """The same as ``parser.parse(chunk)``, faster for a chunk of many commands that ends in the middle of one."""
    cut = chunk.rfind(b"\r\n*") + 2
    if cut > 2 and not BEGINNING(chunk, cut):  # it is an argument, as XADD's
        cut = max((found.start() for found in BEGINNINGS(chunk)), default=0) + 2
    head = chunk[:cut]
    reader = hiredis.Reader()
    commands = split(_cautious(reader.feed), reader.gets, reader.has_data, head) if cut > 2 else []
    if all_strings(commands, len(head)):
        return [args for args in commands if args] + parser.parse(chunk[cut:])
    return parser.parse(chunk)


HUGE = 1 << 20
"""Bytes of a reply that is not worth to be copied to be sent together with others."""


def finish(session: Session, replies: list[bytes]) -> Any:
    """Make what the callback returns of the replies to a session that is not plain."""
    error = session.protocol_error()
    if error:
        replies.append(error)
    session.update_plain()
    if not session.hard_limit and session.conn is not None and replies and max(map(len, replies)) >= HUGE:
        for reply in filter(None, replies[:-1]):
            session.conn.write(reply)
        del replies[:-1]
    output = replies[0] if len(replies) == 1 else b"".join(replies)
    if 0 < session.hard_limit <= len(output):
        log.warning("closing client %d: %d bytes of output at once", session.id, len(output))
        return Action.CLOSE  # Redis does not even begin to send them
    return (output, Action.CLOSE) if session.closing else output
