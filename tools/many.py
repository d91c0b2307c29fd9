"""Measure what a second process gives: ``python -m tools.many``, which prints the table of docs/guide/many.md.

The load generator runs beside the servers and takes its share of the CPUs; so the CPU time of a request is shown, too,
from which follows what CPUs would give that the servers have for themselves. Servers are interleaved, and the best of
several rounds is shown.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.bench.procfs import cpu_seconds, settled
from tools.bench.server import BenchError, python

__all__ = ["Figures", "main", "measure"]

REQUESTS = 400_000
"""Of redis-benchmark, in a round; wrk sends as many as it can in ``SECONDS``."""

SECONDS = 3
CLIENTS = 50
TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One round."""

    rate: float
    """Requests per second."""
    server: float
    """CPU time of a request in the server's processes, in microseconds."""
    load: float
    """The same in the load generator."""


Load = Callable[[int, int], tuple[int, float]]
"""From a port and the number of processes to the number of requests and the seconds that they took."""


@contextlib.contextmanager
def started(command: list[str], directory: Path, ready: str) -> Iterator[int]:
    """A server until the block ends; yields its process id once ``ready`` is in what it prints."""
    with open(directory / "output", "w+b") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=directory)
        try:
            deadline = time.monotonic() + TIMEOUT
            while ready not in (directory / "output").read_text():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise BenchError(f"{command[2]} does not start: {(directory / 'output').read_text()}")
                time.sleep(0.05)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(TIMEOUT)


def two_ports() -> int:
    """The first of two free ports in a row."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


def run(command: list[str]) -> str:
    """The output of a load generator. Raises :class:`BenchError`."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"{command[0]}: {error}") from None


def redis_load(pipeline: int, requests: int) -> Load:
    """SET, then GET, of keys at random."""

    def load(port: int, workers: int) -> tuple[int, float]:
        cluster = ["--cluster"] if workers > 1 else []  # it takes none of one node
        command = ["redis-benchmark", *cluster, "-p", str(port), "-c", str(CLIENTS), "-P", str(pipeline), "-q"]
        said = run([*command, "-n", str(requests), "-r", "100000", "-t", "set,get"])
        rates = [float(rate) for rate in re.findall(r"([\d.]+) requests per second", said)]
        if len(rates) != 2:
            raise BenchError(f"redis-benchmark: {said}")
        return 2 * requests, sum(requests / rate for rate in rates)

    return load


def http_load(port: int, workers: int) -> tuple[int, float]:
    """A file of 1 KiB."""
    url = f"http://127.0.0.1:{port}/file.txt"
    said = run(["wrk", "-t1", f"-c{CLIENTS}", f"-d{SECONDS}", url])
    found = re.search(r"(\d+) requests in ([\d.]+)s", said)
    if found is None or "errors" in said:
        raise BenchError(f"wrk: {said}")
    return int(found[1]), float(found[2])


def redis_command(workers: int, port: int, directory: Path) -> tuple[list[str], str]:
    """evio-redis, and what it says when it is ready."""
    command = python("evio_redis", "--port", str(port), "--workers", str(workers), "--dir", str(directory))
    return command, f"All {workers} workers serve"


def http_command(workers: int, port: int, directory: Path) -> tuple[list[str], str]:
    """evio-http, and what it says when it is ready."""
    (directory / "site").mkdir()
    (directory / "site/file.txt").write_bytes(b"x" * 1024)
    return python("evio_http", str(directory / "site"), "--port", str(port), "--workers", str(workers)), "serving"


WORKLOADS: dict[str, tuple[Callable[[int, int, Path], tuple[list[str], str]], Callable[[int], Load]]] = {
    "evio-redis, one at a time": (redis_command, lambda requests: redis_load(1, requests // 4)),
    "evio-redis, 16 pipelined": (redis_command, lambda requests: redis_load(16, requests)),
    "evio-http, 1 KiB": (http_command, lambda requests: http_load),
}


def measure(name: str, workers: int, requests: int) -> Figures:
    """One round. Raises :class:`BenchError`."""
    make, load = WORKLOADS[name]
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        port = two_ports()
        command, ready = make(workers, port, directory)
        with started(command, directory, ready) as pid:
            load(requests // 20)(port, workers)  # what is done once is done
            before, own = settled(cpu_seconds, pid), _children()
            count, seconds = load(requests)(port, workers)
            after, end = settled(cpu_seconds, pid), _children()
    return Figures(count / seconds, (after - before) / count * 1e6, (end - own) / count * 1e6)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # of load generators: servers that run do not count
    return used.ru_utime + used.ru_stime


def main(arguments: list[str] | None = None) -> int:
    """Print the table; returns the exit status, 2 if something cannot be measured."""
    parser = argparse.ArgumentParser(description="measure one process beside two", prog="python -m tools.many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    flags = parser.parse_args(arguments)
    rounds: dict[tuple[str, int], list[Figures]] = {}
    try:
        for _ in range(flags.rounds):
            for name in WORKLOADS:
                for workers in (1, 2):
                    rounds.setdefault((name, workers), []).append(measure(name, workers, flags.requests))
    except BenchError as error:
        print(f"many: {error}", file=sys.stderr)
        return 2
    print(f"{os.cpu_count()} CPUs, shared with the load generator\n")
    print("| | 1 process | 2 processes | ratio | CPU of a request: server, load | *8 CPUs, computed* |")
    print("|---|---|---|---|---|---|")
    for name in WORKLOADS:
        one, two = (max(rounds[name, workers], key=lambda figures: figures.rate) for workers in (1, 2))
        print(
            f"| {name} | {one.rate:,.0f}/s | {two.rate:,.0f}/s | {two.rate / one.rate:.2f} "
            f"| {two.server:.1f} µs, {two.load:.1f} µs | *{float(f'{8e6 / two.server:.2g}'):,.0f}/s* |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
