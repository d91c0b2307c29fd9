"""The server as its clients see it: real clients, both protocols, every type of value."""

from __future__ import annotations

import subprocess
import threading
from typing import Any

import pytest
import redis

import evio_redis
from tests.core.harness import needs

from .conftest import execute

SCRIPT: list[tuple[list[Any], Any]] = [
    (["SET", "s", "v"], b"OK"),
    (["GET", "s"], b"v"),
    (["RPUSH", "l", "a", "b", "c"], 3),
    (["LRANGE", "l", 0, -1], [b"a", b"b", b"c"]),
    (["LPOP", "l"], b"a"),
    (["SADD", "n", 3, 1, 2], 3),
    (["OBJECT", "ENCODING", "n"], b"intset"),
    (["ZADD", "z", 1, "one", 2, "two"], 2),
    (["ZRANGE", "z", "(1", "+inf", "BYSCORE"], [b"two"]),
    (["EXPIRE", "s", 100], 1),
    (["TTL", "s"], 100),
    (["PERSIST", "s"], 1),
    (["RENAME", "s", "t"], b"OK"),
    (["EXISTS", "s", "t"], 1),
    (["TYPE", "z"], b"zset"),
    (["SORT", "n", "DESC"], [b"3", b"2", b"1"]),
    (["DEL", "t", "l", "n", "z"], 4),
    (["DBSIZE"], 0),
]

ERRORS = [
    (["NOSUCH", "a", "b"], "unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
    (["GET"], "wrong number of arguments for 'get' command"),
    (["CLIENT", "NOSUCH"], "unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
    (["SELECT", "99"], "DB index is out of range"),
    (["EXPIRE", "k", "x"], "value is not an integer or out of range"),
]


def test_a_session_of_each_type(client: redis.Redis) -> None:
    for args, expected in SCRIPT:
        assert execute(client, *args) == expected, args


@pytest.mark.parametrize("args, text", ERRORS, ids=[" ".join(args) for args, _ in ERRORS])
def test_errors_in_the_words_that_clients_know(client: redis.Redis, args: list[str], text: str) -> None:
    error = execute(client, *args)
    assert isinstance(error, redis.ResponseError)
    assert str(error).startswith(text)


def test_a_transaction_and_a_watch(client: redis.Redis, server: evio_redis.Server) -> None:
    with client.pipeline() as pipe:
        pipe.watch("k")  # type: ignore[no-untyped-call]
        pipe.multi()
        pipe.set("k", 1)
        pipe.get("k")
        assert pipe.execute() == [True, b"1"]
        pipe.watch("k")  # type: ignore[no-untyped-call]
        with redis.Redis(port=server.port) as other:
            other.set("k", 2)
        pipe.multi()
        pipe.get("k")
        with pytest.raises(redis.WatchError):
            pipe.execute()


def test_publish_and_subscribe(client: redis.Redis) -> None:
    with client.pubsub() as listener:  # type: ignore[no-untyped-call]
        listener.subscribe("news")
        assert listener.get_message(timeout=20) is not None
        assert client.publish("news", "hello") == 1
        message = listener.get_message(timeout=20)
        assert message is not None
        assert message["data"] == b"hello"


def test_a_blocked_client_is_served(client: redis.Redis, server: evio_redis.Server) -> None:

    found: list[Any] = []
    with redis.Redis(port=server.port, socket_timeout=20) as other:
        waiting = threading.Thread(target=lambda: found.append(other.blpop(["q"], timeout=10)))
        waiting.start()
        while not client.info("clients")["blocked_clients"]:
            pass
        client.rpush("q", "x", "y")
        waiting.join(20)
    assert found == [(b"q", b"x")]
    assert client.lrange("q", 0, -1) == [b"y"]


def test_an_own_command(client: redis.Redis, server: evio_redis.Server) -> None:
    @server.command("GREET", arity=2, keys=(1,), flags="readonly fast")
    def greet(session: evio_redis.Session, args: evio_redis.Args) -> bytes:
        return evio_redis.bulk(b"hello " + args[1])

    assert execute(client, "GREET", "you") == b"hello you"
    assert "wrong number of arguments for 'greet' command" in str(execute(client, "greet"))


def test_a_server_runs_once() -> None:
    server = evio_redis.Server(port=0)
    with server, redis.Redis(port=server.port) as client:
        assert client.ping()
    with pytest.raises(RuntimeError, match="runs once"), server:
        pass
    with pytest.raises(RuntimeError, match="runs once"):
        server.run()


def test_redis_cli(server: evio_redis.Server) -> None:
    script = "SET a 1\nLPUSH l x\nPING\n"
    done = subprocess.run(
        [needs("redis-cli"), "-p", str(server.port)],
        input=script,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout.split() == ["OK", "1", "PONG"]


def test_the_log_brings_everything_back(tmp_path: Any) -> None:
    settings = {"port": 0, "dir": str(tmp_path), "appendonly": True, "appendfsync": "always"}
    with evio_redis.Server(**settings) as server, redis.Redis(port=server.port) as client:
        client.set("s", "v")
        client.rpush("l", *range(100))
        client.sadd("set", "a", "b", "c")
        client.spop("set")
        client.zadd("z", {"m": 1.5})
        client.expire("s", 1000)
        before = sorted(client.smembers("set"))
    with evio_redis.Server(**settings) as server, redis.Redis(port=server.port) as client:
        assert client.get("s") == b"v"
        assert 990 < client.ttl("s") <= 1000
        assert client.llen("l") == 100
        assert sorted(client.smembers("set")) == before
        assert client.zscore("z", "m") == 1.5


def test_a_torn_log_is_cut_and_a_broken_one_is_refused(tmp_path: Any) -> None:
    settings = {"port": 0, "dir": str(tmp_path), "appendonly": True}
    with evio_redis.Server(**settings) as server, redis.Redis(port=server.port) as client:
        for number in range(100):
            client.set(f"key{number}", number)
    (log,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    whole = log.read_bytes()
    log.write_bytes(whole[:-5])
    with evio_redis.Server(**settings) as server, redis.Redis(port=server.port) as client:
        assert client.dbsize() == 99
    middle = whole.index(b"$", 200)
    log.write_bytes(whole[:middle] + b"*" + whole[middle + 1 :])
    with pytest.raises(evio_redis.LogCorrupt, match="at offset"):
        evio_redis.Server(**settings).start()
