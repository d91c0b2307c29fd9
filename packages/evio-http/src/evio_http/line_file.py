"""Text files of one rule a line: empty lines and comments are skipped, and what is wrong names its line."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["LineError", "significant_lines"]


class LineError(ValueError):
    """A line of a file is wrong: "FILE:LINE: what is wrong, and what would be right"."""

    def __init__(self, source: str, number: int, problem: str) -> None:
        super().__init__(f"{source}:{number}: {problem}")
        self.source = source
        self.number = number


def significant_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number (from 1) and content of each line that is neither empty nor a comment ("#"), without the white space
    at its end."""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = line.rstrip()
        if line and not line.lstrip().startswith("#"):
            yield number, line
