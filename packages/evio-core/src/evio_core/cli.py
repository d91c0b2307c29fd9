"""Helpers for command lines: errors of one line that say what is allowed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import Any, NoReturn

__all__ = ["Parser", "count", "nearest", "seconds"]


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors are one line, with the nearest flag for an unknown one. Flags are not
    abbreviated: what is unambiguous today is not for ever."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with status 2."""
        unknown = re.search("unrecognized arguments: (-[^ =]*)", message)
        if unknown is not None:
            message = f"unknown flag {unknown[1]}{nearest(unknown[1], self._option_string_actions)}"
        given = re.fullmatch("argument (.*): ignored explicit argument (.*)", message, re.DOTALL)
        if given is not None:
            message = f"argument {given[1]}: takes no value, unlike {given[2]}"
        self.exit(2, f"{self.prog}: {message}\n")


def nearest(given: str, names: Iterable[str]) -> str:
    """Return a hint for a name that does not exist: ``"; did you mean X?"``, or where to look if none is near."""
    import difflib  # only who is wrong waits for it

    plain = {name.lstrip("-"): name for name in names}  # the dashes are alike in all of them
    near = difflib.get_close_matches(given.lstrip("-"), plain, 1)
    return f"; did you mean {plain[near[0]]}?" if near else "; --help has all of them"


def count(text: str) -> int:
    """Return a number of loops or workers. Raises ``argparse.ArgumentTypeError``."""
    if not re.fullmatch("-1|[0-9]{1,4}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 9999, nor -1, which is one per CPU")
    return int(text)


def seconds(text: str) -> float:
    """Return a time. Raises ``argparse.ArgumentTypeError``."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0")
    return value
