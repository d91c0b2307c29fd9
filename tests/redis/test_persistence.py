"""The append-only file through crashes, full disks and a real redis-server."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

import evio_redis
from evio_redis.persistence.aof.encode import KNOWN, LARGE, encode_all, encoded_size
from tests.extent import FULL, examples
from tests.popen import Popen

from .wire import Wire, redis_server, words

CRASHES = int(os.environ.get("EVIO_CRASHES", examples(6)))

pytestmark = pytest.mark.timeout(60 + 10 * CRASHES)


@contextmanager
def process(directory: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of its own that logs to the directory, and its port."""
    command = [sys.executable, "-m", "evio_redis", "--port", "0", "--dir", str(directory), "--appendonly", "yes"]
    server = Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        while "Ready to accept connections" not in (line := server.stdout.readline()):
            assert line, server.communicate()[1]
        yield server, int(line.rsplit(":", 1)[1])
    finally:
        if server.poll() is None:
            server.kill()
        server.communicate(timeout=20)


@pytest.mark.parametrize("policy", ["everysec", *(["always"] if FULL else [])])
def test_no_acknowledged_write_is_lost_to_a_kill(tmp_path: Path, policy: str) -> None:
    acknowledged = 0
    choose = random.Random(5)
    for _ in range(CRASHES):
        with process(tmp_path, "--appendfsync", policy) as (server, port):
            with redis.Redis(port=port) as client:
                found = int(client.get("n") or 0)
                # The process dies, not the machine: what was written is with the kernel, synced or not.
                assert found >= acknowledged
                assert client.llen("l") == found
                for _ in range(choose.randrange(1, 60)):
                    with client.pipeline(transaction=True) as pipe:
                        pipe.incr("n").rpush("l", "x")
                        acknowledged = pipe.execute()[0]
                server.send_signal(signal.SIGKILL)
                server.wait(20)


def test_a_full_disk_refuses_writes_and_passes(tmp_path: Path) -> None:
    with process(tmp_path, "--appendfsync", "everysec") as (server, port), redis.Redis(port=port) as client:
        client.set("before", "x")
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        accepted = ["before"]
        error: Exception | None = None
        for number in range(200):
            try:
                client.set(f"key{number}", "v" * 50)
                accepted.append(f"key{number}")
            except redis.ResponseError as refused:
                error = refused
                break
        assert "MISCONF Errors writing to the AOF file: File too large" in str(error)
        assert client.get("before") == b"x"  # reads go on
        assert client.info("persistence")["aof_last_write_status"] == "err"
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        deadline = time.monotonic() + 20
        while client.info("persistence")["aof_last_write_status"] == "err":
            assert time.monotonic() < deadline
        client.set("after", "x")
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    with evio_redis.Server(port=0, dir=str(tmp_path), appendonly=True) as again, redis.Redis(port=again.port) as client:
        assert all(client.exists(key) for key in [*accepted, "after"])


def test_with_always_what_is_not_on_the_disk_is_not_acknowledged(tmp_path: Path) -> None:
    with process(tmp_path, "--appendfsync", "always") as (server, port), redis.Redis(port=port) as client:
        client.set("before", "x")
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        accepted = []
        with pytest.raises(redis.ConnectionError):
            plain = redis.Redis(port=port, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))
            for number in range(100):
                plain.set(f"key{number}", "v" * 50)
                accepted.append(f"key{number}")
        with pytest.raises(redis.ResponseError, match="MISCONF"):
            client.set("refused", "x")
        server.send_signal(signal.SIGKILL)
        server.wait(20)
    with evio_redis.Server(port=0, dir=str(tmp_path), appendonly=True) as again, redis.Redis(port=again.port) as client:
        assert all(client.exists(key) for key in accepted)


def test_a_rewrite_and_a_snapshot_for_which_there_is_no_room_lose_nothing(tmp_path: Path) -> None:
    def wait(client: redis.Redis, ask: str, field: str, status: str) -> None:
        client.execute_command(ask)  # type: ignore[no-untyped-call]
        info: dict[str, Any] = client.info("persistence")
        while info["aof_rewrite_in_progress"] or info["rdb_bgsave_in_progress"] or info[field] != status:
            info = client.info("persistence")

    asked = (("BGREWRITEAOF", "aof_last_bgrewrite_status"), ("BGSAVE", "rdb_last_bgsave_status"))
    with process(tmp_path) as (server, port), redis.Redis(port=port) as client:
        client.set("large", os.urandom(200_000))
        wait(client, *asked[0], "ok")
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        for ask, field in asked:
            wait(client, ask, field, "err")
            client.set(field, "x")
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for ask, field in asked:
            wait(client, ask, field, "ok")
        server.send_signal(signal.SIGKILL)
        server.wait(20)
    assert (tmp_path / "dump.rdb").exists()
    assert not list(tmp_path.glob("**/temp-*"))
    with evio_redis.Server(port=0, dir=str(tmp_path), appendonly=True) as again, redis.Redis(port=again.port) as client:
        assert client.strlen("large") == 200_000
        assert all(client.exists(field) for _, field in asked)


