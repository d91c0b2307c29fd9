"""Libraries of functions: beside a real redis-server, in files, and in the log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis

import evio_redis

from .test_scripting import BUSY, busy, kill
from .wire import Wire, redis_server

LIBRARY = """#!lua name=lib
local n = 0
redis.register_function('echo', function(keys, args) return {keys, args} end)
redis.register_function{function_name='ro', callback=function(k, a) return redis.call('set', k[1], a[1]) end,
    description='desc', flags={'no-writes'}}
redis.register_function('err', function() error('x') end)
redis.register_function('table', function() error({err='MY err'}) end)
redis.register_function('unknown', function() return redis.call('foo') end)
redis.register_function('keys', function() return KEYS end)
redis.register_function('global', function() x = 1 end)
redis.register_function('count', function() n = n + 1 return n end)
redis.register_function('set', function(k, a) return redis.call('set', k[1], a[1]) end)
redis.register_function('three', function() redis.setresp(3) return redis.call('hgetall', 'h') end)
redis.register_function('status', function() return redis.status_reply('OK') end)
redis.register_function('error', function() return redis.error_reply('MINE') end)
redis.register_function('names', function()
  local t = {} for name in pairs(redis) do t[#t + 1] = name end table.sort(t) return t
end)
redis.register_function('library', function() return cjson.encode({1, bit.band(7, 3)}) end)
local register = redis.register_function
redis.register_function('late', function() register('y', function() end) end)
"""

CALLS: list[list[Any]] = [
    *(["FCALL", name, 1, "k", "v"] for name in ("echo", "ro", "err", "table", "unknown", "keys", "global", "count")),
    *(["FCALL", name, 1, "k", "v"] for name in ("set", "three", "status", "error", "names", "library", "late", "ECHO")),
    *(["FCALL_RO", name, 1, "k", "v"] for name in ("echo", "ro", "set")),
    *(["FCALL", "echo", count, "a"] for count in ("x", "2", "-1", "0", "1")),
    ["FCALL", "count", 0],
    ["FCALL"],
    ["FCALL", "echo"],
    ["FUNCTION", "STATS"],
    ["FUNCTION", "STATS", "x"],
    ["FUNCTION", "LIST"],
    ["FUNCTION", "LIST", "WITHCODE", "LIBRARYNAME", "LI?"],
    ["FUNCTION", "LIST", "LIBRARYNAME", "x*"],
    *(
        ["FUNCTION", "LIST", *each.split()]
        for each in ("x", "libraryname", "withcode withcode", "libraryname a libraryname b")
    ),
    *(
        ["FUNCTION", *each.split()]
        for each in ("", "foo", "DELETE", "DELETE x", "FLUSH x", "FLUSH a b", "KILL", "KILL x")
    ),
    *(
        ["FUNCTION", *each.split()]
        for each in ("DUMP x", "RESTORE", "RESTORE x", "RESTORE x y", "RESTORE x y z", "LOAD")
    ),
    ["FUNCTION", "LOAD", "FOO", LIBRARY],
    ["FUNCTION", "LOAD", LIBRARY],
    ["FUNCTION", "LOAD", "REPLACE", LIBRARY],
    ["FUNCTION", "LOAD", "#!lua name=other\nredis.register_function('echo', function() end)"],
    ["EVAL", "return redis.pcall('fcall', 'echo', 0)", 0],
    ["EVAL", "return redis.register_function", 0],
    ["COMMAND", "GETKEYS", "FCALL", "echo", 2, "a", "b"],
    ["MULTI"],
    ["FCALL", "count", 0],
    ["FUNCTION", "STATS"],
    ["EXEC"],
    ["FUNCTION", "DELETE", "lib"],
    ["FCALL", "echo", 0],
    ["FUNCTION", "DUMP"],
    ["FUNCTION", "FLUSH", "SYNC"],
]

LOADED = [
    *(
        "x",
        "#!lua name=a",
        "#!lua\nx",
        "#!lua name=a name=b\nx",
        "#!lua foo=a\nx",
        '#!lua "name=a\nx',
        "#!js name=a\nx",
    ),
    *("#!\n", "#!LUA name=a\nredis.register_function('f', function() end)", "#!lua name=\nx", "#!lua name=a-b\nx"),
    "#! lua name=a\nx",
]

REGISTERED = [
    *(
        "x",
        "return 1",
        "x = 1",
        "local y = x",
        "error('x')",
        "pcall(x)",
        "redis.call('get', 'a')",
        "redis.sha1hex('x')",
    ),
    *("redis.log(3, 'x')", "redis.setresp(3)", "redis.x = 1", "while true do end", "type(1)", "local t = {} t.x.y = 1"),
    *(
        f"redis.register_function({each})"
        for each in ("", "1, 2, 3", "1", "1, 2", "'a', 2", "{}, function() end", "{}")
    ),
    *("redis.register_function(1, function() end)", "redis.register_function('a b', function() end)"),
    "redis.register_function('a', function() end) redis.register_function('a', function() end)",
    *(
        f"redis.register_function{{{each}}}"
        for each in (
            *(
                "function_name=1",
                "function_name='x'",
                "function_name={}",
                "function_name='x', callback=1",
                "foo='x'",
                "'x'",
            ),
            *("function_name='x', callback=function() end, description=2", "[{}]='x'", "callback=function() end"),
            *("function_name='x', callback=function() end, description={}", "[true]='x'"),
            *(
                f"function_name='x', callback=function() end, flags={flags}"
                for flags in ("2", "{'a'}", "{1}", "{}", "{x=1}")
            ),
            "function_name='x', callback=function() end, flags={'no-writes', 'no-writes', 'allow-stale', 'allow-oom'}",
        )
    ),
]

Pair = tuple[Wire, Wire]


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    with redis_server() as real, evio_redis.Server(port=0) as server:
        yield real, server.port


def reply(wire: Wire, command: list[Any]) -> Any:
    """The parsed reply; functions in the order of their names, which Redis keeps in none."""
    raw = wire.ask(command)
    reader = hiredis.Reader(replyError=redis.ResponseError)
    reader.feed(raw)
    return ordered(reader.gets())


def ordered(value: Any) -> Any:
    if isinstance(value, list):
        parts = [ordered(each) for each in value]
        named = parts and all(
            isinstance(each, list | dict) and [*each][:1] in ([b"name"], [b"library_name"]) for each in parts
        )
        return sorted(parts, key=repr) if named else parts
    if isinstance(value, redis.ResponseError):
        return str(value)
    if isinstance(value, dict):
        return {key: ordered(each) for key, each in value.items()}
    return value


def same(ports: tuple[int, int], commands: list[list[Any]], protocol: int) -> None:
    with Wire(ports[0]) as real, Wire(ports[1]) as ours:
        for wire in (real, ours):
            wire.ask(["HELLO", protocol])
            for text in ("FLUSHALL", "FUNCTION FLUSH", "HSET h f v"):
                wire.ask(text)
            assert wire.ask(["FUNCTION", "LOAD", LIBRARY]) == b"$3\r\nlib\r\n"
        for command in commands:
            assert (command, reply(ours, command)) == (command, reply(real, command))


@pytest.mark.parametrize("protocol", [2, 3])
def test_calls_are_answered_as_by_redis(ports: tuple[int, int], protocol: int) -> None:
    same(ports, CALLS, protocol)


def test_libraries_are_refused_as_by_redis(ports: tuple[int, int]) -> None:
    same(ports, [["FUNCTION", "LOAD", "REPLACE", code] for code in LOADED], 2)
    codes = [f"#!lua name=a\n{code}" for code in REGISTERED]
    same(ports, [part for code in codes for part in (["FUNCTION", "LOAD", "REPLACE", code], ["FUNCTION", "LIST"])], 2)


def test_dumps_are_exchanged(ports: tuple[int, int]) -> None:
    with Wire(ports[0]) as real, Wire(ports[1]) as ours:
        for one, other in ((real, ours), (ours, real)):
            for wire in (one, other):
                wire.ask("FUNCTION FLUSH")
            for name in ("a", "b"):
                one.ask(
                    [
                        "FUNCTION",
                        "LOAD",
                        f"#!lua name={name}\nredis.register_function('f{name}', function() return 1 end)",
                    ]
                )
            payload = one.ask("FUNCTION DUMP").partition(b"\r\n")[2][:-2]
            assert other.ask(["FUNCTION", "RESTORE", payload]) == b"+OK\r\n"
            for policy in ("APPEND", "REPLACE", "FLUSH", "x"):
                restore: list[Any] = ["FUNCTION", "RESTORE", payload, policy]
                assert other.ask(restore)[:13] == one.ask(restore)[:13], policy  # either library is there already
            assert other.ask("FCALL fa 0") == b":1\r\n"
            assert reply(other, ["FUNCTION", "STATS"]) == reply(one, ["FUNCTION", "STATS"])
            broken = payload[:-1] + bytes((payload[-1] ^ 1,))
            assert other.ask(["FUNCTION", "RESTORE", broken]).startswith(b"-ERR DUMP payload version or checksum")
            clash = ["FUNCTION", "RESTORE", payload, "APPEND"]
            other.ask("FUNCTION DELETE a")
            assert other.ask(clash) == b"-ERR Library b already exists\r\n"
            assert other.ask("FCALL fa 0") == b"-ERR Function not found\r\n"  # all or none


def test_a_function_that_takes_long_is_killed() -> None:
    code = "#!lua name=l\nredis.register_function('loop', function() while true do end end)"
    with evio_redis.Server(port=0, busy_reply_threshold=50) as server, contextlib.ExitStack() as stack:
        runs, other = (stack.enter_context(Wire(server.port)) for _ in range(2))
        assert runs.ask(["FUNCTION", "LOAD", code]) == b"$1\r\nl\r\n"
        runs.send("FCALL loop 1 a b")
        assert busy(other) == BUSY.replace(b"SCRIPT", b"FUNCTION")
        assert other.ask("SCRIPT KILL") == BUSY.replace(b"SCRIPT", b"FUNCTION")
        stats = reply(other, ["FUNCTION", "STATS"])
        assert stats[1][:4] == [b"name", b"loop", b"command", [b"FCALL", b"loop", b"1", b"a", b"b"]]
        kill(other, "FUNCTION")
        assert runs.reply() == b"-ERR Script killed by user with SCRIPT KILL... script: loop, on @user_function:2.\r\n"


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_functions_are_in_the_log_and_its_base(tmp_path: Path, preamble: str) -> None:
    settings: dict[str, Any] = {"dir": str(tmp_path), "appendonly": True, "aof_use_rdb_preamble": preamble}
    gone = "#!lua name=gone\nredis.register_function('gone', function() end)"
    with evio_redis.Server(port=0, **settings) as server, Wire(server.port) as wire:
        for code in (LIBRARY, gone):
            assert wire.ask(["FUNCTION", "LOAD", code]).startswith(b"$")
        assert wire.ask("FUNCTION DELETE gone") == b"+OK\r\n"
        assert wire.ask("FCALL set 1 k v") == b"+OK\r\n"
    logged = b"".join(path.read_bytes() for path in tmp_path.glob("appendonlydir/*"))
    assert b"FCALL" not in logged
    assert b"FUNCTION" in logged
    for rewritten in (False, True):
        with evio_redis.Server(port=0, **settings) as server, Wire(server.port) as wire:
            assert wire.ask("GET k") == b"$1\r\nv\r\n"
            assert wire.ask("FCALL count 0") == b":1\r\n"
            assert wire.ask("FCALL gone 0") == b"-ERR Function not found\r\n"
            if not rewritten:
                wire.ask("BGREWRITEAOF")
                while b"aof_rewrites:1" not in wire.ask("INFO persistence"):
                    pass


def test_functions_are_in_snapshots(tmp_path: Path) -> None:
    with evio_redis.Server(port=0, dir=str(tmp_path)) as server, Wire(server.port) as wire:
        wire.ask(["FUNCTION", "LOAD", LIBRARY])
        assert wire.ask("SAVE") == b"+OK\r\n"
    with redis_server("--dir", str(tmp_path)) as port, Wire(port) as wire:
        assert wire.ask("FCALL count 0") == b":1\r\n"
        wire.ask(["FUNCTION", "LOAD", "#!lua name=more\nredis.register_function('more', function() return 2 end)"])
        assert wire.ask("SAVE") == b"+OK\r\n"
    with evio_redis.Server(port=0, dir=str(tmp_path), enable_debug_command="yes") as server, Wire(server.port) as wire:
        assert wire.ask("FCALL more 0") == b":2\r\n"
        assert wire.ask("DEBUG RELOAD") == b"+OK\r\n"
        assert wire.ask("FCALL count 0") == b":1\r\n"
        assert b"number_of_functions:16\r\n" in wire.ask("INFO memory")


STALE = """#!lua name=stale
local function get() return redis.call('GET', 'k') end
redis.register_function{function_name='no', callback=get, flags={'no-writes'}}
redis.register_function{function_name='get', callback=get, flags={'no-writes', 'allow-stale'}}
redis.register_function{function_name='ping', callback=function() return redis.call('PING') end,
  flags={'no-writes', 'allow-stale'}}"""


def test_on_a_replica_with_old_data_only_what_may_run_does() -> None:
    said = []
    with redis_server() as real, evio_redis.Server(port=0) as server:
        for port in (real, server.port):
            with Wire(port) as wire:
                wire.ask(["FUNCTION", "LOAD", STALE])
                wire.ask("CONFIG SET replica-serve-stale-data no")
                wire.ask("REPLICAOF 127.0.0.1 1")
                calls = ("FCALL no 0", "FCALL get 0", "FCALL ping 0", ["EVAL", "return 1", "0"])
                shebang = ["EVAL", "#!lua flags=allow-stale\nreturn 1", "0"]
                said.append([wire.ask(call) for call in (*calls, shebang)])
    assert said[0] == said[1]


def test_without_an_interpreter_functions_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with evio_redis.Server(port=0, dir=str(tmp_path)) as server, Wire(server.port) as wire:
        wire.ask(["FUNCTION", "LOAD", LIBRARY])
        assert wire.ask("SAVE") == b"+OK\r\n"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "lupa.lua51", None)
        with evio_redis.Server(port=0, dir=str(tmp_path)) as server, Wire(server.port) as wire:
            assert wire.ask("FCALL count 0") == b"-ERR Function not found\r\n"
            assert wire.ask("SAVE") == b"+OK\r\n"
    with evio_redis.Server(port=0, dir=str(tmp_path)) as server, Wire(server.port) as wire:
        assert wire.ask("FCALL count 0") == b":1\r\n"


def test_flags_decide_without_memory(ports: tuple[int, int]) -> None:
    code = "#!lua name=l\n" + " ".join(
        f"redis.register_function{{function_name='f{at}', callback=function() return 1 end, flags={{{flags}}}}}"
        for at, flags in enumerate(("", "'no-writes'", "'allow-oom'"))
    )
    for port in ports:
        with Wire(port) as wire:
            wire.ask("FUNCTION FLUSH")
            assert wire.ask(["FUNCTION", "LOAD", code]) == b"$1\r\nl\r\n"
            wire.ask("CONFIG SET maxmemory 1")
            try:
                replies = [wire.ask(f"FCALL f{at} 0") for at in range(3)]
                assert replies == [
                    b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
                    b":1\r\n",
                    b":1\r\n",
                ]
                assert wire.ask(["FUNCTION", "LOAD", code]).startswith(b"-OOM")
            finally:
                wire.ask("CONFIG SET maxmemory 0")
