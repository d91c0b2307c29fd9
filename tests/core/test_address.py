"""Address strings: what is understood, what is refused, and in which words."""

from __future__ import annotations

import os
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_core import Address, AddressError, url
from evio_core.addresses.proxy_header import EVERYBODY
from tests.extent import examples
from tests.tables import each_row

VALID: list[tuple[str, dict[str, Any]]] = [
    ("tcp://localhost:5000", {"scheme": "tcp", "base": "tcp", "host": "localhost", "port": 5000}),
    ("tcp://b\u00fccher.example.:1", {"host": "b\u00fccher.example."}),
    ("localhost:5000", {"scheme": "tcp", "host": "localhost", "port": 5000}),
    ("tcp://:0", {"host": "", "port": 0}),
    ("tcp4://127.0.0.1:65535", {"base": "tcp", "family": 4, "port": 65535}),
    ("tcp6://[::1]:1", {"base": "tcp", "family": 6, "host": "::1"}),
    ("tcp://[fe80::1%eth0]:1", {"host": "fe80::1%eth0"}),
    ("udp://127.0.0.1:1", {"base": "udp", "family": 0}),
    ("udp4://127.0.0.1:1", {"base": "udp", "family": 4}),
    ("udp6://[::1]:1", {"base": "udp", "family": 6}),
    ("unix:///run/a.sock", {"base": "unix", "path": "/run/a.sock"}),
    ("unix://relative.sock", {"path": "relative.sock"}),
    ("unix:///what%3Fis%25this", {"path": "/what?is%this"}),
    ("unix://@name", {"path": "\0name"}),
    ("unix:///a?mode=0660&backlog=5", {"path": "/a", "mode": 0o660, "backlog": 5}),
    ("fd://3", {"base": "fd", "fd": 3}),
    ("systemd://web", {"base": "systemd", "name": "web"}),
    ("systemd://", {"name": ""}),
    ("tcp-net://:1", {"scheme": "tcp-net", "base": "tcp", "fallback": True}),
    ("udp6-net://[::]:1", {"base": "udp", "family": 6, "fallback": True}),
    ("tcp://:1?reuseport=true&proxy_protocol=yes", {"reuseport": True, "proxy_protocol": EVERYBODY}),
    ("tcp://:1?proxy_protocol=10.1.2.3/8,::1", {"proxy_protocol": (ip_network("10.0.0.0/8"), ip_network("::1"))}),
    ("tcp://:1?proxy_protocol=false", {"proxy_protocol": ()}),
    ("tls://:1?cert=a.pem&key=b.pem", {"certs": (("a.pem", "b.pem"),)}),
    ("tls://:1?cert=a&key=b&cert=c&alpn=h2,http/1.1&client_ca=d", {"certs": (("a", "b"), ("c", None))}),
    ("tls://:1?cert=a&alpn=h2,http/1.1", {"alpn": ("h2", "http/1.1")}),
    ("tls://:1?cert=with%26and%3D", {"certs": (("with&and=", None),)}),
]

