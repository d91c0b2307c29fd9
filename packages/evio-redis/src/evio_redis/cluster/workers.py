"""A cluster of processes on one machine (``--workers``), which is the way to use all of its CPUs.

Each worker is a server of its own with a part of the slots, a port, and a directory; this process starts them, starts
one again that has ended by itself, and passes on signals. They tell it how they are as they would tell a service
manager (sd_notify(3)), and it tells the service manager, if there is one.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from evio_core.systemd import ServiceManager

from ..config.config import Config
from ..errors import ConfigError
from .nodes import make_lines, read_map

assert sys.platform != "win32"

__all__ = ["Workers"]

log: logging.Logger = logging.getLogger("evio_redis")

EVERYWHERE = frozenset(("*", "-*", "0.0.0.0", "::", "-::*"))
"""Hosts to bind that are no address to be told to clients."""

EXCLUDED = ("unixsocket", "tls-port", "proxy-protocol-port", "replicaof", "cluster-enabled")
"""Directives that make no sense for several servers alike."""

SHARED = ("aclfile", "logfile", "tls-ca-cert-file", "tls-cert-file", "tls-key-file")
"""Directives that name files which all have; a worker's own directory is another."""

PAUSE = 1.0
"""Seconds between two starts of a worker, at least."""

PR_SET_PDEATHSIG = 1
"""Of prctl(2): have a signal sent when the parent is gone."""


@dataclass(slots=True)
class _Child:
    """A process that is started again when it ends: a worker, or the one that shows the metrics of all."""

    name: str
    command: list[str]
    is_server: bool
    path: str
    """Of the socket on which it is heard."""
    socket: socket.socket
    process: subprocess.Popen[bytes] | None = None
    since: float = 0.0
    beat: float = 0.0
    """The time at which it was last heard, as of ``time.monotonic``."""
    ready: bool = False
    reloading: bool = False


