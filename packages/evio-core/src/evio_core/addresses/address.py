"""Address strings: ``tcp://localhost:5000?reuseport=true`` and its relatives.

::

    tcp tcp4 tcp6 udp udp4 udp6   scheme://host:port     [::1]:5000 for IPv6, no host for all interfaces
    tls                           tls://host:port?cert=FILE&key=FILE
    unix                          unix://relative/path  unix:///absolute/path  unix://@abstract-name
    fd                            fd://3                 an inherited socket
    systemd                       systemd://name         inherited by socket activation; no name for all

Each of them with ``-net`` (``tcp-net://``) is served by the asyncio fallback. Without a scheme it is ``tcp``.
In the path of a unix socket ``%3F`` stands for ``?``, which begins the options, and ``%25`` for ``%``.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from typing import Any
from urllib.parse import quote, unquote

from ..errors import AddressError
from ..events import SocketAddress
from .proxy_header import EVERYBODY, Network

__all__ = ["Address", "url"]

INET = ("tcp", "udp", "tls")
STREAMS = ("tcp", "tls", "unix", "fd", "systemd")
DIALLED = ("tcp", "tls", "unix", "udp")
BASES = {"tcp4": "tcp", "tcp6": "tcp", "udp4": "udp", "udp6": "udp"}
SCHEMES = ("tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "tls", "fd", "systemd")

SUN_PATH = 108 if sys.platform == "linux" else 104
"""Room for the path in a unix address, its final NUL included (unix(7); 104 on macOS and the BSDs)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address as its parts; ``str()`` makes it an address string again. Fields that a scheme does not have are
    empty. Make one with :meth:`parse` or :meth:`make`, and change its options with :meth:`with_options`."""

    text: str = field(compare=False)
    """The string it was parsed from, for messages."""
    scheme: str
    """As in the string: ``tcp6``, ``tls-net``."""
    base: str
    """``tcp``, ``udp``, ``tls``, ``unix``, ``fd`` or ``systemd``."""
    family: int = 0
    """4 or 6 where the scheme says so, else 0."""
    fallback: bool = False
    """A ``-net`` scheme."""
    host: str = ""
    port: int = 0
    path: str = ""
    """Of a unix socket; an abstract name begins with NUL."""
    fd: int = -1
    name: str = ""
    """Of sockets passed by systemd."""
    reuseport: bool = False
    backlog: int = 0
    """0 is the largest the kernel allows."""
    mode: int | None = None
    """Permissions of a unix socket's file."""
    certs: tuple[tuple[str, str | None], ...] = ()
    """Pairs of certificate and key file; no key means that it is in the certificate's file."""
    client_ca: str | None = None
    """A file of authorities; clients have to show a certificate of one of them."""
    ca: str | None = None
    """A file of authorities to trust when dialling, instead of the system's."""
    alpn: tuple[str, ...] = ()
    """Protocols to agree on, best first (RFC 7301)."""
    proxy_protocol: tuple[Network, ...] = ()
    """Networks whose PROXY headers are believed."""
    v6only: bool = True
    """False: an IPv6 socket takes IPv4 as well (``IPV6_V6ONLY``), whose addresses are ``::ffff:a.b.c.d``."""
    bind_to_device: str = ""
    """The interface that everything goes through (``SO_BINDTODEVICE``)."""
    fast_open: int = 0
    """Connections not accepted yet that may have data in their first segment (``TCP_FASTOPEN``, RFC 7413)."""
    defer_accept: int = 0
    """Seconds for which a connection without data is not accepted yet (``TCP_DEFER_ACCEPT``)."""
    multicast: tuple[str, ...] = ()
    """Groups to join."""
    multicast_interface: str = ""
    """The interface to join them on and to send to groups from: its name, or for IPv4 an address of it."""
    multicast_ttl: int | None = None
    """Hops that a datagram to a group may take; the kernel's default is 1."""
    multicast_loop: bool = True
    """False: what is sent to a group does not come back to this machine."""
    bind: tuple[str, int] | None = None
    """Our end of what is dialled: an address of this machine, and a port, 0 for any."""
    server_name: str = ""
    """The name to ask a dialled server for and to look for in its certificate, instead of the host."""
    starttls: bool = False
    """True: a connection begins in plain, and ``Conn.start_tls`` makes it a TLS one."""
    verify: bool = True
    """False: the certificate of a dialled server is not looked at, so that anybody on the way can read and change what
    is sent."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse an address string. Raises :class:`AddressError`, which says what is allowed."""
        scheme, separator, rest = text.partition("://")
        if not separator:
            scheme, rest = "tcp", text
        stem = scheme.removesuffix("-net")
        if stem not in SCHEMES:
            near = {"http": "tcp", "redis": "tcp", "https": "tls", "rediss": "tls"}.get(stem)
            allowed = f"use {near}://" if near else f"{_allowed(stem, SCHEMES)}, each also with -net"
            raise AddressError(f"{text}: unknown scheme {scheme!r}; {allowed}")
        base = BASES.get(stem, stem)
        target, _, query = rest.partition("?")
        fields: dict[str, Any] = _target(text, base, target)
        fields |= _options(text, base, query) if query or "?" in rest else {}
        family = int(stem[-1]) if stem[-1] in "46" else 0
        return cls(text=text, scheme=scheme, base=base, family=family, fallback=scheme != stem, **fields)

    @classmethod
    def make(cls, scheme: str, target: SocketAddress | int, **options: Any) -> Address:
        """An address from its scheme, what it addresses, and options as :meth:`with_options` takes them.

        The target of an internet scheme is ``(host, port)`` or an address of ``getsockname``, of ``unix`` a path or an
        abstract name as ``bytes`` that begin with NUL, of ``fd`` a number, of ``systemd`` a name.

        Raises :class:`AddressError` for what no address string can say.
        """
        return cls.parse(url(scheme, target)).with_options(**options)

    def with_options(self, **options: Any) -> Address:
        """The address with other options, named and typed as the fields are: ``reuseport=True``,
        ``certs=[(cert, key)]``, ``mode=0o660``; as in a string, ``proxy_protocol`` may be True, for all networks. An
        empty value takes an option away.

        Raises :class:`AddressError` for an option that the scheme does not have or a value that is not allowed, and
        ``TypeError`` for a name that is no option.
        """
        for name in options:
            if name not in OPTION_FIELDS:
                raise TypeError(f"{name!r} is no option of an address; {_allowed(name, OPTION_FIELDS)}")
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
        if fields.get("proxy_protocol") is True:
            fields["proxy_protocol"] = EVERYBODY
        made = Address.parse(str(replace(self, **fields)))
        for name, value in fields.items():
            if (getattr(made, name) or None) != (value or None):
                raise AddressError(f"{made.text}: {name} cannot be {value!r}")
        return made

    def allows(self, option: str) -> bool:
        """True if the scheme has this option, by its name in address strings (``cert``, ``reuseport``)."""
        return option in _OPTIONS and self.base in _OPTIONS[option].bases

    def __str__(self) -> str:
        if self.base in INET:
            text = url(self.scheme, (self.host, self.port))
        elif self.base == "unix":
            text = url(self.scheme, os.fsencode(self.path) if self.path.startswith("\0") else self.path)
        else:
            text = f"{self.scheme}://{self.name if self.base == 'systemd' else self.fd}"
        query = "&".join(f"{name}={quote(value, '/:,[]', errors='surrogateescape')}" for name, value in self._query())
        return f"{text}?{query}" if query else text

    def _query(self) -> Iterable[tuple[str, str]]:
        """The options that are set, as strings."""
        for name in ("reuseport", "starttls"):
            if getattr(self, name):
                yield name, "true"
        if self.backlog:
            yield "backlog", str(self.backlog)
        if self.mode is not None:
            yield "mode", f"{self.mode:04o}"
        for cert, key in self.certs:
            yield "cert", cert
            if key is not None:
                yield "key", key
        for name in ("client_ca", "ca"):
            if getattr(self, name):
                yield name, getattr(self, name)
        if self.alpn:
            yield "alpn", ",".join(self.alpn)
        if self.proxy_protocol:
            everybody = self.proxy_protocol == EVERYBODY
            yield "proxy_protocol", "true" if everybody else ",".join(map(str, self.proxy_protocol))
        for name in ("v6only", "multicast_loop", "verify"):
            if not getattr(self, name):
                yield name, "false"
        for name in ("bind_to_device", "fast_open", "defer_accept", "multicast_interface", "server_name"):
            if getattr(self, name):
                yield name, str(getattr(self, name))
        if self.multicast:
            yield "multicast", ",".join(self.multicast)
        if self.multicast_ttl is not None:
            yield "multicast_ttl", str(self.multicast_ttl)
        if self.bind is not None:
            yield "bind", url("", self.bind).removeprefix("://")

    @property
    def tls_at_once(self) -> bool:
        """True if a connection that is dialled begins with the handshake of TLS."""
        return self.base == "tls" and not self.starttls

    @property
    def socket_family(self) -> int:
        """The family of sockets that the scheme asks for: ``AF_INET``, ``AF_INET6``, else ``AF_UNSPEC``."""
        return {4: socket.AF_INET, 6: socket.AF_INET6}.get(self.family, socket.AF_UNSPEC)

    def check_listen(self) -> None:
        """Raise :class:`AddressError` if it cannot be served."""
        if self.base == "tls" and not self.certs:
            raise AddressError(f"{self.text}: a tls address needs cert=FILE (and key=FILE)")
        if self.ca:
            raise AddressError(f"{self.text}: ca is for dialling; to ask clients for certificates use client_ca")
        for option in DIALLING:
            if getattr(self, option) != FIELD_DEFAULTS[option]:
                raise AddressError(f"{self.text}: {option} is for dialling, not for listening")
        if not self.v6only and not (self.family == 6 or ":" in self.host):
            raise AddressError(f"{self.text}: v6only=false needs a host of IPv6, as in tcp6://:5000 or tcp://[::]:5000")

    def check_dial(self) -> None:
        """Raise :class:`AddressError` if it cannot be dialled."""
        if self.base not in DIALLED:
            raise AddressError(f"{self.text}: cannot dial {self.scheme}; allowed are {', '.join(DIALLED)}")
        if self.base in ("udp", "unix") and sys.platform == "win32":
            raise AddressError(f"{self.text}: {self.scheme} cannot be dialled on Windows")
        if self.base != "unix" and (not self.host or not self.port):
            raise AddressError(f"{self.text}: dialling needs a host and a port")
        for option in LISTENING:
            if getattr(self, option) != FIELD_DEFAULTS[option]:
                raise AddressError(f"{self.text}: {option} is for listening, not for dialling")
        if self.ca and not self.verify:
            raise AddressError(f"{self.text}: with verify=false there is nothing to trust ca for")