INVALID: list[tuple[str, str]] = [
    ("http://localhost:1", "unknown scheme 'http'; use tcp://"),
    ("rediss://localhost:1", "unknown scheme 'rediss'; use tls://"),
    ("tpc://localhost:1", "unknown scheme 'tpc'; did you mean tcp? allowed are tcp, tcp4"),
    ("", "expected host:port"),
    ("tcp://localhost", "expected host:port, as in localhost:5000"),
    ("tcp://localhost:", "expected host:port"),
    ("tcp://localhost:x", "expected host:port"),
    ("tcp://localhost:65536", "port 65536 is not between 0 and 65535"),
    ("tcp://::1:5000", "expected host:port"),
    ("tcp://[localhost]:5", "not an IPv6 address"),
    ("tcp://[]:5", "expected host:port"),
    ("tcp://a b:5", "expected host:port"),
    ("tcp://a/b:5", "expected host:port"),
    ("tcp://a..b:5", "not a host name"),
    (f"tcp://{'a' * 64}.example:5", "not a host name"),
    ("udp://xn--\u00fc.example:5", "not a host name"),
    ("tls://\udce4:5", "not a host name"),
    ("tcp://user@host:5", "expected host:port"),
    ("tcp://:1?reuseprot=true", "tcp has no option 'reuseprot'; did you mean reuseport? allowed are"),
    ("tcp://:1?", "tcp has no option ''"),
    ("tcp://:1?reuseport", "option reuseport must be true or false, not ''"),
    ("tcp://:1?reuseport=maybe", "option reuseport must be true or false, not 'maybe'"),
    ("tcp://:1?backlog=0", "option backlog must be a number from 1"),
    ("tcp://:1?backlog=1&backlog=2", "option backlog is given twice"),
    ("tcp://:1?mode=0600", "tcp has no option 'mode'"),
    ("unix:///a?reuseport=true", "unix has no option 'reuseport'"),
    ("unix:///a?mode=9", "option mode must be octal permissions"),
    ("unix:///a?mode=1777", "option mode must be octal permissions"),
    ("unix://", "expected a path or @name"),
    ("unix://@", "expected a path or @name"),
    ("unix:///a%00b", "expected a path"),
    ("unix:///" + "x" * 200, "path longer than"),
    ("udp://:1?backlog=3", "udp has no option 'backlog'"),
    ("fd://", "is not a descriptor number"),
    ("fd://-1", "is not a descriptor number"),
    ("fd://x", "is not a descriptor number"),
    ("tls://:1?key=a", "key has no cert before it"),
    ("tls://:1?cert=a&key=b&key=c", "key has no cert before it"),
    ("tls://:1?cert=", "option cert must be a file name"),
    ("tls://:1?cert=a&alpn=", "option alpn must be protocol names"),
    ("fd://3?alpn=h2", "client_ca and alpn need a cert"),
    ("tcp-web://:1", "each also with -net"),
]


@each_row("text, fields", VALID)
def test_what_is_understood(text: str, fields: dict[str, Any]) -> None:
    address = Address.parse(text)
    assert address.text == text
    assert {name: getattr(address, name) for name in fields} == fields


@each_row("text, why", INVALID)
def test_what_is_refused_names_the_address_and_what_is_allowed(text: str, why: str) -> None:
    with pytest.raises(AddressError) as caught:
        Address.parse(text)
    assert text in str(caught.value)
    assert why in str(caught.value)


@given(st.text(max_size=40))
@settings(max_examples=examples(200), deadline=None)
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        assert Address.parse(text).text == text
    except AddressError as error:
        assert text in str(error)


@given(
    st.sampled_from(["tcp", "udp", "tcp4-net"]),
    st.sampled_from([("127.0.0.1", 4), ("::1", 6), ("::ffff:1.2.3.4", 6), ("localhost", 4), ("", 4)]),
    st.integers(0, 65535),
)
@settings(max_examples=examples(50), deadline=None)
def test_url_is_what_parse_takes(scheme: str, host: tuple[str, int], port: int) -> None:
    name = (host[0], port) if host[1] == 4 else (host[0], port, 0, 0)
    address = Address.parse(url(scheme, name))
    assert (address.scheme, address.host, address.port) == (scheme, host[0], port)


def test_url_of_unix_names() -> None:
    assert url("unix", "/run/a") == "unix:///run/a"
    assert url("unix", b"\0name") == "unix://@name"
    assert url("unix", "") == "unix://"  # of a client that is not bound


@each_row("path", ["/run/a", "a b", "/what?is%this", "@not-abstract", "/\udc80\n", "%41", "/a&b=c"])
def test_url_of_a_path_is_that_path_again(path: str) -> None:
    made = Address.parse(url("unix", path))
    assert made.path in (path, f"./{path}")


@pytest.mark.parametrize("name", [b"\0name", b"\0\xff?%", b"\0with space"])
def test_url_of_an_abstract_name_is_that_name_again(name: bytes) -> None:
    assert os.fsencode(Address.parse(url("unix", name)).path) == name


def test_url_keeps_the_scope_of_a_link_local_address() -> None:
    assert url("tcp", ("fe80::1", 5000, 0, 1)) == "tcp://[fe80::1%1]:5000"
    assert url("tcp", ("fe80::1%eth0", 5000, 0, 2)) == "tcp://[fe80::1%eth0]:5000"
    assert url("udp", ("::1", 5000, 0, 0)) == "udp://[::1]:5000"