class Workers:
    """The workers of one command line, which was given in the directory ``started_in``. Raises :class:`ConfigError` for
    what they cannot have."""

    def __init__(self, config: Config, arguments: Sequence[str], started_in: str) -> None:
        for name in EXCLUDED:
            if getattr(config, name.replace("-", "_")):
                raise ConfigError(f"workers and {name} exclude each other")
        if not 0 < config.port <= 65536 - config.workers:
            raise ConfigError(f"workers need {config.workers} ports, from --port on")
        if config.metrics_port > 65535 - config.workers:
            raise ConfigError(f"workers need {config.workers + 1} ports for metrics, from --metrics-port on")
        if "-" in arguments[-1:]:
            raise ConfigError("workers cannot all read the configuration from standard input: name a file")
        host = config.cluster_announce_ip or config.bind[0]
        if host in EVERYWHERE:
            raise ConfigError("workers tell clients where others are: give --cluster-announce-ip, or --bind one host")
        self._directory = Path(config.dir)
        self._config_file = config.cluster_config_file
        self._metrics = config.metrics_port
        self._nodes = [(_identity(port), host, port) for port in range(config.port, config.port + config.workers)]
        self._arguments = list(arguments)
        self._started_in = started_in
        named = ((name, getattr(config, name.replace("-", "_"))) for name in SHARED)
        self._shared = {name: str(self._directory / file) for name, file in named if file}
        self._supervised = config.supervised in ("systemd", "auto")
        self._manager: ServiceManager | None = None
        self._children: list[_Child] = []
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._told = False  # that all serve
        self._reloading = False
        self._next_beat = 0.0
        self._worst = 0

    def run(self) -> int:
        """Run them until this process is told to stop; returns the exit status. Raises :class:`ConfigError` and
        ``OSError`` for directories that cannot be used."""
        for identity, _, port in self._nodes:
            self._prepare(identity, port)
        if self._supervised:
            self._manager = ServiceManager.from_environment()
        with ExitStack() as stack:
            self._catch_signals(stack)
            self._make_children(stack)
            first, last = self._nodes[0][2], self._nodes[-1][2]
            log.info("Starting %d workers, a cluster on the ports %d to %d", len(self._nodes), first, last)
            for child in self._children:
                self._start(child)
            while not self._ended():
                self._turn()
        return self._worst

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

    def _catch_signals(self, stack: ExitStack) -> None:
        waiting, wake = os.pipe()
        for fd in (waiting, wake):
            os.set_blocking(fd, False)
            stack.callback(os.close, fd)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        stack.callback(signal.set_wakeup_fd, -1)
        self._selector.register(waiting, selectors.EVENT_READ)
        stack.callback(self._selector.close)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._reload)
        for number in (signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, lambda number, frame: None)

    def _make_children(self, stack: ExitStack) -> None:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="evio-redis-"))
        python = [sys.executable, "-m"]
        sources = []
        for number, (_, host, port) in enumerate(self._nodes, 1):
            own = {"port": str(port), "dir": str(self._directory / f"worker-{port}"), "cluster-enabled": "yes"}
            own |= {"workers": "0", "pidfile": "", "supervised": "systemd", **self._shared}
            if self._metrics:
                own["metrics-port"] = str(self._metrics + number)
                sources.append(f"{port}=http://{f'[{host}]' if ':' in host else host}:{self._metrics + number}/metrics")
            words = [word for name, value in own.items() for word in (f"--{name}", value)]
            command = [*python, "evio_redis", *self._arguments, *words]
            self._add(stack, f"The worker on port {port}", command, f"{directory}/{port}", is_server=True)
        if self._metrics:
            command = [*python, "evio_redis.stats.gathered", self._nodes[0][1], str(self._metrics), *sources]
            self._add(stack, "The process that shows metrics", command, f"{directory}/metrics", is_server=False)

    def _add(self, stack: ExitStack, name: str, command: list[str], path: str, is_server: bool) -> None:
        sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        sock.setblocking(False)
        sock.bind(path)
        child = _Child(name, command, is_server, path, sock)
        self._selector.register(sock, selectors.EVENT_READ, child)
        self._children.append(child)

    def _start(self, child: _Child) -> None:
        environment = {**os.environ, "NOTIFY_SOCKET": child.path}
        environment.pop("WATCHDOG_PID", None)  # ours; theirs is whoever reads the rest
        if self._manager is None or not self._manager.watchdog:
            environment.pop("WATCHDOG_USEC", None)
        child.ready = child.reloading = False
        child.since = child.beat = time.monotonic()
        child.process = subprocess.Popen(
            child.command,
            env=environment,
            cwd=self._started_in,
            preexec_fn=_end_with_the_parent,  # noqa: PLW1509  # no threads here
            process_group=0,  # or a terminal's SIGINT would reach it twice, which means: at once
        )
        if self._stopping:  # the signal came meanwhile, and could not be passed on
            self._send(child, signal.SIGTERM)

    # -- the loop

    def _ended(self) -> bool:
        return self._stopping and all(child.process is None for child in self._children)

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._timeout()):
            if key.data is None:
                os.read(key.fd, 4096)
            else:
                self._hear(key.data)
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._hear(child)  # what it said before it ended
                self._on_end(child)
        now = time.monotonic()
        for child in self._children:
            if child.process is None and not self._stopping and now >= child.since + PAUSE:
                self._start(child)
        self._tell(now)

    def _timeout(self) -> float | None:
        moments = []
        if not self._stopping:
            moments = [child.since + PAUSE for child in self._children if child.process is None]
        if self._manager is not None and self._manager.watchdog and self._told:
            moments.append(self._next_beat)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _hear(self, child: _Child) -> None:
        with suppress(BlockingIOError):
            while True:
                lines = child.socket.recv(4096).split(b"\n")
                child.beat = time.monotonic()
                if b"READY=1" in lines:
                    child.ready, child.reloading = True, False

    def _on_end(self, child: _Child) -> None:
        assert child.process is not None
        code, child.process = child.process.returncode, None
        if self._stopping:
            self._worst = max(self._worst, code)  # one that was only starting is ended by the signal
        elif code > 0 and not self._told and not child.ready:
            log.critical("%s does not run (exit status %d): all end", child.name, code)
            self._worst = code
            self._stop(signal.SIGTERM, None)
        else:
            how = f"by signal {-code}" if code < 0 else f"with exit status {code}"
            log.warning("%s has ended %s: it is started again", child.name, how)

    def _tell(self, now: float) -> None:
        """Tell the service manager that all serve, once they do and after a reload, and that none of them hangs."""
        if (
            not self._stopping
            and (not self._told or self._reloading)
            and all(child.ready and not child.reloading for child in self._children)
        ):
            if not self._told:
                log.info("All %d workers serve", len(self._nodes))
            self._told, self._reloading = True, False
            if self._manager is not None:
                self._manager.ready()
        if self._manager is not None and self._manager.watchdog and self._told and now >= self._next_beat:
            self._next_beat = now + self._manager.watchdog / 2
            oldest = now - self._manager.watchdog
            if all(child.beat >= oldest for child in self._children if child.is_server and child.ready):
                self._manager.alive()

    # -- signals

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._manager is not None and not self._stopping:
            self._manager.stopping()
        self._stopping = True
        for child in self._children:
            self._send(child, number)

    def _reload(self, number: int, frame: FrameType | None) -> None:
        """Have certificates read anew. A worker that only starts does so anyway, and could not take the signal."""
        if self._stopping or not self._told:
            return
        self._reloading = True
        if self._manager is not None:
            self._manager.reloading()
        for child in self._children:
            if child.is_server and child.ready:
                child.reloading = True
                self._send(child, number)

    def _send(self, child: _Child, number: int) -> None:
        if child.process is not None:
            child.process.send_signal(number)


def _identity(port: int) -> str:
    """Return the id of a worker: the same each time."""
    return hashlib.sha1(b"evio-redis worker %d" % port, usedforsecurity=False).hexdigest()


def _end_with_the_parent() -> None:
    """Have the kernel end a worker whose parent was killed; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