def url(scheme: str, name: SocketAddress) -> str:
    """A bound or connected address as an address string: ``tcp://[::1]:5000``, ``tcp://[fe80::1%2]:5000``,
    ``unix:///run/app.sock``, ``unix://@name``. What it addresses can be dialled or served again; in a path ``%``,
    ``?`` and bytes that are no UTF-8 are escaped (``%3F``). Control characters stay: a peer may choose them."""
    if isinstance(name, tuple):
        host, port = name[0], name[1]
        if ":" in host:
            scope = name[3] if len(name) > 3 and "%" not in host else 0
            host = f"[{host}%{scope}]" if scope else f"[{host}]"
        return f"{scheme}://{host}:{port}"
    if isinstance(name, bytes):
        return f"{scheme}://@{_escape(os.fsdecode(name[1:]))}"
    path = _escape(str(name))
    return f"{scheme}://./{path}" if path.startswith("@") else f"{scheme}://{path}"


def _escape(path: str) -> str:
    """The path with what ``unquote`` would not leave as it is escaped."""
    return re.sub("[%?\ud800-\udfff]", lambda found: quote(found[0], "", errors="surrogateescape"), path)


# -- what is addressed


def _target(text: str, base: str, target: str) -> dict[str, Any]:
    if base in INET:
        host, port = _host_port(text, target)
        return {"host": host, "port": port}
    if base == "unix":
        return {"path": _unix_path(text, target)}
    if base == "systemd":
        return {"name": target}
    if not re.fullmatch(r"[0-9]{1,9}", target):
        raise AddressError(f"{text}: {target!r} is not a descriptor number, as in fd://3")
    return {"fd": int(target)}


