"""The examples of ``examples/scale-out`` with the engines that they name, on other ports than theirs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry

import evio_redis
from evio_redis.cluster.nodes import read_map
from tests.core.harness import needs
from tests.extent import FULL, full_only
from tests.popen import Popen, run
from tests.ports import free_port, free_ports

from .running import ROOT

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="the engines are those of a Linux machine"),
]

TIMEOUT = 60.0
"""Seconds that anything may take. Each example starts up to seven processes."""

FAILURES = (redis.ConnectionError, redis.TimeoutError, redis.ResponseError)

FORTHCOMING = Retry(ConstantBackoff(0.1), 300)
"""Tries again for 30 s, as a program may that has nothing else to do."""


class Set:
    """The processes of an example, with files in ``directory`` and other ports than it says."""

    def __init__(self, directory: Path, ports: dict[int, int]) -> None:
        self.directory = directory
        self._ports = ports

    def port(self, number: int) -> int:
        """The port that stands for one of the example."""
        return self._ports[number]

    def client(self, number: int, **settings: Any) -> Any:
        """A client that tries again, without what proxies do not understand."""
        settings = {"protocol": 2, "driver_info": None, "retry": FORTHCOMING, "socket_timeout": 10, **settings}
        return redis.Redis(port=self.port(number), retry_on_error=[*FAILURES], **settings)

    def file(self, name: str) -> Path:
        """A file that the processes have made. Raises ``OSError`` as long as they have not."""
        found = next(self.directory.glob(f"tmp.*/{name}"), None)
        if found is None:
            raise FileNotFoundError(name)
        return found

    def log(self) -> str:
        """All that they have said."""
        return (self.directory / "output").read_text()

    def kill(self, number: int) -> None:
        """Kill the server that listens on a port of the example."""
        os.kill(int(self.file(f"{self.port(number)}/pid").read_text()), signal.SIGKILL)


def until(condition: Callable[[], Any], running: Set) -> None:
    """Wait until it is true; what fails meanwhile is not."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with contextlib.suppress(*FAILURES, OSError):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError(running.log())


@contextlib.contextmanager
def running(name: str, directory: Path, *engines: str) -> Iterator[Set]:
    """Run ``run.sh`` of an example until the block ends. It has to end all that it has started."""
    for engine in engines:
        needs(engine)
    copy = directory / "example"
    shutil.copytree(ROOT / "scale-out" / name, copy)
    texts = {path: path.read_text() for path in copy.iterdir()}
    numbers = sorted(set(map(int, re.findall(r"\b[68]4\d\d\b", "".join(texts.values())))))
    ports = dict(zip(numbers, free_ports(len(numbers)), strict=True))
    for path, text in texts.items():
        path.write_text(re.sub(r"\b[68]4\d\d\b", lambda found: str(ports[int(found[0])]), text))
    environment = {**os.environ, "PATH": f"{sys.prefix}/bin:/usr/sbin:{os.environ['PATH']}", "TMPDIR": str(directory)}
    with open(directory / "output", "wb") as output:
        process = subprocess.Popen(
            [copy / "run.sh"], stdout=output, stderr=output, env=environment, start_new_session=True
        )
    try:
        yield Set(directory, ports)
        process.terminate()
        assert process.wait(TIMEOUT) == 128 + signal.SIGTERM
        assert not list(directory.glob("tmp.*"))
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT)


# -- nutcracker


