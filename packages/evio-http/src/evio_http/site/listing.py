"""A directory as a page and as JSON."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from ..files.paths import Entry, encode_path
from ..pages.markup import document, policy

__all__ = ["DEFAULT_VIEW", "PAGE_SIZE", "POLICY", "SORTS", "View", "html_listing", "json_listing", "listing_parts"]

_KEYS: dict[str, Callable[[Entry], Any]] = {
    "name": lambda entry: (entry.name.casefold(), entry.name),
    "size": lambda entry: (entry.size, entry.name),
    "date": lambda entry: (entry.mtime, entry.name),
}

SORTS = tuple(_KEYS)
"""The keys by which a listing can be sorted: the values of "sort" in the query of its links."""

POLICY = policy(form_action="'self'")
"""The Content-Security-Policy of a listing, which has a form."""

MAX_FILTER = 255
"""Characters of text to filter by: no name is longer."""

_PAGE = re.compile("[0-9]{1,9}")

PAGE_SIZE = 1000
"""Entries on a page: what a browser shows at once on a phone."""

_COLUMNS = (("name", "Name"), ("size", "Size"), ("date", "Modified (UTC)"))


@dataclass(frozen=True, slots=True)
class View:
    """A view of a directory; :meth:`parse` reads it from the query of a request."""

    sort: str = "name"
    """One of ``SORTS``; directories come first in any case."""
    descending: bool = False
    page: int = 1
    """Of ``PAGE_SIZE`` entries each, counted from 1; one that is not there is the nearest that is."""
    wanted: str = ""
    """Text that names have in them, whatever their case; empty for all."""
    as_json: bool = False
    sortable: bool = True
    """With links to the other orders. Programs that mirror a site would follow those, and get each directory six times
    over: none of them looks at "nofollow" of a link."""

    @classmethod
    def parse(cls, query: bytes, accept: str | None) -> View:
        """Read the query of a request and its Accept field. What makes no sense is as good as absent."""
        fields = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        page, sort = fields.get("page", ""), fields.get("sort", "")
        return cls(
            sort if sort in _KEYS else "name",
            fields.get("order") == "desc",
            int(page) if _PAGE.fullmatch(page) else 1,
            fields.get("filter", "")[:MAX_FILTER].strip(),
            "application/json" in (accept or "") or fields.get("format") == "json",
            accept is None or "text/html" in accept,
        )

    def query(self, page: int = 1) -> str:
        """The reference to another page of it: a query, or "./" if it needs none."""
        fields = []
        if self.wanted:
            fields.append(("filter", self.wanted))
        if (self.sort, self.descending) != ("name", False):
            fields.append(("sort", self.sort))
        if self.descending:
            fields.append(("order", "desc"))
        if page > 1 or fields:
            fields.append(("page", str(page)))
        return f"?{urlencode(fields)}" if fields else "./"


DEFAULT_VIEW = View()


def html_listing(path: str, entries: Iterable[Entry], view: View = DEFAULT_VIEW) -> bytes:
    """A page for the directory at ``path``, decoded and ending in "/". Its columns link to "?sort=name", "?sort=size"
    and "?sort=date", with "&order=desc" the other way round; a form asks for "?filter=TEXT". It is to be sent with
    ``POLICY``.
    """
    parts = listing_parts(path, entries, view)
    return document(
        f"Index of {parts.path}",
        f"<h1>Index of {parts.trail}</h1>\n{parts.listing}",
        # The same files are in the usual order of the same directory, whose pages are to be followed.
        robots="noindex, nofollow" if view.wanted or view.sort != "name" or view.descending else "noindex",
    )


@dataclass(frozen=True, slots=True)
class ListingParts:
    """The parts of a page for a directory."""

    path: str
    """Text."""
    trail: str
    """HTML: the path as links to each directory above."""
    listing: str
    """HTML: the filter, the table, and links to further pages."""


def listing_parts(path: str, entries: Iterable[Entry], view: View) -> ListingParts:
    """Make the parts of ``html_listing``."""
    matching = _matching(entries, view)
    shown, page, pages = _page(matching, view)
    heads = "".join(_head(key, label, view) for key, label in _COLUMNS)
    rows = "".join(map(_row, shown))
    parent = '<tr><td class="name dir"><a href="../">../</a></td><td class="size"></td><td class="date"></td></tr>\n'
    above = parent if path.strip("/") else ""
    return ListingParts(
        _visible(path),
        _trail(path),
        f"{_filter(view) if matching or view.wanted else ''}<table>\n<thead><tr>{heads}</tr>"
        f"</thead>\n<tbody>\n{above}{rows}</tbody>\n</table>\n{_summary(len(matching), view)}"
        f"{_turning(view, page, pages)}",
    )


def json_listing(path: str, entries: Iterable[Entry], view: View = DEFAULT_VIEW) -> bytes:
    """The same as JSON: ``{"path", "page", "pages", "entries": [{"name", "type", "size", "modified"}]}`` with "type"
    "directory" or "file", "size" in bytes (of files) and "modified" in UTC (RFC 3339)."""
    shown, page, pages = _page(_matching(entries, view), view)
    listed = [_described(entry) for entry in shown]
    whole = {"path": path, "page": page, "pages": pages, "entries": listed}
    return json.dumps(whole, ensure_ascii=False).encode() + b"\n"


def _described(entry: Entry) -> dict[str, object]:
    described: dict[str, object] = {"name": entry.name, "type": "directory" if entry.is_directory else "file"}
    if not entry.is_directory:
        described["size"] = entry.size
    described["modified"] = _moment(entry.mtime).strftime("%Y-%m-%dT%H:%M:%SZ")
    return described


def _matching(entries: Iterable[Entry], view: View) -> list[Entry]:
    """The entries that are wanted, in order."""
    if view.wanted:
        wanted = view.wanted.casefold()
        entries = (entry for entry in entries if wanted in entry.name.casefold())
    ordered = sorted(entries, key=_KEYS[view.sort], reverse=view.descending)
    return sorted(ordered, key=lambda entry: not entry.is_directory)


def _page(entries: list[Entry], view: View) -> tuple[list[Entry], int, int]:
    """The entries of one page, which one it is, and how many there are."""
    pages = max(1, -(-len(entries) // PAGE_SIZE))
    page = min(max(view.page, 1), pages)
    return entries[(page - 1) * PAGE_SIZE : page * PAGE_SIZE], page, pages


def _filter(view: View) -> str:
    """A form, which works without a script and looks at all pages."""
    kept = f'<input type="hidden" name="sort" value="{view.sort}">' if view.sort != "name" or view.descending else ""
    kept += '<input type="hidden" name="order" value="desc">' if view.descending else ""
    return (
        f'<form class="filter" role="search" rel="nofollow">{kept}<input type="search" name="filter" '
        f'value="{escape(_visible(view.wanted))}" placeholder="Part of a name" aria-label="Part of a name" '
        f'autocomplete="off" spellcheck="false"> <button>Filter</button></form>\n'
    )


def _summary(count: int, view: View) -> str:
    if view.wanted:
        what = "No name has" if not count else "1 name has" if count == 1 else f"{count:,} names have"
        return f'<p class="summary">{what} \u201c{escape(_visible(view.wanted))}\u201d. <a href="./">Show all</a></p>\n'
    return "" if count else "<p>This directory is empty.</p>\n"


def _turning(view: View, page: int, pages: int) -> str:
    """Links to the pages before and after this one."""
    if pages == 1:
        return ""
    before = f'<a rel="prev" href="{escape(view.query(page - 1))}">\u2190 Previous</a> ' if page > 1 else ""
    after = f' <a rel="next" href="{escape(view.query(page + 1))}">Next \u2192</a>' if page < pages else ""
    return f'<p class="pages">{before}Page {page} of {pages}{after}</p>\n'


def _head(key: str, label: str, view: View) -> str:
    if not view.sortable:
        return f'<th class="{key}">{label}</th>'
    fields, arrow, direction = [("sort", key)], "", ""
    if key == view.sort:
        arrow = " \u2193" if view.descending else " \u2191"
        direction = f' aria-sort="{"descending" if view.descending else "ascending"}"'
        if not view.descending:
            fields.append(("order", "desc"))
    if view.wanted:
        fields.append(("filter", view.wanted))
    return f'<th class="{key}"{direction}><a rel="nofollow" href="?{escape(urlencode(fields))}">{label}{arrow}</a></th>'


def _row(entry: Entry) -> str:
    slash, kind = ("/", "dir") if entry.is_directory else ("", "file")
    # "./": or "javascript:x" would be a scheme rather than a name (RFC 3986 section 4.2).
    href = escape("./" + quote(entry.name, safe="") + slash)
    moment = _moment(entry.mtime)
    size = "" if entry.is_directory else _size(entry.size)
    return (
        f'<tr><td class="name {kind}"><a href="{href}"><bdi>{escape(_visible(entry.name))}</bdi>{slash}</a></td>'
        f'<td class="size">{size}</td><td class="date"><time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">'
        f"{moment:%Y-%m-%d}<span> {moment:%H:%M}</span></time></td></tr>\n"
    )


def _trail(path: str) -> str:
    """The path as links to each directory above."""
    names = [name for name in path.split("/") if name]
    links = ['<a href="/">/</a>']
    for depth, name in enumerate(names, 1):
        href = encode_path(names[:depth], directory=True)
        links.append(f'<a href="{escape(href)}"><bdi>{escape(_visible(name))}</bdi>/</a>')
    return " ".join(links)


def _visible(name: str) -> str:
    """Show what is not printable (controls, marks that reverse the text) as what it is."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _size(size: int) -> str:
    """Bytes in binary units (IEC 80000-13)."""
    if size < 1024:
        return f"{size} B"
    amount = size / 1024
    units = iter(("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    unit = next(units)
    while amount >= 1023.95:  # or "1024.0 KiB" would be what 1 MiB is
        amount, unit = amount / 1024, next(units)
    return f"{amount:.1f} {unit}"


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_EARLIEST, _LATEST = -62135596800, 253402300799  # the years 1 to 9999


def _moment(mtime: float) -> datetime.datetime:
    return _EPOCH + datetime.timedelta(seconds=min(max(int(mtime), _EARLIEST), _LATEST))
