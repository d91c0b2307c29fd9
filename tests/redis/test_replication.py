"""Replication in Redis's protocol: this server and a real redis-server as each other's master and replica."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import evio_redis
from evio_redis.config.config import has_host
from evio_redis.persistence.aof.encode import encode
from evio_redis.replication.backlog import Backlog
from tests.core.harness import TIMEOUT, eventually
from tests.extent import FULL, full_only
from tests.tables import each_row

from .wire import Wire, redis_server

DEBUG = ("--enable-debug-command", "yes")


@contextlib.contextmanager
def ours(directory: Path, **settings: Any) -> Iterator[int]:
    directory.mkdir(exist_ok=True)
    settings = {"repl_diskless_sync_delay": 0} | settings
    with evio_redis.Server(port=0, dir=str(directory), enable_debug_command="yes", **settings) as server:
        yield server.port


@contextlib.contextmanager
def real(directory: Path, **settings: Any) -> Iterator[int]:
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    with redis_server(*DEBUG, "--repl-diskless-sync-delay", "0", *words) as port:
        yield port


Kind = Callable[..., contextlib.AbstractContextManager[int]]

PAIRS: list[tuple[Kind, Kind]] = [(ours, real), (real, ours), (ours, ours)]
NAMES = ["of-redis", "from-redis", "of-itself"]


@pytest.fixture(params=range(3) if FULL else (1, 2), ids=lambda index: NAMES[index])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """Clients of a master and of a server that is not its replica yet."""
    first, second = PAIRS[request.param]
    with first(tmp_path / "a") as a, second(tmp_path / "b") as b:
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica:
            yield master, replica


def follow(replica: Any, master: Any) -> None:
    port = master.connection_pool.connection_kwargs["port"]
    assert replica.replicaof("127.0.0.1", port)
    assert eventually(lambda: replica.info("replication").get("master_link_status") == "up")


READ = {
    b"string": ["GET {}"],
    b"list": ["LRANGE {} 0 -1"],
    b"set": ["SMEMBERS {}"],
    b"hash": ["HGETALL {}"],
    b"zset": ["ZRANGE {} 0 -1 WITHSCORES"],
    b"stream": ["XRANGE {} - +", "XINFO STREAM {} FULL"],
}
"""By type: what is read of a key. The times of consumers are those of the moment."""


def contents(client: Any) -> dict[Any, Any]:
    """All keys of all databases with their values and when they expire."""
    found = {}
    with redis.Redis(port=client.connection_pool.connection_kwargs["port"], single_connection_client=True) as reader:
        asked: Any = reader
        for database in range(4):
            asked.execute_command("SELECT", database)
            for key in asked.execute_command("KEYS", "*"):
                kind = asked.execute_command("TYPE", key)
                values = [asked.execute_command(*line.format(key.decode()).split()) for line in READ[kind]]
                found[database, key] = (
                    kind,
                    [_plain(each) for each in values],
                    asked.execute_command("PEXPIRETIME", key),
                )
    return found


NOT_REPLICATED = {"radix-tree-keys", "radix-tree-nodes", b"seen-time", b"entries-read", b"lag"}


def _plain(value: Any) -> Any:
    """A reply without what Redis does not replicate either."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items() if name not in NOT_REPLICATED}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def caught_up(master: Any, replica: Any) -> bool:
    return bool(master.info("replication")["master_repl_offset"] == replica.info("replication")["slave_repl_offset"])


def same(master: Any, replica: Any) -> None:
    """Wait until a replica has all, and compare the keys."""
    assert eventually(lambda: caught_up(master, replica))
    there, here = contents(master), contents(replica)
    assert [each for each in there if there[each] != here.get(each)] == []
    assert there == here


def write_all_types(client: Any, prefix: str) -> None:
    client.set(f"{prefix}:string", "x" * 100_000)
    client.set(f"{prefix}:volatile", "soon", px=1_000_000)
    client.incr(f"{prefix}:n", 41)
    client.append(f"{prefix}:string", "more")
    client.setbit(f"{prefix}:bits", 1000, 1)
    client.rpush(f"{prefix}:list", *range(300))
    client.lpop(f"{prefix}:list", 3)
    client.hset(f"{prefix}:hash", mapping={f"f{n}": n for n in range(200)})
    client.hincrbyfloat(f"{prefix}:hash", "f1", 0.5)
    client.sadd(f"{prefix}:set", *range(700), "word")
    client.spop(f"{prefix}:set", 10)
    client.zadd(f"{prefix}:zset", {f"m{n}": n / 3 for n in range(200)})
    client.zincrby(f"{prefix}:zset", 2.5, "m1")
    client.pfadd(f"{prefix}:hll", *range(500))
    client.geoadd(f"{prefix}:geo", (13.361389, 38.115556, "Palermo"))
    for n in range(120):
        client.xadd(f"{prefix}:stream", {"f": n})
    client.xgroup_create(f"{prefix}:stream", "g", "0")
    client.xreadgroup("g", "c", {f"{prefix}:stream": ">"}, count=5)
    client.execute_command("SELECT", 0)
    with client.pipeline(transaction=True) as pipe:
        pipe.set(f"{prefix}:m1", 1).set(f"{prefix}:m2", 2).delete(f"{prefix}:n").execute()


def test_snapshot_and_stream_bring_every_type(pair: tuple[Any, Any]) -> None:
    master, replica = pair
    write_all_types(master, "before")
    with redis.Redis(port=master.connection_pool.connection_kwargs["port"], db=3) as other:
        other.set("elsewhere", 1)
        follow(replica, master)
        write_all_types(master, "after")
        other.set("elsewhere", 2)
        same(master, replica)
        master.flushdb()
        same(master, replica)


