"""Text files of one rule a line: empty lines and comments are skipped, and what is wrong names its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["LineError", "read_text", "significant_lines"]


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


def read_text(path: str) -> str:
    """A file's text. Raises :class:`LineError` for what is not UTF-8, and ``OSError``."""
    data = Path(path).read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise LineError(path, number, "not UTF-8, in which the file has to be") from None
