"""Listings: order, links, and that no name gets out of its place."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
import urllib.parse
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from evio_http.files.paths import Entry
from evio_http.site.listing import MAX_FILTER, PAGE_SIZE, POLICY, SORTS, View, html_listing, json_listing
from tests.extent import examples
from tests.tables import each_row

ENTRIES = [
    Entry("b.txt", False, 2048, 1_700_000_000.5),
    Entry("A.txt", False, 5, 1_700_000_300),
    Entry("zoo", True, 0, 1_600_000_000),
    Entry("c.txt", False, 300, 1_700_000_100),
    Entry("Arch", True, 0, 1_650_000_000),
]


class Page(html.parser.HTMLParser):
    """A page as a browser reads it: elements with attributes, links, visible text."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(content.decode())
        self.close()
        self.links = [attributes["href"] or "" for tag, attributes in self.elements if tag == "a"]
        self.tags = {tag for tag, _ in self.elements}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def names(content: bytes) -> list[str]:
    links = [link for link in Page(content).links if link.startswith("./") and link != "./"]
    return [urllib.parse.unquote(link[2:]) for link in links]


@each_row(
    "sort, descending, order",
    [
        ("name", False, ["Arch/", "zoo/", "A.txt", "b.txt", "c.txt"]),
        ("name", True, ["zoo/", "Arch/", "c.txt", "b.txt", "A.txt"]),
        ("size", False, ["Arch/", "zoo/", "A.txt", "c.txt", "b.txt"]),
        ("size", True, ["zoo/", "Arch/", "b.txt", "c.txt", "A.txt"]),
        ("date", False, ["zoo/", "Arch/", "b.txt", "c.txt", "A.txt"]),
        ("date", True, ["Arch/", "zoo/", "A.txt", "c.txt", "b.txt"]),
    ],
)
def test_order(sort: str, descending: bool, order: list[str]) -> None:
    view = View(sort, descending)
    assert names(html_listing("/d/", ENTRIES, view)) == order
    listed = json.loads(json_listing("/d/", iter(ENTRIES), view))["entries"]
    assert [entry["name"] for entry in listed] == [name.rstrip("/") for name in order]


def test_the_columns_link_to_the_other_orders() -> None:
    def columns(sort: str, descending: bool) -> list[str]:
        page = Page(html_listing("/", ENTRIES, View(sort, descending)))
        links = [attributes for tag, attributes in page.elements if tag == "a" and (attributes["href"] or "")[0] == "?"]
        assert {attributes["rel"] for attributes in links} == {"nofollow"}
        return [attributes["href"] or "" for attributes in links]

    assert columns("name", False) == ["?sort=name&order=desc", "?sort=size", "?sort=date"]
    assert columns("size", True) == ["?sort=name", "?sort=size", "?sort=date"]
    assert columns("date", False) == ["?sort=name", "?sort=size", "?sort=date&order=desc"]
    assert {link.partition("=")[2] for link in columns("size", True)} == set(SORTS)
    assert b'aria-sort="descending"' in html_listing("/", ENTRIES, View("size", True))
    assert b"?sort" not in html_listing("/", ENTRIES, View(sortable=False))


def test_sizes_and_dates() -> None:
    sizes = {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1048575: "1.0 MiB", 1 << 30: "1.0 GiB"}
    sizes |= {1 << 62: "4.0 EiB"}
    for size, shown in sizes.items():
        assert shown in Page(html_listing("/", [Entry("f", False, size, 0)])).text
    page = html_listing("/", ENTRIES)
    assert b'<time datetime="2023-11-14T22:13:20Z">2023-11-14<span> 22:13</span></time>' in page
    for mtime in (-1e18, -1.0, 1e18):
        assert b"<time" in html_listing("/", [Entry("f", False, 0, mtime)])


def test_the_way_up() -> None:
    assert "../" not in Page(html_listing("/", ENTRIES)).links
    links = Page(html_listing("/a b/<c>/", ENTRIES)).links
    assert "../" in links
    assert links[:3] == ["/", "/a%20b/", "/a%20b/%3Cc%3E/"]


def test_an_empty_directory_says_so() -> None:
    assert b"empty" in html_listing("/", [])
    assert json.loads(json_listing("/x/", [])) == {"path": "/x/", "page": 1, "pages": 1, "entries": []}


def test_json() -> None:
    listed = json.loads(json_listing("/d/", ENTRIES))
    assert listed["path"] == "/d/"
    assert listed["entries"][0] == {"name": "Arch", "type": "directory", "modified": "2022-04-15T05:20:00Z"}
    assert listed["entries"][3] == {
        "name": "b.txt", "type": "file", "size": 2048, "modified": "2023-11-14T22:13:20Z",
    }  # fmt: skip


def test_many_entries_are_shown_page_by_page() -> None:
    entries = [Entry(f"{number:05}", False, number, 0) for number in range(2 * PAGE_SIZE + 1)]
    for page, first, last, links in (
        (1, 0, PAGE_SIZE - 1, ["?sort=size&page=2"]),
        (2, PAGE_SIZE, 2 * PAGE_SIZE - 1, ["?sort=size&page=1", "?sort=size&page=3"]),
        (3, 2 * PAGE_SIZE, 2 * PAGE_SIZE, ["?sort=size&page=2"]),
        (99, 2 * PAGE_SIZE, 2 * PAGE_SIZE, ["?sort=size&page=2"]),
        (0, 0, PAGE_SIZE - 1, ["?sort=size&page=2"]),
    ):
        content = html_listing("/d/", entries, View("size", False, page))
        shown = names(content)
        assert (shown[0], shown[-1], len(shown)) == (f"{first:05}", f"{last:05}", last - first + 1)
        assert [link for link in Page(content).links if "page=" in link] == links
        listed = json.loads(json_listing("/d/", entries, View("size", False, page)))
        assert [entry["name"] for entry in listed["entries"]] == shown
        assert (listed["page"], listed["pages"]) == (min(max(page, 1), 3), 3)
    assert "?sort=name&order=desc&page=2" in Page(html_listing("/", entries, View("name", True))).links
    # Who mirrors the usual order gets each page under one name.
    assert Page(html_listing("/", entries, View(sortable=False))).links[-1] == "?page=2"
    assert Page(html_listing("/", entries, View(page=2, sortable=False))).links[-2:] == ["./", "?page=3"]


