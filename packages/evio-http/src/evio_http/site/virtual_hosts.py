"""Several sites on one address, told apart by Host (RFC 9110 section 7.2)."""

from __future__ import annotations

from collections.abc import Mapping

from ..message.handler import RequestHandler
from ..message.request import Request
from ..message.response import Deferred, Response
from ..message.target import is_host

__all__ = ["VirtualHosts"]


class VirtualHosts:
    """A handler that gives each request to the site of its host, and to ``default`` if there is none. Any handler may
    be a site.

    Raises ``ValueError`` for a name that is no host.
    """

    def __init__(self, sites: Mapping[str, RequestHandler], default: RequestHandler) -> None:
        for name in sites:
            if not is_host(name) or ":" in name.rpartition("]")[2]:
                raise ValueError(f"{name!r} is not the name of a host without a port, such as www.example.org")
        self._sites = {name.lower().rstrip("."): site for name, site in sites.items()}
        self._default = default
        self.shared_requests: bool = all(getattr(site, "shared_requests", False) for site in (*sites.values(), default))

    def __call__(self, request: Request) -> Response | Deferred | None:
        host = request.host
        # The port is not part of it; an IPv6 address has colons of its own, inside its brackets.
        if ":" in host.rpartition("]")[2]:
            host = host.rpartition(":")[0]
        return self._sites.get(host.rstrip("."), self._default)(request)
