"""Public names of the core are explicit, exist and are documented."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import pydoc
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import evio_core

MODULES = [importlib.import_module(name) for _, name, _ in pkgutil.walk_packages(evio_core.__path__, "evio_core.")]


def is_plain_folder(module: ModuleType) -> bool:
    """A package of which ``__init__.py`` holds a docstring and nothing else."""
    source = Path(module.__file__ or "")
    return source.name == "__init__.py" and [type(node) for node in ast.parse(source.read_text()).body] == [ast.Expr]


def test_all_is_explicit_and_true() -> None:
    wrong = []
    for module in MODULES:
        if is_plain_folder(module):
            continue
        names = vars(module).get("__all__")
        if names is None:
            wrong.append(f"{module.__name__} has no __all__")
            continue
        wrong += [f"{module.__name__}.__all__ has {name} twice" for name in set(names) if names.count(name) > 1]
        wrong += [f"{module.__name__} has no {name}" for name in names if not hasattr(module, name)]
    assert not wrong


def test_every_public_name_is_documented() -> None:
    public = {name: getattr(evio_core, name) for name in evio_core.__all__}
    callables = {name: value for name, value in public.items() if inspect.isclass(value) or inspect.isfunction(value)}
    assert callables
    assert not [name for name, value in callables.items() if not inspect.getdoc(value)]


@pytest.mark.parametrize("settings", [evio_core.Events, evio_core.Options])
def test_help_speaks_of_every_field(settings: Any) -> None:
    text = pydoc.plain(pydoc.render_doc(settings)).partition(" |  Methods defined")[0]
    described = [name for item in re.findall(r"- (``[^:]*?``):", text) for name in re.findall(r"``(\w+)", item)]
    assert sorted(described) == sorted(field.name for field in dataclasses.fields(settings))


def test_nothing_else_is_public() -> None:
    there = {name for name, value in vars(evio_core).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert there == set(evio_core.__all__) - {"__version__"}
    assert there >= {"Events", "Conn", "Server", "Options", "Action", "LoadBalance", "serve", "workers", "InputStream"}
