"""A directory as a page and as JSON."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable
from html import escape
from typing import Any
from urllib.parse import quote

from ..files.paths import Entry, encode_path
from ..pages.markup import document

__all__ = ["PAGE_SIZE", "SORTS", "html_listing", "json_listing"]

_KEYS: dict[str, Callable[[Entry], Any]] = {
    "name": lambda entry: (entry.name.casefold(), entry.name),
    "size": lambda entry: (entry.size, entry.name),
    "date": lambda entry: (entry.mtime, entry.name),
}

SORTS = tuple(_KEYS)
"""What a listing can be sorted by: the values of "sort" in the query of its links."""

PAGE_SIZE = 1000
"""Entries on a page: what a browser shows at once on a phone."""

_COLUMNS = (("name", "Name"), ("size", "Size"), ("date", "Modified"))


def html_listing(
    path: str, entries: Iterable[Entry], sort: str = "name", descending: bool = False, page: int = 1
) -> bytes:
    """A page for the directory at PATH, decoded and ending in "/"; directories come first. Anything but a
    name of ``SORTS`` sorts by name. Of more than ``PAGE_SIZE`` entries it has those of PAGE, counted from 1, or of the
    nearest there is.

    Its columns link to "?sort=name", "?sort=size" and "?sort=date", with "&order=desc" the other way round.
    It is to be sent with ``markup.CONTENT_SECURITY_POLICY``.
    """
    sort = sort if sort in _KEYS else "name"
    heads = "".join(_head(key, label, sort, descending) for key, label in _COLUMNS)
    shown, page, pages = _page(_sorted(entries, sort, descending), page)
    rows = "".join(map(_row, shown))
    parent = '<tr><td class="name"><a href="../">../</a></td><td class="size"></td><td class="date"></td></tr>\n'
    above = parent if path.strip("/") else ""
    empty = "" if rows else "<p>This directory is empty.</p>\n"
    return document(
        f"Index of {_visible(path)}",
        f"<h1>{_trail(path)}</h1>\n<table>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{above}{rows}</tbody>\n</table>\n{empty}{_turning(sort, descending, page, pages)}",
    )


def json_listing(
    path: str, entries: Iterable[Entry], sort: str = "name", descending: bool = False, page: int = 1
) -> bytes:
    """The same as JSON: ``{"path", "page", "pages", "entries": [{"name", "type", "size", "modified"}]}`` with "type"
    "directory" or "file", "size" in bytes (of files) and "modified" in UTC (RFC 3339)."""
    sort = sort if sort in _KEYS else "name"
    shown, page, pages = _page(_sorted(entries, sort, descending), page)
    listed = [_described(entry) for entry in shown]
    whole = {"path": path, "page": page, "pages": pages, "entries": listed}
    return json.dumps(whole, ensure_ascii=False).encode() + b"\n"


def _described(entry: Entry) -> dict[str, object]:
    described: dict[str, object] = {"name": entry.name, "type": "directory" if entry.is_directory else "file"}
    if not entry.is_directory:
        described["size"] = entry.size
    described["modified"] = _moment(entry.mtime).strftime("%Y-%m-%dT%H:%M:%SZ")
    return described


def _sorted(entries: Iterable[Entry], sort: str, descending: bool) -> list[Entry]:
    ordered = sorted(entries, key=_KEYS[sort], reverse=descending)
    return sorted(ordered, key=lambda entry: not entry.is_directory)


def _page(entries: list[Entry], page: int) -> tuple[list[Entry], int, int]:
    """The entries of one page, which one it is, and how many there are."""
    pages = max(1, -(-len(entries) // PAGE_SIZE))
    page = min(max(page, 1), pages)
    return entries[(page - 1) * PAGE_SIZE : page * PAGE_SIZE], page, pages


def _turning(sort: str, descending: bool, page: int, pages: int) -> str:
    """Links to the pages before and after this one."""
    if pages == 1:
        return ""
    order = "&amp;order=desc" if descending else ""
    before = f'<a rel="prev" href="?sort={sort}{order}&amp;page={page - 1}">\u2190 Previous</a> ' if page > 1 else ""
    after = f' <a rel="next" href="?sort={sort}{order}&amp;page={page + 1}">Next \u2192</a>' if page < pages else ""
    return f'<p class="pages">{before}Page {page} of {pages}{after}</p>\n'


def _head(key: str, label: str, sort: str, descending: bool) -> str:
    if key != sort:
        return f'<th class="{key}"><a href="?sort={key}">{label}</a></th>'
    order, arrow = ("", " \u2193") if descending else ("&amp;order=desc", " \u2191")
    direction = "descending" if descending else "ascending"
    return f'<th class="{key}" aria-sort="{direction}"><a href="?sort={key}{order}">{label}{arrow}</a></th>'


def _row(entry: Entry) -> str:
    slash = "/" if entry.is_directory else ""
    # "./": or "javascript:x" would be a scheme rather than a name (RFC 3986 section 4.2).
    href = "./" + quote(entry.name, safe="") + slash
    moment = _moment(entry.mtime)
    size = "" if entry.is_directory else _size(entry.size)
    return (
        f'<tr><td class="name"><a href="{escape(href)}"><bdi>{escape(_visible(entry.name))}</bdi>{slash}</a></td>'
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
    return "Index of " + " ".join(links)


def _visible(name: str) -> str:
    """What is not printable (controls, marks that reverse the text) is shown as what it is."""
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
