"""Redirects and rewrites, as Netlify reads them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_http.files.paths import decode_target_path
from evio_http.site.redirects import Move, Redirects
from evio_http.site.rule_file import LineError
from tests.extent import examples
from tests.tables import each_row


def moved(redirects: Redirects, path: str, query: bytes = b"") -> tuple[str, int] | None:
    move = redirects.find(decode_target_path(path.encode()), query).move
    return None if move is None else (move.to, move.status)


REDIRECTS = """
# moved
/old            /new
/temporary      /new?from=old#top   302
/see            /new                303
/keep           /new                307
/keep-for-good  https://example.org 308
/posts/:year/:slug  /blog/:slug/from/:year
/news/*         https://news.example.org/:splat   302
/news/first     /too-late
/swap/:name/*   /:splat/:name
/caf%C3%A9      /coffee/%20x
/:lang/docs     /docs?lang=:lang
/utf8           /größe
/deep           /a/../b
"""


@each_row(
    "path, found",
    [
        ("/old", ("/new", 301)),
        ("/old/", ("/new", 301)),
        ("/OLD", None),
        ("/old/x", None),
        ("/", None),
        ("/temporary", ("/new?from=old#top", 302)),
        ("/see", ("/new", 303)),
        ("/keep", ("/new", 307)),
        ("/keep-for-good", ("https://example.org/", 308)),
        ("/posts/2024/hello", ("/blog/hello/from/2024", 301)),
        ("/posts/2024", None),
        ("/posts/2024/a%20b%0d%0aSet-Cookie:x", ("/blog/a%20b%0D%0ASet-Cookie%3Ax/from/2024", 301)),
        ("/posts/2024/:year", ("/blog/%3Ayear/from/2024", 301)),
        ("/news", ("https://news.example.org/", 302)),
        ("/news/a/b", ("https://news.example.org/a/b", 302)),
        ("/news/first", ("https://news.example.org/first", 302)),
        ("/news/@evil.example", ("https://news.example.org/%40evil.example", 302)),
        ("/swap/a/b", ("/b/a", 301)),
        ("/swap/evil.example", ("/evil.example", 301)),
        ("/swap/evil.example/", ("/evil.example", 301)),
        ("/café", ("/coffee/%20x", 301)),
        ("/de/docs", ("/docs?lang=de", 301)),
        ("/a&b=c%23/docs", ("/docs?lang=a%26b%3Dc%23", 301)),
        ("/utf8", ("/gr%C3%B6%C3%9Fe", 301)),
        ("/deep", ("/a/../b", 301)),
    ],
)
def test_redirects(path: str, found: tuple[str, int] | None) -> None:
    redirects = Redirects.parse(REDIRECTS, "_redirects")
    assert moved(redirects, path) == found


def test_the_first_of_a_file_counts() -> None:
    redirects = Redirects.parse("/a /one\n/a /two\n/b/c /exact\n/b/* /pattern\n/d/* /pattern\n/d/e /exact\n", "f")
    assert moved(redirects, "/a") == ("/one", 301)
    assert moved(redirects, "/b/c") == ("/exact", 301)
    assert moved(redirects, "/b/x") == ("/pattern", 301)
    assert moved(redirects, "/d/e") == ("/pattern", 301)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.text(min_size=1, max_size=5).filter(lambda name: not set(name) & set("/\0\\")), max_size=4))
def test_no_path_leads_to_another_host(names: list[str]) -> None:
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        return
    redirects = Redirects.parse("/x/:a/* /:splat/:a\n/y/* https://example.org/:splat\n/z/* /:splat\n", "f")
    for first in "xyz":
        move = redirects.find([first, *names]).move
        if move is None:
            continue
        location = move.to
        assert location.isascii()
        assert location.isprintable()
        assert " " not in location
        assert location.startswith("https://example.org/") or (
            location.startswith("/") and not location.startswith(("//", "/\\"))
        )


@each_row(
    "line, message",
    [
        ("/a", "a line is FROM TO [STATUS]"),
        ("/a /b 301 Country=de", "a line is FROM TO [STATUS]: conditions are not known, unlike Country=de"),
        (
            "/a /b 418",
            "the status is one of 200, 301, 302, 303, 307, 308, 404, with ! also if there is a file, not 418",
        ),
        ("/a /b 301?", "the status is one of"),
        ("/a /b !", "the status is one of"),
        ("/a /a 301!", "/a leads to itself"),
        ("/* /new/:splat 301!", "/* leads to itself"),
        ("/a id=:id /b/:other", ":other is not in the path"),
        (
            "/api/* https://api.example.org/:splat 200",
            "https://api.example.org/:splat is elsewhere, and this is no proxy",
        ),
        ("https://old.example/* /:splat", "https://old.example/* is of one host: --host"),
        ("/a id=5", "a line is FROM TO [STATUS]"),
        ("a /b", "a cannot be the path of a request"),
        ("/a/../.. /b", "/a/../.. cannot be the path"),
        ("/a%2fb /b", "/a%2fb cannot be the path"),
        ("/a?x=1 /b", "/a?x=1 cannot be the path"),
        ("/*/a /b", "* can only be the last name"),
        ("/a* /b", "* can only be the last name"),
        ("/a b", "b is neither a path nor"),
        ("/a //evil.example/", "//evil.example/ would lead to another host: write https://evil.example/"),
        ("/a javascript:alert(1)", "javascript:alert(1) is neither a path nor"),
        ("/a ftp://x/", "ftp://x/ is neither a path nor"),
        ("/a https://", "https:// is neither a path nor"),
        ("/a https:///x", "https:///x is neither a path nor"),
        ("/a https://user@x/", "user@x is not a host"),
        ("/:h https://:h.example.org/", "https://:h.example.org/ is neither"),
        ("/:h https://www:h.example.org/", "www:h.example.org is not a host"),
        ("/:h https://x:h/", "x:h is not a host"),
        ("/a /:b", ":b is not in the path"),
        ("/a /:splat", ":splat is not in the path"),
        ("/:splat /b/c", "the name :splat is what * stands for"),
        ("/a /a", "/a leads to itself"),
        ("/a /b/../a/?x", "/a leads to itself"),
    ],
)
def test_bad_redirects(line: str, message: str) -> None:
    with pytest.raises(LineError) as caught:
        Redirects.parse("/fine /here\n\n" + line, "_redirects")
    assert str(caught.value).startswith("_redirects:3: " + message)


