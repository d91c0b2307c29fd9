"""The PROXY protocol's parser, versions 1 and 2."""

from __future__ import annotations

import itertools
import socket
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_core import ProxyProtocolError, proxy_header
from evio_core.addresses.proxy_header import SIGNATURE, ProxyHeader, ProxyParser
from tests.extent import examples
from tests.tables import each_row

V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"


def v2(command: int = 0x21, family: int = 0x11, body: bytes = b"", size: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if size is None else size) + body


IPV4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + struct.pack("!HH", 56324, 443)
IPV6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1") + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
IPV6 += struct.pack("!HH", 1, 2)
UNIX = b"/run/client".ljust(108, b"\0") + b"\0abstract".ljust(108, b"\0")
NOOP = b"\x04\0\x03abc"

HEADERS: list[tuple[bytes, Any, Any]] = [
    (V1, ("192.0.2.1", 56324), ("198.51.100.2", 443)),
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", ("2001:db8::1", 1, 0, 0), ("2001:db8::2", 65535, 0, 0)),
    (b"PROXY UNKNOWN\r\n", None, None),
    (b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n", None, None),
    (v2(body=IPV4), ("192.0.2.1", 56324), ("198.51.100.2", 443)),
    (v2(body=IPV4 + NOOP), ("192.0.2.1", 56324), ("198.51.100.2", 443)),
    (v2(family=0x12, body=IPV4), ("192.0.2.1", 56324), ("198.51.100.2", 443)),
    (v2(family=0x21, body=IPV6), ("2001:db8::1", 1, 0, 0), ("2001:db8::2", 2, 0, 0)),
    (v2(family=0x31, body=UNIX), "/run/client", b"\0abstract"),
    (v2(command=0x20, family=0x11, body=IPV4), None, None),  # LOCAL: the proxy's own health check
    (v2(command=0x20, family=0x00, body=b"junk"), None, None),
    (v2(family=0x00, body=NOOP), None, None),  # UNSPEC
]

MALFORMED = [
    b"GET / HTTP/1.1\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n",
    b"PROXY  TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.2 56324 443\r\n",
    b"PROXY TCP4 ::1 ::1 1 1\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.2 1 1\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 01 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n",
    b"PROXY " + b"x" * 200,
    b"proxy tcp4 1.2.3.4 1.2.3.4 1 1\r\n",
    v2(command=0x11, body=IPV4),
    v2(command=0x22, body=IPV4),
    v2(family=0x41, body=IPV4),
    v2(family=0x13, body=IPV4),
    v2(body=IPV4[:-1]),
    v2(family=0x21, body=IPV4),
    v2(body=IPV4 + b"\x04\0"),
    v2(body=IPV4 + b"\x04\0\x09abc"),
    v2(body=IPV4 + b"\x03\0\x04\0\0\0\0"),  # a wrong checksum
    v2(size=0xFFFF),
]


@each_row("header, remote, local", HEADERS)
def test_well_formed_headers(header: bytes, remote: Any, local: Any) -> None:
    assert ProxyParser().feed(header + b"rest") == ((remote, local), b"rest")


@each_row("header", MALFORMED)
def test_malformed_headers(header: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        assert ProxyParser().feed(header) is not None


def test_a_right_checksum_is_accepted() -> None:
    from evio_core.addresses.proxy_header import _crc32c

    assert _crc32c(b"123456789") == 0xE3069283  # the check value of RFC 9260's polynomial
    zeroed = v2(body=IPV4 + b"\x03\0\x04" + bytes(4))
    header = zeroed[:-4] + _crc32c(zeroed).to_bytes(4, "big")
    assert ProxyParser().feed(header) == ((("192.0.2.1", 56324), ("198.51.100.2", 443)), b"")


def outcome(pieces: list[bytes]) -> Any:
    parser = ProxyParser()
    rest = list(pieces)
    while rest:
        try:
            found = parser.feed(rest.pop(0))
        except ProxyProtocolError:
            return "refused"
        if found is not None:
            return found[0], found[1] + b"".join(rest)
    return "incomplete"


@given(
    st.sampled_from([header for header, _, _ in HEADERS] + MALFORMED),
    st.binary(max_size=20),
    st.lists(st.integers(0, 260), max_size=6),
)
@settings(max_examples=examples(200), deadline=None)
def test_any_split_gives_the_same(header: bytes, payload: bytes, cuts: list[int]) -> None:
    data = header + payload
    at = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[begin:end] for begin, end in itertools.pairwise(at)]
    assert outcome(pieces) == outcome([data])


@given(st.binary(max_size=300))
@settings(max_examples=examples(200), deadline=None)
def test_junk_is_refused_or_incomplete_but_never_accepted(data: bytes) -> None:
    if not data.startswith((b"PROXY ", SIGNATURE)):
        assert outcome([data]) in ("refused", "incomplete")


# -- making headers

V4, V4_LOCAL = ("192.0.2.1", 56324), ("198.51.100.2", 443)
V6, V6_LOCAL = ("2001:db8::1", 1, 0, 0), ("2001:db8::2", 65535, 0, 0)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("source", "destination"),
    [(V4, V4_LOCAL), (V6, V6_LOCAL), (None, None), ("/run/client", b"\0abstract"), ("", "/a")],
)
def test_a_header_says_what_it_was_made_of(version: int, source: Any, destination: Any) -> None:
    if version == 1 and isinstance(source, str):
        with pytest.raises(ValueError, match="has neither unix sockets nor TLVs"):
            proxy_header(source, destination, version=1)
        return
    header = proxy_header(source, destination, version=version)
    assert ProxyParser().feed(header + b"rest") == (ProxyHeader(source, destination), b"rest")


def test_headers_byte_for_byte() -> None:
    assert proxy_header(V4, V4_LOCAL, version=1) == V1
    assert proxy_header(None, None, version=1) == b"PROXY UNKNOWN\r\n"
    assert proxy_header(V4, V4_LOCAL) == v2(body=IPV4)
    assert proxy_header(None, None) == v2(command=0x20, family=0)
    assert proxy_header(V4, V4_LOCAL, tlvs=[(4, b"abc")]) == v2(body=IPV4 + NOOP)
    assert proxy_header("/run/client", b"\0abstract") == v2(family=0x31, body=UNIX)


def test_addresses_of_sockets_are_what_the_header_can_say() -> None:
    mapped = ("::ffff:192.0.2.1", 56324, 0, 0), ("::ffff:198.51.100.2", 443, 0, 0)
    assert proxy_header(*mapped, version=1) == V1
    assert proxy_header(("fe80::1%eth0", 1, 0, 2), ("fe80::2", 2, 0, 2), version=1) == (
        b"PROXY TCP6 fe80::1 fe80::2 1 2\r\n"
    )


@each_row(
    ("arguments", "options", "message"),
    [
        ((V4, V6_LOCAL), {}, "are not the ends of one connection"),
        ((V4, "/run/a"), {}, "are not the ends of one connection"),
        ((V4, None), {}, "names both ends of a connection or none"),
        ((V4, V4_LOCAL), {"version": 3}, "version must be 1 or 2"),
        ((V4, V4_LOCAL), {"version": 1, "tlvs": [(4, b"")]}, "neither unix sockets nor TLVs"),
        ((V4, V4_LOCAL), {"tlvs": [(4, bytes(65535))]}, "has at most 65535 bytes after its first 16"),
        (("x" * 109, "/a"), {}, "a unix address has at most 108 bytes"),
    ],
)
def test_what_no_header_says_is_refused(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        proxy_header(*arguments, **options)
