"""Listings within a page of the site's own."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ..files.paths import Entry
from ..pages.markup import STYLE
from .listing import View, listing_parts
from .rule_file import LineError
from .template import Template

__all__ = ["ListingTemplate"]

_NAMES = ("path", "trail", "listing", "style")


class ListingTemplate:
    """HTML in which ``{{listing}}`` is the table, with its filter above and links to further pages below, ``{{path}}``
    the directory's path, ``{{trail}}`` the same as links, and ``{{style}}`` the stylesheet of the built-in page. All of
    them are escaped. Raises :class:`LineError` as :class:`Template` does, and if there is no ``{{listing}}``."""

    def __init__(self, text: str, source: str) -> None:
        self._template = Template(text, source, _NAMES)
        if "listing" not in self._template.names:
            raise LineError(source, 1, "there is no {{listing}} in the template, which is what it is for")

    def page(self, path: str, entries: Iterable[Entry], view: View) -> bytes:
        """Make the page for the directory at ``path``, decoded and ending in "/"."""
        parts = listing_parts(path, entries, view)
        values = {"path": escape(parts.path), "trail": parts.trail, "listing": parts.listing, "style": STYLE}
        return self._template.fill(values)