SHARED = [
    pytest.param(ours, "yes", id="to-itself-yes"),
    pytest.param(real, "no", id="to-redis-no"),
    pytest.param(ours, "no", id="to-itself-no", marks=full_only),
    pytest.param(real, "yes", id="to-redis-yes", marks=full_only),
]


@pytest.mark.parametrize(("kind", "diskless"), SHARED)
def test_several_replicas_share_a_snapshot(kind: Kind, diskless: str, tmp_path: Path) -> None:
    """They are sent it as it is being written, or from a file; what changes meanwhile follows it."""
    settings = {"repl_diskless_sync": diskless, "repl_diskless_sync_delay": 600, "repl_diskless_sync_max_replicas": 2}
    with ours(tmp_path / "a", **settings, rdb_key_save_delay=2000) as a, redis.Redis(port=a) as master:
        write_all_types(master, "before")
        for n in range(100):
            master.set(f"large:{n}", "x" * 30_000)
        with (
            kind(tmp_path / "b") as b,
            ours(tmp_path / "c") as c,
            redis.Redis(port=b) as one,
            redis.Redis(port=c) as other,
        ):
            for each in (one, other):
                each.replicaof("127.0.0.1", a)
            assert eventually(lambda: master.info("replication")["connected_slaves"] == 2)
            n = 0
            while "up" not in {each.info("replication").get("master_link_status") for each in (one, other)}:
                master.incr("meanwhile")
                n += 1
            master.config_set("rdb-key-save-delay", 0)
            for each in (one, other):
                assert eventually(lambda each=each: each.info("replication")["master_link_status"] == "up")  # type: ignore[misc]
                same(master, each)
                assert each.get("meanwhile") == str(n).encode()
            assert diskless == "no" or master.info("stats")["total_forks"] == 1
    assert list((tmp_path / "a").glob("temp-*")) == []


def test_a_replica_that_is_gone_while_it_is_sent_a_snapshot(tmp_path: Path) -> None:
    with ours(tmp_path / "a", rdb_key_save_delay=10_000) as a, redis.Redis(port=a) as master:
        master.mset({f"k{n}": n for n in range(600)})
        with Wire(a) as lazy:
            lazy.send("REPLCONF capa eof capa psync2")
            lazy.send("PSYNC ? -1")
            assert lazy.line() == b"+OK\r\n"
            assert lazy.line().startswith(b"+FULLRESYNC ")
            assert lazy.line().startswith(b"$EOF:")
        assert eventually(lambda: master.info("replication")["connected_slaves"] == 0)
        master.config_set("rdb-key-save-delay", 0)
        with ours(tmp_path / "b") as b, redis.Redis(port=b) as replica:
            follow(replica, master)
            same(master, replica)


def test_a_replica_that_does_not_take_its_snapshot_costs_no_memory(tmp_path: Path) -> None:
    """It is dropped after ``repl-timeout``; the others wait for it as long."""
    with ours(tmp_path / "a", repl_timeout=1) as a, redis.Redis(port=a) as master, Wire(a) as lazy:
        for n in range(64):
            master.set(f"k{n}", random.randbytes(1 << 18))
        lazy.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.send(encode([b"REPLCONF", b"capa", b"eof"]), encode([b"PSYNC", b"?", b"-1"]))
        assert eventually(lambda: master.info("replication")["connected_slaves"] == 1)
        most = 0
        while master.info("replication")["connected_slaves"]:
            most = max(most, *(int(each["omem"]) for each in master.client_list(_type="replica") or [{"omem": 0}]))
            time.sleep(0.005)
        assert 0 < most < 2 << 20


def test_what_depends_on_the_moment_is_the_same_on_both(pair: tuple[Any, Any]) -> None:
    master, replica = pair
    follow(replica, master)
    draw = random.Random(11)
    for n in range(300):
        key = f"k{draw.randrange(20)}"
        match draw.randrange(7):
            case 0:
                master.set(key, n, ex=100)
            case 1:
                master.delete(key)
                master.sadd(key, *range(20))
                master.spop(key, 7)
            case 2:
                master.delete(key)
                master.execute_command("SET", key, n, "PX", 100000)
                master.getex(key, ex=draw.choice([50, 200]))
            case 3:
                master.delete(key)
                master.xadd(key, {"n": n})
            case 4:
                master.delete(key)
                master.set(key, "1.5")
                master.incrbyfloat(key, 0.1)
            case 5:
                master.expire(key, 1000)
            case _:
                master.delete(key)
                master.lpush(key, n)
                master.blpop([key], 1)
    same(master, replica)
    assert sorted(map(str, (master.pttl(key) > 0 for key in sorted(master.keys())))) == sorted(
        map(str, (replica.pttl(key) > 0 for key in sorted(master.keys())))
    )


