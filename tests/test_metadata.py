"""Metadata, as an index shows them, and the contents of sdists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROJECTS = sorted(ROOT.glob("packages/*/pyproject.toml"))


def project(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = tomllib.loads(path.read_text())["project"]
    return loaded


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_metadata_is_complete(path: Path) -> None:
    own = project(path)
    assert own["license"] == "MIT"
    assert all((path.parent / name).is_file() for name in own["license-files"])
    assert len(own["keywords"]) >= 5
    assert own["requires-python"] == ">=3.11"
    for beginning in (
        "Development Status :: ", "Intended Audience :: ", "Operating System :: POSIX :: Linux", "Topic :: ",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)),
    ):  # fmt: skip
        assert any(each.startswith(beginning) for each in own["classifiers"]), beginning
    assert "Typing :: Typed" in own["classifiers"]
    assert ("Framework :: Pytest" in own["classifiers"]) == ("pytest11" in own.get("entry-points", {}))


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_a_readme_has_no_links_that_lead_nowhere_on_an_index(path: Path) -> None:
    text = (path.parent / "README.md").read_text()
    targets = re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_an_sdist_has_its_tests_and_what_they_share(path: Path) -> None:
    forced = tomllib.loads(path.read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]["force-include"]
    assert all((path.parent / source).exists() for source in forced)
    assert f"tests/{path.parent.name.removeprefix('evio-')}" in forced.values()
