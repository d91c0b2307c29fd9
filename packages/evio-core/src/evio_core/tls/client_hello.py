"""The protocols that a client offers in its ClientHello (RFC 7301 section 3.1), out of the bytes as they arrived.

OpenSSL ignores ALPN when there is no overlap unless a callback says otherwise, and the ssl module has none for that.
"""

from __future__ import annotations

__all__ = ["NO_APPLICATION_PROTOCOL", "offered_protocols"]

NO_APPLICATION_PROTOCOL = 120
"""The alert for a client that speaks none of a server's protocols (RFC 7301 section 3.2)."""

_HANDSHAKE, _CLIENT_HELLO, _ALPN = 22, 1, 16


def offered_protocols(received: bytes) -> list[str] | None:
    """The names in the ALPN extension of the ClientHello that ``received``, the first records of a connection, ends
    with; None if it has no such extension. It has been read by OpenSSL already: what is malformed does not get here."""
    message = _message(received)
    if message[:1] != bytes((_CLIENT_HELLO,)):
        return None
    at = 4 + 2 + 32  # type and length, version, random
    at += 1 + message[at]  # session
    at += 2 + _number(message, at)  # ciphers
    at += 1 + message[at]  # compression
    end = at + 2 + _number(message, at)
    at += 2
    while at < end:
        kind, size = _number(message, at), _number(message, at + 2)
        at += 4
        if kind == _ALPN:
            return _names(message[at + 2 : at + size])
        at += size
    return None


def _message(received: bytes) -> bytes:
    """The last handshake message, which may be in several records; after a HelloRetryRequest it is a second hello."""
    messages, at = b"", 0
    while at + 5 <= len(received):
        size = _number(received, at + 3)
        if received[at] == _HANDSHAKE:
            messages += received[at + 5 : at + 5 + size]
        at += 5 + size
    start = 0
    while (after := start + 4 + int.from_bytes(messages[start + 1 : start + 4], "big")) < len(messages):
        start = after
    return messages[start:]


def _names(data: bytes) -> list[str]:
    names, at = [], 0
    while at < len(data):
        names.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return names


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
