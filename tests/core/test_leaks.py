"""Guarantee 16: nothing is left behind, and nothing leaks into children."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import socket
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from evio_core import Events, Server
from tests.extent import FULL, examples

from .conftest import POLLERS, Certificates, needs_the_systems, use_poller
from .harness import TIMEOUT, Recorder, Running, connect, receive, resident, running
from .test_faults import exchange, reset


@pytest.fixture(params=POLLERS)
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use_poller(monkeypatch, request.param)
    return str(request.param)


@pytest.fixture
def addresses(tmp_path: Any, certificates: Certificates) -> list[str]:
    """tcp, unix, udp and tls."""
    return [
        "tcp://127.0.0.1:0",
        f"unix://{tmp_path}/a.sock",
        "udp://127.0.0.1:0",
        f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}",
    ]


def exchange_datagram(addr: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(TIMEOUT)
        peer.sendto(b"x", addr)
        assert peer.recv(2) == b"x"


# -- what this process has


class Held(NamedTuple):
    descriptors: int
    threads: int
    objects: int
    resident: int
    """Bytes of memory."""


def held() -> Held:
    gc.collect()
    return Held(
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        len(gc.get_objects()),
        resident(),
    )


def assert_nothing_is_left(step: Callable[[], None], warm_up: int, count: int) -> None:
    """Steps leave no descriptor and no thread, and less of everything else than one object or buffer for each."""
    for _ in range(warm_up):
        step()
    before = held()
    for _ in range(count):
        step()
    after = held()
    assert after.descriptors == before.descriptors
    assert after.threads == before.threads
    assert after.objects - before.objects < count
    assert after.resident - before.resident < 6 << 20


@pytest.mark.parametrize("num_loops", [1, 3] if FULL else [3])
def test_dozens_of_starts_and_stops_leave_nothing_behind(
    poller: str, num_loops: int, addresses: list[str], certificates: Certificates, tmp_path: Any
) -> None:
    def cycle() -> None:
        with running(Events(data=lambda conn, chunk: chunk, num_loops=num_loops), *addresses) as run:
            tcp, unix, udp, tls = run.server.addrs
            peers = [connect(tcp), connect(unix), connect(tls, certificates.ca), connect(tcp)]
            for peer in peers:
                exchange(peer, b"x")
            exchange_datagram(udp)
            reset(peers.pop())
            peers.pop(0).close()  # the others are still open when the server stops
        for peer in peers:
            peer.close()

    assert_nothing_is_left(cycle, 5, examples(90))
    assert not os.listdir(tmp_path)


def test_servers_that_fail_to_start_leave_nothing_behind(poller: str, addresses: list[str], tmp_path: Any) -> None:
    def fail(server: Server) -> None:
        raise LookupError("in serving")

    def cycle() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            with (
                pytest.raises(OSError, match="in use"),
                running(Events(), *addresses, f"tcp://127.0.0.1:{other.getsockname()[1]}"),
            ):
                pass
        with pytest.raises(LookupError), running(Events(serving=fail, num_loops=3), *addresses) as run:
            run.join()

    assert_nothing_is_left(cycle, 5, examples(40))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls", "dialled"] if FULL else ["tls", "dialled"])
def test_hundreds_of_connections_leave_nothing_behind(
    poller: str, kind: str, addresses: list[str], certificates: Certificates
) -> None:
    batch = 10
    record = Recorder()
    events = Events(
        data=lambda conn, chunk: chunk if conn.addr_index >= 0 else conn.close(),
        closed=lambda conn, error: record.add("closed"),
        num_loops=2,
    )

    def connect_and_leave(run: Running) -> None:
        addr = run.server.addrs[{"tcp": 0, "unix": 1, "tls": 3}[kind]]
        peers = [connect(addr, certificates.ca if kind == "tls" else None) for _ in range(batch)]
        for peer in peers:
            exchange(peer, b"x")
        for number, peer in enumerate(peers):
            if number % 2:
                reset(peer)
            else:
                peer.close()
        record.wait_for("closed", batch)

    def dial_and_close(run: Running) -> None:
        for _ in range(batch):
            run.server.dial(f"tcp://127.0.0.1:{run.server.addrs[0][1]}").write(b"x")
        record.wait_for("closed", 2 * batch)  # the one that closes and the one that sees it

    def step() -> None:
        (dial_and_close if kind == "dialled" else connect_and_leave)(run)
        record.events.clear()
        deadline = time.monotonic() + TIMEOUT
        while len(os.listdir("/proc/self/fd")) != idle:  # descriptors are closed at the end of a turn
            assert time.monotonic() < deadline
            time.sleep(0.001)

    with running(events, *addresses) as run:
        exchange_datagram(run.server.addrs[2])  # the fallback opens another descriptor for it
        idle = len(os.listdir("/proc/self/fd"))
        assert_nothing_is_left(step, 5, examples(50))


LEAKY_WORKERS = """
import os, sys, threading
from evio_core import Action, Events, workers

