"""One client over HTTP/2: its requests to what answers them, answers to its streams.

The answers are those of HTTP/1.1, from the same memory and the same handlers: their heads are encoded, their content is
put into frames. Needs the package ``hpack``.
"""

from __future__ import annotations

import logging
from collections import deque
from time import monotonic
from typing import final

from evio_core import Action, Conn, Reply, TimerHandle

from ..answers.cache import HeldFile, HotAnswer
from ..http2.connection import HTTP2Connection
from ..http2.encoder import encode_head
from ..http2.frames import DATA, END_HEADERS, END_STREAM, FRAME_SIZE, HEADER, HEADERS, ConnectionFault
from ..http2.request import Asked
from ..http2.stream import NEVER, FileSource, MemorySource, Source, Stream
from ..message.request import Request
from ..message.response import Deferred, FileBody, Response
from ..pages.error_pages import error_response
from .answering import Answering
from .observer import Observers
from .session import HTTPSession

__all__ = ["HTTP2Session"]

AT_ONCE = 16 * 1024
"""The last frames of a connection are left to ``CLOSE``, which gives them a few seconds, if they are no longer than
this, in bytes; longer ones are waited for."""

log: logging.Logger = logging.getLogger("evio_http")


@final
class _Held:
    """A file held open by the answers in memory, which close it when nobody refers to it."""

    __slots__ = ("_file", "fd")

    def __init__(self, file: HeldFile) -> None:
        self._file = file
        self.fd: int = file.fd

    def close(self) -> None:
        """See :class:`~evio_http.message.response.OpenFile`."""


