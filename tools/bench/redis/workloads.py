"""The four workloads that look like what people run: mixed commands, random keys, values of random sizes.

Each is a list of commands that fills the server and one from which the load is cut into pipelines. Both come from a
generator with a fixed seed, so every server gets the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from random import Random

from ..server import Peer, Server
from ..suite import REQUEST_METRICS, Group, Settings, Workload
from ..traffic import CLIENTS, Load, in_turns
from .resp import Replies, command, fill

__all__ = ["CURVE", "DEPTHS", "MIXES", "Mix", "curve", "pipelines", "workloads"]

DEPTHS = (1, 16, 100)
"""Commands that a connection sends before it waits for their replies."""
CURVE = (1, 2, 4, 8, 16, 32, 64, 128)
"""The same, for a curve."""

COMMANDS = 64_000
"""Different commands of a load, which sends them again and again."""
WARM_UP = 8_000

KEYS = 10_000
FIELDS = (b"user", b"name", b"locale", b"cart", b"seen")
QUEUES = 100
JOBS = 50
MEMBERS = 1_000
LETTERS = bytes(Random(0).choices(b"abcdefghijklmnopqrstuvwxyz0123456789", k=1 << 16))
"""Values are cut from this: drawing each letter would take longer than the measurement."""


@dataclass(frozen=True, slots=True)
class Mix:
    """A workload: its name, what it is, what is in the server before, and how one command is drawn."""

    name: str
    title: str
    filling: Callable[[Random], Iterator[bytes]]
    draw: Callable[[Random], bytes]


def value(random: Random, smallest: int, largest: int) -> bytes:
    """A value of random length, in bytes."""
    start = random.randrange(len(LETTERS) - largest)
    return LETTERS[start : start + random.randint(smallest, largest)]


def fill_cache(random: Random) -> Iterator[bytes]:
    for number in range(KEYS):
        yield command("SET", f"page:{number}", value(random, 5, 300))


def draw_cache(random: Random) -> bytes:
    key = f"page:{random.randrange(KEYS)}"
    if random.random() < 0.1:
        return command("SET", key, value(random, 5, 300), "EX", random.randint(300, 3_600))
    return command("GET", key)


def fill_session(random: Random) -> Iterator[bytes]:
    for number in range(KEYS):
        pairs = [word for field in FIELDS for word in (field, value(random, 5, 60))]
        yield command("HSET", f"session:{number}", *pairs)


def draw_session(random: Random) -> bytes:
    key = f"session:{random.randrange(KEYS)}"
    match random.randrange(4):
        case 0:
            return command("HSET", key, random.choice(FIELDS), value(random, 5, 60))
        case 1:
            return command("EXPIRE", key, random.randint(600, 1_800))
        case 2:
            return command("HGETALL", key)
        case _:
            return command("INCR", f"hits:{random.randrange(KEYS)}")


def fill_queue(random: Random) -> Iterator[bytes]:
    for number in range(QUEUES):
        for _ in range(JOBS):
            yield command("LPUSH", f"queue:{number}", value(random, 20, 300))


def draw_queue(random: Random) -> bytes:
    number = random.randrange(QUEUES)
    match random.randrange(4):
        case 0:
            return command("LPUSH", f"queue:{number}", value(random, 20, 300))
        case 1:
            return command("RPOP", f"queue:{number}")
        case 2:
            return command("LLEN", f"queue:{number}")
        case _:
            return command("ZADD", f"delayed:{number}", random.randrange(1 << 31), f"job:{random.randrange(MEMBERS)}")


def fill_mix(random: Random) -> Iterator[bytes]:
    for number in range(KEYS):
        yield command("SET", f"string:{number}", value(random, 5, 300))
        yield command("HSET", f"hash:{number}", *[word for field in FIELDS for word in (field, value(random, 5, 60))])
    yield from fill_queue(random)


def draw_mix(random: Random) -> bytes:
    number, few = random.randrange(KEYS), random.randrange(QUEUES)
    match random.randrange(8):
        case 0:
            return command("GET", f"string:{number}")
        case 1:
            return command("SET", f"string:{number}", value(random, 5, 300))
        case 2:
            return command("HSET", f"hash:{number}", random.choice(FIELDS), value(random, 5, 60))
        case 3:
            return command("HGET", f"hash:{number}", random.choice(FIELDS))
        case 4:
            return command("LPUSH", f"queue:{few}", value(random, 20, 300))
        case 5:
            return command("RPOP", f"queue:{few}")
        case 6:
            return command("SADD", f"set:{few}", f"member:{random.randrange(MEMBERS)}")
        case _:
            return command("ZADD", f"sorted:{few}", random.randrange(1 << 31), f"member:{random.randrange(MEMBERS)}")


MIXES = (
    Mix("cache", "GET, a tenth SET EX, values of 5 to 300 bytes, 10,000 keys", fill_cache, draw_cache),
    Mix("session", "HSET, EXPIRE, HGETALL of five fields, INCR, 10,000 keys", fill_session, draw_session),
    Mix("queue", "LPUSH, RPOP, LLEN, ZADD, 100 queues, jobs of 20 to 300 bytes", fill_queue, draw_queue),
    Mix("mix", "GET, SET, HSET, HGET, LPUSH, RPOP, SADD, ZADD", fill_mix, draw_mix),
)


@cache
def pipelines(mix: Mix, depth: int) -> list[bytes]:
    """The load in batches of ``depth`` commands."""
    random = Random(mix.name)
    drawn = [mix.draw(random) for _ in range(COMMANDS)]
    return [b"".join(drawn[start : start + depth]) for start in range(0, COMMANDS - depth + 1, depth)]


def load(mix: Mix, depth: int) -> Callable[[Server, Settings], AbstractContextManager[Load]]:
    """``mix`` with ``depth`` commands pipelined."""

    def open_load(server: Server, _: Settings) -> AbstractContextManager[Load]:
        fill(server, mix.filling(Random(mix.name)))
        return in_turns(
            server,
            lambda: Replies(depth),
            cycle(pipelines(mix, depth)),
            requests=depth,
            warm_up=max(CLIENTS, WARM_UP // depth),
        )

    return open_load


def workloads(group: Group, peers: tuple[Peer, ...], prefix: str = "") -> tuple[Workload, ...]:
    """Each mix at each depth on ``peers``."""
    return tuple(
        Workload(
            key=f"{prefix}{mix.name}:{depth}",
            title=f"{mix.title}, {depth} pipelined on {CLIENTS} connections",
            metrics=REQUEST_METRICS,
            peers=peers,
            load=load(mix, depth),
            label=f"{mix.name}, {depth} pipelined" if depth > 1 else f"{mix.name}, one at a time",
            group=group,
        )
        for mix in MIXES
        for depth in DEPTHS
    )


def curve(group: Group, peers: tuple[Peer, ...]) -> tuple[Workload, ...]:
    """The mix of eight commands at each depth of the curve, on the same process of each server."""
    (mix,) = (each for each in MIXES if each.name == "mix")
    return tuple(
        Workload(
            key=f"depth:{depth}",
            title=f"{mix.title}, {depth} pipelined on {CLIENTS} connections",
            metrics=REQUEST_METRICS,
            peers=peers,
            load=load(mix, depth),
            label=f"{depth} pipelined",
            group=group,
            shared=True,
        )
        for depth in CURVE
    )
