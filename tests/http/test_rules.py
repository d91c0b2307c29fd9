"""Patterns, response fields and redirects."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_http.files.paths import decode_target_path
from evio_http.site.rule_file import LineError, significant_lines
from evio_http.site.rules import CacheRules, HeaderRules, Redirects, matcher, parse_field


@pytest.mark.parametrize(
    "pattern, matching, others",
    [
        ("*.css", ["/a.css", "/d/a.css", "/.css"], ["/a.CSS", "/a.css/b", "/a.cssx", "/css"]),
        ("*", ["/", "/a", "/a/b"], []),
        ("/*", ["/", "/a", "/a/b"], []),
        ("index.html", ["/index.html", "/a/index.html"], ["/xindex.html", "/index.htmlx", "/index.html/"]),
        ("/index.html", ["/index.html"], ["/a/index.html"]),
        ("/assets/*", ["/assets/", "/assets/a", "/assets/a/b"], ["/assets", "/x/assets/a", "/assetsx/a"]),
        ("/a/*.js", ["/a/x.js", "/a/b/x.js", "/a/.js"], ["/a/x.jsx", "/b/x.js"]),
        ("/a?c", ["/abc", "/axc"], ["/a/c", "/ac", "/abbc"]),
        ("/**/x", ["/a/x", "/a/b/x", "//x"], ["/x"]),
        ("[slug].js", ["/[slug].js"], ["/s.js", "/l.js"]),
        ("a.b", ["/a.b"], ["/axb"]),
        ("*-*.js", ["/a-b.js", "/a-b-c.js", "/-.js"], ["/a.js"]),
        ("/a*a", ["/aa", "/aba", "/aaa"], ["/a"]),
        ("*ab*ab", ["/abab", "/aabxxab", "/ababab"], ["/ab", "/aba"]),
        ("a\\?b", ["/a\\xb"], ["/axb"]),
        ("café*", ["/café", "/caféx"], ["/cafe"]),
        ("", ["/"], ["/a"]),
    ],
)
def test_matcher(pattern: str, matching: list[str], others: list[str]) -> None:
    matches = matcher(pattern)
    assert [path for path in matching if not matches(path)] == []
    assert [path for path in others if matches(path)] == []


def slow_match(pattern: str, text: str) -> bool:
    """The meaning of a pattern, by definition."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(slow_match(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return (
        bool(text)
        and (text[0] == pattern[0] or (pattern[0] == "?" and text[0] != "/"))
        and slow_match(pattern[1:], text[1:])
    )


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab/?*", max_size=8), st.text(alphabet="ab/\n", max_size=10))
def test_a_pattern_means_what_it_should(pattern: str, path: str) -> None:
    assert matcher("/" + pattern)("/" + path) == slow_match("/" + pattern, "/" + path)


def test_no_pattern_takes_long() -> None:
    start = time.process_time()
    assert not matcher("/" + "*a" * 30 + "b")("/" + "a" * 20_000)
    assert not matcher("*" + "?*" * 20 + "-")("/" + "x" * 20_000)
    assert time.process_time() - start < 5  # backtracking would take years


@pytest.mark.parametrize("pattern", ["a/b", "*/b", "a/"])
def test_a_pattern_in_between_is_an_error(pattern: str) -> None:
    with pytest.raises(ValueError, match="begins with"):
        matcher(pattern)


def test_cache_rules() -> None:
    rules = CacheRules.parse(
        "# comment\n\n/assets/*  public, max-age=31536000, immutable\n*.html no-cache\n  *  max-age=60\n", "rules"
    )
    assert rules.find("/assets/a.html") == "public, max-age=31536000, immutable"
    assert rules.find("/a.html") == "no-cache"
    assert rules.find("/a.txt") == "max-age=60"
    assert CacheRules().find("/a") is None


@pytest.mark.parametrize(
    "text, message",
    [
        ("*.css", "rules:1: the value of Cache-Control is empty"),
        ("\n#x\na/b no-store", 'rules:3: a pattern begins with "/"'),
        ("*.css max-age=1\r2", "rules:1: the value of Cache-Control is empty or has"),
        ("*.css max-age=\x7f", "rules:1: the value of Cache-Control is empty or has"),
    ],
)
def test_bad_cache_rules(text: str, message: str) -> None:
    with pytest.raises(LineError) as caught:
        CacheRules.parse(text, "rules")
    assert str(caught.value).startswith(message)


