"""COMMAND beside a real redis-server: what is told of each command, of its keys and arguments."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

import hiredis
import pytest

import evio_redis

from .wire import Wire, redis_server

NOT_IN_7_0 = {"client|no-touch", "client|setinfo"}
"""Commands that later clients ask for and 7.0 does not have."""


class Pair:
    """A real redis-server and ours, over the same version of the protocol."""

    def __init__(self, real: int, ours: int, protocol: int) -> None:
        self.wires = Wire(real), Wire(ours)
        for wire in self.wires:
            wire.ask(f"HELLO {protocol}")

    def replies(self, command: str) -> list[bytes]:
        return [wire.ask(command) for wire in self.wires]

    def parsed(self, command: str) -> list[Any]:
        return [parse(reply) for reply in self.replies(command)]


def parse(reply: bytes) -> Any:
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(reply)
    return reader.gets()


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    with redis_server() as real, evio_redis.Server(port=0) as ours:
        yield real, ours.port


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def both(request: pytest.FixtureRequest, ports: tuple[int, int]) -> Iterator[Pair]:
    pair = Pair(*ports, request.param)
    yield pair
    for wire in pair.wires:
        wire.close()


def without_prose(value: Any) -> Any:
    """Sets and flags in order, and the notes on keys, which are each server's own words, as the mere fact."""
    if isinstance(value, dict):
        return {name: name if name == "notes" else without_prose(each) for name, each in value.items()}
    if isinstance(value, list):
        if value[:1] == ["notes"]:
            value = ["notes", "notes", *value[2:]]
        changed = [without_prose(each) for each in value]
        return sorted(changed) if all(isinstance(each, str) for each in changed) else changed
    return value


def rows(commands: list[Any], known: set[str] | None = None) -> dict[str, Any]:
    """The rows of COMMAND, those of subcommands too, by name."""
    found = {}
    for row in commands:
        found[row[0]] = [without_prose(each) for each in row[:9]]
        found |= rows(row[9])
    return found


def test_every_command_is_told_of_as_redis_does(both: Pair) -> None:
    real, ours = (rows(reply) for reply in both.parsed("COMMAND"))
    assert set(ours) - set(real) == NOT_IN_7_0
    assert len(ours) > 200
    for name in set(ours) - NOT_IN_7_0:
        assert ours[name] == real[name], name


def documented(docs: Any) -> dict[str, Any]:
    """Return the parts of COMMAND DOCS that are compared, by name. Summaries and what explains a complexity or a change
    are each server's own words."""
    pairs = docs.items() if isinstance(docs, dict) else zip(docs[::2], docs[1::2], strict=True)
    found = {}
    for name, each in pairs:
        fields = each if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=True))
        same = ("since", "group", "arguments", "doc_flags", "deprecated_since")
        found[name] = {field: fields.get(field) for field in same}
        found[name]["fields"] = [field for field in fields if field != "subcommands"]
        found[name]["history"] = [version for version, _ in fields.get("history", [])]
        assert fields["summary"]
        assert fields["summary"] != name.upper()
        found |= documented(fields.get("subcommands", {}))
    return found


def test_every_command_is_documented_as_redis_does(both: Pair) -> None:
    real, ours = (documented(reply) for reply in both.parsed("COMMAND DOCS"))
    different = {
        f"{name}: {field} {each[field]!r}, {real[name][field]!r} in Redis"
        for name, each in ours.items()
        if name not in NOT_IN_7_0
        for field in each
        if each[field] != real[name][field]
    }
    assert different == set()


def test_the_keys_of_a_call_are_found_as_redis_does(both: Pair) -> None:
    for call in (
        "GET k", "SET k v", "SET k v EX 5 GET", "MSET a 1 b 2", "MGET a b c", "DEL a b", "COPY a b", "RENAME a b",
        "LMPOP 2 a b LEFT", "BLMPOP 0 2 a b LEFT", "ZMPOP 1 z MIN", "BZMPOP 0 1 z MIN", "BLPOP a b 0",
        "ZUNIONSTORE d 2 a b WEIGHTS 1 2", "ZINTER 2 a b", "ZINTERCARD 2 a b", "SINTERCARD 2 a b",
        "SORT l STORE d", "SORT l BY w_* GET x_* STORE d", "SORT_RO l", "BITOP AND d a b", "BITFIELD k GET u8 0",
        "BITFIELD k SET u8 0 1", "OBJECT ENCODING k", "MEMORY USAGE k", "WATCH a b", "LCS a b", "SMOVE a b m",
        "ZRANGESTORE d s 0 -1", "GETEX k PERSIST", "SSUBSCRIBE a b", "SPUBLISH c m", "EXPIRE k 5", "PING", "INFO x",
        "NOSUCH k", "GET", "GET a b", "LMPOP 0 a", "CONFIG GET x", "EXEC x",
    ):  # fmt: skip
        for command in (f"COMMAND GETKEYS {call}", f"COMMAND GETKEYSANDFLAGS {call}"):
            real, ours = both.replies(command)
            assert ours == real, command


