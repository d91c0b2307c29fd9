"""The reference has every public name, once, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import evio_core
import evio_http
import evio_redis

REFERENCE = Path(__file__).parents[2] / "docs/reference"
ENTRY = re.compile(
    r"^\.\. auto(?:class|data|exception|function):: (evio_\w+)\.(?:events\.)?(\w+)(?:\(\))?$", re.MULTILINE
)


def entries() -> list[tuple[str, str]]:
    return [found for page in sorted(REFERENCE.glob("*.md")) for found in ENTRY.findall(page.read_text())]


@pytest.mark.parametrize("module", [evio_core, evio_redis, evio_http], ids=lambda module: module.__name__)
def test_every_public_name_has_an_entry(module: ModuleType) -> None:
    public = {name for name in module.__all__ if not name.startswith("__")}
    listed = [name for package, name in entries() if package == module.__name__]
    assert len(listed) == len(set(listed))
    assert set(listed) == public


def test_members_that_are_listed_by_name_exist() -> None:
    found = 0
    for page in REFERENCE.glob("*.md"):
        for package, name, members in re.findall(
            r"^\.\. autoclass:: (evio_\w+)\.(\w+)\n +:members: (.+)$", page.read_text(), re.MULTILINE
        ):
            thing = getattr({"evio_core": evio_core, "evio_redis": evio_redis, "evio_http": evio_http}[package], name)
            for member in members.split(", "):
                assert getattr(thing, member).__doc__, f"{name}.{member}"
                found += 1
    assert found > 10
