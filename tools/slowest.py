"""The time for which the loop is blocked by one command on a value of 10,000 elements, beside redis-server.

``python -m tools.slowest [NAME ...]`` prints a table of all commands, or of those whose text contains one of the words:
milliseconds of CPU time of evio-redis and of redis-server (the best of several runs), and their ratio. It exits with 1
if one takes over 25 ms where redis-server takes at most 5.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import hiredis

from evio_redis.persistence.aof.encode import encode
from tools.bench.procfs import cpu_seconds, settled

__all__ = ["CASES", "SETUP", "Case", "Server", "main", "measured"]

SIZE = 10_000
RUNS = 3
MOST, UNLESS = 25.0, 5.0
"""Milliseconds that a command may take, and those of redis-server's from which it may take longer."""

Words = list[Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A command, and commands that are sent before each of its runs."""

    call: Words
    before: tuple[Words, ...] = ()


def _case(call: str, *before: str) -> Case:
    return Case(call.split(), tuple(each.split() for each in before))


def _pairs(count: int, pair: Any) -> Words:
    return [word for number in range(count) for word in pair(number)]


MEMBERS = [f"member:{number}" for number in range(SIZE)]
OTHERS = [f"member:{number}" for number in range(SIZE // 2, SIZE + SIZE // 2)]
PLACES = _pairs(SIZE, lambda n: (round(-20 + 40 * (n * 7919 % SIZE) / SIZE, 6), round(30 + 20 * n / SIZE, 6), f"p{n}"))

SETUP: list[Words] = [
    ["SADD", "set", *MEMBERS],
    ["SADD", "set2", *OTHERS],
    ["SADD", "ints", *range(SIZE)],
    ["SADD", "small", *MEMBERS[:100]],
    ["ZADD", "zset", *_pairs(SIZE, lambda n: (n * 7919 % SIZE, MEMBERS[n]))],
    ["ZADD", "zset2", *_pairs(SIZE, lambda n: (n, OTHERS[n]))],
    ["ZADD", "lex", *_pairs(SIZE, lambda n: (0, MEMBERS[n]))],
    ["RPUSH", "list", *(f"{number * 7919 % SIZE}" for number in range(SIZE))],
    ["RPUSH", "texts", *MEMBERS],
    ["HSET", "hash", *_pairs(SIZE, lambda n: (f"field:{n}", f"value:{n}"))],
    ["HSET", "numbers", *_pairs(SIZE, lambda n: (f"{n}", n))],
    ["GEOADD", "places", *PLACES],
    ["SET", "string", "x" * SIZE],
    ["SET", "string2", "yx" * (SIZE // 2)],
    ["SET", "large", "x" * 1_000_000],
    ["SET", "short", "abcdefghij" * 100],
    ["SET", "short2", "jihgfedcba" * 100],
    ["PFADD", "hll", *MEMBERS],
    ["PFADD", "hll2", *OTHERS],
    ["PFADD", "sparse", *MEMBERS[:300]],
    *(["MSET", *_pairs(1000, lambda n, at=at: (f"key:{at + n}", n))] for at in range(0, SIZE, 1000)),
    *(["SET", f"weight_{number}", number] for number in range(100)),
]

CASES = [
    *map(
        _case,
        (
            # sets
            *("SMEMBERS set", "SMEMBERS ints", "SINTER set set2", "SINTER set small", "SUNION set set2"),
            *("SDIFF set set2", "SINTERCARD 2 set set2", "SINTERSTORE to set set2", "SUNIONSTORE to set set2"),
            *("SDIFFSTORE to set set2", "SRANDMEMBER set 5000", "SRANDMEMBER set -10000", "SRANDMEMBER set"),
            *("SSCAN set 0 COUNT 10000", "SSCAN set 0", "SSCAN set 0 MATCH *99* COUNT 10000", "SCARD set"),
            # sorted sets
            *("ZRANGE zset 0 -1", "ZRANGE zset 0 -1 WITHSCORES", "ZRANGE zset 0 -1 REV", "ZRANGE zset 5000 5009"),
            *("ZRANGE zset -inf +inf BYSCORE", "ZRANGE lex - + BYLEX", "ZRANGEBYSCORE zset 100 9000 WITHSCORES"),
            *(
                "ZRANGEBYLEX lex [member:1 [member:9",
                "ZRANGE zset - + BYLEX",
                "ZREVRANGE zset 0 -1",
                "ZCOUNT zset 1 9000",
            ),
            *("ZLEXCOUNT lex - +", "ZLEXCOUNT zset [a [z", "ZRANK zset member:5000", "ZREVRANK zset member:5000"),
            *("ZUNION 2 zset zset2", "ZUNION 2 zset zset2 WITHSCORES", "ZINTER 2 zset zset2", "ZDIFF 2 zset zset2"),
            *("ZUNIONSTORE to 2 zset zset2", "ZUNIONSTORE to 2 zset zset2 WEIGHTS 2 3 AGGREGATE MAX"),
            *("ZINTERSTORE to 2 zset zset2", "ZDIFFSTORE to 2 zset zset2", "ZINTERCARD 2 zset zset2"),
            *("ZRANGESTORE to zset 0 -1", "ZRANDMEMBER zset 5000 WITHSCORES", "ZRANDMEMBER zset -10000"),
            *("ZRANDMEMBER zset", "ZSCAN zset 0 COUNT 10000", "ZSCAN zset 0", "ZUNIONSTORE to 2 set set2"),
            # lists
            *("LRANGE list 0 -1", "LINDEX list 5000", "LPOS texts member:9999", "LPOS texts member:1 COUNT 0"),
            *("LPOS texts nosuch", "LREM texts 0 nosuch", "LINSERT texts BEFORE nosuch x", "LSET list 5000 5000"),
            # hashes
            *("HGETALL hash", "HKEYS hash", "HVALS hash", "HRANDFIELD hash 5000 WITHVALUES", "HRANDFIELD hash"),
            *("HRANDFIELD hash -10000", "HSCAN hash 0 COUNT 10000", "HSCAN hash 0", "HINCRBY numbers 5 1"),
            # strings and bitmaps
            *("GET large", "GETRANGE large 10 999990", "STRLEN large", "APPEND large x", "SETRANGE large 500000 abc"),
            *("SETBIT large 4000000 1", "BITCOUNT large", "BITCOUNT large 1 7999990 BIT", "BITPOS large 0"),
            *("BITPOS large 1 1", "BITOP NOT to large", "BITOP AND to large string", "BITOP XOR to large large"),
            *("BITFIELD large SET u8 4000000 7", "BITFIELD_RO large GET u8 4000000", "LCS short short2"),
            *("LCS short short2 LEN", "LCS short short2 IDX", "GETDEL nosuch", "INCRBYFLOAT weight_1 0"),
            # HyperLogLogs, positions
            *("PFCOUNT hll", "PFCOUNT hll hll2", "PFMERGE to hll hll2", "PFMERGE to sparse", "PFCOUNT sparse hll"),
            *("GEOSEARCH places FROMLONLAT 0 40 BYRADIUS 5000 km", "GEODIST places p1 p9000", "GEOPOS places p1"),
            *("GEOSEARCH places FROMLONLAT 0 40 BYBOX 3000 2000 km ASC WITHDIST WITHCOORD",),
            *("GEOSEARCH places FROMLONLAT 0 40 BYRADIUS 300 km", "GEORADIUS places 0 40 1000 km COUNT 10"),
            *("GEOSEARCHSTORE to places FROMLONLAT 0 40 BYRADIUS 5000 km",),
            # any type
            *("SORT list", "SORT list DESC LIMIT 0 10", "SORT texts ALPHA", "SORT list BY nosort", "SORT set ALPHA"),
            *("SORT list BY weight_* LIMIT 0 10", "SORT list GET weight_*", "SORT list STORE to", "SORT zset ALPHA"),
            *(
                f"{name} {key}"
                for key in ("set", "zset", "list", "hash", "large")
                for name in ("DUMP", "OBJECT ENCODING")
            ),
            *(f"COPY {key} to REPLACE" for key in ("set", "zset", "list", "hash", "large", "places")),
            *(f"DEBUG {what} {key}" for key in ("set", "zset", "list", "hash") for what in ("OBJECT", "DIGEST-VALUE")),
            *(f"MEMORY USAGE {key} SAMPLES 0" for key in ("set", "zset", "list", "hash")),
            "DEBUG DIGEST",
            # the keyspace and the server
            *("KEYS *", "KEYS *99*", "SCAN 0 COUNT 10000", "SCAN 0 MATCH *99* COUNT 10000", "SCAN 0", "DBSIZE"),
            *(
                "SCAN 0 TYPE zset COUNT 10000",
                "RANDOMKEY",
                "INFO everything",
                "COMMAND",
                "COMMAND DOCS",
                "CONFIG GET *",
            ),
            *("MEMORY STATS", "CLIENT LIST", "SLOWLOG GET -1", "LATENCY HISTOGRAM", "RENAME string string"),
        ),
    ),
    # what changes its value
    *(
        Case(call.split(), (["COPY", key, "to", "REPLACE"],))
        for key, call in (
            *(("set", "SPOP to 5000"), ("set", "DEL to"), ("set", "UNLINK to"), ("zset", "DEL to"), ("hash", "DEL to")),
            *(("zset", "ZPOPMIN to 10000"), ("zset", "ZREMRANGEBYRANK to 0 -1"), ("zset", "ZPOPMAX to 5000")),
            *(("zset", "ZREMRANGEBYSCORE to 0 5000"), ("lex", "ZREMRANGEBYLEX to [member:1 [member:5")),
            *(("list", "LTRIM to 5000 5001"), ("list", "LPOP to 10000"), ("list", "RPOP to 10000"), ("list", "DEL to")),
            *(("list", "LREM to 0 5"), ("list", "LMPOP 1 to LEFT COUNT 10000"), ("zset", "ZMPOP 1 to MIN COUNT 10000")),
            *(("set", "SMOVE to to2 member:1"), ("zset", "ZINCRBY to 1 member:1"), ("large", "EXPIRE to 100")),
        )
    ),
    *(
        Case(call, (["DEL", "to"],))
        for call in (
            *(["SADD", "to", *MEMBERS], ["SADD", "to", *range(SIZE)], ["RPUSH", "to", *MEMBERS]),
            *(["ZADD", "to", *_pairs(SIZE, lambda n: (n, MEMBERS[n]))], ["PFADD", "to", *MEMBERS[:3000]]),
            *(["HSET", "to", *_pairs(SIZE, lambda n: (MEMBERS[n], n))], ["GEOADD", "to", *PLACES]),
            *(["PFADD", "to", *MEMBERS], ["SET", "to", "x" * 1_000_000]),
        )
    ),
    Case(["SREM", "to", *MEMBERS], (["COPY", "set", "to", "REPLACE"],)),
    Case(["ZREM", "to", *MEMBERS], (["COPY", "zset", "to", "REPLACE"],)),
    Case(["HDEL", "to", *(f"field:{number}" for number in range(SIZE))], (["COPY", "hash", "to", "REPLACE"],)),
    Case(["SMISMEMBER", "set", *MEMBERS]),
    Case(["ZMSCORE", "zset", *MEMBERS]),
    Case(["HMGET", "hash", *(f"field:{number}" for number in range(SIZE))]),
    Case(["MGET", *(f"key:{number}" for number in range(SIZE))]),
    Case(["MSET", *_pairs(SIZE, lambda n: (f"key:{n}", n))]),
    Case(["EXISTS", *(f"key:{number}" for number in range(SIZE))]),
    Case(["TOUCH", *(f"key:{number}" for number in range(SIZE))]),
    Case(["GEOPOS", "places", *(f"p{number}" for number in range(SIZE))]),
    Case(["GEOHASH", "places", *(f"p{number}" for number in range(SIZE))]),
    Case(["BITFIELD", "string", *(["GET", "u8", "8"] * 1000)]),
    Case(["EVAL", "local t = {} for i = 1, 10000 do t[i] = i end return cjson.encode(t)", 0]),
    Case(["EVAL", "return #cjson.decode('[' .. ('1,'):rep(9999) .. '1]')", 0]),
    Case(["EVAL", "return redis.call('LRANGE', 'list', 0, -1)", 0]),
    Case(["FLUSHALL"], tuple(["MSET", *_pairs(SIZE, lambda n: (f"key:{n}", n))] for _ in range(1))),
]


class Server:
    """A server of its own, and a connection to it."""

    def __init__(self, command: list[str], directory: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = ["--port", str(port), "--save", "", "--enable-debug-command", "yes"]
        self.process = subprocess.Popen([*command, *settings], cwd=directory, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                self._sock = socket.create_connection(("127.0.0.1", port), 60)
                break
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def ask(self, words: Words) -> Any:
        """Send a command; returns its reply, an error as :class:`hiredis.ReplyError`."""
        self._sock.sendall(encode([str(word).encode() for word in words]))
        reader = hiredis.Reader(encoding=None, notEnoughData=Ellipsis)
        reply = reader.gets()
        while reply is Ellipsis:
            reader.feed(self._sock.recv(1 << 20))
            reply = reader.gets()
        return reply

    def cost(self, case: Case) -> float:
        """Milliseconds of CPU time, the least of several runs."""
        best = float("inf")
        for _ in range(RUNS):
            for words in case.before:
                self.ask(words)
            before = settled(cpu_seconds, self.process.pid)
            self.ask(case.call)
            best = min(best, settled(cpu_seconds, self.process.pid) - before)
        return best * 1000

    def close(self) -> None:
        self._sock.close()
        self.process.terminate()
        self.process.wait(20)


@contextlib.contextmanager
def _servers() -> Iterator[list[Server]]:
    redis = shutil.which("redis-server")
    if redis is None:
        raise SystemExit("redis-server is not installed")
    with tempfile.TemporaryDirectory() as directory:
        ours = Server([sys.executable, "-m", "evio_redis"], directory)
        real = Server([redis], directory)
        try:
            yield [ours, real]
        finally:
            ours.close()
            real.close()


def _shown(case: Case) -> str:
    words = [str(word) for word in case.call]
    text = " ".join(words)
    return text if len(text) <= 60 else f"{' '.join(words[:2])} ... of {len(words)}"[:60]


def measured(wanted: list[str]) -> Iterator[tuple[str, float, float]]:
    """The text of each case, and the milliseconds of evio-redis and of redis-server."""
    with _servers() as servers:
        for words in SETUP:
            for server in servers:
                reply = server.ask(words)
                assert not isinstance(reply, Exception), (words[:2], reply)
        for case in CASES:
            text = _shown(case)
            if not wanted or any(word.lower() in text.lower() for word in wanted):
                ours, real = (server.cost(case) for server in servers)
                yield text, ours, real


def main(arguments: list[str] | None = None) -> int:
    """Print the table, the slowest first."""
    rows = sorted(measured(sys.argv[1:] if arguments is None else arguments), key=lambda row: -row[1])
    print(f"{'command':60} {'evio-redis':>10} {'redis':>8} {'ratio':>6}  ms of CPU time")
    over = 0
    for text, ours, real in rows:
        mark = "  over" if ours > MOST and real <= UNLESS else ""
        over += bool(mark)
        print(f"{text:60} {ours:10.2f} {real:8.2f} {ours / max(real, 0.01):6.1f}{mark}")
    print(f"{over} of {len(rows)} take over {MOST:g} ms where redis-server takes at most {UNLESS:g}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
