"""The state of tracking of one client (CLIENT TRACKING)."""

from __future__ import annotations

__all__ = ["Tracker"]


class Tracker:
    """The wishes of one client: of what it is to be told, and in which way."""

    __slots__ = ("bcast", "broken", "caching", "id", "noloop", "optin", "optout", "prefixes", "redirect")

    def __init__(self, identity: int) -> None:
        self.id: int = identity  # of the client
        self.redirect: int = 0  # the id of the client that gets the messages; 0 for the client itself
        self.bcast: bool = False
        self.optin: bool = False
        self.optout: bool = False
        self.noloop: bool = False
        self.caching: bool = False  # CLIENT CACHING was called: the next command is an exception
        self.broken: bool = False  # that other client is gone
        self.prefixes: set[bytes] = set()

    @property
    def remembers(self) -> bool:
        """True if the keys that the client reads now are to be remembered."""
        if self.optin or self.bcast:
            return self.caching and not self.bcast
        return not (self.optout and self.caching)
