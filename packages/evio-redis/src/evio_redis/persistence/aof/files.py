"""The append-only file: its files, turning it on and off, rewriting it. See :mod:`.aof_writer` for what is written."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...errors import LogCorrupt
from ...model.services import Services
from ..disk import sync_directory
from .base import write_base
from .loader import loading_files
from .manifest import Manifest
from .rewrite import Rewrites
from .writer import LogWriter

__all__ = ["AppendOnlyFile"]

log: logging.Logger = logging.getLogger("evio_redis")


class AppendOnlyFile(LogWriter):
    """The log of one server. It is ``on``, off, or ``waiting`` for the first base after it was turned on with CONFIG
    SET: until then, what changes goes to a file that becomes the first increment after that base."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._services = services
        self.on: bool = False
        self.waiting: bool = False
        self._attached = False  # commands are logged for the file
        self._manifest: Manifest | None = None  # once it is needed
        self.base_size: int = 0  # when it was rewritten last
        self._behind = False  # the server has ended without having written everything
        self.rewrites: Rewrites = Rewrites(services, self)
        self._config.on_change("aof-disable-auto-gc", self._remove_history)

    # -- files

    @property
    def directory(self) -> Path:
        """The folder of all files; CONFIG SET dir does not move them."""
        if self._manifest is not None:
            return self._manifest.directory
        return Path(self._config.dir) / self._config.appenddirname

    @property
    def manifest(self) -> Manifest:
        """The one in force. Raises :class:`LogCorrupt` and ``OSError`` when it is read for the first time."""
        if self._manifest is None:
            basename = self._config.appendfilename
            self._manifest = Manifest.load(self.directory, basename) or Manifest(self.directory, basename)
        return self._manifest

    def opening(self) -> Generator[int, None, None]:
        """At the start of the server: load what there is, piece by piece, and go on after it; yields how many bytes are
        done. Raises :class:`LogCorrupt` and ``OSError``."""
        first = self._manifest is None  # else the server has run before: what is in memory is what the files say
        self.directory.mkdir(parents=True, exist_ok=True)
        self._adopt_old_file()
        if first and self.manifest.files:
            begin = time.monotonic()
            yield from self._loading()
            log.info("DB loaded from append only file: %.3f seconds", time.monotonic() - begin)
        elif not self.manifest.files or self._behind:
            path = self.manifest.add_base(self._config.aof_use_rdb_preamble)
            log.info("Creating AOF base file %s on server start", path.name)
            write_base(self._config, self._keyspace, path)
            self.manifest.retire_increments(0)
        if self.manifest.increments:
            self._append_to(_opened(self.manifest.files[-1]))
        else:
            path = self.manifest.add_increment()
            log.info("Creating AOF incr file %s on server start", path.name)
            self._append_to(_opened(path, os.O_TRUNC))
        self.manifest.save()
        self._behind = False
        self._remove_history()
        self.base_size = sum(path.stat().st_size for path in self.manifest.files)
        self.size: int = self.base_size
        self.on = True
        self._attach()

    def _adopt_old_file(self) -> None:
        """Up to version 6 Redis had a single file, in the working directory: it becomes the first base."""
        manifest, name = self.manifest, self._config.appendfilename
        old = self.directory.parent / name
        interrupted = manifest.base == name and not manifest.increments and not (self.directory / name).exists()
        if not old.is_file() or (manifest.files and not interrupted):
            return
        manifest.base, manifest.base_seq = name, 1
        manifest.save()
        os.replace(old, self.directory / name)
        sync_directory(self.directory)
        log.info("Successfully migrated an old-style AOF configuration (%s) into the AOF directory", name)

    def _loading(self) -> Generator[int, None, None]:
        return loading_files(self._services, self.manifest.files, bool(self.manifest.base))

    def to_load(self) -> int:
        """Bytes of the files that there are. Raises :class:`LogCorrupt` and ``OSError``."""
        return sum(path.stat().st_size for path in self.manifest.files if path.exists())

    def reload(self) -> None:
        """Forget all keys and load them again (DEBUG LOADAOF). Raises :class:`LogCorrupt` and ``OSError``."""
        self.flush()
        if self.error:
            raise OSError(self.error)
        self._manifest = None
        with self.replaying():
            for _ in self._loading():
                pass

    @contextmanager
    def replaying(self) -> Iterator[None]:
        """Forget all keys and libraries; what is done then is not logged, nor is the command that asked for it."""
        databases = self._keyspace.databases
        changes = [database.changes for database in databases]
        try:
            with self.suspended():
                self._keyspace.flush(databases)
                self._keyspace.functions.clear()
                yield
        finally:
            for database, count in zip(databases, changes, strict=True):
                database.changes = count

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Log nothing meanwhile."""
        logging_before, propagate = self.logging, self._keyspace.propagate
        self.logging, self._keyspace.propagate = False, None
        try:
            yield
        finally:
            self.logging, self._keyspace.propagate = logging_before, propagate

    # -- on and off

    def turn_on(self) -> None:
        """CONFIG SET appendonly yes: begin to log, and to write a first base. Raises :class:`LogCorrupt` and
        ``OSError``."""
        if self.rewrites.active:
            log.warning("AOF was enabled but there is already an AOF rewriting in background: it begins anew")
            self.rewrites.kill()
        self.waiting = True
        within_exec = self._keyspace.clock.frozen  # whose commands are to be in one file
        if within_exec or self.rewrites.others_active():
            why = "during a transaction" if within_exec else "but there is already another background operation"
            log.warning("AOF was enabled %s. An AOF background was scheduled to start when possible.", why)
            self.rewrites.scheduled = True
            return
        try:
            self.rewrites.begin()
        except (OSError, LogCorrupt):
            self.waiting = False
            self._detach()
            raise

    def close(self) -> None:
        """At the end of the server: what it holds is to be in the log, the first base included if that is still to
        come. Log a write error."""
        if self.waiting:
            log.warning("Writing initial AOF, the server ends when it is complete")
            try:
                self.rewrites.complete()
            except OSError as error:
                log.error("The initial AOF could not be written: %s", error.strerror or error)
        if self.on:
            log.info("Calling fsync() on the AOF file.")
        self.turn_off()

    def turn_off(self) -> None:
        """Write and sync what there is, and log no more. Log what cannot be written."""
        self.rewrites.kill()
        self._disk.close()
        self.flush()
        self._drop_doomed()
        self._behind = bool(self._buffer)
        if self._behind:
            log.error("%d bytes of the append-only file could not be written", self.buffered)
        if self._fd >= 0:
            try:
                os.fsync(self._fd)
            except OSError as error:
                log.error("Fail to fsync the AOF file: %s", error.strerror)
            self._detach_file()
        if self.waiting:
            self._remove_temporary()
        self.on = False
        self.waiting = False
        self._detach()

    def _attach(self) -> None:
        self._attached = True
        self._follow()

    def _detach(self) -> None:
        self._attached = False
        self._forget_buffer()
        self._distrusted = False
        self._accept_writes()
        self._follow()

    def _follow(self) -> None:
        if self._attached or self.replicate is not None:
            self.logging: bool = True
            self._keyspace.propagate = self.feed
            self._route.hold("append-only file", writes_only=True)
        else:
            self.logging = False
            self._keyspace.propagate = None
            self._route.release("append-only file")

    # -- now and then

    def tick(self) -> None:
        """Sync once a second, try again what failed, begin and end rewrites."""
        self.flush()
        if self._fd >= 0:
            self._sync()
        if self._distrusted and not self.rewrites.active and time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + self._retry_delay
            self._retry_delay = min(60.0, 2 * self._retry_delay)
            self.rewrites.scheduled = False
            with suppress(OSError):  # it is logged, and tried again
                self.rewrites.begin()
        else:
            self.rewrites.tick()

    # -- what rewrites do

    def begin_increment(self) -> None:
        """Append to a new file from now on. Raises ``OSError``, and then goes on as before."""
        if self.waiting:
            self._temporary.unlink(missing_ok=True)
            self._append_to(_opened(self._temporary, os.O_TRUNC))
            self._attach()
        elif self.on:
            self.flush()
            if self._buffer:
                raise OSError(self.error)  # half a command may only be at the end of the last file
            changed = self.manifest.copy()
            path = changed.add_increment()
            fd = _opened(path, os.O_TRUNC)  # before the manifest names it: it must exist after a crash
            try:
                changed.save()
            except OSError:
                os.close(fd)
                path.unlink(missing_ok=True)
                raise
            self._append_to(fd)
            self._manifest = changed

    @property
    def _temporary(self) -> Path:
        return self.directory / f"temp-{self.manifest.basename}.incr"

    def _remove_temporary(self) -> None:
        path = self._temporary
        log.info("Removing the temp incr aof file %s", path.name)
        path.unlink(missing_ok=True)

    def adopt(self, manifest: Manifest) -> None:
        """A rewrite has succeeded: ``manifest`` has its base. Raises ``OSError``, and then all is as before."""
        if self.waiting:
            manifest.retire_increments(0)
            path = manifest.add_increment()
            os.replace(self._temporary, path)
            try:
                manifest.save()
            except OSError:
                os.replace(path, self._temporary)
                raise
        else:
            manifest.retire_increments(1 if self.on else 0)
            manifest.save()
        self._manifest = manifest
        if self.waiting:
            self.waiting = False
            self.on = True
        self._distrusted = False
        if self.error and not self._buffer:
            self._recovered()
        self._remove_history()
        self.base_size = sum(path.stat().st_size for path in manifest.files)
        self.size = self.base_size

    def rewrite_failed(self) -> None:
        """A rewrite has failed. If it was for the first base, the next one begins with nothing."""
        if self.waiting and self._fd >= 0:
            self.flush()
            self._detach_file()
            self._forget_buffer()
            self._remove_temporary()
            self.rewrites.scheduled = True

    def _remove_history(self) -> None:
        manifest = self._manifest
        if manifest is None or not manifest.history or self._config.aof_disable_auto_gc:
            return
        changed = manifest.copy()
        changed.history.clear()
        try:
            changed.save()
        except OSError as error:
            log.warning("Cannot save the manifest of the append-only file: %s", error.strerror)
            return
        self._disk.remove(manifest.directory / name for name, _ in manifest.history)
        self._manifest = changed

    # -- INFO

    def info(self) -> dict[str, Any]:
        """Fields of ``INFO persistence``."""
        fields = {
            "aof_enabled": int(self.on or self.waiting),
            **self.rewrites.info(),
            "aof_last_write_status": "err" if self.error else "ok",
        }
        if self.on or self.waiting:
            fields |= {
                "aof_current_size": self.size,
                "aof_base_size": self.base_size,
                "aof_pending_rewrite": 0,
                "aof_buffer_length": self.buffered,
                "aof_pending_bio_fsync": int(self._disk.syncing),
                "aof_delayed_fsync": self._disk.delayed,
            }
        return fields


def _opened(path: Path, flags: int = 0) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | flags, 0o644)
