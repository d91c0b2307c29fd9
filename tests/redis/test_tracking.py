"""Client tracking: who is told of which change, when, and how, as redis-server does it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import evio_redis
from tests.extent import FULL, examples

from .conversation import talk
from .wire import Wire, redis_server

EXAMPLES = int(os.environ.get("EVIO_DIFFERENTIAL_EXAMPLES", examples(40)))

CONVERSATIONS = r"""
a: HELLO 3
a: CLIENT TRACKING on
b: SET k 1
a: GET k
b: SET k 2
b: SET k 3
a: GET k
a: SET k 4
a: MGET k l k
a: CLIENT TRACKINGINFO
b: DEL k l
a: HSET h f 1
a: HGETALL h
b: HSET h f 2
a: HGET k f
b: SET k 1
a: GET h
b: DEL h
a: EXISTS z
b: SET z 1
a: CLIENT GETREDIR
b: CLIENT GETREDIR
b: CLIENT TRACKINGINFO

a: HELLO 3
a: CLIENT TRACKING on NOLOOP
a: GET k
a: SET k 1
b: SET k 2
a: GET k
b: SET k 1
a: CLIENT TRACKINGINFO

a: HELLO 3
a: CLIENT TRACKING on OPTIN
b: SET k 1
a: GET k
b: SET k 2
a: CLIENT CACHING YES
a: CLIENT TRACKINGINFO
a: CLIENT GETNAME
a: CLIENT TRACKINGINFO
a: GET k
a: CLIENT TRACKINGINFO
b: SET k 3
a: CLIENT CACHING YES
a: PING
a: GET k
b: SET k 4
a: CLIENT CACHING NO
a: CLIENT CACHING x
a: CLIENT CACHING YES
a: MULTI
a: GET k
a: GET l
a: EXEC
b: MSET k 1 l 2
a: CLIENT TRACKING on OPTOUT
a: CLIENT TRACKING on
a: GET k
b: SET k 2
a: MULTI
a: CLIENT CACHING YES
a: GET k
a: EXEC
b: SET k 5

a: HELLO 3
a: CLIENT TRACKING on OPTOUT
b: SET k 1
a: GET k
b: SET k 2
a: CLIENT CACHING NO
a: CLIENT TRACKINGINFO
a: GET k
b: SET k 3
a: CLIENT CACHING NO
a: NOSUCH
a: GET k
b: SET k 4
a: CLIENT CACHING YES
a: CLIENT CACHING

a: HELLO 3
a: CLIENT TRACKING on BCAST
b: SET k 1
a: SET k 2
b: MSET k 3 l 4 a 5
b: MULTI
b: SET k 3
b: SET a 4
b: DEL l
b: EXEC
a: CLIENT TRACKINGINFO
b: FLUSHALL
a: FLUSHDB
a: MULTI
a: FLUSHALL
a: SET k 1
a: EXEC
a: CLIENT TRACKING on
a: CLIENT TRACKING on BCAST OPTIN
a: CLIENT TRACKING on BCAST PREFIX a
a: CLIENT TRACKING on BCAST
a: CLIENT TRACKING off
b: SET k 1

a: HELLO 3
a: CLIENT TRACKING on BCAST PREFIX user: PREFIX item:
b: MSET user:1 1 item:2 2 other 3 user:0 1
a: CLIENT TRACKINGINFO
a: CLIENT TRACKING on BCAST PREFIX user:1
a: CLIENT TRACKING on BCAST PREFIX us
a: CLIENT TRACKING on BCAST PREFIX x PREFIX xy
a: CLIENT TRACKING on BCAST PREFIX zz
a: CLIENT TRACKINGINFO
b: MSET zz 1 zza 2 z 3
a: CLIENT TRACKING on BCAST PREFIX user:
a: CLIENT TRACKING on BCAST NOLOOP
a: CLIENT TRACKINGINFO
a: SET user:1 1
b: SET user:1 1

a: HELLO 3
a: CLIENT TRACKING on BCAST NOLOOP PREFIX x
b: SET x1 1
a: SET x2 2
a: MULTI
a: SET x1 2
a: SET x3 3
a: EXEC
b: MSET x1 1 x5 6

