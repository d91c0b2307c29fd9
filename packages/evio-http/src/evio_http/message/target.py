"""The request target in its forms (RFC 9112 section 3.2), and the host it is meant for (RFC 9110 section 7.2)."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from .bad_request import BadRequest

__all__ = ["Target", "is_host", "parse_target"]

# RFC 3986 section 3.2.2 allows more in a registered name; no name that resolves has it, and attacks do.
_LABEL = "[0-9A-Za-z_~-]+"
_NAME = rf"(?![0-9A-Za-z._~-]{{256}}){_LABEL}(?:\.{_LABEL})*\.?"
_HOST = rf"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{{2,45}})\]|{_NAME})(?::(?P<port>[0-9]{{0,5}}))?"
_IS_HOST = re.compile(_HOST)
_ABSOLUTE = re.compile(rf"(?i:https?)://(?P<host>{_HOST})(?P<rest>[/?].*)?".encode())


class Target(NamedTuple):
    """A parsed target: path and query as they came, and the host of the absolute form in lower case."""

    path: bytes
    query: bytes
    host: str


LARGEST_PORT = 65535
"""A port has 16 bits (RFC 9293 section 3.1)."""


def is_host(value: str) -> bool:
    """Tell whether the value of Host is a host with an optional port; an empty one is not, nor is an IP literal of a
    future version ("[v1.x]"): RFC 3986 section 3.2.2 wants an error for those as long as nobody has defined one."""
    found = _IS_HOST.fullmatch(value)
    return (
        found is not None
        and (found["ipv6"] is None or _is_ipv6(found["ipv6"]))
        and int(found["port"] or 0) <= LARGEST_PORT
    )


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def parse_target(method: str, target: bytes) -> Target:
    """Raises :class:`BadRequest` for what is no target of ``method``."""
    if b"#" in target:
        # No form of a target has one (RFC 9112 section 3.2), and an invalid request line is 400 (section 3). What is
        # in front of it could be served, as some servers do; a cache that takes the whole for a path would disagree.
        raise BadRequest(400, "fragment in the request target")
    if method == "CONNECT":
        raise BadRequest(501, "not a proxy")
    if target == b"*":
        if method != "OPTIONS":
            raise BadRequest(400, "asterisk-form is for OPTIONS")
        return Target(b"*", b"", "")
    host = ""
    if not target.startswith(b"/"):
        found = _ABSOLUTE.fullmatch(target)
        if found is None or not is_host(found["host"].decode("ascii")):
            raise BadRequest(400, "malformed request target")
        host = found["host"].decode("ascii").lower()
        target = found["rest"] or b"/"
        if target.startswith(b"?"):
            target = b"/" + target
    path, _, query = target.partition(b"?")
    return Target(path, query, host)
