"""Messages to a service manager, and SIGUSR1. Each server is a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evio_core.systemd import ServiceManager

from .harness import TIMEOUT, needs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="systemd is not for this system")

PROGRAM = """
import logging, os, signal, sys, threading, time
from evio_core import Action, Events, serve, workers

def serving(server):
    def reload(number, frame):
        server.call(server.reload_certificates)
    if how == "serve":
        signal.signal(signal.SIGHUP, reload)
    if how == "held":
        release = server.hold_ready()
        server.call(lambda: (print("loaded", flush=True), release()))
    print("serving", flush=True)

def data(conn, chunk):
    if chunk == b"block":
        hold.wait()
    return chunk

logging.basicConfig(format="%(message)s")
hold = threading.Event()
how, told, reopens, *addresses = sys.argv[1:]
events = Events(serving=serving, data=data, notify_systemd=told == "yes", shutdown_timeout=1.0)
if reopens == "yes":
    events.reopen_logs = lambda: print("reopened", flush=True)
if how in ("serve", "held"):
    serve(events, *addresses)
elif how == "loops":
    events.num_loops = 2
    serve(events, *addresses)
elif how == "thread":
    thread = threading.Thread(target=serve, args=(events, *addresses))
    thread.start()
    thread.join()
else:
    workers(2, events, *addresses)
