"""Runs: served at once, the same commands have the replies and the effects that they have one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evio_redis
from evio_redis.execution.dispatcher import Dispatcher
from evio_redis.execution.fast_path import SHORTEST, make_data
from evio_redis.execution.templates import alike
from evio_redis.keyspace.types.zsets import SortedSet
from evio_redis.model.command import Registry
from evio_redis.protocol.parser import Parser
from tests.extent import examples

from .test_fast import Client, encoded

Command = list[bytes]

KEYS = [b"text", b"zero", b"number", b"large", b"longest", b"negative", b"many", b"few", b"set", b"ints", b"hash"]
KEYS += [b"small", b"none", b"other", b"lasting", b"zset", b""]

SETUP: list[Command] = [
    [b"SET", b"text", b"some text"],
    [b"SET", b"zero", b"0"],
    [b"SET", b"number", b"1022"],
    [b"SET", b"large", b"99999999999999999"],
    [b"SET", b"longest", b"9223372036854775806"],
    [b"SET", b"negative", b"-2"],
    [b"RPUSH", b"many", *(b"%d" % number for number in range(40))],
    [b"RPUSH", b"few", b"a", b"b" * 2000],
    [b"SADD", b"set", b"a", b"b"],
    [b"SADD", b"ints", b"1", b"2"],
    [b"HSET", b"hash", b"f", b"v" * 100],
    [b"HSET", b"small", b"f", b"v"],
    [b"SET", b"lasting", b"7", b"EX", b"1000"],
    [b"ZADD", b"zset", b"1", b"m"],
]

LINE = st.sampled_from([b"", b"a", b"b", b"1", b"x" * 2000, b"\r\n*3\r\n$3\r\nSET", b"+", b"\n+", b"17"])
KEY = st.sampled_from(KEYS)

SHAPES: dict[bytes, list[Any]] = {
    b"GET": [KEY],
    b"SET": [KEY, LINE],
    b"INCR": [KEY],
    b"LPUSH": [KEY, LINE],
    b"RPUSH": [KEY, LINE],
    b"LPOP": [KEY],
    b"RPOP": [KEY],
    b"SADD": [KEY, LINE],
    b"HSET": [KEY, LINE, LINE],
}


def served(number: int) -> Client:
    """A client of a server of its own, which has the keys and takes the short way."""
    server = evio_redis.Server()
    client = Client(server, make_data(server.services), number)
    for command in SETUP:
        client.send(encoded([command]))
    return client


def contents(client: Client) -> Any:
    database = client.context.db
    ask = [[b"OBJECT", b"ENCODING", key] for key in sorted(database.data)]
    shown = {key: list(value) if isinstance(value, SortedSet) else value for key, value in database.data.items()}
    changes = database.changes
    return shown, database.expires.keys(), changes, client.send(encoded(ask))


@st.composite
def runs(draw: st.DrawFn) -> list[Command]:
    """Some of one command, about one key or several, and perhaps one more that does not fit."""
    name = draw(st.sampled_from(sorted(SHAPES)))
    key = draw(st.one_of(st.none(), KEY))
    count = draw(st.integers(SHORTEST - 1, 40))
    commands = [[name, *(draw(each) for each in SHAPES[name])] for _ in range(count)]
    if key is not None:
        commands = [[name, key, *rest] for name, _, *rest in commands]
    strange: list[Command] = draw(
        st.sampled_from(
            [[], [[name]], [[b"PING"]], [[name.lower(), *commands[0][1:]]], [[name, b"few", b"1", b"2", b"3"]]]
        )
    )
    at: int = draw(st.integers(0, count))
    return commands[:at] + strange + commands[at:]


@settings(max_examples=examples(300), deadline=None)
@given(pipelines=st.lists(runs(), min_size=1, max_size=3), watched=st.booleans())
def test_a_run_does_what_its_commands_do(pipelines: list[list[Command]], watched: bool) -> None:
    one, other = served(1), served(2)
    if watched:  # so that each change has to be told
        for client in (one, other):
            client.context.watch([b"elsewhere"])
    for commands in pipelines:
        assert one.send(encoded(commands)) == b"".join(other.send(encoded([command])) for command in commands)
        assert contents(one) == contents(other)
    for client in (one, other):
        client.context.services[Dispatcher].settle()
    calls, expected = (
        {each.name: each.calls for each in client.context.services[Registry].all()} for client in (one, other)
    )
    assert calls == expected


USUAL = {
    b"GET": [b"GET", b"text"],
    b"SET": [b"SET", b"text", b"v"],
    b"LPUSH": [b"LPUSH", b"many", b"v"],
    b"RPUSH": [b"RPUSH", b"many", b"v"],
    b"LPOP": [b"LPOP", b"many"],
    b"RPOP": [b"RPOP", b"many"],
    b"SADD": [b"SADD", b"set", b"v"],
    b"HSET": [b"HSET", b"hash", b"f", b"w"],
}


@settings(max_examples=examples(200), deadline=None)
@given(
    rows=st.lists(
        st.sampled_from([b"aa", b"bb", b"\r\n", b"*2", b"c", b"\r\n*2\r\n$3\r\nGET\r\n$2\r\naa"]),
        min_size=2,
        max_size=60,
    ),
    name=st.sampled_from([b"GET", b"SADD s", b"LPUSH l", b"RPUSH  ", b"ECHO", b"INCR", b"MISSING"]),
    damage=st.one_of(
        st.none(), st.tuples(st.integers(0, 400), st.sampled_from([b"", b"*", b"$", b"2", b"3", b"\r", b"x"]))
    ),
)
def test_commands_that_are_alike_are_what_the_parser_says(
    rows: list[bytes], name: bytes, damage: tuple[int, bytes] | None
) -> None:
    chunk = encoded([[*name.split(b" "), row] for row in rows])
    if damage is not None:
        at, piece = damage
        chunk = chunk[:at] + piece + chunk[at + 1 :]
    found = alike(chunk)
    parser = Parser()
    commands = parser.parse(chunk)
    if found is not None:
        common, last = found
        assert commands == [[*common, each] for each in last]
        assert parser.empty
        assert parser.error is None


@pytest.mark.parametrize("common", [[b"GET"], [b"LPUSH", b"list"], [b"HSET", b"hash", b"field"]])
@pytest.mark.parametrize("rows", [[b"a", b"b"], [b"12", b"\r\n", b"34"], [b""] * 3, [b"x" * 400] * 9])
def test_alike_are_those_that_differ_in_the_last_argument(common: Command, rows: list[bytes]) -> None:
    chunk = encoded([[*common, row] for row in rows])
    for _ in range(2):  # found out and remembered
        assert alike(chunk) == (common, rows)
    assert alike(chunk[:-1]) is None
    assert alike(chunk + b"PING\r\n") is None
    assert alike(encoded([[*common, row] for row in [*rows, b"of another length"]])) is None


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_the_usual_run_is_served_at_once(name: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    client = served(1)
    command = USUAL.get(name)
    commands = [command] * 8 if command else [[name, b"counter:%d" % number] for number in range(8)]
    batches = client.context.services[Dispatcher].batches
    count, batch, times = batches[name]
    assert count == len(commands[0])
    served_at_once = []

    def spy(*arguments: Any) -> bytes | None:
        reply = batch(*arguments)
        served_at_once.append(reply)
        return reply

    monkeypatch.setitem(batches, name, (count, spy, times))
    reply = client.send(encoded(commands))
    assert served_at_once == [reply]


def test_a_command_that_is_replaced_is_run_instead() -> None:
    server = evio_redis.Server()

    @server.command("GET", arity=2)
    def get(session: Any, args: Command) -> bytes:
        return evio_redis.bulk(args[1].upper())

    client = Client(server, make_data(server.services), 1)
    assert client.send(encoded([[b"GET", b"a"]] * 6)) == b"$1\r\nA\r\n" * 6


def test_bulk_loading_is_served_at_once_though_it_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    client = served(1)
    batches = client.context.services[Dispatcher].batches
    count, batch, times = batches[b"SET"]
    served_at_once = []

    def spy(*arguments: Any) -> bytes | None:
        reply = batch(*arguments)
        served_at_once.append(reply)
        return reply

    monkeypatch.setitem(batches, b"SET", (count, spy, times))
    commands = [[b"SET", b"key:%d" % number, b"x" * (number % 300)] for number in range(3000)]
    stream = encoded(commands)
    pieces = [stream[at : at + 65536] for at in range(0, len(stream), 65536)]
    replies = [client.send(piece) for piece in pieces]
    assert b"".join(replies) == b"+OK\r\n" * len(commands)
    assert served_at_once == replies
    assert all(client.context.db.data[key] == value for _, key, value in commands)
