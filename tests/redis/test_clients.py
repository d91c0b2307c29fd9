"""The clients people have: redis-cli, redis-benchmark, redis-py's asyncio client, and those of node."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import tempfile
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

import evio_redis
from tests.core.harness import needs
from tests.extent import FULL, full_only

TIMEOUT = 60
BUILD = Path(__file__).parents[2] / "build"
NODE_CLIENTS = ("redis@4.7.0", "ioredis@5.9.2")
BENCHMARKS = 20
"""Tests in redis-benchmark's default set, of which each has a line."""


def cli(server: evio_redis.Server, *arguments: str, send: str | bytes | None = None) -> str:
    """Return the output of redis-cli."""
    given = send.encode() if isinstance(send, str) else send
    done = subprocess.run(
        [needs("redis-cli"), "-p", str(server.port), *arguments],
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def fill(server: evio_redis.Server) -> None:
    with redis.Redis(port=server.port) as client:
        for number in range(300):
            client.set(f"string:{number}", "x" * number)
        client.rpush("list", *range(1000))
        client.hset("hash", mapping={str(number): number for number in range(200)})
        client.sadd("set", *range(150))
        client.zadd("zset", {str(number): number for number in range(100)})


# -- redis-cli


def test_redis_cli_runs_commands_given_and_piped(server: evio_redis.Server) -> None:
    assert cli(server, "SET", "k", "v") == "OK\n"
    assert cli(server, "GET", "k") == "v\n"
    assert cli(server, "-3", "--json", "HSET", "h", "a", "1") == "1\n"
    assert json.loads(cli(server, "-3", "--json", "HGETALL", "h")) == {"a": "1"}
    assert cli(server, "--csv", "MGET", "k", "nothing") == '"v",NULL\n'
    assert cli(server, "-u", f"redis://127.0.0.1:{server.port}/3", "SET", "in3", "x") == "OK\n"
    assert cli(server, "-n", "3", "DBSIZE") == "1\n"
    assert cli(server, "-r", "3", "-i", "0.01", "INCR", "n") == "1\n2\n3\n"
    assert cli(server, send='SET a "two words"\nGET a\nMULTI\nINCR n\nEXEC\n') == "OK\ntwo words\nOK\nQUEUED\n4\n"
    assert cli(server, "-x", "SET", "file", send="from stdin") == "OK\n"
    assert cli(server, "GET", "file") == "from stdin\n"
    assert "unknown command" in cli(server, "NOSUCH")


def test_redis_cli_pipes_masses_of_commands(server: evio_redis.Server) -> None:
    commands = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\nk%d\r\n$1\r\nv\r\n" % (len(b"k%d" % n), n) for n in range(20_000))
    assert "errors: 0, replies: 20000" in cli(server, "--pipe", send=commands)
    assert cli(server, "DBSIZE") == "20000\n"


def test_redis_cli_looks_at_the_keyspace(server: evio_redis.Server) -> None:
    fill(server)
    assert len(cli(server, "--scan", "--pattern", "string:*").split()) == 300
    big = cli(server, "--bigkeys")
    for found in ("""list found '"list"' has 1000 items""", """hash found '"hash"' has 200 fields"""):
        assert f"Biggest   {found}" in big
    assert "Sampled 304 keys in the keyspace" in big
    assert "Sampled 304 keys in the keyspace" in cli(server, "--memkeys")
    hot = [needs("redis-cli"), "-p", str(server.port), "--hotkeys"]
    asked = subprocess.run(hot, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert "LFU maxmemory policy is not selected" in asked.stdout + asked.stderr
    assert "redis_version:7.0.15" in cli(server, "INFO", "server")


def test_redis_cli_shows_latency_and_stat(server: evio_redis.Server) -> None:
    latency = cli(server, "--latency", "--raw", "-i", "1")
    assert len(latency.split()) == 4
    terminal, other_end = pty.openpty()  # into a pipe it would write 4 KiB at a time
    stat = subprocess.Popen([needs("redis-cli"), "-p", str(server.port), "--stat", "-i", "1"], stdout=other_end)
    os.close(other_end)
    with open(terminal, encoding="ascii") as shown:
        lines = [shown.readline() for _ in range(3)]
        stat.terminate()
        stat.wait(TIMEOUT)
    assert lines[1].split()[:2] == ["keys", "mem"]
    assert int(lines[2].split()[0]) == 0


def test_redis_cli_talks(server: evio_redis.Server) -> None:
    """Interactively, through a terminal, with hints of arguments."""
    command = [needs("redis-cli"), "-p", str(server.port)]
    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))  # else redis-cli asks where it is
    talking = subprocess.Popen(
        command, stdin=other_end, stdout=other_end, stderr=other_end, env=os.environ | {"TERM": "xterm"}
    )
    os.close(other_end)
    shown = b""

    def wait_for(text: bytes) -> None:
        nonlocal shown
        deadline = time.monotonic() + 20
        while text not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65536)
        shown = shown.partition(text)[2]

    def type_in(text: bytes) -> None:
        wait_for(b"> ")  # what is typed earlier is thrown away
        os.write(terminal, text)

    try:
        type_in(b"get ")
        wait_for(b"key")  # the hint
        os.write(terminal, b"k\r")
        wait_for(b"(nil)")
        for typed, answer in (
            (b"lpush l a b\r", b"(integer) 2"),
            (b"lrange l 0 -1\r", b'2) "a"'),
            (b"config get hz\r", b'2) "10"'),
        ):
            type_in(typed)
            wait_for(answer)
        wait_for(b"> ")
        os.write(terminal, b"exit\r")
        assert talking.wait(TIMEOUT) == 0
    finally:
        talking.kill()
        talking.wait(TIMEOUT)
        os.close(terminal)


