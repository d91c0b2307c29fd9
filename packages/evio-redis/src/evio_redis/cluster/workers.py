"""A cluster of processes on one machine (``--workers``), which is the way to use all of its CPUs.

Each worker is a server of its own with a part of the slots, a port, and a directory; this process starts them, starts
one again that has ended by itself, and passes on signals.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from ..config.config import Config
from ..errors import ConfigError
from .nodes import make_lines, read_map

__all__ = ["Workers"]

log: logging.Logger = logging.getLogger("evio_redis")

EVERYWHERE = frozenset(("*", "-*", "0.0.0.0", "::", "-::*"))
"""Hosts to bind that are no address to be told to clients."""

EXCLUDED = ("unixsocket", "tls-port", "replicaof", "cluster-enabled")
"""Directives that make no sense for several servers alike."""

SHORTEST_LIFE = 1.0
"""Seconds. A worker that ends sooner with an error is not started again: nor would the next one run."""

PR_SET_PDEATHSIG = 1
"""Of prctl(2): have a signal sent when the parent is gone."""


class Workers:
    """The workers of one command line. Raises :class:`ConfigError` for what they cannot have."""

    def __init__(self, config: Config, arguments: Sequence[str]) -> None:
        for name in EXCLUDED:
            if getattr(config, name.replace("-", "_")):
                raise ConfigError(f"workers and {name} exclude each other")
        if not 0 < config.port <= 65536 - config.workers:
            raise ConfigError(f"workers need {config.workers} ports, from --port on")
        if config.metrics_port > 65536 - config.workers:
            raise ConfigError(f"workers need {config.workers} ports for metrics, from --metrics-port on")
        if "-" in arguments[-1:]:
            raise ConfigError("workers cannot all read the configuration from standard input: name a file")
        host = config.cluster_announce_ip or config.bind[0]
        if host in EVERYWHERE:
            raise ConfigError("workers tell clients where others are: give --cluster-announce-ip, or --bind one host")
        self._directory = Path(config.dir)
        self._config_file = config.cluster_config_file
        self._metrics_ports = config.metrics_port - config.port if config.metrics_port else None
        self._nodes = [(_identity(port), host, port) for port in range(config.port, config.port + config.workers)]
        self._arguments = list(arguments)
        self._running: dict[int, tuple[subprocess.Popen[bytes], float]] = {}  # by port: and since when
        self._stopping = False

    def run(self) -> int:
        """Run them until this process is told to stop; returns the exit status. Raises :class:`ConfigError` and
        ``OSError`` for directories that cannot be used."""
        if sys.platform == "win32":
            raise ConfigError("workers are not offered on Windows")
        for identity, _, port in self._nodes:
            self._prepare(identity, port)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        for number in (signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, self._pass_on)
        first, last = self._nodes[0][2], self._nodes[-1][2]
        log.info("Starting %d workers, a cluster on the ports %d to %d", len(self._nodes), first, last)
        for _, _, port in self._nodes:
            self._start(port)
        return self._supervise()

    def _prepare(self, identity: str, port: int) -> None:
        """Make the directory of a worker, and the map in it."""
        directory = self._directory / f"worker-{port}"
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / self._config_file
        if path.exists():
            known = read_map(path)
            if {node.id for node in known.nodes} != {each[0] for each in self._nodes}:
                raise ConfigError(
                    f"{directory} has the data of {len(known.masters)} workers, and {len(self._nodes)} have other"
                    " slots: start as many, or remove it"
                )
        lines = "".join(f"{line}\n" for line in make_lines(self._nodes, identity))
        temporary = path.with_name(f"{path.name}.tmp")
        temporary.write_text(lines)
        os.replace(temporary, path)

    def _start(self, port: int) -> None:
        own = {"port": str(port), "dir": str(self._directory / f"worker-{port}"), "cluster-enabled": "yes"}
        own |= {"workers": "0", "pidfile": ""}
        if self._metrics_ports is not None:
            own["metrics-port"] = str(port + self._metrics_ports)
        words = [word for name, value in own.items() for word in (f"--{name}", value)]
        process = subprocess.Popen(
            [sys.executable, "-m", "evio_redis", *self._arguments, *words],
            preexec_fn=_end_with_the_parent,  # noqa: PLW1509  # no threads here
        )
        self._running[port] = process, time.monotonic()

    def _supervise(self) -> int:
        """Wait for workers to end, until all have; returns the exit status."""
        worst = 0
        while self._running:
            pid, status = os.waitpid(-1, 0)
            port = next((port for port, (process, _) in self._running.items() if process.pid == pid), None)
            if port is None:
                continue
            process, since = self._running.pop(port)
            process.returncode = code = os.waitstatus_to_exitcode(status)
            if self._stopping:
                worst = max(worst, code)  # one that was only starting is ended by the signal
            elif code > 0 and time.monotonic() - since < SHORTEST_LIFE:
                log.critical("The worker on port %d does not run (exit status %d): all end", port, code)
                worst = code
                self._stop(signal.SIGTERM, None)
            else:
                how = f"by signal {-code}" if code < 0 else f"with exit status {code}"
                log.warning("The worker on port %d has ended %s: it is started again", port, how)
                time.sleep(max(0.0, since + SHORTEST_LIFE - time.monotonic()))
                self._start(port)
        return worst

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        self._pass_on(number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        for process, _ in list(self._running.values()):
            os.kill(process.pid, number)


def _identity(port: int) -> str:
    """Return the id of a worker: the same each time."""
    return hashlib.sha1(b"evio-redis worker %d" % port, usedforsecurity=False).hexdigest()


def _end_with_the_parent() -> None:
    """Have the kernel end a worker whose parent was killed; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
