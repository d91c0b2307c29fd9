"""The table of single commands, each alternating with PING so that no server meets a pipeline of one command."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from random import Random

from ..server import Server
from ..suite import REQUEST_METRICS, Group, Settings, Workload
from ..traffic import CLIENTS, Load, in_turns
from .peers import PLAIN
from .resp import Replies, command, fill
from .workloads import value

__all__ = ["SINGLES", "WORKLOADS", "Single", "batches"]

PAIRS = 8
"""Of the command and a PING, in a batch: 16 are pipelined."""

TURN = 25
"""Batches."""

PER_SECOND = 60_000
"""Commands for each second that the command line asks for, so that those which use up what they find can be filled for:
what is popped, deleted or removed is there before."""
WARM_UP = 1_600

KEYS = 1_000
PING = command("PING")

Words = tuple[bytes | str | int | float, ...]
Draw = Callable[[Random, int], Words]
"""From the generator and the number of the command to its words."""


@dataclass(frozen=True, slots=True)
class Single:
    """A command of the table."""

    name: str
    draw: Draw
    filling: Callable[[Random, int], Iterable[Words]] = lambda _random, _count: ()
    """From the generator and the number of commands that will be sent to the commands that fill the server."""
    transaction: bool = False
    """Sent between MULTI and EXEC, three times: five commands, five replies."""

    def encoded(self, random: Random, number: int) -> bytes:
        """The command with its PING."""
        words = command(*self.draw(random, number))
        return (command("MULTI") + words * 3 + command("EXEC") if self.transaction else words) + PING

    @property
    def replies(self) -> int:
        """Return the number of replies to one batch."""
        return PAIRS * (6 if self.transaction else 2)


def key(random: Random) -> str:
    return f"key:{random.randrange(KEYS)}"


def text(random: Random, size: int = 100) -> bytes:
    return value(random, size, size)


def strings(random: Random, _count: int) -> Iterable[Words]:
    return (("SET", f"key:{number}", text(random)) for number in range(KEYS))


def expiring(random: Random, _count: int) -> Iterable[Words]:
    return (("SET", f"key:{number}", text(random), "EX", 3_600) for number in range(KEYS))


def one_string_each(random: Random, count: int) -> Iterable[Words]:
    return (("SET", f"key:{number}", "value") for number in range(count))


def counters(random: Random, _count: int) -> Iterable[Words]:
    return (("SET", f"key:{number}", random.randrange(1_000)) for number in range(KEYS))


def hashes(random: Random, _count: int) -> Iterable[Words]:
    for number in range(KEYS):
        yield ("HSET", f"key:{number}", *(word for field in range(5) for word in (f"field:{field}", text(random, 20))))


def counted_hashes(random: Random, _count: int) -> Iterable[Words]:
    return (("HSET", f"key:{number}", "field:0", random.randrange(1_000)) for number in range(KEYS))


def lists(random: Random, _count: int) -> Iterable[Words]:
    return (("RPUSH", f"key:{number}", *(text(random, 20) for _ in range(20))) for number in range(KEYS))


def long_lists(random: Random, count: int) -> Iterable[Words]:
    return (("RPUSH", f"key:{number}", *(text(random, 20) for _ in range(count // 250 + 20))) for number in range(KEYS))


def sets(random: Random, _count: int) -> Iterable[Words]:
    for number in range(KEYS):
        yield ("SADD", f"key:{number}", *(f"member:{each}" for each in random.sample(range(20), 10)))


def sorted_sets(random: Random, _count: int) -> Iterable[Words]:
    for number in range(KEYS):
        yield ("ZADD", f"key:{number}", *(word for each in range(100) for word in (each, f"member:{each}")))


def ordered_sets(random: Random, count: int) -> Iterable[Words]:
    """The same, read in order once, which is when evio_redis sorts them: 1,000 sets would else be sorted in the few
    thousand commands that are measured."""
    yield from sorted_sets(random, count)
    yield from (("ZRANGE", f"key:{number}", 0, 0) for number in range(KEYS))


def long_sorted_sets(random: Random, count: int) -> Iterable[Words]:
    for number in range(100):
        yield (
            "ZADD",
            f"key:{number}",
            *(word for each in range(count // 100 + 1) for word in (each, f"member:{each}")),
        )


def streams(random: Random, _count: int) -> Iterable[Words]:
    for number in range(100):
        for each in range(100):
            yield ("XADD", f"key:{number}", f"{each + 1}-0", "sensor", each, "value", text(random, 10))


def places(random: Random, _count: int) -> Iterable[Words]:
    for number in range(20):
        positions = ((random.uniform(5, 15), random.uniform(45, 55), f"place:{each}") for each in range(100))
        yield ("GEOADD", f"key:{number}", *(word for position in positions for word in position))


def field(random: Random) -> str:
    return f"field:{random.randrange(5)}"


def member(random: Random, count: int = 20) -> str:
    return f"member:{random.randrange(count)}"


def ten_scores(random: Random, _number: int) -> Words:
    lowest = random.randrange(90)
    return "ZRANGEBYSCORE", key(random), lowest, lowest + 9


def ten_entries(random: Random, _number: int) -> Words:
    first = random.randrange(1, 91)
    return "XRANGE", f"key:{random.randrange(100)}", first, first + 9


def search(random: Random, _number: int) -> Words:
    position = (random.uniform(5, 15), random.uniform(45, 55))
    return "GEOSEARCH", f"key:{random.randrange(20)}", "FROMLONLAT", *position, "BYRADIUS", 150, "km"


GET_BY_SCRIPT = "return redis.call('GET', KEYS[1])"

SINGLES = (
    Single("ping", lambda r, n: ("PING",)),
    Single("get", lambda r, n: ("GET", key(r)), strings),
    Single("set", lambda r, n: ("SET", key(r), text(r))),
    Single("set-ex", lambda r, n: ("SET", key(r), text(r), "EX", 3_600)),
    Single("setex", lambda r, n: ("SETEX", key(r), 3_600, text(r))),
    Single("mget", lambda r, n: ("MGET", *(key(r) for _ in range(10))), strings),
    Single("del", lambda r, n: ("DEL", f"key:{n}"), one_string_each),
    Single("exists", lambda r, n: ("EXISTS", key(r)), strings),
    Single("expire", lambda r, n: ("EXPIRE", key(r), 3_600), strings),
    Single("ttl", lambda r, n: ("TTL", key(r)), expiring),
    Single("incrby", lambda r, n: ("INCRBY", key(r), r.randrange(100)), counters),
    Single("append", lambda r, n: ("APPEND", key(r), text(r, 10)), strings),
    Single("getrange", lambda r, n: ("GETRANGE", key(r), r.randrange(50), 60), strings),
    Single("setbit", lambda r, n: ("SETBIT", key(r), r.randrange(800), 1), strings),
    Single("hset", lambda r, n: ("HSET", key(r), field(r), text(r, 20)), hashes),
    Single("hget", lambda r, n: ("HGET", key(r), field(r)), hashes),
    Single("hmget", lambda r, n: ("HMGET", key(r), field(r), field(r), field(r)), hashes),
    Single("hgetall", lambda r, n: ("HGETALL", key(r)), hashes),
    Single("hincrby", lambda r, n: ("HINCRBY", key(r), "field:0", 1), counted_hashes),
    Single("lpush", lambda r, n: ("LPUSH", key(r), text(r, 20)), lists),
    Single("rpop", lambda r, n: ("RPOP", key(r)), long_lists),
    Single("lrange", lambda r, n: ("LRANGE", key(r), 0, 9), lists),
    Single("lindex", lambda r, n: ("LINDEX", key(r), r.randrange(20)), lists),
    Single("sadd", lambda r, n: ("SADD", key(r), member(r)), sets),
    Single("sismember", lambda r, n: ("SISMEMBER", key(r), member(r)), sets),
    Single("smembers", lambda r, n: ("SMEMBERS", key(r)), sets),
    Single("sinter", lambda r, n: ("SINTER", key(r), key(r)), sets),
    Single("zadd", lambda r, n: ("ZADD", key(r), r.randrange(1_000), member(r, 100)), sorted_sets),
    Single("zincrby", lambda r, n: ("ZINCRBY", key(r), r.randrange(10), member(r, 100)), sorted_sets),
    Single("zscore", lambda r, n: ("ZSCORE", key(r), member(r, 100)), sorted_sets),
    Single("zrank", lambda r, n: ("ZRANK", key(r), member(r, 100)), ordered_sets),
    Single("zrange", lambda r, n: ("ZRANGE", key(r), 0, 9), ordered_sets),
    Single("zrangebyscore", ten_scores, ordered_sets),
    Single("zremrangebyrank", lambda r, n: ("ZREMRANGEBYRANK", f"key:{n % 100}", 0, 0), long_sorted_sets),
    Single("xadd", lambda r, n: ("XADD", f"key:{r.randrange(100)}", "*", "sensor", n, "value", text(r, 10))),
    Single("xrange", ten_entries, streams),
    Single("publish", lambda r, n: ("PUBLISH", f"channel:{r.randrange(100)}", text(r))),
    Single("pfadd", lambda r, n: ("PFADD", f"key:{r.randrange(20)}", text(r, 10))),
    Single("type", lambda r, n: ("TYPE", key(r)), strings),
    Single("eval", lambda r, n: ("EVAL", GET_BY_SCRIPT, 1, key(r)), strings),
    Single("multi", lambda r, n: ("INCR", key(r)), counters, transaction=True),
    Single("scan", lambda r, n: ("SCAN", 0), strings),
    Single("geosearch", search, places),
)
"""The commands of the table, and PING with itself, which is what alternating adds to each."""


@cache
def batches(single: Single, count: int) -> list[bytes]:
    """A load of ``count`` commands."""
    random = Random(single.name)
    pairs = [single.encoded(random, number) for number in range(count)]
    return [b"".join(pairs[start : start + PAIRS]) for start in range(0, count, PAIRS)]


def load(single: Single) -> Callable[[Server, Settings], AbstractContextManager[Load]]:
    """The command, on an empty server that is filled for it."""

    def open_load(server: Server, settings: Settings) -> AbstractContextManager[Load]:
        count = WARM_UP + int(PER_SECOND * settings.seconds) // PAIRS * PAIRS
        random = Random(single.name)
        fill(server, [command("FLUSHALL"), *(command(*words) for words in single.filling(random, count))])
        return in_turns(
            server,
            lambda: Replies(single.replies),
            iter(batches(single, count)),
            requests=single.replies,
            warm_up=WARM_UP // PAIRS,
            turn=TURN,
        )

    return open_load


GROUP = Group("commands", "single commands, each alternating with PING, 16 pipelined")

WORKLOADS = tuple(
    Workload(
        key=f"one:{single.name}",
        title=f"{single.name.upper()} and PING in turn, {2 * PAIRS} pipelined on {CLIENTS} connections",
        metrics=REQUEST_METRICS,
        peers=PLAIN,
        load=load(single),
        label=single.name.upper(),
        group=GROUP,
        shared=True,
    )
    for single in SINGLES
)