# -- redis-benchmark


@pytest.mark.parametrize("options", [[], ["-P", "16"], ["-3"], *([["--threads", "2"]] if FULL else [])], ids=" ".join)
def test_redis_benchmark_ends_without_an_error(server: evio_redis.Server, options: list[str]) -> None:
    command = [needs("redis-benchmark"), "-p", str(server.port), "-n", "200", "-c", "20", "--csv", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith('"')]
    assert len(rows) == BENCHMARKS + 1, done.stdout
    assert "rror" not in done.stdout + done.stderr


# -- redis-py


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_asyncio_client_of_redis_py(server: evio_redis.Server, protocol: int) -> None:
    async def talk() -> None:
        client: Any = redis.asyncio.Redis(port=server.port, protocol=protocol, decode_responses=True)
        assert sorted(await asyncio.gather(*(client.incr("n") for _ in range(100)))) == list(range(1, 101))
        async with client.pipeline(transaction=True) as pipe:
            assert await pipe.set("a", "1").get("a").hset("h", "f", "v").execute() == [True, "1", 1]
        waiting = asyncio.create_task(client.blpop(["l"], timeout=20))
        async with client.pubsub() as channel:
            await channel.subscribe("news")
            assert (await channel.get_message(timeout=20))["type"] == "subscribe"
            assert await client.publish("news", "hello") == 1
            assert (await channel.get_message(timeout=20))["data"] == "hello"
        await client.rpush("l", "x")
        assert list(await waiting) == ["l", "x"]
        assert [key async for key in client.scan_iter(match="a*")] == ["a"]
        await client.aclose()

    asyncio.run(talk())


