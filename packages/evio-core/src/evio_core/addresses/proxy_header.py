"""The PROXY protocol, versions 1 and 2, without sockets: reading headers and making them.

A proxy puts a header before the bytes it relays, to tell whose connection it is (HAProxy's proxy-protocol.txt;
section numbers below are of that text). A header is only looked for where the address asks for it, and then it
must be there: guessing would let any client claim any address (section 2).
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import ProxyProtocolError
from ..events import SocketAddress

__all__ = ["EVERYBODY", "Network", "ProxyHeader", "ProxyParser", "check_sender", "proxy_header"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

Host = ipaddress.IPv4Address | ipaddress.IPv6Address

EVERYBODY: tuple[Network, ...] = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXY, LOCAL = 0x21, 0x20
"""Version 2 and its commands (section 2.2)."""
FIXED_V2 = 16
LARGEST_BODY = 0xFFFF
SUN_PATH = 108
LONGEST_V1 = 107
"""With the line end (section 2.1)."""
LONGEST_V2 = 16 + 4096
"""The length field allows 64 KiB; proxies stay within 536 bytes unless TLVs carry certificates (2.2)."""
TLV_CRC32C = 0x03

_V1 = re.compile(rb"PROXY (TCP4|TCP6) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})")


def proxy_header(
    source: SocketAddress | None,
    destination: SocketAddress | None,
    *,
    version: int = 2,
    tlvs: Iterable[tuple[int, bytes]] = (),
) -> bytes:
    """Make the header that tells a server whose connection a proxy relays (section 2): what is sent first.

    ``source`` and ``destination`` are ``remote_addr`` and ``local_addr`` of the client's connection; None, both: a
    connection of the proxy's own. ``tlvs``: types and values of further entries, of version 2 alone (section 2.2.1 and
    after).

    Raises ``ValueError`` for addresses that are not of one kind, and for what the version cannot say.
    """
    if version not in (1, 2):
        raise ValueError(f"version must be 1 or 2, not {version!r}")
    if (source is None) != (destination is None):
        raise ValueError("the PROXY protocol names both ends of a connection or none")
    internet = isinstance(source, tuple)
    if source is not None and internet != isinstance(destination, tuple):
        raise ValueError(f"{source!r} and {destination!r} are not the ends of one connection")
    entries = b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in tlvs)
    if version == 1:
        if entries or (source is not None and not internet):
            raise ValueError("version 1 of the PROXY protocol has neither unix sockets nor TLVs")
        return _text_header(source, destination)
    if source is None or destination is None:
        body, command, family = entries, LOCAL, 0
    elif internet:
        ends = _addresses(source, destination)
        family = 0x11 if ends[0].version == 4 else 0x21
        ports = struct.pack("!HH", source[1], destination[1])
        body, command = ends[0].packed + ends[1].packed + ports + entries, PROXY
    else:
        body, command, family = _packed_path(source) + _packed_path(destination) + entries, PROXY, 0x31
    if len(body) > LARGEST_BODY:
        raise ValueError(f"a PROXY header has at most {LARGEST_BODY} bytes after its first {FIXED_V2}, not {len(body)}")
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def _text_header(source: SocketAddress | None, destination: SocketAddress | None) -> bytes:
    if source is None or destination is None:
        return b"PROXY UNKNOWN\r\n"
    ends = _addresses(source, destination)
    line = f"PROXY TCP{ends[0].version} {ends[0]} {ends[1]} {source[1]} {destination[1]}\r\n"
    return line.encode("ascii")


def _addresses(source: SocketAddress, destination: SocketAddress) -> list[Host]:
    """Both of one family, without interfaces; what came to an IPv6 socket over IPv4 is IPv4."""
    ends = [ipaddress.ip_address(end[0].partition("%")[0]) for end in (source, destination)]
    ends = [getattr(end, "ipv4_mapped", None) or end for end in ends]
    if ends[0].version != ends[1].version:
        raise ValueError(f"{source!r} and {destination!r} are not the ends of one connection")
    return ends


def _packed_path(name: SocketAddress) -> bytes:
    packed = name if isinstance(name, bytes) else os.fsencode(name)
    if len(packed) > SUN_PATH:
        raise ValueError(f"a unix address has at most {SUN_PATH} bytes in a PROXY header, not {len(packed)}")
    return packed.ljust(SUN_PATH, b"\0")


def check_sender(remote: SocketAddress, networks: tuple[Network, ...]) -> None:
    """Raise :class:`ProxyProtocolError` if a peer is in none of the networks whose headers are believed. Peers of unix
    sockets are let in by the permissions of the socket's file."""
    if isinstance(remote, tuple):
        address = ipaddress.ip_address(remote[0].partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if not any(address in network for network in networks):
            raise ProxyProtocolError(f"PROXY headers of {address} are not believed")


class ProxyHeader(NamedTuple):
    """The two ends of the connection; None where the socket's own address is to be kept."""

    remote: SocketAddress | None
    local: SocketAddress | None


class ProxyParser:
    """Fed with input until it knows."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> tuple[ProxyHeader, bytes] | None:
        """The header and what follows it, or None while it is not complete. Raises
        :class:`ProxyProtocolError`."""
        self._buffer = buffer = self._buffer + data
        if buffer[:12] == SIGNATURE[: len(buffer)]:
            return self._version_2(buffer)
        if buffer[:6] == b"PROXY "[: len(buffer)]:
            return self._version_1(buffer)
        raise ProxyProtocolError(f"no PROXY header: {buffer[:12]!r}")

    # -- version 1 (section 2.1): a line of text

    def _version_1(self, buffer: bytes) -> tuple[ProxyHeader, bytes] | None:
        end = buffer.find(b"\r\n", 0, LONGEST_V1)
        if end < 0:
            if len(buffer) >= LONGEST_V1:
                raise ProxyProtocolError(f"PROXY line longer than {LONGEST_V1} bytes")
            return None
        line = buffer[:end]
        rest = buffer[end + 2 :]
        if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
            return ProxyHeader(None, None), rest
        match = _V1.fullmatch(line)
        if match is None:
            raise ProxyProtocolError(f"malformed PROXY line: {line!r}")
        family, source, target, source_port, target_port = match.groups()
        version = 4 if family == b"TCP4" else 6
        return (
            ProxyHeader(
                _text_address(version, source, source_port, line), _text_address(version, target, target_port, line)
            ),
            rest,
        )

    # -- version 2 (section 2.2): binary

    def _version_2(self, buffer: bytes) -> tuple[ProxyHeader, bytes] | None:
        if len(buffer) < 16:
            return None
        version_command, family_protocol, size = struct.unpack_from("!BBH", buffer, 12)
        if version_command >> 4 != 2 or version_command & 15 > 1:
            raise ProxyProtocolError(f"unknown PROXY version and command 0x{version_command:02x}")
        if size + 16 > LONGEST_V2:
            raise ProxyProtocolError(f"PROXY header of {size + 16} bytes, {LONGEST_V2} allowed")
        if len(buffer) < 16 + size:
            return None
        header, rest = buffer[: 16 + size], buffer[16 + size :]
        family = family_protocol >> 4
        if family > 3 or family_protocol & 15 > 2:
            raise ProxyProtocolError(f"unknown PROXY address family and protocol 0x{family_protocol:02x}")
        width = (0, 12, 36, 216)[family]
        local_command = version_command & 15 == 0
        if local_command or family == 0:
            if not local_command:
                _check_tlvs(header, 16)
            return ProxyHeader(None, None), rest
        if size < width:
            raise ProxyProtocolError(f"PROXY header of {size} bytes is too short for its addresses")
        _check_tlvs(header, 16 + width)
        return _binary_addresses(family, header[16 : 16 + width]), rest


def _text_address(version: int, host: bytes, port: bytes, line: bytes) -> SocketAddress:
    try:
        address = ipaddress.ip_address(host.decode("ascii"))
    except ValueError:
        address = None
    if address is None or address.version != version or int(port) > 65535:
        raise ProxyProtocolError(f"malformed PROXY line: {line!r}")
    return (str(address), int(port)) if version == 4 else (str(address), int(port), 0, 0)


def _binary_addresses(family: int, data: bytes) -> ProxyHeader:
    if family == 1:
        source, target, source_port, target_port = struct.unpack("!4s4sHH", data)
        return ProxyHeader((socket.inet_ntoa(source), source_port), (socket.inet_ntoa(target), target_port))
    if family == 2:
        source, target, source_port, target_port = struct.unpack("!16s16sHH", data)
        return ProxyHeader(
            (str(ipaddress.IPv6Address(source)), source_port, 0, 0),
            (str(ipaddress.IPv6Address(target)), target_port, 0, 0),
        )
    return ProxyHeader(_path(data[:108]), _path(data[108:]))


def _path(data: bytes) -> SocketAddress:
    """As ``getpeername`` gives a unix address: abstract names as bytes, paths as text."""
    name = data.rstrip(b"\0")
    if name.startswith(b"\0"):
        return name
    return data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _check_tlvs(header: bytes, at: int) -> None:
    """The type-length-value entries after the addresses: well-formed, and the checksum right if there is one."""
    while at < len(header):
        if at + 3 > len(header):
            raise ProxyProtocolError("truncated PROXY TLV")
        kind, size = struct.unpack_from("!BH", header, at)
        value = header[at + 3 : at + 3 + size]
        if len(value) < size:
            raise ProxyProtocolError("truncated PROXY TLV")
        if kind == TLV_CRC32C:
            zeroed = header[: at + 3] + bytes(size) + header[at + 3 + size :]
            if size != 4 or _crc32c(zeroed) != int.from_bytes(value, "big"):
                raise ProxyProtocolError("wrong checksum in PROXY header")
        at += 3 + size


def _crc32c(data: bytes) -> int:
    """CRC-32C (RFC 9260 appendix A); bit by bit, as one short header per connection is all it ever sees."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
