"""Output: order and counts under any partial writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_core.buffers import output
from evio_core.buffers.output import JOIN_SIZE, TURN_SIZE, FileSpan, Output
from tests.extent import examples

pieces = st.lists(st.one_of(st.binary(max_size=40), st.integers(JOIN_SIZE - 3, JOIN_SIZE + 3).map(bytes)), max_size=12)
takes = st.lists(st.integers(0, 2 * JOIN_SIZE), max_size=40)


class Sink:
    """A descriptor that takes as much as it likes."""

    def __init__(self, takes: list[int]) -> None:
        self.received = b""
        self._takes = iter(takes)

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> int:
        size = next(self._takes, None)
        if size == 0:
            raise BlockingIOError
        part = bytes(data[:size])
        self.received += part
        return len(part)


@given(pieces, takes)
@settings(max_examples=examples(100), deadline=None)
def test_every_byte_leaves_once_and_in_order(queued: list[bytes], sizes: list[int]) -> None:
    output = Output()
    for piece in queued:
        if piece:
            output.append(piece)
    sink = Sink(sizes)
    expected = b"".join(queued)
    for _ in range(10_000):
        assert output.pending == len(expected) - len(sink.received)
        if not output.pending:
            break
        output.send(-1, sink.write)
    assert sink.received == expected


@given(pieces, st.integers(1, 2 * JOIN_SIZE))
@settings(max_examples=examples(50), deadline=None)
def test_take_gives_the_same(queued: list[bytes], size: int) -> None:
    output = Output()
    for piece in queued:
        if piece:
            output.append(piece)
    taken = b""
    while part := output.take(size):
        assert len(part) <= size
        taken += bytes(part)
    assert taken == b"".join(queued)


def test_mutable_data_is_copied() -> None:
    output, data = Output(), bytearray(b"before")
    output.append(data)
    output.append(memoryview(data))
    data[:] = b"after!"
    assert bytes(output.take(100)) == b"beforebefore"


def test_small_pieces_leave_in_one_write() -> None:
    output, calls = Output(), []
    for _ in range(100):
        output.append(b"piece")

    def write(fd: int, data: bytes | bytearray | memoryview) -> int:
        calls.append(len(data))
        return len(data)

    output.send(-1, write)
    assert calls == [500]


def test_a_turn_is_bounded() -> None:
    output = Output()
    for _ in range(40):
        output.append(bytes(JOIN_SIZE))
    assert output.send(-1, lambda fd, data: len(data)) == TURN_SIZE


def test_what_write_took_in_part_is_queued_without_a_copy() -> None:
    output = Output()
    output.append_rest(b"0123456789", 4)
    assert output.pending == 6
    assert bytes(output.take(100)) == b"456789"


def test_files_between_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    output = Output()
    output.append(b"<")
    with open(path, "rb") as file:
        output.append_file(FileSpan(file, 2, 5))
        output.append_file(FileSpan(file, 10, None))  # empty
    output.append(b">")
    assert output.pending == 7
    assert b"".join(bytes(output.take(3)) for _ in range(4)) == b"<23456>"


def test_clear_closes_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    output = Output()
    with open(path, "rb") as file:
        span = FileSpan(file, 0, 5)
    output.append_file(span)
    output.clear()
    assert output.pending == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(span.fd)


def test_a_file_is_read_where_there_is_no_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "read_at", output.seek_and_read)
    path = tmp_path / "file"
    path.write_bytes(bytes(range(200)))
    out = Output()
    with open(path, "rb") as file:
        out.append_file(FileSpan(file, 10, 20))
        out.append_file(FileSpan(file, 100, None))
        taken = b""
        while piece := out.take(7):
            taken += piece
    assert taken == bytes(range(10, 30)) + bytes(range(100, 200))
