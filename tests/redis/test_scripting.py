"""Scripts: beside a real redis-server, in their sandbox, in the log."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import evio_redis
from evio_redis.scripting import interpreter

from .conftest import execute
from .wire import Wire, redis_server

SETUP = ["HSET h a 1", "ZADD z 1.5 a", "SADD st m", "RPUSH l 1 2", "SET s x"]

SAME = [
    # replies of commands
    "return redis.call('get', 's')",
    "return redis.call('get', 'none')",
    "return redis.call('hgetall', 'h')",
    "return redis.call('lrange', 'l', 0, -1)",
    "return redis.call('zscore', 'z', 'a')",
    "return redis.call('ping')",
    "return redis.call('incrbyfloat', 'f', '1.5')",
    "return redis.call('set', 'n', 1.5) and redis.call('get', 'n')",
    "return redis.call('set', 'k', 'v').ok",
    "return redis.call('blpop', 'none', 0)",
    "return redis.call('sort', 'l', 'desc')",
    "return redis.call('select', 3)",
    "return redis.call('dbsize')",
    "return redis.call('object', 'encoding', 'h')",
    *(
        f"redis.setresp(3) return redis.call({call})"
        for call in ("'hgetall', 'h'", "'zscore', 'z', 'a'", "'smembers', 'st'", "'get', 'none'", "'debug', 'x'")
    ),
    "redis.setresp(3) return true",
    "redis.setresp(3) return {false, true}",
    "local t = redis.call('lrange', 'l', 0, -1) t[#t + 1] = 'end' return t",
    # values of Lua
    "return {1, 2, {3, 'x', nil, 4}}",
    "return {1, nil, 3}",
    *(
        f"return {value}"
        for value in ("3.99", "-5.7", "-0.5", "1e300", "1/0", "0/0", "9007199254740993", "true", "nil")
    ),
    *(f"return {value}" for value in ("false", "{}", "'text'", "{double=3.5}", "{map={a=1}}", "{set={a=true}}")),
    "return {big_number='123'}",
    "return {verbatim_string={format='txt', string='abc'}}",
    "return {ok='fine'}",
    "return {err='a b'}",
    "return {err='x\\r\\ny'}",
    "return redis.status_reply('fine')",
    "return redis.status_reply('a', 'b')",
    *(f"return redis.error_reply({text})" for text in ("'My Err'", "'-My Err'", "''", "'x'", "")),
    "return tostring(1/0)",
    "if true then return 1 end return 2",
    # what crashes Lua 5.1 as it is
    *(
        f"return {{unpack({{1, 2, 3}}, {range_})}}"
        for range_ in ("-2, 2^31-1", "0, 2^31-1", "-2^31, -2", "1, 9000", "-1, 5")
    ),
    *(
        f"return {{unpack({arguments})}}"
        for arguments in ("{1}, -1, -2", "", "'x'", "{1, 2}, 'x'", "{1}, 1, {}", "{1, 2}, '2'")
    ),
    "return select('#', unpack({}, 1, 7000))",
    "-- only a comment",
    # errors, and where they happened
    "return redis.call('incr', 's')",
    "\n\nreturn redis.call('incr', 's')",
    "local x = redis.call('incr',\n's')",
    "return redis.pcall('incr', 's')",
    "return redis.call('spop', 's')",
    "return redis.pcall('nosuch')",
    "return redis.call('config', 'nope')",
    "return redis.call('set', 'k', 'v', 'nope')",
    "return redis.call()",
    "return redis.pcall()",
    "return redis.call('get', {})",
    "return redis.call('get')",
    *(f"return redis.call('{name}')" for name in ("subscribe", "multi", "exec", "lolwut", "script")),
    "return redis.call('eval', 'return 1', 0)",
    "error('x')",
    "error({err='MY err'})",
    "error()",
    "local f = function() error('inner') end f()",
    "local ok, e = pcall(redis.call, 'incr', 'h') return e",
    "local ok, e = pcall(function() error('abc') end) return e",
    "local function f() return f() + 1 end return f()",
    "return 1 +",
    "end",
    "x = 1",
    "return y",
    "_G.x = 1",
    "string.foo = 1",
    "rawset(_G, 'x', 1)",
    "return setmetatable(_G, {})",
    "return os.clock()",
    "return setfenv",
    "return redis.log(1)",
    "return redis.log(9, 'x')",
    "return redis.setresp(4)",
    "return redis.sha1hex()",
    "return 1 end function f() return 2",
    "getmetatable(_G).__index = {}",
    "local a = {} for i = 1, 7999 do a[i] = 1 end return redis.call('lpush', 'many', unpack(a))",
    "cjson.encode_keep_buffer(false)",
    "redis.call('sadd', 'letters', 'd', 'a', 'c', 'b') return redis.call('sort', 'letters', 'by', '_')",
    # the API
    "return redis.sha1hex('')",
    "return redis.sha1hex(5)",
    "return redis.REDIS_VERSION",
    "return redis.REDIS_VERSION_NUM",
    "return redis.breakpoint()",
    "return redis.replicate_commands()",
    "return redis.set_repl(redis.REPL_ALL)",
    "return redis.acl_check_cmd('get', 'x')",
    "local t = {} for k in pairs(redis) do t[#t + 1] = k end table.sort(t) return t",
    "return loadstring('return 1')()",
    "return loadstring('x=')",
    "return coroutine.wrap(function() return 7 end)()",
    "return pcall(error)",
    "KEYS = {}",
    # cjson and bit
    "return tostring(cjson.null) .. cjson.encode({1, 2, {a=1.5}})",
    *(f"return cjson.encode({v})" for v in ("{}", "{'/'}", "{[1.5]=1}", "{[1]=1,[5]=2}", "{[20]=1}", "{[true]=1}")),
    *(f"return cjson.encode({v})" for v in ("0/0", "1e15", "0.1", "nil", "", "function() end", "{1, 2, nil, 4}")),
    "return cjson.encode('a\"\\\\\\n\\1\\127\u00e9')",
    "return cjson.decode('[1, 2, null]')[2]",
    'return cjson.decode(\'{"a": [1, {"b": null}], "c": "\\\\u00e9"}\').c',
    "return cjson.decode('null') == cjson.null",
    "return cjson.decode()",
    "return bit.tohex(255) .. bit.tohex(-1, -4) .. bit.bswap(1) .. bit.rol(1, 31) .. bit.arshift(-256, 4)",
    "return {bit.band(7, 3), bit.bor(1, 2), bit.bxor(5, 1), bit.bnot(0), bit.lshift(1, 31), bit.rshift(-1, 28)}",
    "return bit.band()",
    "return bit.band('x', 1)",
    # first lines
    "#!lua flags=no-writes\nreturn redis.call('set', 'x', 1)",
    "#!lua flags=no-writes,allow-oom\nreturn redis.call('get', 's')",
    "#!lua flags=nope\nreturn 1",
    "#!lua name=x\nreturn 1",
    "#!python\nreturn 1",
    "#!lua",
]

API = [
    "return redis.setresp()",
    "return redis.setresp('3')",
    "return redis.setresp('x')",
    "return redis.setresp(2,3)",
    "return redis.setresp(2.5)",
    "return redis.setresp(nil)",
    "return redis.setresp({})",
    "redis.setresp(3) return {redis.call('zrange','zz',0,-1,'withscores')}",
    "redis.setresp(3) local t=redis.call('zrange','zz',0,-1,'withscores') return {type(t[1]), t[1][1], t[1][2]}",
    "redis.setresp(3) local t=redis.call('hgetall','h9') return t.map.a",
    "redis.setresp(3) return redis.call('zmscore','zz','a','b')",
    "redis.setresp(3) local t=redis.call('smembers','s9') return tostring(t.set.x)",
    "redis.setresp(3) return {big_number='1\\r\\n2'}",
    "redis.setresp(3) return {verbatim_string={format='mkd',string='x'}}",
    "redis.setresp(3) return {verbatim_string={format='mkd'}}",
    "return redis.log()",
    "return redis.log(1)",
    "return redis.log('x','y')",
    "return redis.log(9,'y')",
    "return redis.log(-1,'y')",
    "return redis.log('1','y')",
    "return redis.log(1.5,'y')",
    "return redis.log(redis.LOG_DEBUG,'a','b',3,{},nil)",
    "return redis.log(redis.LOG_DEBUG,{})",
    "return redis.log({},'x')",
    "return redis.log(nil,'x')",
    "return {redis.log(0,'x')}",
    "return select('#',redis.log(0,'x'))",
    "return redis.set_repl()",
    "return redis.set_repl(8)",
    "return redis.set_repl('x')",
    "return redis.set_repl(1,2)",
    "return redis.sha1hex({})",
    "return redis.error_reply(1)",
    "return redis.acl_check_cmd()",
    "return redis.acl_check_cmd('nosuch')",
    "return redis.acl_check_cmd({})",
]
"""The results of ``redis``' functions for arguments of all kinds."""

