"""Clients while keys are being loaded: at the start of a server, and from the snapshot of a master."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import evio_redis
from evio_redis.persistence.child import Child
from tests.core.harness import TIMEOUT, eventually
from tests.extent import FULL

from .test_replication import FULL_RESYNC, FakeMaster, Kind, follow, ours, real, same
from .wire import Wire

KEYS = 1000
LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"

SLOWLY = 20_000
"""Microseconds a key: a load that does not end by itself while it is looked at."""


@pytest.fixture(
    params=[ours, real] if FULL else [ours], ids=lambda kind: "redis-server" if kind is real else "evio-redis"
)
def slow_replica(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    kind: Kind = real if request.param == "redis-server" else ours
    settings = {"key_load_delay": SLOWLY}
    if kind is real:  # which looks at its clients every so many bytes, and takes up the new delay as rarely
        settings = {"key_load_delay": 5_000, "loading_process_events_interval_bytes": 1024}
    with kind(tmp_path / "b", **settings) as port:
        yield port


def listening(path: Path) -> bool:
    """Tell whether a server accepts at a path: it is there a moment before that."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def check_clients(wire: Wire) -> None:
    """Ask what may be asked now, and what may not."""
    for command in ("PING", "GET k", "DBSIZE", "EVAL 'return 1' 0", "PSYNC ? -1", "SAVE", "WAIT 0 0"):
        assert wire.ask(f"{command}\r\n".encode()) == LOADING, command
    assert wire.ask("CONFIG GET hz").startswith(b"*2\r\n")
    assert wire.ask("CLIENT ID").startswith(b":")
    assert wire.ask("MULTI") == b"+OK\r\n"
    assert wire.ask("GET k") == LOADING
    assert wire.ask("EXEC") == b"-EXECABORT Transaction discarded because of previous errors.\r\n"
    told = wire.ask("INFO persistence").decode()
    fields = dict(line.split(":", 1) for line in told.split("\r\n") if ":" in line)
    assert fields["loading"] == "1"
    assert fields["async_loading"] == "0"
    assert 0 < int(fields["loading_loaded_bytes"]) <= int(fields["loading_total_bytes"])
    assert 0 < float(fields["loading_loaded_perc"]) <= 100
    assert int(fields["loading_start_time"]) > 1_600_000_000


def test_while_a_snapshot_of_the_master_is_loaded(slow_replica: int, tmp_path: Path) -> None:
    with ours(tmp_path / "a") as a, redis.Redis(port=a) as master, redis.Redis(port=slow_replica) as replica:
        replica.set("old", 1)
        with master.pipeline(transaction=False) as pipe:
            for n in range(KEYS):
                pipe.set(f"k{n}", "x" * 100)
            pipe.execute()
        with Wire(slow_replica) as wire, Wire(slow_replica) as queued:
            queued.ask("MULTI")
            queued.ask("GET k")
            replica.replicaof("127.0.0.1", a)
            assert eventually(lambda: replica.info("persistence")["loading"] == 1)
            check_clients(wire)
            assert queued.ask("EXEC").startswith(b"-EXECABORT Transaction discarded because of: LOADING")
            master.set("meanwhile", 1)
            told = replica.info("replication")
            assert (told["master_link_status"], told["master_sync_in_progress"]) == ("down", 1)
            wire.ask("CONFIG SET key-load-delay 0")
            assert eventually(lambda: replica.info("replication")["master_link_status"] == "up")
            assert replica.info("persistence")["loading"] == 0
            assert "loading_total_bytes" not in replica.info("persistence")
        same(master, replica)
        assert replica.get("old") is None


@pytest.mark.parametrize("appendonly", [False, True], ids=["snapshot", "append-only-file"])
def test_at_the_start(
    tmp_path: Path, appendonly: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "evio_redis")
    monkeypatch.setattr("evio_redis.persistence.loading.REPORTED", 0.0)
    settings = {"dir": str(tmp_path), "appendonly": appendonly, "save": "900 1", "port": 0}
    with evio_redis.Server(**settings) as first, redis.Redis(port=first.port) as client:
        for n in range(KEYS):
            client.set(f"k{n}", "x" * 100)
    path = tmp_path / "s"
    server = evio_redis.Server(**settings, unixsocket=str(path), key_load_delay=SLOWLY)
    starting = threading.Thread(target=server.start)
    starting.start()
    try:
        assert eventually(lambda: listening(path))
        with Wire(str(path)) as wire:
            assert eventually(lambda: b"\r\nloading_loaded_bytes:0\r\n" not in wire.ask("INFO persistence"))
            assert not server.serving
            check_clients(wire)
            wire.ask("CONFIG SET key-load-delay 0")
            starting.join(TIMEOUT)
            assert "Loading: " in caplog.text
            assert " MB, about " in caplog.text
            assert server.serving
            assert wire.ask("DBSIZE") == b":%d\r\n" % KEYS
    finally:
        server.stop()
        starting.join(TIMEOUT)


