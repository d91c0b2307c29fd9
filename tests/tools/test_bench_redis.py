"""The Redis benchmark's own logic: what is sent, that every reply is right, that every target can be judged."""

from __future__ import annotations

import sys

import pytest

from tests.extent import FULL

if sys.platform != "linux":
    pytest.skip("tools.bench runs on Linux only", allow_module_level=True)

import os
import socket
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import hiredis
import redis

import evio_redis
from tools.bench import traffic
from tools.bench.redis import SUITE, commands, repeated, workloads
from tools.bench.redis.peers import PLAIN_AND_FLOOR, REDIS_SERVER
from tools.bench.redis.repeated import MEMORY, TESTS, strings
from tools.bench.redis.resp import Replies, command, fill
from tools.bench.server import ROOT, BenchError, Server, running
from tools.bench.suite import matches

from .test_bench import figures

CORE = {max(os.sched_getaffinity(0))}
FLOOR = next(peer for peer in PLAIN_AND_FLOOR if peer.name == "floor")
REDIS = next(peer for peer in PLAIN_AND_FLOOR if peer.name == "redis")


def benched(server: evio_redis.Server) -> Server:
    return Server("evio", os.getpid(), server.port, Path())


def test_every_target_is_of_workloads_and_a_server_in_them() -> None:
    for target in SUITE.targets:
        chosen = [workload for workload in SUITE.workloads if matches(workload.key, target.workload)]
        assert chosen
        for workload in chosen:
            assert target.metric in {metric.key for metric in workload.metrics}
            assert {SUITE.subject, target.against} <= {peer.name for peer in workload.peers}
    assert MEMORY in SUITE.workloads
    assert len({workload.key for workload in SUITE.workloads}) == len(SUITE.workloads)


def test_a_command_as_a_client_sends_it() -> None:
    assert command("GET", b"a key", 17) == b"*3\r\n$3\r\nGET\r\n$5\r\na key\r\n$2\r\n17\r\n"


def test_replies_are_counted_however_they_arrive() -> None:
    replies = Replies(due=2)
    assert not replies.received(b"+OK\r\n$5\r\nhe")
    assert replies.received(b"llo\r\n")
    assert replies.received(b"*2\r\n:1\r\n:2\r\n$-1\r\n"), "counting begins anew for the next batch"
    with pytest.raises(BenchError, match="1 replies too many"):
        replies.received(b":1\r\n:1\r\n:1\r\n")


@pytest.mark.parametrize("replies", [b"-ERR no\r\n", b"+OK\r\n-ERR no\r\n"])
def test_an_error_among_the_replies_is_one_of_the_benchmark(replies: bytes) -> None:
    with pytest.raises(BenchError, match="-ERR no"):
        Replies(due=2).received(replies)


def test_a_server_has_a_new_folder_although_its_port_comes_again(tmp_path: Path) -> None:
    folders = set()
    for peer in PLAIN_AND_FLOOR[:2]:
        for _ in range(2):
            command_line = peer.command(6379, tmp_path)
            folders.add(command_line[command_line.index("--dir") + 1])
    assert len(folders) == 4
    assert all(Path(folder).is_dir() for folder in folders)


def test_servers_are_filled_before_they_are_read() -> None:
    with evio_redis.Server(port=0) as server, redis.Redis(port=server.port) as client:
        fill(benched(server), strings(3_000))
        assert client.dbsize() == 3_000
        assert client.get("key:000000002999") == b"xxx"


def test_a_server_that_cannot_be_filled_is_an_error() -> None:
    with evio_redis.Server(port=0, requirepass="secret") as server, pytest.raises(BenchError, match="NOAUTH"):
        fill(benched(server), [command("SET", "key", "value")])


@pytest.mark.parametrize("mix", TESTS, ids=lambda mix: mix.name)
def test_the_tests_of_redis_benchmark_are_commands_that_succeed(
    mix: workloads.Mix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated, "ELEMENTS", 2_000)
    monkeypatch.setattr(repeated, "KEYSPACE", 100)
    random = Random(mix.name)
    with evio_redis.Server(port=0) as server, redis.Redis(port=server.port) as client:
        fill(benched(server), mix.filling(random))
        fill(benched(server), [mix.draw(random) for _ in range(100)])
        assert client.dbsize() > 0


def replies(port: int, sent: list[bytes]) -> list[object]:
    """The replies to commands that are sent one after the other."""
    reader = hiredis.Reader()
    got: list[object] = []
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        for each in sent:
            client.sendall(each)
            while (reply := reader.gets()) is False:
                reader.feed(client.recv(1 << 16))
            got.append(reply)
    return got


@pytest.mark.skipif(not REDIS_SERVER.met(), reason="redis-server is not installed")
@pytest.mark.parametrize("mix", workloads.MIXES, ids=lambda mix: mix.name)
def test_the_floor_replies_as_redis_does(mix: workloads.Mix, tmp_path: Path) -> None:
    random = Random(mix.name)
    sent = [*islice(mix.filling(random), 500), *(mix.draw(random) for _ in range(2_000))]
    with running(FLOOR, CORE, tmp_path) as floor, running(REDIS, CORE, tmp_path) as real:
        assert replies(floor.port, sent) == replies(real.port, sent)


