"""Worker processes: crashes, stops and rolls under load. Each test supervises in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from evio_core import AddressError, Events, ListenError, WorkerError, workers

from .conftest import Certificates
from .harness import TIMEOUT, receive, receive_all

PROGRAM = """
import logging, os, sys
from evio_core import Action, Events, workers, url

def serving(server):
    address = server.addrs[0]
    os.write(1, f"{os.getpid()} {url('tcp', address) if isinstance(address, tuple) else ''}\\n".encode())

def opened(conn):
    return f"{os.getpid()}\\n".encode()

def data(conn, chunk):
    if chunk == b"shutdown":
        return Action.SHUTDOWN
    if chunk == b"large":
        return bytes(4_000_000), Action.CLOSE
    if chunk == b"tell me":
        conn.context = b"bye"
    return chunk

def retiring(conn):
    return conn.context

logging.basicConfig(format="%(message)s")
count, *addresses = sys.argv[1:]
events = Events(serving=serving, opened=opened, data=data, retiring=retiring, shutdown_timeout=5.0)
workers(int(count), events, *addresses)
"""


class Supervised:
    """A supervisor in a process, and what its workers have said."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.port = 0

    def next_worker(self) -> int:
        """Wait for a worker to be ready; returns its pid."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line, "the supervisor ended"
        pid, _, address = line.strip().partition(" ")
        if address:
            self.port = int(address.rpartition(":")[2])
        return int(pid)

    def stop(self, number: int = signal.SIGTERM) -> bytes:
        """Signal the supervisor and wait for its end; returns what it logged."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> bytes:
        _, log = self.process.communicate(timeout=TIMEOUT)
        return log

    def connect(self) -> tuple[socket.socket, int]:
        """A connection and the pid of the worker that has it."""
        sock = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
        greeting = b""
        try:
            while not greeting.endswith(b"\n"):
                byte = sock.recv(1)
                assert byte, "closed unserved"
                greeting += byte
        except BaseException:
            sock.close()
            raise
        return sock, int(greeting)


@contextmanager
def supervised(count: int, *addresses: str) -> Iterator[Supervised]:
    command = [sys.executable, "-c", PROGRAM, str(count), *addresses]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield Supervised(process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT)


class Load:
    """Clients that connect, exchange a message and disconnect, over and over."""

    def __init__(self, server: Supervised, clients: int = 4) -> None:
        self._server = server
        self._stop = threading.Event()
        self.served = 0
        self.failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                sock, _ = self._server.connect()
                with sock:
                    sock.sendall(b"0123456789")
                    assert receive(sock, 10) == b"0123456789"
                self.served += 1
            except BaseException as error:
                self.failures.append(error)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT)

    def wait(self, more: int) -> None:
        """Wait until so many more exchanges are done."""
        target, deadline = self.served + more, time.monotonic() + TIMEOUT
        while self.served < target and time.monotonic() < deadline:
            time.sleep(0.005)
        assert self.served >= target


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + TIMEOUT
    while alive(pid):
        assert time.monotonic() < deadline, f"{pid} lives on"
        time.sleep(0.005)


@pytest.mark.parametrize("option", ["", "?reuseport=true"], ids=["shared", "reuseport"])
def test_a_killed_worker_is_replaced_and_later_connections_do_not_fail(option: str) -> None:
    with supervised(3, f"tcp://127.0.0.1:0{option}") as server:
        pids = [server.next_worker() for _ in range(3)]
        with Load(server) as load:
            load.wait(100)
            os.kill(pids[0], signal.SIGKILL)
            replacement = server.next_worker()
            load.failures.clear()  # the killed one's own connections are lost with it
            load.wait(200)
        assert not load.failures
        assert replacement not in pids
        log = server.stop()
    assert server.process.returncode == 0
    assert f"worker {pids[0]} ended: killed by SIGKILL".encode() in log


def test_a_roll_refuses_no_connection_and_replaces_every_worker() -> None:
    with supervised(2, "tcp://127.0.0.1:0") as server:
        old = [server.next_worker() for _ in range(2)]
        with Load(server) as load:
            load.wait(50)
            server.process.send_signal(signal.SIGHUP)
            new = [server.next_worker() for _ in range(2)]
            for pid in old:
                wait_for_end(pid)
            load.wait(50)
        assert not load.failures
        assert not set(old) & set(new)
        log = server.stop()
    assert server.process.returncode == 0
    assert log == b""


