"""From a request to what answers it, whatever version of HTTP carries both."""

from __future__ import annotations

import logging
import os
import sys
from time import monotonic

from ..answers.by_request import Key, KnownAnswers
from ..answers.cache import HotAnswer
from ..message.common_head import Recogniser
from ..message.limits import Limits
from ..message.request import Request
from ..message.response import DateClock, Deferred, FileBody, Response, render_head
from .admission import Admission
from .gate import Gate
from .handlers import Handlers
from .session import HTTPSession

__all__ = ["Answering"]

DESCRIPTORS_OF_A_FILE = 3
"""Descriptors that it takes to look one up: the directory, what its path leads to, and the file."""

UNLIMITED = 1 << 20
"""Descriptors where the system has no limit."""

log: logging.Logger = logging.getLogger("evio_http")


class Answering:
    """The part that all connections of one server share: answers in memory, handlers, and who may ask."""

    def __init__(
        self,
        handlers: Handlers,
        limits: Limits,
        server_name: str,
        hot_bytes: int,
        revalidate: float,
        gate: Gate | None,
    ) -> None:
        self.handlers: Handlers = handlers
        self.limits: Limits = limits
        self._gate = gate
        self._server_line = _server_line(server_name)
        self._clock = DateClock()
        descriptors = _most_descriptors()
        self._crowd = descriptors // 2
        self.known: KnownAnswers = KnownAnswers(hot_bytes, revalidate, self._clock, descriptors)
        self.recognise: Recogniser = Recogniser(limits)
        self.admission: Admission = Admission(limits.connections, limits.connections_per_address)

    def decide(self, session: HTTPSession, request: Request, key: Key | None) -> HotAnswer | Response | Deferred:
        """Return the answer from memory, or else the response of whoever has one. ``key`` is that of
        ``KnownAnswers.records`` for the request, if nothing is known under it."""
        if session.guarded and self._gate is not None:
            refusal = self._gate.check(session.address, request, monotonic())
            if refusal is not None:
                return refusal
        if key is None and not session.retiring:
            answer = self.known.find(request, monotonic())
            if answer is not None:
                return answer
        response = self.handlers.ask(session.address, request)
        if isinstance(response, Response) and response.status == 503 and self._make_room():
            response = self.handlers.ask(session.address, request)
        return response

    def head(self, response: Response, *, connection: str = "") -> bytes:
        """Return the head of a response; ``connection`` is the value of that field, if it is there."""
        return render_head(response, self._clock.tell(monotonic()), self._server_line, connection=connection)

    def keep(
        self, request: Request, response: Response, head: bytes, body: bytes | FileBody, key: Key | None = None
    ) -> HotAnswer | None:
        """Have the same request answered from memory the next time, if that may be. ``key`` is that of ``decide``.
        Return what is kept."""
        if response.source is None or request.has_body:
            return None
        if isinstance(body, bytes) or not self.is_crowded():
            return self.known.keep(request, response, head, body, key)
        return None

    # -- descriptors

    def is_crowded(self) -> bool:
        """Tell whether connections need the descriptors that held files would have."""
        return self.admission.open >= self._crowd

    def can_be_queued(self, fd: int, spans: int) -> bool:
        """Tell whether there are the descriptors for that many calls of ``Conn.send_file``, which duplicates what it
        queues: once a head has left it is too late to say that there are none. Held files make room."""
        if _spare(fd, spans) or (self.known.release() and _spare(fd, spans)):
            return True
        log.error("cannot send a file: no descriptors are left")
        return False

    def _make_room(self) -> bool:
        """Let held files go if descriptors are short; True if what failed may be tried again."""
        if self.handlers.want_content:  # they are not to be asked twice
            return False
        try:
            fd = os.open(os.devnull, os.O_RDONLY)
        except OSError:
            return self.known.release()
        try:
            return not _spare(fd, DESCRIPTORS_OF_A_FILE - 1) and self.known.release()
        finally:
            os.close(fd)


def _spare(fd: int, count: int) -> bool:
    """Tell whether ``count`` descriptors can be had."""
    spare: list[int] = []
    try:
        for _ in range(count):
            spare.append(os.dup(fd))
    except OSError:
        return False
    finally:
        for each in spare:
            os.close(each)
    return True


def _most_descriptors() -> int:
    """Return the number of descriptors that the process may have."""
    if sys.platform == "win32":
        return UNLIMITED
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else UNLIMITED


def _server_line(name: str) -> bytes:
    if not name:
        return b""
    if not name.isascii() or not name.isprintable():
        raise ValueError(f"the server's name must be printable ASCII, not {name!r}")
    return f"Server: {name}\r\n".encode("ascii")
