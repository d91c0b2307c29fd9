"""HyperLogLogs, on redis-server and here: replies, and the same bytes."""

from __future__ import annotations

import random
import time
from functools import partial
from typing import Any

import pytest
import redis

import evio_redis
from evio_redis.keyspace.types.hyperloglog import (
    KNOWN,
    NEW,
    REGISTERS,
    Corrupt,
    HyperLogLog,
    Sketches,
    estimate,
    highest,
)
from tests.extent import examples

from .test_dump import changes
from .transcripts import Conversation, check, conversations
from .wire import Wire, redis_server

TRANSCRIPT = r"""
PFCOUNT nothing -> :0
PFCOUNT nothing either -> :0
PFADD k -> :1
PFADD k -> :0
GET k -> $18 HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff
PFCOUNT k -> :0
GET k -> $18 HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x7f\xff
OBJECT ENCODING k -> $3 raw
TYPE k -> +string
PFADD k a b c d e f g -> :1
PFADD k a -> :0
PFCOUNT k -> :7
PFCOUNT k -> :7
PFDEBUG DECODE k -> $93 Z:1646 v:1,1 Z:5645 v:1,1 Z:1085 v:2,1 z:57 v:1,1 Z:4274 v:2,1 Z:2445 v:1,1 Z:622 v:1,1
  Z:603
PFADD l g h -> :1
PFCOUNT k l -> :8
PFMERGE m k l -> +OK
PFCOUNT m -> :8
PFMERGE m -> +OK
PFMERGE new -> +OK
PFCOUNT new m -> :8
PFDEBUG ENCODING k -> +sparse
PFDEBUG TODENSE k -> :1
PFDEBUG todense k -> :0
PFDEBUG ENCODING k -> +dense
PFDEBUG DECODE k -> -ERR HLL encoding is not sparse
PFCOUNT k -> :7
STRLEN k -> :12304
PFADD k g -> :0
PFADD k h -> :1
PFCOUNT k -> :8
PFMERGE m k -> +OK
PFDEBUG ENCODING m -> +dense
PFDEBUG FOO k -> -ERR Unknown PFDEBUG subcommand 'FOO'
PFDEBUG FOO nothing -> -ERR The specified key does not exist
PFADD -> -ERR wrong number of arguments for 'pfadd' command

PFADD k a -> :1
EXPIRE k 100 -> :1
PFADD k b -> :1
PFCOUNT k -> :2
PFMERGE k k -> +OK
PFDEBUG TODENSE k -> :1
TTL k -> :100

SADD s a -> :1
SET i 123 -> +OK
SET v value -> +OK
SET d "HYLL\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" -> +OK
SET u "HYLL\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" -> +OK
PFADD s a -> -WRONGTYPE Operation against a key holding the wrong kind of value
PFADD i a -> -WRONGTYPE Key is not a valid HyperLogLog string value.
PFCOUNT v -> -WRONGTYPE Key is not a valid HyperLogLog string value.
PFCOUNT v s -> -WRONGTYPE Key is not a valid HyperLogLog string value.
PFMERGE n d -> -WRONGTYPE Key is not a valid HyperLogLog string value.
PFDEBUG ENCODING u -> -WRONGTYPE Key is not a valid HyperLogLog string value.
EXISTS n -> :0

SET k "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f" -> +OK
PFCOUNT k -> -INVALIDOBJ Corrupted HLL object detected
PFCOUNT k k -> -INVALIDOBJ Corrupted HLL object detected
PFMERGE m k -> -INVALIDOBJ Corrupted HLL object detected
PFDEBUG TODENSE k -> -INVALIDOBJ Corrupted HLL object detected
SET k "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x3f" -> +OK
PFADD k a -> -INVALIDOBJ Corrupted HLL object detected
SET k "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff\x00" -> +OK
PFCOUNT k -> -INVALIDOBJ Corrupted HLL object detected

CONFIG SET hll-sparse-max-bytes 20 -> +OK
PFADD k a -> :1
PFDEBUG ENCODING k -> +dense
CONFIG SET hll-sparse-max-bytes 3000 -> +OK
PFADD l a -> :1
PFDEBUG ENCODING l -> +sparse
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_replies(port: int, group: list[Conversation]) -> None:
    check(port, group)


def test_registers_are_shown(port: int) -> None:
    with redis.Redis(port=port) as client:
        client.flushall()
        client.pfadd("k", "a")
        registers = client.execute_command("PFDEBUG", "GETREG", "k")
        assert len(registers) == REGISTERS
        assert sorted(registers)[-2:] == [0, 2]
        assert client.execute_command("PFDEBUG", "ENCODING", "k") == b"dense"


def test_what_becomes_known_of_it(port: int) -> None:
    with redis.Redis(port=port) as client, redis.Redis(port=port) as other:
        client.flushall()
        client.config_set("notify-keyspace-events", "KEA")
        listener = client.pubsub()
        listener.psubscribe("__keyevent@0__:*")
        assert listener.get_message(timeout=20)["type"] == "psubscribe"
        before = changes(client)
        client.pfadd("k", "a", "b", "c")  # new, and three registers
        client.pfadd("k", "a")
        client.pfmerge("m", "k")
        client.pfcount("k")
        client.pfcount("k")
        client.pfcount("k", "m")
        assert changes(client) - before == 4 + 1 + 1
        client.delete("k")
        heard = [listener.get_message(timeout=20)["channel"].rpartition(b":")[2] for _ in range(3)]
        assert heard == [b"pfadd", b"pfadd", b"del"]
        listener.close()
        client.config_set("notify-keyspace-events", "")
        client.pfadd("k", "a")
        with other.pipeline() as pipe:
            pipe.watch("k")
            client.pfcount("k")  # the count is noted, which changes the value
            pipe.multi()
            pipe.ping()
            with pytest.raises(redis.WatchError):
                pipe.execute()


def test_it_is_byte_by_byte_what_redis_makes() -> None:
    choose = random.Random(5)
    with redis_server() as other, evio_redis.Server(port=0) as server, Wire(other) as real, Wire(server.port) as ours:

        def both(*words: Any) -> None:
            expected = real.ask(list(words))
            assert ours.ask(list(words)) == expected, words

        for size in (1, 2, 3, 10, 200):
            for number in range(examples(2000) // size if size < 10 else 40):
                name = f"k{size}"
                both("PFADD", name, *(choose.randbytes(choose.randrange(20)).hex() for _ in range(size)))
                if not number % 7:
                    both("GET", name)
                    both("PFCOUNT", name)
        for number in range(examples(1500)):  # nothing in between: where its runs are is remembered
            both("PFADD", f"alone{number % 3}", choose.randbytes(8).hex())
            if not number % 50:
                both("GET", f"alone{number % 3}")
        for name in ("alone0", "alone1", "alone2"):
            both("GET", name)
        names = [f"k{size}" for size in (1, 2, 3, 10, 200)]
        for number in range(25):
            both("PFADD", f"small{number}", *(str(choose.random()) for _ in range(choose.randrange(1, 400))))
        for number in range(25):
            target = choose.choice([f"merged{number}", f"small{choose.randrange(25)}"])
            both("PFMERGE", target, *(f"small{choose.randrange(25)}" for _ in range(choose.randrange(1, 4))))
            both("GET", target)
            both("PFCOUNT", target, "small0")
        both("PFMERGE", "all", *names)
        both("PFCOUNT", "all")
        both("GET", "all")


def test_a_merge_of_sparse_ones_is_not_slow() -> None:
    value = HyperLogLog()
    for number in range(700):
        value.add([b"%d" % number], 3000)
    assert value.sparse
    highest, merged = value.registers(), HyperLogLog()
    begin = time.thread_time()
    for register, most in enumerate(highest):
        if most:
            merged.raise_all([(register, most)], 3000)
    assert merged.registers() == highest
    assert time.thread_time() - begin < 1


@pytest.mark.parametrize("sparse_max", [3000, 0])
def test_it_is_about_right(sparse_max: int) -> None:
    value = HyperLogLog()
    for number in range(1, 20_001):
        value.add([b"element %d" % number], sparse_max)
        if number in (1, 10, 100, 1000, 20_000):
            assert abs(value.count() - number) <= number * 0.05
    assert not value.sparse
    assert value.counted == value.count()


def test_empty_and_full_registers() -> None:
    assert estimate(bytes(REGISTERS)) == 0
    assert HyperLogLog().count() == 0
    value = HyperLogLog()
    value.to_dense()
    for register in range(REGISTERS):
        assert value.raise_all([(register, register % 51 + 1)], 3000)
    assert value.registers() == bytes(register % 51 + 1 for register in range(REGISTERS))


def test_no_bytes_make_it_fail_otherwise() -> None:
    choose = random.Random(2)
    for _ in range(500):
        data = bytearray(b"HYLL\x01" + bytes(11) + choose.randbytes(choose.randrange(200)))
        elements = [choose.randbytes(3) for _ in range(3)]
        for act in (
            HyperLogLog.count,
            HyperLogLog.to_dense,
            partial(HyperLogLog.add, elements=elements, sparse_max=3000),
        ):
            value = HyperLogLog(bytes(data))
            try:
                act(value)
            except Corrupt:
                continue
            assert HyperLogLog.valid(bytes(value.data))


@pytest.mark.parametrize("sparse_max", [0, 100, 500, 3000])
def test_many_elements_at_once_do_the_same_as_one_by_one(sparse_max: int) -> None:
    draw = random.Random(sparse_max)
    at_once, one_by_one = HyperLogLog(), HyperLogLog()
    for count in (1, 20, 15, 300, 40, 1500, 300, 17):
        elements = [draw.randbytes(draw.choice((0, 1, 7, 8, 9, 16, 23))) for _ in range(count)]
        updated = at_once.add(elements, sparse_max)
        assert updated == sum(one_by_one.add([element], sparse_max) for element in elements)
        assert at_once.sparse == one_by_one.sparse
        assert at_once.data[16:] == one_by_one.data[16:]


@pytest.mark.parametrize("sparse_max", [300, 2000])
def test_runs_that_are_remembered_are_those_that_are_there(sparse_max: int) -> None:
    draw = random.Random(sparse_max)
    remembered, kept = HyperLogLog(NEW), HyperLogLog(NEW)
    for _ in range(examples(2000)):
        elements = [draw.randbytes(draw.randrange(20)) for _ in range(draw.choice((1, 1, 1, 2, 5)))]
        assert remembered.add(elements, sparse_max) == kept.add(elements, sparse_max)
        kept = HyperLogLog(kept.store())  # whose runs are looked for anew each time
        assert remembered.data == kept.data


def test_few_values_are_remembered() -> None:
    sketches = Sketches()
    for number in range(KNOWN + 10):
        sketches.take(b"%d" % number, NEW)
    assert len(sketches) == KNOWN
    assert b"0" not in sketches


def test_the_higher_registers_of_two() -> None:
    draw = random.Random(1)
    one, other = (bytearray(draw.choices(range(52), k=REGISTERS)) for _ in range(2))
    assert bytes(highest(one, other)) == bytes(map(max, one, other))
