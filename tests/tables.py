"""Tables whose rows are checked many at a time.

A test for each row costs 10 ms of pytest's own, in all its processes together, which is more than most rows take.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest

__all__ = ["each_row", "grouped"]

Row = TypeVar("Row")


Test = Callable[..., None]


def each_row(names: str | tuple[str, ...], table: Iterable[Any]) -> Callable[[Test], Test]:
    """Have a test check all rows of a table, as ``pytest.mark.parametrize`` would have one test for each. The fixtures
    are the same for all rows. A failure has a note of the row."""
    arguments = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def test_rows(**fixtures: Any) -> None:
            checked = 0
            for row in table:
                values = row if len(arguments) > 1 else (row,)
                try:
                    test(**dict(zip(arguments, values, strict=True)), **fixtures)
                except BaseException as error:
                    error.add_note(f"{', '.join(arguments)}: {row!r}"[:1000])
                    raise
                checked += 1
            assert checked, "an empty table checks nothing"

        kept = [each for name, each in inspect.signature(test).parameters.items() if name not in arguments]
        test_rows.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]  # what pytest reads
        return test_rows

    return decorate


def grouped(rows: Iterable[Row], key: Callable[[Row], str]) -> list[Any]:
    """The rows of each key, in their order, as one parameter of a test that has the key as its name. The test's
    assertions have to say which row it is."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [pytest.param(group, id=name) for name, group in groups.items()]
