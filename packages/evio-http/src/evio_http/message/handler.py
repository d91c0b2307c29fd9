"""Handlers: functions from requests to responses."""

from __future__ import annotations

from collections.abc import Callable

from .request import Request
from .response import Deferred, Response

__all__ = ["RequestHandler"]

RequestHandler = Callable[[Request], Response | Deferred | None]
"""Answers a request, or returns None to leave it to the next handler."""