def test_pipelines_of_one_command_reach_replicas_and_the_log(tmp_path: Path) -> None:
    """They are run at once, as batches, and passed on as they came."""
    rows = {
        "set": [encode([b"set", b"k%d" % n, b"v" * (n % 12)]) for n in range(64)],
        "alike": [encode([b"SET", b"same", b"%03d" % n]) for n in range(64)],
        "incr": [encode([b"INCR", b"n%d" % n]) for n in range(64)],
        "rpush": [encode([b"RPUSH", b"list", b"%d" % n]) for n in range(200)],
        "lpop": [encode([b"LPOP", b"list"])] * 64,
        "sadd": [encode([b"SADD", b"set", b"%d" % (n % 40)]) for n in range(100)],
        "hset": [encode([b"HSET", b"hash", b"%d" % (n % 70), b"x" * 70]) for n in range(200)],
        "get": [encode([b"GET", b"k%d" % n]) for n in range(64)],
    }
    with (
        ours(tmp_path / "a", appendonly=True) as a,
        real(tmp_path / "b") as b,
        ours(tmp_path / "c") as c,
        Wire(a) as wire,
    ):
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica, redis.Redis(port=c) as other:
            for each in (replica, other):
                follow(each, master)
            for database in (0, 2):
                wire.ask(f"SELECT {database}")
                for _ in range(2):
                    for each in rows.values():
                        wire.send(b"".join(each))
                        for _ in each:
                            assert wire.reply()[:1] in (b"+", b":", b"$")
            for each in (replica, other):
                same(master, each)
            wanted = contents(master)
    with ours(tmp_path / "a", appendonly=True) as a, redis.Redis(port=a) as master:
        assert contents(master) == wanted


def test_a_replica_takes_no_writes_and_reads_do_not_see_what_has_expired(
    pair: tuple[Any, Any],
) -> None:
    master, replica = pair
    follow(replica, master)
    master.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    master.set("k", "v", px=1)
    same(master, replica)
    assert eventually(lambda: replica.get("k") is None)
    with pytest.raises(redis.ReadOnlyError):
        replica.set("k", "w")
    with pytest.raises(redis.ReadOnlyError), replica.pipeline(transaction=True) as pipe:
        pipe.get("k").set("k", "w").execute()
    with pytest.raises(redis.ResponseError, match=r"READONLY|read only"):
        replica.eval("return redis.call('SET', KEYS[1], 'w')", 1, "k")
    assert master.get("k") is None  # which deletes it, there and here
    same(master, replica)
    assert replica.dbsize() == 0


def test_messages_reach_subscribers_of_the_replica(pair: tuple[Any, Any]) -> None:
    master, replica = pair
    follow(replica, master)
    with replica.pubsub() as subscriber:
        subscriber.subscribe("news")
        assert subscriber.get_message(timeout=20)
        master.publish("news", "hello")
        message = subscriber.get_message(timeout=20)
    assert message is not None
    assert message["data"] == b"hello"


def test_wait_counts_those_who_have_it(pair: tuple[Any, Any]) -> None:
    master, replica = pair
    assert master.wait(0, 0) == 0
    assert master.wait(1, 1) == 0
    follow(replica, master)
    assert eventually(lambda: "online" in str(master.info("replication").get("slave0")))
    for n in range(20):
        master.set("k", n)
        assert master.wait(1, 20_000) == 1
        assert replica.get("k") == str(n).encode()
    assert master.wait(2, 1) == 1
    with pytest.raises(redis.ResponseError, match="replica instances"):
        replica.wait(1, 1)


def test_wait_is_about_the_client_s_own_writes(pair: tuple[Any, Any]) -> None:
    master, replica = pair
    port = master.connection_pool.connection_kwargs["port"]
    proxy = Proxy(port)
    try:
        replica.replicaof("127.0.0.1", proxy.port)
        assert eventually(lambda: "online" in str(master.info("replication").get("slave0")))
        with Wire(port) as idle, Wire(port) as writer:
            assert writer.ask("SET k 1") == b"+OK\r\n"
            assert writer.ask("WAIT 1 20000") == b":1\r\n"
            proxy.hold()
            for command in ("SET k 2", "EVAL redis.call('set','k',3)return(1) 0", "RPUSH l 1"):
                writer.ask(command)
                assert writer.ask("WAIT 1 1") == b":0\r\n"
            writer.ask("MULTI")
            writer.ask("SET k 4")
            writer.ask("WAIT 1 0")
            assert writer.ask("EXEC") == b"*2\r\n+OK\r\n:0\r\n"
            assert idle.ask("WAIT 1 20000") == b":1\r\n"
            proxy.release()
            assert writer.ask("WAIT 1 20000") == b":1\r\n"
    finally:
        proxy.close()


def test_roles(pair: tuple[Any, Any]) -> None:
    master, replica = pair
    a, b = (each.connection_pool.connection_kwargs["port"] for each in pair)
    follow(replica, master)
    assert eventually(lambda: len(master.role()[2]) == 1)
    name, _, replicas = master.role()
    assert name == b"master"
    assert replicas[0][:2] == [b"127.0.0.1", str(b).encode()]
    assert replica.role()[:4] == [b"slave", b"127.0.0.1", a, b"connected"]
    told = replica.info("replication")
    assert (told["role"], told["slave_read_only"], told["replica_announced"]) == ("slave", 1, 1)
    assert "flags=S" in str(master.execute_command("CLIENT", "LIST", "TYPE", "replica"))
    assert replica.execute_command("REPLICAOF", "127.0.0.1", a) == b"OK Already connected to specified master"
    replica.execute_command("SLAVEOF", "NO", "ONE")
    assert replica.role()[0] == b"master"
    assert replica.set("k", "v")
    assert eventually(lambda: master.role()[2] == [])


