"""A server that runs: what it listens on, since when, and how it is stopped."""

from __future__ import annotations

import logging
import secrets
import select
import threading
import time

import evio_core

from ..config.config import Config

__all__ = ["Running"]

log: logging.Logger = logging.getLogger("evio_redis")


class Running:
    """The server of evio_core, once there is one."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.core: evio_core.Server | None = None
        self.started: float = time.time()  # Unix time
        self.run_id: str = secrets.token_hex(20)
        self.poller = "epoll" if hasattr(select, "epoll") else "kqueue" if hasattr(select, "kqueue") else "select"
        self.ready: threading.Event = threading.Event()  # clients can connect: all is loaded

    @property
    def stats(self) -> evio_core.Stats:
        """The counters of the loops."""
        return self.core.stats() if self.core is not None else evio_core.Stats([])

    def shut_down(self) -> None:
        """Stop (SHUTDOWN)."""
        assert self.core is not None, "the server does not run"
        log.warning("User requested shutdown...")
        self.core.stop(self._config.shutdown_timeout)

    def reload_certificates(self) -> None:
        """Read the certificates anew, for new connections; bad ones are reported and the old ones stay. May be called
        from any thread and from a signal handler."""
        core = self.core

        def reload() -> None:
            assert core is not None
            try:
                core.reload_certificates()
                if self._config.tls_port:
                    log.info("certificates reloaded")
            except evio_core.TLSError as error:
                log.error("%s; the certificates in use stay", error)

        if core is not None:
            core.call(reload)
