"""Channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .server import Server

__all__ = ["PubSub"]


class PubSub:
    def __init__(self, server: Server) -> None:
        pass

    def publish(self, channel: bytes, message: bytes) -> None:
        pass