class Proxy:
    """Passes bytes on to a port, until its connections are cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._ended = threading.Semaphore(0)
        self._flowing = threading.Event()
        self._flowing.set()
        self._closing = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                if self._closing:
                    client.close()
                    return
                server = socket.create_connection(("127.0.0.1", self._port))
                self._pairs.append((client, server))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1000):
                self._flowing.wait()
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        self._ended.release()

    def hold(self) -> None:
        """Pass on nothing more until :meth:`release`."""
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        self.release()
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for pair in pairs:
            for each in pair:
                assert self._ended.acquire(timeout=TIMEOUT)
                each.close()

    def close(self) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._listener.close()
        self.cut()


def test_a_link_that_is_cut_goes_on_where_it_was(pair: tuple[Any, Any]) -> None:
    master, replica = pair
    proxy = Proxy(master.connection_pool.connection_kwargs["port"])
    try:
        replica.replicaof("127.0.0.1", proxy.port)
        assert eventually(lambda: replica.info("replication").get("master_link_status") == "up")
        other = redis.Redis(port=master.connection_pool.connection_kwargs["port"], db=2, single_connection_client=True)
        for _ in range(3):
            for n in range(200):
                master.rpush("l", n)
                master.set(f"k{n}", "x" * n)
            other.rpush("l", "the stream is in another database now")
            assert eventually(lambda: caught_up(master, replica))
            proxy.cut()
            other.rpush("l", "while it was cut")
            assert eventually(lambda: replica.info("replication").get("master_link_status") == "up")
            same(master, replica)
        other.close()
        assert master.info("stats")["sync_partial_ok"] >= 3
        assert master.info("stats")["sync_full"] == 1
    finally:
        proxy.close()


def test_what_is_no_more_in_the_backlog_is_a_full_synchronization(tmp_path: Path) -> None:
    with ours(tmp_path / "a", repl_backlog_size="10kb") as a, real(tmp_path / "b") as b:
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica:
            proxy = Proxy(a)
            try:
                replica.replicaof("127.0.0.1", proxy.port)
                assert eventually(lambda: replica.info("replication").get("master_link_status") == "up")
                replica.replicaof("127.0.0.1", 1)  # nobody is there
                assert eventually(lambda: master.info("replication")["connected_slaves"] == 0)
                for n in range(300):
                    master.set(f"k{n}", "x" * 100)
                follow(replica, master)
                same(master, replica)
                assert master.info("stats")["sync_full"] == 2
            finally:
                proxy.close()


def test_a_chain_and_a_promotion(tmp_path: Path) -> None:
    """A master, its replica, and a replica of that; then the second is promoted and the first follows it."""
    with real(tmp_path / "a") as a, ours(tmp_path / "b") as b, ours(tmp_path / "c") as c, real(tmp_path / "d") as d:
        with redis.Redis(port=a) as first, redis.Redis(port=b) as second, redis.Redis(port=c) as third:
            fourth = redis.Redis(port=d)
            write_all_types(first, "before")
            follow(second, first)
            follow(third, second)
            follow(fourth, second)
            write_all_types(first, "after")
            for each in (second, third, fourth):
                same(first, each)
            second.replicaof("NO", "ONE")
            follow(first, second)
            second.set("promoted", 1)
            for each in (first, third, fourth):
                assert eventually(lambda each=each: each.get("promoted") == b"1")  # type: ignore[misc]
                same(second, each)
            assert second.info("stats")["sync_full"] <= 3  # the first went on with a part of the stream
            assert second.info("stats")["sync_partial_ok"] >= 1
            fourth.close()


def test_a_replica_logs_and_comes_back(tmp_path: Path) -> None:
    with real(tmp_path / "a") as a:
        with redis.Redis(port=a) as master:
            write_all_types(master, "before")
            with ours(tmp_path / "b", appendonly=True) as b, redis.Redis(port=b) as replica:
                follow(replica, master)
                write_all_types(master, "after")
                same(master, replica)
                wanted = contents(master)
                assert eventually(lambda: replica.info("persistence")["aof_rewrite_in_progress"] == 0)
            with ours(tmp_path / "b", appendonly=True) as b, redis.Redis(port=b) as replica:
                assert contents(replica) == wanted


@pytest.mark.parametrize("kind", [ours, real], ids=["of-itself", "of-redis"])
def test_a_replica_that_was_restarted_goes_on(kind: Kind, tmp_path: Path) -> None:
    with kind(tmp_path / "a") as a, redis.Redis(port=a) as master, redis.Redis(port=a, db=2) as other:
        write_all_types(master, "before")
        with ours(tmp_path / "b", save="900 100000") as b, redis.Redis(port=b) as replica:
            follow(replica, master)
            write_all_types(master, "after")
            master.set("expires meanwhile", "x", px=1)
            other.set("elsewhere", 1)
            same(master, replica)
        other.set("elsewhere", 2)
        assert eventually(lambda: master.get("expires meanwhile") is None)
        with ours(tmp_path / "b", replicaof=f"127.0.0.1 {a}") as b, redis.Redis(port=b) as replica:
            assert eventually(lambda: replica.info("replication")["master_link_status"] == "up")
            write_all_types(master, "later")
            same(master, replica)
        assert master.info("stats")["sync_full"] == 1
        assert master.info("stats")["sync_partial_ok"] == 1


@pytest.mark.parametrize("kind", [ours, real], ids=["of-itself", "of-redis"])
def test_a_replica_that_was_restarted_goes_on_in_the_same_database(kind: Kind, tmp_path: Path) -> None:
    with kind(tmp_path / "a") as a, redis.Redis(port=a) as master, redis.Redis(port=a, db=2) as other:
        with ours(tmp_path / "b", save="900 100000") as b, redis.Redis(port=b) as replica:
            follow(replica, master)
            other.set("elsewhere", 1)
            same(master, replica)
        other.set("elsewhere", 2)  # in the stream without SELECT
        with ours(tmp_path / "b", replicaof=f"127.0.0.1 {a}") as b, redis.Redis(port=b) as replica:
            assert eventually(lambda: replica.info("replication")["master_link_status"] == "up")
            same(master, replica)
        assert master.info("stats")["sync_full"] == 1


@pytest.mark.parametrize("kind", [ours, real], ids=["of-itself", "from-redis"])
def test_replicas_of_a_master_that_was_restarted_go_on(kind: Kind, tmp_path: Path) -> None:
    with kind(tmp_path / "b") as b, redis.Redis(port=b) as replica:
        with ours(tmp_path / "a") as a, redis.Redis(port=a) as master:
            write_all_types(master, "before")
            follow(replica, master)
            write_all_types(master, "after")
            master.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
            master.set("expires meanwhile", "x", px=1)
            same(master, replica)
            with Wire(a) as wire:
                wire.send("SHUTDOWN SAVE")
                wire.rest()
        with ours(tmp_path / "a") as a, redis.Redis(port=a) as master:
            follow(replica, master)
            assert eventually(lambda: master.exists("expires meanwhile") == 0)
            write_all_types(master, "later")
            same(master, replica)
            assert master.info("stats")["sync_full"] == 0
            assert master.info("stats")["sync_partial_ok"] == 1
            assert replica.dbsize() == master.dbsize()


def test_replicaof_in_the_configuration(tmp_path: Path) -> None:
    with ours(tmp_path / "a", requirepass="secret") as a, redis.Redis(port=a, password="secret") as master:
        master.set("k", "v")
        with ours(tmp_path / "b", replicaof=f"127.0.0.1 {a}", masterauth="secret") as b, redis.Redis(port=b) as replica:
            assert eventually(lambda: replica.get("k") == b"v")
            assert replica.config_get("replicaof") == {"replicaof": f"127.0.0.1 {a}"}


def test_a_replica_that_is_paused_receives_and_applies_later(pair: tuple[Any, Any]) -> None:
    master, replica = pair
    follow(replica, master)
    replica.client_pause(100_000, all=False)
    for value in range(2):
        master.set("k", value)
        there = master.info("replication")["master_repl_offset"]
        assert eventually(lambda: replica.info("replication")["slave_read_repl_offset"] >= there)  # noqa: B023
        assert replica.info("replication")["slave_repl_offset"] < there
        assert replica.get("k") is None
    replica.client_unpause()
    assert eventually(lambda: replica.get("k") == b"1")
    same(master, replica)


@pytest.mark.skipif(not has_host("127.0.0.2"), reason="the system has one address of itself only")
def test_a_replica_connects_from_the_address_that_it_is_told_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ours(tmp_path / "a") as a, ours(tmp_path / "b", bind_source_addr="127.0.0.2") as b:
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica:
            follow(replica, master)
            assert master.info("replication")["slave0"]["ip"] == "127.0.0.2"
            replica.replicaof("NO", "ONE")
            replica.config_set("bind-source-addr", "localhost")
            replica.replicaof("127.0.0.1", a)
            assert "Unable to connect to MASTER" in caplog.text
            assert "must be an address" in caplog.text


def test_writes_are_refused_with_too_few_replicas(tmp_path: Path) -> None:
    with ours(tmp_path / "a", min_replicas_to_write=1) as a, real(tmp_path / "b") as b:
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica:
            with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
                master.set("k", "v")
            assert master.get("k") is None
            follow(replica, master)
            assert eventually(lambda: master.info("replication")["min_slaves_good_slaves"] == 1)
            assert master.set("k", "v")
            replica.replicaof("NO", "ONE")
            assert eventually(lambda: master.info("replication")["connected_slaves"] == 0)
            with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
                master.set("k", "v")


def test_keys_of_a_replicas_own_clients_expire(tmp_path: Path) -> None:
    """No master knows of them."""
    with ours(tmp_path / "a") as a, ours(tmp_path / "b", replica_read_only="no", appendonly="yes") as b:
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica:
            follow(replica, master)
            replica.set("own", "v", px=1)
            replica.set("lasting", "v", px=1)
            replica.persist("lasting")
            replica.pipeline().set("queued", "v").pexpire("queued", 1).execute()
            assert eventually(lambda: replica.info("stats")["expired_keys"] >= 2)
            assert replica.dbsize() == replica.exists("lasting")  # unless it was gone before PERSIST
    with ours(tmp_path / "b", appendonly="yes") as b, redis.Redis(port=b) as replica:
        assert replica.exists("own", "queued") == 0


def test_a_write_on_a_replica_finds_no_expiry_time_of_a_key_that_is_gone(tmp_path: Path) -> None:
    with ours(tmp_path / "a") as a, ours(tmp_path / "b", replica_read_only="no") as b:
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica:
            follow(replica, master)
            master.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
            master.set("k", 5, px=1)
            assert eventually(lambda: replica.dbsize() == 1)
            assert eventually(lambda: replica.get("k") is None)
            assert replica.incr("k") == 1
            assert replica.ttl("k") == -1


@pytest.mark.parametrize("how", ["{address}", "TYPE master", "ADDR {address} TYPE master"])
def test_the_connection_to_the_master_may_be_killed(tmp_path: Path, how: str) -> None:
    with ours(tmp_path / "a") as a, ours(tmp_path / "b") as b:
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica, Wire(b) as wire:
            follow(replica, master)
            assert wire.ask("CLIENT KILL TYPE master ID 1") == b":0\r\n"
            reply = wire.ask(f"CLIENT KILL {how.format(address=f'127.0.0.1:{a}')}")
            assert reply == (b":1\r\n" if "TYPE" in how else b"+OK\r\n")
            assert eventually(lambda: master.info("stats")["sync_partial_ok"] == 1)


def test_commands_of_the_master_are_counted(tmp_path: Path) -> None:
    with ours(tmp_path / "a") as a, ours(tmp_path / "b") as b:
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica:
            follow(replica, master)
            master.getset("k", "v")
            assert eventually(lambda: replica.get("k") == b"v")
            assert replica.info("commandstats")["cmdstat_set"]["calls"] == 1


def test_who_asks_by_sync_is_a_replica_once_it_has_been_sent_a_file(tmp_path: Path) -> None:
    """``redis-cli --replica`` says nothing more."""
    with ours(tmp_path / "a", repl_diskless_sync="no") as port, Wire(port) as wire, redis.Redis(port=port) as client:
        wire.send("SYNC")
        line = wire.line().lstrip(b"\n")  # signs of life
        assert line.startswith(b"$"), line
        wire.skip(int(line[1:]))
        assert eventually(lambda: client.info("replication")["slave0"]["state"] == "online")
        client.set("k", "v")
        while b"SET" not in wire.line():
            pass
        lists = [client.execute_command("CLIENT LIST", "TYPE", kind) for kind in ("replica", "slave")]
        assert [each[0]["flags"] for each in lists] == ["S", "S"]
        assert client.execute_command("CLIENT KILL", "TYPE", "slave") == 1


def test_old_data_is_not_served_unless_it_may_be(tmp_path: Path) -> None:
    with ours(tmp_path / "a") as a, ours(tmp_path / "b", replica_serve_stale_data="no") as b:
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica:
            master.set("k", "v")
            replica.replicaof("127.0.0.1", 1)
            with pytest.raises(redis.exceptions.MasterDownError):
                replica.get("k")
            assert replica.info("replication")["master_link_status"] == "down"
            with Wire(b) as wire:  # what is queued is looked at again
                follow(replica, master)
                assert [wire.ask("MULTI"), wire.ask("GET k")] == [b"+OK\r\n", b"+QUEUED\r\n"]
                replica.replicaof("127.0.0.1", 1)
                assert wire.ask("EXEC").startswith(b"-EXECABORT Transaction discarded because of: MASTERDOWN Link")
            follow(replica, master)
            assert replica.get("k") == b"v"


# -- what a master is to cope with


def test_a_replica_that_never_reads_is_dropped(tmp_path: Path) -> None:
    with ours(tmp_path / "a", client_output_buffer_limit="replica 1mb 0 0") as port, Wire(port) as lazy:
        lazy.send(encode([b"PSYNC", b"?", b"-1"]))
        with redis.Redis(port=port) as client:
            assert eventually(lambda: client.info("replication")["connected_slaves"] == 1)

            def dropped() -> bool:
                client.set("k", "x" * 300_000)
                return bool(client.info("replication")["connected_slaves"] == 0)

            assert eventually(dropped)


def test_what_waits_for_a_replica_evicts_nothing(tmp_path: Path) -> None:
    limits = {"maxmemory": "2mb", "maxmemory_policy": "allkeys-random", "maxmemory_clients": "1mb"}
    with ours(tmp_path / "a", **limits) as port, Wire(port) as lazy:
        lazy.send(encode([b"PSYNC", b"?", b"-1"]))
        with redis.Redis(port=port) as client:

            def waits() -> bool:
                client.set("k", "x" * 300_000)
                return bool(client.info("memory")["mem_clients_slaves"] > 3_000_000)

            assert eventually(waits)
            ticks = client.info("server")["server_time_usec"] + 200_000
            assert eventually(lambda: client.info("server")["server_time_usec"] > ticks)
            assert client.info("memory")["mem_not_counted_for_evict"] > 3_000_000
            stats = client.info("stats")
            assert (stats["evicted_keys"], stats["evicted_clients"]) == (0, 0)
            assert client.info("replication")["connected_slaves"] == 1


@each_row(
    ("sent", "reply"),
    [
        (b"PSYNC a\r\n", b"-ERR wrong number of arguments for 'psync' command\r\n"),
        (b"PSYNC ? x\r\n", b"-ERR value is not an integer or out of range\r\n"),
        (b"REPLCONF listening-port x\r\n", b"-ERR value is not an integer or out of range\r\n"),
        (b"REPLCONF nonsense 1\r\n", b"-ERR Unrecognized REPLCONF option: nonsense\r\n"),
        (b"REPLCONF capa\r\n", b"-ERR syntax error\r\n"),
        (b"REPLICAOF localhost x\r\n", b"-ERR Invalid master port\r\n"),
        (b"REPLICAOF localhost 65536\r\n", b"-ERR Invalid master port\r\n"),
        (b"REPLICAOF no one\r\n", b"+OK\r\n"),
        (b"REPLCONF ACK 12\r\nPING\r\n", b"+PONG\r\n"),
    ],
)
def test_bad_requests(server: evio_redis.Server, sent: bytes, reply: bytes) -> None:
    with Wire(server.port) as wire:
        assert wire.ask(sent) == reply


# -- what a replica is to cope with


class FakeMaster:
    """Says to each command what it is told to, then sends a payload after PSYNC, and perhaps hangs up."""

    def __init__(self, replies: dict[str, bytes], payload: bytes = b"", hang_up: bool = False) -> None:
        self._hang_up = hang_up
        self.received = b""
        self._replies = replies
        self._payload = payload
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                with self._listener.accept()[0] as conn:
                    self._talk(conn)

    def _talk(self, conn: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := conn.recv(10_000):
                self.received += data
                if b"\r\nACK\r\n" in data:
                    continue  # no master replies to that
                name = data.split(b"\r\n")[2].decode()
                self.asked.append(name)
                conn.sendall(self._replies.get(name, b"+OK\r\n"))
                if name == "PSYNC":
                    conn.sendall(self._payload)
                    if self._hang_up:
                        return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # which ends accept(2)
        self._thread.join(TIMEOUT)
        self._listener.close()


FULL_RESYNC = b"+FULLRESYNC " + b"a" * 40 + b" 10\r\n"


@pytest.mark.parametrize(
    ("replies", "payload", "said"),
    [
        ({"PING": b"-LOADING not yet\r\n"}, b"", "it replies to PING: -LOADING not yet"),
        ({"PING": b"HTTP/1.1 400 Bad Request\r\n"}, b"", "which no Redis does"),
        ({"PSYNC": b"-NOMASTERLINK later\r\n"}, b"", "it cannot synchronise now: -NOMASTERLINK later"),
        ({"PSYNC": b"+FULLRESYNC short 1\r\n"}, b"", "it replies to PSYNC: +FULLRESYNC short 1"),
        (
            {"PSYNC": b"+FULLRESYNC " + b"a" * 40 + b" " + b"9" * 5000 + b"\r\n"},
            b"",
            "it replies to PSYNC: +FULLRESYNC",
        ),
        ({"PSYNC": FULL_RESYNC.replace(b"10", b"%d" % (2**63 - 1))}, b"", "it replies to PSYNC: +FULLRESYNC"),
        ({"PSYNC": b"+CONTINUE\r\n"}, b"", "it replies to PSYNC: +CONTINUE"),
        ({"PSYNC": b"-a\xff\rb\r\n"}, b"", r"it replies to PSYNC: -a\xff\rb"),
        ({"PSYNC": FULL_RESYNC}, b"$x\r\n", "no snapshot begins with b'$x'"),
        ({"PSYNC": FULL_RESYNC}, b"-ERR no\r\n", "it cannot give a snapshot: -ERR no"),
        ({"PSYNC": FULL_RESYNC}, b"$11\r\nREDIS0010\xff\x00", "it ends too early at offset"),
        ({"PSYNC": FULL_RESYNC}, b"$0\r\n\r\n", "it is empty, not an RDB file"),
        ({"PSYNC": FULL_RESYNC}, b"$9999999999999999999999\r\n", "no snapshot begins with"),
        ({"PSYNC": b"x" * 100_000}, b"", "a line of the handshake has no end"),
    ],
)
def test_a_master_that_misbehaves_is_one_clear_line_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, replies: dict[str, bytes], payload: bytes, said: str
) -> None:
    master = FakeMaster(replies, payload)
    with ours(tmp_path) as port, redis.Redis(port=port) as client:
        client.set("k", "v")
        client.replicaof("127.0.0.1", master.port)
        assert eventually(lambda: said in caplog.text), caplog.text
        assert client.ping()
        client.replicaof("NO", "ONE")
        assert client.set("k2", "v")
        if "too early" not in said and "empty" not in said:
            assert client.get("k") == b"v"
    master.close()
    assert "Traceback" not in caplog.text
    assert list(tmp_path.glob("temp-*")) == []


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (b"*x\r\n", "invalid multibulk length"),
        (b"*1\r\n\n\r\n", r"got '\n'"),
        (b"*1\r\n\xff\r\n", r"got '\xff'"),
        (b"SET k other\r\n", "a command that is no array"),
        (b"\n*0\r\n", "a command that is no array"),
    ],
)
def test_a_master_that_sends_nonsense_as_its_stream(
    end: bytes, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ours(tmp_path / "a") as a, redis.Redis(port=a) as source:
        source.execute_command("SAVE")
        snapshot = (tmp_path / "a" / "dump.rdb").read_bytes()
    payload = b"$%d\r\n%b" % (len(snapshot), snapshot)
    payload += encode([b"SET", b"k", b"v"]) + encode([b"NONSENSE"]) + encode([b"GET"])
    payload += encode([b"XCLAIM", b"s", b"a\nb\xff", b"c", b"0", b"1-1"]) + end
    master = FakeMaster({"PSYNC": FULL_RESYNC}, payload)
    with ours(tmp_path / "b") as port, redis.Redis(port=port) as client:
        client.replicaof("127.0.0.1", master.port)
        assert eventually(lambda: "Protocol error" in caplog.text)
        assert said in caplog.text
        assert "no command for: b'NONSENSE'" in caplog.text
        assert r"fails here: NOGROUP No such key 's' or consumer group 'a\nb\xff'" in caplog.text
        assert eventually(lambda: client.get("k") == b"v")
    master.close()


@pytest.mark.parametrize("end", [b"*x\r\n", b"SET k other\r\n"])
def test_after_a_stream_that_is_out_of_step_all_is_synchronised_again(end: bytes, tmp_path: Path) -> None:
    snapshot = b"REDIS0010\xff" + bytes(8)
    payload = b"$%d\r\n%b" % (len(snapshot), snapshot) + encode([b"SET", b"k", b"v"]) + end
    master = FakeMaster({"PSYNC": FULL_RESYNC}, payload)
    with ours(tmp_path) as port, redis.Redis(port=port) as client:
        client.replicaof("127.0.0.1", master.port)
        assert eventually(lambda: master.received.count(b"PSYNC\r\n$") == 2)
        assert master.received.count(b"PSYNC\r\n$1\r\n?\r\n") == 2
        assert client.get("k") == b"v"
    master.close()


def test_nonsense_behind_a_snapshot_that_takes_long(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It has been read already when the snapshot is loaded, in several turns of the loop."""
    snapshot = b"REDIS0010\x00\x01a\x011\x00\x01b\x012\x00\x01c\x013\xff" + bytes(8)
    master = FakeMaster({"PSYNC": FULL_RESYNC}, b"$%d\r\n%b" % (len(snapshot), snapshot) + b"*x\r\n")
    with ours(tmp_path, key_load_delay=20_000) as port, redis.Redis(port=port) as client:
        client.replicaof("127.0.0.1", master.port)
        assert eventually(lambda: "cannot go on: Protocol error: invalid multibulk length" in caplog.text)
        assert eventually(lambda: master.received.count(b"PSYNC\r\n$1\r\n?\r\n") >= 2)
    master.close()
    assert "Traceback" not in caplog.text


