"""The name server as dnslib's client, and dig where there is one, see it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.core.harness import TIMEOUT, connect, receive

from .running import ROOT, Example, example

dnslib: Any = pytest.importorskip("dnslib", reason="dnslib is not installed")

ZONE = str(ROOT / "dns/example.zone")
PLACES = ("127.0.0.1", "::1")


def ask(server: Example, name: str, kind: str, place: int = 0, tcp: bool = False) -> Any:
    query = dnslib.DNSRecord.question(name, kind)
    port = server.ports[place + (len(PLACES) if tcp else 0)]
    packet = query.send(PLACES[place], port, tcp=tcp, timeout=TIMEOUT, ipv6=PLACES[place] == "::1")
    response = dnslib.DNSRecord.parse(packet)
    assert response.header.id == query.header.id
    return response


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("place", [0, 1])
def test_the_zone_is_answered_from(place: int, tcp: bool) -> None:
    with example("dns", ZONE, "127.0.0.1:0", "[::1]:0") as server:

        def found(name: str, kind: str) -> list[str]:
            return [str(each.rdata) for each in ask(server, name, kind, place, tcp).rr]

        assert found("web.example.org", "A") == ["192.0.2.80"]
        assert found("web.example.org", "AAAA") == ["2001:db8::80"]
        assert found("WWW.example.org", "A") == ["web.example.org.", "192.0.2.80"]
        assert found("example.org", "MX") == ["10 mail.example.org."]
        nothing = ask(server, "mail.example.org", "AAAA", place, tcp)
        assert (nothing.header.rcode, nothing.rr, len(nothing.auth)) == (dnslib.RCODE.NOERROR, [], 1)
        assert ask(server, "no.example.org", "A", place, tcp).header.rcode == dnslib.RCODE.NXDOMAIN
        assert ask(server, "example.com", "A", place, tcp).header.rcode == dnslib.RCODE.REFUSED
        server.stop()


def test_a_long_answer_is_cut_off_over_udp_and_whole_over_tcp(tmp_path: Path) -> None:
    zone = tmp_path / "zone"
    zone.write_text(Path(ZONE).read_text() + "".join(f"many IN A 192.0.2.{last}\n" for last in range(100)))
    with example("dns", str(zone), "127.0.0.1:0") as server:
        port, tcp_port = server.ports
        query = dnslib.DNSRecord.question("many.example.org", "A")
        short = dnslib.DNSRecord.parse(query.send("127.0.0.1", port, timeout=TIMEOUT))
        assert (short.header.tc, short.rr) == (1, [])
        whole = dnslib.DNSRecord.parse(query.send("127.0.0.1", tcp_port, tcp=True, timeout=TIMEOUT))
        assert (whole.header.tc, len(whole.rr)) == (0, 100)
        server.stop()


def test_junk_is_a_format_error_and_several_questions_of_a_connection_are_answered() -> None:
    with example("dns", ZONE, "127.0.0.1:0") as server:
        port, tcp_port = server.ports
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.settimeout(TIMEOUT)
            for junk in (b"", b"x", b"\x12\x34" + b"\xff" * 30):
                peer.sendto(junk, ("127.0.0.1", port))
            response = dnslib.DNSRecord.parse(peer.recv(1000))
            assert (response.header.id, response.header.rcode) == (0x1234, dnslib.RCODE.FORMERR)
        message = dnslib.DNSRecord.question("web.example.org", "A").pack()
        framed = len(message).to_bytes(2, "big") + message
        with connect(("127.0.0.1", tcp_port)) as client:
            client.sendall(framed + framed[:1])
            client.sendall(framed[1:20])
            client.sendall(framed[20:])
            for _ in range(2):
                size = int.from_bytes(receive(client, 2), "big")
                assert str(dnslib.DNSRecord.parse(receive(client, size)).rr[0].rdata) == "192.0.2.80"
        server.stop()


def test_dig_understands_it() -> None:
    dig = shutil.which("dig")
    if dig is None:
        pytest.skip("dig is not installed")
    with example("dns", ZONE, "127.0.0.1:0") as server:
        for port, ways in zip(server.ports, ([], ["+tcp"]), strict=True):
            command = [dig, "@127.0.0.1", "-p", str(port), "+short", *ways, "www.example.org"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
            assert done.stdout == "web.example.org.\n192.0.2.80\n"