def _host_port(text: str, target: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[(?P<six>[^][]+)\]|(?P<host>[^][:/@\s]*)):(?P<port>[0-9]{1,9})", target)
    if match is None:
        raise AddressError(f"{text}: expected host:port, as in localhost:5000, [::1]:5000 or :5000")
    host, port = match["six"] or match["host"], int(match["port"])
    if match["six"]:
        _check_ipv6(text, match["six"])
    if port > 65535:
        raise AddressError(f"{text}: port {port} is not between 0 and 65535")
    if "\0" in host or len(host) > 255 or not (match["six"] or not host or _is_host_name(host)):
        raise AddressError(f"{text}: not a host name")
    return host, port


def _is_host_name(host: str) -> bool:
    """True if the resolver can be asked for it: ``getaddrinfo`` raises ``UnicodeError`` for labels that are empty, have
    more than 63 bytes (RFC 1035 section 2.3.4), or have no form in ASCII (RFC 3490)."""
    try:
        return bool(host.encode("idna"))
    except UnicodeError:
        return False


def _check_ipv6(text: str, host: str) -> None:
    try:
        socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except (OSError, ValueError) as error:
        raise AddressError(f"{text}: {host!r} is not an IPv6 address") from error


def _unix_path(text: str, target: str) -> str:
    path = unquote(target, errors="surrogateescape")
    if not path or path == "@" or "\0" in path:
        raise AddressError(f"{text}: expected a path or @name, as in unix:///run/app.sock")
    if len(os.fsencode(path)) >= SUN_PATH:
        raise AddressError(f"{text}: path longer than the {SUN_PATH - 1} bytes a unix socket can have")
    return "\0" + path[1:] if path.startswith("@") else path