def test_empty_lines_of_a_master_count_as_its_stream(tmp_path: Path) -> None:
    """They keep a connection alive (``processInlineBuffer`` in networking.c)."""
    stream = b"\n" + encode([b"SET", b"k", b"1"]) + b"\r\n\n" + encode([b"MULTI"]) + encode([b"INCR", b"k"]) + b"\n"
    stream += encode([b"EXEC"]) + b"\n"
    snapshot = b"REDIS0010\xff" + bytes(8)
    master = FakeMaster({"PSYNC": FULL_RESYNC}, b"$%d\r\n%b" % (len(snapshot), snapshot) + stream)
    with ours(tmp_path) as port, redis.Redis(port=port) as client:
        client.replicaof("127.0.0.1", master.port)
        assert eventually(lambda: client.get("k") == b"2")
        assert eventually(lambda: client.info("replication")["slave_repl_offset"] == 10 + len(stream))
    master.close()


def test_a_link_that_ends_within_a_transaction_goes_on_before_it(tmp_path: Path) -> None:
    with ours(tmp_path / "a") as a, redis.Redis(port=a) as source:
        source.execute_command("SAVE")
        snapshot = (tmp_path / "a" / "dump.rdb").read_bytes()
    whole = encode([b"SET", b"k", b"1"])
    half = encode([b"MULTI"]) + encode([b"INCR", b"n"]) + encode([b"INCR", b"n"])[:9]
    master = FakeMaster({"PSYNC": FULL_RESYNC}, b"$%d\r\n%b" % (len(snapshot), snapshot) + whole + half, hang_up=True)
    with ours(tmp_path / "b") as port, redis.Redis(port=port) as client:
        client.replicaof("127.0.0.1", master.port)
        assert eventually(lambda: client.info("replication")["slave_repl_offset"] == 10 + len(whole))
        assert eventually(lambda: b"\r\n%d\r\n" % (11 + len(whole)) in master.received)
        assert client.get("n") is None
    master.close()