def robots(content: bytes) -> str | None:
    return next(attributes["content"] for _, attributes in Page(content).elements if attributes.get("name") == "robots")


def test_robots_stay_with_the_usual_order() -> None:
    assert robots(html_listing("/", ENTRIES)) == "noindex"
    assert robots(html_listing("/", ENTRIES, View(page=2, sortable=False))) == "noindex"
    for view in (View("size"), View(descending=True), View(wanted="a")):
        assert robots(html_listing("/", ENTRIES, view)) == "noindex, nofollow"


def test_a_filter_shows_the_names_that_have_a_text() -> None:
    assert names(html_listing("/", ENTRIES, View(wanted="TXT"))) == ["A.txt", "b.txt", "c.txt"]
    page = Page(html_listing("/", ENTRIES, View("size", True, wanted="z&o")))
    assert "No name has \u201cz&o\u201d. " in "".join(page.text)
    fields = {str(each["name"]): each.get("value") for tag, each in page.elements if tag == "input"}
    assert fields == {"sort": "size", "order": "desc", "filter": "z&o"}  # of the form, to be kept
    assert "?sort=name&filter=z%26o" in page.links
    assert "./" in page.links
    entries = [Entry(f"{number:05}", False, number, 0) for number in range(2 * PAGE_SIZE + 1)]
    many = Page(html_listing("/", entries, View(wanted="0")))
    assert "?filter=0&page=2" in many.links
    assert [entry["name"] for entry in json.loads(json_listing("/", ENTRIES, View(wanted="a")))["entries"]] == [
        "Arch", "A.txt",
    ]  # fmt: skip


@each_row(
    ("query", "accept", "view"),
    [
        (b"", None, View()),
        (b"sort=size&order=desc&page=3", "text/html", View("size", True, 3)),
        (b"sort=nonsense&order=up&page=-1", "text/html", View()),
        (b"page=9999999999", "text/html", View()),
        (b"filter=a%20b+c", "text/html", View(wanted="a b c")),
        (b"filter=%C3%A9%ff", "text/html", View(wanted="\u00e9\ufffd")),
        (b"filter=" + b"x" * 1000, "text/html", View(wanted="x" * MAX_FILTER)),
        (b"format=json", "text/html", View(as_json=True)),
        (b"", "application/json", View(as_json=True, sortable=False)),
        (b"", "*/*", View(sortable=False)),
        (b"=&&%&;sort=size", "text/html", View()),
        ("filter=\u00e9".encode(), "text/html", View(wanted="\u00c3\u00a9")),
    ],
)
def test_what_is_asked_for(query: bytes, accept: str | None, view: View) -> None:
    assert View.parse(query, accept) == view


def test_directories_have_a_mark_and_times_say_utc() -> None:
    content = html_listing("/", ENTRIES).decode()
    assert re.findall('class="name (dir|file)"', content) == ["dir", "dir", "file", "file", "file"]
    assert "Modified (UTC)" in content


NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='x",
    "javascript:alert(1)",
    "http:",
    "//host",
    "?sort=x#y",
    "100%25",
    "a&amp;b",
    "</style></table>",
    "new\nline\x1b[31m",
    "\u202egnp.exe",
    "caf\u00e9 \U0001f600",
    ".hidden",
    "]]>-->",
]


@each_row("name", [name for name in NASTY if "/" not in name] + ["<script>alert(1)<script>"])
def test_names_stay_names(name: str) -> None:
    check_names(f"/{name}/", name)


@settings(max_examples=examples(60), deadline=None)
@given(st.text(min_size=1, max_size=12).filter(lambda name: not set(name) & set("/\0") and name not in (".", "..")))
def test_any_name_stays_a_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    check_names(f"/{name}/", name)


PLAIN_TAGS = Page(html_listing("/a/", [Entry("a", False, 1, 0)])).tags


def check_names(path: str, name: str) -> None:
    content = html_listing(path, [Entry(name, False, 1, 0)])
    page = Page(content)
    assert page.tags == PLAIN_TAGS
    assert not any(key.startswith("on") or key == "style" for _, attributes in page.elements for key in attributes)
    link = page.links[-1]
    assert urllib.parse.urljoin("http://here/d/", link) == "http://here/d/" + urllib.parse.quote(name, safe="")
    visible = "".join(page.text)
    assert "\u202e" not in visible
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", visible)
    assert Page(html_listing(path, [], View(wanted=name))).tags >= {"input"}
    assert Page(html_listing(path, [], View(wanted=name))).tags <= {*PLAIN_TAGS, "p"}
    listed: dict[str, Any] = json.loads(json_listing(path, [Entry(name, False, 1, 0)]))
    assert listed["entries"][0]["name"] == name


def test_the_policy_allows_the_style_and_nothing_else() -> None:
    content = html_listing("/", ENTRIES).decode()
    styles = re.findall("<style>(.*?)</style>", content, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    assert len(styles) == 1
    assert f"'sha256-{digest}'" in POLICY
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert "<script" not in content
    assert " style=" not in content
    assert "prefers-color-scheme: dark" in content
    assert 'name="viewport"' in content
