"""A page of the site's own for every error."""

from __future__ import annotations

import re
from html import escape
from http import HTTPStatus

from ..message.response import Response
from ..pages.error_pages import explanation, retry_fields
from ..pages.markup import HTML
from .rule_file import LineError

__all__ = ["ErrorTemplate"]

_PLACEHOLDER = re.compile(r"\{\{ *([^{}]*?) *\}\}")
_NAMES = ("status", "reason", "explanation")


class ErrorTemplate:
    """HTML in which ``{{status}}`` is the number, ``{{reason}}`` its name ("Not Found") and ``{{explanation}}`` a
    sentence. ``source`` names it in the :class:`LineError` that is raised for anything else in such braces."""

    def __init__(self, text: str, source: str) -> None:
        for found in _PLACEHOLDER.finditer(text):
            if found[1] not in _NAMES:
                number = text.count("\n", 0, found.start()) + 1
                raise LineError(source, number, f"{found[0]} is none of {', '.join(map(repr, _NAMES))} in braces")
        self._text = text

    def response(self, status: int) -> Response:
        """Make the response for an error status."""
        known = HTTPStatus(status)
        values = {"status": str(status), "reason": known.phrase, "explanation": explanation(known)}
        page = _PLACEHOLDER.sub(lambda found: escape(values[found[1]]), self._text)
        return Response(status, [("Content-Type", HTML), *retry_fields(status)], page.encode())
