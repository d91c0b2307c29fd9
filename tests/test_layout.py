"""The plan of the packages: imports point down, without a circle, and the servers stand on the core's public names.

A room is a folder of a package or a module beside the folders. Imports count wherever they stand: at the head of a
module, in a function, under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import evio_core
from evio_core import cli

ROOT = Path(__file__).parent.parent

LAYERS: dict[str, list[str]] = {
    "evio_core": [
        "__main__",
        "__init__",
        "run",
        "stdlib start",
        "processes",
        "server",
        "fallback",
        "stream",
        "tls udp",
        "loop",
        "addresses buffers",
        "metrics",
        "slow",
        "middleware",
        "events errors",
        "systemd",
        "checks cli deferred logs _version",
    ],
    "evio_redis": [
        "__main__ pytest_plugin",
        "__init__",
        "server",
        "commands",
        "scripting",
        "replication",
        "execution",
        "persistence",
        "stats",
        "cluster",
        "clients process",
        "acl",
        "config",
        "keyspace",
        "model",
        "protocol",
        "errors",
    ],
    "evio_http": [
        "__main__",
        "cli passwd",
        "__init__",
        "server",
        "logs",
        "connections site",
        "answers http2 pages",
        "files",
        "message",
    ],
    "evio_echo": ["__main__", "__init__"],
}
"""The rooms of each package from the top down. A room imports from the layers below its own, not beside it."""


def below(package: str, room: str) -> list[str]:
    """The rooms in the layers under that of a room."""
    layer = next(number for number, rooms in enumerate(LAYERS[package]) if room in rooms.split())
    return " ".join(LAYERS[package][layer + 1 :]).split()


NEVER: list[tuple[str, str]] = [
    ("evio_core.loop", "evio_core.stream"),
    ("evio_core.tls", "evio_core.stream"),
    ("evio_core.udp", "evio_core.stream"),
    *((f"evio_core.{room}", "evio_core.server") for room in below("evio_core", "server")),
    ("evio_redis.keyspace", "evio_redis.clients"),
    ("evio_redis.execution", "evio_redis.commands"),
    *((f"evio_redis.{room}", "evio_redis.server") for room in below("evio_redis", "server")),
    ("evio_http.connections", "evio_http.site"),
    ("evio_http.site", "evio_http.connections"),
    *(
        ("evio_http.message", f"evio_http.{room}")
        for room in " ".join(LAYERS["evio_http"]).split()
        if room != "message"
    ),
    # Protocols never touch a socket.
    *(
        (protocol, module)
        for protocol in ("evio_http.message", "evio_http.http2", "evio_redis.protocol")
        for module in ("socket", "ssl", "select", "selectors", "asyncio", "evio_core")
    ),
]
"""Imports that never are, whatever becomes of the layers."""

PUBLIC = {
    *evio_core.__all__, "cli", *(f"cli.{name}" for name in cli.__all__), "metrics", "metrics.StatsCollector", "stdlib",
    "systemd", "systemd.ServiceManager",
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One import, as it stands in a file."""

    path: Path
    line: int
    statement: str
    importer: str
    imported: str
    """The module, or the module and one of its names."""

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.statement}"


def package_of(name: str) -> Path:
    return ROOT / "packages" / name.replace("_", "-") / "src" / name


def modules(package: str) -> dict[str, Path]:
    """The files of a package by the names of their modules."""
    root = package_of(package)
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = [package, *path.relative_to(root).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(module: str, path: Path) -> Iterator[Import]:
    """Every import of a module, with names that are relative made absolute."""
    parents = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            names = [f"{source}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(path, node.lineno, ast.unparse(node), module, name)


@functools.cache
def all_imports(package: str) -> list[Import]:
    found = [each for module, path in modules(package).items() for each in imports(module, path)]
    assert found or package == "evio_echo", package
    return found


def within(name: str, whole: str) -> bool:
    return name == whole or name.startswith(f"{whole}.")


def room(name: str) -> str:
    """The room of a module, or of a name in it."""
    package, _, rest = name.partition(".")
    first = rest.partition(".")[0]
    return first if (package_of(package) / first).is_dir() or (package_of(package) / f"{first}.py").exists() else ""


@pytest.mark.parametrize("package", LAYERS)
def test_each_room_has_its_layer(package: str) -> None:
    planned = " ".join(LAYERS[package]).split()
    there = {room(f"{module}.") or "__init__" for module in modules(package)}
    assert sorted(planned) == sorted(there)


@pytest.mark.parametrize("package", LAYERS)
def test_imports_point_down(package: str) -> None:
    height = {name: -number for number, layer in enumerate(LAYERS[package]) for name in layer.split()}
    wrong = []
    for each in all_imports(package):
        if not within(each.imported, package):
            continue
        above, below = room(f"{each.importer}.") or "__init__", room(each.imported) or "__init__"
        if above != below and height[above] <= height[below]:
            wrong.append(f"{each}: {above} stands not above {below}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", LAYERS)
def test_no_import_ever(package: str) -> None:
    wrong = [
        f"{each}: {who} never imports {what}"
        for each in all_imports(package)
        for who, what in NEVER
        if within(each.importer, who) and within(each.imported, what)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", LAYERS)
def test_no_circle(package: str) -> None:
    known = modules(package)
    edges = []
    for each in all_imports(package):
        target = each.imported if each.imported in known else each.imported.rpartition(".")[0]
        if target in known and target != each.importer:
            edges.append((each.importer, target, each))
    # Imports of modules that import nothing, and those by modules that nobody imports, are part of no circle.
    before = -1
    while len(edges) != before:
        before = len(edges)
        importers, targets = {importer for importer, _, _ in edges}, {target for _, target, _ in edges}
        edges = [each for each in edges if each[0] in targets and each[1] in importers]
    wrong = dict.fromkeys(str(each) for _, _, each in edges)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", [name for name in LAYERS if name != "evio_core"])
def test_servers_use_public_names_of_the_core_only(package: str) -> None:
    wrong = [
        str(each)
        for each in all_imports(package)
        if within(each.imported, "evio_core") and each.imported.partition(".")[2] not in {"", *PUBLIC}
    ]
    for path in modules(package).values():
        for node in ast.walk(tree(path)):
            match node:
                case ast.Attribute(value=ast.Name(id="evio_core"), attr=name) if name not in PUBLIC:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: evio_core.{name}")
    assert not wrong, "\n".join(wrong)