def cycle():
    workers(2, Events(tick=lambda: Action.SHUTDOWN), "tcp://127.0.0.1:0", "unix://" + sys.argv[1])

def held():
    return len(os.listdir("/proc/self/fd")), threading.active_count()

cycle()
before = held()
for _ in range(10):
    cycle()
assert held() == before, (before, held())
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no process")
"""


def test_worker_processes_leave_nothing_behind(tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LEAKY_WORKERS, f"{tmp_path}/a.sock"],
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.stdout, done.stderr) == (b"no process\n", b"")
    assert not os.listdir(tmp_path)


# -- flags of descriptors


class Descriptor(NamedTuple):
    kind: str
    close_on_exec: bool
    blocking: bool


def descriptors() -> dict[int, Descriptor]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            mode = os.fstat(int(name)).st_mode
            kind = "socket" if stat.S_ISSOCK(mode) else os.readlink(f"/proc/self/fd/{name}")
            cloexec = bool(fcntl.fcntl(int(name), fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
            found[int(name)] = Descriptor(kind, cloexec, os.get_blocking(int(name)))
        except OSError:
            continue  # the directory that was being listed
    return found


def test_every_descriptor_is_close_on_exec_and_no_socket_blocks(
    poller: str, addresses: list[str], certificates: Certificates
) -> None:
    before = set(descriptors())
    record = Recorder()
    events = Events(
        opened=lambda conn: record.add("opened", conn.addr_index),
        data=lambda conn, chunk: chunk if conn.addr_index >= 0 else None,
        num_loops=2,
    )
    with running(events, *addresses) as run:
        tcp, unix, _, tls = run.server.addrs
        peers = [connect(tcp), connect(unix), connect(tls, certificates.ca)]
        run.server.dial(f"tcp://127.0.0.1:{tcp[1]}")
        assert sorted(event[1] for event in record.wait_for("opened", 5)) == [-1, 0, 0, 1, 3]
        own = before | {peer.fileno() for peer in peers}
        found = {fd: descriptor for fd, descriptor in descriptors().items() if fd not in own}
        for peer in peers:
            peer.close()
    sockets = [each for each in found.values() if each.kind == "socket"]
    assert len(sockets) >= 4 + 5  # listening and connected
    assert all(each.close_on_exec for each in found.values()), found
    assert not any(each.blocking for each in sockets), found


WITHOUT_DESCRIPTOR_0 = """
import os, socket, sys
from evio_core import Action, Events, serve

def serving(server):
    if sys.argv[1] == "connection":
        os.close(0)
    print(server.addrs[0][1], flush=True)

def data(conn, chunk):
    with socket.socket(fileno=os.dup(0)) as sock:
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return b"listener" if listening else b"connection"

if sys.argv[1] == "listener":
    os.close(0)
serve(Events(serving=serving, data=data, closed=lambda conn, error: Action.SHUTDOWN), "tcp://127.0.0.1:0")
try:
    os.fstat(0)
except OSError:
    sys.exit(0)
sys.exit("descriptor 0 was left open")
"""


@pytest.mark.parametrize("who", ["listener", "connection"])
def test_descriptor_0_is_one_like_others(poller: str, who: str) -> None:
    needs_the_systems(poller)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", WITHOUT_DESCRIPTOR_0, who], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        with connect(("127.0.0.1", port)) as peer:
            for _ in range(2):
                peer.sendall(b"x")
                assert receive(peer, len(who)) == who.encode()
    finally:
        _, errors = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, errors) == (0, b"")


# -- what a connection takes


def test_an_idle_connection_takes_at_most_450_bytes() -> None:
    """As 64-bit CPython counts them; the kernel's own come on top."""
    count, own = 300, (tracemalloc.Filter(True, "*/evio_core/*"),)
    with running(Events(data=lambda _, chunk: chunk), "tcp://127.0.0.1:0") as run, contextlib.ExitStack() as peers:
        exchange(peers.enter_context(connect(run.addr)), b"x")  # whatever is made once is there
        tracemalloc.start()
        peers.callback(tracemalloc.stop)
        before = tracemalloc.take_snapshot().filter_traces(own)
        for _ in range(count):
            exchange(peers.enter_context(connect(run.addr)), b"x")
        gc.collect()
        taken = tracemalloc.take_snapshot().filter_traces(own).compare_to(before, "filename")
    assert sum(each.size_diff for each in taken) / count <= 450