@pytest.mark.parametrize("appendonly", [False, True], ids=["snapshot", "append-only-file"])
def test_a_server_that_ends_while_it_loads_leaves_its_files_alone(tmp_path: Path, appendonly: bool) -> None:
    settings = {"dir": str(tmp_path), "appendonly": appendonly, "save": "900 1", "port": 0}
    with evio_redis.Server(**settings) as first, redis.Redis(port=first.port) as client:
        for n in range(KEYS):
            client.set(f"k{n}", "x" * 100)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    path = tmp_path / "s"
    server = evio_redis.Server(**settings, unixsocket=str(path), key_load_delay=SLOWLY)
    starting = threading.Thread(target=server.start)
    starting.start()
    assert eventually(lambda: listening(path))
    with Wire(str(path)) as wire:
        wire.send("SHUTDOWN SAVE")
        assert wire.rest() == b""
    starting.join(TIMEOUT)
    server.stop()
    assert not server.serving
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_replica_that_ends_while_it_loads_saves_no_half(tmp_path: Path) -> None:
    with ours(tmp_path / "a") as a, redis.Redis(port=a) as master:
        for n in range(KEYS):
            master.set(f"k{n}", "x" * 100)
        with ours(tmp_path / "b", save="900 1", key_load_delay=SLOWLY) as b, redis.Redis(port=b) as replica:
            replica.set("old", 1)
            replica.save()
            replica.replicaof("127.0.0.1", a)
            assert eventually(lambda: replica.info("persistence")["loading"] == 1)
        assert [path.name for path in (tmp_path / "b").iterdir()] == ["dump.rdb"]
        with ours(tmp_path / "b", save="900 1") as b, redis.Redis(port=b) as replica:
            assert replica.keys() == [b"old"]


def test_a_link_that_ends_meanwhile(tmp_path: Path) -> None:
    """The snapshot is whole, so that the next link goes on behind it."""
    with ours(tmp_path / "a") as a, redis.Redis(port=a) as source:
        for n in range(KEYS):
            source.set(f"k{n}", "x" * 100)
        source.save()
        snapshot = (tmp_path / "a" / "dump.rdb").read_bytes()
    master = FakeMaster({"PSYNC": FULL_RESYNC}, b"$%d\r\n%b" % (len(snapshot), snapshot), hang_up=True)
    with ours(tmp_path / "b", key_load_delay=SLOWLY) as b, redis.Redis(port=b) as replica:
        replica.replicaof("127.0.0.1", master.port)
        assert eventually(lambda: replica.info("persistence")["loading"] == 1)
        replica.config_set("key-load-delay", 0)
        assert eventually(lambda: replica.info("persistence")["loading"] == 0)
        assert replica.dbsize() == KEYS
        assert replica.info("replication")["slave_repl_offset"] == 10
        assert eventually(lambda: b"a" * 40 + b"\r\n$2\r\n11\r\n" in master.received)
    master.close()


def test_functions_are_those_of_the_master_after_each_snapshot(tmp_path: Path) -> None:
    code = "#!lua name=mine\nredis.register_function('f', function() return {} end)"
    with ours(tmp_path / "a") as a, ours(tmp_path / "b") as b:
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica:
            replica.function_load(code.replace("mine", "other").replace("'f'", "'g'"))
            master.function_load(code)
            for _ in range(2):
                follow(replica, master)
                assert [each[1] for each in replica.function_list()] == [b"mine"]
                replica.replicaof("NO", "ONE")
                replica.set("diverged", 1)


def test_how_far_a_child_is_stands_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "evio_redis")
    monkeypatch.setattr("evio_redis.persistence.child.REPORTED", 0.0)
    with evio_redis.Server(port=0) as server:
        child = Child(server.services, "writing a snapshot")
        go = tmp_path / "go"  # the child has none of our descriptors

        def write(path: Path) -> None:
            path.write_bytes(bytes(1_500_000))
            assert eventually(go.exists)

        path = tmp_path / "file"
        child.begin(path, write)
        assert child.poll() is None
        assert eventually(lambda: path.exists() and path.stat().st_size == 1_500_000)
        assert child.poll() is None
        assert "Writing a snapshot: 1.5 MB in 0 s so far" in caplog.text
        go.touch()
        assert child.poll(wait=True) == 0