def fill(client: redis.Redis) -> None:
    client.set("s", "v", ex=1000)
    client.rpush("l", *range(300))
    client.sadd("numbers", *range(100))
    client.sadd("names", "a", "b", "c")
    client.spop("names")
    client.zadd("z", {str(number): number * 1.5 for number in range(300)})
    client.hset("h", mapping={"f": 1, "g": "x" * 100})
    client.hincrbyfloat("h", "f", 0.1)
    client.set("large", "x" * 100_000)


def everything(client: redis.Redis) -> dict[Any, Any]:
    reads: dict[Any, Any] = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": lambda key: sorted(client.smembers(key)),
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    keys: list[Any] = sorted(client.keys())
    return {key: (reads[client.type(key)](key), client.expiretime(key)) for key in keys}


@contextmanager
def real_server(directory: Path, preamble: str) -> Iterator[redis.Redis]:
    arguments = ["--appendonly", "yes", "--dir", str(directory), "--aof-use-rdb-preamble", preamble]
    with redis_server(*arguments) as port, redis.Redis(port=port) as client:
        yield client


def rewritten(client: redis.Redis) -> None:
    client.bgrewriteaof()
    deadline = time.monotonic() + 20
    while client.info("persistence")["aof_rewrite_in_progress"]:
        assert time.monotonic() < deadline
        client.ping()


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_each_server_loads_what_the_other_wrote(tmp_path: Path, preamble: str) -> None:
    settings = {"port": 0, "dir": str(tmp_path), "appendonly": True}
    with evio_redis.Server(**settings) as server, redis.Redis(port=server.port) as client:
        fill(client)
        rewritten(client)
        client.rpush("l", "after the rewrite")
        expected = everything(client)
    with real_server(tmp_path, preamble) as client:
        assert everything(client) == expected
        rewritten(client)
        client.lpush("l", "by the real one")
        expected = everything(client)
    with evio_redis.Server(**settings) as server, redis.Redis(port=server.port) as client:
        assert everything(client) == expected


def test_the_log_may_be_turned_on_at_run_time(tmp_path: Path) -> None:
    with evio_redis.Server(port=0, dir=str(tmp_path)) as server, redis.Redis(port=server.port) as client:
        fill(client)
        client.config_set("appendonly", "yes")
        client.set("later", "x")
        expected = everything(client)
    with (
        evio_redis.Server(port=0, dir=str(tmp_path), appendonly=True) as server,
        redis.Redis(port=server.port) as client,
    ):
        assert everything(client) == expected


