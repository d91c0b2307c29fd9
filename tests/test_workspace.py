"""The packages of the workspace fit together."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import evio_core

ROOT = Path(__file__).parent.parent
PROJECTS = sorted(ROOT.glob("packages/*/pyproject.toml"))
VERSION_FILE = ROOT / "packages/evio-core/src/evio_core/_version.py"


def project(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = tomllib.loads(path.read_text())["project"]
    return loaded


def test_the_version_is_written_in_one_place() -> None:
    for path in PROJECTS:
        own = tomllib.loads(path.read_text())
        assert "version" in own["project"]["dynamic"]
        assert (path.parent / own["tool"]["hatch"]["version"]["path"]).resolve() == VERSION_FILE
        assert metadata.version(own["project"]["name"]) == evio_core.__version__, "installed of another version"


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_siblings_are_pinned_to_that_version(path: Path) -> None:
    own = project(path)
    siblings = [need for need in own["dependencies"] if need.startswith("evio-")]
    assert all(need.partition("==")[2] == evio_core.__version__ for need in siblings), siblings
    assert siblings or own["name"] == "evio-core"


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_a_package_has_what_it_needs(path: Path) -> None:
    package = path.parent / "src" / path.parent.name.replace("-", "_")
    assert (package / "py.typed").exists()
    assert (path.parent / "README.md").exists()
    if path.parent.name != "evio-core":
        assert (package / "__main__.py").exists()
        assert project(path)["scripts"]


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_a_source_distribution_has_what_its_tests_import(path: Path) -> None:
    included = tomllib.loads(path.read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]["force-include"]
    subject = path.parent.name.removeprefix("evio-")
    files = [ROOT / "tests/conftest.py", *(ROOT / "tests" / subject).rglob("*.py")]
    imported = {
        name for file in files for name in re.findall(r"^ *from tests\.([a-z.]+) import", file.read_text(), re.M)
    }
    needed = {f"tests/{name.replace('.', '/')}.py" for name in imported if not name.startswith(subject)}
    assert needed <= set(included.values())
