"""Who a request comes from, behind proxies that are trusted to say so."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from .request import Request

__all__ = ["TrustedProxies", "peer_address"]


def peer_address(remote: Any) -> str:
    """The host of a socket's address; the path of a unix socket's, empty if the peer has none."""
    if isinstance(remote, tuple):
        return str(remote[0])
    return remote.decode("latin-1") if isinstance(remote, bytes) else str(remote or "")


class TrustedProxies:
    """Networks whose X-Forwarded-For is believed. Raises ``ValueError`` for text that is no network."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    def client(self, address: str, request: Request) -> str:
        """The address nearest to us that is not a trusted proxy's. The field is read from its end, which is what
        the nearest proxy wrote; what stands before an address that is not trusted may be anything."""
        if not self._networks or not self._trusts(address):
            return address
        forwarded = request.headers.get("x-forwarded-for")
        for hop in reversed((forwarded or "").split(",")):
            hop = hop.strip()
            if not _is_address(hop):
                break
            address = hop
            if not self._trusts(hop):
                break
        return address

    def _trusts(self, address: str) -> bool:
        if not _is_address(address):
            return False
        parsed = ipaddress.ip_address(address)
        return any(parsed in network for network in self._networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
