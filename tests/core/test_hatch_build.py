"""The build hook of evio-core: nothing is compiled unless asked for, and what is missing is said in one line.

That what it compiles works is what ``make test-compiled`` tests.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("hatchling", reason="it builds the packages: pip install hatchling")

PACKAGE = Path(__file__).parents[2] / "packages" / "evio-core"


def build(target: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build the wheel into ``target``, with what is installed here."""
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=PACKAGE,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.fixture
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", PACKAGE / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("value", ["", "0"])
def test_without_the_variable_the_wheel_is_plain_python_for_every_platform(value: str, tmp_path: Path) -> None:
    done = build(tmp_path, EVIO_COMPILE=value, CC="no-such-compiler")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.iterdir()
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "evio_core/loop/loop.py" in names
    assert "evio_core/py.typed" in names
    assert {Path(name).suffix for name in names if name.startswith("evio_core/")} == {".py", ".typed"}


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("Cython", "setuptools")), reason="needs Cython, setuptools"
)
def test_without_a_compiler_the_build_ends_and_says_so(tmp_path: Path) -> None:
    done = build(tmp_path, EVIO_COMPILE="1", CC="no-such-compiler -O2")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "EVIO_COMPILE=1: there is no C compiler 'no-such-compiler'; install one, or name another with CC=..."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["Cython", "setuptools"])
def test_without_cython_the_build_ends_and_says_so(
    hook: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook.importlib.util, "find_spec", lambda asked: None if asked == name else object())
    with pytest.raises(SystemExit, match=f"^EVIO_COMPILE=1: {name} is not installed; pip install {name}$"):
        hook.compile_modules(PACKAGE, tmp_path)


def test_a_failing_compiler_ends_the_build(hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "missing", lambda: None)
    monkeypatch.setattr(hook, "SETUP", "raise SystemExit('ld: no room')")
    with pytest.raises(SystemExit, match=r"^EVIO_COMPILE=1: the hot path did not compile; why is above"):
        hook.compile_modules(PACKAGE, tmp_path)


def test_what_is_compiled_exists(hook: ModuleType) -> None:
    for name in hook.MODULES:
        assert (PACKAGE / "src" / "evio_core" / f"{name.replace('.', '/')}.py").is_file()