@each_row("text, fields", VALID)
def test_an_address_as_text_is_that_address_again(text: str, fields: dict[str, Any]) -> None:
    address = Address.parse(text)
    assert Address.parse(str(address)) == address


@each_row(
    "scheme, target, options, text",
    [
        ("tcp", ("::1", 5000), {"backlog": 5}, "tcp://[::1]:5000?backlog=5"),
        ("tcp4-net", ("", 0), {"reuseport": True}, "tcp4-net://:0?reuseport=true"),
        ("unix", "/a?b", {"mode": 0o60}, "unix:///a%3Fb?mode=0060"),
        ("unix", b"\0name", {}, "unix://@name"),
        ("fd", 3, {"proxy_protocol": EVERYBODY}, "fd://3?proxy_protocol=true"),
        ("fd", 3, {"proxy_protocol": True}, "fd://3?proxy_protocol=true"),
        ("tcp", ("", 1), {"proxy_protocol": [ip_network("10.0.0.0/8")]}, "tcp://:1?proxy_protocol=10.0.0.0/8"),
        ("systemd", "web", {}, "systemd://web"),
        ("tls", ("h", 1), {"certs": [("a&b", "k"), ("c", None)], "alpn": ["h2"]}, None),
        ("tls", ("h", 1), {"ca": "/x y", "client_ca": ""}, "tls://h:1?ca=/x%20y"),
    ],
)
def test_an_address_is_made_of_its_parts(scheme: str, target: Any, options: dict[str, Any], text: str | None) -> None:
    made = Address.make(scheme, target, **options)
    assert str(made) == text or text is None
    assert made.text == str(made)
    for name, value in options.items():
        assert list(getattr(made, name) or ()) == list(value) if isinstance(value, list) else True


def test_options_are_added_changed_and_taken_away() -> None:
    address = Address.parse("tls://:443?cert=a&alpn=h2")
    assert str(address.with_options(alpn=("http/1.1",), reuseport=True)) == (
        "tls://:443?reuseport=true&cert=a&alpn=http/1.1"
    )
    assert str(address.with_options(alpn=())) == "tls://:443?cert=a"
    assert str(Address.parse("localhost:1").with_options()) == "tcp://localhost:1"


def test_an_address_says_which_options_it_may_have() -> None:
    assert Address.parse("tls://:1").allows("cert")
    assert not Address.parse("tcp://:1").allows("cert")
    assert not Address.parse("unix:///a").allows("reuseport")
    assert not Address.parse("tcp://:1").allows("no such option")


@pytest.mark.parametrize(
    "options, error, why",
    [
        ({"mode": 0o600}, AddressError, "tcp has no option 'mode'"),
        ({"backlog": -1}, AddressError, "option backlog must be a number from 1"),
        ({"certs": [("a", None)]}, AddressError, "tcp has no option 'cert'"),
        ({"host": "x"}, TypeError, "'host' is no option of an address"),
        ({"reuseprot": True}, TypeError, "did you mean reuseport"),
    ],
)
def test_what_no_address_can_say_is_refused(options: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        Address.make("tcp", ("localhost", 1), **options)


def test_a_value_that_would_be_read_as_another_one_is_refused() -> None:
    with pytest.raises(AddressError, match="alpn cannot be"):
        Address.make("tls", ("localhost", 1), certs=[("a", None)], alpn=["with,comma"])


@pytest.mark.parametrize(
    "text, why",
    [
        ("tls://:1", "needs cert=FILE"),
        ("tls://:1?cert=a&ca=b", "ca is for dialling"),
    ],
)
def test_what_cannot_be_served(text: str, why: str) -> None:
    with pytest.raises(AddressError, match=why):
        Address.parse(text).check_listen()


@pytest.mark.parametrize(
    "text, why",
    [
        ("fd://3", "cannot dial fd; allowed are tcp, tls, unix, udp"),
        ("tcp://:1", "needs a host and a port"),
        ("tcp://host:0", "needs a host and a port"),
        ("tcp://host:1?reuseport=true", "reuseport is for listening"),
    ],
)
def test_what_cannot_be_dialled(text: str, why: str) -> None:
    with pytest.raises(AddressError, match=why):
        Address.parse(text).check_dial()
