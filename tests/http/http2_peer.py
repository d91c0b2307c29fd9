"""A client of HTTP/2 that says exactly what a test wants, frame by frame, over a connection with TLS."""

from __future__ import annotations

import contextlib
import select
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hpack import Decoder, Encoder

from evio_http.http2 import frames
from evio_http.http2.frames import ACK, END_HEADERS, END_STREAM, HEADER, PREFACE, Code
from tests.core.harness import connect, wait_for

__all__ = ["Answered", "Frame", "Peer", "http2_peer", "request_fields"]


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    def number(self, start: int = 0) -> int:
        """Four bytes of the payload."""
        return int.from_bytes(self.payload[start : start + 4], "big")


@dataclass
class Answered:
    """A response; of one that was reset, ``reset`` is the code."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None
    informed: list[int] = field(default_factory=list)


def request_fields(path: str = "/", *fields: tuple[str, str], method: str = "GET", host: str = "localhost") -> Any:
    return [(":method", method), (":scheme", "https"), (":authority", host), (":path", path), *fields]


class Peer:
    """A client. Answers are kept by stream; ``frames`` are those of the connection."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.sock = sock
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.answers: dict[int, Answered] = {}
        self.frames: list[Frame] = []
        self.goaway: Frame | None = None
        self.closed = False
        self.received = 0
        """Bytes of content."""
        self._buffer = b""

    # -- what is sent

    def greet(self, **values: int) -> None:
        """The preface and SETTINGS."""
        self.send(PREFACE + frames.settings({frames.Setting[name]: value for name, value in values.items()}))

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def frame(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self.send(frames.frame(kind, flags, stream, payload))

    def block(self, fields: Any) -> bytes:
        return self.encoder.encode(fields)

    def ask(self, stream: int, path: str = "/", *fields: tuple[str, str], end: bool = True, **options: str) -> None:
        self.headers(stream, request_fields(path, *fields, **options), end=end)

    def headers(self, stream: int, fields: Any, *, end: bool = True) -> None:
        self.frame(frames.HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, self.block(fields))

    def data(self, stream: int, content: bytes, *, end: bool = False) -> None:
        self.frame(frames.DATA, END_STREAM if end else 0, stream, content)

    # -- what comes

    def next_frame(self) -> Frame | None:
        """None at the end of the connection."""
        while (found := self._parsed()) is None:
            try:
                more = self.sock.recv(65536)
            except (ConnectionError, ssl.SSLEOFError):
                more = b""
            if not more:
                self.closed = True
                return None
            self._buffer += more
        return found

    def _parsed(self) -> Frame | None:
        if len(self._buffer) < 9:
            return None
        high, low, kind, flags, stream = HEADER.unpack_from(self._buffer)
        end = 9 + (high << 8 | low)
        if len(self._buffer) < end:
            return None
        found = Frame(kind, flags, stream, self._buffer[9:end])
        self._buffer = self._buffer[end:]
        self._take(found)
        return found

    def _take(self, found: Frame) -> None:
        if found.kind == frames.GOAWAY:
            self.goaway = found
        if found.stream == 0:
            self.frames.append(found)
            return
        answer = self.answers.setdefault(found.stream, Answered())
        if found.kind == frames.HEADERS:
            assert found.flags & END_HEADERS
            fields = [(str(name), str(value)) for name, value in self.decoder.decode(found.payload)]
            (_, status), *rest = fields
            if status.startswith("1"):
                answer.informed.append(int(status))
                return
            answer.status, answer.fields = int(status), dict(rest)
            assert len(answer.fields) == len(rest), f"a field twice: {rest}"
            assert all(name == name.lower() for name in answer.fields)
        elif found.kind == frames.DATA:
            answer.body += found.payload
            self.received += len(found.payload)
        elif found.kind == frames.RST_STREAM:
            answer.reset = found.number()
        if found.kind in (frames.HEADERS, frames.DATA) and found.flags & END_STREAM:
            answer.ended = True

    def answer(self, stream: int) -> Answered:
        """Read until a stream has ended."""
        while True:
            answer = self.answers.get(stream)
            if answer is not None and (answer.ended or answer.reset is not None):
                return answer
            assert self.next_frame() is not None, f"the connection ended before stream {stream}: {self.goaway}"

    def until(self, kind: int, flags: int = 0, *, stream: int | None = None) -> Frame:
        """Read until there is a frame of this kind."""
        while True:
            found = self.next_frame()
            assert found is not None, f"the connection ended: {self.goaway}"
            if found.kind == kind and found.flags & flags == flags and stream in (None, found.stream):
                return found

    def reset_of(self, stream: int) -> Code:
        """Read until a stream is reset; the code."""
        return Code(self.until(frames.RST_STREAM, stream=stream).number())

    def fault(self) -> Code:
        """Read until the connection ends; the code that it ended with."""
        while self.next_frame() is not None:
            pass
        assert self.goaway is not None, "no GOAWAY"
        return Code(self.goaway.number(4))

    def flood(self, data: bytes) -> Code:
        """Send this again and again, and read what comes back, until the connection ends; the code that it ended
        with."""
        self.sock.setblocking(False)
        left = memoryview(data)
        while self.goaway is None:
            moved = False
            with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError):
                left = left[self.sock.send(left) :] or memoryview(data)
                moved = True
            with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError):
                more = self.sock.recv(65536)
                assert more, "no GOAWAY"
                self._buffer += more
                moved = True
            while self._parsed() is not None:
                pass
            if not moved:
                wait_for(self.sock, select.POLLIN | select.POLLOUT)
        return Code(self.goaway.number(4))

    def settle(self) -> None:
        """Read all that the server has to say to what was sent. Its answer to the first PING may come before what it
        says to frames that it read together with that."""
        for payload in (b"settle 1", b"settle 2"):
            self.frame(frames.PING, 0, 0, payload)
            while self.until(frames.PING, ACK).payload != payload:
                pass

    def open_window(self, size: int, *streams: int) -> None:
        """Take that much more content, in all and of each of the streams."""
        for stream in (0, *streams):
            self.send(frames.window_update(stream, size))


@contextlib.contextmanager
def http2_peer(addr: Any, ca: str, *, greeted: bool = True, **values: int) -> Iterator[Peer]:
    """A connection that has agreed on HTTP/2; with ``values`` among the client's settings."""
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2"])
    with connect(addr) as plain, context.wrap_socket(plain, server_hostname="localhost") as sock:
        assert sock.selected_alpn_protocol() == "h2"
        peer = Peer(sock)
        if greeted:
            peer.greet(**values)
            peer.until(frames.SETTINGS, ACK)
        yield peer
