"""Metrics for Prometheus."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import redis

import evio_redis
from evio_redis.__main__ import main
from evio_redis.stats.gathered import GatheringCollector
from evio_redis.stats.metrics import COUNTERS, GAUGES
from tests.core.harness import eventually
from tests.popen import Popen, run
from tests.ports import free_port, free_ports

prometheus_client = pytest.importorskip("prometheus_client")
parser = pytest.importorskip("prometheus_client.parser")


def scrape(port: int) -> dict[tuple[str, str], float]:
    """The samples by name and label."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as response:
        text = response.read().decode()
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("loops", [1, 2])
def test_metrics_are_those_of_info(loops: int) -> None:
    port = free_port()
    with evio_redis.Server(port=0, metrics_port=port, loops=loops) as server, redis.Redis(port=server.port) as client:
        client.set("a", 1)
        client.set("b", 2, ex=100)
        client.get("a")
        client.get("none")
        found = scrape(port)
    assert found["evio_redis_connected_clients", ""] == 1
    assert found["evio_redis_keyspace_hits_total", ""] == 1
    assert found["evio_redis_keyspace_misses_total", ""] == 1
    assert found["evio_redis_command_calls_total", "set"] == 2
    assert 0 < found["evio_redis_command_seconds_total", "get"] < 1
    assert found["evio_redis_keys", "db0"] == 2
    assert found["evio_redis_expiring_keys", "db0"] == 1
    for name in GAUGES:
        assert (f"evio_redis_{name}", "") in found or name == "rdb_last_save_time"
    for name in COUNTERS:
        assert (f"evio_redis_{name.removeprefix('total_')}_total", "") in found
    with pytest.raises(OSError):
        scrape(port)  # it ends with the server


def test_a_port_that_is_taken_is_told_of_and_nothing_stays(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        pid_file = tmp_path / "server.pid"
        assert main(["--port", "0", "--metrics-port", str(port), "--pidfile", str(pid_file)]) == 1
    assert f"cannot listen on http://127.0.0.1:{port}: Address already in use" in capfd.readouterr().out
    assert not pid_file.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no workers on Windows")
def test_one_scrape_shows_all_workers(tmp_path: Path) -> None:
    base, metrics = free_ports(2)[0], free_ports(3)[0]
    command = [sys.executable, "-m", "evio_redis", "--port", str(base), "--workers", "2", "--dir", str(tmp_path)]
    with Popen([*command, "--metrics-port", str(metrics)], stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            for line in running.stdout:
                if "All 2 workers serve" in line:
                    break
            with redis.Redis(port=base + 1) as client:
                client.set("a", 1)  # one of its slots
                found = scrape(metrics)
                pid = client.info("server")["process_id"]
            assert [found["evio_redis_up", str(port)] for port in (base, base + 1)] == [1, 1]
            assert found["evio_redis_keys", f"db0{base + 1}"] == 1
            assert found["evio_redis_command_calls_total", f"set{base + 1}"] == 1
            assert scrape(metrics + 2)["evio_redis_keys", "db0"] == 1
            os.kill(pid, signal.SIGKILL)

            def is_back() -> bool:
                found = scrape(metrics)
                return found["evio_redis_up", str(base + 1)] == 1 and ("evio_redis_keys", f"db0{base + 1}") not in found

            assert eventually(is_back)
            running.terminate()
            assert running.wait(20) == 0
        finally:
            running.kill()


def test_a_worker_that_does_not_answer_is_named_and_the_others_are_shown() -> None:
    port = free_port()
    with evio_redis.Server(port=0, metrics_port=port):
        collector = GatheringCollector({"a": f"http://127.0.0.1:{free_port()}/", "b": f"http://127.0.0.1:{port}/"})
        families = {family.name: family for family in collector.collect()}
    assert [sample.value for sample in families["evio_redis_up"].samples] == [0, 1]
    assert [sample.labels for sample in families["evio_redis_maxclients"].samples] == [{"worker": "b"}]
    assert families["evio_redis_commands_processed"].type == "counter"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no workers on Windows")
def test_a_port_for_metrics_that_is_taken_ends_all_workers(tmp_path: Path) -> None:
    base, port = free_ports(2)[0], free_ports(3)[0]  # the workers have the ports behind it
    with socket.create_server(("127.0.0.1", port)):
        command = [sys.executable, "-m", "evio_redis", "--port", str(base), "--workers", "2", "--dir", str(tmp_path)]
        command += ["--metrics-port", str(port)]
        done = run(command, timeout=40)
    assert done.returncode == 1
    assert f"cannot listen on http://127.0.0.1:{port}: Address already in use" in done.stderr
    assert "The process that shows metrics does not run (exit status 1): all end" in done.stdout
