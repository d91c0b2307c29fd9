"""A cluster whose map is a file: clients of clusters find the node that has a key."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from redis.cluster import ClusterNode, LoadBalancingStrategy, RedisCluster

import evio_redis
from evio_redis.__main__ import main
from evio_redis.cluster.nodes import make_lines, read_map
from evio_redis.cluster.slots import SLOTS, slot_of
from tests.core.harness import TIMEOUT, eventually, needs
from tests.popen import Popen, run
from tests.ports import free_port, free_ports
from tests.tables import each_row

from .conftest import execute
from .wire import Wire, redis_server

NODE: Any = ClusterNode
IDS = [f"{number:040x}" for number in range(1, 5)]


@contextlib.contextmanager
def serving(directory: Path, maps: list[str], ports: list[int], **settings: Any) -> Iterator[list[evio_redis.Server]]:
    """A server for each map, which is told its own."""
    with contextlib.ExitStack() as stack:
        servers = []
        for number, (text, port) in enumerate(zip(maps, ports, strict=True)):
            folder = directory / str(number)
            folder.mkdir()
            (folder / "nodes.conf").write_text(text)
            given = {"repl_diskless_sync_delay": 0} | settings
            server = evio_redis.Server(port=port, dir=str(folder), cluster_enabled="yes", **given)
            servers.append(stack.enter_context(server))
        yield servers


def masters(ports: list[int]) -> list[str]:
    nodes = [(identity, "127.0.0.1", port) for identity, port in zip(IDS, ports, strict=False)]
    return ["".join(f"{line}\n" for line in make_lines(nodes, identity)) for identity, _, _ in nodes]


def redis_cluster_node() -> contextlib.AbstractContextManager[int]:
    return redis_server("--cluster-enabled", "yes", "--cluster-port", str(free_port()))


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[list[int]]:
    """The ports of three masters."""
    chosen = [*free_ports(3)]
    with serving(tmp_path, masters(chosen), chosen):
        yield chosen


def test_slots_are_those_of_redis() -> None:
    keys = [
        b"",
        b"a",
        b"foo",
        b"{user}.a",
        b"{user}.b",
        b"{}x",
        b"a{}b",
        b"{",
        b"x{y",
        b"{a}{b}",
        b"\xff\x00\r\n",
        b"{{a}}",
    ]
    with (
        redis_server("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as port,
        redis.Redis(port=port) as client,
    ):
        asked: Any = client
        assert [asked.execute_command("CLUSTER", "KEYSLOT", key) for key in keys] == list(map(slot_of, keys))


def test_a_cluster_client_uses_all_nodes(ports: list[int]) -> None:
    client: Any = RedisCluster(startup_nodes=[NODE("127.0.0.1", ports[0])])
    for n in range(300):
        client.set(f"k{n}", n)
        client.hset(f"{{h{n}}}", "f", n)
    assert [client.get(f"k{n}") for n in range(300)] == [str(n).encode() for n in range(300)]
    assert client.dbsize(target_nodes="all") == 600
    counts = []
    for port in ports:
        with redis.Redis(port=port) as node:
            counts.append(node.dbsize())
    assert sum(counts) == 600
    assert min(counts) > 100
    assert client.mget_nonatomic([f"k{n}" for n in range(10)]) == [str(n).encode() for n in range(10)]
    with client.pipeline() as pipe:
        for n in range(100):
            pipe.incr(f"k{n}")
        assert pipe.execute() == list(range(1, 101))
    assert client.eval("return redis.call('GET', KEYS[1])", 1, "k5") == b"6"
    client.close()


def test_what_another_node_has_is_moved(ports: list[int]) -> None:
    with Wire(ports[0]) as wire:
        slot = slot_of(b"foo")
        owner = slot * 3 // SLOTS
        assert owner == 2
        moved = b"-MOVED %d 127.0.0.1:%d\r\n" % (slot, ports[owner])
        for command in ("GET foo", "SET foo bar", "DEL foo", "TYPE foo", "MGET foo {foo}x", "EVAL return(1) 1 foo"):
            assert wire.ask(command) == moved, command
        cross = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"
        for command in ("MGET foo bar", "MSET foo 1 bar 2", "SUNIONSTORE foo bar baz", "EVAL return(1) 2 foo bar"):
            assert wire.ask(command) == cross, command
        assert wire.ask("MULTI") == b"+OK\r\n"
        assert wire.ask("GET foo") == moved
        assert wire.ask("EXEC").startswith(b"-EXECABORT")
    with Wire(ports[2]) as wire:
        assert wire.ask("MULTI") == b"+OK\r\n"
        assert wire.ask("SET foo bar") == b"+QUEUED\r\n"
        assert wire.ask("GET {foo}2") == b"+QUEUED\r\n"
        assert wire.ask("EXEC") == b"*2\r\n+OK\r\n$-1\r\n"
        near = next(f"k{n}" for n in range(100) if slot_of(b"k%d" % n) * 3 // SLOTS == 2)
        assert wire.ask("MULTI") == b"+OK\r\n"
        assert wire.ask("SET foo bar") == b"+QUEUED\r\n"
        assert wire.ask(f"SET {near} 1") == b"+QUEUED\r\n"
        assert wire.ask("EXEC") == cross
        for command, error in (
            ("SELECT 1", b"-ERR SELECT is not allowed in cluster mode\r\n"),
            ("SWAPDB 0 1", b"-ERR SWAPDB is not allowed in cluster mode\r\n"),
            ("MOVE foo 1", b"-ERR MOVE is not allowed in cluster mode\r\n"),
            ("COPY foo {foo}2 DB 1", b"-ERR Copying to another database is not allowed in cluster mode\r\n"),
            ("CLUSTER ADDSLOTS 1", b"-ERR The map of this cluster is a file"),
            ("CLUSTER KEYSLOT foo", b":%d\r\n" % slot_of(b"foo")),
            ("CLUSTER COUNTKEYSINSLOT 12182", b":1\r\n"),
            ("CLUSTER GETKEYSINSLOT 12182 10", b"*1\r\n$3\r\nfoo\r\n"),
            ("CLUSTER COUNTKEYSINSLOT 16384", b"-ERR Invalid or out of range slot\r\n"),
            ("CLUSTER MYID", b"$40\r\n%b\r\n" % IDS[2].encode()),
            ("CLUSTER LINKS", b"*0\r\n"),
            ("EVAL return(redis.call('GET','bar')) 0", b"-ERR Script attempted to access a non local key"),
        ):
            assert wire.ask(command).startswith(error), command


def test_the_map_is_told_in_every_form(ports: list[int]) -> None:
    for protocol in (2, 3):
        with redis.Redis(port=ports[1], protocol=protocol) as client:
            assert b"cluster_state:ok\r\n" in execute(client, "CLUSTER", "INFO")
            assert execute(client, "CLUSTER", "NODES").decode() == (
                f"{IDS[0]} 127.0.0.1:{ports[0]}@0 master - 0 0 1 connected 0-5460\n"
                f"{IDS[1]} 127.0.0.1:{ports[1]}@0 myself,master - 0 0 1 connected 5461-10921\n"
                f"{IDS[2]} 127.0.0.1:{ports[2]}@0 master - 0 0 1 connected 10922-16383\n"
            )
            shards = execute(client, "CLUSTER", "SHARDS")
            assert len(shards) == 3
            assert client.info("cluster")["cluster_enabled"] == 1
            assert client.info("server")["redis_mode"] == "cluster"


def test_redis_cli_and_redis_benchmark(ports: list[int]) -> None:
    cli = [needs("redis-cli"), "-c", "-p", str(ports[0])]
    for n in range(5):
        subprocess.run([*cli, "SET", f"key:{n}", str(n)], check=True, timeout=20, capture_output=True)
        done = subprocess.run([*cli, "GET", f"key:{n}"], check=True, timeout=20, capture_output=True, text=True)
        assert done.stdout.strip() == str(n)
    command = [
        needs("redis-benchmark"),
        "--cluster",
        "-p",
        str(ports[1]),
        "-t",
        "set,get",
        "-n",
        "3000",
        "-r",
        "100",
        "-q",
    ]
    done = subprocess.run(command, check=True, timeout=40, capture_output=True, text=True)
    assert "SET: " in done.stdout
    assert "GET: " in done.stdout
    assert "rror" not in done.stdout + done.stderr


def test_a_replica_answers_who_may_read_old_data(tmp_path: Path) -> None:
    ports = [*free_ports(2)]
    lines = (
        f"{IDS[0]} 127.0.0.1:{ports[0]}@0 {{}}master - 0 0 1 connected 0-16383\n"
        f"{IDS[1]} 127.0.0.1:{ports[1]}@0 {{}}slave {IDS[0]} 0 0 1 connected\n"
    )
    with serving(tmp_path, [lines.format("myself,", ""), lines.format("", "myself,")], ports) as servers:
        with redis.Redis(port=ports[0]) as master, redis.Redis(port=ports[1], single_connection_client=True) as replica:
            master.set("k", "v")
            assert eventually(lambda: replica.info("replication").get("master_link_status") == "up")
            asked: Any = replica
            with pytest.raises(redis.exceptions.MovedError):
                replica.get("k")
            assert asked.execute_command("READONLY")
            assert eventually(lambda: replica.get("k") == b"v")
            for command in (("SET", "k", "w"), ("DEL", "k")):
                with pytest.raises(redis.exceptions.MovedError):
                    asked.execute_command(*command)
            assert asked.execute_command("READWRITE")
            with pytest.raises(redis.exceptions.MovedError):
                replica.get("k")
            rows: Any = asked.execute_command("CLUSTER", "SLOTS")
            assert [row[:2] for row in rows] == [[0, 16383]]
            assert [node[:3] for node in rows[0][2:]] == [
                [b"127.0.0.1", port, identity.encode()] for port, identity in zip(ports, IDS, strict=False)
            ]
        client: Any = RedisCluster(
            startup_nodes=[NODE("127.0.0.1", ports[0])], load_balancing_strategy=LoadBalancingStrategy.ROUND_ROBIN
        )
        assert [client.get("k") for _ in range(10)] == [b"v"] * 10
        client.close()
        assert servers[1].serving


def test_a_map_that_changes_is_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    ports = [*free_ports(2)]
    with serving(tmp_path, masters(ports), ports), Wire(ports[0]) as wire:
        assert wire.ask("SET foo 1").startswith(b"-MOVED")
        path = tmp_path / "0" / "nodes.conf"
        good = path.read_text()
        path.write_text(good.replace("0-8191", "0-99999"))
        assert eventually(lambda: "'0-99999' is no slot and no range" in caplog.text)
        assert wire.ask("SET foo 1").startswith(b"-MOVED")
        path.write_text(good.replace("0-8191", "0-16383").replace("8192-16383", ""))
        assert eventually(lambda: wire.ask("SET foo 1") == b"+OK\r\n")


def test_no_key_is_served_while_a_slot_is_nobodys(tmp_path: Path) -> None:
    lines = f"{IDS[0]} 127.0.0.1:1@0 myself,master - 0 0 1 connected 0-16000\n"
    port = free_port()
    with serving(tmp_path, [lines], [port]), Wire(port) as wire:
        assert wire.ask("GET k") == b"-CLUSTERDOWN The cluster is down\r\n"
        assert b"cluster_state:fail" in wire.ask("CLUSTER INFO")
        assert wire.ask("CONFIG SET cluster-require-full-coverage no") == b"+OK\r\n"
        assert wire.ask("GET k") == b"$-1\r\n"
        nobodys = next(b"k%d" % n for n in range(10_000) if slot_of(b"k%d" % n) > 16000)
        assert wire.ask(f"GET {nobodys.decode()}") == b"-CLUSTERDOWN Hash slot not served\r\n"


@each_row(
    ("text", "said"),
    [
        ("", "no node is 'myself'"),
        ("x", "line 1: ID HOST:PORT FLAGS MASTER are expected at least"),
        ("x 1:2 master -", "line 1: 'x' is no id, which is 40 hexadecimal digits"),
        (f"{IDS[0]} 1 master -", "line 1: '1' is no HOST:PORT"),
        (f"{IDS[0]} h:0 master -", "line 1: 'h:0' is no HOST:PORT"),
        (f"{IDS[0]} h:1 myself -", "line 1: of the flags 'myself', one of 'master' and 'slave' is expected"),
        (f"{IDS[0]} h:1 myself,slave -", "line 1: '-' is no id of a master"),
        (f"{IDS[0]} h:1 myself,slave {IDS[1]}", f"the master of {IDS[0]} is no master of this cluster"),
        (f"{IDS[0]} h:1 myself,master - 0 0 0 x 16384", "line 1: '16384' is no slot and no range of slots"),
        (f"{IDS[0]} h:1 myself,master - 0 0 0 x 3-2", "line 1: '3-2' is no slot and no range of slots"),
        (f"{IDS[0]} h:1 myself,master - 0 0 0 x 1-3\n{IDS[1]} h:2 master - 0 0 0 x 3", "have slot 3"),
        (f"{IDS[0]} h:1 myself,master -\n{IDS[0]} h:2 master -", "line 2: a node twice"),
        (f"{IDS[0]} h:1 myself,master -\n{IDS[1]} h:2 myself,master -", "line 2: a second node is 'myself'"),
    ],
)
def test_a_wrong_map_is_named_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "nodes.conf"
    path.write_text(text)
    with pytest.raises(evio_redis.ConfigError, match=r"nodes\.conf") as caught:
        read_map(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    server = evio_redis.Server(port=0, dir=str(tmp_path), cluster_enabled="yes")
    with pytest.raises(evio_redis.ConfigError):
        server.start()


def test_redis_reads_its_own_map_of_us(tmp_path: Path) -> None:
    """A map that a real redis-server has written is understood."""
    with (
        redis_server("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as port,
        redis.Redis(port=port) as client,
    ):
        assert execute(client, "CLUSTER", "ADDSLOTSRANGE", 0, 16383) == b"OK"
        (tmp_path / "nodes.conf").write_bytes(execute(client, "CLUSTER", "NODES"))
        known = read_map(tmp_path / "nodes.conf")
    assert known.assigned == SLOTS
    assert known.myself.port == port


# -- a cluster of processes on one machine


@contextlib.contextmanager
def working(directory: Path, first: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "evio_redis", "--workers", "2", "--port", str(first), "--dir", str(directory)]
    with Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ready = 0
            while ready < 2:
                line = process.stdout.readline()
                assert line
                ready += "Ready to accept connections" in line
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield process
        finally:
            process.kill()


def test_workers_are_a_cluster_and_come_back(tmp_path: Path) -> None:
    first, _ = free_ports(2)
    with working(tmp_path, first, "--appendonly", "yes", "--appendfsync", "always") as process:
        client: Any = RedisCluster(startup_nodes=[NODE("127.0.0.1", first)], socket_timeout=20)
        for n in range(100):
            client.set(f"k{n}", n)
        with redis.Redis(port=first + 1) as worker:
            pid = worker.info("server")["process_id"]
        os.kill(pid, signal.SIGKILL)

        def back() -> bool:
            with contextlib.suppress(redis.ConnectionError), redis.Redis(port=first + 1) as worker:
                return bool(worker.info("server")["process_id"] != pid)
            return False

        assert eventually(back)
        assert eventually(lambda: _reads(client))
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    with working(tmp_path, first, "--appendonly", "yes") as process:
        client = RedisCluster(startup_nodes=[NODE("127.0.0.1", first + 1)], socket_timeout=20)
        assert _reads(client)
        client.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0


class Heard(NamedTuple):
    """A service manager's socket and the workers that it was given to."""

    manager: socket.socket
    process: subprocess.Popen[bytes]

    def next(self) -> bytes:
        """The next message but those that all live."""
        while (message := self.manager.recv(1000)) == b"WATCHDOG=1":
            pass
        return message.partition(b"\n")[0]


