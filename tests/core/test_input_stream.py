"""InputStream: frames out of chunks, whatever the chunks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_core import Events, InputLimitExceeded, InputStream
from tests.extent import examples

from .harness import Recorder, connect, receive_all, running


@given(st.lists(st.binary(max_size=30), max_size=10), st.lists(st.integers(1, 12), max_size=30))
@settings(max_examples=examples(200), deadline=None)
def test_lines_survive_any_split(lines: list[bytes], sizes: list[int]) -> None:
    lines = [line.replace(b"\n", b"") for line in lines]
    data = b"".join(line + b"\n" for line in lines) + b"unfinished"
    stream = InputStream()
    found = []
    cuts = iter(sizes)
    while data:
        size = next(cuts, len(data))
        buffer = stream.begin(data[:size])
        data = data[size:]
        while b"\n" in buffer:
            line, buffer = buffer.split(b"\n", 1)
            found.append(line)
        stream.end(buffer)
        assert len(stream) == len(buffer)
    assert found == lines
    assert stream.begin(b"") == b"unfinished"


@given(st.lists(st.binary(max_size=200), max_size=8), st.integers(1, 50))
@settings(max_examples=examples(200), deadline=None)
def test_frames_of_known_size_arrive_whole(frames: list[bytes], size: int) -> None:
    data = b"".join(len(frame).to_bytes(2, "big") + frame for frame in frames)
    stream = InputStream()
    found = []
    for at in range(0, len(data), size):
        buffer = stream.begin(data[at : at + size])
        need = 0
        while len(buffer) >= 2:
            need = 2 + int.from_bytes(buffer[:2], "big")
            if len(buffer) < need:
                break
            found.append(buffer[2:need])
            buffer, need = buffer[need:], 0
        stream.end(buffer, need)
    assert found == frames
    assert len(stream) == 0


def test_a_whole_chunk_is_not_copied() -> None:
    chunk = b"x" * 1000
    assert InputStream().begin(chunk) is chunk


def test_a_large_frame_is_collected_silently() -> None:
    stream = InputStream()
    stream.end(stream.begin(b"abc"), 1000)
    for _ in range(9):
        assert stream.begin(b"x" * 100) == b""
        stream.end(b"")
    assert len(stream.begin(b"x" * 100)) == 1003


def test_negative_need_is_refused() -> None:
    with pytest.raises(ValueError, match="need must be 0 or more, not -1"):
        InputStream().end(b"", -1)


def test_no_more_than_the_limit_is_kept() -> None:
    stream = InputStream(limit=10)
    stream.end(stream.begin(b"x" * 10))
    assert stream.begin(b"y") == b"xxxxxxxxxxy"
    with pytest.raises(InputLimitExceeded, match="11 bytes of input to keep, 10 allowed"):
        stream.end(b"xxxxxxxxxxy")
    with pytest.raises(InputLimitExceeded, match="12 bytes of input to keep, 10 allowed"):
        stream.end(b"", 12)
    stream.end(b"123", 10)
    with pytest.raises(ValueError, match="limit must be 0 or more"):
        InputStream(-1)


def test_a_line_without_an_end_ends_its_connection_and_is_no_failure_of_the_program(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = Recorder()
    stream = InputStream(limit=1000)
    events = Events(
        data=lambda conn, chunk: stream.end(stream.begin(chunk)),
        closed=lambda conn, error: record.add("closed", type(error)),
    )
    with caplog.at_level("WARNING"), running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x" * 1001)
        assert record.wait_for("closed") == [("closed", InputLimitExceeded)]
        assert receive_all(peer) == b""
    assert not caplog.records


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 40)), max_size=20))
@settings(max_examples=examples(200), deadline=None)
def test_what_is_skipped_is_dropped_wherever_it_is(data: bytes, steps: list[tuple[int, int]]) -> None:
    """Chunks of some size, and after each some bytes to skip, against a model that has everything in one piece."""
    stream = InputStream()
    expected, arrived, skip = b"", 0, 0
    for size, skipped in [*steps, (len(data), 0)]:
        chunk = data[arrived : arrived + size]
        arrived += len(chunk)
        dropped = min(skip, len(chunk))
        skip -= dropped
        expected += chunk[dropped:]
        assert stream.begin(chunk) == expected
        stream.end(expected)
        stream.skip(skipped)
        skip += skipped
        dropped = min(skip, len(expected))
        skip -= dropped
        expected = expected[dropped:]
        assert len(stream) == len(expected)


def test_a_frame_that_is_collected_may_be_skipped() -> None:
    stream = InputStream()
    stream.end(stream.begin(b"head"), 1000)
    stream.skip(1000)
    for _ in range(9):
        assert stream.begin(b"x" * 100) == b""
        assert len(stream) == 0
    assert stream.begin(b"x" * 96 + b"next") == b"next"
    with pytest.raises(ValueError, match="size must be 0 or more, not -1"):
        stream.skip(-1)
