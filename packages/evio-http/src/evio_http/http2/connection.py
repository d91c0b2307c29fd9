"""One client's connection without I/O: frames to requests, responses to frames (RFC 9113).

Operations: ``receive`` takes bytes, ``respond`` a response, ``pump`` makes frames of content for which there is room,
``take`` gives what is to be sent. Goals: content stays where it is until the client has room for it and what was
made before has left, so memory is bounded, whatever is asked for and however slowly it is taken; streams share the
connection evenly, a frame each in turn; the common frame, HEADERS with a block that came before, costs a look-up.

Priorities are ignored, as RFC 9113 section 5.3 allows.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Protocol, final

from ..message.common_head import Recogniser
from ..message.limits import Limits
from .budget import Budget
from .decoder import FieldDecoder
from .encoder import CONTINUE_BLOCK, NO_TABLE
from .frames import (
    ACK,
    BACKGROUND,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE,
    HEADER,
    HEADERS,
    LARGEST_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PRIORITISED,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW,
    WINDOW_UPDATE,
    Code,
    ConnectionFault,
    Setting,
    StreamFault,
    frame,
    goaway,
    headers,
    reset,
    settings,
    window_update,
)
from .request import Asked, check_trailers, read_request
from .stream import NEVER, Source, Stream

__all__ = ["AHEAD", "Answerer", "HTTP2Connection"]

MOST_STREAMS = 128
"""Streams that may be open at a time (SETTINGS_MAX_CONCURRENT_STREAMS); nginx's ``http2_max_concurrent_streams``."""

AHEAD = 128 * 1024
"""Bytes that are made ahead of what the kernel has taken."""

RECEIVE_WINDOW = 1024 * 1024
STREAM_WINDOW = 256 * 1024
"""The windows of what clients send, of the connection and of a stream."""

MOST_HELD = 4 * 1024 * 1024
"""Bytes of requests' content of all streams together, or one whole content if that may be more."""

RESETS = (1000, 33)
"""Streams that may be reset, by either side: at once, and a second for ever. nghttp2's defaults."""

IDLE_FRAMES = (1000, 100)
"""Frames that ask for nothing (PING, SETTINGS, PRIORITY, unknown ones, empty ones) and scraps of content that tiny
windows ask for."""

SCRAP = 256
"""Bytes of content below which a frame that is not the last one is a scrap."""

MOST_KNOWN, LONGEST_KNOWN = 32, 512
"""Field blocks that are remembered, and the longest of them in bytes."""

MOST_RESET = 2 * MOST_STREAMS
"""Streams reset by us of which is known that frames may still be on their way."""

DRAIN = b"draining"
"""Of the PING behind the first GOAWAY: the client's answer to it comes behind all that it sent before it knew."""


class Answerer(Protocol):
    """Gives responses, and is told how they end."""

    def answer_at_once(self, stream: int, asked: Asked) -> bool:
        """Put the whole response into ``HTTP2Connection.output`` if it is known and small; False if not."""

    def answer(self, stream: Stream) -> None:
        """Have the request of a stream answered with ``HTTP2Connection.respond``, now or later."""

    def finished(self, stream: Stream, *, whole: bool) -> None:
        """A stream has ended: its response was sent, or else it was reset."""


