"""Pages made of a file of the site owner's, with placeholders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .rule_file import LineError

__all__ = ["Template"]

_PLACEHOLDER = re.compile(r"\{\{ *([^{}]*?) *\}\}")


class Template:
    """HTML with placeholders, ``{{name}}``. ``names`` are those that may be in it, ``source`` names it in the
    :class:`LineError` that is raised for any other."""

    def __init__(self, text: str, source: str, names: Sequence[str]) -> None:
        for found in _PLACEHOLDER.finditer(text):
            if found[1] not in names:
                number = text.count("\n", 0, found.start()) + 1
                raise LineError(source, number, f"{found[0]} is none of {', '.join(map(repr, names))} in braces")
        self._text = text
        self.names: frozenset[str] = frozenset(found[1] for found in _PLACEHOLDER.finditer(text))
        """The names that are in it."""

    def fill(self, values: Mapping[str, str]) -> bytes:
        """Return the page with ``values``, which are HTML, in the places of their names."""
        return _PLACEHOLDER.sub(lambda found: values[found[1]], self._text).encode()
