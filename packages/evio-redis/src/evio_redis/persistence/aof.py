"""Writing the append-only file.

Commands are collected in memory and written once per turn of the loop, before any reply of the turn leaves. With
``always`` they are synced to the disk then, too; with ``everysec`` a thread does that once a second, so that a slow
disk does not hold up the loop; with ``no`` it is left to the kernel.

When writing fails nothing is lost: what could not be written stays in memory, in order; writes are refused (MISCONF)
and it is tried again every tick until it succeeds. With ``always``, clients whose commands are not on the disk get no
reply: their connections are dropped.

When syncing fails the files are not to be trusted any more, whatever the next sync says (see :func:`datasync`): writes
are refused until a rewrite has made a new base of what is in memory.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LogCorrupt
from .child import write_base
from .disk import DiskThread, datasync, sync_directory
from .encode import LARGE, append, encode
from .loader import load_files
from .manifest import Manifest
from .rewrite import Rewrites

if TYPE_CHECKING:
    from ..command import Args, Command
    from ..database import Database
    from ..server import Server
    from ..session import Session

__all__ = ["AppendOnlyFile"]

log = logging.getLogger("evio_redis")

MULTI = encode([b"MULTI"])

RETRY = 1.0
"""Seconds after which a new base is tried again, at first; twice as many each time, up to a minute."""


LOG_THEMSELVES = frozenset({"exec", "eval", "evalsha"})
"""Commands that run others, which are logged instead."""


class AppendOnlyFile:
    """The log of one server. It is ``on``, off, or ``waiting`` for the first base after it was turned on with CONFIG
    SET: until then, what changes goes to a file that becomes the first increment after that base."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.grouped = False  # whether the loop calls ``flush``, once a turn; else every command does
        self.on = self.waiting = False
        self._manifest: Manifest | None = None  # once it is needed
        self._fd = -1
        self.size = 0  # of all files
        self.base_size = 0  # when it was rewritten last
        self._buffer: list[bytes | memoryview] = []
        self._buffered_large = False
        self._database: Database | None = None  # that the log has selected
        self._stamp = 0  # the second of the last time stamp
        self._transaction = 0  # EXEC under way: one more than what of it is in the log
        self._multi_at = 0  # where in the buffer its MULTI is
        self._unacknowledged: dict[Session, None] = {}  # whose commands are in the buffer
        self._doomed: dict[Session, None] = {}  # whose commands are not on the disk though they should be
        self._unsynced = False
        self._last_sync = time.monotonic()
        self.error = ""  # why writes are refused
        self._distrusted = False  # since a sync failed, until there is a new base
        self._behind = False  # the server has ended without having written everything
        self._retry_at, self._retry_delay = 0.0, RETRY
        self.flush_delay = 0.0  # seconds, of DEBUG AOF-FLUSH-SLEEP
        self._disk = DiskThread()
        self.rewrites = Rewrites(server, self)
        server.config.on_change("aof-disable-auto-gc", self._remove_history)

    # -- files

    @property
    def directory(self) -> Path:
        """Where all files are; CONFIG SET dir does not move them."""
        if self._manifest is not None:
            return self._manifest.directory
        return Path(self._server.config.dir) / self._server.config.appenddirname

    @property
    def manifest(self) -> Manifest:
        """The one in force. Raises :class:`LogCorrupt` and ``OSError`` when it is read for the first time."""
        if self._manifest is None:
            basename = self._server.config.appendfilename
            self._manifest = Manifest.load(self.directory, basename) or Manifest(self.directory, basename)
        return self._manifest

    def open(self) -> None:
        """At the start of the server: load what there is and go on after it. Raises :class:`LogCorrupt` and
        ``OSError``."""
        first = self._manifest is None  # else the server has run before: what is in memory is what the files say
        self.directory.mkdir(parents=True, exist_ok=True)
        self._adopt_old_file()
        if first and self.manifest.files:
            begin = time.monotonic()
            self._load()
            log.info("DB loaded from append only file: %.3f seconds", time.monotonic() - begin)
        elif not self.manifest.files or self._behind:
            path = self.manifest.add_base()
            log.info("Creating AOF base file %s on server start", path.name)
            write_base(self._server, path)
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
        self.size = self.base_size = sum(path.stat().st_size for path in self.manifest.files)
        self.on = True
        self._attach()

    def _adopt_old_file(self) -> None:
        """Up to version 6 Redis had a single file, in the working directory: it becomes the first base."""
        manifest, name = self.manifest, self._server.config.appendfilename
        old = self.directory.parent / name
        interrupted = manifest.base == name and not manifest.increments and not (self.directory / name).exists()
        if not old.is_file() or (manifest.files and not interrupted):
            return
        manifest.base, manifest.base_seq = name, 1
        manifest.save()
        os.replace(old, self.directory / name)
        sync_directory(self.directory)
        log.info("Successfully migrated an old-style AOF configuration (%s) into the AOF directory", name)

    def _load(self) -> None:
        load_files(self._server, self.manifest.files, bool(self.manifest.base))

    def reload(self) -> None:
        """Forget all keys and load them again (DEBUG LOADAOF). Raises :class:`LogCorrupt` and ``OSError``."""
        self.flush()
        if self.error:
            raise OSError(self.error)
        self._manifest = None
        with self.replaying():
            self._load()

    @contextmanager
    def replaying(self) -> Iterator[None]:
        """Forget all keys; what is done then is not logged, nor is the command that asked for it."""
        server = self._server
        databases = server.keyspace.databases
        changes = [database.changes for database in databases]
        attached, server.log, server.keyspace.propagate = server.log, None, None
        try:
            server.keyspace.flush(server.keyspace.databases)
            yield
        finally:
            server.log = attached
            server.keyspace.propagate = self.feed if attached else None
            for database, count in zip(databases, changes, strict=True):
                database.changes = count

    def _append_to(self, fd: int) -> None:
        if self._fd >= 0:
            self._disk.sync_and_close(self._fd)
        self._fd = fd
        self._database = None
        self._unsynced = False

    # -- on and off

    def turn_on(self) -> None:
        """CONFIG SET appendonly yes: begin to log, and to write a first base. Raises :class:`LogCorrupt` and
        ``OSError``."""
        if self.rewrites.active:
            log.warning("AOF was enabled but there is already an AOF rewriting in background: it begins anew")
            self.rewrites.kill()
        self.waiting = True
        if self._server.keyspace.clock.frozen:  # within EXEC, whose commands are to be in one file
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
        come. What cannot be written is told of."""
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
        """Write and sync what there is, and log no more. What cannot be written is told of."""
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
            os.close(self._fd)
            self._fd = -1
        if self.waiting:
            self._remove_temporary()
        self.on = self.waiting = False
        self._detach()

    def _attach(self) -> None:
        server = self._server
        server.log = self
        server.keyspace.propagate = self.feed
        server.dispatcher.choose_tables()

    def _detach(self) -> None:
        server = self._server
        server.log = None
        server.keyspace.propagate = None
        self._buffer.clear()
        self._distrusted = False
        self.error = server.write_error = ""
        server.dispatcher.choose_tables()

    # -- what commands do

    def begin(self, session: Session) -> int:
        """A command begins; returns what :meth:`end` has to be given."""
        session.rewritten.clear()
        return self._server.keyspace.dirty

    def end(self, session: Session, command: Command | None, args: Args, before: int) -> None:
        """A command has ended: log it if it has changed anything. None is one that had to wait, and has rewritten
        itself."""
        if self._server.keyspace.dirty == before:
            session.rewritten.clear()
            return
        if command is not None and command.name in LOG_THEMSELVES:
            return  # what they ran is logged already
        self.record(session, args)

    def record(self, session: Session, args: Args) -> None:
        """Log a command that has changed something, or what it has rewritten itself to."""
        if session.rewritten:
            for each in session.rewritten:
                self.feed(session.db, each)
            session.rewritten.clear()
        else:
            self.feed(session.db, args)
        self._unacknowledged[session] = None
        if not self.grouped and not self._transaction:
            self.flush()

    def begin_transaction(self) -> None:
        """What is fed from now on belongs together."""
        self._transaction = 1

    def end_transaction(self, session: Session) -> None:
        """The transaction is complete."""
        if self._transaction > 1:
            if self._transaction == 2 and self._buffer[self._multi_at : self._multi_at + 1] == [MULTI]:
                del self._buffer[self._multi_at]  # one command is whole or missing anyway
            else:
                self._buffer.append(encode([b"EXEC"]))
            self._unacknowledged[session] = None
        self._transaction = 0
        if not self.grouped:
            self.flush()

    def feed(self, database: Database, args: Args) -> None:
        """Log a command."""
        if self._fd < 0:
            return  # it is to begin with a base that is still to come
        if self._server.config.aof_timestamp_enabled:
            self._annotate()
        if database is not self._database:
            self._database = database
            self._buffer.append(encode([b"SELECT", b"%d" % database.index]))
        if self._transaction == 1:
            self._multi_at = len(self._buffer)
            self._buffer.append(MULTI)
        if self._transaction:
            self._transaction += 1
        if append(self._buffer, args):
            self._buffered_large = True

    def _annotate(self) -> None:
        now = int(time.time())
        if now > self._stamp:
            self._stamp = now
            self._buffer.append(b"#TS:%d\r\n" % now)

    # -- writing

    def flush(self) -> None:
        """Write what has been logged; with ``always``, sync it."""
        if self._doomed:
            self._drop_doomed()
        if not self._buffer or self._fd < 0:
            return
        if self.flush_delay:
            time.sleep(self.flush_delay)
        try:
            if self._server.config.latency_monitor_threshold:
                busy = "active-child" if self.rewrites.active else "alone"
                meanwhile = "pending-fsync" if self._disk.syncing else busy
                self._server.latency.timed(self._write, "aof-write", f"aof-write-{meanwhile}")
            else:
                self._write()
        except OSError as error:
            self._failed(error)
            return
        if self._server.config.appendfsync != "always":
            self._unsynced = True
        else:
            try:
                self._server.latency.timed(lambda: datasync(self._fd), "aof-fsync-always")
            except OSError as error:
                self._sync_failed(error)
                return
        self._unacknowledged.clear()
        if self.error and not self._distrusted:
            self._recovered()

    def _write(self) -> None:
        """Write the buffer; what is left when that fails stays there. Raises ``OSError``."""
        buffer = self._buffer
        self._buffer = []
        chunks = _joined(buffer) if self._buffered_large else [b"".join(buffer)]
        for index, chunk in enumerate(chunks):
            view, done = memoryview(chunk), 0
            while done < len(view):
                try:
                    done += os.write(self._fd, view[done:])
                except OSError:
                    self.size += done
                    self._buffer = [view[done:], *chunks[index + 1 :]]
                    raise
            self.size += done
        self._buffered_large = False

    @property
    def buffered(self) -> int:
        """Bytes that have not been handed to the kernel yet."""
        return sum(map(len, self._buffer))

    # -- failures

    def _failed(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        if not self.error:
            log.error("Cannot write the append-only file: %s; writes are refused until it works again", reason)
        self.error = reason
        self._server.write_error = f"MISCONF Errors writing to the AOF file: {reason}"
        if self._server.config.appendfsync == "always":
            self._doomed |= self._unacknowledged
            self._drop_doomed()
        self._unacknowledged.clear()
        self._server.dispatcher.choose_tables()

    def _sync_failed(self, error: OSError) -> None:
        if not self._distrusted:
            log.error("Cannot sync the append-only file: %s; it is to be rewritten", error.strerror)
            self._retry_at, self._retry_delay = 0.0, RETRY
        self._distrusted = True
        self._failed(error)

    def _drop_doomed(self) -> None:
        """With several loops, ``abort`` takes effect before the replies of a turn only when the loop of the connection
        calls it; so every loop does, before its replies leave."""
        for session in list(self._doomed):
            if session.conn is None:
                del self._doomed[session]
            else:
                session.conn.abort()

    def _recovered(self) -> None:
        log.warning("The append-only file can be written again")
        self.error = self._server.write_error = ""
        self._server.dispatcher.choose_tables()

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

    def _sync(self) -> None:
        now = time.monotonic()
        config = self._server.config
        if self._unsynced and config.appendfsync == "everysec" and now - self._last_sync >= 1.0:
            quiet = config.no_appendfsync_on_rewrite and self.rewrites.active
            if not quiet and self._disk.sync(self._fd):
                self._unsynced = False
                self._last_sync = now
        if self._disk.error is not None:
            error, self._disk.error = self._disk.error, None
            self._sync_failed(error)

    # -- what rewrites do

    def begin_increment(self) -> None:
        """What comes from now on goes to a new file. Raises ``OSError``, and then goes on as before."""
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
        self.size = self.base_size = sum(path.stat().st_size for path in manifest.files)

    def rewrite_failed(self) -> None:
        """A rewrite has failed. If it was for the first base, the next one begins with nothing."""
        if self.waiting and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._buffer.clear()
            self._remove_temporary()
            self.rewrites.scheduled = True

    def _remove_history(self) -> None:
        manifest = self._manifest
        if manifest is None or not manifest.history or self._server.config.aof_disable_auto_gc:
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


def _joined(buffer: list[bytes | memoryview]) -> list[bytes | memoryview]:
    """Few chunks, of which large ones are as they came."""
    chunks: list[bytes | memoryview] = []
    small: list[bytes | memoryview] = []
    for each in buffer:
        if len(each) < LARGE:
            small.append(each)
            continue
        chunks += [b"".join(small), each]
        small = []
    chunks.append(b"".join(small))
    return chunks
