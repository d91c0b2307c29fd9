"""Guarantees 1, 7 and 16 together: whatever a program and its peers do and in whatever order, a connection ends once,
nothing comes after that, the server goes on, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evio_core import Action, Conn, Events, Options
from tests.extent import examples

from .conftest import POLLERS, Certificates, use_poller
from .harness import TIMEOUT, Running, connect, eventually, running
from .test_faults import exchange, reset

LARGE = bytes(1 << 20)
"""More than the kernel takes from a server with small buffers, and more than the high-water mark."""


class Scene:
    """A server, one of its connections, and the peer of that."""

    def __init__(self, run: Running, conn: Conn, peer: socket.socket) -> None:
        self.run, self.conn, self.peer = run, conn, peer

    def in_loop(self, function: Callable[[], object]) -> None:
        """Call it as the connection's callbacks are called, and wait for that."""
        answer: queue.Queue[BaseException | None] = queue.Queue()

        def call() -> None:
            try:
                function()
            except BaseException as error:
                answer.put(error)
            else:
                answer.put(None)

        self.run.server.call(call)
        error = answer.get(timeout=TIMEOUT)
        if error is not None:
            raise error

    def send_file(self) -> None:
        with open(__file__, "rb") as file:
            self.conn.send_file(file)


PROGRAM: dict[str, Callable[[Scene], object]] = {
    "pauses": lambda scene: scene.conn.pause_reading(),
    "resumes": lambda scene: scene.conn.resume_reading(),
    "writes": lambda scene: scene.conn.write(b"output"),
    "writes much": lambda scene: scene.conn.write(LARGE),
    "sends a file": lambda scene: scene.send_file(),
    "wakes": lambda scene: scene.conn.wake(),
    "wakes when drained": lambda scene: scene.conn.wake_when_drained(),
    "closes": lambda scene: scene.conn.close(),
    "aborts": lambda scene: scene.conn.abort(),
    "configures": lambda scene: scene.conn.configure(idle_timeout=TIMEOUT, reuse_input_buffer=True),
    "asks for addresses": lambda scene: (scene.conn.local_addr, scene.conn.remote_addr, scene.conn.pending),
}
"""On the connection's loop."""

THREADS = ("writes", "writes much", "wakes", "closes", "aborts")
"""Steps that other threads may do too."""

PEER: dict[str, Callable[[Scene], object]] = {
    "sends": lambda scene: scene.peer.send(b"input"),
    "sends much": lambda scene: scene.peer.send(LARGE[: 1 << 17]),
    "has it closed": lambda scene: scene.peer.send(b"close"),
    "has it detached": lambda scene: scene.peer.send(b"detach"),
    "makes it fail": lambda scene: scene.peer.send(b"fail"),
    "ends": lambda scene: scene.peer.shutdown(socket.SHUT_WR),
    "reads": lambda scene: scene.peer.recv(1 << 20),
    "leaves": lambda scene: scene.peer.close(),
    "resets": lambda scene: reset(scene.peer),
}

STEPS = st.lists(
    st.sampled_from(
        [("program", what) for what in PROGRAM]
        + [("thread", what) for what in THREADS]
        + [("peer", what) for what in PEER] * 2
    ),
    min_size=2,
    max_size=10,
)

CALLBACKS = st.fixed_dictionaries(
    {
        "eof": st.sampled_from([None, Action.NONE, Action.CLOSE, Action.DETACH, b"the end"]),
        "drained": st.booleans(),
        "pre_write": st.booleans(),
    }
)

PLAIN: dict[str, Any] = {"eof": None, "drained": False, "pre_write": False}


def make_events(names: list[str], opened: queue.Queue[Conn], callbacks: dict[str, Any]) -> Events:
    """Callbacks that put the first connection's events into ``names``."""
    first: list[Conn] = []

    def add(conn: Conn, name: str) -> None:
        if conn is first[0]:
            names.append(name)

    def on_opened(conn: Conn) -> None:
        first.append(conn)
        add(conn, "opened")
        opened.put(conn)

    def data(conn: Conn, chunk: Any) -> Any:
        add(conn, "data")
        received = bytes(chunk)
        if received == b"fail":
            raise ZeroDivisionError
        return {b"close": (b"bye", Action.CLOSE), b"detach": (b"bye", Action.DETACH)}.get(received, received)

    def eof(conn: Conn) -> Any:
        add(conn, "eof")
        return callbacks["eof"]

    def detached(conn: Conn, sock: socket.socket) -> None:
        add(conn, "detached")
        sock.close()

    return Events(
        opened=on_opened,
        data=data,
        woken=lambda conn: add(conn, "woken"),
        eof=eof if callbacks["eof"] is not None else None,
        drained=(lambda conn: add(conn, "drained")) if callbacks["drained"] else None,
        pre_write=(lambda: None) if callbacks["pre_write"] else None,
        detached=detached,
        closed=lambda conn, error: add(conn, "closed"),
        options=Options(send_buffer=16 * 1024, close_timeout=0.05),
    )


def play(address: str, trust: str | None, steps: list[tuple[str, str]], callbacks: dict[str, Any]) -> list[str]:
    """Take the steps; returns the events of the connection."""
    names: list[str] = []
    opened: queue.Queue[Conn] = queue.Queue()
    with running(make_events(names, opened, callbacks), address) as run:
        peer = connect(run.addr, trust)
        scene = Scene(run, opened.get(timeout=TIMEOUT), peer)
        peer.setblocking(False)
        for who, what in steps:
            if who == "program":
                scene.in_loop(lambda what=what: PROGRAM[what](scene))  # type: ignore[misc]
            elif who == "thread":
                PROGRAM[what](scene)
            else:
                with contextlib.suppress(OSError):  # full buffers, and what comes after its end
                    PEER[what](scene)
        with connect(run.addr, trust) as other:
            exchange(other, b"still there")
        scene.conn.abort()
        assert eventually(lambda: "closed" in names or "detached" in names), names
        peer.close()
    return names


@pytest.mark.parametrize("transport", ["tcp", "unix", "tls"])
@pytest.mark.parametrize("poller", POLLERS)
@given(steps=STEPS, callbacks=CALLBACKS)
@example([("program", "pauses"), ("peer", "leaves"), ("program", "closes")], PLAIN)
@example([("program", "writes much"), ("program", "sends a file"), ("peer", "resets")], PLAIN)
@settings(
    max_examples=examples(50),
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.differing_executors,
        HealthCheck.function_scoped_fixture,  # only for where things are; each example begins anew
    ],
)
def test_every_connection_ends_once_and_the_server_goes_on(
    poller: str,
    transport: str,
    tmp_path: Path,
    certificates: Certificates,
    steps: list[tuple[str, str]],
    callbacks: dict[str, Any],
) -> None:
    address = {
        "tcp": "tcp://127.0.0.1:0",
        "unix": f"unix://{tmp_path}/a.sock",
        "tls": f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}",
    }[transport]
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    with pytest.MonkeyPatch.context() as patch:
        use_poller(patch, poller)
        names = play(address, certificates.ca if transport == "tls" else None, steps, callbacks)
    assert names.count("opened") == 1
    assert names.count("closed") + names.count("detached") == 1
    assert names[0] == "opened"
    assert names[-1] in ("closed", "detached")
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
    assert not os.listdir(tmp_path)
