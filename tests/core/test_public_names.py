"""What is public: explicit, there, documented, and all that the servers use."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import evio_core

PACKAGES = Path(__file__).parents[2] / "packages"
MODULES = [name for _, name, _ in pkgutil.walk_packages(evio_core.__path__, "evio_core.")]
SERVERS = sorted(PACKAGES.glob("*/src/evio_[!c]*/**/*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_all_is_explicit_and_true(name: str) -> None:
    module = importlib.import_module(name)
    names = module.__all__
    assert len(set(names)) == len(names)
    # What a module defines only on systems that have it (kqueue) is not there on others.
    missing = [each for each in names if not hasattr(module, each)]
    assert not missing or name == "evio_core.loop.poller.kqueue"


def test_every_public_name_is_documented() -> None:
    for name in evio_core.__all__:
        public = getattr(evio_core, name)
        if inspect.isclass(public) or inspect.isfunction(public):
            assert inspect.getdoc(public), name


def test_nothing_else_is_public() -> None:
    there = {name for name, value in vars(evio_core).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert there == set(evio_core.__all__) - {"__version__"}
    assert there >= {"Events", "Conn", "Server", "Options", "Action", "LoadBalance", "serve", "workers", "InputStream"}


@pytest.mark.parametrize("path", SERVERS, ids=lambda path: path.name)
def test_servers_use_public_names_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("evio_core"):
            assert node.module == "evio_core", f"{path}: {node.module}"
            used = {alias.name for alias in node.names}
            assert used <= {*evio_core.__all__, "stdlib"}, used
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "evio_core":
            assert node.attr in {*evio_core.__all__, "stdlib"}, f"{path}: evio_core.{node.attr}"