def test_command_answers_as_redis_does(both: Pair) -> None:
    for command in (
        "COMMAND INFO nosuch", "COMMAND INFO config|nosuch", "COMMAND INFO get|x", "COMMAND DOCS nosuch",
        "COMMAND LIST FILTERBY PATTERN xyz*", "COMMAND LIST FILTERBY MODULE m", "COMMAND LIST FILTERBY ACLCAT nosuch",
        "COMMAND LIST FILTERBY", "COMMAND LIST NOSUCH x", "COMMAND LIST FILTERBY WHAT x", "COMMAND NOSUCH",
        "COMMAND COUNT x", "COMMAND GETKEYS", "COMMAND GETKEYS GET", "COMMAND GETKEYSANDFLAGS",
    ):  # fmt: skip
        real, ours = both.replies(command)
        assert ours == real, command


def test_lists_are_those_of_redis_as_far_as_there_are_the_commands(both: Pair) -> None:
    all_ours = set(both.parsed("COMMAND LIST")[1])
    for choice in ("PATTERN z*", "PATTERN *config*", "ACLCAT hash", "ACLCAT dangerous", "ACLCAT blocking"):
        real, ours = (set(reply) for reply in both.parsed(f"COMMAND LIST FILTERBY {choice}"))
        assert {name for name in real if name in all_ours} == ours - NOT_IN_7_0, choice
    assert both.parsed("COMMAND COUNT")[1] == len({name for name in all_ours if "|" not in name})


def test_descriptions_are_of_commands_that_redis_has(both: Pair) -> None:
    names = set(both.parsed("COMMAND LIST")[0]) | NOT_IN_7_0
    lines = resources.files("evio_redis.commands").joinpath("descriptions.txt").read_text().splitlines()
    assert {line.partition(" | ")[0] for line in lines if line[0] != " "} == names


def test_help_names_the_subcommands_that_there_are(both: Pair) -> None:
    for row in both.parsed("COMMAND")[1]:
        children = {child[0].partition("|")[2].upper() for child in row[9]}
        if not children or row[0] == "cluster":
            continue
        real, ours = both.parsed(f"{row[0]} HELP")
        assert ours[0] == real[0]
        shown = {line.partition(" ")[0] for line in ours[1:] if line[0] not in " ("}
        assert shown == children, row[0]


def test_a_programs_own_command_without_keys_has_none() -> None:
    server = evio_redis.Server(port=0)

    @server.command("GREET", arity=2)
    def greet(session: Any, args: list[bytes]) -> bytes:
        return evio_redis.bulk(b"hello")

    with server, Wire(server.port) as wire:
        assert parse(wire.ask("COMMAND INFO greet"))[0][:6] == ["greet", 2, [], 0, 0, 0]
        assert wire.ask("COMMAND GETKEYS greet x") == b"-ERR The command has no key arguments\r\n"


def test_a_programs_own_command_is_told_of() -> None:
    server = evio_redis.Server(port=0)

    @server.command("DOUBLE", arity=2, flags="write", keys=(1,), summary="Doubles a number")
    def double(session: Any, args: list[bytes]) -> bytes:
        return b":0\r\n"

    with server, Wire(server.port) as wire:
        row = parse(wire.ask("COMMAND INFO double"))[0]
        assert row[:6] == ["double", 2, ["write"], 1, 1, 1]
        assert row[8][0][1] == ["RW", "update"]
        assert parse(wire.ask("COMMAND DOCS double"))[1][:2] == ["summary", "Doubles a number"]
        assert parse(wire.ask("COMMAND GETKEYS DOUBLE k")) == ["k"]
