"""The packages of the workspace fit together."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROJECTS = sorted(ROOT.glob("packages/*/pyproject.toml"))


def project(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = tomllib.loads(path.read_text())["project"]
    return loaded


def test_one_version_for_all() -> None:
    assert len({project(path)["version"] for path in PROJECTS}) == 1


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_siblings_are_pinned_to_that_version(path: Path) -> None:
    own = project(path)
    siblings = [need for need in own["dependencies"] if need.startswith("evio-")]
    assert all(need.partition("==")[2] == own["version"] for need in siblings), siblings
    assert siblings or own["name"] == "evio-core"


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_a_package_has_what_it_needs(path: Path) -> None:
    package = path.parent / "src" / path.parent.name.replace("-", "_")
    assert (package / "py.typed").exists()
    assert (path.parent / "README.md").exists()
    if path.parent.name != "evio-core":
        assert (package / "__main__.py").exists()
        assert project(path)["scripts"]