@contextlib.contextmanager
def supervised(directory: Path, first: int, watchdog: str = "") -> Iterator[Heard]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(directory / "notify"))
        manager.settimeout(TIMEOUT)
        environment = {**os.environ, "NOTIFY_SOCKET": str(directory / "notify"), "WATCHDOG_USEC": watchdog}
        command = [sys.executable, "-m", "evio_redis", "--workers", "2", "--port", str(first), "--dir", str(directory)]
        command += ["--supervised", "systemd"]
        process = Popen(command, stdout=subprocess.DEVNULL, env=environment, start_new_session=True)
        try:
            yield Heard(manager, process)
        finally:
            process.kill()
            process.wait(TIMEOUT)


def pid_of(port: int) -> int:
    with redis.Redis(port=port) as worker:
        return int(worker.info("server")["process_id"])


def test_a_service_manager_hears_of_all_workers_together(tmp_path: Path) -> None:
    first, _ = free_ports(2)
    with supervised(tmp_path, first) as heard:
        assert heard.next() == b"READY=1"
        assert pid_of(first) != pid_of(first + 1)  # both serve
        heard.process.send_signal(signal.SIGHUP)
        assert [heard.next(), heard.next()] == [b"RELOADING=1", b"READY=1"]
        heard.process.send_signal(signal.SIGUSR1)
        heard.process.send_signal(signal.SIGTERM)
        assert heard.next() == b"STOPPING=1"
        assert heard.process.wait(TIMEOUT) == 0


