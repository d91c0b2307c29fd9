"""HTTP over evio's events: the events of a server, and the common case of ``data``.

In that one the bytes are one head that is recognised at once, and what answers it is in memory. Everything else goes
through :class:`~evio_http.connections.connections.Connections`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from evio_core import Events, Options, Reply

from .answers.by_request import Record
from .answers.cache import HotAnswer
from .connections.connections import Connections
from .connections.gate import Gate
from .connections.handlers import Handlers
from .connections.observer import Observer, Observers
from .connections.peers import TrustedProxies
from .connections.session import HTTPSession
from .message.common_head import Head, request_of
from .message.handler import RequestHandler
from .message.limits import Limits
from .pages.markup import document

__all__ = ["http_events"]

REQUEST = re.compile(rb"[A-Za-z]+ ")
"""The beginning of a request in plain HTTP: its method."""

LONGEST_REPEATED = 512
"""Bytes of a head that a connection remembers, to know it when it comes again. Programs that ask for the same again and
again send short ones; a browser's is longer mostly, and hardly ever the same."""


def http_events(
    *handlers: RequestHandler,
    limits: Limits | None = None,
    server_name: str = "evio-http",
    hot_bytes: int = 64 * 1024 * 1024,
    revalidate: float = 0.0,
    observers: Sequence[Observer] = (),
    trusted: TrustedProxies | None = None,
    gate: Gate | None = None,
    num_loops: int = 1,
) -> Events:
    """The events of an HTTP server: give them to :func:`evio_core.serve` or :func:`evio_core.workers`.

    Each request is given to ``handlers`` in turn until one returns a response; 404 if none does. A :class:`Site` is a
    handler. They run on the loops and must not block. An exception in one is logged and answered with 500.

    ``hot_bytes`` bounds the answers kept in memory; ``revalidate``: for how many seconds one is sent without looking at
    its file. ``server_name`` is the value of Server; empty: it is not sent. ``observers`` are told of every response;
    ``gate`` says who may ask, and how often.
    """
    if revalidate < 0:
        raise ValueError(f"revalidate must be 0 or more, not {revalidate}")
    limits = limits or Limits()
    asked = Handlers(handlers, trusted or TrustedProxies())
    server = Connections(asked, Observers(observers), limits, server_name, hot_bytes, revalidate, gate)
    return Events(
        opened=server.opened,
        data=_data(server, revalidate),
        woken=server.woken,
        eof=server.eof,
        retiring=server.retiring,
        stopping=server.stopping,
        closed=server.closed,
        num_loops=num_loops,
        # Files count as pending output, and may be larger than any memory; what is in memory is bounded by AHEAD.
        options=Options(
            idle_timeout=limits.keep_alive,
            send_timeout=limits.rate_grace if limits.min_rate else 0.0,
            min_send_rate=limits.min_rate,
            max_pending=0,
        ),
        not_tls=_answer_plain_http,
    )


def _data(server: Connections, revalidate: float) -> Callable[[Any, bytes], Reply]:
    """Return the ``data`` of a server whose answers may come from memory.

    It is one function with everything bound to its names, because this is where the time goes. Most of that is the
    kernel's: ``read``, ``stat``, ``write``.
    """
    received, asked, send_held = server.received, server.asked, server.send_held
    recognise, longest = server.recognise.match, server.recognise.longest
    renew, now, stat = server.known.renew, monotonic, os.stat
    not_modified = server.known.not_modified
    observe, observed = server.observers.observe, server.observers.present

    def recognised(chunk: bytes) -> Head:
        head = recognise(chunk)  # a short one
        assert head is not None, "it was when it came first"
        return head

    def data(conn: Any, chunk: bytes) -> Reply:
        session: HTTPSession = conn.context
        if not session.ready:
            return received(conn, chunk)
        head: Head | None = None
        record: Record | None = None
        answer: HotAnswer | None = None
        if chunk == session.repeated:
            record = session.record
            if record is not None:
                answer = record.full if session.in_full else record.not_modified
        else:
            head = recognise(chunk) if len(chunk) <= longest else None
            if head is None:
                return received(conn, chunk)
            method, path, minor, host, coding, tags, since, origin, close, other = head.groups()
            key = method, path, minor, host
            known = session.records.get(key) or session.records.find(key)
            if other is not None or close is not None:
                pass
            elif known is None:
                fresh = request_of(head, session.parser.scheme)
                return asked(conn, session, fresh, key if minor == b"1" else None)
            else:
                record = known if type(known) is Record else known.find(coding, origin)
                if record is not None:
                    if tags is None and since is None:
                        answer = record.full
                    elif tags == record.tag or (tags is None and since == record.modified):
                        answer = record.not_modified or not_modified(record)
                    else:
                        answer = record.answer(method, tags, since)
        if record is not None and answer is not None:
            start = now()
            if (start < record.until and start < answer.until) or renew(record, answer, start):
                turn = conn.turn
                if record.turn == turn or start < record.checked_until:
                    current = True
                elif record.others:
                    current = record.source.is_current()
                else:
                    try:
                        found = stat(record.path)
                    except OSError:
                        current = False
                    else:
                        # As ``version.is_current``, without what the ctime says already: no write, truncation, rename
                        # or utime leaves it as it was.
                        current = (
                            found.st_ctime_ns == record.ctime
                            and found.st_ino == record.inode
                            and found.st_dev == record.device
                        )
                # In this order: another thread that lets go of an answer empties ``wire`` before ``file``.
                file, wire = answer.file, answer.wire
                if current and wire:
                    if record.turn != turn:
                        record.turn = turn
                        if revalidate and start >= record.checked_until:
                            record.checked_until = start + revalidate
                    if head is not None and len(chunk) <= LONGEST_REPEATED:
                        session.repeated, session.record, session.repeated_request = chunk, record, None
                        session.in_full = answer is record.full
                    if file is None and not observed:
                        return wire
                    session.started = start
                    request = session.repeated_request if head is None else None
                    if request is None:
                        request = request_of(head or recognised(chunk), session.parser.scheme)
                        if chunk == session.repeated:
                            session.repeated_request = request
                    if file is not None:
                        return send_held(conn, session, request, answer, wire, file)
                    observe(session, request, answer.status, answer.length)
                    return wire
        return asked(conn, session, request_of(head or recognised(chunk), session.parser.scheme))

    return data


def _answer_plain_http(first: bytes) -> bytes | None:
    """The whole answer to plain HTTP on a port of TLS, None for another protocol; without Date, as no message was
    read."""
    if not REQUEST.match(first):
        return None
    text = "<h1>400 Bad Request</h1>\n<p>This port speaks HTTPS: the address begins with https://</p>\n"
    page = document("400 Bad Request", text)
    fields = b"Content-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n" % len(page)
    return b"HTTP/1.1 400 Bad Request\r\n%b\r\n%b" % (fields, page)
