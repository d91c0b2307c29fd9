"""Started and tested in the ways of a redis-server: by Debian's files, systemd, syslog, pytest-redis."""

from __future__ import annotations

import configparser
import contextlib
import grp
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import evio_redis
from tests.core.harness import eventually, needs
from tests.extent import FULL, full_only
from tests.ports import free_port

from .wire import TIMEOUT, Wire, redis_server

CONF = Path("/etc/redis/redis.conf")
UNIT = Path("/lib/systemd/system/redis-server.service")
EVIO_REDIS = str(Path(sys.executable).with_name("evio-redis"))


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name is short enough for unix sockets."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@contextlib.contextmanager
def datagrams(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(TIMEOUT)
        yield listening


@pytest.mark.skipif(not (CONF.exists() and UNIT.exists()), reason="Debian's redis-server is not installed")
def test_debians_configuration_and_unit_start_it_as_they_are(short: Path) -> None:
    """But for the places of files, which are those of a user of its own, and the port."""
    moved = re.sub(r"(?m)(/var/lib/redis|/var/log/redis|/run/redis)\b", str(short), CONF.read_text())
    conf, sock = short / "redis.conf", short / "sock"
    conf.write_text(f"{moved}\nport 0\nunixsocket {sock}\n")
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(UNIT)
    assert unit["Service"]["type"] == "notify"
    _, given, *rest = shlex.split(unit["Service"]["execstart"])
    assert given == str(CONF)
    with datagrams(short / "notify") as manager:
        environment = {**os.environ, "NOTIFY_SOCKET": str(short / "notify")}
        running = subprocess.Popen([EVIO_REDIS, str(conf), *rest], env=environment, stderr=subprocess.PIPE)
        try:
            assert b"READY=1" in manager.recv(4096).split(b"\n")
            with Wire(str(sock)) as wire:  # it was no exaggeration
                assert wire.ask("SET k 1") == b"+OK\r\n"
                assert b"process_supervised:systemd\r\n" in wire.ask("INFO server")
            assert (short / "redis-server.pid").read_text() == f"{running.pid}\n"
            running.send_signal(signal.SIGTERM)
            assert b"STOPPING=1" in manager.recv(4096).split(b"\n")
            _, complaints = running.communicate(timeout=TIMEOUT)
        finally:
            running.kill()
            running.wait()
    assert (running.returncode, complaints) == (0, b"")
    assert (short / "dump.rdb").exists()
    assert not (short / "redis-server.pid").exists()
    assert "Ready to accept connections" in (short / "redis-server.log").read_text()


def test_the_systems_log(short: Path) -> None:
    code = f"""
import sys
import urllib.request
from evio_redis import __main__
from evio_redis.process import system_log
system_log.SYSTEM_LOG = {str(short / "log")!r}
sys.exit(__main__.main(sys.argv[1:]))
"""
    settings = ["--port", "0", "--unixsocket", str(short / "s"), "--syslog-enabled", "yes", "--syslog-ident", "store"]
    command = [sys.executable, "-c", code, *settings, "--syslog-facility", "local3", "--save", ""]
    with datagrams(short / "log") as system:
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            received = b""
            while b"Ready to accept" not in received:
                received = system.recv(4096)
            # Facility 19 and priority "info", 6 (RFC 3164)
            assert received.startswith(
                b"<%d>store[%d]: Ready to accept connections on unix:" % (19 * 8 + 6, running.pid)
            )
        finally:
            running.terminate()
            running.wait(TIMEOUT)
    missing = subprocess.run(
        [*command, "--maxmemory-policy", "nonsense"], capture_output=True, timeout=TIMEOUT, check=False
    )
    assert missing.returncode == 2


def test_the_systems_log_is_not_there(short: Path) -> None:
    code = f"""
import logging
from evio_redis.config.config import Config
from evio_redis.process import logfile, system_log
system_log.SYSTEM_LOG = {str(short / "none")!r}
logfile.configure(Config({{"syslog_enabled": "yes"}}))
logging.warning("one")
logging.warning("two")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert done.stderr == "evio-redis: cannot write to the system's log: [Errno 2] No such file or directory\n"
    assert [line.rpartition(" ")[2] for line in done.stdout.splitlines()] == ["one", "two"]


def test_the_group_of_the_unix_socket(short: Path) -> None:
    groups = {os.getgid(), *os.getgroups()}
    for group in (str(min(groups)), grp.getgrgid(os.getgid()).gr_name):
        path = str(short / "sock")
        with evio_redis.Server(port=0, unixsocket=path, unixsocketperm=770, unixsocketgroup=group):
            found = os.stat(path)
            assert stat.S_IMODE(found.st_mode) == 0o770
            assert str(found.st_gid) == group or grp.getgrgid(found.st_gid).gr_name == group
    with (
        pytest.raises(evio_redis.ConfigError, match="there is no group 'no-such-group'"),
        evio_redis.Server(port=0, unixsocket=str(short / "s"), unixsocketgroup="no-such-group"),
    ):
        pass


PYTEST = """
def test_it(redisdb):
    redisdb.set("k", "v")
    assert redisdb.get("k") == b"v"
    assert redisdb.info("server")["redis_version"] == "7.0.15"

def test_it_is_clean(redisdb):
    assert redisdb.keys() == []
"""


@full_only
def test_pytest_redis(short: Path) -> None:
    pytest.importorskip("pytest_redis")
    (short / "test_store.py").write_text(PYTEST)
    (short / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--redis-exec={EVIO_REDIS}"]
    done = subprocess.run(
        [*command, f"--basetemp={short}/t"], cwd=short, capture_output=True, text=True, timeout=60, check=False
    )
    assert "2 passed" in done.stdout, done.stdout


def test_info_has_what_redis_has() -> None:
    """Those who export statistics look for fields by name; ``stats/info.py`` says which are left out, and why."""
    left_out = re.compile(
        "allocator_.*|rss_overhead_.*|gcc_version|atomicvar_api|current_cow_.*|aof_last_cow_size|current_fork_perc"
        "|current_save_keys_.*|total_(reads|writes)_processed|rdb_last_load_keys_.*|cmdstat_.*|latency_percentiles_.*"
    )
    with redis_server() as real, evio_redis.Server(port=0) as ours:
        wires = [Wire(real), Wire(ours.port)]
        for wire in wires:
            wire.ask("SET k 1")
            wire.ask("NOSUCH")
        expected, got = (set(re.findall(r"(?m)^(\w+):", wire.ask("INFO everything").decode())) for wire in wires)
        for wire in wires:
            wire.close()
    assert {name for name in expected - got if not left_out.fullmatch(name)} == set()


def test_the_version_is_in_redis_form() -> None:
    needs("redis-server")
    for command, flags in (("redis-server", ["-v"]), (EVIO_REDIS, ["--version", "-v"] if FULL else ["-v"])):
        for flag in flags:
            said = subprocess.run([command, flag], capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout
            assert said.startswith("Redis server v=7.0.15 ")


def exported(port: int, exporter: str) -> str:
    """Return the metrics that redis_exporter has of a server."""
    web = free_port()
    command = [exporter, "-redis.addr", f"redis://127.0.0.1:{port}", "-web.listen-address", f"127.0.0.1:{web}"]
    running = subprocess.Popen([*command, "-export-client-list", "-check-keys", "k*"], stderr=subprocess.DEVNULL)
    try:
        found: list[str] = []

        def scraped() -> bool:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{web}/metrics") as reply:
                found.append(reply.read().decode())
            return bool(found)

        assert eventually(scraped)
        return found[0]
    finally:
        running.terminate()
        running.wait(TIMEOUT)


def test_redis_exporter() -> None:
    exporter = needs("prometheus-redis-exporter")
    names = []
    with redis_server() as real, evio_redis.Server(port=0) as ours:
        for port in (real, ours.port):
            with Wire(port) as wire:
                for command in ("SET k1 1", "GET k1", "NOSUCH", "CONFIG SET slowlog-log-slower-than 0", "PING"):
                    wire.ask(command)
            metrics = exported(port, exporter)
            assert 'redis_exporter_last_scrape_error{err=""} 0\n' in metrics
            assert "redis_up 1\n" in metrics
            names.append(set(re.findall(r"(?m)^(redis_\w+)", metrics)))
    missing = {name for name in names[0] - names[1] if not name.startswith("redis_allocator_")}
    assert missing == {
        "redis_aof_last_cow_size_bytes",
        "redis_total_reads_processed",
        "redis_total_writes_processed",
    }
