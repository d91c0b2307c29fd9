"""The common ground of an address's connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..events import HandlerFactory, Options
from .proxy_header import Network

__all__ = ["Origin"]


@dataclass(slots=True, frozen=True)
class Origin:
    """An address as its connections and datagrams know it."""

    name: str
    """The address as it was given."""
    index: int
    """Its position among the addresses given to ``serve``; -1 for a dialled one."""
    options: Options
    handler: HandlerFactory | None = None
    """Makes the handler of a connection; None: it has the callbacks of ``Events``."""
    proxy_protocol: tuple[Network, ...] = ()
    """Networks whose PROXY headers are believed."""
    new_session: Callable[[], Any] | None = None
    """Makes the TLS session of a connection that begins in plain; None: the address knows of no TLS."""
    scheme: str = "tcp"
    """``tcp``, ``udp`` or ``unix``, whatever its address says: ``fd`` and ``tls`` are one of these."""
