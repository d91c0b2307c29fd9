"""Answers in memory, found by what of a request they depend on: also for heads never seen before."""

from __future__ import annotations

from ..files.version import FileSource
from ..message.request import Request
from ..message.response import CONSIDERED, DateClock, FileBody, Response, date_offset
from .cache import HeldFile, HotAnswer, HotCache

__all__ = ["KnownAnswers"]

HELD_FILES = 512
"""Files held open because they were asked for again."""

MOST = 16 * 1024
"""When more are known, all are forgotten."""


class KnownAnswers:
    """What answered which requests, in at most HOT_BYTES; 0: nothing is known. For REVALIDATE seconds after a look at
    its files an answer is right without another."""

    def __init__(self, hot_bytes: int, revalidate: float, clock: DateClock) -> None:
        self._revalidate = revalidate
        self._hot = HotCache(hot_bytes, HELD_FILES if hot_bytes else 0)
        self._clock = clock
        self._known: dict[tuple[object, ...], HotAnswer] = {}

    def find(self, request: Request, now: float) -> HotAnswer | None:
        """The answer to REQUEST, if it is in memory and still right at NOW, ``time.monotonic``."""
        answer: HotAnswer | None = request.hot
        if answer is None and self._known and not request.has_body:
            answer = self._known.get(_answer_key(request))
        if answer is None:
            return None
        look = now >= answer.checked_until
        right = True
        if now >= answer.until:
            right = self._hot.renew(answer, self._clock.tell(now), self._clock.until, look=look)
        elif look and not answer.source.is_current():
            right = False
            self._hot.drop(answer)
        if not right:
            request.hot = None
            return None
        if look:
            answer.checked_until = now + self._revalidate
        return answer

    def keep(self, request: Request, response: Response, head: bytes, body: bytes | FileBody) -> HotAnswer | None:
        """Have the same request answered from memory the next time. None if there are no descriptors left for it, or
        its content is in parts."""
        assert isinstance(response.source, FileSource)
        content = body if isinstance(body, bytes) else _held(body)
        if content is None:
            return None
        at = date_offset(response.status)
        answer = self._hot.keep(head, content, response.source, response.status, at, self._clock.until)
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[_answer_key(request)] = answer
        return answer


def _answer_key(request: Request) -> tuple[object, ...]:
    """All of a request that an answer from memory can depend on."""
    fields = request.headers.pick(CONSIDERED)
    return request.method, request.scheme, request.host, request.version, request.keep_alive, request.path, fields


def _held(body: FileBody) -> HeldFile | None:
    """The one part of a file that BODY is, held open; None if it is none, or there are no descriptors left."""
    piece = body.pieces[0]
    if len(body.pieces) != 1 or isinstance(piece, bytes):
        return None
    try:
        return HeldFile(body.file.fd, *piece)
    except OSError:
        return None
