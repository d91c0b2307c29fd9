"""The version of Redis that the server tells its clients."""

from __future__ import annotations

__all__ = ["REDIS_VERSION"]

REDIS_VERSION = "7.0.15"
"""Clients decide by it what the server can do."""
