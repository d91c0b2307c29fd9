"""The link of a replica to its master: the handshake, the snapshot, the stream.

https://redis.io/docs/latest/operate/oss_and_stack/management/replication/
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator
from enum import Enum
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, BinaryIO

from evio_core import Action, Handler

from ..clients.blocking import Blocking
from ..clients.pause import Pause
from ..config.config import Config
from ..errors import CommandError, LogCorrupt
from ..keyspace.keyspace import Keyspace
from ..model.command import STEP_BITS, Args, Registry
from ..model.services import Services
from ..persistence import AppendOnlyFile
from ..persistence.aof.encode import encode, encoded_size
from ..persistence.aof.loader import LONG_AGO
from ..persistence.loading import Loading
from ..persistence.rdb.codes import Facts
from ..persistence.rdb.reader import loading_rdb
from ..process.listeners import Listeners
from ..process.running import Running
from ..protocol.parser import Parser
from ..protocol.quoting import escaped, one_line
from .replicas import Replicas, to_offset

if TYPE_CHECKING:
    from ..clients.session import Session

__all__ = ["Link", "LinkState"]

log: logging.Logger = logging.getLogger("evio_redis")

ARRAY = ord("*")
"""The first byte of a command as a master sends it."""

NO_ARRAY = "a command that is no array, after which places in the stream are not those of the master"

LINE_MAX = 64 * 1024
"""Bytes of a line in the handshake."""

MARK_SIZE = 40
"""Bytes of the mark that ends a snapshot whose length is not known beforehand."""

TRANSIENT = (b"-NOMASTERLINK", b"-LOADING")
"""Beginnings of replies to PSYNC that mean: later."""


class LinkState(Enum):
    """The progress of a link; the values are those of ROLE."""

    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    SYNC = "sync"
    CONNECTED = "connected"


class LinkError(Exception):
    """The master has said what the link cannot go on after."""


class Link(Handler):
    """One connection to the master."""

    def __init__(
        self,
        services: Services,
        session: Session,
        connected: Callable[[], None],
        ended: Callable[[], None],
        handed_over: Callable[[bool], None] | None = None,
    ) -> None:
        """With ``handed_over``, ask the server to lead, as this one hands over to it; the function is told whether it
        does."""
        self._services = services
        self._config = services[Config]
        self._keyspace = services[Keyspace]
        self._registry = services[Registry]
        self._replicas = services[Replicas]
        self._aof = services[AppendOnlyFile]
        self._loading = services[Loading]
        self._pause = services[Pause]
        self._session = session
        self._connected = connected
        self._ended = ended
        self._handed_over = handed_over
        self._input = b""
        self._replies = iter(self._handshake())
        self._receive: Callable[[bytes], None] = self._receive_line
        self._file: BinaryIO | None = None
        self._left = 0  # bytes of the snapshot
        self._mark = b""  # that ends it, if its length is not known
        self._tail = b""  # the last bytes of it, which may be the mark
        self._gone = False  # the connection has ended
        self._began = self._spoke = 0.0  # when loading the snapshot began, and when the master was told of it
        self._following = ("", 0)  # the stream behind the snapshot: its id and its offset
        self._parser = Parser()
        self._raw = bytearray()  # what is not yet a part of this server's stream
        self._parsed = 0  # bytes of whole commands in it
        self._queue: list[Args] | None = None  # of MULTI
        self._held = bytearray()  # what the end of CLIENT PAUSE is waited for with
        self.state: LinkState = LinkState.CONNECTING
        self.last_input: float = time.monotonic()

    # -- events

    def opened(self) -> None:
        """Begin the handshake."""
        self.conn.configure(max_pending=0, high_water=1 << 60)
        log.info("MASTER <-> REPLICA sync started")
        self.state = LinkState.HANDSHAKE
        self.last_input = time.monotonic()
        self._ask()

    def data(self, chunk: bytes) -> Action | None:
        """Take what the master sends."""
        self.last_input = time.monotonic()
        try:
            self._receive(chunk)
        except (LinkError, LogCorrupt, OSError) as error:
            log.warning("The link to the master cannot go on: %s", error)
            return Action.CLOSE
        return None

    def eof(self) -> Action:
        """End with the master."""
        return Action.CLOSE

    def closed(self, error: BaseException | None) -> None:
        """Report the end; half a snapshot is of no use."""
        if self.state is LinkState.CONNECTING:
            log.warning("Error condition on socket for SYNC: %s", error or "closed")
        else:
            log.warning("Connection with master lost: %s", error or "closed by it")
        self._drop_file()
        self._gone = True
        if self._receive != self._receive_later or not self._loading.active:
            self._ended()

    # -- the handshake

    def _ask(self) -> None:
        """Send the next command of the handshake."""
        args = next(self._replies)
        self._asked = args[0]
        self.conn.write(encode(args))

    def _handshake(self) -> list[list[bytes]]:
        config, replicas = self._config, self._replicas
        commands = [[b"PING"]]
        if config.masterauth:
            user = [config.masteruser.encode()] if config.masteruser else []
            commands.append([b"AUTH", *user, config.masterauth.encode()])
        port = config.replica_announce_port or self._services[Listeners].port or config.tls_port
        commands.append([b"REPLCONF", b"listening-port", b"%d" % port])
        if config.replica_announce_ip:
            commands.append([b"REPLCONF", b"ip-address", config.replica_announce_ip.encode()])
        commands.append([b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"])
        known = replicas.backlog is not None
        if known:
            log.info("Trying a partial resynchronization (request %s:%d).", replicas.id, replicas.offset + 1)
        where = [replicas.id.encode(), b"%d" % (replicas.offset + 1)] if known else [b"?", b"-1"]
        if self._handed_over is not None:
            where.append(b"FAILOVER")
        commands.append([b"PSYNC", *where])
        return commands

    def _receive_line(self, chunk: bytes) -> None:
        data = self._input + chunk
        while self._receive == self._receive_line:
            line, newline, rest = data.partition(b"\n")
            if not newline:
                if len(data) > LINE_MAX:
                    raise LinkError("a line of the handshake has no end")
                self._input = data
                return
            data = rest
            if line.strip():  # an empty one is a sign of life
                self._take_line(line.rstrip(b"\r"))
        self._input = b""
        if data:
            self._receive(data)

    def _take_line(self, line: bytes) -> None:
        if self.state is LinkState.SYNC:
            self._announced(line)
            return
        shown = escaped(line[:200])
        if self._asked == b"PSYNC":
            self._take_psync(line, shown)
            return
        if line.startswith(b"-"):
            harmless = self._asked == b"REPLCONF" or (
                self._asked == b"PING" and line.startswith((b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted"))
            )
            if self._asked == b"AUTH":
                raise LinkError(f"Unable to AUTH to MASTER: {shown}")
            if not harmless:
                raise LinkError(f"it replies to {self._asked.decode()}: {shown}")
        elif not line.startswith(b"+"):
            raise LinkError(f"it replies to {self._asked.decode()}, which no Redis does: {shown!r}")
        self._ask()

    def _take_psync(self, line: bytes, shown: str) -> None:
        words = line.split()
        offset = to_offset(words[2]) if words[0] == b"+FULLRESYNC" and len(words) == 3 else None
        if offset is not None and len(words[1]) == MARK_SIZE:
            log.info("Full resync from master: %s", shown[12:])
            self._following = words[1].decode("ascii", "replace"), offset
            self.state = LinkState.SYNC
            if self._handed_over is not None:
                self._handed_over(True)
        elif words[0] == b"+CONTINUE" and len(words) <= 2 and self._replicas.backlog is not None:
            stream = words[1].decode("ascii", "replace") if len(words) == 2 else self._replicas.id
            log.info("Successful partial resynchronization with master.")
            self._replicas.follow(stream, self._replicas.offset, same=True)
            self._begin_stream()
            if self._handed_over is not None:
                self._handed_over(True)
        elif self._handed_over is not None:
            self._handed_over(False)
            raise LinkError(f"it does not take over: {shown}")
        elif line.startswith(TRANSIENT):
            raise LinkError(f"it cannot synchronise now: {shown}")
        else:
            raise LinkError(f"it replies to PSYNC: {shown}")

    # -- the snapshot

    def _announced(self, line: bytes) -> None:
        """Take the line that says how long the snapshot is."""
        if line.startswith(b"-"):
            raise LinkError(f"it cannot give a snapshot: {escaped(line[:200])}")
        if line.startswith(b"$EOF:") and len(line) == 5 + MARK_SIZE:
            self._mark, self._left = line[5:], 0
            log.info("MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF to disk")
        elif line.startswith(b"$") and line[1:].isdigit() and len(line) < 20:
            self._mark, self._left = b"", int(line[1:])
            log.info("MASTER <-> REPLICA sync: receiving %d bytes from master to disk", self._left)
        else:
            raise LinkError(f"no snapshot begins with {line[:100]!r}")
        self._path = Path(self._config.dir) / f"temp-{int(time.time())}.{os.getpid()}.rdb"
        self._file = open(self._path, "wb", buffering=0)  # noqa: SIM115  # it is closed with the link
        self._receive = self._receive_snapshot

    def _receive_snapshot(self, chunk: bytes) -> None:
        assert self._file is not None, "it is being received"
        if not self._mark:
            part, rest = chunk[: self._left], chunk[self._left :]
            self._left -= len(part)
            _write_all(self._file, part)
            if self._left:
                return
        else:
            data = self._tail + chunk
            end = data.find(self._mark)
            if end < 0:
                keep = len(data) - len(self._mark) + 1
                _write_all(self._file, data[: max(keep, 0)])
                self._tail = data[max(keep, 0) :]
                return
            _write_all(self._file, data[:end])
            rest = data[end + len(self._mark) :]
        self._file.close()
        self._file = None
        self._input, self._receive = rest, self._receive_later
        self._begin_load()

    def _begin_load(self) -> None:
        """Begin to replace all keys by those of the snapshot; the stream waits until that is done."""
        log.info("MASTER <-> REPLICA sync: Flushing old data, loading DB in memory")
        self.conn.pause_reading()
        if self._aof.on or self._aof.waiting:
            self._aof.turn_off()
        self._replicas.follow(*self._following, same=False)
        self._began = self._spoke = time.monotonic()
        size = self._path.stat().st_size
        self._loading.begin(self._steps(self._path), lambda: size)
        self._go_on_loading()

    def _steps(self, path: Path) -> Generator[int, None, None]:
        try:
            for _ in self._keyspace.emptying():
                yield 0
            self._keyspace.functions.clear()
            facts: Facts = {}
            yield from loading_rdb(self._keyspace, path, self._config, facts)
            self._replicas.take_database(facts)
        finally:
            path.unlink(missing_ok=True)

    def _go_on_loading(self) -> None:
        """Load for a while; then it is the turn of the loop's other connections."""
        if not self._loading.active:
            return  # it was given up
        now = self.last_input = time.monotonic()
        try:
            unfinished = self._loading.go_on()
        except (LogCorrupt, OSError) as error:
            log.warning("The link to the master cannot go on: %s", error)
            self.give_up_loading()
            self.conn.close()
        else:
            if not unfinished:
                self._loaded()
                return
            if now - self._spoke >= 1.0:
                self._spoke = now
                self.conn.write(b"\n")  # the master is patient as long as it gets these
            core = self._services[Running].core
            assert core is not None, "there is a connection"
            core.call(self._go_on_loading)
            return
        if self._gone:
            self._ended()

    def give_up_loading(self) -> None:
        """Have neither the old keys nor some of the new ones, if the snapshot is being loaded."""
        if self.state is LinkState.SYNC and self._receive == self._receive_later:
            self._loading.end()
            self._keyspace.flush(self._keyspace.databases)
            self._replicas.forget_stream()
            self._log_again()

    def _log_again(self) -> None:
        if self._config.appendonly and not self._aof.waiting:
            try:
                self._aof.turn_on()
            except (OSError, LogCorrupt) as error:
                log.error("Cannot turn on the append-only file: %s", error)

    def _loaded(self) -> None:
        self._log_again()
        log.info("MASTER <-> REPLICA sync: Finished with success in %.3f seconds", time.monotonic() - self._began)
        if self._gone:  # the next link goes on from here
            self._ended()
            return
        rest, self._input = self._input, b""
        self._begin_stream()
        self.conn.resume_reading()
        if rest and self.data(rest) is Action.CLOSE:
            self.conn.close()

    def _receive_later(self, chunk: bytes) -> None:
        """Keep what has been read already of the stream."""
        self._input += chunk

    def _drop_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._path.unlink(missing_ok=True)

    # -- the stream

    def _begin_stream(self) -> None:
        self.state = LinkState.CONNECTED
        self._session.db = self._keyspace.databases[self._replicas.database]
        self._receive = self._receive_stream
        self._connected()
        self.acknowledge()

    def acknowledge(self) -> None:
        """Tell the master how far this server is."""
        if self.state is LinkState.CONNECTED:
            self.conn.write(encode([b"REPLCONF", b"ACK", b"%d" % self._replicas.offset]))

    @property
    def held(self) -> int:
        """Bytes of the stream that have come and are not applied because of CLIENT PAUSE."""
        return len(self._held)

    def go_on(self) -> None:
        """Apply what has come during a pause that is over."""
        if self._held and not self._pause.active and self.data(b"") is Action.CLOSE:
            self.conn.close()

    def _receive_stream(self, chunk: bytes) -> None:
        if self._pause.active:
            self._held += chunk
            return
        if self._held:
            chunk = bytes(self._held + chunk)
            self._held.clear()
        self._raw += chunk
        commands = self._parser.parse(chunk)
        raw = self._raw
        for args in commands:
            if raw[self._parsed] != ARRAY:
                self._pass_empty_lines()
                if raw[self._parsed] != ARRAY:
                    raise self._out_of_step(NO_ARRAY)
            name = args[0].upper()
            if name == b"REPLCONF" and self._queue is None:
                self._done()
                if len(args) == 3 and args[1].upper() == b"GETACK":
                    self.acknowledge()
            else:
                self._take(name, args)
            self._parsed += encoded_size(args)
        if self._parser.error is None and self._parser.empty and self._parsed != len(raw):
            self._pass_empty_lines()
            if self._parsed != len(raw):
                raise self._out_of_step(NO_ARRAY)
        self._done()
        if self._parser.error is not None:
            raise self._out_of_step(one_line(self._parser.error))
        if commands and self._keyspace.ready_keys:
            self._services[Blocking].serve()
        self._aof.flush()

    def _out_of_step(self, why: str) -> LinkError:
        """Return the error that ends the link. Nobody knows the place in the stream any more, so that the next
        synchronization is a full one."""
        self._replicas.forget_stream()
        return LinkError(f"Protocol error: {why}")

    def _pass_empty_lines(self) -> None:
        """Count the empty lines at this place, which keep a connection alive, as a part of the stream."""
        raw = self._raw
        while self._parsed < len(raw) and raw[self._parsed] in b"\r\n":
            self._parsed += 1

    def _done(self) -> None:
        """Count what has been run as a part of this server's stream. A transaction counts as a whole: a link that ends
        within it has nothing of it."""
        if self._queue is None and self._parsed:
            self._replicas.database = self._session.db.index
            self._replicas.feed(bytes(self._raw[: self._parsed]))
            del self._raw[: self._parsed]
            self._parsed = 0

    def _take(self, name: bytes, args: Args) -> None:
        if name == b"MULTI":
            self._done()
            self._queue = []
        elif name == b"EXEC":
            queue, self._queue = self._queue or [], None
            if self._aof.logging:
                self._aof.begin_transaction()
            for each in queue:
                self._run(each)
            if self._aof.logging:
                self._aof.end_transaction(self._session)
        elif self._queue is not None:
            self._queue.append(args)
        else:
            self._run(args)

    def _run(self, args: Args) -> None:
        """Do again what the master has done; nothing expires here meanwhile."""
        session, keyspace, aof = self._session, self._keyspace, self._aof
        command = self._registry.find(args)
        if command is None or command.subcommands or not command.accepts(len(args)):
            log.critical("The master sends what this server has no command for: %r", args[0][:64])
            return
        before = keyspace.dirty
        session.rewritten.clear()
        clock = keyspace.clock
        frozen, clock.frozen = clock.frozen, LONG_AGO
        begin = perf_counter_ns()
        try:
            command.function(session, args)
        except CommandError as error:
            command.failed += 1
            log.critical("%s, which the master has run, fails here: %s", command.name, one_line(str(error)))
        finally:
            clock.frozen = frozen
            command.times[perf_counter_ns() - begin >> STEP_BITS] += 1
        if aof.logging and keyspace.dirty != before:
            aof.record(session, args)


def _write_all(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
