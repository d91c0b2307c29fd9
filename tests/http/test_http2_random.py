"""HTTP/2 with frames at random, most of which are wrong: whatever comes, the connection ends in order or goes on."""

from __future__ import annotations

import random

import pytest
from hpack import Encoder

from evio_http.http2 import frames
from evio_http.http2.connection import HTTP2Connection
from evio_http.http2.frames import Code, ConnectionFault, Setting, frame
from evio_http.http2.request import Asked
from evio_http.http2.stream import MemorySource, Stream
from evio_http.message.common_head import Recogniser
from evio_http.message.limits import Limits
from tests.extent import examples

FIELDS = [
    ("cookie", "a=b"), ("x-y", "1"), ("te", "trailers"), ("content-length", "5"), ("expect", "100-continue"),
    ("X", "y"), ("connection", "x"), ("host", "a"), ("accept", " x"),
]  # fmt: skip


class Fixed:
    """Answers everything with as many bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.begun = self.ended = 0
        self.connection: HTTP2Connection

    def answer_at_once(self, stream: int, asked: Asked) -> bool:
        return False

    def answer(self, stream: Stream) -> None:
        self.begun += 1
        source = MemorySource(bytes(self.size)) if self.size else None
        self.connection.respond(stream, stream.asked.refused or 200, b"\x88", source)

    def finished(self, stream: Stream, *, whole: bool) -> None:
        if stream.status:
            self.ended += 1


def conversation(made: random.Random) -> bytes:
    encoder, stream = Encoder(), 1
    parts = [frames.PREFACE, frames.settings({Setting.INITIAL_WINDOW_SIZE: made.choice([0, 10, 65535])})]
    for _ in range(made.randrange(1, 30)):
        kind = made.random()
        if kind < 0.4:
            path = made.choice(["/", "/x?y", "*", "/" + "z" * 30])
            fields = [(":method", made.choice(["GET", "POST"])), (":scheme", "https"), (":authority", "a")]
            block = encoder.encode([*fields, (":path", path), *made.choices(FIELDS, k=made.randrange(3))])
            flags = made.choice([1, 4, 4, 5, 5, 5, 0x2D, 0xD])
            block = bytes(5) + block if flags & frames.PRIORITISED else block
            block = b"\x02" + block + bytes(2) if flags & frames.PADDED else block
            parts.append(frame(frames.HEADERS, flags, stream, block))
            if not flags & frames.END_HEADERS:
                parts.append(frame(frames.CONTINUATION, made.choice([0, 4, 4]), stream, encoder.encode([("a", "b")])))
            stream += 2
        elif kind < 0.6:
            number = made.choice([1, 3, max(1, stream - 2)])
            parts.append(frame(frames.DATA, made.choice([0, 1, 8, 9]), number, made.randbytes(made.randrange(20))))
        elif kind < 0.7:
            parts.append(frames.window_update(made.choice([0, 1, 3, 5]), made.choice([0, 1, 65536, 2**31 - 1])))
        elif kind < 0.8:
            parts.append(frames.reset(made.choice([1, 3, 5]), Code.CANCEL))
        elif kind < 0.9:
            payload = made.choice([b"", b"\0\4\0\0" + made.randbytes(2), b"\0\1" + bytes(4)])
            parts.append(frame(frames.SETTINGS, made.choice([0, 0, 0, 1]), 0, payload))
        else:
            payload = made.randbytes(made.randrange(12))
            parts.append(frame(made.randrange(12), made.randrange(256), made.choice([0, 1, 3, 7]), payload))
    data = bytearray(b"".join(parts))
    for _ in range(made.choice([0, 0, 1, 3])):
        data[made.randrange(len(frames.PREFACE), len(data))] = made.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("seed", range(3))
def test_any_frames_end_in_order(seed: int) -> None:
    made = random.Random(seed)
    for _ in range(examples(1200)):
        answers = Fixed(made.choice([0, 10, 100_000]))
        limits = Limits(body=made.choice([0, 10, 100_000]))
        connection = HTTP2Connection(limits, Recogniser(limits), made.random() < 0.5, answers)
        answers.connection = connection
        data, place = conversation(made), 0
        try:
            while place < len(data):
                step = made.choice([1, 7, 50, 1000])
                connection.receive(data[place : place + step])
                connection.pump(made.choice([0, 0, 1 << 20]))
                connection.take()
                connection.check(0.0)
                place += step
        except ConnectionFault as fault:
            connection.fail(fault)
            assert connection.take().endswith(frames._NUMBER.pack(fault.code))
        else:
            connection.end()
        assert not connection.streams
        assert connection._held == 0
        assert answers.ended == answers.begun
