"""A page of the site's own for every error."""

from __future__ import annotations

from html import escape
from http import HTTPStatus

from ..message.response import Response
from ..pages.error_pages import explanation, retry_fields
from ..pages.markup import HTML
from .template import Template

__all__ = ["ErrorTemplate"]

_NAMES = ("status", "reason", "explanation")


class ErrorTemplate:
    """HTML in which ``{{status}}`` is the number, ``{{reason}}`` its name ("Not Found") and ``{{explanation}}`` a
    sentence. Raises as :class:`Template` does."""

    def __init__(self, text: str, source: str) -> None:
        self._template = Template(text, source, _NAMES)

    def response(self, status: int) -> Response:
        """Make the response for an error status."""
        known = HTTPStatus(status)
        values = {"status": str(status), "reason": known.phrase, "explanation": explanation(known)}
        page = self._template.fill({name: escape(value) for name, value in values.items()})
        return Response(status, [("Content-Type", HTML), *retry_fields(status)], page)