def test_header_rules() -> None:
    rules = HeaderRules.parse(
        "\ufeff# all\n/*\n  X-Frame-Options: DENY\n\tX-A: 1\r\n/a/*\n  x-a: 2\n  Link: <x>; rel=preload, <y>\n", "f"
    )
    assert rules.find("/b") == [("X-Frame-Options", "DENY"), ("X-A", "1")]
    assert rules.find("/a/b") == [("X-Frame-Options", "DENY"), ("x-a", "2"), ("Link", "<x>; rel=preload, <y>")]


@pytest.mark.parametrize(
    "text, message",
    [
        ("  X-A: 1\n", "f:1: fields are indented below"),
        ("/*\n  X-A\n", "f:2: a field is Name: value"),
        ("/*\n  X A: 1\n", "f:2: a field is Name: value"),
        ("/*\n  : 1\n", "f:2: a field is Name: value"),
        ("/*\n  X-A:\n", "f:2: the value of X-A is empty"),
        ("/*\n\n  X-A: a\x00b\n", "f:3: the value of X-A is empty or has"),
        ("/*\n  X-A: \u20ac\n", "f:2: the value of X-A is empty or has"),
        ("/*\n  Content-Length: 5\n", "f:2: Content-Length is the server's own"),
        ("/*\n  TRANSFER-ENCODING: chunked\n", "f:2: TRANSFER-ENCODING is the server's own"),
        ("a/*\n  X-A: 1\n", "f:1: a pattern begins"),
        ("/a\n  Content-Type: text/plain\n", "f:2: files have a Content-Type already: --media-type"),
        ("/a/\n  X-A: 1\n", "f:1: /a/ matches nothing: paths are compared without"),
        ("/a/./b\n  X-A: 1\n", "f:1: /a/./b matches nothing"),
        ("/a/..\n  X-A: 1\n", "f:1: /a/.. matches nothing"),
    ],
)
def test_bad_header_rules(text: str, message: str) -> None:
    with pytest.raises(LineError) as caught:
        HeaderRules.parse(text, "f")
    assert str(caught.value).startswith(message)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=10), st.text(max_size=10))
def test_no_field_makes_a_second_one(name: str, value: str) -> None:
    try:
        parsed = parse_field(f"{name}:{value}")
    except ValueError:
        return
    assert not set("".join(parsed)) & set("\r\n\0")


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


@pytest.mark.parametrize(
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
    assert redirects.find(decode_target_path(path.encode())) == found


def test_the_first_of_a_file_counts() -> None:
    redirects = Redirects.parse("/a /one\n/a /two\n/b/c /exact\n/b/* /pattern\n/d/* /pattern\n/d/e /exact\n", "f")
    assert redirects.find(["a"]) == ("/one", 301)
    assert redirects.find(["b", "c"]) == ("/exact", 301)
    assert redirects.find(["b", "x"]) == ("/pattern", 301)
    assert redirects.find(["d", "e"]) == ("/pattern", 301)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=5).filter(lambda name: not set(name) & set("/\0\\")), max_size=4))
def test_no_path_leads_to_another_host(names: list[str]) -> None:
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        return
    redirects = Redirects.parse("/x/:a/* /:splat/:a\n/y/* https://example.org/:splat\n/z/* /:splat\n", "f")
    for first in "xyz":
        found = redirects.find([first, *names])
        if found is None:
            continue
        location = found[0]
        assert location.isascii()
        assert location.isprintable()
        assert " " not in location
        assert location.startswith("https://example.org/") or (
            location.startswith("/") and not location.startswith(("//", "/\\"))
        )


@pytest.mark.parametrize(
    "line, message",
    [
        ("/a", "a line is FROM TO [STATUS]"),
        ("/a /b 301 x", "a line is FROM TO [STATUS]"),
        ("/a /b 200", "the status is one of 301, 302, 303, 307, 308, not 200"),
        ("/a /b 301!", "the status is one of"),
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
        ("/* /new/:splat", "/* leads to itself"),
        ("/:x /home", "/:x leads to itself"),
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
        assert redirects.find(["old", str(number)]) == (f"/new/{number}", 301)
    assert time.process_time() - start < 2  # one after the other would be 12 million comparisons


def test_significant_lines() -> None:
    assert list(significant_lines("\ufeff# a\n\n b \r\n  # c\nd#e")) == [(3, " b"), (5, "d#e")]