def test_shards_share_the_keys_and_one_that_is_gone_is_left_out(tmp_path: Path) -> None:
    with running("shards", tmp_path, "nutcracker") as shards, shards.client(6410) as client:
        with contextlib.ExitStack() as stack:
            each = [stack.enter_context(shards.client(port)) for port in (6411, 6412, 6413)]

            def all_are_used() -> bool:
                """Nutcracker leaves those out that were not there when it began, and asks again later."""
                for shard in each:
                    shard.flushall()
                for number in range(60):
                    client.set(f"probe{number}", number)
                return all(shard.dbsize() > 5 for shard in each)

            until(all_are_used, shards)
            for shard in each:
                shard.flushall()
        for number in range(300):
            assert client.set(f"k{number}", number)
        assert client.mget([f"k{n}" for n in range(300)]) == [b"%d" % n for n in range(300)]
        assert client.mset({f"{{same}}{n}": n for n in range(10)})
        sizes = []
        for port in (6411, 6412, 6413):
            with shards.client(port) as shard:
                sizes.append(shard.dbsize())
        assert sum(sizes) == 310
        assert min(sizes) > 50

        with shards.client(6412) as shard:
            lost = [key for key in (f"k{n}" for n in range(300)) if shard.exists(key)]
        shards.kill(6412)
        for key in lost:  # which redis-py tries again, until nutcracker has left the shard out
            assert client.set(key, "elsewhere")
        with shards.client(6411) as one, shards.client(6413) as three:
            assert [one.exists(key) + three.exists(key) for key in lost] == [1] * len(lost)

        with shards.client(6411) as one, shards.client(6413) as three:
            moved = [key for key in lost if one.exists(key)]
            assert moved
            to = ("127.0.0.1", shards.port(6413), "", 0, 10_000)
            assert one.execute_command("MIGRATE", *to, "KEYS", *moved) == b"OK"
            assert (one.exists(*moved), three.exists(*moved)) == (0, len(moved))

        data = shards.file(str(shards.port(6412)))
        again = [sys.executable, "-m", "evio_redis", "--port", str(shards.port(6412)), "--dir", str(data)]
        with Popen([*again, "--appendonly", "yes"], stdout=subprocess.DEVNULL) as process:
            try:
                until(lambda: client.get(lost[0]) == lost[0][1:].encode(), shards)  # it has its keys, and serves them
            finally:
                process.kill()


# -- HAProxy

BACKUP = """
defaults
    mode tcp
    timeout connect 1s
    timeout check 1s
    timeout client 1m
    timeout server 1m
    default-server inter 100ms fall 2 rise 1 on-marked-down shutdown-sessions
listen redis
    bind 127.0.0.1:{port}
    option redis-check
    server first 127.0.0.1:{first} check
    server second 127.0.0.1:{second} check backup
"""


def test_a_backup_that_is_empty_takes_over(tmp_path: Path) -> None:
    haproxy = needs("haproxy")
    first = evio_redis.Server(port=0)
    with contextlib.ExitStack() as stack:
        second = stack.enter_context(evio_redis.Server(port=0))
        stack.callback(first.stop)
        first.start()
        port = free_port()
        configuration = tmp_path / "haproxy.cfg"
        configuration.write_text(BACKUP.format(port=port, first=first.port, second=second.port))
        process = stack.enter_context(subprocess.Popen([haproxy, "-f", configuration], stderr=subprocess.DEVNULL))
        stack.callback(process.kill)
        settings: dict[str, Any] = {"retry": FORTHCOMING, "retry_on_error": [*FAILURES], "socket_timeout": 10}
        with redis.Redis(port=port, **settings) as client:
            assert client.set("key", 1)
            assert client.get("key") == b"1"
            first.stop()
            assert client.get("key") is None  # of the backup, which replicates nobody
            assert client.set("key", 2)
        with redis.Redis(port=second.port) as backup:
            assert backup.get("key") == b"2"


# -- HAProxy and Sentinel


@pytest.mark.skipif(not FULL, reason="tests/redis/test_sentinel.py has the failover, without HAProxy")
def test_haproxy_follows_the_master(tmp_path: Path) -> None:
    with running("failover", tmp_path, "haproxy", "redis-sentinel") as servers:
        with servers.client(6420) as client, servers.client(6429) as reader:
            until(lambda: len(client.role()[2]) == 2, servers)
            for port in (6424, 6425, 6426):
                with servers.client(port) as each:
                    until(lambda each=each: len(each.sentinel_sentinels("store")) == 2, servers)  # type: ignore[misc]
                    until(lambda each=each: len(each.sentinel_slaves("store")) == 2, servers)  # type: ignore[misc]
            assert client.set("before", 1)
            assert client.wait(2, 10_000) == 2
            until(lambda: reader.get("before") == b"1", servers)
            assert reader.role()[0] == b"slave"

            commands = b"".join(b"SET k%d %d\r\n" % (n, n) for n in range(5000))
            cli = [needs("redis-cli"), "-p", str(servers.port(6420))]
            piped = subprocess.run([*cli, "--pipe"], input=commands, capture_output=True, timeout=TIMEOUT, check=True)
            assert b"errors: 0, replies: 5000" in piped.stdout
            copy = tmp_path / "copy.rdb"
            subprocess.run([*cli, "--rdb", str(copy)], capture_output=True, timeout=TIMEOUT, check=True)
            checked = [sys.executable, "-m", "evio_redis", "--check", str(copy)]
            assert "5001 keys" in subprocess.run(checked, capture_output=True, text=True, check=True).stdout

            first = client.info("server")["run_id"]
            servers.kill(6421)
            assert client.set("after", 2)  # redis-py tries again until Sentinel has promoted a replica
            assert client.info("server")["run_id"] != first
            assert client.mget("before", "k4999") == [b"1", b"4999"]
            until(lambda: reader.get("after") == b"2", servers)


