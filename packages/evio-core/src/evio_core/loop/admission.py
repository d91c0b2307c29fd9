"""Limits of open connections, in all and from one address."""

from __future__ import annotations

import threading

from ..events import Options, SocketAddress

__all__ = ["Admission"]


class Admission:
    """Counts the connections of a server, whose loops share it; limits of 0 are none."""

    def __init__(self, options: Options) -> None:
        self._total = options.max_connections
        self._per_address = options.max_connections_per_address
        self._open = 0
        self._of: dict[str, int] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, options: Options) -> Admission | None:
        """The counter for these limits; None if there are none."""
        return cls(options) if options.max_connections or options.max_connections_per_address else None

    def enter(self, remote: SocketAddress) -> bool:
        """Count a connection, which is to ``leave``; False if it is one too many, which is not counted."""
        host = self._host(remote)
        with self._lock:
            count = self._of.get(host, 0)
            if 0 < self._total <= self._open or (host and 0 < self._per_address <= count):
                return False
            self._open += 1
            if host and self._per_address:
                self._of[host] = count + 1
        return True

    def leave(self, remote: SocketAddress) -> None:
        """Count one that has entered no longer."""
        host = self._host(remote)
        with self._lock:
            self._open -= 1
            if host and self._per_address:
                self._of[host] -= 1
                if not self._of[host]:
                    del self._of[host]

    def _host(self, remote: SocketAddress) -> str:
        """Empty for unix sockets, whose peers have no address."""
        return str(remote[0]) if isinstance(remote, tuple) else ""
