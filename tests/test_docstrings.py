"""Docstrings begin with an imperative or a noun: "Return the number of loops", not "How many loops there are"."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = [*sorted(ROOT.glob("packages/*/src")), ROOT / "tests", ROOT / "tools"]
QUESTIONS = ("What", "Whether", "How", "Who", "Whose", "Which", "Where", "When")

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def docstrings(path: Path) -> list[tuple[int, str]]:
    """The docstrings of a file, those behind constants and attributes included, each with its line."""
    return [*_docstrings(path)]


def _docstrings(path: Path) -> Iterator[tuple[int, str]]:
    to_do: list[ast.AST] = [ast.parse(path.read_text(), str(path))]
    while to_do:
        node = to_do.pop()
        if isinstance(node, Documented):
            for before, each in zip([None, *node.body], node.body, strict=False):
                if before is None or isinstance(before, ast.Assign | ast.AnnAssign):
                    match each:
                        case ast.Expr(value=ast.Constant(value=str(text))):
                            yield each.lineno, text
        # Expressions, most of a tree, hold no docstrings.
        to_do.extend(each for each in ast.iter_child_nodes(node) if not isinstance(each, ast.expr))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_no_docstring_begins_like_a_question(folder: Path) -> None:
    wrong, seen = [], 0
    for path in sorted(folder.rglob("*.py")):
        for line, text in docstrings(path):
            seen += 1
            if text.split(maxsplit=1)[:1] and text.split(maxsplit=1)[0] in QUESTIONS:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}")
    assert seen
    assert not wrong, "\n".join(wrong)
