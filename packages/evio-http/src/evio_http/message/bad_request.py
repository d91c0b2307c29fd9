"""The end of a connection's input: a message that is not answered for what it asks."""

from __future__ import annotations

__all__ = ["BadRequest"]


class BadRequest(Exception):
    """A message is refused with ``status``; the connection is closed behind the answer, as nobody can say where the
    next message would begin (RFC 9112 section 9.6). ``reason`` is for logs, never for the peer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __eq__(self, other: object) -> bool:
        return type(other) is BadRequest and other.args == self.args

    def __hash__(self) -> int:
        return hash(self.args)
