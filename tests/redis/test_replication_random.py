"""A link that is slowed and cut at random, under commands of every kind: in the end both servers have the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import evio_core
from evio_core import Action, Handler
from tests.core.harness import eventually
from tests.extent import FULL, examples

from .test_replication import NAMES, PAIRS, same
from .wire import Wire

LIBRARY = """#!lua name=lib
redis.register_function('add', function(keys, args)
    redis.call('INCRBY', keys[1], args[1])
    return redis.call('SADD', keys[2], args[1])
end)"""

SCRIPT = """
for n = 1, 3 do redis.call('RPUSH', KEYS[1], n) end
redis.call('EXPIRE', KEYS[1], 5000)
return redis.call('SPOP', KEYS[2])"""
"""It has effects on several keys, one of which is a matter of chance."""


class _End(Handler):
    """One side of a connection through the proxy."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self.other: _End
        self._gone = False

    def data(self, chunk: bytes) -> None:
        """Pass it on; read the next part later, now and then."""
        self.other.conn.write(chunk)
        if self._draw.random() < 0.2:
            self.conn.pause_reading()
            self.conn.server.call_later(self._draw.uniform(0, 0.02), self._resume)

    def _resume(self) -> None:
        if not self._gone:
            self.conn.resume_reading()

    def closed(self, error: BaseException | None) -> Action | None:
        self._gone = True
        if hasattr(self.other, "conn"):
            self.other.conn.abort()
        return None


class Slow:
    """A proxy before a port, of which each connection is read from in fits and starts."""

    def __init__(self, port: int, seed: int) -> None:
        self._draw = random.Random(seed)
        self._address = f"tcp://127.0.0.1:{port}"
        self._clients: list[_End] = []
        self.server = evio_core.start({"tcp://127.0.0.1:0": self._client})
        self.port = int(self.server.addrs[0][1])

    def _client(self) -> Handler:
        outer = self

        class Client(_End):
            def opened(self) -> None:
                self.other = _End(outer._draw)
                self.other.other = self
                outer._clients.append(self)
                self.conn.server.dial(outer._address, handler=self.other)

        return Client(self._draw)

    def cut(self) -> None:
        """End all connections in the middle of whatever they carry."""
        clients, self._clients = self._clients, []
        for each in clients:
            each.conn.abort()


def operations(master: Any, other: Any, blocked: Wire, draw: random.Random) -> list[Callable[[], object]]:
    """The kinds of changes, for each of which a key is drawn."""

    def key(kind: str) -> str:
        return f"{kind}:{draw.randrange(8)}"

    def transaction() -> None:
        with master.pipeline(transaction=True) as pipe:
            pipe.incr(key("n")).lpush(key("list"), draw.random()).spop(key("set")).execute()

    def served() -> None:
        blocked.send("BLMOVE queue done LEFT RIGHT 0")
        master.rpush("queue", draw.randrange(1000))
        blocked.reply()

    def rename() -> None:
        master.set("from", draw.random())
        master.rename("from", key("renamed"))

    return [
        lambda: master.set(key("s"), draw.randbytes(draw.choice([1, 100, 20_000]))),
        lambda: other.set(key("s"), draw.random(), ex=10_000),
        lambda: master.append(key("s"), "x"),
        lambda: master.setbit(key("bits"), draw.randrange(1000), 1),
        lambda: master.incr(key("n")),
        lambda: master.rpush(key("list"), *range(draw.randrange(1, 20))),
        lambda: master.lpop(key("list"), 3),
        lambda: master.sadd(key("set"), *(draw.randrange(100) for _ in range(9))),
        lambda: master.spop(key("set"), 2),
        lambda: master.hset(key("hash"), mapping={str(n): draw.random() for n in range(5)}),
        lambda: master.hincrbyfloat(key("hash"), "f", 0.1),
        lambda: master.zadd(key("zset"), {str(draw.randrange(50)): draw.random() for _ in range(5)}),
        lambda: master.zpopmin(key("zset")),
        lambda: master.xadd(key("stream"), {"f": draw.random()}, maxlen=30, approximate=False),
        lambda: master.pfadd(key("hll"), draw.random()),
        lambda: master.set(key("short"), "x", px=draw.randrange(1, 30)),
        lambda: master.expire(key("hash"), 10_000),
        lambda: master.getex(key("s"), persist=True),
        lambda: master.delete(key("zset"), key("list")),
        lambda: master.eval(SCRIPT, 2, key("list"), key("set")),
        lambda: master.fcall("add", 2, key("n"), key("set"), draw.randrange(50)),
        transaction,
        served,
        rename,
    ]


@pytest.fixture(params=range(3) if FULL else range(2), ids=lambda index: NAMES[index])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    first, second = PAIRS[request.param]
    with first(tmp_path / "a", repl_backlog_size="16mb") as a, second(tmp_path / "b") as b:
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica:
            yield master, replica


def test_nothing_is_lost_or_doubled(pair: tuple[Any, Any]) -> None:
    master, replica = pair
    port = master.connection_pool.connection_kwargs["port"]
    draw = random.Random(7)
    proxy = Slow(port, 8)
    with proxy.server, Wire(port) as blocked, redis.Redis(port=port, db=3) as other:
        master.function_load(LIBRARY)
        replica.replicaof("127.0.0.1", proxy.port)
        assert eventually(lambda: "online" in str(master.info("replication").get("slave0")))
        changes = operations(master, other, blocked, draw)
        rounds = examples(9)
        for number in range(rounds):
            for _ in range(100):
                draw.choice(changes)()
            proxy.cut()
            for _ in range(50):
                draw.choice(changes)()
            assert eventually(lambda number=number: master.info("stats")["sync_partial_ok"] > number)  # type: ignore[misc]
        assert eventually(lambda: master.keys("short:*") == [] == replica.keys("short:*"))
        same(master, replica)
        assert master.function_list() == replica.function_list()
        assert master.info("stats")["sync_full"] == 1
