"""DEBUG's subcommands that make something, beside a real redis-server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import evio_redis

from .wire import Wire, redis_server


@contextmanager
def running(program: str, options: dict[str, str]) -> Iterator[int]:
    """The port of a server with these directives."""
    if program == "evio-redis":
        with evio_redis.Server(port=0, **{name.replace("-", "_"): value for name, value in options.items()}) as server:
            yield server.port
    else:
        with redis_server(*(word for name, value in options.items() for word in (f"--{name}", value))) as port:
            yield port


@pytest.fixture(params=["evio-redis", "redis-server"])
def program(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def wire(program: str) -> Iterator[Wire]:
    with running(program, {"enable-debug-command": "yes"}) as port, Wire(port) as connected:
        yield connected


POPULATE: list[tuple[str | list[Any], bytes]] = [
    ("SET key:1 mine", b"+OK\r\n"),
    ("DEBUG POPULATE 3", b"+OK\r\n"),
    ("MGET key:0 key:1 key:2 key:3", b"*4\r\n$7\r\nvalue:0\r\n$4\r\nmine\r\n$7\r\nvalue:2\r\n$-1\r\n"),
    ("debug populate 2 p:q 3", b"+OK\r\n"),
    ("DEBUG POPULATE 2 long 10", b"+OK\r\n"),
    ("MGET p:q:0 p:q:1 long:1", b"*3\r\n$3\r\nval\r\n$3\r\nval\r\n$10\r\nvalue:1\0\0\0\r\n"),
    ("DEBUG POPULATE 0", b"+OK\r\n"),
    ("DBSIZE", b":7\r\n"),
    ("DEBUG POPULATE -1", b"-ERR value is out of range, must be positive\r\n"),
    ("DEBUG POPULATE 1 x -1", b"-ERR value is out of range, must be positive\r\n"),
    ("DEBUG POPULATE x", b"-ERR value is out of range, must be positive\r\n"),
    (
        "DEBUG POPULATE 1 2 3 4",
        b"-ERR unknown subcommand or wrong number of arguments for 'POPULATE'. Try DEBUG HELP.\r\n",
    ),
]


def test_populate_makes_keys(wire: Wire) -> None:
    for command, expected in POPULATE:
        assert wire.ask(command) == expected, command


def test_help_is_there_as_errors_say(wire: Wire) -> None:
    lines = wire.ask("DEBUG HELP").split(b"\r\n")
    assert lines[1] == b"+DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert {b"+POPULATE <count> [<prefix>] [<size>]", b"+HELP", b"+SLEEP <seconds>"} <= set(lines)


def test_keys_and_libraries_are_loaded_anew(tmp_path: Path, program: str) -> None:
    library = "#!lua name={0}\nredis.register_function('{0}', function() return '{0}' end)"
    with running(program, {"enable-debug-command": "yes", "dir": str(tmp_path)}) as port, Wire(port) as wire:
        wire.ask("SET k 1 PX 100000")
        wire.ask(["FUNCTION", "LOAD", library.format("one")])
        assert wire.ask("DEBUG RELOAD") == b"+OK\r\n"
        wire.ask(["FUNCTION", "LOAD", library.format("two")])
        wire.ask("SET k 2")
        wire.ask("SET l 2")
        assert wire.ask("DEBUG RELOAD NOSAVE NOFLUSH MERGE") == b"+OK\r\n"
        assert [wire.ask("GET k"), wire.ask("GET l")] == [b"$1\r\n1\r\n", b"$1\r\n2\r\n"]
        assert wire.ask("PTTL k") > b":90000"
        assert [wire.ask(f"FCALL {name} 0") for name in ("one", "two")] == [b"$3\r\none\r\n", b"$3\r\ntwo\r\n"]
        assert wire.ask("DEBUG RELOAD NOSAVE NOFLUSH").startswith(b"-ERR Error trying to load the RDB dump")
        assert wire.ask("debug reload nosave") == b"+OK\r\n"
        assert wire.ask("GET l") == b"$-1\r\n"
        error = b"-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.\r\n"
        assert wire.ask("DEBUG RELOAD OVER") == error


RESP3_IN_SCRIPTS = [
    [name, version, client]
    for name in ("bignum", "map", "set", "double", "null", "verbatim", "true", "false", "attrib")
    for version in (2, 3)
    for client in (2, 3)
]


def test_every_kind_of_reply_passes_through_scripts() -> None:
    """All in one: a server of each program is enough."""
    said = []
    for program in ("evio-redis", "redis-server"):
        with running(program, {"enable-debug-command": "yes"}) as port, Wire(port) as wire:
            assert wire.ask("DEBUG SET-DISABLE-DENY-SCRIPTS 1") == b"+OK\r\n"
            replies = []
            for name, version, client in RESP3_IN_SCRIPTS:
                wire.ask(f"HELLO {client}")
                code = f"redis.setresp({version}) return redis.call('debug', 'protocol', '{name}')"
                replies.append((name, version, client, wire.ask(["EVAL", code, "0"])))
            wire.ask("DEBUG SET-DISABLE-DENY-SCRIPTS 0")
            replies.append(("", 0, 0, wire.ask(["EVAL", "return redis.call('debug', 'help')", "0"])))
            said.append(replies)
    assert said[0] == said[1]


def test_what_was_loaded_anew_is_no_change(tmp_path: Path, program: str) -> None:
    options = {"appendonly": "yes", "enable-debug-command": "yes", "dir": str(tmp_path)}
    with running(program, options) as port, Wire(port) as wire:
        wire.ask("SET k v")
        assert b"rdb_changes_since_last_save:1\r\n" in wire.ask("INFO persistence")
        assert wire.ask("DEBUG LOADAOF") == b"+OK\r\n"
        assert b"rdb_changes_since_last_save:0\r\n" in wire.ask("INFO persistence")
        wire.ask("SET k w")
        assert b"rdb_changes_since_last_save:1\r\n" in wire.ask("INFO persistence")
