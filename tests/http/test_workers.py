"""Several processes on one port: replaced under load without a failed request, and counted together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.core.harness import TIMEOUT, connect, eventually, needs, receive_all
from tests.extent import FULL, full_only

from .serving import Served, serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for workers in /proc")


needs_metrics = pytest.mark.skipif(find_spec("prometheus_client") is None, reason="prometheus_client is not installed")


@pytest.fixture
def site(tmp_path: Path) -> str:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"x" * 1024)
    return str(folder)


def workers(served: Served) -> set[int]:
    """The processes of the supervisor."""
    pid = served.process.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def roll(served: Served) -> None:
    """Replace the workers and wait until the old ones have ended."""
    before = workers(served)
    served.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: not workers(served) & before and len(workers(served)) == len(before))


def get(served: Served, path: str) -> bytes:
    with connect(("127.0.0.1", served.port)) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return receive_all(sock)


def scrape(served: Served) -> dict[str, float]:
    """The samples by name and labels."""
    found = re.findall(r"^(evio_\S+) (\S+)$", get(served, "/metrics").decode(), re.MULTILINE)
    return {name: float(value) for name, value in found}


OK = 'evio_http_responses_total{method="GET",status="200"}'


def under_load(command: list[str], served: Served, until: Callable[[int], bool]) -> str:
    """Run a load generator and replace the workers while ``until`` is false of how often that was; returns its
    output. It is told to end if it has not by itself."""
    before = scrape(served).get(OK, 0.0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as load:
        try:
            assert eventually(lambda: scrape(served)[OK] > before + 100)
            rolls = 0
            while load.poll() is None and not until(rolls):
                roll(served)
                rolls += 1
            assert rolls > 0
            if load.poll() is None:
                load.send_signal(signal.SIGINT)
            return load.communicate(timeout=TIMEOUT)[0]
        finally:
            load.kill()


@needs_metrics
@pytest.mark.parametrize("flags", [[], ["--reuseport"]] if FULL else [[]], ids=lambda flags: flags[0] if flags else "")
def test_no_request_of_wrk_fails_while_workers_are_replaced(site: str, flags: list[str]) -> None:
    wrk = needs("wrk")
    with serving(site, "--port", "0", "--workers", "2", "--metrics", "/metrics", *flags) as served:
        command = [wrk, "-t1", "-c8", "-d60", f"{served.url}/a.txt"]
        said = under_load(command, served, lambda rolls: rolls == 2)
        assert "Socket errors" not in said
        assert "Non-2xx" not in said
        answered = int(re.findall(r"(\d+) requests in", said)[0])
        assert scrape(served)[OK] >= answered > 100  # none of those whom old workers had is missing
        assert served.stop() == 0


@needs_metrics
@full_only
def test_no_request_of_h2load_fails_while_workers_are_replaced(site: str) -> None:
    h2load = needs("h2load")
    with serving(site, "--port", "0", "--workers", "2", "--metrics", "/metrics") as served:
        command = [h2load, "--h1", "-c", "8", "-n", "8000", f"{served.url}/a.txt"]
        said = under_load(command, served, lambda rolls: False)
        assert "8000 done, 8000 succeeded, 0 failed, 0 errored, 0 timeout" in said
        assert served.stop() == 0


@needs_metrics
def test_counters_are_those_of_all_workers_and_never_go_down(site: str) -> None:
    with serving(site, "--port", "0", "--workers", "3", "--metrics", "/metrics") as served:
        scrapes = 0

        def scraped() -> dict[str, float]:
            nonlocal scrapes
            scrapes += 1
            return scrape(served)

        for _ in range(30):
            assert get(served, "/a.txt").endswith(b"x" * 1024)
        found = scraped()
        assert (found[OK], found["evio_http_seconds_count"]) == (30, 30)
        content = found["evio_http_content_bytes_total"]
        assert content == 30 * 1024
        # One of them may still be starting.
        assert eventually(lambda: scraped()["evio_http_processes"] == 3)
        # That of the last request may still be closing, in another worker.
        assert eventually(lambda: scraped()["evio_http_connections"] == 1)

        with connect(("127.0.0.1", served.port)) as kept:
            kept.sendall(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
            assert kept.recv(100)
            victims = workers(served)
            for victim in victims:
                os.kill(victim, signal.SIGKILL)
            assert eventually(lambda: len(workers(served) - victims) == 3)
            found = scraped()
            assert found[OK] == 30 + 1 + scrapes - 1  # the scrapes before
            assert found["evio_http_connections"] == 1  # that of the killed worker is none
        roll(served)
        found = scraped()
        assert found[OK] == 30 + 1 + scrapes - 1
        assert (found["evio_http_connections"], found["evio_http_processes"]) == (1, 3)
        assert found["evio_http_content_bytes_total"] > content
        assert served.stop() == 0


def test_regions_are_taken_over_with_what_is_in_them() -> None:
    """The processes of this test fork from one that has counted nothing itself."""
    from evio_http.logs.counters import SharedCounters

    counters = SharedCounters(3)

    def counting(amount: float) -> int:
        """Count in another process, until it is killed; returns its pid."""
        ready, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                counters.claim()
                counters.cells[0] += amount
                counters.cells[2] = amount
                os.write(told, b"r")
                signal.pause()
            finally:
                os._exit(1)
        os.close(told)
        assert os.read(ready, 1) == b"r"
        os.close(ready)
        return pid

    def kill(pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def found() -> list[tuple[list[float], bool]]:
        return [(list(numbers), running) for numbers, running in counters.regions()]

    assert found() == []
    first, second = counting(1.0), counting(10.0)
    assert found() == [([1.0, 0.0, 1.0], True), ([10.0, 0.0, 10.0], True)]
    kill(first)
    assert found() == [([1.0, 0.0, 1.0], False), ([10.0, 0.0, 10.0], True)]
    third = counting(100.0)  # in the region of the first
    assert found() == [([101.0, 0.0, 100.0], True), ([10.0, 0.0, 10.0], True)]
    counters.claim()
    counters.cells[1] = 5.0
    assert found()[2] == ([0.0, 5.0, 0.0], True)
    kill(second)
    kill(third)
    assert [running for _, running in found()] == [False, False, True]
    counters.close()