def test_a_worker_that_hangs_is_not_said_to_live(tmp_path: Path) -> None:
    first, _ = free_ports(2)
    with supervised(tmp_path, first, watchdog="300000") as heard:
        assert heard.next() == b"READY=1"
        assert [heard.manager.recv(1000) for _ in range(4)] == [b"WATCHDOG=1"] * 4
        pid = pid_of(first)
        os.kill(pid, signal.SIGSTOP)
        heard.manager.settimeout(0.6)  # twice the time after which systemd would end all
        with pytest.raises(TimeoutError):
            for _ in range(100):
                heard.manager.recv(1000)
        os.kill(pid, signal.SIGCONT)
        heard.manager.settimeout(TIMEOUT)
        assert heard.manager.recv(1000) == b"WATCHDOG=1"


def test_an_interrupt_from_the_terminal_reaches_each_worker_once(tmp_path: Path) -> None:
    """The kernel sends SIGINT to the whole group, and a second one would end a worker at once, with status 1."""
    first, _ = free_ports(2)
    with supervised(tmp_path, first) as heard:
        assert heard.next() == b"READY=1"
        os.killpg(heard.process.pid, signal.SIGINT)
        assert heard.next() == b"STOPPING=1"
        assert heard.process.wait(TIMEOUT) == 0


