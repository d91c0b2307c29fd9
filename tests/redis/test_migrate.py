"""MIGRATE, from this server to itself, to a real redis-server and back."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from evio_redis.persistence.aof.encode import encode
from tests.core.harness import TIMEOUT, eventually

from .test_replication import PAIRS, Kind, Proxy, contents, follow, ours, real, same, write_all_types
from .wire import Wire


def port_of(client: Any) -> int:
    return int(client.connection_pool.connection_kwargs["port"])


@pytest.fixture(params=PAIRS, ids=["to-redis", "from-redis", "to-itself"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """Clients of two servers."""
    first, second = request.param
    with first(tmp_path / "a") as a, second(tmp_path / "b") as b:
        with redis.Redis(port=a) as source, redis.Redis(port=b) as target:
            yield source, target


def migrate(source: Any, target: Any, *words: Any, key: str = "", database: int = 0) -> Any:
    return source.execute_command("MIGRATE", "127.0.0.1", port_of(target), key, database, 20_000, *words)


def test_keys_of_every_type_there_and_back(pair: tuple[Any, Any]) -> None:
    source, target = pair
    write_all_types(source, "k")
    before = contents(source)
    keys = source.keys()
    assert migrate(source, target, "KEYS", *keys) == b"OK"
    assert source.dbsize() == 0
    after = contents(target)
    assert after.keys() == before.keys()
    for where, (kind, values, expiry) in before.items():
        assert after[where][:2] == (kind, values)
        assert abs(after[where][2] - expiry) < 60_000  # what is left is passed on, not the moment
    assert migrate(target, source, "KEYS", *keys) == b"OK"
    assert contents(source).keys() == before.keys()


def test_options(pair: tuple[Any, Any]) -> None:
    source, target = pair
    source.set("k", "v")
    assert migrate(source, target, key="nothing") == b"NOKEY"
    assert migrate(source, target, "KEYS", "nothing", "neither") == b"NOKEY"
    assert migrate(source, target, "COPY", key="k", database=3) == b"OK"
    assert source.get("k") == b"v"
    source.set("k", "w")
    with pytest.raises(redis.ResponseError, match="Target instance replied with error: BUSYKEY Target key name"):
        migrate(source, target, key="k", database=3)
    assert source.get("k") == b"w"
    source.set("free", 1)
    with pytest.raises(redis.ResponseError, match="BUSYKEY"):
        migrate(source, target, "KEYS", "k", "free", "nothing", database=3)
    assert source.keys() == [b"k"]
    assert migrate(source, target, "COPY", "REPLACE", "KEYS", "k", database=3) == b"OK"
    assert migrate(source, target, "REPLACE", key="k", database=3) == b"OK"
    assert source.dbsize() == 0
    with redis.Redis(port=port_of(target), db=3) as other:
        assert other.get("k") == b"w"
        assert other.get("free") == b"1"
    source.set("k", 1)
    with pytest.raises(redis.ResponseError, match="Target instance replied with error: ERR DB index is out of range"):
        migrate(source, target, key="k", database=99)
    assert source.get("k") == b"1"


def test_passwords(pair: tuple[Any, Any]) -> None:
    source, target = pair
    source.set("k", "v")
    target.execute_command("ACL", "SETUSER", "mover", "on", ">secret", "~*", "+@all")
    target.config_set("requirepass", "other")
    with pytest.raises(redis.ResponseError, match="Target instance replied with error: NOAUTH"):
        migrate(source, target, key="k")
    with pytest.raises(redis.ResponseError, match="Target instance replied with error: WRONGPASS"):
        migrate(source, target, "AUTH2", "mover", "wrong", key="k")
    assert source.get("k") == b"v"
    assert migrate(source, target, "AUTH2", "mover", "secret", key="k") == b"OK"
    source.set("k2", "v")
    assert migrate(source, target, "AUTH", "other", "KEYS", "k2") == b"OK"
    assert source.dbsize() == 0


REFUSED = {
    "MIGRATE 127.0.0.1 1 k 0": b"-ERR wrong number of arguments for 'migrate' command\r\n",
    "MIGRATE 127.0.0.1 1 k 0 1000": b"-IOERR error or timeout writing to target instance\r\n",
    "MIGRATE 127.0.0.1 x k 0 1000": b"-IOERR error or timeout writing to target instance\r\n",
    "MIGRATE 127.0.0.1 1 none 0 1000": b"+NOKEY\r\n",
    "MIGRATE 127.0.0.1 1 k x 1000": b"-ERR value is not an integer or out of range\r\n",
    "MIGRATE 127.0.0.1 1 k 0 x": b"-ERR value is not an integer or out of range\r\n",
    "MIGRATE 127.0.0.1 1 k 0 1000 NONSENSE": b"-ERR syntax error\r\n",
    "MIGRATE 127.0.0.1 1 k 0 1000 AUTH": b"-ERR syntax error\r\n",
    "MIGRATE 127.0.0.1 1 k 0 1000 AUTH2 user": b"-ERR syntax error\r\n",
    "MIGRATE 127.0.0.1 1 k 0 1000 KEYS k": (
        b"-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string\r\n"
    ),
    "COMMAND GETKEYS MIGRATE h 1 k 0 1000 AUTH KEYS": b"*1\r\n$1\r\nk\r\n",
}


@pytest.mark.parametrize("kind", [ours, real], ids=["evio-redis", "redis-server"])
def test_what_is_refused(kind: Kind, tmp_path: Path) -> None:
    with kind(tmp_path) as port, Wire(port) as wire:
        wire.ask("SET k v")
        for command, reply in REFUSED.items():
            assert wire.ask(command) == reply, command
        empty = [b"COMMAND", b"GETKEYS", b"MIGRATE", b"h", b"1", b"", b"0", b"9", b"COPY", b"KEYS", b"a", b"b"]
        assert wire.ask(empty) == b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"
        assert wire.ask("GET k") == b"$1\r\nv\r\n"


def test_only_the_client_waits_and_what_changes_meanwhile_is_not_lost(tmp_path: Path) -> None:
    with ours(tmp_path / "a") as a, ours(tmp_path / "b") as b, redis.Redis(port=a) as source:
        proxy = Proxy(b)
        try:
            with redis.Redis(port=b) as target, Wire(a) as wire:
                for n in range(500):
                    source.set(f"k{n}", n)
                proxy.hold()
                wire.send(["MIGRATE", "127.0.0.1", proxy.port, "", 0, 600_000, "KEYS", *(f"k{n}" for n in range(500))])
                assert eventually(lambda: source.info("clients")["blocked_clients"] == 1)
                assert source.ping()
                assert source.dbsize() == 500
                source.set("k1", "changed")
                source.delete("k2")
                source.expire("k3", 1000)
                assert source.get("k4") == b"4"
                proxy.release()
                assert wire.reply() == b"+OK\r\n"
                assert source.dbsize() == 0
                assert target.dbsize() == 499
                assert target.mget("k0", "k1", "k2") == [b"0", b"changed", None]
                assert target.ttl("k3") > 0
        finally:
            proxy.close()


def test_a_target_that_does_not_answer_or_hangs_up(tmp_path: Path) -> None:
    with ours(tmp_path) as port, redis.Redis(port=port) as source, Wire(port) as wire:
        source.set("k", "v")
        with socket.create_server(("127.0.0.1", 0)) as target:
            address = target.getsockname()
            target.settimeout(TIMEOUT)
            wire.send(["MIGRATE", *address, "k", 0, 100])
            assert wire.reply().startswith(b"-IOERR error or timeout ")  # connecting, if that took so long
            target.accept()[0].close()
            wire.send(["MIGRATE", *address, "k", 0, 600_000])
            with target.accept()[0] as conn:
                assert conn.recv(1000).startswith(encode([b"SELECT", b"0"]))
            assert wire.reply() == b"-IOERR error or timeout reading to target instance\r\n"
        assert source.get("k") == b"v"
        assert source.info("clients")["blocked_clients"] == 0
        source.set("k", "w")
        assert source.delete("k") == 1


def test_the_log_and_replicas_hear_of_what_is_gone(tmp_path: Path) -> None:
    with ours(tmp_path / "b") as b, redis.Redis(port=b) as target:
        with ours(tmp_path / "a", appendonly=True, appendfsync="always") as a, real(tmp_path / "c") as c:
            with redis.Redis(port=a) as source, redis.Redis(port=c) as replica:
                follow(replica, source)
                source.mset({"gone": 1, "stays": 2})
                assert migrate(source, target, key="gone") == b"OK"
                same(source, replica)
                assert replica.keys() == [b"stays"]
                with source.pipeline(transaction=True) as pipe, pytest.raises(redis.ResponseError, match="transaction"):
                    pipe.execute_command("MIGRATE", "127.0.0.1", b, "stays", 0, 1000).execute()
        with ours(tmp_path / "a", appendonly=True) as a, redis.Redis(port=a) as source:
            assert source.keys() == [b"stays"]
