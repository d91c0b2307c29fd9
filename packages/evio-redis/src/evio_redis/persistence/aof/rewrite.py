"""Rewriting the append-only file: when, and what becomes of the result.

A rewrite begins a new increment and has a child write the keyspace as of now; when that has succeeded, what it wrote is
the new base, and the files before the new increment are history.

https://redis.io/docs/latest/commands/bgrewriteaof/
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ...config.config import Config
from ...keyspace.keyspace import Keyspace
from ...model.services import Services
from ..child import Child
from .base import write_base
from .manifest import Manifest

__all__ = ["Rewrites"]

log: logging.Logger = logging.getLogger("evio_redis")

FAILURES_ALLOWED = 3
"""After as many in a row, rewrites that begin by themselves are put off..."""

SHORTEST_DELAY, LONGEST_DELAY = 60.0, 3600.0
"""...for this many seconds at first, for twice as many each time, for so many at most."""


class Log(Protocol):
    """The append-only file, as its rewrites see it."""

    on: bool
    error: str
    """The reason why writes are refused, or nothing."""

    size: int
    """Bytes of all files."""

    base_size: int
    """Bytes after the last rewrite."""

    @property
    def directory(self) -> Path:
        """The folder of all files."""

    @property
    def manifest(self) -> Manifest:
        """The list of the files."""

    def begin_increment(self) -> None:
        """Append to a new file from now on. Raises ``OSError``."""

    def adopt(self, manifest: Manifest) -> None:
        """Use the files of a manifest whose base is new. Raises ``OSError``, and then all is as before."""

    def rewrite_failed(self) -> None:
        """Do without the base that was to be made."""


class Rewrites:
    """The rewrites of one server's log."""

    def __init__(self, services: Services, aof: Log) -> None:
        self._config = services[Config]
        self._aof = aof
        self._keyspace = services[Keyspace]
        self._child = Child(services, "rewriting the append-only file")
        self.scheduled: bool = False  # to begin at the next tick
        self.others_active: Callable[[], bool] = lambda: False  # True while another child is at work; set by the server
        self._count = 0
        self._ok = True
        self._failures = 0  # in a row
        self._delay = 0.0
        self._not_before = 0.0

    @property
    def active(self) -> bool:
        """True while one is under way."""
        return self._child.active

    def begin(self) -> None:
        """Begin one. Raises ``OSError``."""
        self.scheduled = False
        aof = self._aof
        try:
            aof.directory.mkdir(parents=True, exist_ok=True)
            aof.begin_increment()
            path = aof.directory / f"temp-rewrite-{aof.manifest.basename}"
            self._child.begin(path, lambda path: write_base(self._config, self._keyspace, path))
        except OSError as error:
            log.warning("Can't rewrite append only file in background: %s", error.strerror or error)
            self._failed()
            raise
        log.info("Background append only file rewriting started by pid %d", self._child.pid)

    def kill(self) -> None:
        """End the one under way without result, and forget one that is scheduled."""
        self.scheduled = False
        if self._child.active:
            log.info("Killing running AOF rewrite child: %d", self._child.pid)
            self._child.kill()

    def complete(self) -> None:
        """Wait for the end of one, which is begun if need be. Raises ``OSError``."""
        if not self._child.active:
            self.begin()
        self._poll(wait=True)

    def tick(self) -> None:
        """Begin what is due and end what is over. What goes wrong is logged and tried again later."""
        try:
            if self._child.active:
                self._poll()
            elif self.others_active():
                return
            elif self.scheduled and not self._put_off():
                self.begin()
            elif self._grown() and not self._put_off():
                log.info("Starting automatic rewriting of AOF: it has grown to %d bytes", self._aof.size)
                self.begin()
        except OSError as error:
            log.error("Rewriting the append-only file failed: %s; the old one stays in use", error.strerror or error)

    # -- when

    def _grown(self) -> bool:
        config, aof = self._config, self._aof
        percentage = config.auto_aof_rewrite_percentage
        if not percentage or not aof.on or aof.error or aof.size <= config.auto_aof_rewrite_min_size:
            return False
        return aof.size >= max(aof.base_size, 1) * (100 + percentage) / 100

    def _put_off(self) -> bool:
        if self._failures < FAILURES_ALLOWED:
            self._delay = self._not_before = 0.0
            return False
        now = time.monotonic()
        if self._not_before:
            if now < self._not_before:
                return True
            self._not_before = 0.0
            return False
        self._delay = min(LONGEST_DELAY, max(SHORTEST_DELAY, 2 * self._delay))
        self._not_before = now + self._delay
        minutes = self._delay / 60
        log.warning("Background AOF rewrite has repeatedly failed and triggered the limit: next try in %d min", minutes)
        return True

    # -- what becomes of it

    def _poll(self, wait: bool = False) -> None:
        code = self._child.poll(wait)
        if code is None:
            return
        try:
            if code == 0:
                log.info("Background AOF rewrite terminated with success")
                self._adopt()
            elif code > 0:
                log.warning("Background AOF rewrite terminated with error")
            else:
                log.warning("Background AOF rewrite terminated by signal %d", -code)
        except OSError:
            code = 1
            raise
        finally:
            if code:
                self._failed()

    def _failed(self) -> None:
        self._ok = False
        self._failures += 1
        self._aof.rewrite_failed()

    def _adopt(self) -> None:
        aof = self._aof
        changed = aof.manifest.copy()
        base = changed.add_base(self._config.aof_use_rdb_preamble)
        os.replace(self._child.path, base)
        try:
            aof.adopt(changed)
        except OSError:
            base.unlink(missing_ok=True)
            raise
        self._ok = True
        self._failures = 0
        self._count += 1
        log.info("Background AOF rewrite finished successfully: %d bytes", aof.size)

    def info(self) -> dict[str, Any]:
        """Fields of ``INFO persistence``."""
        return {
            "aof_rewrite_in_progress": int(self.active),
            "aof_rewrite_scheduled": int(self.scheduled),
            "aof_last_rewrite_time_sec": self._child.seconds,
            "aof_current_rewrite_time_sec": self._child.age,
            "aof_last_bgrewrite_status": "ok" if self._ok else "err",
            "aof_rewrites": self._count,
            "aof_rewrites_consecutive_failures": self._failures,
        }
