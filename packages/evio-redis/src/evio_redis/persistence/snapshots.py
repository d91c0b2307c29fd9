"""Snapshots: all keys as of one moment, in a file that Redis loads and that is loaded at the start.

A child process writes to a temporary file, which takes the place of the last snapshot once it is whole and synced.

https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/#snapshotting
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..config.config import Config
from ..keyspace.keyspace import Keyspace
from ..keyspace.last_save import LastSave
from ..model.route import Route
from ..model.services import Services
from .child import Child
from .disk import sync_directory
from .loading import Loading
from .rdb.codes import Facts
from .rdb.reader import loading_rdb
from .rdb.writer import write_rdb

__all__ = ["Snapshots"]

log: logging.Logger = logging.getLogger("evio_redis")

RETRY = 5.0
"""Seconds after a snapshot that failed before one begins by itself again."""

FAILING = "snapshots fail"
MISCONF = (
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may"
    " modify the data set are disabled, because this instance is configured to report errors during writes if RDB"
    " snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB"
    " error."
)


class Snapshots:
    """The snapshots of one server."""

    def __init__(self, services: Services) -> None:
        self._config = services[Config]
        self._keyspace = services[Keyspace]
        self._last = services[LastSave]
        self._route = services[Route]
        self._loading = services[Loading]
        self._child = Child(services, "writing a snapshot")
        self._ok = True
        self._count = 0
        self._tried = 0.0
        self._dirty = 0  # changes when the child was forked
        self.stream: Callable[[], Facts] = dict  # the replication stream as of now; set by the server
        self._stream: Facts = {}  # of the last snapshot
        self.scheduled: bool = False  # to begin at the next tick
        self.at_exit: bool | None = None  # to be written or not when the server ends; None if the save points decide
        self.others_active: Callable[[], bool] = lambda: False  # True while another child is at work; set by the server
        self._config.on_change("stop-writes-on-bgsave-error", self._refuse_or_accept)
        self._config.on_change("save", self._refuse_or_accept)

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self._config.dir) / self._config.dbfilename

    @property
    def active(self) -> bool:
        """True while one is being written."""
        return self._child.active

    # -- loading

    def to_load(self) -> int:
        """Bytes of the file, if there is one. Raises ``OSError``."""
        return self.path.stat().st_size if self.path.exists() else 0

    def loading(self, facts: Facts) -> Generator[int, None, None]:
        """Load the file at the start of the server, if there is one, piece by piece: yields how many bytes are done,
        and adds what it says about itself to ``facts``. Raises :class:`LogCorrupt` and ``OSError``."""
        if not self.path.exists():
            return
        begin = time.monotonic()
        yield from loading_rdb(self._keyspace, self.path, self._config, facts, now=self._keyspace.clock.ms())
        self._last.dirty = self._keyspace.dirty
        log.info("DB loaded from disk: %.3f seconds", time.monotonic() - begin)

    # -- saving

    def save(self) -> None:
        """Write one now, while everybody waits. Raises ``OSError``."""
        temporary = self._temporary(os.getpid())
        try:
            self._stream = self.stream()
            write_rdb(self._config, self._keyspace, temporary, facts=self._stream)
            self._adopt(temporary)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            log.warning("Error saving DB on disk: %s", error.strerror or error)
            raise
        self._saved(self._keyspace.dirty)
        log.info("DB saved on disk")

    def flushed(self) -> None:
        """Follow FLUSHALL: no snapshot is to bring back what is gone. What goes wrong is logged."""
        if self._child.active:
            log.info("FLUSHALL: the snapshot that is being written is given up")
            self._child.kill()
        if self._points() and not self._loading.active:
            with suppress(OSError):
                self.save()

    def begin(self) -> None:
        """Begin one in the background. Raises ``OSError``."""
        self.scheduled = False
        self._tried = time.monotonic()
        self._dirty = self._keyspace.dirty
        try:
            self._stream = facts = self.stream()
            self._child.begin(self._temporary, lambda path: write_rdb(self._config, self._keyspace, path, facts=facts))
        except OSError as error:
            log.warning("Can't save in background: fork: %s", error.strerror or error)
            self._failed()
            raise
        log.info("Background saving started by pid %d", self._child.pid)

    def tick(self) -> None:
        """Begin what is due and end what is over."""
        if self._child.active:
            code = self._child.poll()
            if code is not None:
                self._ended(code)
        elif (self.scheduled or self._due()) and not self.others_active():
            with suppress(OSError):  # it is logged, writes are refused, and it is tried again
                self.begin()

    def save_last(self, wanted: bool | None, force: bool = False) -> bool:
        """Write one before the server is stopped, if that is wanted; None if the save points decide. Returns False if
        it cannot be written, so that the server has to go on, unless it is forced to end."""
        if wanted is None:
            wanted = bool(self._points())
        self._end_child()
        if wanted and not self._loading.active:  # else half of the keys would replace all of them
            log.info("Saving the final RDB snapshot before exiting.")
            try:
                self.save()
            except OSError:
                log.warning("Error trying to save the DB%s", ". Exit anyway." if force else ", can't exit.")
                if not force:
                    log.warning("Errors trying to shut down the server. Check the logs for more information.")
                    return False
        self.at_exit = False
        return True

    def abandon(self) -> None:
        """Remove what :meth:`save` has written so far, as the process ends before the rest is."""
        self._temporary(os.getpid()).unlink(missing_ok=True)

    def _end_child(self) -> None:
        if self._child.active:
            log.warning("There is a child saving an .rdb. Killing it!")
            self._child.kill()

    def close(self) -> None:
        """Write one at the end of the server, if the save points say so. What goes wrong is logged."""
        self._end_child()
        wanted = bool(self._points()) if self.at_exit is None else self.at_exit
        changed = self._keyspace.dirty != self._last.dirty or self.stream() != self._stream
        if wanted and (changed or not self.path.exists()):
            log.info("Saving the final RDB snapshot before exiting.")
            try:
                self.save()
            except OSError:
                log.error("The final snapshot could not be written: what has changed since the last one is lost")

    def _points(self) -> list[tuple[int, int]]:
        numbers = [int(word) for word in self._config.save.split()]
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def _due(self) -> bool:
        """True if a save point is reached, and the last failure is some time ago."""
        if self._loading.active or not self._config.save or (not self._ok and time.monotonic() - self._tried < RETRY):
            return False
        changes, seconds = self._keyspace.dirty - self._last.dirty, time.time() - self._last.when
        for after, least in self._points():
            if changes >= max(least, 1) and seconds > after:
                log.info("%d changes in %d seconds. Saving...", least, after)
                return True
        return False

    def _temporary(self, pid: int) -> Path:
        return self.path.with_name(f"temp-{pid}.rdb")

    def _adopt(self, temporary: Path) -> None:
        os.replace(temporary, self.path)
        sync_directory(self.path.parent)

    def _ended(self, code: int) -> None:
        if code == 0:
            try:
                self._adopt(self._child.path)
            except OSError as error:
                log.warning("Error moving the snapshot to its place: %s", error.strerror or error)
                self._child.path.unlink(missing_ok=True)
                self._failed()
                return
            log.info("Background saving terminated with success")
            self._saved(self._dirty)
            return
        how = f"by signal {-code}" if code < 0 else "with error"
        log.warning("Background saving terminated %s", how)
        self._failed()

    def _saved(self, dirty: int) -> None:
        self._last.dirty, self._last.when = dirty, time.time()
        self._ok = True
        self._count += 1
        self._refuse_or_accept()

    def _failed(self) -> None:
        self._ok = False
        self._refuse_or_accept()

    def _refuse_or_accept(self) -> None:
        if self._ok or not self._config.save or not self._config.stop_writes_on_bgsave_error:
            self._route.accept_writes(FAILING)
        else:
            self._route.refuse_writes(FAILING, MISCONF)

    def info(self) -> dict[str, Any]:
        """Fields of ``INFO persistence``."""
        loaded, expired = self._keyspace.last_load
        return {
            "rdb_changes_since_last_save": self._keyspace.dirty - self._last.dirty,
            "rdb_bgsave_in_progress": int(self.active),
            "rdb_last_save_time": int(self._last.when),
            "rdb_last_bgsave_status": "ok" if self._ok else "err",
            "rdb_last_bgsave_time_sec": self._child.seconds,
            "rdb_current_bgsave_time_sec": self._child.age,
            "rdb_saves": self._count,
            "rdb_last_cow_size": 0,
            "rdb_last_load_keys_expired": expired,
            "rdb_last_load_keys_loaded": loaded,
        }
