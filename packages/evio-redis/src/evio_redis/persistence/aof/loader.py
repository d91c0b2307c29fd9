"""Loading the append-only file: running its commands again.

A command cut off at the very end is what a crash leaves: it was never acknowledged as durable, is cut off and logged.
Anything else that is wrong stops the start, and the offset is named.
"""

from __future__ import annotations

import logging
import mmap
import os
import re
import time
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import hiredis

from ...acl.users import Users
from ...clients.session import Session
from ...config.config import Config
from ...errors import CommandError, LogCorrupt
from ...keyspace.keyspace import Keyspace
from ...model.command import Args, Registry
from ...model.services import Services
from ...protocol.parser import BULK_MAX, MULTIBULK_MAX, parse_length
from ...protocol.quoting import escaped, one_line
from ..rdb.codes import Facts
from ..rdb.reader import loading_rdb, wait_for_key
from .encode import encoded_size

__all__ = ["load_commands", "loading_files"]

log: logging.Logger = logging.getLogger("evio_redis")

BLOCK = 1 << 18
"""Bytes read at once."""

PIECE = 64
"""Commands that are run at once."""

FIX = "Make a backup of it, then use redis-check-aof --fix on the manifest"
CUT = "or have it cut off there with aof-load-truncated yes"

LONG_AGO = 1
"""The time while loading: nothing is expired yet, as the log has a DEL for whatever was."""


_FOLLOWING = re.compile(rb"\r\n\*[1-9][0-9]{0,6}\r\n\$[0-9]{1,9}\r\n")


class _Torn(Exception):
    """The file ends in the middle of a command."""


def loading_files(services: Services, files: list[Path], has_base: bool) -> Generator[int, None, None]:
    """Run the commands of all files of a log, in order, piece by piece: yields how many bytes are done. Raises
    :class:`LogCorrupt` and ``OSError``."""
    for path in files:
        if not path.exists():
            raise LogCorrupt(f"{path} of the manifest: No such file or directory")
    before = 0
    for index, path in enumerate(files):
        begin = time.monotonic()
        torn = index == len(files) - 1 and services[Config].aof_load_truncated
        for done in _loading_file(services, path, torn):
            yield before + done
        before += path.stat().st_size
        kind = "base" if has_base and index == 0 else "incr"
        log.info("DB loaded from %s file %s: %.3f seconds", kind, path.name, time.monotonic() - begin)


def _loading_file(services: Services, path: Path, may_be_torn: bool) -> Generator[int, None, None]:
    start = 0
    if _is_rdb(path):
        facts: Facts = {}
        start = yield from loading_rdb(services[Keyspace], path, services[Config], facts)
    yield from _loading_commands(services, path, may_be_torn, start)


