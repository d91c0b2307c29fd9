"""Several sites on one address, told apart by Host (RFC 9110 section 7.2)."""

from __future__ import annotations

from collections.abc import Mapping

from ..message.request import Request
from ..message.response import Deferred, Response
from ..message.target import is_host
from .site import Site

__all__ = ["VirtualHosts"]


class VirtualHosts:
    """A handler that gives each request to the site of its host, and to ``default`` if there is none.

    Raises ``ValueError`` for a name that is no host.
    """

    shared_requests = True

    def __init__(self, sites: Mapping[str, Site], default: Site) -> None:
        for name in sites:
            if not is_host(name) or ":" in name.rpartition("]")[2]:
                raise ValueError(f"{name!r} is not the name of a host without a port, such as www.example.org")
        self._sites = {name.lower().rstrip("."): site for name, site in sites.items()}
        self._default = default

    def __call__(self, request: Request) -> Response | Deferred | None:
        host = request.host
        # The port is not part of it; an IPv6 address has colons of its own, inside its brackets.
        if ":" in host.rpartition("]")[2]:
            host = host.rpartition(":")[0]
        return self._sites.get(host.rstrip("."), self._default)(request)
