"""The servers stand on the public names of the core."""

from __future__ import annotations

import ast
from pathlib import Path

import evio_core

ROOT = Path(__file__).parent.parent
SERVERS = sorted(ROOT.glob("packages/*/src/evio_[!c]*/**/*.py"))
PUBLIC = {*evio_core.__all__, "stdlib"}


def test_servers_use_public_names_of_the_core_only() -> None:
    assert SERVERS
    wrong = []
    for path in SERVERS:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom | ast.Import | ast.Attribute):
                continue
            used: set[str] = set()
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "evio_core":
                used = {alias.name for alias in node.names} if node.module == "evio_core" else {f"{node.module}"}
            elif isinstance(node, ast.Import):
                used = {alias.name for alias in node.names if alias.name.startswith("evio_core.")}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "evio_core":
                used = {node.attr}
            wrong += [f"{path.relative_to(ROOT)}:{node.lineno}: {name}" for name in sorted(used - PUBLIC)]
    assert not wrong
