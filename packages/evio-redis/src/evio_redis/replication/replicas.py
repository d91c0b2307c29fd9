"""The replicas of this server: what they are sent, and how far they are.

A replica asks for the stream from an offset on (PSYNC). If that part is in the backlog, it is sent; else the replica
gets a snapshot first, which a child process writes to a file, and then what has changed since the fork. The stream is
what the append-only file has too: commands, whose effects do not depend on the moment.

https://redis.io/docs/latest/operate/oss_and_stack/management/replication/
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..clients.blocking import Blocking
from ..clients.replica import Replica, State
from ..config.config import Config
from ..errors import CommandError
from ..keyspace.keyspace import Keyspace
from ..model.route import Route
from ..model.services import Services
from ..persistence import AppendOnlyFile
from ..persistence.child import Child
from ..persistence.disk import DiskThread
from ..persistence.rdb.codes import REPL_DATABASE, REPL_ID, REPL_OFFSET, Facts
from ..persistence.rdb.writer import send_rdb, write_rdb
from ..process.running import Running
from ..protocol.numbers import to_int
from ..protocol.resp import integer
from .backlog import Backlog
from .transfer import MARGIN, Transfer

if TYPE_CHECKING:
    from ..clients.blocking import Waiter
    from ..clients.session import Session

__all__ = ["NO_ID", "Replicas", "new_id", "to_offset"]

log: logging.Logger = logging.getLogger("evio_redis")

HIGHEST_OFFSET = 1 << 62
"""Of a stream that another server has begun: 4 exabytes, as many as can follow it within 64 bits."""

NO_ID = "0" * 40
"""The id of a stream that there is not."""

TOO_FEW = "NOREPLICAS Not enough good replicas to write."

BEING_WRITTEN = (State.SNAPSHOT, State.STREAMING)

RETRY = 1.0
"""Seconds until a snapshot that could not be written is tried again."""


def new_id() -> str:
    """Return a new replication id: 40 hexadecimal digits."""
    return secrets.token_hex(20)


def is_id(text: bytes) -> bool:
    """Return True for what may be the id of a stream."""
    return len(text) == len(NO_ID) and text.isalnum()


def to_offset(text: bytes) -> int | None:
    """The place in a stream that a text says, or None; none is so high that a reply could not have those behind it."""
    offset = to_int(text)
    return offset if offset is not None and 0 <= offset <= HIGHEST_OFFSET else None


class Replicas:
    """The replication stream of one server and those who follow it."""

    def __init__(self, services: Services) -> None:
        self._config = services[Config]
        self._keyspace = services[Keyspace]
        self._route = services[Route]
        self._aof = services[AppendOnlyFile]
        self._blocking = services[Blocking]
        self._running = services[Running]
        self._child = Child(services, "writing a snapshot for replicas")
        self.others_active: Callable[[], bool] = lambda: False  # True while another child is at work; set by the server
        self.id: str = new_id()
        self.second_id: str = NO_ID
        self.database: int = 0  # that the master's stream has selected, as far as this server has it
        self.offset: int = 0  # bytes of the stream so far
        self.second_offset: int = -1  # up to which the stream of the second id is this one
        self.backlog: Backlog | None = None
        self.handing_over: bool = False  # a failover is under way
        self.follows: bool = False  # this server is a replica itself: its stream is its master's
        self._replicas: dict[Session, Replica] = {}
        self._since_fork: list[bytes] = []
        self._files: list[int] = []  # snapshots that are being sent: who closes one last has to wait while it is freed
        self._disk = DiskThread()
        self._transfer: Transfer | None = None  # of the child's snapshot, if it is sent without a file
        self._retry_at = 0.0
        self._pinged = time.monotonic()
        self._alone_since = time.monotonic()
        self._waiters: list[tuple[int, int, Waiter]] = []  # how many replicas, up to which offset, who waits
        self.full: int = 0
        self.partial: int = 0
        self.partial_failed: int = 0
        self._config.on_change("repl-backlog-size", self._resize)
        for name in ("min-replicas-to-write", "min-replicas-max-lag"):
            self._config.on_change(name, self._refuse_or_accept)
        self._refuse_or_accept()

    def __len__(self) -> int:
        return len(self._replicas)

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._replicas.values())

    # -- a replica asks

    def introduce(self, session: Session) -> Replica:
        """Return what is known of a client that may become a replica (REPLCONF)."""
        if session.replica is None:
            session.replica = Replica(session.conn)
        return session.replica

    def synchronise(self, session: Session, stream: str | None, offset: int) -> bytes:
        """Make a client a replica (PSYNC): ``stream`` is the id of the stream that it has followed up to before the
        byte at ``offset``, None if it does not ask for the rest of one (SYNC). Returns the reply for now."""
        replica = self.introduce(session)
        self._begin_stream()
        self._replicas[session] = replica
        replica.acknowledged_at = replica.asked_at = time.monotonic()
        rest = self._rest(stream, offset) if stream is not None else None
        if rest is not None:
            assert stream is not None
            self.partial += 1
            log.info("Partial resynchronization request from %s accepted: %d bytes", replica, sum(map(len, rest)))
            replica.state = State.ONLINE
            self._refuse_or_accept()
            line = b"+CONTINUE %b\r\n" % self.id.encode() if replica.psync2 else b"+CONTINUE\r\n"
            return b"".join((line, *rest))
        if stream is not None and stream != "?":
            self.partial_failed += 1
        log.info("Replica %s asks for synchronization", replica)
        replica.old = stream is None
        replica.state = State.WAITING
        self._begin_snapshot()
        return b""

    def _rest(self, stream: str, offset: int) -> list[bytes] | None:
        """Return what is missing since the offset, or None if that is not known any more."""
        self._aof.flush()
        known = stream == self.id or (stream == self.second_id and offset <= self.second_offset)
        return self.backlog.since(offset) if known and self.backlog is not None else None

    def acknowledge(self, session: Session, offset: int) -> None:
        """Take note of what a replica has applied (REPLCONF ACK)."""
        replica = self._replicas.get(session)
        if replica is None:
            return
        replica.acknowledged = max(offset, replica.acknowledged)
        replica.acknowledged_at = time.monotonic()
        if replica.state is State.LOADING:
            self._is_online(session, replica)
        self._refuse_or_accept()
        self._serve_waiters()

    def _is_online(self, session: Session, replica: Replica) -> None:
        replica.state = State.ONLINE
        replica.allowance = 0
        if replica.held is not None:
            held, replica.held, replica.held_size = replica.held, None, 0
            session.push(b"".join(held))
        log.info("Synchronization with replica %s succeeded", replica)

    def remove(self, session: Session) -> None:
        """Forget a client that is gone."""
        replica = self._replicas.pop(session, None)
        if replica is None:
            return
        log.info("Connection with replica %s lost", replica)
        if not self._replicas:
            self._alone_since = time.monotonic()
        if self._child.active and not any(each.state in BEING_WRITTEN for each in self):
            self._stop_child()
        self._refuse_or_accept()

    def _stop_child(self) -> None:
        self._child.kill()
        self._since_fork.clear()
        if self._transfer is not None:
            self._transfer.close()
            self._transfer = None

    def drop_all(self, why: str) -> None:
        """Close all replicas' connections: their stream is not this server's any more."""
        for session, replica in list(self._replicas.items()):
            log.info("Disconnecting replica %s: %s", replica, why)
            if session.conn is not None:
                session.conn.close()
            self.remove(session)

    # -- the stream

    def _begin_stream(self) -> None:
        if self.backlog is not None:
            return
        if not self.follows:  # without a backlog nobody has noted what has happened meanwhile
            self.id, self.second_id, self.second_offset = new_id(), NO_ID, -1
            self.offset += 1
        self.backlog = Backlog(self._config.repl_backlog_size, self.offset)
        if not self.follows:
            self._aof.set_replicate(self.feed)

    def feed(self, data: bytes) -> int:
        """Send what comes next in the stream; returns its length up to there."""
        assert self.backlog is not None, "there is a stream"
        self.offset += len(data)
        self.backlog.append(data)
        if self._child.active and self._transfer is None:
            self._since_fork.append(data)
        for session, replica in self._replicas.items():
            if replica.held is not None:
                replica.held.append(data)
                replica.held_size += len(data)
            elif replica.state in (State.LOADING, State.ONLINE):
                session.push(data)
        return self.offset

    def follow(self, stream: str, offset: int, same: bool) -> None:
        """Have the stream be a master's from now on, which this server has up to ``offset``; ``same`` if it goes on as
        before, though its id may be another. Else replicas have to begin anew."""
        self.follows = True
        self._aof.set_replicate(None)
        if not same:
            self.drop_all("this server follows another stream")
            self.backlog = None
        elif stream != self.id:
            self.second_id, self.second_offset = self.id, offset + 1
            self.drop_all("the stream has a new id")
        self.id, self.offset = stream, offset
        if self.backlog is None:
            self.backlog = Backlog(self._config.repl_backlog_size, offset)

    def begin_following(self) -> None:
        """Go on as a replica: what this server has had so far may be the beginning of its master's stream."""
        if not self.follows:  # or it has been restored as a replica's
            self.database = self._aof.stream_database
        self._aof.set_replicate(None)
        self.follows = True
        self._refuse_or_accept()

    def forget_stream(self) -> None:
        """Have no part of any stream: the next synchronization is a full one."""
        self.backlog = None
        self.id, self.offset = new_id(), 0

    def lead(self) -> None:
        """Go on with the stream under an id of this server's own: it follows no master any longer."""
        if not self.follows:
            return
        self.follows = False
        self.second_id, self.second_offset = self.id, self.offset + 1
        self.id = new_id()
        self.drop_all("this server follows no master any more")
        if self.backlog is not None:
            self._aof.set_replicate(self.feed)

    # -- over a restart

    def facts(self) -> Facts:
        """Return what a snapshot as of now says of the stream; nothing while there is none."""
        offset = self.reached()
        if self.backlog is None:
            return {}
        return {
            REPL_DATABASE: b"%d" % (self.database if self.follows else self._aof.stream_database),
            REPL_ID: self.id.encode(),
            REPL_OFFSET: b"%d" % offset,
        }

    def restore(self, facts: Mapping[bytes, bytes], follows: bool) -> None:
        """Go on with the stream that a snapshot was part of, which has been loaded at the start: as a replica, whose
        master is asked for the rest of it, or as the master, under a new id."""
        stream, offset = facts.get(REPL_ID, b""), facts.get(REPL_OFFSET, b"")
        known = to_offset(offset)
        if not is_id(stream) or known is None:
            return
        self.offset = known
        if follows:
            self.id = stream.decode()
            self.follows = True
            self.take_database(facts)
        else:
            self.second_id, self.second_offset = stream.decode(), self.offset + 1
            self._aof.set_replicate(self.feed)
        self._alone_since = time.monotonic()
        self.backlog = Backlog(self._config.repl_backlog_size, self.offset)

    def take_database(self, facts: Mapping[bytes, bytes]) -> None:
        """Take note of the database that the stream goes on in behind a snapshot."""
        number = to_int(facts.get(REPL_DATABASE, b"0"))
        self.database = number if number is not None and 0 <= number < self._config.databases else 0

    def _resize(self) -> None:
        if self.backlog is not None:
            self.backlog.size = self._config.repl_backlog_size

    # -- snapshots

    def _begin_snapshot(self) -> None:
        """Begin one for those who wait, unless another child is at work: then it begins at a later tick."""
        waiting = {session: each for session, each in self._replicas.items() if each.state is State.WAITING}
        if not waiting or self._child.active or self.others_active() or time.monotonic() < self._retry_at:
            return
        direct = {session: each for session, each in waiting.items() if self._may_be_direct(each)}
        if direct and self._are_enough(direct.values()):
            waiting = direct
        else:
            direct.clear()
            waiting = {session: each for session, each in waiting.items() if not self._may_be_direct(each)}
            if not waiting:
                return
        functions_only = next(iter(waiting.values())).functions_only
        waiting = {session: each for session, each in waiting.items() if each.functions_only == functions_only}
        self._aof.restart_stream()
        keyspace = Keyspace(0, self._route) if functions_only else self._keyspace
        keyspace.functions = self._keyspace.functions
        path = Path(self._config.dir) / f"temp-repl-{os.getpid()}.rdb"
        facts = self.facts()
        try:
            if direct:
                pipe = self._fork_to_pipe(path, facts)
            else:
                self._child.begin(path, lambda path: write_rdb(self._config, keyspace, path, facts=facts))
        except OSError as error:
            log.warning("Can't write a snapshot for replicas: fork: %s", error.strerror or error)
            self._retry_at = time.monotonic() + RETRY
            return
        log.info("Background saving for %d replicas started by pid %d", len(waiting), self._child.pid)
        for session, replica in waiting.items():
            replica.state = State.SNAPSHOT
            if not replica.old:
                self.full += 1
                session.push(b"+FULLRESYNC %b %d\r\n" % (self.id.encode(), self.offset))
        if direct:
            for replica in direct.values():
                replica.state, replica.held, replica.allowance = State.STREAMING, [], MARGIN
            core = self._running.core
            assert core is not None, "there are replicas"
            self._transfer = Transfer(core, pipe, direct, self._config.repl_timeout)

    def _may_be_direct(self, replica: Replica) -> bool:
        """True if a replica is to have its snapshot without a file."""
        return replica.eof and self._config.repl_diskless_sync and not replica.functions_only

    def _are_enough(self, waiting: Iterable[Replica]) -> bool:
        """True if no more replicas are waited for, which would have the same snapshot."""
        asked = [each.asked_at for each in waiting]
        config = self._config
        if 0 < config.repl_diskless_sync_max_replicas <= len(asked):
            return True
        return time.monotonic() - min(asked) >= config.repl_diskless_sync_delay

    def _fork_to_pipe(self, path: Path, facts: Facts) -> int:
        """Begin a snapshot that a pipe is written with; returns its reading end. Raises ``OSError``."""
        reading, writing = os.pipe()
        try:
            self._child.begin(path, lambda path: send_rdb(self._config, self._keyspace, writing, facts), kept=writing)
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return reading

    def _poll(self) -> None:
        if self._transfer is not None and not self._transfer.ended:
            return
        code = self._child.poll()
        if code is None:
            return
        waiting = [each for each in self if each.state in BEING_WRITTEN]
        since, self._since_fork = self._since_fork, []
        if code:
            log.warning("Background saving for replicas failed")
            for replica in waiting:
                self._fail(replica)
            self._transfer = None
            return
        if self._transfer is not None:
            self._transfer.finish()
            self._transfer = None
            for replica in waiting:
                self._loads(replica)
            return
        path = self._child.path
        try:
            self._files.append(os.open(path, os.O_RDONLY))
            size = path.stat().st_size
            for replica in waiting:
                self._send_file(replica, path, size, since)
        except OSError as error:
            log.warning("The snapshot for replicas cannot be read: %s", error.strerror or error)
            for replica in waiting:
                self._fail(replica)
        finally:
            path.unlink(missing_ok=True)

    def _send_file(self, replica: Replica, path: Path, size: int, since: list[bytes]) -> None:
        """Send the snapshot and what has happened since. Raises ``OSError``."""
        conn = replica.conn
        if conn is None or replica.state is not State.SNAPSHOT:
            return
        with open(path, "rb") as file:
            conn.send_file(file, 0, size, head=b"$%d\r\n" % size)
        if replica.rdb_only:
            conn.close()
            return
        replica.state, replica.allowance = State.LOADING, size
        replica.acknowledged_at = time.monotonic()
        for data in since:
            conn.write(data)

    def _loads(self, replica: Replica) -> None:
        """A replica has been sent its snapshot, and behind that it may take the end of it for something else: the
        stream begins when it says that it has loaded it."""
        replica.state = State.LOADING
        if replica.rdb_only and replica.conn is not None:
            replica.conn.close()

    def _fail(self, replica: Replica) -> None:
        """End the connection of a replica that gets no snapshot: it tries again."""
        if replica.conn is not None:
            replica.conn.close()

    # -- now and then

    def tick(self) -> None:
        """Do what is due: snapshots, signs of life, the end of those that give none."""
        if self._child.active:
            self._poll()
        else:
            self._begin_snapshot()
        if self._files and not any(each.state in (State.SNAPSHOT, State.LOADING) for each in self):
            while self._files:
                self._disk.close_file(self._files.pop())
        if self.backlog is None:
            return
        now, config = time.monotonic(), self._config
        if not self._replicas:
            ttl = config.repl_backlog_ttl
            if ttl and not self.follows and now - self._alone_since > ttl:
                log.info("Replication backlog freed after %d seconds without connected replicas", ttl)
                self.backlog = None
                self._aof.set_replicate(None)
            return
        for session, replica in list(self._replicas.items()):
            sent = session.conn is not None and not session.conn.pending
            if replica.old and sent and replica.state is State.LOADING and replica.held is None:
                self._is_online(session, replica)  # a file, of which such a one says nothing
            silent = now - replica.acknowledged_at > config.repl_timeout and not replica.old
            if silent and replica.state is State.ONLINE:
                log.warning("Disconnecting timedout replica: %s", replica)
                if session.conn is not None:
                    session.conn.abort()
            elif 0 < self._config.client_output_buffer_limit.replica[0] < replica.held_size:
                log.warning("Disconnecting a replica for which too much waits: %s", replica)
                if session.conn is not None:
                    session.conn.abort()
            elif replica.state in (State.WAITING, State.SNAPSHOT) and now - replica.newline_at >= 1.0:
                replica.newline_at = now
                session.push(b"\n")  # it is patient as long as it gets these
        if not self.follows and not self.handing_over and now - self._pinged >= config.repl_ping_replica_period:
            self._pinged = now
            self._aof.feed_replicas([b"PING"])
        self._refuse_or_accept()

    def close(self) -> None:
        """End what is under way with the server."""
        self._stop_child()
        while self._files:
            os.close(self._files.pop())
        self._disk.close()

    @property
    def active(self) -> bool:
        """True while a child writes a snapshot."""
        return self._child.active

    # -- how far they are

    def reached(self) -> int:
        """Return the offset of the stream, with all that has been logged so far."""
        self._aof.flush()
        return self.offset

    def _count(self, offset: int) -> int:
        return sum(each.state is State.ONLINE and each.acknowledged >= offset for each in self)

    def wait(self, session: Session, wanted: int, timeout: float) -> bytes:
        """Have a client wait, ``timeout`` seconds at most (0: for ever), until so many replicas have what it has
        written so far (WAIT); returns the reply for now. Raises :class:`CommandError` on a replica."""
        if self.follows:
            raise CommandError(
                "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is"
                " configured to be writable (which is not the default) writes to replicas are just local and are not"
                " propagated."
            )
        self._aof.flush()
        offset = session.written
        count = self._count(offset)
        if count >= wanted or session.atomic:
            return integer(count)
        reply = self._blocking.wait(session, [], timeout, lambda key: None, integer(count))
        self._waiters.append((wanted, offset, session.blocked))
        if self.backlog is not None and len(self._waiters) == 1:
            self._ask()
        return reply

    def _ask(self) -> None:
        """Have replicas say at once how far they are."""
        self._aof.feed_replicas([b"REPLCONF", b"GETACK", b"*"])

    def _serve_waiters(self) -> None:
        left = []
        for wanted, offset, waiter in self._waiters:
            if waiter.session.blocked is not waiter:
                continue
            count = self._count(offset)
            if count >= wanted:
                self._blocking.finish(waiter, integer(count))
            else:
                waiter.expired = integer(count)
                left.append((wanted, offset, waiter))
        self._waiters = left

    @property
    def good(self) -> int:
        """Replicas that have given a sign of life lately (``min-replicas-max-lag``)."""
        oldest = time.monotonic() - self._config.min_replicas_max_lag
        return sum(each.state is State.ONLINE and each.acknowledged_at >= oldest for each in self)

    def _refuse_or_accept(self) -> None:
        wanted = self._config.min_replicas_to_write
        if wanted and self._config.min_replicas_max_lag and not self.follows and self.good < wanted:
            self._route.refuse_writes("too few replicas", TOO_FEW)
        else:
            self._route.accept_writes("too few replicas")

    # -- what is shown of it

    def info(self) -> dict[str, Any]:
        """Fields of ``INFO replication``."""
        fields: dict[str, Any] = {"connected_slaves": len(self)}
        if self._config.min_replicas_to_write and self._config.min_replicas_max_lag:
            fields["min_slaves_good_slaves"] = self.good
        now = time.monotonic()
        for index, each in enumerate(self):
            lag = int(now - each.acknowledged_at) if each.state is State.ONLINE else 0
            host, port = each.address
            fields[f"slave{index}"] = (
                f"ip={host},port={port},state={each.shown_state},offset={each.acknowledged},lag={lag}"
            )
        backlog = self.backlog
        return fields | {
            "master_replid": self.id,
            "master_replid2": self.second_id,
            "master_repl_offset": self.offset,
            "second_repl_offset": self.second_offset,
            "repl_backlog_active": int(backlog is not None),
            "repl_backlog_size": self._config.repl_backlog_size,
            "repl_backlog_first_byte_offset": backlog.first if backlog is not None else 0,
            "repl_backlog_histlen": backlog.length if backlog is not None else 0,
        }