def test_a_cycle_ends_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ours(tmp_path / "a") as a, ours(tmp_path / "b") as b:
        with redis.Redis(port=a) as one, redis.Redis(port=b) as other:
            other.replicaof("127.0.0.1", 1)  # nobody: else the first may be up before there is a cycle
            one.replicaof("127.0.0.1", b)
            other.replicaof("127.0.0.1", a)
            assert eventually(lambda: "NOMASTERLINK" in caplog.text)
            other.replicaof("NO", "ONE")
            assert eventually(lambda: one.info("replication").get("master_link_status") == "up")


# -- the backlog


def test_the_backlog_has_the_latest_part() -> None:
    backlog = Backlog(10, 100)
    assert backlog.since(101) == []
    assert backlog.since(100) is None
    backlog.append(b"abcdef")
    backlog.append(b"ghi")
    assert backlog.since(101) == [b"abcdef", b"ghi"]
    assert backlog.since(103) == [b"cdef", b"ghi"]
    assert backlog.since(108) == [b"hi"]
    assert backlog.since(110) == []
    assert backlog.since(111) is None
    backlog.append(b"jklmnopqr")
    assert backlog.since(101) is None
    assert backlog.since(107) == [b"ghi", b"jklmnopqr"]
    assert (backlog.first, backlog.length) == (107, 12)


@pytest.mark.parametrize("kind", [ours, real], ids=["evio-redis", "redis-server"])
def test_what_comes_from_the_master_is_allowed_and_clients_are_told(kind: Kind, tmp_path: Path) -> None:
    """The rules of users do not apply to it; clients that are tracked hear of its changes, and of the snapshot."""
    with ours(tmp_path / "a") as a, kind(tmp_path / "b", replica_serve_stale_data="yes") as b:
        with redis.Redis(port=a) as master, redis.Redis(port=b) as replica, Wire(b) as reader:
            master.set("k", 1)
            reader.ask("HELLO 3")
            reader.ask("CLIENT TRACKING on")
            reader.ask("GET k")
            follow(replica, master)
            assert reader.reply() == b">2\r\n$10\r\ninvalidate\r\n_\r\n"
            replica.execute_command("ACL", "SETUSER", "default", "-@all", "+get", "+client", "resetkeys", "~k")
            reader.ask("GET k")
            master.eval("redis.call('set', 'k', 2); return redis.call('set', 'other', 2)", 0)
            assert reader.reply() == b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
            assert reader.ask("GET k") == b"$1\r\n2\r\n"