def test_thousands_of_redirects_are_looked_up() -> None:
    redirects = Redirects.parse("".join(f"/old/{number} /new/{number}\n" for number in range(5000)), "f")
    start = time.process_time()
    for number in range(5000):
        assert moved(redirects, f"/old/{number}") == (f"/new/{number}", 301)
    assert time.process_time() - start < 2  # one after the other would be 12 million comparisons


RULES = """
/home            /              301!
/app/*           /index.html    200   # a comment
/gone/*          /gone.html     404
/en/*            /en/404.html   404!
/a/*             /a/b/:splat    302
/articles id=:id tag=:tag  /posts/:tag/:id
/articles id=:id           /posts/:id         302
/articles lang=de          /artikel
/find q=:q       https://find.example/?q=:q   307
"""


@each_row(
    ("path", "query", "move", "by_query"),
    [
        ("/home", b"", Move("/", 301, True), False),
        ("/home", b"x=1&y", Move("/?x=1&y", 301, True), False),
        ("/app/some/route", b"x=1", Move("/index.html", 200, False), False),
        ("/app", b"", Move("/index.html", 200, False), False),
        ("/gone/x", b"", Move("/gone.html", 404, False), False),
        ("/en/x", b"", Move("/en/404.html", 404, True), False),
        ("/a/x", b"", None, False),  # /a/b/x is below /a/, too: again and again
        ("/articles", b"tag=t&id=5&x=%20", Move("/posts/t/5?x=+", 301, False), True),
        ("/articles", b"id=5", Move("/posts/5", 302, False), True),
        ("/articles", b"id=a%2Fb", Move("/posts/a%2Fb", 302, False), True),
        ("/articles", b"lang=de", Move("/artikel", 301, False), True),
        ("/articles", b"lang=en", None, True),
        ("/articles", b"", None, True),
        ("/find", b"q=a%26b", Move("https://find.example/?q=a%26b", 307, False), True),
        ("/other", b"id=5", None, False),
    ],
)
def test_rules_as_netlify_reads_them(path: str, query: bytes, move: Move | None, by_query: bool) -> None:
    assert tuple(Redirects.parse(RULES, "_redirects").find(decode_target_path(path.encode()), query)) == (
        move,
        by_query,
    )
