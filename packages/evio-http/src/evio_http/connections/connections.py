"""The connections of a server: bytes to requests, requests to handlers, responses to bytes."""

from __future__ import annotations

import errno
import logging
from time import monotonic

from evio_core import Action, Conn, Reply, TimeoutExpired

from ..answers.by_request import Key, KnownAnswers
from ..answers.cache import HeldFile, HotAnswer
from ..message.common_head import Recogniser
from ..message.limits import Limits
from ..message.parser import CONTINUE, BadRequest, RequestParser
from ..message.request import Request
from ..message.response import Deferred, FileBody, Response
from ..pages.error_pages import error_response
from .answering import Answering
from .gate import Gate
from .handlers import Handlers
from .observer import Observers
from .peers import peer_address
from .session import Deadline, HTTPSession, Waiting

__all__ = ["Connections"]

AHEAD = 256 * 1024
"""Bytes of answers queued for one connection beyond which the next of its requests has to wait."""

AT_ONCE = 16 * 1024
"""The last answer of a connection is left to ``CLOSE``, which gives it a few seconds, if it is no longer than what any
kernel buffers; longer ones are waited for."""

QUEUED_FROM = 128 * 1024
"""A file shorter than this, in bytes, is mostly taken by the kernel at once, which needs no further descriptor."""

NETWORK = frozenset((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.EHOSTDOWN))
"""Errors that a connection may end with through nobody's fault here, where Python has no class of error for it."""

CONTINUE_LINE = b"HTTP/1.1 100 Continue\r\n\r\n"

log: logging.Logger = logging.getLogger("evio_http")


