"""Configuration."""

from __future__ import annotations

from typing import Any

from evio_core import LoadBalance

__all__ = ["Config"]


class Config:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.databases = 16
        self.requirepass = settings.get("requirepass", "")
        self.maxclients = 10000
        self.loops = 1
        self.balance = LoadBalance.ROUND_ROBIN
        self.port = settings.get("port", 6380)

    def addresses(self) -> list[str]:
        return [f"tcp://127.0.0.1:{self.port}"]
