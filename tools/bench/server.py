"""The servers that are compared: what each needs, how it is started on a core of its own, how it ends.

Every server is a process of its own, found by its port. However a measurement ends, the server is stopped;
when the server is at fault, what it printed is in the error.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = [
    "ROOT",
    "BenchError",
    "Peer",
    "Requirement",
    "Server",
    "ServerError",
    "blamed",
    "pinned",
    "python",
    "require",
    "running",
]

ROOT = Path(__file__).parents[2]
"""The top of the project: servers are started there, so that ``-m tools.bench.peers.bare`` is found."""

START_TIMEOUT = 15.0
STOP_TIMEOUT = 10.0
"""Seconds for a server to accept, and to end after SIGTERM."""

OUTPUT_SHOWN = 2000
"""Characters, from the end of a failed server's output, that an error shows."""


class BenchError(Exception):
    """Nothing, or nothing true, can be measured. The text says why and what to do."""


class ServerError(BenchError):
    """One of several servers is at fault. ``server`` is its name, empty once what it printed is in the text."""

    def __init__(self, text: str, server: str = "") -> None:
        super().__init__(text)
        self.server = server


@contextmanager
def blamed(name: str) -> Iterator[None]:
    """Make what is raised in the block an error of the server of that name."""
    try:
        yield
    except Exception as error:
        raise ServerError(str(error), name) from error


@dataclass(frozen=True, slots=True)
class Requirement:
    """A program or Python module that has to be installed."""

    name: str
    hint: str
    """The command that installs it."""
    program: bool = False

    def met(self) -> bool:
        """True if it is there."""
        if self.program:
            return shutil.which(self.name) is not None
        return importlib.util.find_spec(self.name) is not None


@dataclass(frozen=True, slots=True)
class Peer:
    """One of the servers in a comparison."""

    name: str
    command: Callable[[int, Path], list[str]]
    """From the port to listen on, and the folder with what the workload prepared, to the command line."""
    requires: tuple[Requirement, ...] = ()
    optional: bool = False
    """Left out of a run, unless it is asked for by name, where it is not installed."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running peer."""

    name: str
    pid: int
    port: int
    directory: Path
    """The folder that the workload prepared."""


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs ``module`` with the interpreter that runs this."""
    return [sys.executable, "-m", module, *arguments]


def require(requirements: Iterable[Requirement]) -> None:
    """Raises :class:`BenchError` that names everything that is missing and how to install it."""
    missing = dict.fromkeys(each for each in requirements if not each.met())
    if missing:
        raise BenchError("; ".join(f"{each.name} is not installed: {each.hint}" for each in missing))


@contextmanager
def pinned(cores: Collection[int]) -> Iterator[None]:
    """Keep this thread, and the processes that it starts meanwhile, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(peer: Peer, cores: Collection[int], directory: Path) -> Iterator[Server]:
    """``peer``, accepting, pinned to ``cores``; stopped at the end of the block.

    Raises :class:`ServerError`, with what the server printed, when it does not start, when the block fails, unless
    with that of another server, and when it does not end on SIGTERM.
    """
    port = free_port()
    with tempfile.TemporaryFile() as output:
        process = None
        by_itself = True
        try:
            # An interrupt while a process is being started would leave one that nobody knows of.
            with deferred(signal.SIGINT, signal.SIGTERM):
                process = start(peer.command(port, directory), cores, output)
            wait_until_accepting(process, port)
            yield Server(peer.name, process.pid, port, directory)
        except Exception as error:
            if isinstance(error, ServerError) and error.server != peer.name:
                raise
            if process:
                stop(process)
            raise ServerError(f"{peer.name}: {error}; {printed(output)}") from error
        finally:
            if process:
                by_itself = stop(process)
        if not by_itself:
            raise ServerError(f"{peer.name} did not end within {STOP_TIMEOUT:g} s of SIGTERM; {printed(output)}")


def free_port() -> int:
    # Between this close and the server's bind the port could be taken; the server then fails with a clear
    # error. Port 0 instead would need a way to read back the port from each kind of server.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def deferred(*numbers: signal.Signals) -> Iterator[None]:
    """Signals that arrive during the block are handled at its end."""
    arrived: list[int] = []
    before = {number: signal.signal(number, lambda number, _: arrived.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in arrived:
            signal.raise_signal(late)


def start(command: list[str], cores: Collection[int], output: IO[bytes]) -> subprocess.Popen[bytes]:
    with pinned(cores):
        # A session of its own: Ctrl-C in the terminal reaches the benchmark, which then ends the servers.
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until_accepting(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise BenchError(f"did not accept on port {port} within {START_TIMEOUT:g} s")
        time.sleep(0.01)
    raise BenchError(f"ended, with status {process.returncode}, instead of accepting on port {port}")


def stop(process: subprocess.Popen[bytes]) -> bool:
    """End it; False when it had to be killed."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        process.kill()
        process.wait()


def printed(output: IO[bytes]) -> str:
    output.seek(0)
    text = output.read().decode(errors="replace")[-OUTPUT_SHOWN:].strip()
    return f"it printed:\n{text}" if text else "it printed nothing"