# -- options


@dataclass(frozen=True, slots=True)
class _Option:
    bases: tuple[str, ...]
    parse: Callable[[str], Any]
    expected: str
    needs: str = ""
    """The socket option that not every system has."""


def _boolean(value: str) -> bool:
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value]


def _positive(value: str) -> int:
    number = int(value)
    if number < 1 or number > 0x7FFFFFFF:
        raise ValueError(value)
    return number


def _mode(value: str) -> int:
    number = int(value, 8)
    if not 0 <= number <= 0o777:
        raise ValueError(value)
    return number


def _networks(value: str) -> tuple[Network, ...]:
    if re.fullmatch("[a-z]+|[01]", value):
        return EVERYBODY if _boolean(value) else ()
    return tuple(ipaddress.ip_network(network, strict=False) for network in value.split(","))


def _protocols(value: str) -> tuple[str, ...]:
    names = tuple(value.split(","))
    if not all(0 < len(name.encode("ascii")) < 256 for name in names):
        raise ValueError(value)
    return names


def _seconds(value: str) -> int:
    number = _positive(value)
    if number > 32767:
        raise ValueError(value)
    return number


def _groups(value: str) -> tuple[str, ...]:
    groups = tuple(str(ipaddress.ip_address(group)) for group in value.split(","))
    if not all(ipaddress.ip_address(group).is_multicast for group in groups):
        raise ValueError(value)
    return groups


def _hops(value: str) -> int:
    number = int(value)
    if not 0 <= number <= 255:
        raise ValueError(value)
    return number


def _device(value: str) -> str:
    if not 0 < len(os.fsencode(value)) < 16:  # IFNAMSIZ
        raise ValueError(value)
    return value


def _own_end(value: str) -> tuple[str, int]:
    with suppress(ValueError):
        return str(ipaddress.ip_address(value.removeprefix("[").removesuffix("]"))), 0
    host, port = _host_port(value, value)
    return str(ipaddress.ip_address(host)), port


def _server_name(value: str) -> str:
    if not _is_host_name(value):
        raise ValueError(value)
    return value


LISTENING = (
    *("reuseport", "backlog", "mode", "client_ca", "proxy_protocol"),
    *("v6only", "fast_open", "defer_accept", "multicast"),
)
"""Options that say nothing about what is dialled."""

