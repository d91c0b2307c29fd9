"""Loading the append-only file: running its commands again.

A command cut off at the very end is what a crash leaves: it was never acknowledged as durable, is cut off and told of.
Anything else that is wrong stops the start, and the offset is named.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import hiredis

from ..command import Args
from ..errors import CommandError, LogCorrupt
from ..parser import BULK_MAX, MULTIBULK_MAX, parse_length
from ..session import Session

if TYPE_CHECKING:
    from ..server import Server

__all__ = ["load_commands"]

log = logging.getLogger("evio_redis")

BLOCK = 1 << 20
"""Bytes read at once."""

LONG_AGO = 1
"""The time while loading: nothing is expired yet, as the log has a DEL for whatever was."""


_FOLLOWING = re.compile(rb"\r\n\*[1-9][0-9]{0,6}\r\n\$[0-9]{1,9}\r\n")


class _Torn(Exception):
    """The file ends in the middle of a command."""


def load_commands(server: Server, path: Path, may_be_torn: bool) -> int:
    """Run the commands of one file; returns the length of what is whole. Raises :class:`LogCorrupt` and ``OSError``."""
    session = Session(server, None, 0)
    session.authenticated = True
    clock = server.keyspace.clock
    clock.frozen = LONG_AGO
    good = whole = 0  # the end of what was run, and of the last whole command: a transaction is run when it is whole
    queue: list[Args] | None = None
    try:
        with open(path, "rb") as file:
            for args, end in _commands(file):
                name = args[0].upper()
                if name == b"MULTI":
                    queue = []
                elif name == b"EXEC":
                    for each in queue or ():
                        _run(server, session, each, path, good)
                    queue = None
                elif queue is not None:
                    queue.append(args)
                else:
                    _run(server, session, args, path, good)
                whole = end
                if queue is None:
                    good = end
            if queue is not None:
                raise _Torn("a transaction is not complete")
    except _Torn as error:
        if not may_be_torn:
            raise LogCorrupt(f"{path}: {error} at offset {whole}, which is allowed in the last file only") from None
        if _goes_on(path, whole):
            raise LogCorrupt(f"{path}: {error} at offset {whole}, though others follow it") from None
        size = os.path.getsize(path)
        log.warning("%s: %s; the last %d bytes, from offset %d on, are cut off", path.name, error, size - good, good)
        os.truncate(path, good)
    except _Corrupt as error:
        raise LogCorrupt(f"{path}: {error.why} at offset {error.offset}") from None
    finally:
        clock.frozen = 0
    return good


def _goes_on(path: Path, offset: int) -> bool:
    """Whether commands follow an incomplete one: then it was not cut off by a crash, but a length in it is wrong."""
    with open(path, "rb") as file:
        file.seek(offset)
        return _FOLLOWING.search(file.read()) is not None


def _run(server: Server, session: Session, args: Args, path: Path, offset: int) -> None:
    command = server.registry.find(args)
    if command is None or command.subcommands or not command.accepts(len(args)):
        raise _Corrupt(f"no such command: {args[0][:64]!r} with {len(args) - 1} arguments", offset)
    try:
        command.function(session, args)
    except CommandError as error:
        raise _Corrupt(f"{args[0][:64]!r} failed: {error}", offset) from None


class _Corrupt(Exception):
    def __init__(self, why: str, offset: int) -> None:
        super().__init__(why)
        self.why = why
        self.offset = offset


def _commands(file: BinaryIO) -> Iterator[tuple[Args, int]]:
    """The commands and where each ends. Whole blocks are parsed by hiredis; a block that it cannot take, command by
    command, which finds the exact spot."""
    start = 0
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
            start += _encoded_size(args)
            yield args, start
        file.seek(start)


def _whole(block: bytes) -> list[Args] | None:
    """The commands of a block that consists of whole ones in their canonical form; None if it does not."""
    reader = hiredis.Reader()
    try:
        reader.feed(block)
        commands: list[Args] = list(iter(reader.gets, False))
        return commands if commands and sum(map(_encoded_size, commands)) == len(block) else None
    except (hiredis.HiredisError, TypeError):
        return None


def _encoded_size(args: Args) -> int:
    size = len(b"*%d\r\n" % len(args))
    for each in args:
        size += len(b"$%d\r\n" % len(each)) + len(each) + 2
    return size


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
            value = file.read(size + 2)
            if len(value) < size + 2:
                raise _Torn("a command is not complete")
            if value[size:] != b"\r\n":
                raise _Corrupt("an argument does not end where it should", offset + len(line) + size)
            args.append(value[:size])
            offset += len(line) + len(value)
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
