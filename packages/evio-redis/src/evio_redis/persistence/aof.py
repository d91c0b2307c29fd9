"""Writing the append-only file.

Commands are collected in memory and written once per turn of the loop, before any reply of the turn leaves. With
``always`` they are synced to the disk then, too; with ``everysec`` a thread does that once a second, so that a slow
disk does not hold up the loop; with ``no`` it is left to the kernel.

When writing fails nothing is lost: what could not be written stays in memory, in order; writes are refused (MISCONF)
and it is tried again every tick until it succeeds. With ``always``, clients whose commands are not on the disk get no
reply: their connections are dropped.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LogCorrupt
from .encode import encode
from .loader import load_commands
from .manifest import Manifest, sync_directory
from .rewrite import Rewrite

if TYPE_CHECKING:
    from ..command import Args, Command
    from ..database import Database
    from ..server import Server
    from ..session import Session

__all__ = ["AppendOnlyFile"]

log = logging.getLogger("evio_redis")

DATASYNC = getattr(os, "fdatasync", os.fsync)


class AppendOnlyFile:
    """The log of one server. Made by :meth:`open` and ended by :meth:`close`."""

    def __init__(self, server: Server, grouped: bool) -> None:
        self._server = server
        self.grouped = grouped  # whether the loop calls ``flush``, once a turn; else every command does
        config = server.config
        self._directory = Path(config.dir) / config.appenddirname
        self._manifest = Manifest(self._directory, config.appendfilename)
        self._fd = -1
        self._size = 0  # of all files
        self._base_size = 0  # when it was rewritten last
        self._buffer: list[bytes] = []
        self._database: Database | None = None  # that the log has selected
        self._transaction = 0  # EXEC under way, and whether anything of it is in the log yet
        self._unacknowledged: dict[Session, None] = {}  # whose commands are in the buffer
        self._unsynced = False
        self._last_sync = time.monotonic()
        self._error = ""
        self._syncer = _Syncer()
        self.rewriting = Rewrite(server)

    # -- opening and closing

    def open(self) -> None:
        """Load what there is and go on after it. Raises :class:`LogCorrupt` and ``OSError``."""
        self._directory.mkdir(parents=True, exist_ok=True)
        found = Manifest.load(self._directory, self._manifest.basename)
        begin = time.monotonic()
        if found is not None:
            self._manifest = found
            self._load(found.files)
            self._remove_history()
            keys = sum(len(database.data) for database in self._server.keyspace.databases)
            log.info("Append-only file loaded: %d keys in %.3f s", keys, time.monotonic() - begin)
        elif any(database.data for database in self._server.keyspace.databases):
            self._start_base()
        self._open_increment()
        self._base_size = self._size

    def _load(self, files: list[Path]) -> None:
        for path in files:
            if not path.exists():
                raise LogCorrupt(f"{path} is in the manifest but not in the directory")
        for path in files:
            if path.suffix == ".rdb" or _is_rdb(path):
                from .rdb import load_rdb

                load_rdb(self._server.keyspace, path)
                self._size += path.stat().st_size
            else:
                torn = path == files[-1] and self._server.config.aof_load_truncated
                self._size += load_commands(self._server, path, torn)

    def _start_base(self) -> None:
        """The log is turned on with keys there already: they are its base."""
        name, seq = self._manifest.next_base()
        self.rewriting.write(self._directory / name)
        self._manifest.base, self._manifest.base_seq = name, seq
        self._size = (self._directory / name).stat().st_size

    def _open_increment(self) -> None:
        """Append to the last increment, or to a new one if there is none."""
        if not self._manifest.increments:
            self._manifest.increments.append(self._manifest.next_increment())
        path = self._directory / self._manifest.increments[-1][0]
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._database = None
        self._manifest.save()

    def close(self) -> None:
        """Write and sync what there is. What cannot be written is told of."""
        self.rewriting.abandon()
        self._syncer.close()
        self.flush()
        if self._fd >= 0:
            try:
                os.fsync(self._fd)
            except OSError as error:
                log.error("Cannot sync the append-only file: %s", error.strerror)
            os.close(self._fd)
            self._fd = -1

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
        if command is not None and command.name == "exec":
            return  # its commands are logged already
        for each in session.rewritten or [args]:
            self.feed(session.db, each)
        session.rewritten.clear()
        self._unacknowledged[session] = None
        if not self.grouped and not self._transaction:
            self.flush()

    def begin_transaction(self) -> None:
        """What is fed from now on belongs together."""
        self._transaction = 1

    def end_transaction(self, session: Session) -> None:
        """The transaction is complete."""
        if self._transaction > 1:
            self._buffer.append(encode([b"EXEC"]))
            self._unacknowledged[session] = None
        self._transaction = 0
        if not self.grouped:
            self.flush()

    def feed(self, database: Database, args: Args) -> None:
        """Log a command."""
        if self._transaction == 1:
            self._transaction = 2
            self._buffer.append(encode([b"MULTI"]))
        if database is not self._database:
            self._database = database
            self._buffer.append(encode([b"SELECT", b"%d" % database.index]))
        self._buffer.append(encode(args))

    # -- writing

    def flush(self) -> None:
        """Write what has been logged; with ``always``, sync it."""
        if not self._buffer:
            return
        data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
        self._buffer.clear()
        try:
            written = self._write(data)
            self._size += written
            if self._server.config.appendfsync == "always":
                DATASYNC(self._fd)
            else:
                self._unsynced = True
        except OSError as error:
            self._failed(error)
        else:
            self._unacknowledged.clear()
            self._recovered()

    def _write(self, data: bytes) -> int:
        """Write all of it; what is left when that fails goes back to the buffer. Raises ``OSError``."""
        view, done = memoryview(data), 0
        while done < len(data):
            try:
                done += os.write(self._fd, view[done:])
            except OSError:
                self._size += done
                self._buffer.insert(0, bytes(view[done:]))
                raise
        return done

    def _failed(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        if not self._error:
            log.error("Cannot write the append-only file: %s; writes are refused until it works again", reason)
        self._error = reason
        self._server.write_error = f"MISCONF Errors writing to the AOF file: {reason}"
        if self._server.config.appendfsync == "always":
            for session in self._unacknowledged:
                if session.conn is not None:
                    session.conn.abort()
        self._unacknowledged.clear()
        self._server.dispatcher.choose_tables()

    def _recovered(self) -> None:
        if self._error:
            log.warning("The append-only file can be written again")
            self._error = self._server.write_error = ""
            self._server.dispatcher.choose_tables()

    def tick(self) -> None:
        """Now and then: sync once a second, try again what failed, begin and end rewrites."""
        self.flush()
        now = time.monotonic()
        config = self._server.config
        if self._unsynced and config.appendfsync == "everysec" and now - self._last_sync >= 1.0:
            quiet = config.no_appendfsync_on_rewrite and self.rewriting.active
            if not quiet and self._syncer.begin(self._fd):
                self._unsynced = False
                self._last_sync = now
        if self._syncer.error is not None:
            error, self._syncer.error = self._syncer.error, None
            self._unsynced = True
            self._failed(error)
        elif self._error and not self._buffer:
            self._probe()
        if self.rewriting.active:
            self._poll_rewrite()
        elif self._grown():
            log.info("Starting to rewrite the append-only file: it has grown to %d bytes", self._size)
            self.rewrite()

    def _probe(self) -> None:
        """After a failed sync nothing may be left to write; whether syncing works again is what shows."""
        try:
            DATASYNC(self._fd)
        except OSError:
            return
        self._recovered()

    def _grown(self) -> bool:
        config = self._server.config
        percentage = config.auto_aof_rewrite_percentage
        if not percentage or self._size < config.auto_aof_rewrite_min_size or self._error:
            return False
        return self._size >= max(self._base_size, 1) * (100 + percentage) / 100

    # -- rewriting

    def rewrite(self) -> None:
        """Begin to write a new base in a child process; what comes from now on goes to a new increment. Raises
        ``OSError`` if that cannot be begun."""
        self.flush()
        old = self._fd
        self._manifest.increments.append(self._manifest.next_increment())
        try:
            self._open_increment()
        except OSError:
            self._manifest.increments.pop()
            raise
        self._syncer.wait()
        DATASYNC(old)
        os.close(old)
        self._unsynced = False
        self.rewriting.begin(self._directory / f"temp-rewriteaof-{os.getpid()}.aof")

    def _poll_rewrite(self) -> None:
        done = self.rewriting.poll()
        if done is None:
            return
        if not done:
            log.error("Rewriting the append-only file failed; the old one stays in use")
            self._base_size = self._size  # not again before it has grown again
            return
        name, seq = self._manifest.next_base()
        os.replace(self.rewriting.path, self._directory / name)
        manifest = self._manifest
        replaced = [(manifest.base, manifest.base_seq)] if manifest.base else []
        manifest.history += replaced + manifest.increments[:-1]
        manifest.base, manifest.base_seq = name, seq
        manifest.increments = manifest.increments[-1:]
        manifest.save()
        self._remove_history()
        self._size = sum(path.stat().st_size for path in manifest.files)
        self._base_size = self._size
        log.info("The append-only file is rewritten: %d bytes", self._size)

    def _remove_history(self) -> None:
        if not self._manifest.history:
            return
        for name, _ in self._manifest.history:
            (self._directory / name).unlink(missing_ok=True)
        self._manifest.history.clear()
        self._manifest.save()
        sync_directory(self._directory)

    # -- INFO

    def info(self) -> dict[str, Any]:
        """Fields of ``INFO persistence``."""
        return {
            "aof_last_write_status": "err" if self._error else "ok",
            "aof_current_size": self._size,
            "aof_base_size": self._base_size,
            "aof_pending_rewrite": 0,
            "aof_buffer_length": sum(map(len, self._buffer)),
            "aof_pending_bio_fsync": int(self._syncer.busy),
            "aof_delayed_fsync": self._syncer.delayed,
            **self.rewriting.info(),
        }


def _is_rdb(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(5) == b"REDIS"


class _Syncer:
    """A thread that syncs a file: fsync takes as long as the disk likes."""

    def __init__(self) -> None:
        self._wanted = threading.Semaphore(0)
        self._fd = -1
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None
        self.error: OSError | None = None
        self.delayed = 0

    @property
    def busy(self) -> bool:
        """Whether it syncs now."""
        return not self._idle.is_set()

    def begin(self, fd: int) -> bool:
        """Sync this file; False if the last time is not over yet."""
        if self.busy:
            self.delayed += 1
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="evio-redis-fsync", daemon=True)
            self._thread.start()
        self._fd = fd
        self._idle.clear()
        self._wanted.release()
        return True

    def wait(self) -> None:
        """Wait until it does not sync."""
        self._idle.wait()

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self.wait()
            self._fd = -1
            self._wanted.release()
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while True:
            self._wanted.acquire()
            if self._fd < 0:
                return
            try:
                DATASYNC(self._fd)
            except OSError as error:
                self.error = error
            self._idle.set()
