"""Connections over TLS to the servers of a workload with a certificate."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path

from . import certificate
from .load import connected
from .server import Server

__all__ = ["secured"]


@cache
def trusting(authority: Path) -> ssl.SSLContext:
    """Settings that trust one authority."""
    return ssl.create_default_context(cafile=str(authority))


def secured(server: Server, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    """A new connection; one that resumes ``session``, if the server agrees."""
    context = trusting(server.directory / certificate.AUTHORITY)
    return context.wrap_socket(connected(server.port), server_hostname="localhost", session=session)
