"""HTTP over evio's events: the events of a server, and the common case of ``data``.

In that one the bytes are a head that was seen before, and what answered it is in memory. Everything else goes through
:class:`~evio_http.connections.connections.Connections`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from evio_core import Events, Options, Reply

from .answers.cache import HotAnswer
from .connections.connections import Connections
from .connections.gate import Gate
from .connections.handlers import Handlers, RequestHandler
from .connections.observer import Observer, Observers
from .connections.peers import TrustedProxies
from .connections.session import HTTPSession
from .message.limits import Limits
from .pages.markup import document

__all__ = ["http_events"]

REQUEST = re.compile(rb"[A-Za-z]+ ")
"""The beginning of a request in plain HTTP: its method."""


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

    Each request is given to HANDLERS in turn until one returns a response; 404 if none does. A :class:`Site` is a
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
        eof=server.eof,
        retiring=server.retiring,
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
    """The ``data`` of a server whose answers may come from memory.

    It is one function with everything bound to its names, because this is where the time goes. Most of that is the
    kernel's: ``read``, ``stat``, ``write``.
    """
    received, send_held, now, stat = server.received, server.send_held, monotonic, os.stat
    observe, observed = server.observers.observe, server.observers.present

    def data(conn: Any, chunk: bytes) -> Reply:
        session: HTTPSession = conn.context
        if session.ready:
            request = session.lookup(chunk)
            if request is not None:
                answer: HotAnswer | None = request.hot
                if answer is not None:
                    start = now()
                    # Taken before it is known to be good: another thread may let go of them at any time.
                    wire, file = answer.wire, answer.file
                    if start < answer.until:
                        turn = conn.turn
                        if answer.turn != turn:
                            if start >= answer.checked_until:
                                try:
                                    found = stat(answer.path)
                                except OSError:
                                    return received(conn, chunk)
                                # As ``version.is_current``, without what the ctime says already: no write, truncation,
                                # rename or utime leaves it as it was.
                                if (
                                    found.st_ctime_ns != answer.ctime
                                    or found.st_ino != answer.inode
                                    or found.st_dev != answer.device
                                    or (answer.others and not answer.source.is_current())
                                ):
                                    return received(conn, chunk)
                                if revalidate:
                                    answer.checked_until = start + revalidate
                            answer.turn = turn
                        if observed:
                            session.started = start
                            if file is None:
                                observe(session, request, answer.status, answer.length)
                        if file is not None:
                            return send_held(conn, session, request, answer, wire, file)
                        return wire
        return received(conn, chunk)

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