a: CLIENT TRACKING on
a: GET k
b: SET k 1
a: CLIENT TRACKING on REDIRECT {b}
b: SUBSCRIBE other
c: SET k 0
a: GET k
c: SET k 1
a: GET k
a: SET k 2
a: GET k
c: FLUSHALL
a: GET k
b: UNSUBSCRIBE
c: SET k 1
a: GET k
b: hang up
c: SET k 2
a: CLIENT TRACKINGINFO
a: CLIENT TRACKING on REDIRECT {c} REDIRECT {a}
a: CLIENT TRACKING on REDIRECT 99999
a: CLIENT TRACKING on REDIRECT x
a: CLIENT TRACKING on REDIRECT
a: CLIENT TRACKING on REDIRECT 0

b: HELLO 3
a: CLIENT TRACKING on REDIRECT {b}
a: GET k
b: SET k 1
a: GET k
a: SET k 2
a: HELLO 3
a: GET k
c: FLUSHALL
a: FLUSHALL
b: hang up
a: GET k
c: SET k 2
a: CLIENT TRACKINGINFO
a: GET k
a: SET k 2
a: CLIENT TRACKING on
a: CLIENT TRACKINGINFO

a: HELLO 3
b: SUBSCRIBE x
a: CLIENT TRACKING on REDIRECT {b}
a: GET k
c: SET k 1

a: HELLO 3
a: CLIENT TRACKING on
b: SET k 1
a: GET k
b: SELECT 1
b: SET k 1
a: GET k
b: SWAPDB 0 1
a: GET k
b: FLUSHDB
a: GET k
b: RENAME k l
b: SELECT 0
a: EXISTS k l
b: SET k 2
a: EXISTS k l
b: RENAME k l
b: COPY l m
a: GET m
b: COPY l m REPLACE
a: GET m
b: MOVE m 3
a: TTL l
b: EXPIRE l 100
a: TTL l
b: PERSIST l
a: TTL l
b: EXPIRE nokey 100
b: SET l x KEEPTTL
a: OBJECT ENCODING l
b: APPEND l x
b: APPEND l x
a: DUMP l
b: GETDEL l

a: HELLO 3
a: CLIENT TRACKING on
b: SET k 1 PX 1
a: DEBUG SLEEP 0.01
a: GET k
a: EXISTS k
b: SET k 1
a: SET k 1 PX 1
a: DEBUG SLEEP 0.01
a: GET k
b: SET k 3
a: SET k 1 PX 10000
a: GET k
a: PEXPIRE k -1
a: GET k

a: HELLO 3
a: CLIENT TRACKING on
a: MSET k 1 l 2
a: GET k
a: MULTI
a: INCR k
a: GET l
a: EXEC
a: MULTI
a: INCR k
a: DISCARD
a: GET k

b: CLIENT TRACKING on
b: MGET k l
a: HELLO 3
a: CLIENT TRACKING on
a: LRANGE to 0 -1
a: silent BLMOVE from to LEFT RIGHT 0
b: RPUSH from x
a: LRANGE to 0 -1

a: HELLO 3
a: CLIENT TRACKING on NOLOOP
a: SET k 1 PX 100
a: DEBUG SET-ACTIVE-EXPIRE 0
a: GET k
a: DEBUG SLEEP 0.2
a: GET k
b: SET k 3
a: GET k
b: SET k 1 PX 1
a: DEBUG SLEEP 0.01
a: GET k
a: DEBUG SET-ACTIVE-EXPIRE 1

a: HELLO 3
a: CLIENT TRACKING on BCAST NOLOOP
a: DEBUG SET-ACTIVE-EXPIRE 0
a: SET k 1 PX 100
a: DEBUG SLEEP 0.2
a: GET k
a: DEBUG SET-ACTIVE-EXPIRE 1