def test_no_byte_of_the_log_can_make_it_fail_otherwise_than_in_words(tmp_path: Path) -> None:
    settings = {"port": 0, "dir": str(tmp_path), "appendonly": True}
    with evio_redis.Server(**settings) as server, redis.Redis(port=server.port) as client:
        for number in range(20):
            client.rpush("l", f"value {number}")
    (log,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    whole = log.read_bytes()
    choose = random.Random(11)
    for _ in range(examples(60)):
        at = choose.randrange(len(whole))
        cut = choose.random() < 0.3
        log.write_bytes(whole[:at] if cut else whole[:at] + bytes([choose.randrange(256)]) + whole[at + 1 :])
        try:
            with evio_redis.Server(**settings) as server, redis.Redis(port=server.port) as client:
                kept = client.dbsize()
                assert kept <= 2
        except evio_redis.LogCorrupt as error:
            assert "at offset" in str(error)
            assert not cut


def test_loading_the_log_again_is_not_logged(tmp_path: Path) -> None:
    """DEBUG LOADAOF would otherwise find itself in the log the next time, without an end."""
    with (
        evio_redis.Server(port=0, dir=str(tmp_path), appendonly=True, enable_debug_command="yes") as server,
        redis.Redis(port=server.port) as client,
    ):
        client.set("a", "1")
        for _ in range(3):
            assert client.execute_command("DEBUG", "LOADAOF")
        assert client.get("a") == b"1"
    log = b"".join(file.read_bytes() for file in (tmp_path / "appendonlydir").glob("*.incr.aof"))
    assert b"LOADAOF" not in log


TRANSACTIONS: list[tuple[str, str]] = [
    ("MULTI|SET k v|EXEC", "SELECT 0|SET k v"),
    ("MULTI|SET k v|GET k|DEL none|EXEC", "SELECT 0|SET k v"),
    ("MULTI|SET k v|SET k w|EXEC", "SELECT 0|MULTI|SET k v|SET k w|EXEC"),
    ("SELECT 2|MULTI|SET k v|EXEC", "SELECT 2|SET k v"),
    ("MULTI|SELECT 2|SET k v|EXEC", "SELECT 2|SET k v"),
    ("MULTI|GET k|EXEC|MULTI|EXEC", ""),
    ("EVAL return(redis.call('SET','k','v')) 0", "SELECT 0|SET k v"),
    ("EVAL redis.call('SET','k','v');redis.call('SET','k','w') 0", "SELECT 0|MULTI|SET k v|SET k w|EXEC"),
    ("MULTI|EVAL return(redis.call('SET','k','v')) 0|EXEC", "SELECT 0|SET k v"),
]


@pytest.mark.parametrize("program", ["evio-redis", "redis-server"])
@pytest.mark.parametrize(("commands", "logged"), TRANSACTIONS)
def test_only_several_commands_are_a_transaction_in_the_log(
    program: str, commands: str, logged: str, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        if program == "evio-redis":
            port = stack.enter_context(evio_redis.Server(port=0, dir=str(tmp_path), appendonly=True)).port
        else:
            port = stack.enter_context(redis_server("--appendonly", "yes", "--dir", str(tmp_path)))
        wire = stack.enter_context(Wire(port))
        for command in commands.split("|"):
            assert not wire.ask(command).startswith(b"-")
    [increment] = (tmp_path / "appendonlydir").glob("*.incr.aof")
    assert increment.read_bytes().lower() == b"".join(map(words, filter(None, logged.split("|")))).lower()


def test_commands_of_one_turn_are_in_the_log_in_their_order_and_as_they_came(tmp_path: Path) -> None:
    large = "x" * LARGE
    commands = [
        *("SET a 1", "set a 2", "HSET h f v", f"SET l {large}", "GET a", "SELECT 1", "INCR n", "SELECT 0", "MULTI"),
        *("INCR n", "APPEND a 3", "EXEC", "EXPIRE a -1", "SETEX e 1000 v", "PEXPIREAT e 4000000000000", "MSET b 1 c 2"),
        *(
            "EVAL return(redis.call('DEL','b')) 0",
            "SPOP nothing",
            "INCR h",
            "XADD s 1-1 f v",
            "LPUSH q 1 2 3 4 5 6 7 8",
        ),
        *("CONFIG SET aof-timestamp-enabled yes", "INCR n", "CONFIG SET aof-timestamp-enabled no", "DECR n", "INCR n"),
    ]
    with evio_redis.Server(port=0, dir=str(tmp_path), appendonly=True) as server, Wire(server.port) as wire:
        wire.send(*commands)
        for _ in commands:
            wire.reply()
    [increment] = (tmp_path / "appendonlydir").glob("*.incr.aof")
    found = increment.read_bytes()
    stamp = found[found.index(b"#TS:") :].partition(b"\r\n")[0] + b"\r\n"
    setex = found[found.index(b"$4\r\nPXAT\r\n$13\r\n") :][len(b"$4\r\nPXAT\r\n$13\r\n") :][:13].decode()
    logged = [
        *("SELECT 0", "SET a 1", "set a 2", "HSET h f v", f"SET l {large}", "SELECT 1", "INCR n", "SELECT 0", "MULTI"),
        *(
            "INCR n",
            "APPEND a 3",
            "EXEC",
            "DEL a",
            f"SET e v PXAT {setex}",
            "PEXPIREAT e 4000000000000",
            "MSET b 1 c 2",
        ),
        *("DEL b", "XADD s 1-1 f v", "LPUSH q 1 2 3 4 5 6 7 8"),
    ]
    assert found == b"".join(map(words, logged)) + stamp + b"".join(map(words, ("INCR n", "DECR n", "INCR n")))


def test_commands_are_encoded_as_clients_send_them() -> None:
    sizes = (0, 1, 9, 10, KNOWN - 1, KNOWN, LARGE - 1)
    commands = [[b"N" * max(size, 1), *[b"x" * size] * others] for size in sizes for others in range(8)]
    found, large = encode_all([b"#before\r\n", *commands])
    assert found[0] == b"#before\r\n"
    encoded = [
        b"*%d\r\n" % len(each) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in each) for each in commands
    ]
    assert b"".join(found[1:]) == b"".join(encoded)
    assert [*map(encoded_size, commands)] == [*map(len, encoded)]
    assert not large


@pytest.mark.parametrize("others", range(1, 6))
def test_large_arguments_are_not_copied_to_be_encoded(others: int) -> None:
    argument = b"x" * LARGE
    found, large = encode_all([[b"SET", *[b"key"] * (others - 1), argument]])
    assert large
    assert any(piece is argument for piece in found)
    assert not encode_all([[b"SET", b"key", b"value"]])[1]
