"""The output of commands to the log, and its way to the disk.

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
from collections.abc import Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from hiredis import pack_command

from ...config.config import Config
from ...keyspace.database import Database
from ...keyspace.keyspace import Keyspace
from ...model.command import Args, Command, Function
from ...model.route import Route
from ...model.services import Services
from ...stats.latency_monitor import Latency
from ..disk import DiskThread, datasync
from .encode import LARGE, encode, encode_all, encoded_size
from .rewrite import Rewrites

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...clients.session import Session

__all__ = ["LogWriter"]

log: logging.Logger = logging.getLogger("evio_redis")

MULTI = encode([b"MULTI"])

RETRY = 1.0
"""Seconds after which a new base is tried again, at first; twice as many each time, up to a minute."""

LOG_THEMSELVES = frozenset({"exec", "eval", "evalsha", "fcall"})
"""Commands that run others, which are logged instead."""


class _ForFile(bytes):
    """A piece of the log that replicas do not get: a time stamp."""


class _ForReplicas(bytes):
    """A piece that only replicas get: a message, which is no change of any key."""


class LogWriter:
    """The file at the end of the log, and what is on its way to it. Replicas get the same commands (``replicate``),
    also while there is no file."""

    rewrites: Rewrites

    def __init__(self, services: Services) -> None:
        self._config = services[Config]
        self._keyspace = services[Keyspace]
        self._latency = services[Latency]
        self._route = services[Route]
        self.logging: bool = False  # commands that change something are to be logged
        self.replicate: Callable[[bytes], int] | None = None  # the replicas' part, while there may be any
        self.later: Callable[[Callable[[], object]], None]  # have it called at the end of the turn; set by the server
        self._flushed_later = False
        self._replicated = 0  # pieces at the beginning of the buffer that replicas have
        self.grouped = False  # whether the loop calls ``flush``, once a turn; else every command does
        self._fd = -1  # without one, and without replicas, there is no ``_database`` either
        self.size: int = 0  # of all files
        self._buffer: list[Any] = []  # bytes, views, and commands (lists), which are encoded when they are written
        self._buffered_large = False
        self._database: Database | None = None  # that the log has selected
        self._plain: Database | None = None  # the same while its commands go to the buffer without anything besides
        self._stamp = 0  # the second of the last time stamp
        self._transaction = 0  # EXEC under way: one more than what of it is in the log
        self._multi_at = 0  # where in the buffer its MULTI is
        self._unacknowledged: dict[Session, None] = {}  # whose commands are in the buffer
        self._doomed: dict[Session, None] = {}  # whose commands are not on the disk though they should be
        self._wrote: dict[Session, None] = {}  # whose commands replicas do not have yet
        self._unsynced = False
        self._last_sync = time.monotonic()
        self.error: str = ""  # why writes are refused
        self._distrusted = False  # since a sync failed, until there is a new base
        self._retry_at, self._retry_delay = 0.0, RETRY
        self.flush_delay: float = 0.0  # seconds, of DEBUG AOF-FLUSH-SLEEP
        self._disk = DiskThread()
        self._config.on_change("aof-timestamp-enabled", lambda: self._select(self._database))

    def set_replicate(self, replicate: Callable[[bytes], int] | None) -> None:
        """Begin to hand all commands to replicas, by a function that returns the offset behind them, or (None) cease
        to."""
        self.flush()
        self.replicate = replicate
        self.restart_stream()
        self._follow()

    @property
    def stream_database(self) -> int:
        """The index of the database that was selected last."""
        return self._database.index if self._database is not None else 0

    def restart_stream(self) -> None:
        """Hand over what there is; what follows begins by selecting its database."""
        self.flush()
        self._select(None)

    def _select(self, database: Database | None) -> None:
        """Note the database that the log has selected, and whether more than commands is to be logged now."""
        self._database = database
        more = self._transaction or self._config.aof_timestamp_enabled or self.replicate is not None
        self._plain = database if self._fd >= 0 and self.grouped and not more else None

    def _follow(self) -> None:
        """Have commands logged while there is a file or replicas."""
        raise NotImplementedError

    def _append_to(self, fd: int) -> None:
        """Append to ``fd`` from now on."""
        if self._fd >= 0:
            self._disk.sync_and_close(self._fd)
        self._fd = fd
        self._select(None)
        self._unsynced = False

    def _detach_file(self) -> None:
        """Close the file, and append to none from now on."""
        os.close(self._fd)
        self._fd = -1
        self._select(None)

    # -- what commands do

    def following(self, function: Function, everywhere: bool) -> Function:
        """Return a command's function that also logs the command if it has changed anything in the session's database,
        or ``everywhere``."""
        keyspace, buffer, unacknowledged = self._keyspace, self._buffer.append, self._unacknowledged

        def followed(session: Session, args: Args) -> bytes:
            if session.rewritten:
                session.rewritten.clear()
            database = session.db
            before = database.changes
            reply = function(session, args)
            if database.changes != before and self.logging:
                if database is self._plain and not session.rewritten:  # the usual, as ``record`` would do it
                    buffer(args)
                    unacknowledged[session] = None
                else:
                    self.record(session, args)
            return reply

        def followed_everywhere(session: Session, args: Args) -> bytes:
            session.rewritten.clear()
            before = keyspace.dirty
            reply = function(session, args)
            if keyspace.dirty != before and self.logging:
                self.record(session, args)
            return reply

        return followed_everywhere if everywhere else followed

    def begin(self, session: Session) -> int:
        """A command begins; returns what :meth:`end` has to be given."""
        session.rewritten.clear()
        return self._keyspace.dirty

    def end(self, session: Session, command: Command | None, args: Args, before: int) -> None:
        """A command has ended: log it if it has changed anything. None is one that had to wait, and has rewritten
        itself."""
        if self._keyspace.dirty == before:
            session.rewritten.clear()
            return
        if command is not None and command.name in LOG_THEMSELVES:
            return  # what they ran is logged already
        self.record(session, args)

    def record(self, session: Session, args: Args) -> None:
        """Log a command that has changed something, or what it has rewritten itself to."""
        rewritten = session.rewritten
        if len(rewritten) > 1:
            self._feed_together(session, [each for each in rewritten if each])
            rewritten.clear()
        else:
            logged = rewritten.pop() if rewritten else args
            if session.db is self._plain and logged:
                self._buffer.append(logged)
                self._unacknowledged[session] = None
                return
            if logged:  # else the log is to have nothing of it
                self.feed(session.db, logged)
        self._recorded(session)

    def record_rows(self, session: Session, name: bytes, columns: Sequence[Sequence[bytes]], raw: bytes) -> None:
        """Log several calls of one command, given their arguments by columns; ``raw`` is how they came, empty if that
        is not known. It is logged as it is if it is in the form that they would be logged in: no other is as short."""
        count = len(columns[0])
        heads = len(b"*%d\r\n" % (len(columns) + 1)) + encoded_size([name]) - len(b"*1\r\n")
        if not raw or len(raw) != count * heads + sum(map(_size, columns)):
            raw = b"".join(map(pack_command, zip(repeat(name, count), *columns, strict=True)))
        self._begin_feed(session.db)
        self._buffer.append(raw)
        if len(raw) >= LARGE:
            self._buffered_large = True
        self._recorded(session)

    def _recorded(self, session: Session) -> None:
        """See to it that what a client's command has logged is where it has to be before the reply leaves."""
        if self.replicate is not None:
            self._wrote[session] = None
        if self._fd >= 0:
            self._unacknowledged[session] = None
            if not self.grouped and not self._transaction:
                self.flush()
        elif not self._flushed_later and not self.grouped and not self._transaction:
            self._schedule_flush()

    def _flush_ungrouped(self) -> None:
        """Flush before the reply leaves, as the file demands; replicas get everything at the end of the turn."""
        if self._fd >= 0:
            self.flush()
        else:
            self._schedule_flush()

    def _schedule_flush(self) -> None:
        if not self._flushed_later:
            self._flushed_later = True
            self.later(self._flush_later)

    def _flush_later(self) -> None:
        self._flushed_later = False
        self.flush()

    def _feed_together(self, session: Session, commands: list[Args]) -> None:
        together = len(commands) > 1 and not self._transaction
        if together:
            self.begin_transaction()
        for each in commands:
            self.feed(session.db, each)
        if together:
            self.end_transaction(session)

    def begin_transaction(self) -> None:
        """Begin a transaction: all that is fed from now on belongs together."""
        self._transaction = 1
        self._plain = None

    def end_transaction(self, session: Session) -> None:
        """The transaction is complete."""
        if self._transaction > 1:
            if self._transaction == 2 and self._buffer[self._multi_at : self._multi_at + 1] == [MULTI]:
                del self._buffer[self._multi_at]  # one command is whole or missing anyway
            else:
                self._buffer.append(encode([b"EXEC"]))
            self._unacknowledged[session] = None
            if self.replicate is not None:
                self._wrote[session] = None
        self._transaction = 0
        self._select(self._database)
        if not self.grouped:
            self._flush_ungrouped()

    def abandon_transaction(self) -> None:
        """Have the log end before the transaction under way, as the server ends within it. What of it has been written
        is left out when the log is loaded, for its EXEC is missing."""
        if self._transaction > 1 and self._buffer[self._multi_at : self._multi_at + 1] == [MULTI]:
            del self._buffer[self._multi_at :]
        else:
            self._buffer.clear()
        self._transaction = 0
        self.logging = False

    def feed(self, database: Database, args: Args) -> None:
        """Log a command."""
        if self._fd < 0 and self.replicate is None:
            return  # it is to begin with a base that is still to come
        self._begin_feed(database)
        if self._transaction == 1:
            self._multi_at = len(self._buffer)
            self._buffer.append(MULTI)
        if self._transaction:
            self._transaction += 1
        self._buffer.append(args)
        if self._fd < 0 and not self.grouped:
            self._schedule_flush()  # a key that has expired is no command's change

    def _begin_feed(self, database: Database) -> None:
        """Log what comes before a command for this database."""
        if self._config.aof_timestamp_enabled:
            self._annotate()
        if database is not self._database:
            self._select(database)
            self._buffer.append(encode([b"SELECT", b"%d" % database.index]))

    def _annotate(self) -> None:
        now = int(time.time())
        if now > self._stamp:
            self._stamp = now
            self._buffer.append(_ForFile(b"#TS:%d\r\n" % now))

    def feed_replicas(self, args: Args, database: Database | None = None) -> None:
        """Hand replicas a command that changes no key (PUBLISH), in order with those that do; ``database`` is the one
        that its client is in, if it has one."""
        if self.replicate is not None:
            if database is not None:
                self._begin_feed(database)
            self._buffer.append(_ForReplicas(encode(args)))
            if not self.grouped and not self._transaction:
                self._flush_ungrouped()

    # -- writing

    def flush(self) -> None:
        """Write what has been logged; with ``always``, sync it."""
        if self._doomed:
            self._drop_doomed()
        if self._buffer:
            self._buffer[:], large = encode_all(self._buffer)
            self._buffered_large |= large
        if self.replicate is not None and self._buffer:
            if self._fd < 0 and not self._config.aof_timestamp_enabled:
                data = b"".join(self._buffer)
                self._buffer.clear()
                self._note_offsets(self.replicate(data))
                return
            self._hand_over(self.replicate)
        if not self._buffer or self._fd < 0:
            return
        if self.flush_delay:
            time.sleep(self.flush_delay)
        try:
            if self._config.latency_monitor_threshold:
                busy = "active-child" if self.rewrites.active else "alone"
                meanwhile = "pending-fsync" if self._disk.syncing else busy
                self._latency.timed(self._write, "aof-write", f"aof-write-{meanwhile}")
            else:
                self._write()
        except OSError as error:
            self._replicated = len(self._buffer)
            self._failed(error)
            return
        self._replicated = 0
        if self._config.appendfsync != "always":
            self._unsynced = True
        else:
            try:
                self._latency.timed(lambda: datasync(self._fd), "aof-fsync-always")
            except OSError as error:
                self._sync_failed(error)
                return
        self._unacknowledged.clear()
        if self.error and not self._distrusted:
            self._recovered()

    def _hand_over(self, replicate: Callable[[bytes], int]) -> None:
        """Give replicas what they do not have yet, and keep what the file is to have."""
        fresh = self._buffer[self._replicated :]
        self._replicated = len(self._buffer)
        data = b"".join([piece for piece in fresh if type(piece) is not _ForFile])
        if self._fd < 0:
            self._forget_buffer()
        elif any(type(piece) is _ForReplicas for piece in fresh):
            self._buffer[:] = [piece for piece in self._buffer if type(piece) is not _ForReplicas]
            self._replicated = len(self._buffer)
        if data:
            self._note_offsets(replicate(data))

    def _note_offsets(self, offset: int) -> None:
        """Have clients know up to where the stream has their commands (WAIT)."""
        for session in self._wrote:
            session.written = offset
        self._wrote.clear()

    def _forget_buffer(self) -> None:
        self._buffer.clear()
        self._replicated = 0
        self._unacknowledged.clear()

    def _write(self) -> None:
        """Write the buffer; what is left when that fails stays there. Raises ``OSError``."""
        buffer = self._buffer
        chunks = _joined(buffer) if self._buffered_large else [b"".join(buffer)]
        buffer.clear()
        for index, chunk in enumerate(chunks):
            view, done = memoryview(chunk), 0
            while done < len(view):
                try:
                    done += os.write(self._fd, view[done:])
                except OSError:
                    self.size += done
                    buffer += [view[done:], *chunks[index + 1 :]]
                    raise
            self.size += done
        self._buffered_large = False

    @property
    def buffered(self) -> int:
        """Bytes that have not been handed to the kernel yet."""
        return sum(encoded_size(each) if type(each) is list else len(each) for each in self._buffer)

    # -- failures

    def _failed(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        if not self.error:
            log.error("Cannot write the append-only file: %s; writes are refused until it works again", reason)
        self.error = reason
        self._route.refuse_writes("append-only file fails", f"MISCONF Errors writing to the AOF file: {reason}")
        if self._config.appendfsync == "always":
            self._doomed |= self._unacknowledged
            self._drop_doomed()
        self._unacknowledged.clear()

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
        self._accept_writes()

    def _accept_writes(self) -> None:
        self.error = ""
        self._route.accept_writes("append-only file fails")

    def _sync(self) -> None:
        now = time.monotonic()
        config = self._config
        if self._unsynced and config.appendfsync == "everysec" and now - self._last_sync >= 1.0:
            quiet = config.no_appendfsync_on_rewrite and self.rewrites.active
            if not quiet and self._disk.sync(self._fd):
                self._unsynced = False
                self._last_sync = now
        if self._disk.error is not None:
            error, self._disk.error = self._disk.error, None
            self._sync_failed(error)


def _size(column: Sequence[bytes]) -> int:
    """Return the number of bytes of arguments, each with its head."""
    sizes = {*map(len, column)}
    if len(sizes) == 1:  # the usual
        (size,) = sizes
        return len(column) * (size + len(b"$%d\r\n\r\n" % size))
    return sum(size + len(b"$%d\r\n\r\n" % size) for size in map(len, column))


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
