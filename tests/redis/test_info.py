"""What INFO counts of commands and errors, beside a real redis-server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import evio_redis

from .wire import Wire, redis_server


@pytest.fixture(params=["evio-redis", "redis-server"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    if request.param == "evio-redis":
        with evio_redis.Server(port=0) as server:
            yield server.port
    else:
        with redis_server() as real:
            yield real


def line(wire: Wire, section: str, field: str) -> str:
    """What follows the field's name."""
    lines = wire.ask(f"INFO {section}").decode().split("\r\n")
    return next((line.partition(":")[2] for line in lines if line.startswith(f"{field}:")), "")


def test_calls_that_are_rejected_fail_or_are_unblocked_are_counted(port: int) -> None:
    with Wire(port) as wire, Wire(port) as other:
        for command in ("SET k", "GET", "LPUSH l x", "INCR l", "INCR l x", "NOSUCH", "CONFIG NOSUCH", "MULTI", "SET k"):
            wire.ask(command)
        wire.ask("DISCARD")
        assert line(wire, "commandstats", "cmdstat_set").endswith("rejected_calls=2,failed_calls=0")
        assert line(wire, "commandstats", "cmdstat_get").endswith("rejected_calls=1,failed_calls=0")
        assert line(wire, "commandstats", "cmdstat_incr").startswith("calls=1,")
        assert line(wire, "commandstats", "cmdstat_incr").endswith("rejected_calls=1,failed_calls=1")
        assert line(wire, "commandstats", "cmdstat_config") == ""
        assert line(wire, "errorstats", "errorstat_WRONGTYPE") == "count=1"
        number = other.ask("CLIENT ID")[1:-2].decode()
        other.send("BLPOP nothing 0")
        while wire.ask(f"CLIENT UNBLOCK {number} ERROR") != b":1\r\n":
            pass
        assert other.reply() == b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
        assert line(wire, "errorstats", "errorstat_UNBLOCKED") == "count=1"
        assert line(wire, "commandstats", "cmdstat_blpop").endswith("rejected_calls=0,failed_calls=1")


def test_a_reply_as_large_as_the_hard_limit_is_not_begun(port: int) -> None:
    with Wire(port) as wire, Wire(port) as other:
        assert wire.ask(["SET", "k", "x" * 90_000]) == b"+OK\r\n"
        assert wire.ask(["CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0"]) == b"+OK\r\n"
        assert len(other.ask("GET k")) > 90_000
        other.send("GET k", "GET k", "SET done 1")
        assert other.rest() == b""
        wire.ask(["CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0"])
        assert len(wire.ask("GET k")) > 90_000
