"""Guarantee 16: nothing is left behind, and nothing leaks into children."""

from __future__ import annotations

import fcntl
import gc
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from evio_core import Conn, Events, Server

from .conftest import Certificates
from .harness import TIMEOUT, connect, receive, running


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("num_loops", [1, 3])
@pytest.mark.parametrize("poller", ["epoll", "select", "asyncio"])
def test_a_hundred_starts_and_stops_leave_nothing_behind(
    poller: str, num_loops: int, tmp_path: Any, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVIO_POLLER", poller)
    addresses = [
        "tcp://127.0.0.1:0",
        f"unix://{tmp_path}/a.sock",
        "udp://127.0.0.1:0",
        f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}",
    ]

    def cycle() -> None:
        with running(Events(data=lambda conn, chunk: chunk, num_loops=num_loops), *addresses) as run:
            peers = [connect(run.server.addrs[0]), connect(run.server.addrs[1])]
            for peer in peers:
                peer.sendall(b"x")
                assert receive(peer, 1) == b"x"
            peers.pop().close()  # the other is still open when the server stops
        peers.pop().close()

    for _ in range(3):
        cycle()
    gc.collect()
    before = descriptors(), threading.active_count(), len(gc.get_objects())
    for _ in range(97):
        cycle()
    gc.collect()
    after = descriptors(), threading.active_count(), len(gc.get_objects())
    assert after[:2] == before[:2]
    assert after[2] - before[2] < 500  # fewer than five objects a cycle: caches of the interpreter's
    assert not os.listdir(tmp_path)


def test_thousands_of_connections_leave_nothing_behind() -> None:
    with running(Events(data=lambda conn, chunk: chunk), "tcp://127.0.0.1:0") as run:

        def some(count: int) -> None:
            for _ in range(count):
                with connect(run.addr) as peer:
                    peer.sendall(b"x")
                    assert receive(peer, 1) == b"x"

        some(100)
        gc.collect()
        before = descriptors(), len(gc.get_objects())
        some(3000)
        while run.server.stats().total("connections"):
            pass
        gc.collect()
        assert descriptors() <= before[0] + 1  # the last one's end may still be under way
        assert len(gc.get_objects()) - before[1] < 200


def test_every_descriptor_is_close_on_exec_and_sockets_do_not_block(certificates: Certificates, tmp_path: Any) -> None:
    before = set(os.listdir("/proc/self/fd"))
    found: dict[str, tuple[bool, bool, str]] = {}

    def look(server: Server) -> None:
        for name in set(os.listdir("/proc/self/fd")) - before:
            try:
                target = os.readlink(f"/proc/self/fd/{name}")
                cloexec = bool(fcntl.fcntl(int(name), fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
                nonblocking = bool(fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_NONBLOCK)
            except OSError:
                continue  # the directory that is being listed
            found[name] = cloexec, nonblocking, target

    seen = threading.Event()

    def data(conn: Conn, chunk: bytes) -> bytes:
        look(servers[0])
        seen.set()
        return chunk

    servers: list[Server] = []
    addresses = (
        "tcp://127.0.0.1:0",
        f"unix://{tmp_path}/a.sock",
        "udp://127.0.0.1:0",
        f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}",
    )
    events = Events(serving=servers.append, data=data, num_loops=2)
    with running(events, *addresses) as run, connect(run.addr) as peer:
        own = peer.fileno()
        peer.sendall(b"x")
        assert seen.wait(TIMEOUT)
        found.pop(str(own), None)
    assert len(found) >= 7
    assert all(cloexec for cloexec, _, _ in found.values()), found
    assert all(nonblocking for _, nonblocking, target in found.values() if target.startswith("socket:")), found


def test_it_works_with_descriptor_0_closed() -> None:
    program = """
import os, socket, threading
os.close(0)
from evio_core import Action, Events, serve
def serving(server):
    threading.Thread(target=client, args=(server.addrs[0],)).start()
def client(addr):
    for _ in range(3):
        with socket.create_connection(addr) as peer:
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"
    with socket.create_connection(addr) as peer:
        peer.sendall(b"q")
        assert peer.recv(1) == b""
used = set()
def data(conn, chunk):
    used.update(os.listdir("/proc/self/fd"))
    return Action.SHUTDOWN if chunk == b"q" else chunk
serve(Events(serving=serving, data=data), "tcp://127.0.0.1:0")
assert "0" in used
print("served")
"""
    for poller in ("epoll", "select", "asyncio"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
            env={**os.environ, "EVIO_POLLER": poller},
        )
        assert (done.stdout, done.stderr) == (b"served\n", b"")