# -- a cluster whose shards fail over


def slot_owners(client: Any) -> dict[str, str]:
    """The slots of each master, as a server says."""
    nodes = client.execute_command("CLUSTER", "NODES").decode().splitlines()
    lines = [node.split() for node in nodes]
    return {line[8].partition("-")[0]: line[1].partition("@")[0] for line in lines if line[8:]}


@pytest.mark.skipif(not FULL, reason="tests/redis has the cluster and the failover, and below is the script")
def test_sentinel_writes_the_map_of_a_cluster(tmp_path: Path) -> None:
    with running("cluster", tmp_path, "redis-sentinel") as servers:
        with servers.client(6452) as second, servers.client(6453) as replica:
            for port in (6457, 6458, 6459):
                with servers.client(port) as each:
                    for name in ("first", "second"):
                        until(lambda each=each, name=name: len(each.sentinel_slaves(name)) == 1, servers)  # type: ignore[misc]
                        until(lambda each=each, name=name: len(each.sentinel_sentinels(name)) == 2, servers)  # type: ignore[misc]
            node: Any = ClusterNode
            start = [node("127.0.0.1", servers.port(port)) for port in (6451, 6452)]
            cluster: Any = RedisCluster(startup_nodes=start, retry=FORTHCOMING, socket_timeout=10)
            for number in range(100):
                assert cluster.set(f"k{number}", number)
            until(lambda: replica.info("replication")["master_link_status"] == "up", servers)
            with servers.client(6451) as first:
                assert first.wait(1, 10_000) == 1
            servers.kill(6451)
            until(lambda: slot_owners(second)["0"] == f"127.0.0.1:{servers.port(6453)}", servers)
            assert slot_owners(second)["8192"] == f"127.0.0.1:{servers.port(6452)}"
            for number in range(100):
                assert cluster.get(f"k{number}") == str(number).encode()
                assert cluster.set(f"k{number}", "new")
            cluster.close()

            directory = servers.file(str(servers.port(6451)))
            command = [
                sys.executable,
                "-m",
                "evio_redis",
                "--port",
                str(servers.port(6451)),
                "--cluster-enabled",
                "yes",
            ]
            with Popen([*command, "--dir", str(directory)], stdout=subprocess.DEVNULL) as process:
                try:
                    with servers.client(6451) as first:
                        until(lambda: first.role()[0] == b"slave", servers)
                        until(lambda: first.info("replication")["master_link_status"] == "up", servers)
                finally:
                    process.kill()


PROMOTE = ROOT / "scale-out/cluster/promote.py"
CALL = ["--", "first", "leader", "end", "127.0.0.1", "6451", "127.0.0.1", "6453"]


def promoted(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(PROMOTE), *arguments]
    return run(command, timeout=TIMEOUT)