FIRST_LINES = [
    "#!lua",
    "#!lua\n",
    "#!lua flags=\n",
    "#!lua flags=no-writes,\n",
    "#!lua flags=NO-WRITES\n",
    "#!lua  flags=allow-stale,no-cluster,allow-oom,allow-cross-slot-keys\n",
    "#!lua flags=no-writes flags=allow-oom\n",
    "#!lua x\n",
    "#!LUA\n",
    "#! lua\n",
    "#!\n",
    "#!lua\tflags=no-writes\n",
    "#!lua flags=no-writes\r\n",
    "#!lua flags = no-writes\n",
    "#!lua flags\n",
    "\n#!lua\n",
    '#!lua "flags=no-writes"\n',
    "#!lua 'flags=no-writes\n",
]

COMMANDS: list[list[Any]] = [
    *(["EVAL", code, 0] for code in API),
    *([name, line + "return redis.call('set', 'k', 'v')", 0] for line in FIRST_LINES for name in ("EVAL", "EVAL_RO")),
    ["EVAL", "return {KEYS[1], ARGV[1], #ARGV}", 1, "k", "a"],
    ["EVAL", "return 1", 2, "k"],
    ["EVAL", "return 1", -1],
    ["EVAL", "return 1", "x"],
    ["EVAL", "return 1"],
    ["EVALSHA", "abc", 0],
    ["EVALSHA", "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", 0],
    ["SCRIPT", "LOAD", "return 'loaded'"],
    ["EVALSHA", "1b936e3fe509bcbc9cd0664897bbe8fd0cac101b", 0],
    ["SCRIPT", "LOAD", "return +"],
    ["SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "x"],
    ["EVAL_RO", "return redis.call('get', 's')", 0],
    ["EVAL_RO", "return redis.call('set', 'a', 1)", 0],
    ["EVAL_RO", "#!lua\nreturn 1", 0],
    ["EVAL_RO", "return redis.call('publish', 'c', 'm')", 0],
    ["EVAL", "#!lua flags=no-writes\nreturn redis.pcall('spublish', 'c', 'm')", 0],
    ["EVAL", "return redis.call('publish', 'c', 'm')", 0],
    ["EVAL", "return redis.call('XREAD', 'block', '0', 'STREAMS', KEYS[1], '$')", 1, "nothing"],
    ["EVAL", "return redis.pcall('xreadgroup', 'group', 'g', 'c', 'BLOCK', 'x', 'STREAMS', 's', '>')", 0],
    ["EVALSHA_RO", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", 0],
    ["SCRIPT", "KILL"],
    ["SCRIPT", "FLUSH", "x"],
    ["SCRIPT", "FLUSH", "SYNC"],
    ["SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"],
    ["COMMAND", "GETKEYS", "EVAL", "return 1", 2, "a", "b"],
    ["COMMAND", "GETKEYS", "EVAL", "return 1", 0],
]


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[int, int]]:
    """The ports of a real redis-server and of ours."""
    with redis_server() as real, evio_redis.Server(port=0) as ours:
        yield real, ours.port


@pytest.mark.parametrize("version", [2, 3])
def test_scripts_do_the_same_as_on_a_real_server(both: tuple[int, int], version: int) -> None:
    different = []
    with Wire(both[0]) as real, Wire(both[1]) as ours:
        for command in ("FLUSHALL", *SETUP, f"HELLO {version}"):
            real.ask(command)
            ours.ask(command)
        for script in [["EVAL", code, 0] for code in SAME] + COMMANDS:
            expected, found = real.ask(script), ours.ask(script)
            if expected != found:
                different.append((script, expected, found))
    assert not different


# -- the sandbox


def test_scripts_leave_nothing_behind(client: redis.Redis) -> None:
    for code in (
        "local _, t = pairs(string) t.x = 1",
        "getmetatable('').__index.x = 1",
        "rawset(string, 'x', 1)",
        "setmetatable(_G, {})",
        "redis.call = nil",
        "cjson.null.x = 1",
        "getmetatable(cjson.null).__index = string",
    ):
        execute(client, "EVAL", code, 0)
    assert execute(client, "EVAL", "return {tostring(string.x), type(redis.call), ('').x}", 0) == [b"nil", b"function"]


def test_no_compiled_chunk_is_loaded(client: redis.Redis) -> None:
    code = "local f, why = load(function() return nil end) return {tostring(loadstring('\\27Lua')), type(f)}"
    assert execute(client, "EVAL", code, 0) == [b"nil", b"function"]
    dumped = "return tostring(loadstring(string.dump(function() return 1 end)))"
    assert execute(client, "EVAL", dumped, 0) == b"nil"


def test_random_numbers_are_random(server: evio_redis.Server) -> None:
    with (
        evio_redis.Server(port=0) as other,
        redis.Redis(port=server.port) as client,
        redis.Redis(port=other.port) as same,
    ):
        drawn = [each.eval("return tostring(math.random())", 0) for each in (client, client, same)]
    assert len(set(drawn)) == 3


def test_nothing_of_python_can_be_reached(client: redis.Redis) -> None:
    for name in (
        "python",
        "host",
        "debug",
        "io",
        "os",
        "require",
        "package",
        "dofile",
        "loadfile",
        "getfenv",
        "newproxy",
    ):
        error = execute(client, "EVAL", f"return {name}", 0)
        assert "nonexistent global variable" in str(error)


def test_a_failure_of_an_own_command_is_an_error_reply_for_the_script() -> None:
    server = evio_redis.Server(port=0)

    @server.command("BROKEN", arity=1)
    def broken(session: Any, args: list[bytes]) -> bytes:
        raise RuntimeError("a bug")

    @server.command("DOUBLED", arity=2)
    def doubled(session: Any, args: list[bytes]) -> bytes:
        return evio_redis.bulk(args[1] * 2)

    logging.getLogger("evio_redis").addFilter(lambda record: "BROKEN" not in record.getMessage().upper())
    with server, redis.Redis(port=server.port) as client:
        assert client.eval("return redis.call('doubled', 'ab')", 0) == b"abab"
        caught = client.eval("local ok, e = pcall(redis.call, 'broken') return {tostring(ok), type(e), e}", 0)
        assert caught == [b"false", b"string", b"ERR internal error, see the server's log"]


def test_without_an_interpreter_eval_says_what_to_install(
    server: evio_redis.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lupa.lua51", None)
    with redis.Redis(port=server.port) as client:
        assert "pip install 'evio-redis[scripting]'" in str(execute(client, "EVAL", "return 1", 0))
        assert client.ping()


# -- long scripts


@pytest.mark.parametrize(
    "code",
    [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "coroutine.wrap(function() while true do end end)()",
        "while true do redis.call('get', 'x') end",
    ],
)
def test_a_script_that_never_ends_can_be_killed(code: str) -> None:
    with evio_redis.Server(port=0, busy_reply_threshold=50) as server, Wire(server.port) as wire:
        wire.send(["EVAL", code, 0], "PING")
        with Wire(server.port) as other:
            kill(other, "SCRIPT")
        assert wire.reply().startswith(b"-ERR Script killed by user with SCRIPT KILL... script: ")
        assert wire.reply() == b"+PONG\r\n"


def kill(wire: Wire, kind: str) -> None:
    """Kill what is running, once it takes long."""
    while (reply := wire.ask(f"{kind} KILL")) != b"+OK\r\n":
        assert reply.startswith(b"-NOTBUSY")


def busy(wire: Wire) -> bytes:
    """Wait until a script takes long; returns what it is said then."""
    while (reply := wire.ask("GET x")).startswith(b"$"):
        pass
    return reply


BUSY = b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n"


@pytest.mark.parametrize("loops", [1, 2, "redis-server"])
def test_others_are_told_that_a_script_takes_long(loops: int | str) -> None:
    with contextlib.ExitStack() as stack:
        if loops == "redis-server":
            port = stack.enter_context(redis_server("--busy-reply-threshold", "50"))
        else:
            port = stack.enter_context(evio_redis.Server(port=0, busy_reply_threshold=50, loops=loops)).port
        runs, before, after = (stack.enter_context(Wire(port)) for _ in range(3))
        before.ask("MULTI")
        runs.send(["EVAL", "while redis.call('exists', 'x') == 0 do end return 1", 0])
        assert busy(after) == BUSY
        assert before.ask("INCR x") == BUSY
        assert before.ask("EXEC").startswith(b"-EXECABORT Transaction discarded because of: BUSY")
        before.close()
        after.close()
        after = stack.enter_context(Wire(port))
        for command in (
            "PING",
            "INCR x",
            "SHUTDOWN",
            "SHUTDOWN SAVE",
            "FUNCTION KILL",
            "SCRIPT LOAD x",
            "FUNCTION STATS",
        ):
            assert after.ask(command) == BUSY, command
        assert after.ask("MULTI") == after.ask("DISCARD") == b"+OK\r\n"
        assert after.ask("HELLO 3").startswith(b"%")
        kill(after, "SCRIPT")
        assert runs.reply().startswith(b"-ERR Script killed by user")
        assert after.ask("INCR x") == b":1\r\n"
        assert after.ask("SCRIPT KILL") == b"-NOTBUSY No scripts in execution right now.\r\n"


def test_what_a_long_script_pushes_is_had_when_it_ends() -> None:
    with evio_redis.Server(port=0, busy_reply_threshold=50) as server, contextlib.ExitStack() as stack:
        runs, waits, other = (stack.enter_context(Wire(server.port)) for _ in range(3))
        waits.send("BLPOP list 0")
        while b"blocked_clients:1" not in other.ask("INFO clients"):
            pass
        runs.send(["EVAL", "redis.call('rpush', 'list', 'a') for i = 1, 3e7 do end redis.call('del', 'list')", 0])
        assert busy(other) == BUSY
        assert other.ask("SCRIPT KILL").startswith(b"-UNKILLABLE Sorry the script already executed write commands")
        assert runs.reply() == b"$-1\r\n"
        runs.ask("RPUSH list b")
        assert waits.reply() == b"*2\r\n$4\r\nlist\r\n$1\r\nb\r\n"


@pytest.mark.parametrize("code", ["while true do end", "redis.call('set', 'x', '2') while true do end"])
def test_shutdown_ends_a_long_script_and_what_it_wrote_is_not_logged(code: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"busy_reply_threshold": 50, "dir": str(tmp_path), "appendonly": True}
    with evio_redis.Server(port=0, **settings) as server, Wire(server.port) as wire, Wire(server.port) as other:
        assert wire.ask("SET x 1") == b"+OK\r\n"
        wire.send(["EVAL", code, 0])
        assert busy(other) == BUSY
        other.send("SHUTDOWN NOSAVE")
        server.stop()
    with evio_redis.Server(port=0, **settings) as server, Wire(server.port) as wire:
        assert wire.ask("GET x") == b"$1\r\n1\r\n"


def test_a_script_that_has_written_is_not_ended() -> None:
    code = "redis.call('set', 'x', 1) local n = 0 for i = 1, 2e7 do n = n + 1 end redis.call('set', 'y', n)"
    with evio_redis.Server(port=0, busy_reply_threshold=1) as server, redis.Redis(port=server.port) as client:
        assert execute(client, "EVAL", code, 0) is None
        assert client.get("y") == b"20000000"


ENDLESS = "local t = {1} for i = 1, 40 do t = {t, t} end "

BOMBS = [
    "local s = 'x' while true do s = s .. s end",
    "return select(2, pcall(function() local s = 'x' while true do s = s .. s end end))",
    "local t = {} for i = 1, 1e9 do t[i] = {i} end",
    "return #string.rep('x', 2e9)",
    "local s = string.rep('x', 9e8) for i = 1, 9 do redis.call('set', 'k', 'v') s = s .. 'x' end",
    "coroutine.wrap(function() local s = 'x' while true do s = s .. s end end)()",
    "local s = string.rep('x', 2^30 - 2^20) redis.sha1hex('x') s = s .. s",
    "local c = cjson.new() c.encode_sparse_array(true, 0) c.encode({[2e9] = 1})",
]


@pytest.mark.parametrize("code", BOMBS)
def test_no_script_takes_the_server_down(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "MOST_MEMORY", 64 << 20)
    with evio_redis.Server(port=0, busy_reply_threshold=300) as server, Wire(server.port) as wire:
        reply = wire.ask(["EVAL", code.replace("9e8", "6e7").replace("2^30 - 2^20", "2^26 - 2^20"), 0])
        assert b"not enough memory" in reply
        assert wire.ask(["EVAL", "return 'still there'", 0]) == b"$11\r\nstill there\r\n"


@pytest.mark.parametrize("code", ["return t", "return cjson.encode(t)", "redis.call('set', 'k', 'v') return t"])
def test_a_reply_without_end_can_be_killed(code: str) -> None:
    with evio_redis.Server(port=0, busy_reply_threshold=50) as server, contextlib.ExitStack() as stack:
        runs, other = (stack.enter_context(Wire(server.port)) for _ in range(2))
        runs.send(["EVAL", ENDLESS + code, 0])
        kill(other, "SCRIPT")
        assert b"Script killed" in runs.reply()


def test_the_interpreter_is_small_at_first(server: evio_redis.Server) -> None:
    with redis.Redis(port=server.port) as client:
        client.eval("return 1", 0)
        assert client.info("memory")["used_memory_lua"] < 100_000


# -- what follows from it


def test_the_log_gets_what_a_script_did_as_one_transaction(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"port": 0, "dir": str(tmp_path), "appendonly": True}
    code = "redis.call('set', KEYS[1], math.random()) redis.call('incr', 'n') return redis.call('get', KEYS[1])"
    with evio_redis.Server(**settings) as server, redis.Redis(port=server.port) as client:
        value = client.eval(code, 1, "r")
        client.eval("redis.set_repl(redis.REPL_NONE) redis.call('set', 'unlogged', 1)", 0)
        with client.pipeline() as pipe:
            pipe.incr("n").eval("redis.call('select', 2) redis.call('set', 'two', 2)", 0).incr("n").execute()
    logged = next(tmp_path.glob("appendonlydir/*.incr.aof")).read_bytes()
    assert b"EVAL" not in logged.upper()
    assert logged.count(b"MULTI") == logged.count(b"EXEC") == 2
    with evio_redis.Server(**settings) as server, redis.Redis(port=server.port) as client:
        assert client.get("r") == value
        assert client.get("n") == b"3"
        assert client.get("unlogged") is None
        assert redis.Redis(port=server.port, db=2).get("two") == b"2"


def test_a_blocked_client_gets_what_a_script_pushes(server: evio_redis.Server) -> None:
    popped: list[Any] = []
    with redis.Redis(port=server.port, socket_timeout=20) as client, Wire(server.port) as waiting:
        waiting.send("BLPOP list 0")
        while client.info("clients")["blocked_clients"] != 1:
            pass
        client.eval("redis.call('rpush', 'list', 'a', 'b')", 0)
        popped.append(waiting.reply())
        assert client.lrange("list", 0, -1) == [b"b"]
    assert popped == [b"*2\r\n$4\r\nlist\r\n$1\r\na\r\n"]


def test_a_watched_key_that_a_script_changes_fails_the_transaction(client: redis.Redis) -> None:
    with client.pipeline() as pipe:
        pipe.watch("k")  # type: ignore[no-untyped-call]
        client.eval("redis.call('set', 'k', 1)", 0)
        pipe.multi()
        pipe.get("k")
        with pytest.raises(redis.WatchError):
            pipe.execute()


def test_time_stands_still_in_a_script(client: redis.Redis) -> None:
    code = "redis.call('set', 'k', 1, 'px', 5) for i = 1, 3e6 do end return redis.call('exists', 'k')"
    assert client.eval(code, 0) == 1


def test_monitor_shows_the_script_and_then_its_commands(server: evio_redis.Server) -> None:
    with Wire(server.port) as monitor, redis.Redis(port=server.port) as client:
        assert monitor.ask("MONITOR") == b"+OK\r\n"
        client.eval("return redis.call('set', 'k', 1)", 0)
        lines = [monitor.reply()]
        while b'"EVAL"' not in lines[-1]:
            lines.append(monitor.reply())
        assert b'lua] "set" "k" "1"' in monitor.reply()


def test_several_loops_share_the_interpreter() -> None:
    with evio_redis.Server(port=0, loops=3) as server:

        def count() -> None:
            with redis.Redis(port=server.port) as client:
                for _ in range(100):
                    client.eval("redis.call('set', KEYS[1], redis.call('incr', 'n'))", 1, "k")

        threads = [threading.Thread(target=count) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with redis.Redis(port=server.port) as client:
            assert client.get("n") == client.get("k") == b"600"


# -- redis-py's own scripts


def test_locks(client: redis.Redis) -> None:
    lock = client.lock("lock", timeout=20)
    with lock:
        assert lock.locked()
        assert lock.owned()
        assert lock.extend(30)
        assert lock.reacquire()
        assert not client.lock("lock", blocking=False).acquire()
    assert not lock.locked()
    with pytest.raises(redis.exceptions.LockError):
        lock.release()


def test_registered_scripts(client: redis.Redis) -> None:
    multiply = client.register_script("return redis.call('get', KEYS[1]) * ARGV[1]")
    client.set("a", 6)
    assert multiply(keys=["a"], args=[7]) == 42
    client.script_flush()
    assert multiply(keys=["a"], args=[7]) == 42  # redis-py loads it again
    with client.pipeline() as pipe:
        multiply(keys=["a"], args=[2], client=pipe)
        assert pipe.execute() == [12]


COUNTED: list[tuple[str, list[str]]] = [
    ("return redis.pcall('incr', 's')", ["eval:calls=1,0,1", "incr:calls=1,0,1", "ERR:count=1"]),
    ("return redis.call('incr', 's')", ["eval:calls=1,0,1", "incr:calls=1,0,1", "ERR:count=1"]),
    ("redis.pcall('incr', 's') return 1", ["eval:calls=1,0,0", "incr:calls=1,0,1", "ERR:count=1"]),
    ("return redis.pcall('nosuch')", ["eval:calls=1,0,1", "ERR:count=1"]),
    ("return redis.pcall('get')", ["eval:calls=1,0,1", "get:calls=0,1,0", "ERR:count=1"]),
    ("return redis.pcall('subscribe', 'x')", ["eval:calls=1,0,1", "subscribe:calls=0,1,0", "ERR:count=1"]),
    ("return redis.error_reply('MY error')", ["eval:calls=1,0,1", "MY:count=1"]),
    ("error('x')", ["eval:calls=1,0,1", "ERR:count=1"]),
]


@pytest.mark.parametrize(("code", "expected"), COUNTED)
@pytest.mark.parametrize("which", [0, 1], ids=["redis-server", "evio-redis"])
def test_errors_of_scripts_are_counted_once(both: tuple[int, int], which: int, code: str, expected: list[str]) -> None:
    with Wire(both[which]) as wire:
        wire.ask("SET s abc")
        wire.ask("CONFIG RESETSTAT")
        wire.ask(["EVAL", code, 0])
        lines = wire.ask("INFO everything").decode().split("\r\n")
    shown = re.compile(
        r"(?:cmdstat|errorstat)_([\w|]+:(?:calls|count)=\d+)(?:.*rejected_calls=(\d+),failed_calls=(\d+))?"
    )
    found = [",".join(filter(None, match.groups())) for line in lines if (match := shown.match(line))]
    assert sorted(found) == sorted(["config|resetstat:calls=1,0,0", *expected])
