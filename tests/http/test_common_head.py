"""The common head means what h11 says it means, or it is none: for real heads, generated ones and broken ones."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from evio_http.message.common_head import CLOSE, CODING, KEY, ORIGIN, OTHER, SINCE, TAGS, Recogniser, request_of
from evio_http.message.limits import Limits
from evio_http.message.request import Request
from tests.extent import examples
from tests.tables import each_row

from .test_parser import described, parsed

LIMITS = Limits(request_line=400, head=900, fields=12)
recognise = Recogniser(LIMITS)

CHROME = (
    b"GET /assets/app.js?v=3 HTTP/1.1\r\nHost: www.example.org\r\nConnection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="126", "Not.A/Brand";v="8"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n'
    b"Accept: */*\r\nSec-Fetch-Site: same-origin\r\nReferer: https://www.example.org/a?b#c\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\nCookie: a=b; c=d\r\n"
    b'If-None-Match: "x"\r\n\r\n'
)
FIREFOX = (
    b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\nUser-Agent: Mozilla/5.0\r\nUpgrade-Insecure-Requests: 1\r\n"
    b"Priority: u=0, i\r\n\r\n"
)
COMMON = [
    CHROME,
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /x HTTP/1.1\r\nHost: 127.0.0.1:65535\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
    b"GET /%C3%BC?a?b HTTP/1.0\r\nhost: a.example.:1\r\nconnection: Keep-Alive\r\n\r\n",
    b"GET / HTTP/1.1\r\nHOST:\t a \t\r\nConnection:close\r\nTE-x: 1\r\nContents: 1\r\nUpgrade-Insecure-Requests: 1\r\n"
    b"\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nIf-Range: x\r\nAuthorization: Basic eDp5\r\nX: \xfc\r\nX:\r\n"
    b"\r\n",
]
"""Heads that are to be recognised."""

NOT_COMMON = [
    FIREFOX,  # h11 can read an address in brackets
    b"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: A\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a..b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % (b"a" * 256),
    b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\ncontent-type: text/plain\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: a\r\norigin: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: a\r\nIf-None-Match: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nIf-Something: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n X: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: y\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\nG",
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"X: y\r\n" * 12),
    b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 400),
]


@each_row("head", COMMON)
def test_what_is_recognised_is_what_h11_says(head: bytes) -> None:
    found = recognise(head)
    assert found is not None
    (request,) = parsed(head, [], LIMITS, None)
    assert described(request_of(found, "http")) == request


@each_row("head", NOT_COMMON)
def test_what_is_not_recognised(head: bytes) -> None:
    assert recognise(head) is None


def test_what_is_picked() -> None:
    found = recognise(CHROME)
    assert found is not None
    said = found.groups()
    assert said[KEY] == (b"GET", b"/assets/app.js", b"1", b"www.example.org")
    assert (said[CODING], said[TAGS]) == (b"gzip, deflate, br, zstd", b'"x"')
    assert (said[SINCE], said[ORIGIN], said[CLOSE], said[OTHER]) == (None, None, None, None)


def test_it_takes_time_in_proportion_to_be_refused() -> None:
    """Nothing is tried twice: with backtracking, this would not end."""
    fields = b"".join(b"Cookie: %b\r\n" % (b"a=b; " * 12) for _ in range(11))
    assert Recogniser(Limits())(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields * 8 + b"\x00\r\n\r\n") is None


# -- properties

NAMES = st.sampled_from(
    [
        *[
            "Host",
            "Connection",
            "Accept",
            "Accept-Encoding",
            "Accept-Language",
            "Cookie",
            "Referer",
            "User-Agent",
            "If-None-Match",
            "Range",
        ],
        *[
            "If-Modified-Since",
            "If-Range",
            "If-Match",
            "If-Unmodified-Since",
            "Origin",
            "Authorization",
            "Content-Length",
            "Content-Type",
        ],
        *[
            "Transfer-Encoding",
            "TE",
            "Trailer",
            "Expect",
            "Upgrade",
            "Keep-Alive",
            "Upgrade-Insecure-Requests",
            "X-Forwarded-For",
            "Hos",
            "Hosts",
        ],
    ]
)
CASES = st.sampled_from([str.title, str.lower, str.upper, str])
VALUES = st.sampled_from(
    [
        *(
            "a",
            "a.example:80",
            "A",
            "",
            "keep-alive",
            "close",
            "Keep-Alive, close",
            "upgrade",
            "gzip, br;q=0",
            '"x", W/"y"',
        ),
        *("*", "0", "5", "chunked", "100-continue", "h2c", "bytes=0-1", "a\tb", "\xfc", "x" * 60, "trailers"),
    ]
)
SPACES = st.sampled_from(["", " ", "\t", "  "])
LINES = st.builds(
    lambda name, case, before, value, behind: f"{case(name)}:{before}{value}{behind}\r\n",
    NAMES,
    CASES,
    SPACES,
    VALUES,
    SPACES,
)
REQUEST_LINES = st.builds(
    lambda method, target, version: f"{method} {target} HTTP/{version}\r\n",
    st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]),
    st.sampled_from(["/", "/a/b.css?c=d", "//a/b", "/%2e", "*", "http://b/x", "/?", "/?a?b", "/a#b", "/a|b"]),
    st.sampled_from(["1.1", "1.1", "1.0", "2.0"]),
)
HEADS = st.builds(
    lambda line, host, fields: (line + "".join([*host, *fields]) + "\r\n").encode("latin-1"),
    REQUEST_LINES,
    st.sampled_from([["Host: a\r\n"], ["Host: a\r\n"], ["host: b:65535\r\n"], []]),
    st.lists(LINES, max_size=8),
)
BROKEN = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\x7f", b"\xa0", b":", b"#", b"H", b"e"]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A head in which some bytes are left out, put in or replaced."""
    head = draw(st.one_of(HEADS, st.sampled_from(COMMON)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(head)))
        head = head[:at] + draw(st.one_of(BROKEN, st.just(b""))) + head[at + draw(st.integers(0, 2)) :]
    return head