def test_the_floor_lets_keys_expire_and_knows_types() -> None:
    sent = [
        command("SET", "gone", "x", "EX", 0),
        command("HSET", "kept", "field", "x"),
        command("GET", "gone"),
        command("EXPIRE", "gone", 100),
        command("GET", "kept"),
        command("NOSUCH"),
        command("PING"),
    ]
    with running(FLOOR, CORE, ROOT) as floor:
        got = replies(floor.port, sent)
    assert [str(reply) for reply in got[:4]] == ["b'OK'", "1", "None", "0"]
    assert isinstance(got[4], hiredis.ReplyError)
    assert str(got[4]).startswith("WRONGTYPE")
    assert isinstance(got[5], hiredis.ReplyError)
    assert got[6] == b"PONG"


@pytest.mark.parametrize("single", commands.SINGLES[:: 1 if FULL else 4], ids=lambda single: single.name)
def test_every_single_command_finds_what_it_asks_for(single: commands.Single) -> None:
    """Its replies are as many as said, and none is an error."""
    count = 4 * commands.PAIRS
    with evio_redis.Server(port=0) as server:
        random = Random(single.name)
        fill(benched(server), (command(*words) for words in single.filling(random, count)))
        with socket.create_connection(("127.0.0.1", server.port), 20) as client:
            answered = Replies(single.replies)
            batches = commands.batches(single, count)
            assert len(batches) == 4
            for batch in batches:
                client.sendall(batch)
                while not answered.received(client.recv(1 << 16)):
                    pass


def test_a_mix_is_the_same_for_every_server_and_cut_into_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "COMMANDS", 1_000)
    pipelines = workloads.pipelines.__wrapped__
    for mix in workloads.MIXES:
        batches = pipelines(mix, 100)
        assert {batch.count(b"*") for batch in batches} == {100}
        assert b"".join(pipelines(mix, 1)) == b"".join(batches)


def test_a_mix_yields_its_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "WARM_UP", 160)
    monkeypatch.setattr(workloads, "COMMANDS", 4_000)
    monkeypatch.setattr(workloads, "pipelines", workloads.pipelines.__wrapped__)
    workload = next(each for each in SUITE.workloads if each.key == "queue:16")
    with running(FLOOR, CORE, ROOT) as server:
        values = figures(workload, server)
    assert values.keys() == {metric.key for metric in workload.metrics}
    assert 0 < values["p50"] <= values["p99"] <= values["p999"]
    assert 0.1 < values["cpu"] < 1000


# -- traffic


class Lines:
    """Answers that are lines."""

    def sent(self, batch: bytes) -> None:
        pass

    def received(self, chunk: bytes) -> int:
        return chunk.endswith(b"\n")


@pytest.fixture
def echoing() -> Iterator[list[socket.socket]]:
    """Three connections whose other ends echo, in a thread."""
    pairs = [socket.socketpair() for _ in range(3)]

    def echo(end: socket.socket) -> None:
        while chunk := end.recv(1 << 16):
            end.sendall(chunk)

    threads = [threading.Thread(target=echo, args=(there,)) for _, there in pairs]
    for thread in threads:
        thread.start()
    yield [here for here, _ in pairs]
    for here, there in pairs:
        here.close()
        there.close()
    for thread in threads:
        thread.join()


def test_every_batch_is_sent_once_and_answered(echoing: list[socket.socket]) -> None:
    batches = iter([b"%d\n" % number for number in range(100)])
    run = traffic.drive(echoing, Lines, batches, seconds=60)
    assert run.batches == len(run.latencies) == 100
    assert next(batches, None) is None
    assert 0 < run.percentile(0.5) <= run.percentile(0.999) <= run.elapsed * 1e3


def test_several_batches_may_be_in_flight(echoing: list[socket.socket]) -> None:
    class Words(Lines):
        def received(self, chunk: bytes) -> int:
            return chunk.count(b"\n")

    run = traffic.drive(echoing, Words, iter([b"%d\n" % number for number in range(100)]), seconds=60, in_flight=7)
    assert run.batches == len(run.latencies) == 100


def test_a_load_ends_in_time_and_leaves_no_answer_behind(echoing: list[socket.socket]) -> None:
    run = traffic.drive(echoing, Lines, iter(lambda: b"x\n", None), seconds=0.01)
    assert run.batches >= 3
    for client in echoing:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)


def test_a_server_that_hangs_up_or_falls_silent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "TIMEOUT", 0.01)
    here, there = socket.socketpair()
    with here:
        with there, pytest.raises(BenchError, match="no answer within"):
            traffic.drive([here], Lines, iter([b"x\n"]), seconds=60)
        with pytest.raises(BenchError, match="closed a connection"):
            traffic.drive([here], Lines, iter([b"x\n"]), seconds=60)
