"""The manifest: what is damaged does not make files of the log forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import evio_redis
from evio_redis.persistence.aof.manifest import Manifest
from tests.tables import each_row

NAME = "appendonly.aof"
WHOLE = b"file appendonly.aof.2.base.aof seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n"


def load(directory: Path, content: bytes) -> Manifest | None:
    (directory / f"{NAME}.manifest").write_bytes(content)
    return Manifest.load(directory, NAME)


def damaged() -> Iterator[bytes]:
    """Cut everywhere but behind a line, every bit flipped, and some bytes lost or overwritten everywhere."""
    for at in range(len(WHOLE)):
        if WHOLE[at - 1 : at] != b"\n":
            yield WHOLE[:at]
        for bit in range(8):
            yield WHOLE[:at] + bytes([WHOLE[at] ^ 1 << bit]) + WHOLE[at + 1 :]
        for count in (1, 2, 5, 8, 16):
            for other in (b"", bytes(count), b" " * count, b"xyz 1 abc def 12"[:count]):
                yield WHOLE[:at] + other + WHOLE[at + count :]


def test_damage_is_told_of_or_names_other_files(tmp_path: Path) -> None:
    whole = load(tmp_path, WHOLE)
    assert whole is not None
    assert [path.name for path in whole.files] == [f"{NAME}.2.base.aof", f"{NAME}.2.incr.aof"]
    refused = 0
    for content in damaged():
        try:
            manifest = load(tmp_path, content)
        except evio_redis.LogCorrupt:
            refused += 1
            continue
        assert manifest is not None
        # What it names is all, or is not there, which stops the start as well.
        assert set(manifest.files) >= set(whole.files) or set(manifest.files) - set(whole.files), content
    assert refused > 1000


@each_row(
    "lines, error",
    [
        ("", "Found an empty AOF manifest"),
        ("file a.1.base.aof seq 1 type b", "line 1: The line is cut off"),
        ("file a.1.base.aof seq 1 seq 2 type b\n", "line 1: Invalid AOF manifest file format"),
        ("file a.1.base.aof seq 1 type b\x0b\n", "line 1: Invalid AOF manifest file format"),
        ("file a.1.base.aof seq 1 type i\n", "line 1: 'a.1.base.aof' is not of type 'i'"),
        ("file a.1.base.aof seq 1 type b\nfile a.1.incr.aof seq 1 type h\n", "increments are history, though no base"),
    ],
)
def test_what_is_said_of_it(tmp_path: Path, lines: str, error: str) -> None:
    with pytest.raises(evio_redis.LogCorrupt, match=error):
        load(tmp_path, lines.encode())


def test_what_a_rewrite_leaves_and_other_fields_are_taken(tmp_path: Path) -> None:
    rows = ["a.2.base.rdb seq 2 type b x y", "a.1.base.rdb seq 1 type h", "a.1.incr.aof seq 1 type h"]
    rows += ["a.2.incr.aof seq 2 type i"]
    manifest = load(tmp_path, "".join(f"# remark\nfile {row}\n" for row in rows).encode())
    assert manifest is not None
    assert [path.name for path in manifest.files] == ["a.2.base.rdb", "a.2.incr.aof"]
    assert manifest.history == [("a.1.base.rdb", 1), ("a.1.incr.aof", 1)]
    manifest.save()
    assert Manifest.load(tmp_path, NAME) == manifest