@settings(max_examples=examples(400), deadline=None)
@given(st.one_of(HEADS, mutated()))
def test_whatever_is_recognised_is_what_h11_says(head: bytes) -> None:
    found = recognise(head)
    if found is None:
        return
    request = request_of(found, "http")
    assert [described(request)] == parsed(head, [], LIMITS, None)
    for field, joined in request_of(found, "http").headers:
        assert field in request.headers
        assert request.headers.get(field.title()) == joined
    # What is picked is what the request says.
    said, get = found.groups(), request.headers.get
    version = request.version[2:].encode()
    assert said[KEY] == (request.method.encode(), request.path, version, request.host.encode())
    for at, name in (
        (CODING, "accept-encoding"),
        (TAGS, "if-none-match"),
        (SINCE, "if-modified-since"),
        (ORIGIN, "origin"),
    ):
        value = get(name)
        assert (None if said[at] is None else said[at].strip(b" \t").decode("latin-1")) == value
    others = ("range", "if-range", "if-match", "if-unmodified-since")
    assert (said[OTHER] is not None) == any(name in request.headers for name in others)
    selective = (*others, "if-none-match", "if-modified-since")
    assert request.selective is any(name in request.headers for name in selective)
    assert request.version == "1.0" or (said[CLOSE] is None) == request.keep_alive
    assert not request.has_body


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.one_of(HEADS, mutated()), min_size=1, max_size=3), st.data())
def test_streams_and_splits_mean_the_same(heads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(heads)
    splits = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    assert parsed(stream, splits, LIMITS, recognise) == parsed(stream, [], LIMITS, None)


@each_row("head", COMMON)
def test_every_split_of_a_common_head_means_the_same(head: bytes) -> None:
    whole = parsed(head, [], LIMITS, None)
    assert isinstance(whole[0], tuple)
    for at in range(len(head)):
        assert parsed(head, [at], LIMITS, recognise) == whole


def test_fields_that_are_looked_up_are_those_that_are_parsed() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX-a:1\r\nx-A: \t2 \r\nReferer:\r\nVia: \xfc: Host: b\r\n\r\n"
    found = recognise(head)
    assert found is not None
    looked_up = request_of(found, "http").headers
    for name, value in (("Host", "a"), ("X-A", "1, 2"), ("referer", ""), ("via", "\xfc: Host: b")):
        assert name in looked_up
        assert looked_up.get(name) == value
    for name in ("a", "ost", "Host: a", "X-a:1\r\nx-A", "GET / HTTP/1.1\r\nHost", "", "\n", "\u20ac", "-a"):
        assert name not in looked_up
        assert looked_up.get(name, "none") == "none"
    assert looked_up.has_any(frozenset(("range", "referer")))
    assert not looked_up.has_any(frozenset(("range", "refere")))
    assert dict(looked_up) == {"host": "a", "x-a": "1, 2", "referer": "", "via": "\xfc: Host: b"}
    assert len(looked_up) == 4


def test_a_request_is_a_plain_value() -> None:
    found = recognise(CHROME)
    assert found is not None
    first, second = request_of(found, "https"), request_of(found, "https")
    assert isinstance(first, Request)
    assert described(first) == described(second)
    assert first.scheme == "https"
