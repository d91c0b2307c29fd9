"""Handlers around handlers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

from .events import Action, Conn, Handler, HandlerFactory, Reply

__all__ = ["Middleware", "Serialised", "Wrapped"]


class Middleware(Handler):
    """A handler around another one, ``self.inner``: it sees every event first, and passes on what it does not override.

    ::

        class Traced(Middleware):
            def data(self, chunk):
                print(self.conn.remote_addr, chunk)
                return super().data(chunk)

        serve({"tcp://localhost:5000": Traced.around(Echo)})

    Whatever it does not pass on has not happened for the inner one.
    """

    __slots__ = ("inner",)

    def __init__(self, inner: Handler) -> None:
        self.inner: Handler = inner

    @classmethod
    def around(cls, factory: HandlerFactory, *arguments: Any, **keywords: Any) -> HandlerFactory:
        """Return a factory like ``factory`` that puts this middleware around each handler; ``arguments`` are those of
        its ``__init__`` after the inner handler."""
        return lambda: cls(factory(), *arguments, **keywords)

    def attach(self, conn: Conn) -> None:
        super().attach(conn)
        self.inner.attach(conn)

    def opened(self) -> Reply:
        return self.inner.opened()

    def data(self, chunk: Any) -> Reply:
        return self.inner.data(chunk)

    def woken(self) -> Reply:
        return self.inner.woken()

    def eof(self) -> Reply:
        return self.inner.eof()

    def drained(self) -> Reply:
        return self.inner.drained()

    def writable(self) -> Reply:
        return self.inner.writable()

    def secured(self) -> Reply:
        return self.inner.secured()

    def retiring(self) -> Reply:
        return self.inner.retiring()

    def stopping(self) -> bool:
        return self.inner.stopping()

    def detached(self, sock: socket.socket) -> Action | None:
        return self.inner.detached(sock)

    def closed(self, error: BaseException | None) -> Action | None:
        return self.inner.closed(error)

    def has_drained(self) -> bool:
        return getattr(self.drained, "__func__", None) is not Middleware.drained or self.inner.has_drained()

    def has_writable(self) -> bool:
        return getattr(self.writable, "__func__", None) is not Middleware.writable or self.inner.has_writable()


class Wrapped(Middleware):
    """Has every method of the inner handler called by ``call``."""

    __slots__ = ()

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method of the inner handler."""
        raise NotImplementedError

    def opened(self) -> Reply:
        reply: Reply = self.call(self.inner.opened)
        return reply

    def data(self, chunk: Any) -> Reply:
        reply: Reply = self.call(self.inner.data, chunk)
        return reply

    def woken(self) -> Reply:
        reply: Reply = self.call(self.inner.woken)
        return reply

    def eof(self) -> Reply:
        reply: Reply = self.call(self.inner.eof)
        return reply

    def drained(self) -> Reply:
        reply: Reply = self.call(self.inner.drained)
        return reply

    def writable(self) -> Reply:
        reply: Reply = self.call(self.inner.writable)
        return reply

    def secured(self) -> Reply:
        reply: Reply = self.call(self.inner.secured)
        return reply

    def retiring(self) -> Reply:
        reply: Reply = self.call(self.inner.retiring)
        return reply

    def stopping(self) -> bool:
        goes_on: bool = self.call(self.inner.stopping)
        return goes_on

    def detached(self, sock: socket.socket) -> Action | None:
        action: Action | None = self.call(self.inner.detached, sock)
        return action

    def closed(self, error: BaseException | None) -> Action | None:
        action: Action | None = self.call(self.inner.closed, error)
        return action

    def has_drained(self) -> bool:
        return self.inner.has_drained()

    def has_writable(self) -> bool:
        return self.inner.has_writable()


class Serialised(Wrapped):
    """Holds a lock during each event: for servers where loops in several threads have one number."""

    __slots__ = ("_lock",)

    def __init__(self, inner: Handler, lock: threading.RLock) -> None:
        super().__init__(inner)
        self._lock = lock

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        with self._lock:
            return method(*arguments)