a: HELLO 3
a: CLIENT TRACKING on
a: EVAL "redis.call('get', 'k'); redis.call('set', 'k', 1); return redis.call('get', 'l')" 0
b: SET k 2
b: SET l 2
a: EVAL_RO "return redis.call('get', KEYS[1])" 2 k z
b: MSET k 2 z 2
a: MULTI
a: GET k
a: SET k 3
a: GET k
a: SET k 4
a: EXEC
a: GET k
a: MULTI
a: FLUSHALL
a: EXEC
a: GET k
b: EVAL "redis.call('set', 'k', 1); return redis.error_reply('x')" 0
a: GET k
a: EVAL "redis.call('set', 'k', 1); return redis.error_reply('x')" 0
a: GET k
a: CLIENT TRACKING off
b: SET k 4
a: CLIENT TRACKING on
a: GET k
a: RESET
b: SET k 5

a: HELLO 3
a: CLIENT TRACKING on
a: XREAD STREAMS s 0
b: XADD s 1-1 a b
a: XRANGE s - +
b: XADD s 2-2 a b
a: XLEN s
b: XGROUP CREATE s g 0
a: XLEN s
b: XREADGROUP GROUP g c STREAMS s >
b: XACK s g 1-1
b: XADD s 3-2 a b
a: XLEN s
b: XREADGROUP GROUP g c STREAMS s >
b: XDEL s 2-2
a: LRANGE q 0 -1
b: RPUSH q a
a: LRANGE q 0 -1
b: LPOP q
a: LLEN q
b: BLPOP q 0.01
b: SADD s1 a
b: SADD s2 b
b: SMOVE s1 s2 a
a: ZRANGE z 0 -1
b: ZADD z 1 a
a: ZRANGE z 0 -1
b: ZADD z 1 a
b: ZADD z 2 a
a: SORT_RO q
b: RPUSH q 1 2
a: SORT q
b: RPUSH q 1 2
a: BITCOUNT b
b: SETBIT b 1 1
a: PFCOUNT hl
b: PFADD hl 1
a: PFCOUNT hl
b: PFADD hl 2
b: DEL q
a: GEOPOS ge x
b: GEOADD ge 1 1 x
a: CLIENT TRACKING foo
a: CLIENT TRACKING on foo
a: CLIENT TRACKING
a: CLIENT TRACKING on PREFIX x
a: CLIENT TRACKING on OPTIN OPTOUT
a: CLIENT TRACKING off BCAST PREFIX
b: CLIENT CACHING yes

a: HELLO 3
a: CLIENT TRACKING on
a: GET k
a: silent CLIENT REPLY SKIP
a: silent GET k
a: silent CLIENT REPLY OFF
b: SET k 1
a: CLIENT REPLY ON

a: HELLO 3
a: CLIENT TRACKING on
a: GET k
a: SUBSCRIBE ch
a: GET k
b: PUBLISH ch 1
b: SET k 1
a: CLIENT TRACKING on BCAST
a: CLIENT TRACKING off
a: CLIENT TRACKING on BCAST PREFIX ""
a: CLIENT TRACKING on BCAST PREFIX x

a: FUNCTION LOAD REPLACE "#!lua name=mylib\nredis.register_function('f', function(keys, args)
  redis.call('set', args[1], 'x') return redis.call('get', 'other')
  end)\nredis.register_function{function_name='r', callback=function(keys, args) return
  redis.call('get', keys[1]) end, flags={'no-writes'}}"