def test_a_roll_with_a_bad_certificate_says_so_and_keeps_workers(certificates: Certificates, tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    path.write_bytes(Path(certificates.cert).read_bytes())
    with supervised(1, f"tls://127.0.0.1:0?cert={path}&key={certificates.key}") as server:
        old = server.next_worker()
        path.unlink()
        server.process.send_signal(signal.SIGHUP)
        assert server.process.stderr is not None
        lines = [server.process.stderr.readline().decode() for _ in range(2)]
        assert "failed: cannot load certificate" in lines[0]
        assert "No such file or directory" in lines[0]
        assert "ended before it was ready (exit status 1); the old ones stay" in lines[1]
        assert alive(old)
        assert server.stop() == b""


def test_a_busy_connection_survives_a_roll_until_it_falls_quiet() -> None:
    with supervised(1, "tcp://127.0.0.1:0") as server:
        old = server.next_worker()
        sock, pid = server.connect()
        assert pid == old
        with sock:
            sock.sendall(b"tell me")
            assert receive(sock, 7) == b"tell me"
            server.process.send_signal(signal.SIGHUP)
            server.next_worker()
            assert receive(sock, 3) == b"bye"
            begin = time.monotonic()
            while time.monotonic() - begin < 1.0:  # longer than a quiet one is kept
                sock.sendall(b"x")
                assert receive(sock, 1) == b"x"
            assert sock.recv(1) == b""
        wait_for_end(old)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_supervisor_stops_all_and_replies_are_whole(number: int) -> None:
    with supervised(2, "tcp://127.0.0.1:0") as server:
        pids = [server.next_worker() for _ in range(2)]
        sock, _ = server.connect()
        with sock:
            sock.sendall(b"large")
            first = receive(sock, 1)
            server.process.send_signal(number)
            assert len(first + receive_all(sock)) == 4_000_000
        log = server.ended()
        assert server.process.returncode == 0
        assert log == b""
        assert not any(map(alive, pids))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), TIMEOUT)


def test_input_that_is_there_already_is_answered_when_the_server_stops() -> None:
    with supervised(1, "tcp://127.0.0.1:0") as server:
        pid = server.next_worker()
        sock, _ = server.connect()
        with sock:
            os.kill(pid, signal.SIGSTOP)
            sock.sendall(b"arrived")
            server.process.send_signal(signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)
            assert receive_all(sock) == b"arrived"
        server.ended()
        assert server.process.returncode == 0


def test_a_second_signal_stops_at_once() -> None:
    with supervised(1, "tcp://127.0.0.1:0") as server:
        server.next_worker()
        sock, _ = server.connect()
        with sock:
            sock.sendall(b"large")
            receive(sock, 1)  # and no more: what is pending holds up a stop in good order
            server.process.send_signal(signal.SIGTERM)
            begin = time.monotonic()
            with pytest.raises(subprocess.TimeoutExpired):
                server.process.wait(0.3)
            server.stop()
            assert time.monotonic() - begin < 4.0
        assert server.process.returncode == 0


def test_shutdown_in_one_worker_stops_all() -> None:
    with supervised(3, "tcp://127.0.0.1:0") as server:
        pids = [server.next_worker() for _ in range(3)]
        sock, _ = server.connect()
        with sock:
            sock.sendall(b"shutdown")
            assert receive_all(sock) == b""
        assert server.ended() == b""
        assert server.process.returncode == 0
        assert not any(map(alive, pids))


def test_workers_end_when_their_supervisor_is_killed() -> None:
    with supervised(2, "tcp://127.0.0.1:0") as server:
        pids = [server.next_worker() for _ in range(2)]
        server.stop(signal.SIGKILL)
        for pid in pids:
            wait_for_end(pid)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), TIMEOUT)


def test_workers_share_a_unix_socket_which_is_removed_once_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    with supervised(2, f"unix://{path}") as server:
        pid, _ = (server.next_worker() for _ in range(2))
        os.kill(pid, signal.SIGTERM)  # one worker's end leaves the path alone
        server.next_worker()
        with closing(socket.socket(socket.AF_UNIX)) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect(str(path))
            assert sock.recv(100)
        server.stop()
    assert not path.exists()


def test_workers_that_die_as_they_start_end_the_supervisor() -> None:
    program = """
import os
from evio_core import Events, WorkerError, workers
try:
    workers(2, Events(serving=lambda server: os._exit(3)), "tcp://127.0.0.1:0")
except WorkerError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=TIMEOUT, check=True)
    assert done.stdout == b"workers die as soon as they start: exit status 3\n"


@pytest.mark.parametrize("output", [">&-", ">/dev/full", ">&- 2>&-"])
def test_workers_do_not_mind_that_nothing_can_be_printed(output: str, tmp_path: Path) -> None:
    program = """
import sys
from evio_core import Action, Events, workers
print("kept in a buffer, as it is not a terminal")
workers(2, Events(tick=lambda: Action.SHUTDOWN), "tcp://127.0.0.1:0")
open(sys.argv[1], "x")
"""
    command = ["sh", "-c", f'exec "$0" "$@" {output}', sys.executable, "-c", program, str(tmp_path / "done")]
    subprocess.run(command, stderr=subprocess.DEVNULL, timeout=TIMEOUT, check=False)
    assert (tmp_path / "done").exists()


def test_nonsense_is_refused_before_anything_is_bound() -> None:
    with pytest.raises(ValueError, match="workers must be -1"):
        workers(0, Events(), "tcp://127.0.0.1:0")
    with pytest.raises(AddressError):
        workers(1, Events(), "nonsense://")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(ListenError, match="Address already in use"):
            workers(1, Events(), f"tcp://127.0.0.1:{taken.getsockname()[1]}")


def test_only_the_main_thread_may_supervise() -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            workers(1, Events(), "tcp://127.0.0.1:0")
        except WorkerError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(TIMEOUT)
    assert "main thread" in str(errors[0])