"""


class Manager:
    """A notify socket and the server that it was given to."""

    def __init__(self, sock: socket.socket, process: subprocess.Popen[str]) -> None:
        self._socket = sock
        self.process = process

    def next(self) -> str:
        """The next message."""
        return self._socket.recv(4096).decode()

    def nothing_waits(self) -> bool:
        self._socket.setblocking(False)
        try:
            return not self._socket.recv(4096)
        except BlockingIOError:
            return True

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextlib.contextmanager
def managed(
    directory: Path, how: str, told: str = "yes", reopens: str = "no", watchdog: str = "", name: str = ""
) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name[1:] if name else str(directory / "notify"))
        sock.settimeout(TIMEOUT)
        environment = {**os.environ, "NOTIFY_SOCKET": name or str(directory / "notify")}
        environment.pop("WATCHDOG_USEC", None)
        if watchdog:
            environment["WATCHDOG_USEC"] = watchdog
        command = [sys.executable, "-c", PROGRAM, how, told, reopens, f"unix://{directory / 's'}"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            try:
                yield Manager(sock, process)
            finally:
                process.kill()


def check_reloading(message: str) -> None:
    first, second = message.split("\n")
    assert first == "RELOADING=1"
    name, _, microseconds = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert int(microseconds) > 0


@pytest.mark.parametrize("how", ["serve", "loops", "workers"])
def test_ready_reloading_and_stopping(how: str, tmp_path: Path) -> None:
    with managed(tmp_path, how) as manager:
        assert manager.next() == "READY=1"
        assert manager.line() == "serving"
        if how != "loops":
            manager.process.send_signal(signal.SIGHUP)
            check_reloading(manager.next())
            assert manager.next() == "READY=1"
        manager.process.send_signal(signal.SIGTERM)
        assert manager.next() == "STOPPING=1"
        assert manager.process.wait(TIMEOUT) == 0
        assert manager.nothing_waits()


def test_ready_may_be_held_until_all_is_loaded(tmp_path: Path) -> None:
    with managed(tmp_path, "held") as manager:
        assert manager.next() == "READY=1"
        assert manager.line() == "serving"
        assert manager.line() == "loaded"  # in a pipe before READY was sent
        manager.process.send_signal(signal.SIGTERM)
        assert manager.next() == "STOPPING=1"
        assert manager.nothing_waits()


def test_an_abstract_socket(tmp_path: Path) -> None:
    with managed(tmp_path, "serve", name=f"@evio-test-{os.getpid()}-{tmp_path.name}") as manager:
        assert manager.next() == "READY=1"


@pytest.mark.parametrize(("how", "told"), [("serve", "no"), ("workers", "no"), ("thread", "yes")])
def test_nothing_is_said_where_it_is_not_wanted(how: str, told: str, tmp_path: Path) -> None:
    with managed(tmp_path, how, told) as manager:
        assert manager.line() == "serving"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))
            client.sendall(b"x")
            assert client.recv(1) == b"x"
        assert manager.nothing_waits()


@pytest.mark.parametrize("how", ["serve", "loops", "workers"])
def test_the_watchdog_hears_of_a_server_that_lives(how: str, tmp_path: Path) -> None:
    with managed(tmp_path, how, watchdog="20000") as manager:
        assert manager.next() == "READY=1"
        assert [manager.next() for _ in range(5)] == ["WATCHDOG=1"] * 5


def test_the_watchdog_hears_nothing_while_a_callback_holds_up_a_loop(tmp_path: Path) -> None:
    with managed(tmp_path, "loops", watchdog="20000") as manager, socket.socket(socket.AF_UNIX) as client:
        assert manager.next() == "READY=1"
        client.connect(str(tmp_path / "s"))
        client.sendall(b"block")
        manager._socket.settimeout(0.5)  # 50 times the period
        with pytest.raises(TimeoutError):
            while manager.next() == "WATCHDOG=1":
                pass


def test_a_watchdog_that_is_another_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    for pid, seconds in (("1", 0.0), (str(os.getpid()), 3.0)):
        monkeypatch.setenv("WATCHDOG_PID", pid)
        found = ServiceManager.from_environment()
        assert found is not None
        assert found.watchdog == seconds


def test_a_socket_that_is_no_unix_socket_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "vsock:2:1234")
    assert ServiceManager.from_environment() is None
    assert "neither a path nor @name" in caplog.text


def test_nobody_listens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ServiceManager(str(tmp_path / "none")).ready()
    assert caplog.messages == ["the service manager cannot be told READY=1: No such file or directory"]


@pytest.mark.parametrize("how", ["serve", "workers"])
@pytest.mark.parametrize("reopens", ["yes", "no"])
def test_sigusr1_reopens_logs_and_ends_nothing(how: str, reopens: str, tmp_path: Path) -> None:
    with managed(tmp_path, how, reopens=reopens) as manager:
        assert manager.next() == "READY=1"
        servers = 1 if how == "serve" else 2
        assert [manager.line() for _ in range(servers)] == ["serving"] * servers
        manager.process.send_signal(signal.SIGUSR1)
        if reopens == "yes":
            assert [manager.line() for _ in range(servers)] == ["reopened"] * servers
        manager.process.send_signal(signal.SIGTERM)
        assert manager.process.wait(TIMEOUT) == 0


def test_a_program_s_own_handler_of_sigusr1_stays(tmp_path: Path) -> None:
    program = """if True:
        import os, signal, sys
        from evio_core import Action, Events, serve
        def serving(server):
            os.kill(os.getpid(), signal.SIGUSR1)
            return Action.SHUTDOWN
        signal.signal(signal.SIGUSR1, lambda number, frame: print("mine"))
        serve(Events(serving=serving), sys.argv[1])
    """
    command = [sys.executable, "-c", program, f"unix://{tmp_path / 's'}"]
    assert subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=True).stdout == b"mine\n"


def test_socket_activation_by_systemd_s_own_tool(tmp_path: Path) -> None:
    tool = needs("systemd-socket-activate")
    program = "from evio_core import Events, serve; serve(Events(data=lambda conn, chunk: chunk), 'systemd://')"
    path = tmp_path / "s"
    with subprocess.Popen([tool, "-l", str(path), sys.executable, "-c", program], stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            assert b"Listening on" in process.stderr.readline()
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(TIMEOUT)
                client.connect(str(path))
                client.sendall(b"hello")
                assert client.recv(5) == b"hello"
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()
