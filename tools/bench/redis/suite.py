"""All workloads of the Redis benchmark and what evio_redis has to reach in them."""

from __future__ import annotations

from ..suite import Group, Suite, Target
from . import commands, repeated, workloads
from .peers import LOGGED, PLAIN_AND_FLOOR

__all__ = ["SUITE"]

MIXED_AT_MOST_FLOOR = {1: 1.25, 16: 1.35}
"""CPU time per request by the number pipelined, as a part of the floor's."""
ONE_AT_A_TIME_AT_MOST = 1.50
SINGLES_MEDIAN_AT_MOST = 2.50
SINGLES_AT_MOST = 4.00
"""CPU time per request, as a part of redis-server's."""

SUITE = Suite(
    name="redis",
    title="redis: evio_redis, 1 loop, beside redis-server, Valkey and the floor",
    subject="evio",
    reference="redis",
    short=("cache:1", "mix:1", "cache:16", "session:16", "queue:16", "mix:16", "set:1", "set:16", "get:16"),
    documented=("*:1", "*:16", "depth", "one", "memory"),
    workloads=(
        *workloads.workloads(Group("mixed", "mixed commands, random keys and sizes"), PLAIN_AND_FLOOR),
        *workloads.workloads(Group("aof", "mixed commands, appendonly everysec"), LOGGED, "aof:"),
        *workloads.curve(
            Group("depth", "a mix of eight commands as the pipelines grow", "commands pipelined"), PLAIN_AND_FLOOR
        ),
        *commands.WORKLOADS,
        *repeated.WORKLOADS,
    ),
    targets=(
        *(
            Target(f"{mix.name}:{depth}", "cpu", "<=", limit, against="floor")
            for mix in workloads.MIXES
            for depth, limit in MIXED_AT_MOST_FLOOR.items()
        ),
        *(Target(f"{mix.name}:1", "cpu", "<=", ONE_AT_A_TIME_AT_MOST, against="redis") for mix in workloads.MIXES),
        Target("one", "cpu", "<=", SINGLES_MEDIAN_AT_MOST, against="redis", of="median"),
        Target("one", "cpu", "<=", SINGLES_AT_MOST, against="redis"),
        *repeated.TARGETS,
    ),
)