class Connections:
    """The connections of one server."""

    def __init__(
        self,
        handlers: Handlers,
        observers: Observers,
        limits: Limits,
        server_name: str,
        hot_bytes: int,
        revalidate: float,
        gate: Gate | None = None,
    ) -> None:
        self.observers = observers
        self._answering = answering = Answering(handlers, limits, server_name, hot_bytes, revalidate, gate)
        self.known: KnownAnswers = answering.known
        self.recognise: Recogniser = answering.recognise
        self._handlers = handlers
        self._limits = limits
        self._gate = gate

    # -- events

    def opened(self, conn: Conn) -> Reply:
        """A connection begins."""
        tls = conn.tls
        scheme = "https" if tls is not None else "http"
        parser = RequestParser(self._limits, self.recognise, scheme=scheme, keep_body=self._handlers.want_content)
        version = (tls.version() or "") if tls is not None else ""
        session = HTTPSession(parser, self.known.records(scheme), peer_address(conn.remote_addr), version)
        conn.context = session
        refused = 0 if self._answering.admission.enter(session.address) else 503
        if self._answering.is_crowded():
            self.known.release()
        if self._gate is not None:
            refused = 403 if self._gate.refuses(session.address) else refused
            session.guarded = self._gate.guards(session.address)
        over_http2 = tls is not None and tls.selected_alpn_protocol() == "h2"
        if refused:
            session.closing = True
            self.observers.observe(session, None, refused, 0)
            # Over HTTP/2 there is nobody to tell it: no stream has begun.
            return b"" if over_http2 else self.refusal(refused), Action.CLOSE
        if over_http2:
            return self._begin_http2(conn, session)
        if self._limits.header_timeout:
            session.deadline = Deadline.HEAD
            conn.set_deadline(self._limits.header_timeout)
        return None

    def _begin_http2(self, conn: Conn, session: HTTPSession) -> Reply:
        try:
            from .http2_session import HTTP2Session
        except ImportError:  # an address offers what nobody here speaks
            log.error("HTTP/2 needs hpack: pip install evio-http[h2]")
            session.closing = True
            return Action.CLOSE
        session.http2 = HTTP2Session(conn, session, self._answering, self.observers)
        return session.http2.opened()

    def closed(self, conn: Conn, error: BaseException | None) -> None:
        """A connection has ended."""
        session: HTTPSession | None = conn.context
        if session is not None:
            session.gone = True
            if session.http2 is not None:
                session.http2.closed()
            if session.unfinished:
                self.observers.settle(session, conn.pending)
            if session.result is not None:
                session.result.close()
            self._answering.admission.leave(session.address)
            # Nobody is here to ask for a held file, nor would anything close it by age.
            if not self._answering.admission.open:
                self.known.release()
            if error is not None:
                self._say_why(conn, session, error)
                if isinstance(error, TimeoutExpired) and _is_receiving(session):  # not told of it, as nginx does
                    self.observers.observe(session, session.parser.incoming, 408, 0)

    def _say_why(self, conn: Conn, session: HTTPSession, error: BaseException) -> None:
        # What peers and networks do is no news. What the disk does is, and so is a file that has become shorter.
        if type(error) is OSError and error.errno not in NETWORK and conn.pending and session.sending is not None:
            _cannot_send(session.sending, session, error)
        else:
            log.debug("connection of %s ended: %s", session.address, error)

    def received(self, conn: Conn, chunk: bytes) -> Reply:
        """Bytes have arrived."""
        session: HTTPSession = conn.context
        if session.http2 is not None:
            return session.http2.received(chunk)
        session.ready = False
        if session.unfinished and not conn.pending:
            self.observers.settle(session, 0)
        if self.observers.present and session.parser.idle:
            session.started = monotonic()
        session.parser.receive(chunk)
        if session.waiting is not Waiting.NOTHING:
            return None
        return self._advance(conn, session, [])

    def eof(self, conn: Conn) -> Reply:
        """The peer sends no more; what it asked for is still answered."""
        session: HTTPSession = conn.context
        if session.http2 is not None:
            return session.http2.eof()
        session.ready = False
        session.ended = True
        if session.waiting is not Waiting.NOTHING:
            return None
        return self._finish(conn, session, [])

    def retiring(self, conn: Conn) -> Reply:
        """The server is replaced: the next answer is the last one, and says so, as a client could not tell otherwise
        whether a request that it sent while we closed was served (RFC 9112 section 9.6)."""
        session: HTTPSession = conn.context
        if session.http2 is not None:
            return session.http2.retiring()
        session.retiring = True
        session.ready = False
        return None

    def stopping(self, conn: Conn) -> bool:
        """The server stops: True while there are answers that wait for more than the kernel."""
        session: HTTPSession = conn.context
        if session.http2 is not None:
            return session.http2.stopping()
        session.retiring = True  # the answer that another thread is at is the last
        return session.waiting is Waiting.WORK

    def woken(self, conn: Conn) -> Reply:
        """Go on with what the connection waited for."""
        session: HTTPSession = conn.context
        if session.http2 is not None:
            return session.http2.woken()
        if session.unfinished and not conn.pending:
            self.observers.settle(session, 0)
        output: list[bytes] = []
        if session.waiting is Waiting.NOTHING:
            return None
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

    def asked(self, conn: Conn, session: HTTPSession, request: Request, key: Key | None = None) -> Reply:
        """Answer ``request``, which arrived alone and whole while nothing else was to be done. ``key`` is that of
        ``KnownAnswers.records`` for it, if nothing is known under it."""
        session.ready = False
        if session.unfinished and not conn.pending:
            self.observers.settle(session, 0)
        if self.observers.present:
            session.started = monotonic()
        output: list[bytes] = []
        if self._on_request(conn, session, request, output, key):
            if session.closing or session.ended:
                return self._finish(conn, session, output)
            session.ready = True  # as before: nothing else has arrived
            return b"".join(output) if output else None
        self._write(conn, output)
        return None

    def _advance(self, conn: Conn, session: HTTPSession, output: list[bytes]) -> Reply:
        """Answer what has arrived, as far as the peer takes the answers."""
        parser = session.parser
        while not session.closing:
            if conn.pending + sum(map(len, output)) > AHEAD and not parser.idle:
                self._wait_for_peer(conn, session, output)
                return None
            event = parser.next_event()
            if event is None:
                break
            if event is CONTINUE:
                incoming = parser.incoming
                if self._handlers.want_content or incoming is None:
                    output.append(CONTINUE_LINE)
                    continue
                # Nobody looks at the content: the final answer can be given now (RFC 9110 section 10.1.1), and as
                # nobody can say whether the content still comes behind it, it is the last.
                session.closing, event = True, incoming
            if type(event) is Request:
                if session.deadline is Deadline.HEAD or session.deadline is Deadline.CONTENT:
                    session.deadline = Deadline.STALE
                if not self._on_request(conn, session, event, output):
                    self._write(conn, output)
                    return None
            elif type(event) is BadRequest:
                self._refuse(session, event, output)
        return self._finish(conn, session, output)

    def _on_request(
        self, conn: Conn, session: HTTPSession, request: Request, output: list[bytes], key: Key | None = None
    ) -> bool:
        """False: the response comes later."""
        response = self._answering.decide(session, request, key)
        if isinstance(response, HotAnswer):
            self._put(conn, session, request, response, output)
            session.closing = session.closing or not request.keep_alive
            return True
        if isinstance(response, Deferred):
            if self._begin_work(conn, session, request, response):
                return False
            response = error_response(503)
        self._send(conn, session, request, response, output, key)
        return True

    def _put(self, conn: Conn, session: HTTPSession, request: Request, answer: HotAnswer, output: list[bytes]) -> None:
        wire, file = answer.wire, answer.file
        if file is None:
            output.append(wire)
            self.observers.observe(session, request, answer.status, answer.length)
        else:
            self._write(conn, output)
            refusal = self.send_held(conn, session, request, answer, wire, file)
            if refusal is not None:
                output.append(refusal)

    def send_held(
        self, conn: Conn, session: HTTPSession, request: Request, answer: HotAnswer, wire: bytes, file: HeldFile
    ) -> bytes | None:
        """Send ``answer``, whose content is in a held file; returns what to say instead if that cannot be done."""
        if file.count >= QUEUED_FROM and not self._answering.can_be_queued(file.fd, 1):
            output: list[bytes] = []
            self._send(conn, session, request, error_response(503), output)
            return b"".join(output)
        session.sending = request
        try:
            conn.send_file(file.fd, file.offset, file.count, head=wire)
        except OSError as error:  # no descriptor for the rest of it
            _cannot_send(request, session, error)
            self.observers.observe(session, request, answer.status, 0)
            conn.abort()
            return None
        if self.observers.present:
            self.observers.sent(conn, session, request, answer.status, answer.length)
        return None

    def _begin_work(self, conn: Conn, session: HTTPSession, request: Request, later: Deferred) -> bool:
        def done(response: Response) -> None:
            session.result = response
            if session.gone:  # nobody will send it
                response.close()
            conn.wake()

        if not self._handlers.begin(request, later, done):
            return False
        session.waiting = Waiting.WORK if later.after is None else Waiting.EVENT
        session.request = request
        self._set_deadline(conn, session, Deadline.NONE, None)
        conn.pause_reading()
        return True

    def _refuse(self, session: HTTPSession, refused: BadRequest, output: list[bytes]) -> None:
        log.debug("refused %s: %d %s", session.address, refused.status, refused.reason)
        session.closing = True
        output.append(self.refusal(refused.status))
        self.observers.observe(session, None, refused.status, 0)

    # -- responses

    def _send(
        self,
        conn: Conn,
        session: HTTPSession,
        request: Request,
        response: Response,
        output: list[bytes],
        key: Key | None = None,
    ) -> None:
        """Put ``response`` into ``output`` or, if it is out of a file, into the connection behind all that is in
        there. ``key`` is what it can be known under."""
        body, status = response.body, response.status
        if type(body) is FileBody and request.method != "HEAD":
            spans = sum(not isinstance(piece, bytes) for piece in body.pieces)
            if not self._answering.can_be_queued(body.file.fd, spans):
                response.close()
                response = error_response(503)
                body, status = response.body, response.status
        last = not request.keep_alive or session.retiring or (session.ended and session.parser.idle)
        session.closing = session.closing or last
        connection = "close" if session.closing else "keep-alive" if request.version == "1.0" else ""
        head = self._answering.head(response, connection=connection)
        length = len(body) if isinstance(body, bytes) else body.length
        # RFC 9112 section 6.3: with these the next response begins right after the head, whatever a handler gave.
        if request.method == "HEAD" or status in (204, 304):
            length = 0
        if self.observers.present and (not length or isinstance(body, bytes)):
            self.observers.observe(session, request, status, length)
        if not length:
            body = b""
        kept: HotAnswer | None = None
        # The head says whether the connection is closed: not so if only this peer's having ended is why.
        if session.closing is not request.keep_alive:
            kept = self._answering.keep(request, response, head, body, key)
        if not isinstance(body, bytes):
            output.append(head)
            session.sending = request
            self._send_file(conn, body, output)
            self.observers.sent(conn, session, request, status, length)
        elif kept is not None and (wire := kept.wire):  # head and content in one, so they need not be copied again
            output.append(wire)
        else:
            output += (head, body)
        if type(response.body) is FileBody:
            response.close()

    def _send_file(self, conn: Conn, body: FileBody, output: list[bytes]) -> None:
        self._write(conn, output)
        for piece in body.pieces:
            if isinstance(piece, bytes):
                conn.write(piece)
            else:
                conn.send_file(body.file.fd, *piece)

    def refusal(self, status: int) -> bytes:
        """A whole answer to what could not be read."""
        response = error_response(status)
        assert isinstance(response.body, bytes)
        return self._answering.head(response, connection="close") + response.body

    # -- where a connection goes from here

    def _write(self, conn: Conn, output: list[bytes]) -> None:
        for piece in output:
            conn.write(piece)
        output.clear()

    def _wait_for_peer(self, conn: Conn, session: HTTPSession, output: list[bytes]) -> None:
        """Go on when all answers have left."""
        self._write(conn, output)
        self._set_deadline(conn, session, Deadline.NONE, None)  # ``Options.send_timeout`` sees to it
        session.waiting = Waiting.OUTPUT
        if not session.ended:
            conn.pause_reading()
        conn.wake_when_drained()

    def _finish(self, conn: Conn, session: HTTPSession, output: list[bytes]) -> Reply:
        """All that has arrived is answered."""
        session.closing = session.closing or session.ended
        if session.closing:
            if conn.pending + sum(map(len, output)) > AT_ONCE:
                self._wait_for_peer(conn, session, output)
                return None
            return b"".join(output), Action.CLOSE
        self._limit(conn, session)
        return b"".join(output) if output else None

    def _limit(self, conn: Conn, session: HTTPSession) -> None:
        """See that what comes next comes in time."""
        awaited = session.parser.awaited
        if awaited is not None:
            deadline, seconds = Deadline.CONTENT, self._limits.transfer_time(awaited)
        elif not session.parser.idle:
            deadline, seconds = Deadline.HEAD, self._limits.header_timeout or None
        else:
            deadline, seconds = Deadline.NONE, None
        self._set_deadline(conn, session, deadline, seconds)
        session.ready = deadline is Deadline.NONE and not session.retiring and not session.guarded

    def _set_deadline(self, conn: Conn, session: HTTPSession, deadline: Deadline, seconds: float | None) -> None:
        """A new deadline, unless the one there is means the same: no byte moves it on."""
        if deadline is not session.deadline:
            session.deadline = deadline
            conn.set_deadline(seconds)


def _is_receiving(session: HTTPSession) -> bool:
    return session.waiting is Waiting.NOTHING and not session.closing and not session.parser.idle


def _cannot_send(request: Request, session: HTTPSession, error: OSError) -> None:
    path = request.path.decode("ascii", "replace")
    log.error("cannot send all of %s to %s: %s", path, session.address, error.strerror)
