"""Clients that wait for a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .server import Server

__all__ = ["Blocking"]


class Blocking:
    def __init__(self, server: Server) -> None:
        self.waiting = 0

    def serve(self) -> None:
        pass

    def forget(self, session: object) -> None:
        pass

    def unblock(self, session: object, error: bool) -> bool:
        return False