@final
class HTTP2Session:
    """The state of a connection over HTTP/2, and its events."""

    __slots__ = (
        "_answering",
        "_armed",
        "_closing",
        "_conn",
        "_ended",
        "_http2",
        "_now",
        "_observers",
        "_over",
        "_results",
        "_session",
        "_timer",
        "_turn",
        "_waiting",
    )

    def __init__(self, conn: Conn, session: HTTPSession, answering: Answering, observers: Observers) -> None:
        self._conn = conn
        self._session = session
        self._answering = answering
        self._observers = observers
        handlers = answering.handlers
        self._http2 = HTTP2Connection(answering.limits, answering.recognise, handlers.want_content, self)
        self._results: deque[tuple[Stream, Response]] = deque()  # of other threads
        self._now = 0.0
        self._turn = 0
        self._waiting = False  # for the output that there is to leave
        self._ended = False  # the peer sends no more
        self._over = False  # nothing more is received
        self._closing = False  # the connection closes when its output has left
        self._timer: TimerHandle | None = None
        self._armed = NEVER

    # -- events

    def opened(self) -> bytes:
        """Return what the server says first."""
        self._arm(self._http2.soonest)
        return self._http2.take()

    def received(self, chunk: bytes) -> Reply:
        """Bytes have arrived."""
        if self._over:
            return None
        http2, conn = self._http2, self._conn
        self._now, self._turn = monotonic(), conn.turn
        try:
            http2.receive(chunk)
        except ConnectionFault as fault:
            return self._fail(fault)
        return self._output()

    def woken(self) -> Reply:
        """Output has left, or another thread has made a response."""
        self._waiting = False
        while self._results:
            stream, response = self._results.popleft()
            if stream.id in self._http2.streams:
                self._send(stream, response)
            else:
                response.close()
                self._http2.worked()
        if self._closing:
            return self._close()
        return self._output()

    def eof(self) -> Reply:
        """The peer sends no more; what it asked for is still answered, as far as it has left room."""
        self._ended = True
        for stream in list(self._http2.streams.values()):
            if not stream.ended:
                self._http2.cut(stream)
        return self._output()

    def retiring(self) -> Reply:
        """The server is replaced: the client is to go to the next one for what it has not asked for yet."""
        if self._over:
            return None
        self._http2.drain()
        return self._output()

    def stopping(self) -> bool:
        """The server stops: streams that have begun are finished, and others are not looked at."""
        if self._over:
            return self._closing
        self._http2.finish()
        if self._http2.output:
            self._conn.write(self._http2.take())
        return bool(self._http2.streams)

    def closed(self) -> None:
        """The connection has ended."""
        self._over = True
        self._http2.end()
        self.release()

    def release(self) -> None:
        """Close the files of responses that nobody will send."""
        while self._results:
            self._results.popleft()[1].close()

    def _output(self) -> Reply:
        """Send what there is, and what there is room for."""
        http2, conn = self._http2, self._conn
        more = False
        if http2.streams:
            try:
                more = http2.pump(conn.pending)
            except ConnectionFault as fault:
                return self._fail(fault)
            if more and not self._waiting:
                self._waiting = True
                conn.wake_when_drained()
        if http2.soonest < self._armed:  # one that is due later than that looks anew then
            self._arm(http2.soonest)
        if http2.drained or (self._ended and not more and not http2.working):
            return self._close()
        return http2.take() if http2.output else None

    def _fail(self, fault: ConnectionFault) -> Reply:
        log.debug("ended HTTP/2 of %s: %s %s", self._session.address, fault.code.name, fault.reason)
        self._http2.fail(fault)
        return self._close()

    def _close(self) -> Reply:
        self._over = True
        conn, http2 = self._conn, self._http2
        if conn.pending + http2.produced > AT_ONCE:
            if http2.output:
                conn.write(http2.take())
            self._closing = self._waiting = True
            conn.wake_when_drained()
            return None
        return http2.take(), Action.CLOSE

    # -- time

    def _arm(self, when: float) -> None:
        if when == NEVER:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed = when
        self._timer = self._conn.call_later(max(0.0, when - monotonic()), self._on_time)

    def _on_time(self) -> Reply:
        self._timer, self._armed = None, NEVER
        if self._over:
            return None
        try:
            self._http2.check(monotonic())
        except ConnectionFault as fault:
            return self._fail(fault)
        return self._output()

    # -- answers

    def answer_at_once(self, number: int, asked: Asked) -> bool:
        """See :class:`~evio_http.http2.connection.Answerer`."""
        session, known = self._session, self._answering.known
        if session.guarded:
            return False
        record = asked.record
        answer: HotAnswer | None = None
        if record is not None:
            answer = record.full if asked.in_full else record.not_modified
            if answer is None or not known.is_current(record, answer, self._now, self._turn):
                answer = None
        if answer is None:
            found = session.records.answer_to(asked.head) if asked.head is not None else None
            if found is None or not known.is_current(*found, self._now, self._turn):
                return False
            asked.record, answer = found
            asked.in_full = answer is asked.record.full
        # In this order: another thread that lets go of an answer empties ``wire`` before ``file``.
        file, wire = answer.file, answer.wire
        http2 = self._http2
        if file is not None or not wire or not http2.plain_blocks:
            return False
        made = answer.http2
        if made is None or made[0] is not wire:
            made = _frames(wire)
            if made is None:
                return False
            answer.http2 = made
        _, head, rest, start = made
        size = len(wire) - start
        if size > http2.send_window or size > http2.initial_window:
            return False
        stream = number.to_bytes(4, "big")
        if size:
            http2.send_window -= size
            http2.output += (head, stream, rest, stream, wire[start:])
        else:
            http2.output += (head, stream, rest)
        http2.produced += len(head) + len(rest) + size + 8
        if self._observers.present:
            session.started = self._now
            self._observers.observe(session, asked.request, answer.status, size)
        return True

    def answer(self, stream: Stream) -> None:
        """See :class:`~evio_http.http2.connection.Answerer`."""
        request = stream.request
        if stream.asked.refused or request is None:
            self._send(stream, error_response(stream.asked.refused))
            return
        response = self._answering.decide(self._session, request, None)
        if isinstance(response, HotAnswer):
            self._send_known(stream, response)
        elif isinstance(response, Deferred):
            stream.working, stream.held = True, response.after is not None
            if not self._begin_work(stream, request, response):
                self._send(stream, error_response(503))
        else:
            self._send(stream, response)

    def _begin_work(self, stream: Stream, request: Request, later: Deferred) -> bool:
        def done(response: Response) -> None:
            self._results.append((stream, response))
            if self._session.gone:  # nobody will send it
                self.release()
            self._conn.wake()

        return self._answering.handlers.begin(request, later, done)

    def _send_known(self, stream: Stream, answer: HotAnswer) -> None:
        file, wire = answer.file, answer.wire
        start = wire.index(b"\r\n\r\n") + 4
        source: Source | None = None
        if file is not None:
            source = FileSource(FileBody(_Held(file), [(file.offset, file.count)], file.count))
        elif len(wire) > start:
            source = MemorySource(wire, start)
        self._http2.respond(stream, answer.status, encode_head(wire[:start]), source)

    def _send(self, stream: Stream, response: Response) -> None:
        request, body = stream.request, response.body
        head = self._answering.head(response)
        length = len(body) if isinstance(body, bytes) else body.length
        if response.status in (204, 304) or (request is not None and request.method == "HEAD"):
            length, body = 0, b""
        if request is not None:
            self._answering.keep(request, response, head, body)
        source: Source | None = None
        if length:
            source = MemorySource(body) if isinstance(body, bytes) else FileSource(body)
        else:
            response.close()
        self._http2.respond(stream, response.status, encode_head(head), source)

    def finished(self, stream: Stream, *, whole: bool) -> None:
        """See :class:`~evio_http.http2.connection.Answerer`."""
        if not whole and stream.source is not None and stream.source.left and not self._session.gone:
            log.debug("%s: a stream was reset after %d bytes", self._session.address, stream.sent)
        if self._observers.present and stream.status:
            self._session.started = stream.started
            request = None if stream.asked.refused else stream.request
            self._observers.observe(self._session, request, stream.status, stream.sent)


def _frames(wire: bytes) -> tuple[bytes, bytes, bytes, int] | None:
    """Return ``HotAnswer.http2`` for an answer; None for one that does not fit into a frame each of head and
    content."""
    start = wire.index(b"\r\n\r\n") + 4
    block = encode_head(wire[:start])
    size = len(wire) - start
    if len(block) > FRAME_SIZE or size > FRAME_SIZE:
        return None
    flags = END_HEADERS if size else END_HEADERS | END_STREAM
    head = HEADER.pack(len(block) >> 8, len(block) & 0xFF, HEADERS, flags, 0)[:5]
    content = HEADER.pack(size >> 8, size & 0xFF, DATA, END_STREAM, 0)[:5] if size else b""
    return wire, head, block + content, start
