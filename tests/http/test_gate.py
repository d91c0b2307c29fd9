"""Limits of requests."""

from __future__ import annotations

import pytest

from evio_http import Response, http_events
from evio_http.connections import gate as module
from evio_http.connections.gate import AddressRules, Gate, RateLimit
from evio_http.connections.peers import TrustedProxies
from tests.core.harness import connect, receive_all, running
from tests.tables import each_row

from .asking import make_request


@each_row(
    ("allow", "deny", "allowed", "denied"),
    [
        ([], [], ["1.2.3.4", "::1", "unix:"], []),
        (["10.0.0.0/8"], [], ["10.1.2.3"], ["11.0.0.1", "::1", "unix:"]),
        ([], ["10.0.0.0/8"], ["11.0.0.1", "::1", "unix:/x"], ["10.1.2.3"]),
        (["10.0.0.0/8"], ["10.1.0.0/16"], ["10.2.0.1"], ["10.1.2.3", "11.0.0.1"]),
        (["10.1.2.3"], ["10.0.0.0/8"], ["10.1.2.3"], ["10.1.2.4", "11.0.0.1"]),
        (["0.0.0.0/0", "10.1.2.3"], ["10.0.0.0/8"], ["10.1.2.3", "11.0.0.1"], ["10.1.2.4", "::1"]),
        (["10.0.0.1"], ["10.0.0.1"], [], ["10.0.0.1"]),
        (["unix"], [], ["unix:", "unix:/x"], ["127.0.0.1"]),
        ([], ["unix"], ["127.0.0.1"], ["unix:"]),
        (["fe80::/10"], [], ["fe80::1%eth0"], ["2001:db8::1"]),
        (["10.0.0.5/8"], [], ["10.9.9.9"], []),
    ],
)
def test_the_smallest_network_decides(allow: list[str], deny: list[str], allowed: list[str], denied: list[str]) -> None:
    rules = AddressRules(allow, deny)
    assert bool(rules) is bool(allow or deny)
    for _ in range(2):  # the second time it is remembered
        assert [address for address in allowed if not rules.allows(address)] == []
        assert [address for address in denied if rules.allows(address)] == []


def test_what_is_no_network_is_an_error() -> None:
    with pytest.raises(ValueError, match="'x' does not appear to be an IPv4 or IPv6 network"):
        AddressRules(["x"])


def test_a_client_has_a_burst_and_then_its_rate() -> None:
    limit = RateLimit(2.0, 3)
    assert [limit.wait("1.2.3.4", 100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limit.wait("1.2.3.4", 100.25) == 0.25  # what is refused is not counted
    assert limit.wait("5.6.7.8", 100.25) == 0.0
    assert [limit.wait("1.2.3.4", 100.5) for _ in range(2)] == [0.0, 0.5]
    assert [limit.wait("1.2.3.4", 1000.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_a_network_of_ipv6_is_one_client() -> None:
    limit = RateLimit(1.0, 1)
    assert limit.wait("2001:db8::1", 0.0) == 0.0
    assert limit.wait("2001:db8::ffff:2", 0.0) == 1.0
    assert limit.wait("2001:db8:0:1::1", 0.0) == 0.0
    assert limit.wait("fe80::1%eth0", 0.0) == 0.0
    assert [limit.wait("unix:/a", 0.0), limit.wait("unix:/b", 0.0)] == [0.0, 0.0]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CLIENTS", 3)
    monkeypatch.setattr(module, "MOST_DECISIONS", 3)
    limit, rules = RateLimit(1.0, 1), AddressRules(["10.0.0.0/8"])
    for number in range(10):
        limit.wait(f"10.0.0.{number}", 0.0)
        rules.allows(f"10.0.0.{number}")
    assert (len(limit._full_at), len(rules._known)) == (3, 3)


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (-1.0, 1), (1.0, 0), (float("inf"), 1), (float("nan"), 1)])
def test_what_is_no_rate(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="a rate is more than 0"):
        RateLimit(rate, burst)


def test_the_client_is_whom_a_trusted_proxy_names() -> None:
    gate = Gate(AddressRules(deny=["203.0.113.0/24"]), None, TrustedProxies(["127.0.0.1"]))
    assert not gate.refuses("127.0.0.1")
    assert gate.guards("127.0.0.1")
    assert gate.refuses("203.0.113.5")
    assert not gate.guards("198.51.100.1")
    refused = gate.check("127.0.0.1", make_request("/", "X-Forwarded-For: 203.0.113.5"), 0.0)
    assert refused is not None
    assert refused.status == 403
    assert gate.check("127.0.0.1", make_request("/", "X-Forwarded-For: 198.51.100.1"), 0.0) is None


def answer_all(request: object) -> Response:
    return Response.text("here")


def ask(address: object, *fields: str, count: int = 1) -> list[bytes]:
    with connect(address) as sock:
        lines = ["GET / HTTP/1.1", "Host: a", *fields]
        request = "\r\n".join([*lines, "", ""]).encode()
        last = "\r\n".join([*lines, "Connection: close", "", ""]).encode()
        sock.sendall(request * (count - 1) + last)
        return [b"HTTP/1.1" + part for part in receive_all(sock).split(b"HTTP/1.1")[1:]]


def test_a_denied_peer_is_told_and_dropped() -> None:
    gate = Gate(AddressRules(deny=["127.0.0.0/8"]), None, TrustedProxies())
    with running(http_events(answer_all, gate=gate), "tcp://127.0.0.1:0") as run:
        with connect(run.addr) as sock:
            refused = receive_all(sock)  # whatever it would have asked
    assert refused.startswith(b"HTTP/1.1 403 ")
    assert b"Connection: close\r\n" in refused


def test_requests_over_the_rate_are_429_also_those_from_memory() -> None:
    gate = Gate(AddressRules(), RateLimit(0.001, 3), TrustedProxies(["127.0.0.1"]))
    with running(http_events(answer_all, gate=gate), "tcp://127.0.0.1:0") as run:
        statuses = [part.split()[1] for part in ask(run.addr, count=5)]
        assert statuses == [b"200", b"200", b"200", b"429", b"429"]
        late = ask(run.addr)[0]
        assert b"Retry-After: 1000\r\n" in late or b"Retry-After: 999\r\n" in late
        assert ask(run.addr, "X-Forwarded-For: 192.0.2.1")[0].split()[1] == b"200"
