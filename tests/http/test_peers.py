"""The address that a request comes from."""

from __future__ import annotations

import pytest

from evio_http.connections.admission import Admission
from evio_http.connections.peers import TrustedProxies, peer_address
from tests.tables import each_row

from .asking import make_request

PROXY, OTHER = "10.0.0.1", "192.0.2.7"


@each_row(
    ("peer", "forwarded", "client"),
    [
        (PROXY, "203.0.113.5", "203.0.113.5"),
        (PROXY, "198.51.100.1, 203.0.113.5", "203.0.113.5"),
        (PROXY, "203.0.113.5, 10.0.0.2", "203.0.113.5"),
        (PROXY, "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (PROXY, "203.0.113.5, junk", PROXY),
        (PROXY, "junk, 203.0.113.5", "203.0.113.5"),
        (PROXY, "", PROXY),
        (PROXY, "2001:db8::1", "2001:db8::1"),
        (PROXY, "2001:DB8:0::1", "2001:db8::1"),
        (PROXY, "203.0.113.5:4711", "203.0.113.5"),
        (PROXY, "[2001:db8::1]", "2001:db8::1"),
        (PROXY, "[2001:db8::1]:4711, 10.0.0.2:1", "2001:db8::1"),
        (PROXY, "::ffff:203.0.113.5", "203.0.113.5"),
        (PROXY, "198.51.100.1, ::ffff:10.0.0.2", "198.51.100.1"),
        (PROXY, "203.0.113.5, , ,", "203.0.113.5"),
        (PROXY, '203.0.113.5, fe80::1%x" 200 "', PROXY),
        (PROXY, "010.0.0.1", PROXY),
        (PROXY, "unknown", PROXY),
        (OTHER, "203.0.113.5", OTHER),
        ("fe80::1%eth0", "203.0.113.5", "fe80::1%eth0"),
        ("unix:", "203.0.113.5", "unix:"),
        ("unix:10.0.0.1", "203.0.113.5", "unix:10.0.0.1"),
    ],
)
def test_forwarded_for(peer: str, forwarded: str, client: str) -> None:
    fields = [f"X-Forwarded-For: {forwarded}"] if forwarded else []
    assert TrustedProxies(["10.0.0.0/8"]).client(peer, make_request("/", *fields)) == client
    assert TrustedProxies().client(peer, make_request("/", *fields)) == peer


def test_forwarded_for_over_a_unix_socket() -> None:
    request = make_request("/", "X-Forwarded-For: 203.0.113.5")
    assert TrustedProxies(["unix"]).client("unix:/run/x", request) == "203.0.113.5"
    assert TrustedProxies(["unix"]).client(PROXY, request) == PROXY


def test_a_network_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/40"):
        TrustedProxies(["10.0.0.0/40"])


def test_addresses_of_sockets() -> None:
    assert peer_address(("::1", 5, 0, 0)) == "::1"
    assert peer_address(("::ffff:192.0.2.7", 5, 0, 0)) == "192.0.2.7"
    assert peer_address("/run/x.sock") == "unix:/run/x.sock"
    assert peer_address("") == peer_address(None) == "unix:"
    assert peer_address(b"\0name") == "unix:\0name"


def test_admission() -> None:
    admission = Admission(2, 1)
    assert [admission.enter("a"), admission.enter("a"), admission.enter("b")] == [True, False, False]
    for address in ("a", "a", "b"):
        admission.leave(address)
    assert admission.enter("a")
    assert Admission(0, 0).enter("a")
