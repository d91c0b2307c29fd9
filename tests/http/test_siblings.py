"""Precompressed siblings: what is known of a directory is what the file system says, whatever changes in it."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from evio_http.files import siblings
from evio_http.files.siblings import ASKED_BEFORE, NAMES_AT_ONCE, Siblings

from .serving import wait_until_settled


@pytest.fixture
def names(tmp_path: Path) -> list[str]:
    """Of files in the directory, more than are read at once; each fifth has siblings."""
    names = [f"{number}.css" for number in range(2 * NAMES_AT_ONCE)]
    for number, name in enumerate(names):
        for suffix in ("", *((".br", ".gz") if not number % 5 else ())):
            (tmp_path / f"{name}{suffix}").write_bytes(b"x")
    wait_until_settled(tmp_path)
    return names


def path(directory: Path, name: str) -> bytes:
    return os.fsencode(directory / name)


def asked_of_the_system(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Paths about which the file system is asked from now on."""
    asked: list[bytes] = []
    access = os.access

    def noting(path: bytes, mode: int) -> bool:
        asked.append(path)
        return access(path, mode)

    monkeypatch.setattr(os, "access", noting)
    return asked


def learn(known: Siblings, directory: Path, name: str = "1.css") -> None:
    """Have all names of a directory read."""
    for _ in range(ASKED_BEFORE + 10):
        known.find(path(directory, name))


def test_what_is_known_is_what_is_there(tmp_path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    known, fresh = Siblings(), [Siblings().find(path(tmp_path, name)) for name in names]
    for _ in range(2):
        assert [known.find(path(tmp_path, name)) for name in names] == fresh
    asked = asked_of_the_system(monkeypatch)
    assert [known.find(path(tmp_path, name)) for name in names] == fresh
    assert len(asked) == 3 * len(names[::5]), "the file system is asked about those that have siblings alone"
    assert fresh[0][:2] == (["br", "gzip"], (b".zst",))
    assert fresh[1][:2] == ([], (b".br", b".zst", b".gz"))
    assert fresh[0][2] == fresh[1][2] is not None


def test_a_sibling_that_comes_or_goes_is_noticed_at_once(tmp_path: Path, names: list[str]) -> None:
    known = Siblings()
    learn(known, tmp_path)
    (tmp_path / "1.css.zst").write_bytes(b"x")
    assert known.find(path(tmp_path, "1.css"))[0] == ["zstd"]
    (tmp_path / "1.css.zst").unlink()
    assert known.find(path(tmp_path, "1.css")) == ([], (b".br", b".zst", b".gz"), None), "it has changed just now"
    wait_until_settled(tmp_path)
    learn(known, tmp_path)
    (tmp_path / "1.css.zst").symlink_to("nowhere")
    (tmp_path / "later").write_bytes(b"")
    wait_until_settled(tmp_path / "later")
    learn(known, tmp_path)
    assert known.find(path(tmp_path, "1.css"))[0] == []
    (tmp_path / "1.css.zst").unlink()
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    assert known.find(path(tmp_path, "1.css"))[2] is None


def test_a_directory_that_changes_while_its_names_are_read(
    tmp_path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Siblings()
    for _ in range(ASKED_BEFORE):
        known.find(path(tmp_path, "1.css"))
    (tmp_path / "1.css.gz").write_bytes(b"x")
    wait_until_settled(tmp_path)
    learn(known, tmp_path)
    learn(known, tmp_path)
    assert known.find(path(tmp_path, "1.css"))[0] == ["gzip"]
    asked = asked_of_the_system(monkeypatch)
    assert known.find(path(tmp_path, "2.css"))[0] == []
    assert asked == []


def test_directories_take_turns(tmp_path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "1.css").write_bytes(b"x")
    wait_until_settled(tmp_path)
    wait_until_settled(other)
    known = Siblings()
    for _ in range(ASKED_BEFORE):
        known.find(path(tmp_path, "1.css"))  # which is not done with it
    learn(known, other)
    asked = asked_of_the_system(monkeypatch)
    for directory in (tmp_path, other):
        assert known.find(path(directory, "1.css"))[0] == []
    assert asked == []


def test_more_than_can_be_remembered_is_asked_for(
    tmp_path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siblings, "MOST_SIBLINGS", 3)
    known = Siblings()
    learn(known, tmp_path)
    asked = asked_of_the_system(monkeypatch)
    assert known.find(path(tmp_path, "0.css"))[0] == ["br", "gzip"]
    assert known.find(path(tmp_path, "1.css"))[0] == []
    assert len(asked) == 6
    monkeypatch.setattr(siblings, "MOST_DIRECTORIES", 1)
    (tmp_path / "in").mkdir()
    wait_until_settled(tmp_path)
    wait_until_settled(tmp_path / "in")
    for directory in (tmp_path, tmp_path / "in", tmp_path):
        known.find(path(directory, "1.css"))
        assert len(known._directories) == 1


def test_no_descriptor_is_left_when_the_names_were_not_read_to_the_end(tmp_path: Path, names: list[str]) -> None:
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    known = Siblings()
    for _ in range(ASKED_BEFORE):
        known.find(path(tmp_path, "1.css"))
    assert known._names is not None
    del known
    gc.collect()
    assert not before or set(os.listdir("/proc/self/fd")) <= before


def test_a_directory_that_cannot_be_read_is_asked(tmp_path: Path, names: list[str]) -> None:
    known = Siblings()

    def refusing(path: bytes) -> None:
        raise PermissionError(13, "no")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", refusing)
        learn(known, tmp_path)
        assert known.find(path(tmp_path, "0.css"))[0] == ["br", "gzip"]