DIALLING = ("bind", "server_name", "verify")
"""Options that say nothing about where to listen."""

OPTION_FIELDS = (
    *(*LISTENING, *DIALLING, "certs", "ca", "alpn", "starttls"),
    *("bind_to_device", "multicast_interface", "multicast_ttl", "multicast_loop"),
)
"""Fields of an address that its options set."""

FIELD_DEFAULTS = {each.name: each.default for each in dataclass_fields(Address)}

_OPTIONS = {
    "reuseport": _Option(INET, _boolean, "true or false"),
    "backlog": _Option(("tcp", "tls", "unix"), _positive, "a number from 1"),
    "mode": _Option(("unix",), _mode, "octal permissions such as 0660"),
    "cert": _Option(("tls", "fd", "systemd"), str, "a file name"),
    "key": _Option(("tls", "fd", "systemd"), str, "a file name"),
    "client_ca": _Option(("tls", "fd", "systemd"), str, "a file name"),
    "ca": _Option(("tls",), str, "a file name"),
    "alpn": _Option(("tls", "fd", "systemd"), _protocols, "protocol names with commas between them"),
    "proxy_protocol": _Option(STREAMS, _networks, "true, false, or networks such as 10.0.0.0/8,fd00::/8"),
    "v6only": _Option(INET, _boolean, "true or false"),
    "bind_to_device": _Option(INET, _device, "the name of an interface", "SO_BINDTODEVICE"),
    "fast_open": _Option(("tcp", "tls"), _positive, "a number from 1", "TCP_FASTOPEN"),
    "defer_accept": _Option(("tcp", "tls"), _seconds, "seconds from 1 to 32767", "TCP_DEFER_ACCEPT"),
    "multicast": _Option(("udp",), _groups, "addresses of groups such as 239.1.2.3,ff02::1:3"),
    "multicast_interface": _Option(("udp",), _device, "the name of an interface or its IPv4 address"),
    "multicast_ttl": _Option(("udp",), _hops, "a number from 0 to 255"),
    "multicast_loop": _Option(("udp",), _boolean, "true or false"),
    "bind": _Option(INET, _own_end, "an address and perhaps a port, as in 10.0.0.5, 10.0.0.5:4000 or [::1]:0"),
    "server_name": _Option(("tls",), _server_name, "a host name"),
    "starttls": _Option(("tls",), _boolean, "true or false"),
    "verify": _Option(("tls",), _boolean, "true or false"),
}


def _options(text: str, base: str, query: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    certs: list[tuple[str, str | None]] = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        parsed = _option(text, base, name, unquote(value, errors="surrogateescape"))
        if name == "cert":
            certs.append((parsed, None))
        elif name == "key":
            if not certs or certs[-1][1] is not None:
                raise AddressError(f"{text}: key has no cert before it; pairs are cert=FILE&key=FILE")
            certs[-1] = (certs[-1][0], parsed)
        elif name in fields:
            raise AddressError(f"{text}: option {name} is given twice")
        else:
            fields[name] = parsed
    if not certs and base != "tls" and ("client_ca" in fields or "alpn" in fields):
        raise AddressError(f"{text}: client_ca and alpn need a cert")
    return fields | {"certs": tuple(certs)}


def _option(text: str, base: str, name: str, value: str) -> Any:
    allowed = [option for option, spec in _OPTIONS.items() if base in spec.bases]
    if name not in allowed:
        raise AddressError(f"{text}: {base} has no option {name!r}; {_allowed(name, allowed)}")
    spec = _OPTIONS[name]
    if spec.needs and not hasattr(socket, spec.needs):
        raise AddressError(f"{text}: option {name}: this system has no {spec.needs}")
    try:
        if not value or "\0" in value:
            raise ValueError(value)
        return spec.parse(value)
    except (KeyError, ValueError) as error:
        raise AddressError(f"{text}: option {name} must be {spec.expected}, not {value!r}") from error


def _allowed(given: str, names: Iterable[str]) -> str:
    import difflib  # only who is wrong waits for it

    names = list(names)
    near = difflib.get_close_matches(given, names, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}allowed are {', '.join(names)}" if names else "it has none"