@final
class HTTP2Connection:
    """The server's side of a connection."""

    __slots__ = (
        "_allowed",
        "_answerer",
        "_block",
        "_block_ended",
        "_block_stream",
        "_budget",
        "_consumed",
        "_decoder",
        "_draining",
        "_greeted",
        "_handlers",
        "_head_due",
        "_held",
        "_keep_content",
        "_known",
        "_known_at",
        "_last",
        "_limits",
        "_most_held",
        "_ready",
        "_recognise",
        "_reset",
        "_resets",
        "_rest",
        "_settled",
        "_shrunk",
        "_skipped",
        "_working",
        "initial_window",
        "output",
        "produced",
        "send_window",
        "soonest",
        "streams",
    )

    def __init__(self, limits: Limits, recognise: Recogniser, keep_content: bool, answerer: Answerer) -> None:
        self._limits = limits
        self._recognise = recognise
        self._keep_content = keep_content
        self._answerer = answerer
        self._decoder = FieldDecoder()
        self._known: dict[bytes, Asked] = {}  # by the blocks of requests without content
        self._known_at = 0  # the state of the decoder's table for which that is so
        self._rest = b""  # of input: the beginning of a frame
        self._greeted = False  # the preface has come
        self._settled = False  # and the first SETTINGS
        self._block: list[bytes] | None = None  # of a header section that CONTINUATION goes on with
        self._block_stream = 0
        self._block_ended = False
        self._last = 0  # the highest stream that was opened
        self._skipped = range(0)  # streams that never were, as one above was opened: the last such range
        self._allowed = LARGEST_WINDOW  # streams above are not looked at any more
        self._draining = False
        self._shrunk = False  # the client wants a smaller table than the default one
        self._reset: dict[int, None] = {}  # streams that we reset lately
        self._ready: dict[int, Stream] = {}  # with something to send, in turn
        self._working = 0  # streams that are gone while another thread is at their response
        self._held = 0  # bytes of content of requests
        self._most_held = max(MOST_HELD, limits.body)
        self._consumed = 0  # bytes of the connection's window that are to be given back
        self._resets = Budget("streams that are reset", *RESETS)
        self._budget = Budget("frames that ask for nothing", *IDLE_FRAMES)
        self._head_due = monotonic() + limits.header_timeout if limits.header_timeout else NEVER
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            DATA: self._on_data,
            HEADERS: self._on_headers,
            PRIORITY: self._on_priority,
            RST_STREAM: self._on_reset,
            SETTINGS: self._on_settings,
            PING: self._on_ping,
            7: self._on_goaway,
            WINDOW_UPDATE: self._on_window_update,
            CONTINUATION: self._on_continuation,
        }
        self.streams: dict[int, Stream] = {}
        """Streams that are not over."""
        self.send_window: int = WINDOW
        """Bytes of content that the client takes, of all streams together..."""
        self.initial_window: int = WINDOW
        """...and of a new one."""
        self.soonest: float = self._head_due
        """The time at which ``check`` has something to do, ``time.monotonic``."""
        ours = {
            Setting.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: limits.head,
        }
        first = settings(ours) + window_update(BACKGROUND, RECEIVE_WINDOW - WINDOW)
        self.output: list[bytes] = [first]
        """Bytes to be sent, for ``take``; whoever adds to them counts that in"""
        self.produced: int = len(first)
        """their number."""

    def take(self) -> bytes:
        """Return all that is to be sent."""
        output = b"".join(self.output)
        self.output.clear()
        self.produced = 0
        return output

    def _put(self, data: bytes) -> None:
        self.output.append(data)
        self.produced += len(data)

    # -- input

    def receive(self, data: bytes) -> None:
        """Take bytes of the client. Raises :class:`~evio_http.http2.frames.ConnectionFault`, behind which nothing more
        is to be received; ``fail`` says so to the client."""
        rest = self._rest
        buffer = rest + data if rest else data
        place = 0
        if not self._greeted:
            if not PREFACE.startswith(buffer[: len(PREFACE)]):
                raise ConnectionFault(Code.PROTOCOL_ERROR, "no preface")
            if len(buffer) < len(PREFACE):
                self._rest = buffer
                return
            self._greeted = True
            place = len(PREFACE)
        size, unpack, begun = len(buffer), HEADER.unpack_from, place
        while size - place >= 9:
            high, low, kind, flags, stream = unpack(buffer, place)
            length = high << 8 | low
            if length > FRAME_SIZE:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            end = place + 9 + length
            if end > size:
                break
            payload = buffer[place + 9 : end]
            place = end
            # The common frame: END_HEADERS and END_STREAM, and no other flag.
            if kind == HEADERS and flags == 5 and self._last < stream <= LARGEST_WINDOW and self._is_between:
                self._begin(stream, payload, True)
                continue
            if self._block is not None and (kind != CONTINUATION or stream != self._block_stream):
                raise ConnectionFault(Code.PROTOCOL_ERROR, "something in the middle of a header section")
            if not self._settled and kind != SETTINGS:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "no SETTINGS at the beginning")
            self._handle(kind, flags, stream & LARGEST_WINDOW, payload)
        self._rest = buffer[place:]
        if self._rest or self._block is not None or self._head_due != NEVER:
            self._limit_head(place > begun)

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        handler = self._handlers.get(kind)
        if handler is None:
            if kind == 5:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "PUSH_PROMISE from a client")
            self._budget.spend()  # section 4.1: frames of unknown types are ignored
            return
        try:
            handler(stream, flags, payload)
        except StreamFault as fault:
            self.reset(stream, fault.code)

    def _limit_head(self, progress: bool) -> None:
        """See that a header section, or a frame that has begun, comes to its end in time. Content has a time of its
        own."""
        rest = self._rest
        awaited = not self._settled or self._block is not None or (bool(rest) and not (len(rest) > 3 and not rest[3]))
        if not awaited:
            self._head_due = NEVER
        elif self._limits.header_timeout and (self._head_due == NEVER or (progress and self._block is None)):
            self._head_due = monotonic() + self._limits.header_timeout
            self.soonest = min(self.soonest, self._head_due)

    @property
    def _is_between(self) -> bool:
        """True if a frame of any type may come next."""
        return self._block is None and self._settled

    # -- header sections

    def _on_headers(self, stream: int, flags: int, payload: bytes) -> None:
        payload = _unpadded(payload, flags)
        if flags & PRIORITISED:
            if len(payload) < 5:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "HEADERS without its priority")
            payload = payload[5:]
        if flags & END_HEADERS:
            self._section(stream, payload, flags & END_STREAM > 0)
        else:
            self._block, self._block_stream, self._block_ended = [payload], stream, flags & END_STREAM > 0

    def _on_continuation(self, stream: int, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION of nothing")
        if not payload:
            self._budget.spend()
        self._block.append(payload)
        if sum(map(len, self._block)) > 2 * self._limits.head or len(self._block) > 2 + self._limits.head // 256:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header section without an end")
        if flags & END_HEADERS:
            block, self._block = b"".join(self._block), None
            self._section(stream, block, self._block_ended)

    def _section(self, number: int, block: bytes, ended: bool) -> None:
        """A header section is complete."""
        if number > self._last:
            self._begin(number, block, ended)
            return
        stream = self.streams.get(number)
        fields = self._decoder.decode(block, self._limits.head)
        if stream is None:
            if number in self._reset:
                return  # on its way when we reset it
            if not number & 1 or number in self._skipped:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"HEADERS on stream {number} after {self._last}")
            raise ConnectionFault(Code.STREAM_CLOSED, "HEADERS on a stream that is closed")
        if stream.ended:
            raise StreamFault(Code.STREAM_CLOSED, "HEADERS behind the end of a request")
        check_trailers(fields)
        if not ended:
            raise StreamFault(Code.PROTOCOL_ERROR, "trailers that are not the end")
        self._complete(stream)

    def _begin(self, number: int, block: bytes, ended: bool) -> None:
        """A new stream's header section is complete."""
        if not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a stream of the server's, begun by the client")
        if number != self._last + 2:
            self._skipped = range(self._last + 1, number)
        self._last = number
        asked = self._known.get(block) if ended and self._known_at == self._decoder.changes else None
        if asked is None:
            try:
                asked = self._read(block, ended)
            except StreamFault as fault:
                self.reset(number, fault.code)
                return
        if number > self._allowed:
            return  # the client knows that it has to ask somebody else
        if len(self.streams) + self._working >= MOST_STREAMS:
            self.reset(number, Code.REFUSED_STREAM)
            return
        if ended and self.produced < AHEAD and self._answerer.answer_at_once(number, asked):
            return
        stream = Stream(number, asked, monotonic(), self.initial_window, STREAM_WINDOW)
        self.streams[number] = stream
        if ended:
            stream.ended = True
            self._answerer.answer(stream)
        elif asked.refused or (asked.length or 0) > self._limits.body:
            asked.refused = asked.refused or 413
            self._answerer.answer(stream)
        else:
            if asked.continues:
                self._put(headers(number, self._section_of(CONTINUE_BLOCK)))
            self._limit_content(stream)

    def _read(self, block: bytes, ended: bool) -> Asked:
        """Read a header section, and remember what it means for as long as the decoder's table is the same."""
        decoder = self._decoder
        before = decoder.changes
        fields = decoder.decode(block, self._limits.head)
        asked = read_request(fields, ended, self._limits, self._recognise)
        if ended and len(block) <= LONGEST_KNOWN and decoder.changes == before:
            if self._known_at != before or len(self._known) >= MOST_KNOWN:
                self._known.clear()
                self._known_at = before
            self._known[block] = asked
        return asked

    # -- content of requests

    def _on_data(self, number: int, flags: int, payload: bytes) -> None:
        if number > self._last or not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"DATA on stream {number}, which is not open")
        size = len(payload)
        self._consume(size)
        stream = self.streams.get(number)
        if stream is None:
            if number in self._reset:
                return
            raise ConnectionFault(Code.STREAM_CLOSED, "DATA on a stream that is closed")
        if stream.ended:
            raise StreamFault(Code.STREAM_CLOSED, "DATA behind the end of a request")
        content = _unpadded(payload, flags)
        if not content and not flags & END_STREAM:
            self._budget.spend()
        stream.receive_window -= size
        stream.received += len(content)
        asked = stream.asked
        if asked.length is not None and stream.received > asked.length:
            raise StreamFault(Code.PROTOCOL_ERROR, "more content than was announced")
        if stream.status or asked.refused:
            pass  # the response does not wait for it
        elif stream.received > self._limits.body:
            self._refuse(stream, 413)
        elif self._keep_content and content:
            self._held += len(content)
            stream.content.append(content)
            if self._held > self._most_held:
                raise StreamFault(Code.REFUSED_STREAM, "too much content at a time")
        if flags & END_STREAM:
            self._complete(stream)
        elif stream.receive_window < STREAM_WINDOW // 2:
            self._put(window_update(number, STREAM_WINDOW - stream.receive_window))
            stream.receive_window = STREAM_WINDOW

    def _consume(self, size: int) -> None:
        """Take ``size`` bytes of the connection's window, and give them back in time: what is not kept does not wait,
        and what is kept has limits of its own."""
        self._consumed += size
        if self._consumed >= RECEIVE_WINDOW // 2:
            self._put(window_update(BACKGROUND, self._consumed))
            self._consumed = 0

    def _complete(self, stream: Stream) -> None:
        """The client has sent all of a request that it began without its content."""
        asked = stream.asked
        if asked.length is not None and stream.received != asked.length:
            raise StreamFault(Code.PROTOCOL_ERROR, "less content than was announced")
        stream.ended = True
        stream.due = NEVER
        if stream.status or stream.working or asked.refused:
            return
        request = stream.request
        assert request is not None
        request.has_body = stream.received > 0
        request.body = b"".join(stream.content)
        stream.content = []
        self._answerer.answer(stream)

    def _refuse(self, stream: Stream, status: int) -> None:
        stream.asked.refused = status
        self._held -= sum(map(len, stream.content))
        stream.content = []
        stream.due = NEVER
        self._answerer.answer(stream)

    def _limit_content(self, stream: Stream) -> None:
        seconds = self._limits.transfer_time(stream.asked.length or self._limits.body)
        if seconds is not None:
            self._set_due(stream, stream.started + seconds)

    # -- frames about streams and the connection

    def _on_priority(self, stream: int, flags: int, payload: bytes) -> None:
        if stream == BACKGROUND:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY without a stream")
        self._budget.spend()
        if len(payload) != 5:
            raise StreamFault(Code.FRAME_SIZE_ERROR, "malformed PRIORITY")

    def _on_reset(self, number: int, flags: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "malformed RST_STREAM")
        self._check_begun(number)
        self._resets.spend()
        stream = self.streams.get(number)
        if stream is not None:
            self._drop(stream)

    def _on_settings(self, stream: int, flags: int, payload: bytes) -> None:
        if stream != BACKGROUND:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS on a stream")
        if len(payload) % 6 or (flags & ACK and payload):
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "malformed SETTINGS")
        if flags & ACK:
            if not self._settled:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "no SETTINGS at the beginning")
            return
        self._budget.spend()
        self._settled = True
        for place in range(0, len(payload), 6):
            name = int.from_bytes(payload[place : place + 2], "big")
            self._set(name, int.from_bytes(payload[place + 2 : place + 6], "big"))
        self._put(frame(SETTINGS, ACK, BACKGROUND))

    def _set(self, name: int, value: int) -> None:
        if name == Setting.HEADER_TABLE_SIZE:
            # RFC 7541 section 4.2: the next block has to say so, although nothing is ever put into the table.
            self._shrunk = self._shrunk or value < 4096
        elif name == Setting.ENABLE_PUSH:
            if value > 1:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "malformed SETTINGS_ENABLE_PUSH")
        elif name == Setting.INITIAL_WINDOW_SIZE:
            if value > LARGEST_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE is too large")
            difference = value - self.initial_window
            self.initial_window = value
            for stream in self.streams.values():
                stream.send_window += difference
                if stream.send_window > LARGEST_WINDOW:
                    raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window that is too large")
                self._make_ready(stream)
        elif name == Setting.MAX_FRAME_SIZE and not FRAME_SIZE <= value < 1 << 24:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "malformed SETTINGS_MAX_FRAME_SIZE")

    def _on_ping(self, stream: int, flags: int, payload: bytes) -> None:
        if stream != BACKGROUND:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "malformed PING")
        if not flags & ACK:
            self._budget.spend()
            self._put(frame(PING, ACK, BACKGROUND, payload))
        elif payload == DRAIN and self._draining:
            self.finish()

    def _on_goaway(self, stream: int, flags: int, payload: bytes) -> None:
        if stream != BACKGROUND:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "malformed GOAWAY")
        self._budget.spend()

    def _on_window_update(self, number: int, flags: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "malformed WINDOW_UPDATE")
        increment = int.from_bytes(payload, "big") & LARGEST_WINDOW
        if number == BACKGROUND:
            self.send_window += increment
            if not increment or self.send_window > LARGEST_WINDOW:
                code = Code.FLOW_CONTROL_ERROR if increment else Code.PROTOCOL_ERROR
                raise ConnectionFault(code, "malformed WINDOW_UPDATE")
            return
        self._check_begun(number)
        stream = self.streams.get(number)
        if stream is None:
            return  # on its way when the stream ended
        if not increment:
            raise StreamFault(Code.PROTOCOL_ERROR, "malformed WINDOW_UPDATE")
        stream.send_window += increment
        if stream.send_window > LARGEST_WINDOW:
            raise StreamFault(Code.FLOW_CONTROL_ERROR, "a window that is too large")
        self._make_ready(stream)

    def _check_begun(self, number: int) -> None:
        if not number & 1 or number > self._last:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"stream {number} is not open")

    # -- output

    def respond(self, stream: Stream, status: int, block: bytes, source: Source | None) -> None:
        """Send a response; ``source`` is None if it has no content. It is closed at the end."""
        stream.working = stream.held = False
        stream.status, stream.block, stream.source = status, block, source
        self._ready[stream.id] = stream
        if source is not None and self._limits.min_rate:
            self._set_due(stream, monotonic() + self._limits.rate_grace)

    def pump(self, pending: int) -> bool:
        """Make frames of what is to be sent, as long as there is room for content, and as long as no more than
        ``AHEAD`` bytes wait, of which ``pending`` do already. True: call it again when all of that has left. Raises
        :class:`~evio_http.http2.frames.ConnectionFault`."""
        ready = self._ready
        moving = True
        while moving and ready:
            moving = False
            for stream in list(ready.values()):
                if pending + self.produced >= AHEAD:
                    return True
                moving = self._send(stream) or moving
        return False

    def _send(self, stream: Stream) -> bool:
        """Send the next frame of a stream; False if there is none, or no room for it."""
        source = stream.source
        if stream.block is not None:
            block, stream.block = self._section_of(stream.block), None
            self._put(headers(stream.id, block, end_stream=source is None))
            if source is None:
                self._finish(stream)
                return True
        assert source is not None
        left, room = source.left, min(FRAME_SIZE, stream.send_window, self.send_window)
        if room <= 0:
            if stream.send_window <= 0:
                del self._ready[stream.id]
            return False
        size = min(left, room)
        if size < SCRAP and size < left:
            self._budget.spend()
        try:
            content = source.read(size)
        except OSError:
            self.reset(stream.id, Code.INTERNAL_ERROR)
            return True
        stream.send_window -= size
        self.send_window -= size
        stream.sent += size
        stream.moved += size
        self._put(frame(DATA, END_STREAM if size == left else 0, stream.id, content))
        if size == left:
            self._finish(stream)
        else:
            del self._ready[stream.id]
            self._ready[stream.id] = stream  # the others come first
        return True

    def _section_of(self, block: bytes) -> bytes:
        """Return a field block as it is to be sent next."""
        if self._shrunk:
            self._shrunk = False
            return NO_TABLE + block
        return block

    @property
    def plain_blocks(self) -> bool:
        """True if the next field block is sent as it is."""
        return not self._shrunk

    def _make_ready(self, stream: Stream) -> None:
        if stream.source is not None and stream.send_window > 0 and stream.id not in self._ready:
            self._ready[stream.id] = stream

    # -- the end of streams

    def reset(self, number: int, code: Code) -> None:
        """End a stream with an error. Raises :class:`~evio_http.http2.frames.ConnectionFault` when that happens too
        often."""
        self._put(reset(number, code))
        self._remember_reset(number)
        stream = self.streams.get(number)
        if stream is not None:
            self._drop(stream)
        self._resets.spend()

    def _remember_reset(self, number: int) -> None:
        self._reset[number] = None
        if len(self._reset) > MOST_RESET:
            del self._reset[next(iter(self._reset))]

    def _finish(self, stream: Stream) -> None:
        """The response has been sent."""
        if not stream.ended:  # section 8.1: nobody needs the rest of the request
            self._put(reset(stream.id, Code.NO_ERROR))
            self._remember_reset(stream.id)
        self._forget(stream, whole=True)

    def cut(self, stream: Stream) -> None:
        """End a stream whose client has gone: nothing is said to it."""
        self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        if stream.working:
            self._working += 1
        self._forget(stream, whole=False)

    def _forget(self, stream: Stream, *, whole: bool) -> None:
        del self.streams[stream.id]
        self._ready.pop(stream.id, None)
        if self._keep_content and stream.received:
            self._held -= len(stream.request.body) if stream.request is not None else 0
            self._held -= sum(map(len, stream.content))
        if stream.source is not None:
            stream.source.close()
        self._answerer.finished(stream, whole=whole)

    @property
    def working(self) -> bool:
        """True while another thread is at a response that is going to be sent."""
        return any(stream.working for stream in self.streams.values())

    def worked(self) -> None:
        """The response of a stream that is gone has been made."""
        self._working -= 1

    # -- the end of the connection

    def fail(self, fault: ConnectionFault) -> None:
        """Say why the connection ends, and end its streams."""
        self._put(goaway(self._last, fault.code))
        self.end()

    def end(self) -> None:
        """The connection has ended: so have its streams."""
        for stream in list(self.streams.values()):
            self._drop(stream)

    def drain(self) -> None:
        """Have the client begin no more streams: those that it began before it hears of that are still served (section
        6.8)."""
        if not self._draining:
            self._draining = True
            self._put(goaway(LARGEST_WINDOW, Code.NO_ERROR) + frame(PING, 0, BACKGROUND, DRAIN))

    def finish(self) -> None:
        """Look at no more streams, and say so: those that have begun are still served, but for those that are held."""
        if self._allowed == LARGEST_WINDOW:
            self._allowed = self._last
            self._put(goaway(self._last, Code.NO_ERROR))
        for stream in list(self.streams.values()):
            if stream.held:
                self._put(reset(stream.id, Code.CANCEL))
                self._remember_reset(stream.id)
                self._drop(stream)

    @property
    def drained(self) -> bool:
        """True when the client knows that no more streams are served, and all have been."""
        return self._allowed != LARGEST_WINDOW and not self.streams

    # -- time

    def _set_due(self, stream: Stream, when: float) -> None:
        stream.due = when
        self.soonest = min(self.soonest, when)

    def check(self, now: float) -> None:
        """End what is overdue at ``now``. Raises :class:`~evio_http.http2.frames.ConnectionFault` for the
        connection."""
        if now >= self._head_due:
            raise ConnectionFault(Code.NO_ERROR, "no end of a frame or a header section in time")
        for stream in list(self.streams.values()):
            if now >= stream.due:
                self._overdue(stream, now)
        self.soonest = min(self._head_due, *(stream.due for stream in self.streams.values()), NEVER)

    def _overdue(self, stream: Stream, now: float) -> None:
        limits = self._limits
        stalled = stream.send_window <= 0 or self.send_window <= 0
        if not stream.status:
            stream.status = 408
            self.reset(stream.id, Code.CANCEL)
        elif stalled and stream.moved < limits.min_rate * limits.rate_grace:
            self.reset(stream.id, Code.CANCEL)
        else:
            stream.moved = 0
            stream.due = now + limits.rate_grace


def _unpadded(payload: bytes, flags: int) -> bytes:
    """Return the payload of a frame without its padding (section 6.1)."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "more padding than there is of the frame")
    return payload[1 : len(payload) - payload[0]]