def _is_rdb(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(5) == b"REDIS"


def load_commands(services: Services, path: Path, may_be_torn: bool, start: int = 0) -> None:
    """Run the commands of one file, from ``start`` on; what is torn off at its end is cut. Raises :class:`LogCorrupt`
    and ``OSError``."""
    for _ in _loading_commands(services, path, may_be_torn, start):
        pass


def _loading_commands(services: Services, path: Path, may_be_torn: bool, start: int) -> Generator[int, None, None]:
    session = Session(services, None, 0)
    session.user = services[Users].anybody
    session.authenticated = session.atomic = True  # atomic: nothing blocks
    loading = _Loading(services, session, start)
    try:
        with open(path, "rb") as file:
            file.seek(start)
            yield from loading.run(_commands(file, start))
    except _Torn as error:
        where = f"the append only file {path} at offset {loading.whole} ({error})"
        if _goes_on(path, loading.whole):
            raise LogCorrupt(f"Bad file format reading {where}, though others follow it. {FIX}") from None
        if not may_be_torn:
            raise LogCorrupt(f"Unexpected end of file reading {where}. {FIX}, {CUT}") from None
        _cut(path, loading.good, str(error))
    except _Unknown as error:
        where = f"{path} at offset {error.offset}"
        raise LogCorrupt(f"Unknown command '{error.why}' reading the append only file {where}") from None
    except _Corrupt as error:
        where = f"the append only file {path} at offset {error.offset} ({error.why})"
        raise LogCorrupt(f"Bad file format reading {where}. {FIX}") from None


def _cut(path: Path, good: int, why: str) -> None:
    size = os.path.getsize(path)
    log.warning("!!! Warning: short read while loading the AOF file %s: %s !!!", path.name, why)
    log.warning("AOF %s loaded anyway because aof-load-truncated is enabled", path.name)
    log.warning("Truncating the AOF %s at offset %d: %d bytes are cut off", path.name, good, size - good)
    os.truncate(path, good)


def _goes_on(path: Path, offset: int) -> bool:
    """Tell whether commands follow an incomplete one: then it was not cut off by a crash, but a length in it is
    wrong."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _FOLLOWING.search(data, offset) is not None


class _Loading:
    """Runs commands. A transaction is run when it is whole, so there are two ends: of what was run (``good``), and of
    the last whole command."""

    def __init__(self, services: Services, session: Session, start: int) -> None:
        self._registry = services[Registry]
        self._clock = services[Keyspace].clock
        self._settings = services[Config]
        self._session = session
        self._queue: list[Args] | None = None
        self.good = self.whole = start

    def run(self, commands: Iterator[tuple[Args, int]]) -> Generator[int, None, None]:
        """Run them all, piece by piece; time stands still within one. Raises :class:`_Torn` and :class:`_Corrupt`."""
        clock, frozen = self._clock, self._clock.frozen
        count, piece = 0, iter(commands)
        while True:
            size = 1 if self._settings.key_load_delay else PIECE
            clock.frozen = LONG_AGO
            try:
                done = self._run_piece(islice(piece, size))
            finally:
                clock.frozen = frozen
            count += done
            if done < size:
                break
            if self._settings.key_load_delay:
                wait_for_key(self._settings.key_load_delay, count)
            yield self.whole
        if self._queue is not None:
            raise _Torn("a transaction is not complete")

    def _run_piece(self, commands: Iterator[tuple[Args, int]]) -> int:
        """Run some; returns how many there were."""
        count = 0
        for args, end in commands:
            count += 1
            name = args[0].upper()
            if name == b"MULTI":
                self._queue = []
            elif name == b"EXEC":
                for each in self._queue or ():
                    self._run(each)
                self._queue = None
            elif self._queue is not None:
                self._queue.append(args)
            else:
                self._run(args)
            self.whole = end
            if self._queue is None:
                self.good = end
        return count

    def _run(self, args: Args) -> None:
        command = self._registry.find(args)
        if command is None or command.subcommands:
            raise _Unknown(escaped(args[0][:64]), self.whole)
        if not command.accepts(len(args)):
            raise _Corrupt(f"{args[0][:64]!r} with {len(args) - 1} arguments", self.whole)
        try:
            command.function(self._session, args)
        except CommandError as error:
            raise _Corrupt(f"{args[0][:64]!r} failed: {one_line(str(error))}", self.whole) from None
        self._session.rewritten.clear()


class _Corrupt(Exception):
    def __init__(self, why: str, offset: int) -> None:
        super().__init__(why)
        self.why = why
        self.offset = offset


class _Unknown(_Corrupt):
    """A command that this server does not have."""


def _commands(file: BinaryIO, start: int) -> Iterator[tuple[Args, int]]:
    """The commands and where each ends. Whole blocks are parsed by hiredis; a block that it cannot take, command by
    command, which finds the exact spot."""
    while True:
        block = file.read(BLOCK)
        if not block:
            return
        cut = len(block) if len(block) < BLOCK else block.rfind(b"\r\n*") + 2
        commands = _whole(block[:cut]) if cut > 2 else None
        if commands is None:
            file.seek(start)
            for args, end in _one_by_one(file, start, start + len(block)):
                yield args, end
                start = end
            start = file.tell()
            continue
        for args in commands:
            start += encoded_size(args)
            yield args, start
        file.seek(start)


def _whole(block: bytes) -> list[Args] | None:
    """The commands of a block that consists of whole ones in their canonical form; None if it does not."""
    reader = hiredis.Reader()
    try:
        reader.feed(block)
        commands: list[Args] = list(iter(reader.gets, False))
        return commands if commands and all(commands) and sum(map(encoded_size, commands)) == len(block) else None
    except (hiredis.HiredisError, TypeError):
        return None


def _one_by_one(file: BinaryIO, at: int, until: int) -> Iterator[tuple[Args, int]]:
    """The commands from ``at`` on that begin before ``until``. Raises :class:`_Torn` and :class:`_Corrupt`."""
    while at < until:
        line = file.readline(64 * 1024)
        if not line:
            return
        if line.startswith(b"#"):  # an annotation, such as a time stamp
            if not line.endswith(b"\n"):
                raise _Torn("an annotation is not complete")
            at += len(line)
            continue
        count = _length(line, b"*", MULTIBULK_MAX, at)
        offset = at + len(line)
        args: Args = []
        for _ in range(count):
            line = file.readline(64 * 1024)
            size = _length(line, b"$", BULK_MAX, offset)
            value, end = file.read(size), file.read(2)
            if len(value) + len(end) < size + 2:
                raise _Torn("a command is not complete")
            if end != b"\r\n":
                raise _Corrupt("an argument does not end where it should", offset + len(line) + size)
            args.append(value)
            offset += len(line) + size + 2
        if not args:
            raise _Corrupt("a command without arguments", at)
        at = offset
        yield args, at


def _length(line: bytes, kind: bytes, limit: int, offset: int) -> int:
    if not line.endswith(b"\n") and len(line) < 64 * 1024:
        raise _Torn("a command is not complete")
    number = parse_length(line[1:-2]) if line.startswith(kind) and line.endswith(b"\r\n") else None
    if number is None or not 0 <= number <= limit:
        raise _Corrupt(f"expected {kind.decode()} and a length", offset)
    return number