def _reads(client: Any) -> bool:
    try:
        return [client.get(f"k{n}") for n in range(100)] == [str(n).encode() for n in range(100)]
    except redis.exceptions.RedisError:
        return False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "2", "--port", "0"], "workers need 2 ports, from --port on"),
        (["--workers", "2", "--port", "65535"], "workers need 2 ports, from --port on"),
        (["--workers", "2", "--bind", "*"], "give --cluster-announce-ip, or --bind one host"),
        (["--workers", "2", "--unixsocket", "s"], "workers and unixsocket exclude each other"),
        (["--workers", "x"], "workers"),
    ],
)
def test_workers_that_cannot_be(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_other_workers_do_not_take_over_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, _ = free_ports(2)
    with working(tmp_path, first) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    assert main(["--workers", "3", "--port", str(first), "--dir", str(tmp_path)]) == 2
    assert "has the data of 2 workers, and 3 have other slots" in capsys.readouterr().err


def test_a_port_in_use_ends_all_workers(tmp_path: Path) -> None:
    first, _ = free_ports(2)
    with socket.create_server(("127.0.0.1", first + 1)):
        command = [sys.executable, "-m", "evio_redis", "--workers", "2", "--port", str(first), "--dir", str(tmp_path)]
        done = run(command, timeout=TIMEOUT)
    assert done.returncode == 1
    assert f"The worker on port {first + 1} does not run (exit status 1): all end" in done.stdout
    assert "in use" in done.stdout
