"""The lines that say where a server is reached, and its address in a browser."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Sequence

from evio_core import Address, url

__all__ = ["banner", "browse", "own_addresses", "page_url"]

Bound = tuple[str, int] | tuple[str, int, int, int] | str | bytes
"""An address as ``socket.getsockname`` returns it."""

ANY = {"0.0.0.0": 4, "::": 6}
"""Addresses of all interfaces, and the version of IP they are of."""

ELSEWHERE = ((4, socket.AF_INET, "192.0.2.1"), (6, socket.AF_INET6, "2001:db8::1"))
"""Addresses for documentation (RFC 5737, RFC 3849), which are reached by the default route if at all."""

log: logging.Logger = logging.getLogger("evio_http")


def own_addresses() -> list[tuple[int, str]]:
    """Return the addresses of this machine from which others are reached, with the version of IP: those of the default
    routes. A UDP socket that is connected has one, and sends nothing."""
    found = []
    for version, family, there in ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((there, 9))
                found.append((version, str(sock.getsockname()[0])))
        except OSError:  # there is no route, or no IP of that version
            continue
    return found


def page_url(address: Address, bound: Bound) -> str:
    """Return the URL by which a browser on this machine reaches what is bound; empty for a unix socket."""
    if not isinstance(bound, tuple):
        return ""
    host = "localhost" if bound[0] in ANY else bound[0]
    return url(_scheme(address), (host, *bound[1:])) + "/"


def banner(directory: str, listening: Sequence[tuple[Address, Bound]]) -> list[str]:
    """Return a line for each address, and behind these, for those of all interfaces, lines with the addresses by which
    this machine and others reach them."""
    lines, further = [], []
    for address, bound in listening:
        if not isinstance(bound, tuple):
            lines.append(f"serving {directory} on {url('unix', bound)}")
            continue
        lines.append(f"serving {directory} on {url(_scheme(address), bound)}/")
        if bound[0] in ANY:
            further.append(f"  local:   {page_url(address, bound)}")
            versions = _versions(address, bound[0])
            for version, host in own_addresses():
                if version in versions:
                    further.append(f"  network: {url(_scheme(address), (host, bound[1]))}/")
    return lines + further


def browse(page: str) -> None:
    """Open a page in the browser, in a thread: one for terminals returns when it is left."""

    def work() -> None:
        import webbrowser

        if not webbrowser.open(page):
            log.warning("--open: there is no browser that can be started; the page is %s", page)

    threading.Thread(target=work, name="evio-http-open", daemon=True).start()


def _scheme(address: Address) -> str:
    return "https" if address.certs else "http"


def _versions(address: Address, host: str) -> set[int]:
    """The versions of IP that come to an address of all interfaces."""
    if (address.base in ("tcp", "tls") and not address.host and not address.family) or not address.v6only:
        return {4, 6}
    return {ANY[host]}
