"""A request: what the bytes of one message mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .target import Target

__all__ = ["KNOWN_METHODS", "Headers", "Request", "join_fields", "make_request"]

KNOWN_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE"))
"""Methods that a server knows (RFC 9110 section 9, RFC 5789); what others ask for cannot be known."""


class Headers:
    """The fields of a message; names are compared without regard to case (RFC 9110 section 5.1). Values are
    decoded as Latin-1; several lines of one name are one value, joined by ", " (section 5.3)."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, str]) -> None:
        """``fields`` has lower-case names."""
        self._fields = fields

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of a field, or ``default``."""
        return self._fields.get(name.lower(), default)

    def has_any(self, names: frozenset[str]) -> bool:
        """Tell whether there is a field of any of these lower-case names."""
        return not names.isdisjoint(self._fields)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._fields

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields.items())

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"


def join_fields(lines: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Make the fields of a message, with lower-case names, of its field lines, which are valid."""
    fields: dict[str, str] = {}
    for raw_name, raw_value in lines:
        name, value = raw_name.decode("ascii").lower(), raw_value.rstrip(b"\t ").decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


class Request:
    """One request (RFC 9110 section 3.4): a plain value."""

    __slots__ = (
        "body",
        "client",
        "has_body",
        "headers",
        "host",
        "keep_alive",
        "method",
        "path",
        "query",
        "scheme",
        "selective",
        "target",
        "version",
    )

    def __init__(
        self,
        method: str,
        target: bytes,
        version: str,
        headers: Headers,
        *,
        path: bytes,
        query: bytes,
        host: str,
        scheme: str = "http",
        keep_alive: bool = True,
        has_body: bool = False,
        selective: bool = True,
    ) -> None:
        self.method: str = method
        self.target: bytes = target
        """The request target as it came (RFC 9112 section 3.2)."""
        self.version: str = version
        """``"1.0"``, ``"1.1"`` or ``"2.0"``."""
        self.headers: Headers = headers
        self.path: bytes = path
        """The path of the target, not decoded; ``b"*"`` for ``OPTIONS *``."""
        self.query: bytes = query
        """The query, behind the first "?", not decoded; empty if there is none."""
        self.host: str = host
        """The host and port that were asked for, in lower case; empty in HTTP/1.0 without Host."""
        self.scheme: str = scheme
        """``"http"``, or ``"https"`` over TLS."""
        self.keep_alive: bool = keep_alive
        """True if the client can use the connection for another request (RFC 9112 section 9.3)."""
        self.has_body: bool = has_body
        self.selective: bool = selective
        """False if it is known to have no conditions and to ask for no part of a representation: none of the fields of
        RFC 9110 sections 13.1 and 14.2."""
        self.body: bytes = b""
        """The content; empty unless a handler of the program's own is asked."""
        self.client: str = ""
        """The peer's address, or behind trusted proxies the one they name; set for handlers of the program's own."""

    def for_handler(self, client: str) -> Request:
        """A copy that is the handler's own."""
        copy = Request(
            self.method,
            self.target,
            self.version,
            self.headers,
            path=self.path,
            query=self.query,
            host=self.host,
            scheme=self.scheme,
            keep_alive=self.keep_alive,
            has_body=self.has_body,
            selective=self.selective,
        )
        copy.body = self.body
        copy.client = client
        return copy

    def without(self, names: frozenset[str]) -> Request:
        """A copy without the fields of these lower-case names."""
        copy = self.for_handler(self.client)
        copy.headers = Headers({name: value for name, value in self.headers if name not in names})
        return copy

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target!r} HTTP/{self.version}>"


def make_request(
    method: str, raw_target: bytes, target: Target, version: str, fields: dict[str, str], scheme: str
) -> Request:
    """Make a request of what was parsed. ``fields`` has lower-case names; the lines of one field are joined by ", "."""
    connection = fields.get("connection")
    options = () if connection is None else {option.strip() for option in connection.lower().split(",")}
    return Request(
        method,
        raw_target,
        version,
        Headers(fields),
        path=target.path,
        query=target.query,
        host=target.host or fields.get("host", "").lower(),
        scheme=scheme,
        keep_alive="close" not in options and (version != "1.0" or "keep-alive" in options),
        has_body="transfer-encoding" in fields or fields.get("content-length", "").strip("0") != "",
    )
