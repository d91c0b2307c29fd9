"""An authoritative name server (RFC 1035) for a zone file, over UDP and TCP."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

from dnslib import CLASS, QTYPE, RCODE, RR, DNSError, DNSHeader, DNSLabel, DNSRecord

from evio_core import Action, Events, Handler, HandlerFactory, InputStream, Options, Reply, serve, url

PLAIN_SIZE = 512  # bytes of an answer over UDP for a client that does not say what it takes (section 2.3.4)
LARGEST_UDP = 1232  # bytes that pass everywhere unfragmented (dnsflagday.net/2020)


class Zone:
    """Records by name and type."""

    def __init__(self, text: str) -> None:
        self.records: dict[DNSLabel, list[RR]] = {}
        for record in RR.fromZone(text):
            self.records.setdefault(record.rname, []).append(record)
        self.soa = next(each for records in self.records.values() for each in records if each.rtype == QTYPE.SOA)

    def answer(self, request: DNSRecord) -> DNSRecord:
        """The response to a query (RFC 1034 section 4.3.2, without delegations)."""
        response = request.reply(ra=0, aa=1)
        question = request.q
        if request.header.opcode or question.qclass != CLASS.IN:
            response.header.rcode = RCODE.NOTIMP
            return response
        name = question.qname
        if not name.matchSuffix(self.soa.rname):
            response.header.aa, response.header.rcode = 0, RCODE.REFUSED
            return response
        for _ in range(8):  # CNAMEs in a row
            records = self.records.get(name, [])
            found = [each for each in records if question.qtype in (each.rtype, QTYPE.ANY)]
            aliases = [each for each in records if each.rtype == QTYPE.CNAME] if not found else []
            response.add_answer(*found, *aliases)
            if not aliases:
                break
            name = aliases[0].rdata.label
        if not response.rr:
            response.add_auth(self.soa)
            response.header.rcode = RCODE.NOERROR if name in self.records else RCODE.NXDOMAIN
        return response


def ask(zone: Zone, message: bytes) -> tuple[DNSRecord | None, int]:
    """The response to a message, None for what is no query, and the bytes its sender takes over UDP."""
    try:
        request = DNSRecord.parse(message)
    except DNSError:
        if len(message) < 12:
            return None, 0
        (number,) = struct.unpack_from("!H", message)
        return DNSRecord(DNSHeader(id=number, qr=1, ra=0, rcode=RCODE.FORMERR)), PLAIN_SIZE
    if request.header.qr or not request.questions:
        return None, 0
    sizes = [each.rclass for each in request.ar if each.rtype == QTYPE.OPT]  # EDNS(0), RFC 6891 section 6.1.2
    return zone.answer(request), min(max([PLAIN_SIZE, *sizes]), LARGEST_UDP)


class UDP(Handler):
    """One datagram. What it may have done to the name server's answer is cut off: the client asks again over TCP."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone

    def data(self, chunk: bytes) -> Reply:
        response, size = ask(self.zone, chunk)
        if response is None:
            return None
        packed: bytes = response.pack()
        return packed if len(packed) <= size else bytes(response.truncate().pack())


class TCP(Handler):
    """A connection with messages behind their lengths (section 4.2.2)."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.input = InputStream()

    def data(self, chunk: bytes) -> Reply:
        buffer, at, output = self.input.begin(chunk), 0, list[bytes]()
        while len(buffer) - at >= 2:
            size = int.from_bytes(buffer[at : at + 2], "big")
            if len(buffer) - at < 2 + size:
                self.input.end(buffer[at:], 2 + size)
                return b"".join(output)
            response, _ = ask(self.zone, buffer[at + 2 : at + 2 + size])
            if response is None:
                return b"".join(output), Action.CLOSE
            packed = response.pack()
            output.append(struct.pack("!H", len(packed)) + packed)
            at += 2 + size
        self.input.end(buffer[at:])
        return b"".join(output)


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("usage: dns.py ZONE_FILE [HOST:PORT...]")
    zone = Zone(Path(sys.argv[1]).read_text())
    places = sys.argv[2:] or ["127.0.0.1:5353", "[::1]:5353"]
    handlers: dict[str, HandlerFactory] = {f"udp://{place}": lambda: UDP(zone) for place in places}
    handlers |= {f"tcp://{place}": lambda: TCP(zone) for place in places}
    schemes = ["udp"] * len(places) + ["tcp"] * len(places)
    serve(
        Events(
            handlers=handlers,
            options=Options(idle_timeout=10, max_connections_per_address=100),
            serving=lambda server: print("listening on", *map(url, schemes, server.addrs), flush=True),
        )
    )


if __name__ == "__main__":
    main()
