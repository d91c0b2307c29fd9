"""InputStream: frames out of chunks, whatever the chunks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_core import InputStream


@given(st.lists(st.binary(max_size=30), max_size=10), st.lists(st.integers(1, 12), max_size=30))
@settings(max_examples=200, deadline=None)
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
@settings(max_examples=200, deadline=None)
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