def test_transactions_that_watch_are_tried_again(server: evio_redis.Server) -> None:
    def add(times: int) -> None:
        with redis.Redis(port=server.port) as client:
            for _ in range(times):
                client.transaction(
                    lambda pipe: (value := int(pipe.get("n") or 0), pipe.multi(), pipe.set("n", value + 1)), "n"
                )

    threads = [threading.Thread(target=add, args=(50,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with redis.Redis(port=server.port) as client:
        assert client.get("n") == b"200"


def test_a_client_connects_again_to_a_server_that_has_restarted() -> None:
    with evio_redis.Server(port=0) as first:
        port = first.port
        client = redis.Redis(port=port)
        assert client.set("k", "v")
    with evio_redis.Server(port=port):
        assert client.get("k") is None
        client.close()


# -- node

NODE = """
const fail = (error) => { console.error(error); process.exit(1); };
const same = (found, wanted) => {
  if (JSON.stringify(found) !== JSON.stringify(wanted))
    fail(`${JSON.stringify(found)} is not ${JSON.stringify(wanted)}`);
};
const port = Number(process.argv[2]);
const nodeRedis = async () => {
  const { createClient } = require('redis');
  const client = createClient({ socket: { port, host: '127.0.0.1' } }).on('error', fail);
  await client.connect();
  await client.set('k', 'v', { EX: 100 });
  same(await client.get('k'), 'v');
  same(await client.hSet('h', { a: 1, b: 2 }), 2);
  same(await client.hGetAll('h'), { a: '1', b: '2' });
  same(await client.multi().incr('n').incr('n').exec(), [1, 2]);
  same(await client.zAdd('z', [{ score: 2, value: 'b' }, { score: 1, value: 'a' }]), 2);
  same(await client.zRangeWithScores('z', 0, -1), [{ value: 'a', score: 1 }, { value: 'b', score: 2 }]);
  const other = client.duplicate().on('error', fail);
  await other.connect();
  const heard = new Promise((resolve) => other.subscribe('c', resolve).then(() => client.publish('c', 'm')));
  same(await heard, 'm');
  const keys = [];
  for await (const key of client.scanIterator()) keys.push(key);
  same(keys.sort(), ['h', 'k', 'n', 'z']);
  await client.flushAll();
  await other.quit();
  await client.quit();
};
const ioredis = async () => {
  const Redis = require('ioredis');
  const client = new Redis(port);
  client.on('error', fail);
  same(await client.set('k', 'v', 'PX', 100000), 'OK');
  same(await client.get('k'), 'v');
  same(await client.pipeline().rpush('l', 1, 2, 3).lrange('l', 0, -1).exec(), [[null, 3], [null, ['1', '2', '3']]]);
  same(await client.multi().set('a', 1).incr('a').exec(), [[null, 'OK'], [null, 2]]);
  const other = new Redis(port);
  const popped = other.blpop('queue', 20);
  await client.rpush('queue', 'x');
  same(await popped, ['queue', 'x']);
  same(await client.getBuffer('k'), Buffer.from('v'));
  same(await client.call('OBJECT', 'ENCODING', 'l'), 'quicklist');
  await client.flushall();
  await other.quit();
  await client.quit();
};
nodeRedis().then(ioredis).then(() => console.log('well'), fail);
"""


def install(directory: Path, script: str, code: str, *packages: str) -> Path:
    """Return a folder with a script and packages from the npm registry, which are kept in ``build``."""
    needs("node")
    if not directory.exists():
        BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as temporary:
            made = Path(temporary) / "node"
            made.mkdir()
            command = [needs("npm"), "install", "--no-audit", "--no-fund", "--fetch-retries=0", "--prefix", str(made)]
            done = subprocess.run(
                [*command, *packages], capture_output=True, text=True, timeout=300, cwd=made, check=False
            )
            if done.returncode:
                reason = done.stderr.strip().splitlines()[:2]
                pytest.skip(f"{' and '.join(packages)} are not installed, and npm cannot: {' '.join(reason)}")
            with contextlib.suppress(OSError):  # somebody else was faster
                made.rename(directory)
    (directory / script).write_text(code)
    return directory


@pytest.fixture(scope="session")
def node_project() -> Path:
    return install(BUILD / "-".join(NODE_CLIENTS), "talk.js", NODE, *NODE_CLIENTS)


@pytest.mark.timeout(400)
@full_only
def test_the_clients_of_node(server: evio_redis.Server, node_project: Path) -> None:
    command = [needs("node"), "talk.js", str(server.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, cwd=node_project, check=False)
    assert done.stdout == "well\n", done.stderr
