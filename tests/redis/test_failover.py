"""FAILOVER, between this server and a real redis-server as each other's master and replica."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.core.harness import TIMEOUT, eventually

from .test_replication import PAIRS, Kind, Proxy, follow, ours, real, same
from .wire import Wire


def port_of(client: Any) -> int:
    return int(client.connection_pool.connection_kwargs["port"])


def state_of(client: Any) -> str:
    return str(client.info("replication")["master_failover_state"])


@pytest.fixture(params=PAIRS, ids=["of-redis", "from-redis", "of-itself"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """Clients of a master and of its replica, which is online."""
    first, second = request.param
    with first(tmp_path / "a") as a, second(tmp_path / "b") as b:
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica:
            master.set("k", "v")
            follow(replica, master)
            assert eventually(lambda: "online" in str(master.info("replication").get("slave0")))
            yield master, replica


def test_a_master_hands_over_and_back(pair: tuple[Any, Any]) -> None:
    master, replica = pair
    for old, new, words in ((master, replica, []), (replica, master, ["TO", "127.0.0.1", port_of(master)])):
        assert eventually(lambda old=old: "online" in str(old.info("replication").get("slave0")))  # type: ignore[misc]
        assert old.execute_command("FAILOVER", *words, "TIMEOUT", 60_000) == b"OK"
        assert eventually(lambda new=new: new.role()[0] == b"master")  # type: ignore[misc]
        assert eventually(lambda old=old: old.info("replication").get("master_link_status") == "up")  # type: ignore[misc]
        assert state_of(old) == state_of(new) == "no-failover"
        assert old.info("stats")["sync_full"] + new.info("stats")["sync_full"] == 1  # the first one
        new.set("by", port_of(new))
        same(new, old)


def test_writes_wait_and_none_is_lost(pair: tuple[Any, Any]) -> None:
    master, replica = pair
    acknowledged, refused = [], []

    def write() -> None:
        with redis.Redis(port=port_of(master), single_connection_client=True) as client:
            for n in range(100_000):
                try:
                    client.rpush("l", n)
                except redis.ReadOnlyError:
                    refused.append(n)
                    return
                acknowledged.append(n)

    writer = threading.Thread(target=write)
    writer.start()
    assert eventually(lambda: len(acknowledged) > 20)
    assert master.execute_command("FAILOVER") == b"OK"
    writer.join(TIMEOUT)
    assert refused == [len(acknowledged)]
    assert eventually(lambda: replica.role()[0] == b"master")
    assert [int(each) for each in replica.lrange("l", 0, -1)] == acknowledged
    assert replica.rpush("l", "on") == len(acknowledged) + 1
    same(replica, master)


@pytest.mark.parametrize("kind", [ours, real], ids=["evio-redis", "redis-server"])
def test_waiting_for_a_replica_that_lags(kind: Kind, tmp_path: Path) -> None:
    with kind(tmp_path / "a") as a, ours(tmp_path / "b") as b, redis.Redis(port=a) as master:
        proxy = Proxy(a)
        try:
            with redis.Redis(port=b) as replica, Wire(a) as wire, Wire(a) as blocked:
                replica.replicaof("127.0.0.1", proxy.port)
                assert eventually(lambda: "online" in str(master.info("replication").get("slave0")))
                proxy.hold()
                master.set("k", 1)
                assert wire.ask("FAILOVER TIMEOUT 600000") == b"+OK\r\n"
                assert state_of(master) == "waiting-for-sync"
                assert wire.ask("FAILOVER") == b"-ERR FAILOVER already in progress.\r\n"
                assert wire.ask("REPLICAOF NO ONE") == b"-ERR REPLICAOF not allowed while failing over.\r\n"
                assert wire.ask("GET k") == b"$1\r\n1\r\n"
                assert wire.ask("CLIENT UNPAUSE") == b"+OK\r\n"
                blocked.send("SET k 2")
                assert eventually(lambda: master.info("clients")["blocked_clients"] == 1)
                assert wire.ask("FAILOVER ABORT") == b"+OK\r\n"
                assert blocked.reply() == b"+OK\r\n"
                assert state_of(master) == "no-failover"
                assert wire.ask("FAILOVER ABORT") == b"-ERR No failover in progress.\r\n"
                assert wire.ask("FAILOVER TIMEOUT 10") == b"+OK\r\n"
                assert eventually(lambda: state_of(master) == "no-failover")
                assert wire.ask("ROLE").startswith(b"*3\r\n$6\r\nmaster")
                proxy.release()
                same(master, replica)
        finally:
            proxy.close()


@pytest.mark.parametrize("kind", [ours, real], ids=["evio-redis", "redis-server"])
def test_a_target_that_does_not_answer_and_an_abort(kind: Kind, tmp_path: Path) -> None:
    with kind(tmp_path / "a") as a, ours(tmp_path / "b", replica_announce_port=1) as b, redis.Redis(port=a) as master:
        with redis.Redis(port=b) as replica, Wire(a) as wire, Wire(a) as waiting:
            follow(replica, master)
            assert eventually(lambda: "online" in str(master.info("replication").get("slave0")))
            waiting.send("BLPOP nothing 0")
            assert eventually(lambda: master.info("clients")["blocked_clients"] == 1)
            assert wire.ask("FAILOVER TO 127.0.0.1 1 TIMEOUT 60000 FORCE") == b"+OK\r\n"
            assert eventually(lambda: state_of(master) == "failover-in-progress")
            assert wire.ask("ROLE").startswith(b"*5\r\n$5\r\nslave")
            assert waiting.rest().startswith(b"-UNBLOCKED force unblock from blocking operation")
            assert wire.ask("FAILOVER ABORT") == b"+OK\r\n"
            assert wire.ask("ROLE").startswith(b"*3\r\n$6\r\nmaster")
            assert wire.ask("SET k 1") == b"+OK\r\n"
            assert state_of(master) == "no-failover"


REFUSED = {
    "FAILOVER": b"-ERR FAILOVER requires connected replicas.\r\n",
    "FAILOVER ABORT": b"-ERR No failover in progress.\r\n",
    "FAILOVER TO localhost": b"-ERR syntax error\r\n",
    "FAILOVER TO localhost x": b"-ERR value is not an integer or out of range\r\n",
    "FAILOVER TIMEOUT 0": b"-ERR FAILOVER timeout must be greater than 0\r\n",
    "FAILOVER TIMEOUT": b"-ERR syntax error\r\n",
    "FAILOVER FORCE FORCE": b"-ERR syntax error\r\n",
    "FAILOVER ABORT FORCE": b"-ERR syntax error\r\n",
    "PSYNC ? 1 FAILOVER": b"-ERR PSYNC FAILOVER can't be sent to a master.\r\n",
}


@pytest.mark.parametrize("kind", [ours, real], ids=["evio-redis", "redis-server"])
def test_what_is_refused(kind: Kind, tmp_path: Path) -> None:
    with kind(tmp_path / "a") as a, ours(tmp_path / "b") as b, Wire(a) as wire, Wire(b) as replica:
        for command, reply in REFUSED.items():
            assert wire.ask(command) == reply, command
        with redis.Redis(port=a) as master, redis.Redis(port=b) as client:
            follow(client, master)
            force = b"-ERR FAILOVER with force option requires both a timeout and target HOST and IP.\r\n"
            assert wire.ask("FAILOVER FORCE") == force
            assert wire.ask("FAILOVER TO nowhere 1") == b"-ERR FAILOVER target HOST and PORT is not a replica.\r\n"
            assert replica.ask("FAILOVER") == b"-ERR FAILOVER is not valid when server is a replica.\r\n"
            assert replica.ask("PSYNC x 1 FAILOVER") == b"-ERR PSYNC FAILOVER replid must match my replid.\r\n"
