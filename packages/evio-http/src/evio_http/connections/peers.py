"""The address of a client, behind proxies that are trusted to say so."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from ..message.request import Request

__all__ = ["UNIX", "TrustedProxies", "peer_address"]

UNIX = "unix"
"""The name of the peers of unix sockets among the networks that are trusted."""

_HOP = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|([\d.]+):\d+|([0-9A-Fa-f:.]+)")
"""An element of X-Forwarded-For: an address, by some proxies with its port."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def peer_address(remote: Any) -> str:
    """The host of a socket's address; ``unix:`` and the path for a unix socket's, which mostly has none."""
    if isinstance(remote, tuple):
        host = str(remote[0])
        return host[7:] if host.startswith("::ffff:") and "." in host else host  # a socket of both families, inherited
    return "unix:" + (remote.decode("latin-1") if isinstance(remote, bytes) else str(remote or ""))


class TrustedProxies:
    """Networks whose X-Forwarded-For is believed. Raises ``ValueError`` for text that is no network."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        names = list(networks)
        self._unix = UNIX in names
        try:
            self._networks = [ipaddress.ip_network(name, strict=False) for name in names if name != UNIX]
        except ValueError as error:
            raise ValueError(f"{error}, such as 10.0.0.0/8, nor {UNIX!r}") from None

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def client(self, address: str, request: Request) -> str:
        """The address nearest to us that is not a trusted proxy's. The field is read from its end, which is what
        the nearest proxy wrote; what stands before an address that is not trusted may be anything."""
        if not self.trusts_peer(address):
            return address
        forwarded = request.headers.get("x-forwarded-for")
        for text in reversed((forwarded or "").split(",")):
            if not text.strip():
                continue  # RFC 9110 section 5.6.1.2
            hop = _parse(text.strip())
            if hop is None:
                break
            address = str(hop)
            if not self._trusts(hop):
                break
        return address

    def trusts_peer(self, address: str) -> bool:
        """Tell whether a peer with this address is believed."""
        if not self:
            return False
        if address.startswith("unix:"):
            return self._unix
        return self._trusts(ipaddress.ip_address(address.partition("%")[0]))

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def _parse(text: str) -> _Address | None:
    match = _HOP.fullmatch(text)
    if match is None:
        return None
    try:
        address = ipaddress.ip_address(match[1] or match[2] or match[3])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
