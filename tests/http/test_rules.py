"""Patterns, response fields and redirects."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_http.site.rule_file import LineError, significant_lines
from evio_http.site.rules import CacheRules, HeaderRules, matcher, parse_field
from tests.extent import examples
from tests.tables import each_row


@each_row(
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


@settings(max_examples=examples(300), deadline=None)
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


@each_row(
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
        ("/*\n  Basic-Auth: me:secret\n", "f:2: Basic-Auth would show the passwords to everybody: --auth"),
        ("https://a.example/*\n  X-A: 1\n", "f:1: https://a.example/* is of one host: --host"),
        ("/a/./b\n  X-A: 1\n", "f:1: /a/./b matches nothing"),
        ("/a/..\n  X-A: 1\n", "f:1: /a/.. matches nothing"),
    ],
)
def test_bad_header_rules(text: str, message: str) -> None:
    with pytest.raises(LineError) as caught:
        HeaderRules.parse(text, "f")
    assert str(caught.value).startswith(message)


def test_headers_as_netlify_reads_them() -> None:
    rules = HeaderRules.parse(
        "/docs/\n  X-A: 1\n/templates/:name/x\n  X-B: 2\n/*.js\n  Link: <a>\n  X-C: 3\n  link: <b>\n/\n  X-Home: yes\n",
        "f",
    )
    assert rules.find("/docs") == [("X-A", "1")]
    assert rules.find("/templates/any name/x") == [("X-B", "2")]
    assert rules.find("/templates/a/b/x") == rules.find("/templates/x") == []
    assert rules.find("/deep/a.js") == [("Link", "<a>, <b>"), ("X-C", "3")]
    assert rules.find("/") == [("X-Home", "yes")]


@settings(max_examples=examples(100), deadline=None)
@given(st.text(max_size=10), st.text(max_size=10))
def test_no_field_makes_a_second_one(name: str, value: str) -> None:
    try:
        parsed = parse_field(f"{name}:{value}")
    except ValueError:
        return
    assert not set("".join(parsed)) & set("\r\n\0")


def test_significant_lines() -> None:
    assert list(significant_lines("\ufeff# a\n\n b \r\n  # c\nd#e")) == [(3, " b"), (5, "d#e")]
