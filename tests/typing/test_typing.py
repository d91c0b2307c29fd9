"""Programs that use the core are type-checked as their authors do it: ``mypy --strict``, and pyright's strict mode."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.program import EXAMPLES
from tests.extent import full_only

pytestmark = [pytest.mark.timeout(300), full_only]
"""Type checkers read the standard library first, which takes half a minute each."""

PROGRAM = Path(__file__).with_name("program.py").read_text()

MISTAKES = {
    "session.lines += len(lines)": "session.line += len(lines)",
    "conn.context = Session()": 'conn.context = "session"',
    'b"hello\\n"': '"hello\\n"',
    "def data(self, chunk: bytes) -> None:": "def data(self) -> None:",
    "return self.conn.run_in_thread(self.hash, chunk)": "return self.hash",
    "handler=self.upstream)": "handler=Upstream)",
    '{"tcp://127.0.0.1:0": Client}': '{"tcp://127.0.0.1:0": Session}',
    "super().__init__(inner)": "super().__init__()",
}
"""Pieces of the program, and what is wrong in their place."""


def mypy(directory: Path, *arguments: str) -> str:
    """Return the complaints, empty if there are none."""
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(directory.parent / "cache"), *arguments, "."]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr + done.stdout
    return done.stdout if done.returncode else ""


def pyright(directory: Path, mode: str) -> str:
    """The same of pyright, in one of its modes."""
    pytest.importorskip("pyright", reason="pyright is not installed")
    config = {"typeCheckingMode": mode, "pythonVersion": "3.11", "reportMissingModuleSource": False}
    (directory / "pyrightconfig.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr + done.stdout
    return done.stdout if done.returncode else ""


def broken(directory: Path) -> list[str]:
    """Write a program with each of the mistakes; their files."""
    names = []
    for number, (right, wrong) in enumerate(MISTAKES.items()):
        assert PROGRAM.count(right) >= 1, right
        names.append(f"mistake_{number}.py")
        (directory / names[-1]).write_text(PROGRAM.replace(right, wrong, 1))
    return names


def test_mypy_accepts_the_program_and_finds_its_mistakes(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.mkdir()
    (right / "program.py").write_text(PROGRAM)
    assert not mypy(right, "--strict", "--disallow-any-explicit")
    wrong.mkdir()
    names = broken(wrong)
    found = mypy(wrong, "--strict")
    assert [name for name in names if name not in found] == []


def test_pyright_accepts_the_program_and_finds_its_mistakes(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.mkdir()
    (right / "program.py").write_text(PROGRAM)
    assert not pyright(right, "strict")
    wrong.mkdir()
    names = broken(wrong)
    found = pyright(wrong, "strict")
    assert [name for name in names if name not in found] == []


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    """A folder with the programs of the documentation, but for those that it shows beside its own."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for number, (name, code) in enumerate(EXAMPLES):
        if "evio_" not in code:
            continue
        stem = "".join(c if c.isalnum() else "_" for c in name)
        (programs / f"example_{number}_{stem}.py").write_text(code)
    return programs


def test_mypy_accepts_the_programs_of_the_guide_as_they_are(guide: Path) -> None:
    """They have no annotations: it looks into them all the same, but for the types of collections that begin empty."""
    disabled = ["--disable-error-code=var-annotated", "--disable-error-code=has-type"]
    assert not mypy(guide, "--check-untyped-defs", *disabled)


def test_pyright_accepts_the_programs_of_the_guide_as_they_are(guide: Path) -> None:
    assert not pyright(guide, "standard")
