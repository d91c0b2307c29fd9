"""A snapshot in a form that other programs read (``evio-redis --export json|resp FILE``)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config.config import Config
from ..keyspace.keyspace import Keyspace
from ..keyspace.types.hashes import Hash
from ..keyspace.types.stream_ids import show_id
from ..keyspace.types.streams import Stream, parse_body
from ..keyspace.types.zsets import SortedSet
from ..model.route import Route
from .aof.encode import commands_of, encode
from .check import MOST_DATABASES
from .rdb.reader import load_rdb

__all__ = ["FORMS", "export_snapshot"]

FORMS = ("json", "resp")


def export_snapshot(path: Path, form: str) -> Iterator[bytes]:
    """Yield the pieces of a snapshot, or of the RDB base of an append-only file, in one of the :data:`FORMS`: an object
    of JSON on a line for each library of functions and each key, or commands as ``redis-cli --pipe`` sends them. Keys
    that have expired are among them, with the time. Raises :class:`LogCorrupt` with the offset of what is wrong, and
    ``OSError``, before anything is yielded."""
    keyspace = Keyspace(MOST_DATABASES, Route())
    load_rdb(keyspace, path, Config())
    return _commands(keyspace) if form == "resp" else _lines(keyspace)


def _commands(keyspace: Keyspace) -> Iterator[bytes]:
    for code in keyspace.functions.codes():
        yield encode([b"FUNCTION", b"LOAD", code])
    for args in commands_of(keyspace.databases):
        yield encode(args)


def _lines(keyspace: Keyspace) -> Iterator[bytes]:
    for code in keyspace.functions.codes():
        yield _line({"library": _text(code)})
    for database in keyspace.databases:
        for key, value in database.data.items():
            kind, shown = _shown(value)
            fields = {"db": database.index, "key": _text(key), "type": kind, "value": shown}
            if key in database.expires:
                fields["expires"] = database.expires[key]
            yield _line(fields)


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def _text(value: bytes) -> str | dict[str, str]:
    """A string; one that is no UTF-8 as ``{"base64": ...}``."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _shown(value: Any) -> tuple[str, Any]:
    """The type of a value, and the value: what has pairs is a list of pairs, as its names may be no UTF-8."""
    if isinstance(value, bytes):
        return "string", _text(value)
    if isinstance(value, Hash):
        return "hash", [[_text(field), _text(each)] for field, each in value.items()]
    if isinstance(value, SortedSet):
        return "zset", [[_text(member), _number(score)] for score, member in value.items()]
    if isinstance(value, Stream):
        return "stream", _stream(value)
    return ("set" if isinstance(value, set) else "list"), [_text(each) for each in value]


def _number(score: float) -> float | str:
    return score if abs(score) != float("inf") else "inf" if score > 0 else "-inf"


def _stream(value: Stream) -> dict[str, Any]:
    groups = [
        {
            "name": _text(name),
            "last-delivered-id": show_id(group.last_id).decode(),
            "consumers": [
                {"name": _text(each), "pending": [show_id(entry).decode() for entry in consumer.pending.ids()]}
                for each, consumer in group.consumers.items()
            ],
        }
        for name, group in value.groups.items()
    ]
    entries = [[show_id(entry).decode(), [_text(part) for part in parse_body(body)]] for entry, body in value.items()]
    return {"entries": entries, "last-id": show_id(value.last_id).decode(), "groups": groups}
