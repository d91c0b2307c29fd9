"""HTTP over evio's events: bytes to requests, requests to handlers, responses to bytes.

The common case is in ``data`` of :func:`http_events`: the bytes are a head that was seen before, and what answered it
is in memory. Everything else goes through :class:`HttpServer`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

from evio_core import Action, Conn, Events, Options, Reply

from .admission import Admission
from .hot import HeldFile, HotAnswer, HotCache
from .limits import Limits
from .markup import document
from .memo import Memo
from .observer import Observer
from .peers import TrustedProxies, peer_address
from .protocol import CONTINUE, Protocol, Refused
from .request import Request
from .response import CONSIDERED, Clock, FileBody, Later, Response, date_offset, render_head
from .session import Session, Timer, Waiting
from .site import error_response

__all__ = ["Handler", "HttpServer", "http_events"]

Handler = Callable[[Request], Response | Later | None]
"""Answers a request, or returns None to leave it to the next handler."""

AHEAD = 256 * 1024
"""Bytes of answers queued for one connection beyond which the next of its requests has to wait."""

AT_ONCE = 16 * 1024
"""The last answer of a connection is left to ``CLOSE``, which gives it a few seconds, if it is no longer than what any
kernel buffers; longer ones are waited for."""

WORKERS = 4
QUEUED_WORK = 64
"""Threads for responses that take longer, and how many of those may wait; then it is 503."""

QUEUED_FROM = 128 * 1024
"""What is shorter than this is mostly taken by the kernel at once, which needs no further descriptor."""

HELD_FILES = 512
"""Files held open because they were asked for again."""

KNOWN = 16 * 1024
"""Answers in memory that are also found for heads never seen before; when there are more, all are forgotten."""

CONTINUE_LINE = b"HTTP/1.1 100 Continue\r\n\r\n"

log = logging.getLogger("evio_http")


def http_events(
    *handlers: Handler,
    limits: Limits | None = None,
    server_name: str = "evio-http",
    hot_bytes: int = 64 * 1024 * 1024,
    revalidate: float = 0.0,
    observers: Sequence[Observer] = (),
    trusted: TrustedProxies | None = None,
    num_loops: int = 1,
) -> Events:
    """The events of an HTTP server: give them to :func:`evio_core.serve` or :func:`evio_core.workers`.

    Each request is given to HANDLERS in turn until one returns a response; 404 if none does. A :class:`Site` is a
    handler. They run on the loops and must not block. An exception in one is logged and answered with 500.

    ``hot_bytes`` bounds the answers kept in memory; ``revalidate``: for how many seconds one is sent without looking at
    its file. ``server_name`` is the value of Server; empty: it is not sent. ``observers`` are told of every response.
    """
    if revalidate < 0:
        raise ValueError(f"revalidate must be 0 or more, not {revalidate}")
    limits = limits or Limits()
    server = HttpServer(handlers, limits, server_name, hot_bytes, revalidate, observers, trusted)
    return Events(
        opened=server.opened,
        data=_data(server),
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
            plain_http_answer=_wrong_port(),
        ),
    )


def _data(server: HttpServer) -> Callable[[Any, bytes], Reply]:
    """The ``data`` of a server whose answers may come from memory.

    It is one function with everything bound to its names, because this is where the time goes. Most of that is the
    kernel's: ``read``, ``stat``, ``write``.
    """
    received, observe, revalidate, now, stat = server.received, server.observe, server.revalidate, monotonic, os.stat
    send_held, observed = server.send_held, bool(server.observers)

    def data(conn: Any, chunk: bytes) -> Reply:
        session: Session = conn.context
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
                                # As ``paths.is_current``, without what the ctime says already: no write, truncation,
                                # rename or utime leaves it as it was.
                                if (
                                    found.st_ctime_ns != answer.ctime
                                    or found.st_ino != answer.inode
                                    or found.st_dev != answer.device
                                    or (answer.others and not answer.is_current())
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


class HttpServer:
    """The connections of one server."""

    def __init__(
        self,
        handlers: Sequence[Handler],
        limits: Limits,
        server_name: str,
        hot_bytes: int,
        revalidate: float,
        observers: Sequence[Observer],
        trusted: TrustedProxies | None,
    ) -> None:
        self.limits = limits
        self.revalidate = revalidate
        self.observers = tuple(observers)
        self.hot = HotCache(hot_bytes, HELD_FILES if hot_bytes else 0)
        self._handlers = [(handler, getattr(handler, "shared_requests", False)) for handler in handlers]
        self._keep_body = not all(shared for _, shared in self._handlers)
        self._server_line = _server_line(server_name)
        self._clock = Clock()
        self._known: dict[tuple[object, ...], HotAnswer] = {}
        self._memos = {"http": Memo(), "https": Memo()}
        self._admission = Admission(limits.connections, limits.connections_per_address)
        self._trusted = trusted or TrustedProxies()
        self._pool: ThreadPoolExecutor | None = None
        self._work = threading.Semaphore(WORKERS + QUEUED_WORK)

    # -- events

    def opened(self, conn: Conn) -> Reply:
        """A connection begins."""
        tls = conn.tls
        scheme = "https" if tls is not None else "http"
        memo = self._memos[scheme]
        protocol = Protocol(self.limits, memo, scheme=scheme, keep_body=self._keep_body)
        session = Session(protocol, memo.get, peer_address(conn.remote_addr), (tls.version() or "") if tls else "")
        conn.context = session
        if not self._admission.enter(session.address):
            session.closing = True
            self.observe(session, None, 503, 0)
            return self.refusal(503), Action.CLOSE
        if self.limits.header_timeout:
            session.timer = Timer.HEAD
            conn.set_deadline(self.limits.header_timeout)
        return None

    def closed(self, conn: Conn, error: BaseException | None) -> None:
        """A connection has ended."""
        session: Session | None = conn.context
        if session is not None:
            session.gone = True
            if session.unfinished:
                self._settle(session, conn.pending)
            if session.result is not None:
                session.result.close()
            self._admission.leave(session.address)
            if error is not None:
                log.debug("connection of %s ended: %s", session.address, error)

    def received(self, conn: Conn, chunk: bytes) -> Reply:
        """Bytes have arrived; none after a wake."""
        session: Session = conn.context
        session.ready = False
        if session.unfinished and not conn.pending:
            self._settle(session, 0)
        if chunk:
            if self.observers and session.protocol.idle:
                session.started = monotonic()
            session.protocol.receive(chunk)
        if session.waiting is not Waiting.NOTHING:
            return self._woken(conn, session) if not chunk else None
        return self._advance(conn, session, [])

    def eof(self, conn: Conn) -> Reply:
        """The peer sends no more; what it asked for is still answered."""
        session: Session = conn.context
        session.ready = False
        session.ended = True
        if session.waiting is not Waiting.NOTHING:
            return None
        return self._finish(conn, session, [])

    def retiring(self, conn: Conn) -> None:
        """The server is replaced: the next answer is the last one, and says so, as a client could not tell otherwise
        whether a request that it sent while we closed was served (RFC 9112 section 9.6)."""
        session: Session = conn.context
        session.retiring = True
        session.ready = False

    def _woken(self, conn: Conn, session: Session) -> Reply:
        output: list[bytes] = []
        if session.waiting is Waiting.OUTPUT:
            if conn.pending:
                conn.wake_when_drained()
                return None
            if session.closing:
                return Action.CLOSE
        elif session.result is None:
            return None
        else:
            request, response = session.request, session.result
            session.request = session.result = None
            assert request is not None
            self._send(conn, session, request, response, output)
        session.waiting = Waiting.NOTHING
        conn.resume_reading()
        return self._advance(conn, session, output)

    # -- requests

    def _advance(self, conn: Conn, session: Session, output: list[bytes]) -> Reply:
        """Answer what has arrived, as far as the peer takes the answers."""
        protocol = session.protocol
        while not session.closing:
            if conn.pending + sum(map(len, output)) > AHEAD and not protocol.idle:
                self._wait_for_peer(conn, session, output)
                return None
            event = protocol.next_event()
            if event is None:
                break
            if type(event) is Request:
                if session.timer is Timer.HEAD or session.timer is Timer.CONTENT:
                    session.timer = Timer.STALE
                if not self._on_request(conn, session, event, output):
                    self._write(conn, output)
                    return None
            elif event is CONTINUE:
                output.append(CONTINUE_LINE)
            elif type(event) is Refused:
                self._refuse(session, event, output)
        return self._finish(conn, session, output)

    def _on_request(self, conn: Conn, session: Session, request: Request, output: list[bytes]) -> bool:
        """False: the response comes later."""
        answer: HotAnswer | None = request.hot
        if answer is None and self._known and not request.has_body:
            answer = self._known.get(_essence(request))
        if answer is not None and not session.retiring:
            now = monotonic()
            fresh = now < answer.until and answer.is_current()
            if fresh or self.hot.renew(answer, self._clock.tell(now), self._clock.until):
                self._put(conn, session, request, answer, output)
                self._remember(session, request, answer)
                return True
            request.hot = None
        response = self._ask(session, request)
        if isinstance(response, Later):
            if self._work.acquire(blocking=False):
                self._begin_work(conn, session, request, response)
                return False
            response = error_response(503)
        self._send(conn, session, request, response, output)
        return True

    def _put(self, conn: Conn, session: Session, request: Request, answer: HotAnswer, output: list[bytes]) -> None:
        wire, file = answer.wire, answer.file
        if file is None:
            output.append(wire)
            self.observe(session, request, answer.status, answer.length)
        else:
            self._write(conn, output)
            refusal = self.send_held(conn, session, request, answer, wire, file)
            if refusal is not None:
                output.append(refusal)

    def send_held(
        self, conn: Conn, session: Session, request: Request, answer: HotAnswer, wire: bytes, file: HeldFile
    ) -> bytes | None:
        """Send ANSWER, whose content is in a held file; returns what to say instead if that cannot be done."""
        if file.count >= QUEUED_FROM and not _can_be_queued(file.fd, 1):
            response = error_response(503)
            assert isinstance(response.body, bytes)
            self.observe(session, request, 503, len(response.body))
            return self._render(response, request, close=not request.keep_alive) + response.body
        conn.send_file(file.fd, file.offset, file.count, head=wire)
        if self.observers:
            self.sent(conn, session, request, answer.status, answer.length)
        return None

    def _ask(self, session: Session, request: Request) -> Response | Later:
        try:
            own = None
            for handler, shared in self._handlers:
                if not shared and own is None:
                    own = request.for_handler(self._trusted.client(session.address, request))
                response = handler(request if shared or own is None else own)
                if isinstance(response, Response) and own is not None:
                    response.source = None  # the program's own handlers are to see every request
                if isinstance(response, (Response, Later)):
                    return response
                if response is not None:
                    raise TypeError(f"a handler returns a Response, a Later or None, not {response!r}")
        except Exception:
            log.exception("the handler failed for %r", request)
            return error_response(500)
        return error_response(404)

    def _begin_work(self, conn: Conn, session: Session, request: Request, later: Later) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="evio-http")
        session.waiting = Waiting.WORK
        session.request = request
        self._set_timer(conn, session, Timer.NONE, None)
        conn.pause_reading()

        def work() -> None:
            try:
                response = later.work()
            except Exception:
                log.exception("the handler failed for %r", request)
                response = error_response(500)
            self._work.release()
            session.result = response
            if session.gone:  # nobody will send it
                response.close()
            conn.wake()

        self._pool.submit(work)

    def _refuse(self, session: Session, refused: Refused, output: list[bytes]) -> None:
        log.debug("refused %s: %d %s", session.address, refused.status, refused.reason)
        session.closing = True
        output.append(self.refusal(refused.status))
        self.observe(session, None, refused.status, 0)

    # -- responses

    def _send(self, conn: Conn, session: Session, request: Request, response: Response, output: list[bytes]) -> None:
        """Put RESPONSE into OUTPUT or, if it is out of a file, into the connection behind all that is in there."""
        if type(response.body) is FileBody and request.method != "HEAD":
            spans = sum(not isinstance(piece, bytes) for piece in response.body.pieces)
            if not _can_be_queued(response.body.file.fd, spans):
                response.close()
                response = error_response(503)
        last = not request.keep_alive or session.retiring or (session.ended and session.protocol.idle)
        session.closing = session.closing or last
        head = self._render(response, request, close=session.closing)
        body = response.body
        length = len(body) if isinstance(body, bytes) else body.length
        # RFC 9112 section 6.3: with these the next response begins right after the head, whatever a handler gave.
        if request.method == "HEAD" or response.status in (204, 304):
            length = 0
        if not length or isinstance(body, bytes):
            self.observe(session, request, response.status, length)
        if not length:
            output.append(head)
            body = b""
        elif isinstance(body, bytes):
            output += (head, body)
        else:
            output.append(head)
            self._send_file(conn, body, output)
            self.sent(conn, session, request, response.status, length)
        # The head says whether the connection is closed: not so if only this peer's having ended is why.
        if response.source is not None and not request.has_body and session.closing is not request.keep_alive:
            self._keep(session, request, response, head, body)
        response.close()

    def _remember(self, session: Session, request: Request, answer: HotAnswer) -> None:
        if request.keep_alive:
            request.hot = answer
        else:  # ``data`` must not find it, as it does not close
            session.closing = True

    def _keep(
        self, session: Session, request: Request, response: Response, head: bytes, body: bytes | FileBody
    ) -> None:
        """Have the same request answered from memory the next time."""
        assert response.source is not None
        content = body if isinstance(body, bytes) else _held(body)
        if content is not None:
            at = date_offset(response.status)
            answer = self.hot.keep(head, content, response.source, response.status, at, self._clock.until)
            self._remember(session, request, answer)
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[_essence(request)] = answer

    def _send_file(self, conn: Conn, body: FileBody, output: list[bytes]) -> None:
        self._write(conn, output)
        for piece in body.pieces:
            if isinstance(piece, bytes):
                conn.write(piece)
            else:
                conn.send_file(body.file.fd, *piece)

    def _render(self, response: Response, request: Request | None, *, close: bool) -> bytes:
        """The head; with the content, for a request that could not be read."""
        connection = "close" if close else "keep-alive" if request is not None and request.version == "1.0" else ""
        head = render_head(response, self._clock.tell(monotonic()), self._server_line, connection=connection)
        return head if request is not None or not isinstance(response.body, bytes) else head + response.body

    # -- where a connection goes from here

    def _write(self, conn: Conn, output: list[bytes]) -> None:
        for piece in output:
            conn.write(piece)
        output.clear()

    def _wait_for_peer(self, conn: Conn, session: Session, output: list[bytes]) -> None:
        """Go on when all answers have left."""
        self._write(conn, output)
        self._set_timer(conn, session, Timer.NONE, None)  # ``Options.send_timeout`` sees to it
        session.waiting = Waiting.OUTPUT
        if not session.ended:
            conn.pause_reading()
        conn.wake_when_drained()

    def _finish(self, conn: Conn, session: Session, output: list[bytes]) -> Reply:
        """All that has arrived is answered."""
        session.closing = session.closing or session.ended
        if session.closing:
            if conn.pending + sum(map(len, output)) > AT_ONCE:
                self._wait_for_peer(conn, session, output)
                return None
            return b"".join(output), Action.CLOSE
        self._limit(conn, session)
        return b"".join(output) if output else None

    def _limit(self, conn: Conn, session: Session) -> None:
        """See that what comes next comes in time."""
        awaited = session.protocol.awaited
        if awaited is not None:
            timer, seconds = Timer.CONTENT, self.limits.transfer_time(awaited)
        elif not session.protocol.idle:
            timer, seconds = Timer.HEAD, self.limits.header_timeout or None
        else:
            timer, seconds = Timer.NONE, None
        self._set_timer(conn, session, timer, seconds)
        session.ready = timer is Timer.NONE and not session.retiring

    def _set_timer(self, conn: Conn, session: Session, timer: Timer, seconds: float | None) -> None:
        """A new deadline, unless the one there is means the same: no byte moves it on."""
        if timer is not session.timer:
            session.timer = timer
            conn.set_deadline(seconds)

    def refusal(self, status: int) -> bytes:
        """A whole answer to what could not be read."""
        return self._render(error_response(status), None, close=True)

    def observe(self, session: Session, request: Request | None, status: int, length: int) -> None:
        """Tell the observers of a response with LENGTH bytes of content; REQUEST is None if it could not be read."""
        for observer in self.observers:
            observer.answered(session, request, status, length)

    def sent(self, conn: Conn, session: Session, request: Request, status: int, length: int) -> None:
        """A file was handed over for sending: tell the observers when it has left."""
        if conn.pending and self.observers:
            session.unfinished.append((request, status, length, session.started))
            conn.wake_when_drained()
        else:
            self.observe(session, request, status, length)

    def _settle(self, session: Session, pending: int) -> None:
        """All output has left, or the connection has ended and PENDING bytes have not."""
        now = session.started
        kept: list[int] = []
        for _, _, length, _ in reversed(session.unfinished):  # what was queued last is missing first
            missing = min(pending, length)
            kept.insert(0, length - missing)
            pending -= missing
        for (request, status, _, started), length in zip(session.unfinished, kept, strict=True):
            session.started = started
            self.observe(session, request, status, length)
        session.unfinished.clear()
        session.started = now


def _essence(request: Request) -> tuple[object, ...]:
    """All of a request that an answer from memory can depend on."""
    fields = request.headers.pick(CONSIDERED)
    return request.method, request.scheme, request.host, request.version, request.keep_alive, request.path, fields


def _can_be_queued(fd: int, spans: int) -> bool:
    """Whether there are the descriptors for that many calls of ``Conn.send_file``, which duplicates what it queues:
    once a head has left it is too late to say that there are none."""
    spare: list[int] = []
    try:
        for _ in range(spans):
            spare.append(os.dup(fd))
    except OSError as error:
        log.error("cannot send a file: %s", error)
        return False
    finally:
        for each in spare:
            os.close(each)
    return True


def _held(body: FileBody) -> HeldFile | None:
    """The one part of a file that BODY is, held open; None if it is none, or there are no descriptors left."""
    piece = body.pieces[0]
    if len(body.pieces) != 1 or isinstance(piece, bytes):
        return None
    try:
        return HeldFile(body.file.fd, *piece)
    except OSError:
        return None


def _wrong_port() -> bytes:
    """The whole answer to plain HTTP on a port of TLS; without Date, as it is made in advance."""
    text = "<h1>400 Bad Request</h1>\n<p>This port speaks HTTPS: the address begins with https://</p>\n"
    page = document("400 Bad Request", text)
    fields = b"Content-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n" % len(page)
    return b"HTTP/1.1 400 Bad Request\r\n%b\r\n%b" % (fields, page)


def _server_line(name: str) -> bytes:
    if not name:
        return b""
    if not name.isascii() or not name.isprintable():
        raise ValueError(f"the server's name must be printable ASCII, not {name!r}")
    return f"Server: {name}\r\n".encode("ascii")
