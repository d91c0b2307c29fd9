"""The state of one connection between its events."""

from __future__ import annotations

import enum
from typing import Protocol

from evio_core import Reply

from ..answers.by_request import Record, Records
from ..message.parser import RequestParser
from ..message.request import Request
from ..message.response import Response

__all__ = ["HTTPSession", "Deadline", "Multiplexed", "Waiting"]


class Waiting(enum.Enum):
    """The reasons for which the next request has to wait."""

    NOTHING = "nothing"
    OUTPUT = "output"
    """The peer has to take what was answered."""
    WORK = "work"
    """Another thread is at the response."""
    EVENT = "event"
    """The response is held back until something happens, which may be never (``Deferred.after``)."""


class Deadline(enum.Enum):
    """The subject of the connection's deadline."""

    NONE = "none"
    HEAD = "head"
    CONTENT = "content"
    STALE = "stale"
    """Something that is over: the deadline is to be taken back or set anew."""


class Multiplexed(Protocol):
    """The events of a connection over HTTP/2, which has a state of its own."""

    def received(self, chunk: bytes) -> Reply:
        """Bytes have arrived."""

    def woken(self) -> Reply:
        """Output has left, or another thread has made a response."""

    def eof(self) -> Reply:
        """The peer sends no more."""

    def retiring(self) -> Reply:
        """The server is replaced."""

    def stopping(self) -> bool:
        """The server stops: True while streams are under way."""

    def closed(self) -> None:
        """The connection has ended."""


class HTTPSession:
    """A connection's state. ``ready`` is True only in the one in which whole heads may be looked up: nothing is on its
    way in, nothing waits, and there is no deadline."""

    __slots__ = (
        "address",
        "closing",
        "ended",
        "gone",
        "guarded",
        "http2",
        "in_full",
        "parser",
        "ready",
        "record",
        "records",
        "repeated",
        "repeated_request",
        "request",
        "result",
        "retiring",
        "sending",
        "started",
        "deadline",
        "tls",
        "unfinished",
        "waiting",
    )

    def __init__(self, parser: RequestParser, records: Records, address: str, tls: str) -> None:
        self.parser: RequestParser = parser
        self.records: Records = records
        """Records of requests of the connection's scheme."""
        self.address: str = address
        """The peer's host, or ``unix:`` and its path."""
        self.tls: str = tls
        """``"TLSv1.3"``, or empty."""
        self.http2: Multiplexed | None = None
        """The part that serves the connection, if it is over HTTP/2; ``ready`` is False then."""
        self.ready: bool = False
        self.repeated: bytes = b""
        """A short head that came alone and was answered from memory; empty if there is none. Of it are known"""
        self.record: Record | None = None
        """the record that was found,"""
        self.in_full: bool = False
        """whether the record's full answer was given, or that it is not modified,"""
        self.repeated_request: Request | None = None
        """and the request, once one was needed. Whether the record is still right is looked at each time."""
        self.waiting: Waiting = Waiting.NOTHING
        self.deadline: Deadline = Deadline.NONE
        self.closing: bool = False
        """The last response has been given."""
        self.ended: bool = False
        """The peer sends no more."""
        self.retiring: bool = False
        """The server is replaced: the next response is the last."""
        self.guarded: bool = False
        """Each of its requests has to be looked at before it is answered."""
        self.gone: bool = False
        """The connection has ended."""
        self.started: float = 0.0
        """The time at which the request began to arrive; ``time.monotonic``."""
        self.unfinished: list[tuple[Request, int, int, float]] = []
        """Responses still on their way, for the observers: request, status, bytes of content, ``started``."""
        self.sending: Request | None = None
        """The request whose file was handed over for sending last."""
        self.request: Request | None = None
        """The request that another thread is at..."""
        self.result: Response | None = None
        """...and what it made of it."""
