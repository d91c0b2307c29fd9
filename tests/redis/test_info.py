"""The counts of commands and errors in INFO, beside a real redis-server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import evio_redis

from .transcripts import SERVERS, running
from .wire import Wire, redis_server


@pytest.fixture(params=SERVERS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server that is new for each test."""
    yield from running(request.param)


def line(wire: Wire, section: str, field: str) -> str:
    """Return the text after the field's name."""
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


LEFT_OUT = {
    *("gcc_version", "atomicvar_api", "allocator_allocated", "allocator_active", "allocator_resident"),
    *("allocator_frag_ratio", "allocator_frag_bytes", "allocator_rss_ratio", "allocator_rss_bytes"),
    *("rss_overhead_ratio", "rss_overhead_bytes", "current_cow_peak", "current_cow_size", "current_cow_size_age"),
    *("aof_last_cow_size", "current_fork_perc", "current_save_keys_processed", "current_save_keys_total"),
    *("total_reads_processed", "total_writes_processed"),
}
"""Fields of Redis that are not there, for the reasons that ``info.py`` gives."""


def fields(port: int) -> set[str]:
    """The names of all fields, those of single commands and errors apart."""
    with Wire(port) as wire:
        wire.ask("SET k v EX 100")
        lines = wire.ask("INFO everything").decode().split("\r\n")
    names = {line.partition(":")[0] for line in lines[1:] if line and not line.startswith("#")}
    return {name for name in names if not name.startswith(("cmdstat_", "latency_percentiles_usec_", "errorstat_"))}


@pytest.mark.parametrize("appendonly", ["no", "yes"])
def test_every_field_of_redis_is_there_or_left_out_for_a_reason(appendonly: str, tmp_path: Path) -> None:
    directory = tmp_path / "real"
    directory.mkdir()
    with (
        evio_redis.Server(port=0, appendonly=appendonly, dir=str(tmp_path)) as server,
        redis_server("--appendonly", appendonly, "--dir", str(directory)) as real,
    ):
        ours, theirs = fields(server.port), fields(real)
    assert theirs - ours == LEFT_OUT
    assert ours - theirs == {"python_version", "evio_loops"}


def hits_and_misses(wire: Wire) -> tuple[int, int]:
    return int(line(wire, "stats", "keyspace_hits")), int(line(wire, "stats", "keyspace_misses"))


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ("GET k|GET h|HGET h f|HGET h no|LLEN l|SORT l|GETDEL k|OBJECT ENCODING h|HSCAN h 0|GETBIT h 1", (10, 0)),
        ("GET no|GET expired|TYPE no|HGETALL no|PTTL no|GETEX no|COPY no k|SORT_RO no|ZRANGE no 0 -1", (0, 9)),
        ("MGET k no k|EXISTS k no|TOUCH k no|ZUNION 2 z no|SINTERCARD 2 s no", (6, 5)),
        ("SET k x GET|SET no x GET|BITFIELD k GET u8 0|GETSET k y", (3, 1)),
        ("SINTERSTORE d s no|ZUNIONSTORE d 2 z no|ZRANGESTORE d z 0 -1|BITOP AND d k no|SORT l STORE d", (5, 3)),
        ("GEOPOS z m|GEOADD z 1 1 m|GEORADIUS z 1 1 1 m|GEORADIUSBYMEMBER no m 1 m STORE d|DUMP z|DUMP no", (3, 2)),
        ("GEOSEARCHSTORE d no FROMMEMBER m BYRADIUS 1 m|GEOSEARCHSTORE d z FROMMEMBER m BYRADIUS 1 m", (1, 1)),
        ("PFADD p a|PFADD p b|PFCOUNT p|PFCOUNT p no|PFMERGE d p|PFMERGE d|PFDEBUG ENCODING d", (4, 2)),
        (
            "SET k x|DEL k no|LPOP l|LPOP no|INCR no|EXPIRE h 10|WATCH h|MEMORY USAGE h|KEYS *|BITFIELD k SET u8 0 1",
            (0, 0),
        ),
        ("MULTI|GET h|GET no|EXEC", (1, 1)),
    ],
)
def test_keys_that_are_found_and_missed_are_counted(port: int, commands: str, expected: tuple[int, int]) -> None:
    with Wire(port) as wire:
        for each in ("SET k abc", "HSET h f v", "RPUSH l 1 2", "SADD s m", "ZADD z 1 m", "SET expired 1 PX 1"):
            wire.ask(each)
        while wire.ask("EXISTS expired") != b":0\r\n":
            pass
        assert wire.ask("CONFIG RESETSTAT") == b"+OK\r\n"
        for each in commands.split("|"):
            wire.ask(each)
        assert hits_and_misses(wire) == expected


def test_calls_that_take_the_short_way_count_like_those_that_did_not() -> None:
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire:
        wire.ask("SET k v")
        for _ in range(10):
            wire.send(*["GET k", "GET no"] * 1000)
            assert [wire.reply() for _ in range(2000)] == [b"$1\r\nv\r\n", b"$-1\r\n"] * 1000
        hits, misses = hits_and_misses(wire)
        assert 19_990 <= hits + misses <= 20_000
        assert 8_000 < hits < 12_000


def test_events_tell_of_keys_that_are_missed_and_that_are_new(port: int) -> None:
    with Wire(port) as wire, Wire(port) as listener:
        assert wire.ask("CONFIG SET notify-keyspace-events KEmn") == b"+OK\r\n"
        listener.ask("PSUBSCRIBE __keyevent*")
        for each in ("SET k v", "SET k v", "GET k", "GET no", "MULTI", "RPUSH l 1 2", "MGET no k nor", "EXEC"):
            wire.ask(each)
        for each in (
            "MOVE k 1",
            "COPY l l2 DB 2",
            "COPY l l3",
            "RENAME l3 l4",
            "HSET h f v",
            "PFADD p a",
            "GEOADD g 1 1 a",
            "PUBLISH __keyevent done",
        ):
            wire.ask(each)
        events: list[bytes] = []
        while not events or events[-1] != b"done":
            *_, kind, _, message, _ = listener.reply().rsplit(b"\r\n", 4)
            events.append(message if message == b"done" else kind.partition(b"@")[2] + b" " + message)
        assert events[:-1] == [
            *(b"0__:new k", b"0__:keymiss no", b"0__:new l", b"0__:keymiss no", b"0__:keymiss nor", b"1__:new k"),
            *(b"2__:new l2", b"0__:new l3", b"0__:new l4", b"0__:new h", b"0__:new p", b"0__:new g"),
        ]


@pytest.mark.parametrize(
    "command",
    [
        *("HRANDFIELD h -999999999", "HRANDFIELD h -999999999 WITHVALUES", "SRANDMEMBER s -999999999"),
        *("ZRANDMEMBER z -999999999", "ZRANDMEMBER z -999999999 WITHSCORES"),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_a_reply_that_is_too_large_to_be_sent_is_not_finished(port: int, command: str, version: int) -> None:
    with Wire(port) as wire, Wire(port) as other:
        for each in ("HSET h f v", "SADD s m", "ZADD z 1 m"):
            wire.ask(each)
        assert wire.ask(["CONFIG", "SET", "client-output-buffer-limit", "normal 1000000 0 0"]) == b"+OK\r\n"
        other.ask(f"HELLO {version}")
        other.send(command)
        assert other.rest() == b""