a: HELLO 3
a: CLIENT TRACKING on
a: GET k
b: FCALL f 0 k
a: GET k
a: FCALL f 1 m k
b: SET m 1
b: SET other 1
a: FCALL_RO r 1 k
b: FCALL f 0 k
a: FCALL r 2 k l
b: MSET k 1 l 2
b: FUNCTION DELETE mylib
"""


@pytest.fixture(scope="module")
def real() -> Iterator[int]:
    with redis_server("--enable-debug-command", "yes") as port:
        yield port


@pytest.fixture(scope="module")
def ours() -> Iterator[int]:
    with evio_redis.Server(port=0, enable_debug_command="yes") as server:
        yield server.port


@pytest.mark.parametrize(
    "text", CONVERSATIONS.strip().replace("\n  ", " ").split("\n\n"), ids=lambda text: " / ".join(text.split("\n")[1:3])
)
def test_all_clients_receive_the_same(real: int, ours: int, text: str) -> None:
    assert talk(ours, text.splitlines()) == talk(real, text.splitlines())


names = st.sampled_from(["k", "l", "user:1", "user:2"])
modes = st.sampled_from(
    ["on", "on NOLOOP", "on OPTIN", "on OPTOUT", "on BCAST", "on BCAST PREFIX user: NOLOOP", "off", "on REDIRECT {b}"]
)


def line(who: str, *words: str | st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    parts = [word if isinstance(word, st.SearchStrategy) else st.just(word) for word in words]
    return st.tuples(st.sampled_from(list(who)), st.tuples(*parts)).map(lambda it: f"{it[0]}: {' '.join(it[1])}")


reads = st.one_of(
    line("aab", "GET", names),
    line("aab", "MGET", names, names),
    line("a", "EXISTS", names, names),
    line("a", "TTL", names),
    line("a", "STRLEN", names),
    line("a", "TYPE", names),
    line("a", "SORT_RO", names),
)
writes = st.one_of(
    line("abc", "SET", names, st.sampled_from(["1", "2"])),
    line("abc", "MSET", names, "1", names, "2"),
    line("abc", "DEL", names, names),
    line("abc", "INCR", names),
    line("ac", "RENAME", names, names),
    line("ac", "COPY", names, names),
    line("ac", "EXPIRE", names, st.sampled_from(["100", "-1"])),
    line("ac", "PERSIST", names),
    line("ac", "GETSET", names, "x"),
    line("ac", "GETDEL", names),
    line("ac", "LPUSH", names, "x"),
    line("ac", "LPOP", names),
    line("c", "SADD", names, "x"),
    line("c", "FLUSHALL"),
    line("c", "EVAL", "\"redis.call('get', KEYS[1]); return redis.call('incr', KEYS[1])\" 1", names),
)
states = st.one_of(
    line("a", "CLIENT TRACKING", modes),
    line("a", "CLIENT CACHING", st.sampled_from(["YES", "NO"])),
    line("a", "CLIENT TRACKINGINFO"),
    line("a", "MULTI"),
    line("a", "EXEC"),
    line("a", "DISCARD"),
)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "start",
    [["a: HELLO 3", "b: HELLO 3"], *([["a: PING", "b: SUBSCRIBE x"], ["a: HELLO 3", "b: PING"]] if FULL else [])],
)
def test_whatever_they_do_all_clients_receive_the_same(real: int, ours: int, start: list[str]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.lists(st.one_of(reads, reads, writes, states), min_size=10, max_size=40))
    def compare(script: list[str]) -> None:
        # One more is tracked all the time: with the last, ours forgets what was read, and Redis does not.
        lines = ["d: HELLO 3", "d: CLIENT TRACKING on", *start, "a: CLIENT TRACKING on", *script]
        assert flushes_alike(talk(ours, lines)) == flushes_alike(talk(real, lines))

    compare()


def flushes_alike(said: list[str]) -> list[str]:
    """redis-server has the null of a flush in the protocol of the client that is tracked, though another gets it."""
    return [each.replace("invalidate $-1", "invalidate _") for each in said]


def info(wire: Wire, field: str) -> int:
    text = wire.ask("INFO everything").decode()
    return int(text.partition(f"\r\n{field}:")[2].partition("\r\n")[0])


def invalidated(wire: Wire) -> list[bytes]:
    """Return the keys of the next message."""
    push = wire.reply()
    assert push.startswith(b">2\r\n$10\r\ninvalidate\r\n*"), push
    return push.split(b"\r\n")[5:-1:2]


def test_the_table_is_kept_under_its_limit_and_what_it_forgets_is_told() -> None:
    with evio_redis.Server(port=0, tracking_table_max_keys=10) as server, Wire(server.port) as wire:
        wire.ask("HELLO 3")
        wire.ask("CLIENT TRACKING on")
        wire.send(*[f"GET k{number}" for number in range(100)])
        received = [wire.reply() for _ in range(190)]
        assert received.count(b"_\r\n") == 100
        assert {each.split(b"\r\n")[5] for each in received if each.startswith(b">")} <= {b"k%d" % n for n in range(90)}
        assert info(wire, "tracking_total_keys") == 10
        assert wire.ask("CONFIG SET tracking-table-max-keys 0") == b"+OK\r\n"
        wire.send(*[f"GET k{number}" for number in range(100)])
        assert [wire.reply() for _ in range(100)] == [b"_\r\n"] * 100
        assert info(wire, "tracking_total_keys") == 100


def test_statistics_and_that_nothing_is_left_behind() -> None:
    with evio_redis.Server(port=0) as server, Wire(server.port) as watcher:
        usual = server.dispatcher.ways
        with Wire(server.port) as one, Wire(server.port) as other, Wire(server.port) as third:
            for wire in (one, other, third):
                wire.ask("HELLO 3")
            one.ask("CLIENT TRACKING on")
            other.ask("CLIENT TRACKING on")
            third.ask("CLIENT TRACKING on BCAST PREFIX a PREFIX b")
            one.ask("MGET k l")
            other.ask("MGET k m")
            assert info(watcher, "tracking_clients") == 3
            assert info(watcher, "tracking_total_keys") == 3
            assert info(watcher, "tracking_total_items") == 4
            assert info(watcher, "tracking_total_prefixes") == 2
            assert server.dispatcher.ways != usual
            watcher.ask("SET k 1")
            assert (invalidated(one), invalidated(other)) == ([b"k"], [b"k"])
            assert info(watcher, "tracking_total_items") == 2
        while info(watcher, "tracking_clients"):
            pass
        assert info(watcher, "tracking_total_keys") == info(watcher, "tracking_total_prefixes") == 0
        assert server.dispatcher.ways == usual
        assert not any(database.has_listeners for database in server.keyspace.databases)


def test_every_kind_of_client_with_several_loops() -> None:
    with evio_redis.Server(port=0, loops=3) as server, Wire(server.port) as writer:
        readers = [Wire(server.port) for _ in range(6)]
        modes = ("on", "on NOLOOP", "on BCAST", "on BCAST PREFIX k", "on OPTOUT", "on BCAST NOLOOP")
        try:
            for reader, mode in zip(readers, modes, strict=True):
                reader.ask("HELLO 3")
                assert reader.ask(f"CLIENT TRACKING {mode}") == b"+OK\r\n"
            for number in range(50):
                for reader in readers:
                    reader.ask("GET k")
                writer.ask(f"SET k {number}")
                assert [invalidated(reader) for reader in readers] == [[b"k"]] * 6
        finally:
            for reader in readers:
                reader.close()


def test_keys_that_expire_by_themselves(real: int, ours: int) -> None:
    for port in (real, ours):
        with Wire(port) as wire, Wire(port) as other, Wire(port) as third:
            wire.ask("FLUSHALL")
            for each, mode in ((wire, "on"), (other, "on BCAST")):
                each.ask("HELLO 3")
                each.ask(f"CLIENT TRACKING {mode}")
            third.ask("SET k 1 PX 20")
            assert invalidated(other) == [b"k"]
            wire.ask("GET k")
            assert (invalidated(wire), invalidated(other)) == ([b"k"], [b"k"])


def test_tracking_beside_the_append_only_file_and_monitor(tmp_path: Path) -> None:
    with (
        evio_redis.Server(port=0, appendonly=True, dir=str(tmp_path)) as server,
        Wire(server.port) as reader,
        Wire(server.port) as writer,
        Wire(server.port) as monitor,
    ):
        reader.ask("HELLO 3")
        reader.ask("CLIENT TRACKING on")
        for watched in (False, True):
            if watched:
                assert monitor.ask("MONITOR") == b"+OK\r\n"
            reader.ask("GET k")
            writer.ask("SET k 1")
            assert invalidated(reader) == [b"k"]
            reader.ask("GET k")
            reader.send("SET k 2")
            assert reader.reply() == b"+OK\r\n"
            assert invalidated(reader) == [b"k"]
    with evio_redis.Server(port=0, appendonly=True, dir=str(tmp_path)) as server, Wire(server.port) as wire:
        assert wire.ask("GET k") == b"$1\r\n2\r\n"
