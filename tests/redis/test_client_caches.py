"""The client-side caches that people have: what they keep is what the server has, also after others have changed it."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.core.harness import needs
from tests.extent import full_only

from .test_clients import BUILD, install
from .transcripts import SERVERS, running

cache = pytest.importorskip("redis.cache", reason="redis-py has a cache from 5.1 on")
NODE_CLIENT = "redis5@npm:redis@5.9.0"


@pytest.fixture(scope="module", params=SERVERS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    yield from running(request.param)


def gets(client: redis.Redis) -> int:
    """Return how often anybody has asked the server for a string."""
    stats: dict[str, Any] = client.info("commandstats")
    return int(stats.get("cmdstat_get", {"calls": 0})["calls"])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline


def test_redis_py(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # It asks for Redis 7.4, though it uses nothing that 6.0 has not.
    monkeypatch.setattr("redis.connection.CacheProxyConnection.MIN_ALLOWED_VERSION", "6.0.0")
    with (
        redis.Redis(port=port) as other,
        redis.Redis(port=port, protocol=3, cache_config=cache.CacheConfig(), decode_responses=True) as client,
    ):
        other.flushall()
        other.set("k", 1)
        before = gets(other)
        assert [client.get("k") for _ in range(10)] == ["1"] * 10
        assert gets(other) == before + 1
        for change in (("SET", "k", 2), ("INCR", "k"), ("DEL", "k"), ("SET", "k", 9), ("FLUSHALL",)):
            other.execute_command(*change)
            expected = other.execute_command("GET", "k")
            until(lambda expected=expected: client.get("k") == (expected and expected.decode()))  # type: ignore[misc]
        client.set("k", "mine")
        assert client.get("k") == "mine"
        other.set("gone", 1, px=30)
        until(lambda: client.get("gone") is None)


def test_coredis(port: int) -> None:
    coredis = pytest.importorskip("coredis")
    from coredis.patterns.cache import LRUCache

    async def main() -> None:
        client = coredis.Redis(port=port, cache=LRUCache(), decode_responses=True)
        async with client, coredis.Redis(port=port) as other:
            await other.flushall()
            for value in ("1", "2", "3"):
                await other.set("k", value)
                async with asyncio.timeout(20):
                    while await client.get("k") != value:
                        await asyncio.sleep(0)
            calls = await other.info("commandstats")
            for _ in range(10):
                assert await client.get("k") == "3"
            after = await other.info("commandstats")
            assert after["cmdstat_get"] == calls["cmdstat_get"]

    asyncio.run(main())


NODE = """
const { createClient, BasicClientSideCache } = require('redis5');
const fail = (error) => { console.error(error); process.exit(1); };
const same = (got, wanted) => { if (got !== wanted) fail(`${got} is not ${wanted}`); };
const main = async () => {
  const socket = { port: Number(process.argv[2]), host: '127.0.0.1' };
  const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 0, evictPolicy: 'LRU' });
  const client = await createClient({ socket, RESP: 3, clientSideCache: cache }).on('error', fail).connect();
  const other = await createClient({ socket }).on('error', fail).connect();
  await other.flushAll();
  for (const value of ['1', '2', '3']) {
    await other.set('k', value);
    while (await client.get('k') !== value) await new Promise(setImmediate);
  }
  const hits = cache.stats().hitCount;
  for (let i = 0; i < 10; i++) same(await client.get('k'), '3');
  same(cache.stats().hitCount, hits + 10);
  await other.flushAll();
  while (await client.get('k') !== null) await new Promise(setImmediate);
  await other.close();
  await client.close();
};
main().then(() => console.log('well'), fail);
"""


@pytest.fixture(scope="session")
def node_project() -> Path:
    return install(BUILD / "redis5-5.9.0", "cache.js", NODE, NODE_CLIENT)


@pytest.mark.timeout(400)
@full_only
def test_node_redis(port: int, node_project: Path) -> None:
    command = [needs("node"), "cache.js", str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=node_project, check=False)
    assert done.stdout == "well\n", done.stderr


def test_the_benchmark_with_tracking(port: int) -> None:
    command = [
        needs("redis-benchmark"),
        "-p",
        str(port),
        "--enable-tracking",
        "-t",
        "set,get",
        "-n",
        "2000",
        "-c",
        "10",
    ]
    done = subprocess.run(
        [*command, "-r", "100", "--csv", "-3"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stdout + done.stderr
    assert done.stdout.count("\n") == 3
