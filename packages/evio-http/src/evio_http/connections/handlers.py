"""Asking the handlers, and the threads for responses that take longer."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ..message.handler import RequestHandler
from ..message.request import Request
from ..message.response import Deferred, Response, then, without_source
from ..pages.error_pages import error_response
from .peers import TrustedProxies

__all__ = ["Handlers"]

WORKERS = 4
QUEUED_WORK = 64
"""Threads for responses that take longer, and how many of those may wait (those of one key are one); then it is 503."""

log: logging.Logger = logging.getLogger("evio_http")


class Handlers:
    """The handlers of a server, which are asked in turn."""

    def __init__(self, handlers: Sequence[RequestHandler], trusted: TrustedProxies) -> None:
        self._handlers = [(handler, getattr(handler, "shared_requests", False)) for handler in handlers]
        self._trusted = trusted
        self._pool: ThreadPoolExecutor | None = None
        self._queues: dict[Hashable, deque[tuple[Request, Deferred, Callable[[Response], None]]]] = {}
        self._lock = threading.Lock()  # of the queues
        self.want_content: bool = not all(shared for _, shared in self._handlers)
        """True if one may look at the content of requests."""

    def ask(self, address: str, request: Request) -> Response | Deferred:
        """The response to a request from ``address``, whatever happens."""
        try:
            own = None
            for handler, shared in self._handlers:
                if not shared and own is None:
                    own = request.for_handler(self._trusted.client(address, request))
                response = handler(request if shared or own is None else own)
                if isinstance(response, (Response, Deferred)):
                    # The program's own handlers are to see every request.
                    return response if own is None else then(response, without_source)
                if response is not None:
                    raise TypeError(f"a handler returns a Response, a Deferred or None, not {response!r}")
        except Exception:
            log.exception("the handler failed for %r", request)
            return error_response(500)
        return error_response(404)

    def begin(self, request: Request, later: Deferred, done: Callable[[Response], None]) -> bool:
        """Have ``later``'s work done in another thread, and ``done`` called there with the response. False if too much
        waits already."""
        if later.after is None:
            return self._queue(request, later, done)

        def begin(_: Future[Any]) -> None:
            if not self._queue(request, later, done):
                done(error_response(503))

        later.after.add_done_callback(begin)
        return True

    def _queue(self, request: Request, later: Deferred, done: Callable[[Response], None]) -> bool:
        key = object() if later.key is None else later.key
        with self._lock:
            queue = self._queues.get(key)
            if queue is not None:
                queue.append((request, later, done))
                return True
            if len(self._queues) >= WORKERS + QUEUED_WORK:
                return False
            self._queues[key] = deque([(request, later, done)])
        if self._pool is None:
            self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="evio-http")
        self._pool.submit(self._work, key)
        return True

    def _work(self, key: Hashable) -> None:
        """Do what waits under ``key``."""
        queue = self._queues[key]
        while True:
            with self._lock:
                if not queue:
                    del self._queues[key]
                    return
                request, later, done = queue.popleft()
            try:
                response = later.work()
            except Exception:
                log.exception("the handler failed for %r", request)
                response = error_response(500)
            done(response)
