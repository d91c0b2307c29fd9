"""Masters and replicas that do not fit: one clear line each, nothing lost, and a good one is followed next."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from evio_redis.persistence.aof.encode import encode
from tests.core.harness import eventually, resident

from .test_replication import FULL_RESYNC, FakeMaster, Kind, follow, ours, real
from .wire import Wire

HEADER, END = b"REDIS0010", b"\xff" + bytes(8)  # a checksum of 0 is none
HUGE = b"\x81" + (1 << 60).to_bytes(8, "big")
"""A length of 64 bits."""

SNAPSHOTS = {
    "of a later version": (b"REDIS0099" + END, "version"),
    "no snapshot": (b"<html><body>302 Found</body></html>", "not an RDB file"),
    "of a type that there is not": (HEADER + b"\x63\x01k\x01v" + END, "type 99"),
    "with a string of an exabyte": (HEADER + b"\x00\x01k" + HUGE + b"v" + END, "ends too early"),
    "with a key of an exabyte": (HEADER + b"\x00" + HUGE + b"k" + END, "ends too early"),
    "with a list of 2**60 members": (HEADER + b"\x01\x01k" + HUGE + b"\x01v" + END, "unknown kind of string"),
    "with a wrong checksum": (HEADER + b"\x00\x01k\x01v\xff" + b"12345678", "checksum"),
}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings and errors that were logged, each once: a replica tries again each second."""
    return list(dict.fromkeys(each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING))


def link(client: Any) -> str:
    return str(client.info("replication").get("master_link_status"))


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_hostile_snapshot(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    snapshot, said = SNAPSHOTS[name]
    master = FakeMaster({"PSYNC": FULL_RESYNC}, b"$%d\r\n%b" % (len(snapshot), snapshot))
    with ours(tmp_path / "b") as port, redis.Redis(port=port) as replica, ours(tmp_path / "a") as good:
        before = resident()
        replica.replicaof("127.0.0.1", master.port)
        assert eventually(lambda: any("cannot go on" in each for each in warnings(caplog))), caplog.text
        assert link(replica) == "down"
        master.close()
        assert resident() - before < 64 << 20
        (line,) = (each for each in warnings(caplog) if "cannot go on" in each)
        assert said in line
        assert "\n" not in line
        assert "Traceback" not in caplog.text
        with redis.Redis(port=good) as other:
            other.set("k", "good")
            follow(replica, other)
            assert replica.get("k") == b"good"
    assert list((tmp_path / "b").glob("temp-*")) == []


@pytest.mark.parametrize("kind", [ours, real], ids=["evio-redis", "redis-server"])
@pytest.mark.parametrize("password", ["wrong", ""], ids=["wrong", "none"])
def test_a_password_that_the_master_does_not_take(
    kind: Kind, password: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with kind(tmp_path / "a", requirepass="secret") as a, ours(tmp_path / "b", masterauth=password) as b:
        with redis.Redis(port=a, password="secret") as master, redis.Redis(port=b) as replica:
            master.set("k", "v")
            replica.set("own", 1)
            replica.replicaof("127.0.0.1", a)
            error = "Unable to AUTH to MASTER: -WRONGPASS" if password else "-NOAUTH"
            assert eventually(lambda: any(error in each for each in warnings(caplog))), caplog.text
            assert len([each for each in warnings(caplog) if error in each]) == 1
            assert link(replica) == "down"
            assert replica.get("own") == b"1"  # nothing is removed before there is something in its place
            assert master.info("replication")["connected_slaves"] == 0
            replica.config_set("masterauth", "secret")
            assert eventually(lambda: link(replica) == "up")
            assert replica.get("k") == b"v"


def test_a_replica_without_the_password_of_ours(tmp_path: Path) -> None:
    with ours(tmp_path / "a", requirepass="secret") as port, Wire(port) as stranger:
        for command in ("PSYNC ? -1", "REPLCONF listening-port 1", "SYNC"):
            assert stranger.ask(command) == b"-NOAUTH Authentication required.\r\n"
        with redis.Redis(port=port, password="secret") as client:
            assert client.info("replication")["connected_slaves"] == 0


def test_a_replica_that_never_reads_is_said_to_be_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limits: dict[str, Any] = {"client_output_buffer_limit": "replica 1mb 0 0"}
    with ours(tmp_path / "a", **limits) as port, real(tmp_path / "b") as b, Wire(port) as lazy:
        with redis.Redis(port=port) as client, redis.Redis(port=b) as good:
            follow(good, client)
            lazy.send(encode([b"PSYNC", b"?", b"-1"]))
            assert eventually(lambda: client.info("replication")["connected_slaves"] == 2)

            def dropped() -> bool:
                client.set("k", "x" * 100_000)
                return bool(client.info("replication")["connected_slaves"] == 1)

            assert eventually(dropped)
            assert len([each for each in warnings(caplog) if re.search("bytes of output pending|pending", each)]) == 1
            client.set("last", 1)
            assert eventually(lambda: good.get("last") == b"1")  # the other one stays


def test_a_master_that_knows_no_psync(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Redis before 2.8."""
    master = FakeMaster({"PSYNC": b"-ERR unknown command 'PSYNC'\r\n"})
    with ours(tmp_path) as port, redis.Redis(port=port) as replica:
        replica.set("own", 1)
        replica.replicaof("127.0.0.1", master.port)
        line = "it replies to PSYNC: -ERR unknown command 'PSYNC'"
        assert eventually(lambda: any(line in each for each in warnings(caplog))), caplog.text
        assert replica.get("own") == b"1"
        assert len([each for each in warnings(caplog) if line in each]) == 1
    master.close()


@pytest.mark.parametrize("length", [1, 3])
def test_a_cycle_of_replicas_loses_nothing(length: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(ours(tmp_path / str(number))) for number in range(length)]
        clients: list[Any] = [stack.enter_context(redis.Redis(port=port)) for port in ports]
        for number, client in enumerate(clients):
            client.set("own", number)
        for number, client in enumerate(clients):
            client.replicaof("127.0.0.1", ports[(number + 1) % length])
        refused: Callable[[str], bool] = lambda each: "NOMASTERLINK" in each  # noqa: E731
        assert eventually(lambda: any(map(refused, warnings(caplog)))), caplog.text
        assert len(list(filter(refused, warnings(caplog)))) == 1
        assert all(client.ping() for client in clients)
        clients[0].replicaof("NO", "ONE")
        assert clients[0].set("root", 1)
        for client in clients[1:]:
            assert eventually(lambda client=client: client.get("root") == b"1")  # type: ignore[misc]
            assert client.get("own") == clients[0].get("own")
    assert "Traceback" not in caplog.text
