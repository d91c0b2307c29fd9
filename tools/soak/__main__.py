"""``python -m tools.soak``: see README.md."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track

from tools.bench.certificate import AUTHORITY, CERTIFICATE, KEY, issue
from tools.bench.procfs import memory_bytes

from .clients import CLIENTS, Place, Wrong, fill, make_site

__all__ = ["Sample", "main", "problems", "soak"]

SAMPLES = 60
"""Seconds between looks at memory and descriptors."""

HOT_MEMORY = 8 << 20
"""Bytes of answers that the server keeps: less than by default, so that they are there from the beginning."""

MOST_GROWTH = 4 << 20
"""Bytes that the last quarter of a soak may add to the memory that the ones before came to."""

SETTLING, LOOK = 6.0, 0.1
"""Seconds for the server to see that all clients are gone, and between looks. A client that went without a word is
waited for a few seconds."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The server's memory and descriptors at a moment."""

    seconds: float
    memory: int
    """Bytes (PSS)."""
    descriptors: int


@dataclass(slots=True)
class Result:
    """The result of a soak."""

    rounds: Counter[str] = field(default_factory=Counter)
    """The number of rounds of each client."""
    failures: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    idle: tuple[int, int] = (0, 0)
    """Descriptors with no client there: when all that is kept is full, and at the end."""
    said: str = ""
    """The server's standard error, save for the line that it has stopped."""
    status: int = 0
    """The server's exit status after SIGTERM."""


def problems(result: Result) -> list[str]:
    """Return the findings that are not as they have to be; empty when all is well."""
    found = result.failures[:5]
    last = len(result.samples) * 3 // 4
    before, after = (max(sample.memory for sample in part) for part in (result.samples[:last], result.samples[last:]))
    if after > before + MOST_GROWTH:
        found.append(f"memory grew from {before >> 20} to {after >> 20} MiB")
    if result.idle[1] > result.idle[0]:
        found.append(f"{result.idle[1]} descriptors are open with no client there, {result.idle[0]} at the beginning")
    if result.said:
        found.append(f"the server said: {result.said[:2000]}")
    if result.status:
        found.append(f"the server ended with status {result.status}")
    return found


def soak(seconds: float, threads: int, flags: list[str]) -> Result:
    """Run the server with ``flags`` under the load of ``threads`` clients."""
    with tempfile.TemporaryDirectory(prefix="evio-soak-") as name:
        directory, site = Path(name), Path(name) / "site"
        site.mkdir()
        make_site(site)
        issue(directory)
        command = [sys.executable, "-m", "evio_http", str(site), "tcp://127.0.0.1:0", "tls://127.0.0.1:0"]
        command += ["--hot-memory", str(HOT_MEMORY), *flags]
        command += ["--tls-cert", str(directory / CERTIFICATE), "--tls-key", str(directory / KEY)]
        errors = directory / "stderr"
        with errors.open("wb") as stderr:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        try:
            result = _load(process, site, str(directory / AUTHORITY), seconds, threads)
            process.terminate()
            result.status = process.wait(30)
        finally:
            process.kill()
            process.communicate()
        lines = errors.read_text(errors="replace").splitlines(keepends=True)
        result.said = "".join(line for line in lines if not line.endswith(" INFO stopped\n"))
        return result


def _load(process: subprocess.Popen[str], site: Path, authority: str, seconds: float, threads: int) -> Result:
    assert process.stdout is not None
    ports = [int(re.findall(r":([0-9]+)/$", process.stdout.readline())[0]) for _ in range(2)]
    result, stop = Result(), threading.Event()
    places = [Place(ports[n % 2], authority if n % 2 else None, site, n) for n in range(threads)]
    for place in places[:2]:
        fill(place)
    for place in places:
        for client in CLIENTS:
            client(place)
    first = _idle_descriptors(process.pid)

    def run(place: Place) -> None:
        clients = list(CLIENTS)
        while not stop.is_set():
            place.random.shuffle(clients)
            for client in clients:
                try:
                    client(place)
                    result.rounds[client.__name__] += 1
                except (OSError, ValueError, Wrong) as error:
                    result.failures.append(f"{client.__name__}: {error!r}")

    running = [threading.Thread(target=run, args=(place,)) for place in places]
    for thread in running:
        thread.start()
    begin = time.monotonic()
    try:
        console = Console(stderr=True)
        for number in track(
            range(1, SAMPLES + 1), "soaking", console=console, transient=True, disable=not console.is_terminal
        ):
            time.sleep(max(0.0, begin + number * seconds / SAMPLES - time.monotonic()))
            memory, open_ = memory_bytes(process.pid), _descriptors(process.pid)
            result.samples.append(Sample(time.monotonic() - begin, memory, open_))
    finally:
        stop.set()
        for thread in running:
            thread.join()
    result.idle = first, _idle_descriptors(process.pid, first)
    return result


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _idle_descriptors(pid: int, most: int = 0) -> int:
    """Count the descriptors that are open when the server has seen its clients go: when they are ``most``, or after a
    while."""
    deadline = time.monotonic() + SETTLING
    while _descriptors(pid) > most and time.monotonic() < deadline:
        time.sleep(LOOK)
    return _descriptors(pid)


def main() -> int:
    """Soak, and say how it went. Returns 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--threads", type=int, default=6, help="clients; every second one over TLS")
    parser.add_argument("flags", nargs="*", help="flags for evio-http, behind --")
    options = parser.parse_args()
    result = soak(options.seconds, options.threads, options.flags)
    for sample in result.samples[:: SAMPLES // 12]:
        print(f"{sample.seconds:7.0f} s  {sample.memory / (1 << 20):7.1f} MiB  {sample.descriptors:4} descriptors")
    print("rounds:", ", ".join(f"{count} {name}" for name, count in sorted(result.rounds.items())))
    print(f"descriptors with no client there: {result.idle[0]}, at the end {result.idle[1]}")
    found = problems(result)
    for problem in found:
        print("WRONG:", problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
