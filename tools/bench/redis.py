"""The Redis benchmark: evio_redis, with one loop, beside redis-server, without persistence in either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import measures, procfs
from .load import REDIS_BENCHMARK, connected
from .server import BenchError, Peer, Requirement, Server, python
from .suite import Metric, Settings, Suite, Target, Workload

__all__ = ["SUITE", "Keys", "command"]

ONE_AT_A_TIME_AT_MOST = 1.50
PIPELINED_AT_MOST = 1.40
OTHERS_PIPELINED_AT_MOST = 1.60
"""CPU time per request, as a part of redis-server's: of SET and GET, and of the other commands."""

MEMORY_AT_MOST = 2.50
"""Bytes per key, as a part of redis-server's."""

CLIENTS = 50
PIPELINE = 16
KEYSPACE = 100_000
"""Different keys, fields or members that a load draws from."""

MEMORY_KEYS = 1_000_000
BATCH = 1_000

EVIO = Requirement("evio_redis", "pip install -e packages/evio-core -e packages/evio-redis")
REDIS_SERVER = Requirement("redis-server", "apt install redis-server", program=True)


def redis_server(port: int, directory: Path) -> list[str]:
    """The command of redis-server."""
    return ["redis-server", "--port", str(port), "--dir", str(directory), "--save", "", "--appendonly", "no"]


PEERS = (
    Peer("evio", lambda port, folder: python("evio_redis", "--port", str(port), "--dir", str(folder)), (EVIO,)),
    Peer("redis", redis_server, (REDIS_SERVER,)),
)

METRICS = (
    Metric("cpu", "CPU µs/request", 2),
    Metric("rate", "requests/s", higher_is_better=True),
    Metric("p50", "p50 ms", 2),
    Metric("p99", "p99 ms", 2),
)


def command(*words: bytes) -> bytes:
    """A command as a client sends it."""
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


class Keys:
    """A connection for what is put into a server before it is measured."""

    def __init__(self, server: Server) -> None:
        self._socket = connected(server.port)

    def send(self, batches: list[bytes], reply_ends: int) -> None:
        """Send each of these pieces and wait for its replies, which have REPLY_ENDS lines. Raises :class:`BenchError`
        for a server that replies with an error or not at all."""
        with self._socket as sock:
            for batch in batches:
                sock.sendall(batch)
                received = b""
                while received.count(b"\r\n") < reply_ends:
                    piece = sock.recv(65536)
                    received += piece
                    if not piece or received.startswith(b"-"):
                        raise BenchError(f"the server cannot be filled: {received[:100]!r}")


def fill_keys(server: Server, count: int) -> None:
    """Keys of 16 bytes with values of 3, as redis-benchmark's."""
    batches = [
        b"".join(command(b"SET", b"key:%012d" % number, b"xxx") for number in range(start, start + BATCH))
        for start in range(0, count, BATCH)
    ]
    Keys(server).send(batches, BATCH)


def fill_list(server: Server, seconds: float) -> None:
    """Elements enough to pop for so long: no server pops 2 million a second."""
    elements = command(b"RPUSH", b"mylist", *([b"xxx"] * BATCH))
    Keys(server).send([elements] * int(2_000_000 * (seconds + 1) / BATCH), 1)


def load(test: str, pipeline: int) -> Callable[[Server, Settings], dict[str, float]]:
    """A measurement with one of redis-benchmark's tests."""

    def measure(server: Server, settings: Settings) -> dict[str, float]:
        seconds = settings.seconds
        if test == "get":
            fill_keys(server, KEYSPACE)
        elif test == "rpop":
            fill_list(server, seconds)
        return measures.requests(server, seconds, test=test, clients=CLIENTS, pipeline=pipeline, keyspace=KEYSPACE)

    return measure


def memory(server: Server, _: Settings) -> dict[str, float]:
    """``memory``, bytes a key."""
    before = procfs.settled(procfs.memory_bytes, server.pid)
    fill_keys(server, MEMORY_KEYS)
    return {"memory": (procfs.settled(procfs.memory_bytes, server.pid) - before) / MEMORY_KEYS}


def requests(test: str, pipeline: int) -> Workload:
    """A workload of small requests."""
    how = f"{pipeline} pipelined" if pipeline > 1 else "one at a time"
    return Workload(
        key=f"{test}{pipeline}",
        title=f"{test.upper()}, {how} on {CLIENTS} connections, {KEYSPACE:,} keys or members",
        metrics=METRICS,
        peers=PEERS,
        measure=load(test, pipeline),
        requires=(REDIS_BENCHMARK,),
    )


OTHERS = ("lpush", "rpop", "sadd", "hset", "zadd", "incr", "mset")

MEMORY = Workload(
    key="memory",
    title=f"{MEMORY_KEYS:,} strings of 3 bytes",
    metrics=(Metric("memory", "bytes/key"),),
    peers=PEERS,
    measure=memory,
    repeat=False,
)

SUITE = Suite(
    name="redis",
    title="redis: evio_redis, 1 loop, beside redis-server",
    subject="evio",
    workloads=(
        *(requests(test, 1) for test in ("set", "get")),
        *(requests(test, PIPELINE) for test in ("set", "get")),
        *(requests(test, PIPELINE) for test in OTHERS),
        MEMORY,
    ),
    targets=(
        *(Target(f"{test}1", "cpu", "<=", ONE_AT_A_TIME_AT_MOST, against="redis") for test in ("set", "get")),
        *(Target(f"{test}{PIPELINE}", "cpu", "<=", PIPELINED_AT_MOST, against="redis") for test in ("set", "get")),
        *(Target(f"{test}{PIPELINE}", "cpu", "<=", OTHERS_PIPELINED_AT_MOST, against="redis") for test in OTHERS),
        Target("memory", "memory", "<=", MEMORY_AT_MOST, against="redis"),
    ),
)
