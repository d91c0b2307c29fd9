"""redis-sentinel: the master is killed, a replica is promoted, the old master comes back as a replica."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.sentinel import Sentinel

from tests.core.harness import eventually, needs
from tests.extent import FULL
from tests.popen import Popen
from tests.ports import free_port, free_ports

pytestmark = pytest.mark.timeout(150)

TIMEOUT = 40.0


class Process:
    """A server that can be killed and started again, on the same port."""

    def __init__(self, command: list[str], directory: Path, port: int) -> None:
        self.port = port
        self._command = command
        self._directory = directory
        directory.mkdir()
        self.start()

    def start(self) -> None:
        with open(self._directory / "log", "ab") as log:
            self._process = Popen(self._command, cwd=self._directory, stdout=log, stderr=log)
        assert eventually(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._directory / "log").read_text()
        with contextlib.suppress(redis.ConnectionError), redis.Redis(port=self.port) as client:
            return bool(client.ping())
        return False

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(TIMEOUT)


Start = Callable[[int, Path], Process]


def ours(port: int, directory: Path) -> Process:
    return Process(
        [sys.executable, "-m", "evio_redis", "--port", str(port), "--repl-diskless-sync-delay", "0"], directory, port
    )


def real(port: int, directory: Path) -> Process:
    return Process([needs("redis-server"), "--port", str(port), "--save", ""], directory, port)


def sentinel(port: int, directory: Path, master: int) -> Process:
    directory.mkdir()
    (directory / "sentinel.conf").write_text(
        f"port {port}\n"
        f"sentinel monitor store 127.0.0.1 {master} 2\n"
        "sentinel down-after-milliseconds store 1000\n"
        "sentinel failover-timeout store 10000\n"
    )
    command = [needs("redis-server"), str(directory / "sentinel.conf"), "--sentinel"]
    return Process(command, directory / "work", port)


SETS = [(ours, ours, real), (ours, ours, ours)]


@pytest.fixture(params=SETS if FULL else SETS[:1], ids=lambda starts: "-".join(each.__name__ for each in starts))
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Process]]:
    """A master and its replicas."""
    with contextlib.ExitStack() as stack:
        started = []
        for number, start in enumerate(request.param):
            process = start(free_port(), tmp_path / str(number))
            stack.callback(process.kill)
            started.append(process)
        for replica in started[1:]:
            with redis.Redis(port=replica.port) as client:
                client.replicaof("127.0.0.1", started[0].port)
        yield started


def until(condition: Callable[[], Any], error: tuple[type[Exception], ...]) -> bool:
    """Look until it holds, for a time that a failover may take; what fails meanwhile does not count."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with contextlib.suppress(*error):
            if condition():
                return True
        time.sleep(0.05)
    return False


def test_a_replica_is_promoted_and_nothing_acknowledged_is_missing(servers: list[Process], tmp_path: Path) -> None:
    first = servers[0]
    failures = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, redis.exceptions.ResponseError)
    with contextlib.ExitStack() as stack:
        ports = [*free_ports(3)]
        for number, port in enumerate(ports):
            stack.callback(sentinel(port, tmp_path / f"sentinel{number}", first.port).kill)
        found: Any = Sentinel(  # type: ignore[no-untyped-call]
            [("127.0.0.1", port) for port in ports], socket_timeout=5
        )
        for each in found.sentinels:
            stack.callback(each.close)
        assert until(lambda: all(len(each.sentinel_slaves("store")) == 2 for each in found.sentinels), failures)
        assert until(lambda: all(len(each.sentinel_sentinels("store")) == 2 for each in found.sentinels), failures)

        client: Any = found.master_for("store", socket_timeout=5)
        stack.callback(client.close)
        acknowledged: list[int] = []

        def write(number: int) -> bool:
            client.set(f"k{number}", number)
            if client.wait(1, 2000) < 1:
                return False
            acknowledged.append(number)
            return True

        number = 0
        while len(acknowledged) < 50:
            number += 1
            with contextlib.suppress(*failures):
                write(number)
        first.kill()
        before = len(acknowledged)
        deadline = time.monotonic() + TIMEOUT
        while len(acknowledged) < before + 50 and time.monotonic() < deadline:
            number += 1
            try:
                write(number)
            except failures:
                time.sleep(0.05)
        assert len(acknowledged) == before + 50
        assert found.discover_master("store")[1] != first.port
        assert [each for each in acknowledged if client.get(f"k{each}") != str(each).encode()] == []

        first.start()  # the sentinels make it a replica of the new master
        with redis.Redis(port=first.port) as old:
            assert until(lambda: old.role()[0] == b"slave", failures)
            assert until(lambda: old.get(f"k{number}") == str(number).encode(), failures)