def test_a_map_is_rewritten_once_and_wrong_ones_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "nodes.conf"
    one, two, three, four = (f"{number:040}" for number in (1, 2, 3, 4))
    path.write_text(
        f"# a comment\n{one} 127.0.0.1:6451@0 myself,master - 0 0 1 connected 0-8191 9000\n"
        f"{two} 127.0.0.1:6452@0 master - 0 0 1 connected 8192-8999\n"
        f"{three} 127.0.0.1:6453@0 slave {one}\n{four} 127.0.0.1:6454@0 slave {one} 0 0 1 connected\n"
    )
    wanted = [
        f"{one} 127.0.0.1:6451@0 myself,slave {three} 0 0 1 connected",
        f"{two} 127.0.0.1:6452@0 master - 0 0 1 connected 8192-8999",
        f"{three} 127.0.0.1:6453@0 master - - - - - 0-8191 9000",
        f"{four} 127.0.0.1:6454@0 slave {three} 0 0 1 connected",
    ]
    for _ in range(2):  # by each Sentinel
        done = promoted(str(path), *CALL)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert path.read_text().splitlines() == wanted
    assert read_map(path).masters[0].port == 6453

    for arguments, status, said in (
        ([str(path), *CALL[:-1], "6460"], 2, f"promote: {path}: no node is 127.0.0.1:6460"),
        ([str(tmp_path / "none"), *CALL], 1, "No such file or directory"),
        ([str(path)], 2, "usage: promote.py MAP"),
        ([str(path), *CALL[:-1]], 2, "usage: promote.py MAP"),
    ):
        done = promoted(*arguments)
        assert done.returncode == status
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    assert path.read_text().splitlines() == wanted


# -- the PROXY protocol


def addresses(said: str) -> list[str]:
    return re.findall(r"\baddr=(\S+):\d+ ", said)


def get(port: int, path: str, source: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT, (source, 0)) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while piece := sock.recv(65536):
            received += piece
        return received


@full_only
def test_clients_behind_haproxy_are_known(tmp_path: Path) -> None:
    with running("proxy-protocol", tmp_path, "haproxy") as servers:
        for port in (6430, 6431):  # version 1 and 2
            with servers.client(port) as client:
                until(client.ping, servers)
            with socket.create_connection(("127.0.0.1", servers.port(port)), TIMEOUT, ("127.0.0.5", 0)) as sock:
                sock.sendall(b"CLIENT LIST\r\nQUIT\r\n")
                said = b""
                while piece := sock.recv(65536):
                    said += piece
            assert "127.0.0.5" in addresses(said.decode())
        with servers.client(6432) as client:  # not through HAProxy, whose checks are clients of this machine
            assert set(addresses(client.execute_command("CLIENT", "LIST", parse=False).decode())) <= {"127.0.0.1"}
        for number, port in enumerate((8430, 8431, 8432)):
            path, source = f"/?{port}", f"127.0.0.{number + 6}"
            until(lambda port=port: b" 200 " in get(servers.port(port), "/", "127.0.0.1"), servers)  # type: ignore[misc]
            assert b"hello" in get(servers.port(port), path, source)
            logged = re.compile(rf'^{source} - - \[.*\] "GET {re.escape(path)} ', re.MULTILINE)
            until(lambda logged=logged: logged.search(servers.log()), servers)  # type: ignore[misc]


# -- nginx


@full_only
def test_nginx_caches_and_balances_over_tcp_and_unix(tmp_path: Path) -> None:
    with running("cache", tmp_path, "nginx") as servers:
        port = servers.port(8440)

        def cached(page: int) -> str:
            answer = get(port, f"/{page}.html", "127.0.0.1")
            assert b"page %d" % page in answer, answer
            return str(re.findall(r"X-Cache: (\w+)", answer.decode())[0])

        logs = ("one.log", "two.log", "three.log")

        def all_are_used() -> bool:
            """Nginx leaves those out that were not there when it began, and asks again later."""
            get(port, f"/{time.monotonic()}", "127.0.0.1")
            return all(servers.file(name).read_text() for name in logs)

        logs = ("one.log", "two.log", "three.log")
        until(lambda: b" 200 " in get(port, "/1.html", "127.0.0.1"), servers)
        until(all_are_used, servers)
        for page in range(1, 10):
            cached(page)
            assert cached(page) == "HIT"
        assert get(port, "/none", "127.0.0.9").startswith(b"HTTP/1.1 404 ")
        # nginx says who asked, over TCP and over the unix socket.
        until(lambda: any("127.0.0.9 " in servers.file(name).read_text() for name in logs), servers)
