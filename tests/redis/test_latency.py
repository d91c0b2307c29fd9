"""LATENCY: spikes, drawn and listed; how long commands take, in Redis's buckets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import evio_redis
from evio_redis.model.histogram import Latencies

from .wire import Wire, redis_server


@pytest.fixture(params=["evio-redis", "redis-server"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    if request.param == "evio-redis":
        with evio_redis.Server(port=0, enable_debug_command="yes") as server, Wire(server.port) as connected:
            yield connected
    else:
        with redis_server("--enable-debug-command", "yes") as port, Wire(port) as connected:
            yield connected


def bulk(reply: bytes) -> str:
    return reply.split(b"\r\n", 1)[1].removesuffix(b"\r\n").decode()


def test_spikes_are_kept_listed_drawn_and_forgotten(wire: Wire) -> None:
    assert wire.ask("LATENCY LATEST") == b"*0\r\n"
    assert wire.ask("LATENCY GRAPH command") == b"-ERR No samples available for event 'command'\r\n"
    assert wire.ask("CONFIG SET latency-monitor-threshold 5") == b"+OK\r\n"
    assert wire.ask("DEBUG SLEEP 0.02") == b"+OK\r\n"
    assert wire.ask("LATENCY LATEST").startswith(b"*1\r\n*4\r\n$7\r\ncommand\r\n:")
    assert wire.ask("LATENCY HISTORY command").startswith(b"*1\r\n*2\r\n:")
    lines = bulk(wire.ask("LATENCY GRAPH command")).split("\n")
    assert lines[0].startswith("command - high ")
    assert lines[1:7] == ["-" * 80, " ", " ", " ", "_", " "]
    assert lines[7:9] in (["0", "s"], ["1", "s"])
    assert wire.ask("LATENCY HISTORY nosuch") == b"*0\r\n"
    assert wire.ask("LATENCY RESET nosuch") == b":0\r\n"
    assert wire.ask("LATENCY RESET") == b":1\r\n"
    assert wire.ask("LATENCY LATEST") == b"*0\r\n"


def test_the_time_of_commands_is_counted_as_long_as_that_is_wanted(wire: Wire) -> None:
    assert wire.ask("CONFIG RESETSTAT") == b"+OK\r\n"
    for _ in range(3):
        wire.ask("SET k v")
    wire.ask("DEBUG SLEEP 0.01")
    histogram = wire.ask("LATENCY HISTOGRAM set nosuch get client")
    assert histogram.startswith(b"*2\r\n$3\r\nset\r\n*4\r\n$5\r\ncalls\r\n:3\r\n$14\r\nhistogram_usec\r\n*")
    assert histogram.endswith(b":3\r\n")
    stats = bulk(wire.ask("INFO latencystats"))
    assert "\r\nlatency_percentiles_usec_set:p50=" in stats
    slept = next(line for line in stats.split("\r\n") if line.startswith("latency_percentiles_usec_debug:"))
    assert 10_000 <= float(slept.partition("p50=")[2].partition(",")[0]) < 1_000_000
    assert wire.ask(["CONFIG", "SET", "latency-tracking-info-percentiles", "0 99.95"]) == b"+OK\r\n"
    assert ":p0=" in (shown := bulk(wire.ask("INFO latencystats")))
    assert ",p99.95=" in shown
    wire.ask("CONFIG SET latency-tracking no")
    wire.ask("CONFIG RESETSTAT")
    wire.ask("SET k v")
    assert wire.ask("LATENCY HISTOGRAM set") == b"*0\r\n"
    assert "set:" not in bulk(wire.ask("INFO latencystats"))


def test_buckets_are_those_of_redis() -> None:
    latencies = Latencies()
    for microseconds in (2, 3, 5, 659):
        latencies.record(microseconds * 1000)
    # 2007, 3007, 5023 and 659455 nanoseconds are what HdrHistogram with two digits cannot tell from these.
    assert [latencies.percentile(percent) for percent in (0, 25, 50, 75, 99)] == [2.007, 2.007, 3.007, 5.023, 659.455]
    assert latencies.steps(4) == [(2, 1), (4, 2), (8, 3), (1056, 4)]
    assert latencies.steps(400) == [(2, 100), (4, 200), (8, 300), (1056, 400)]


def test_what_else_can_make_clients_wait_is_an_event_too(tmp_path: Path) -> None:
    seen: set[str] = set()
    with evio_redis.Server(port=0, dir=str(tmp_path), appendonly=True, appendfsync="always") as server:
        server.latency.sample = lambda event, seconds: seen.add(event)  # type: ignore[method-assign]
        with Wire(server.port) as wire:
            assert wire.ask("SET unseen v") == b"+OK\r\n"
            assert seen <= {"command", "fast-command", "expire-cycle"}, "nothing is measured until it is asked for"
            assert wire.ask("CONFIG SET latency-monitor-threshold 1") == b"+OK\r\n"
            assert wire.ask("SET k v PX 1") == b"+OK\r\n"
            assert wire.ask("BGREWRITEAOF").startswith(b"+")
            while b"aof_rewrite_in_progress:0" not in wire.ask("INFO persistence"):
                pass
            while wire.ask("DBSIZE") != b":1\r\n":
                pass
    assert {"aof-write", "aof-fsync-always", "fork", "expire-cycle"} <= seen
    assert {"aof-write-alone", "aof-write-active-child", "aof-write-pending-fsync"} & seen


@pytest.mark.parametrize("program", ["evio-redis", "redis-server"])
def test_a_command_that_waits_is_in_the_slow_log_when_it_is_served(program: str) -> None:
    with contextlib.ExitStack() as stack:
        if program == "evio-redis":
            port = stack.enter_context(evio_redis.Server(port=0, slowlog_log_slower_than="0")).port
        else:
            port = stack.enter_context(redis_server("--slowlog-log-slower-than", "0"))
        wire, other = stack.enter_context(Wire(port)), stack.enter_context(Wire(port))
        other.send("BLPOP l 0")
        while "blocked_clients:1\r\n" not in wire.ask("INFO clients").decode():
            pass
        assert b"BLPOP" not in wire.ask("SLOWLOG GET -1")
        assert wire.ask("SLOWLOG RESET") == b"+OK\r\n"
        assert wire.ask("RPUSH l x") == b":1\r\n"
        assert other.reply() == b"*2\r\n$1\r\nl\r\n$1\r\nx\r\n"
        logged = [line for line in wire.ask("SLOWLOG GET").split(b"\r\n") if line in (b"BLPOP", b"RPUSH", b"SLOWLOG")]
        assert logged == [b"BLPOP", b"RPUSH", b"SLOWLOG"]
