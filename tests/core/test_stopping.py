"""Guarantee 4, for programs that go on while their server stops: it ends all the same, and says what was lost."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from evio_core import Action, Conn, Events, Handler, Reply, Server, ServerStopped

from .conftest import POLLERS, PROCESSES, use_poller
from .harness import TIMEOUT, Recorder, connect, receive, receive_all, running

"""Of processes of their own, which have no stand-ins."""

SELF_CALLING = {
    "a call that calls itself": """
def serving(server):
    def again(): server.call(again)
    again()
    print("ready", flush=True)
serve(Events(serving=serving), "tcp://127.0.0.1:0")
""",
    "a datagram's peer that is woken in data": """
import socket
def serving(server):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", server.addrs[0])
def data(peer, chunk):
    print("ready", flush=True)
    peer.wake()
serve(Events(serving=serving, data=data, woken=lambda peer: peer.wake()), "udp://127.0.0.1:0")
""",
    "a dial in closed, refused": """
unused = socket.create_server(("127.0.0.1", 0))
target = "tcp://127.0.0.1:%d" % unused.getsockname()[1]
unused.close()
def serving(s):
    global server
    server = s
    s.dial(target)
def closed(conn, error):
    print("ready", flush=True)
    server.dial(target)
serve(Events(serving=serving, closed=closed), "tcp://127.0.0.1:0")
""",
    "a dial in closed, accepted": """
target = socket.create_server(("127.0.0.1", 0))
address = "tcp://127.0.0.1:%d" % target.getsockname()[1]
def serving(s):
    global server
    server = s
    s.dial(address)
def opened(conn): print("ready", flush=True)
def closed(conn, error): server.dial(address)
serve(Events(serving=serving, opened=opened, closed=closed), "tcp://127.0.0.1:0")
""",
}


def start(code: str, poller: str) -> subprocess.Popen[bytes]:
    """A program that is told by signals to stop; it has printed a line."""
    head = "import logging, socket\nfrom evio_core import Events, serve\nlogging.basicConfig(level=logging.WARNING)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", head + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "EVIO_POLLER": poller},
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@pytest.mark.parametrize("poller", PROCESSES)
@pytest.mark.parametrize("what", SELF_CALLING)
def test_a_program_that_always_has_something_to_do_ends_with_the_first_signal(what: str, poller: str) -> None:
    process = start(SELF_CALLING[what], poller)
    try:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert log == b""


ENDLESS = """
def data(conn, chunk):
    seen = 0
    print("ready", flush=True)
    while True:
        if server._signals_seen != seen:  # so that the next one is sent, which with this one pending would be the same
            seen = server._signals_seen
            print("signal", flush=True)
def serving(running):
    global server, peer
    server = running
    peer = socket.create_connection(server.addrs[0])
    peer.sendall(b"x")
serve(Events(serving=serving, data=data), "tcp://127.0.0.1:0")
"""


@pytest.mark.parametrize("poller", PROCESSES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_third_signal_interrupts_an_endless_callback(number: signal.Signals, poller: str) -> None:
    process = start(ENDLESS, poller)
    try:
        assert process.stdout is not None
        for _ in range(2):
            process.send_signal(number)
            assert process.stdout.readline() == b"signal\n"
        process.send_signal(number)
        _, log = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.wait()
    if number == signal.SIGINT:
        assert b"KeyboardInterrupt" in log
    else:
        assert process.returncode == 128 + signal.SIGTERM


def test_a_dial_during_the_stop_is_refused() -> None:
    refused: list[BaseException] = []

    def closed(conn: Conn, error: BaseException | None) -> None:
        try:
            servers[0].dial("tcp://127.0.0.1:1")
        except ServerStopped as stopped:
            refused.append(stopped)

    servers: list[Server] = []
    with running(Events(serving=servers.append, closed=closed), "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        run.server.stop()
        assert peer.recv(1) == b""
        run.join()
        assert len(refused) == 1
        with pytest.raises(ServerStopped, match="the server has been stopped: nothing can be dialled"):
            run.server.dial("tcp://127.0.0.1:1")


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("stage", ["queued", "looking up", "connecting", "handshake"])
def test_a_dial_that_the_stop_overtakes_is_not_reported_as_a_good_end(
    stage: str, poller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_poller(monkeypatch, poller)
    record = Recorder()
    release = threading.Event()
    real: Callable[..., Any] = socket.getaddrinfo

    def slow(*asked: Any, **named: Any) -> Any:
        numeric = len(asked) > 5 and asked[5] & socket.AI_NUMERICHOST
        if asked[0] == "slow.test" and not numeric:
            release.wait(TIMEOUT)
            asked = ("127.0.0.1", *asked[1:])
        return real(*asked, **named)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=0) as hole:
        silent = [socket.socket(socket.AF_INET6) for _ in range(3)]
        for each in silent if stage == "connecting" else []:
            each.setblocking(False)
            each.connect_ex(hole.getsockname())
        port = hole.getsockname()[1]
        host = "slow.test" if stage == "looking up" else "[::1]"
        scheme = "tls" if stage == "handshake" else "tcp"
        events = Events(closed=lambda conn, error: record.add("closed", conn.context, type(error)))
        with running(events, "tcp://127.0.0.1:0") as run:
            if stage == "queued":
                both = queue.Queue[None]()

                def dial_and_stop() -> None:
                    run.server.dial(f"{scheme}://{host}:{port}", "dialled").write(b"report")
                    run.server.stop()
                    both.put(None)

                run.server.call(dial_and_stop)
                both.get(timeout=TIMEOUT)
            else:
                run.server.dial(f"{scheme}://{host}:{port}", "dialled").write(b"report")
                for _ in range(5):
                    done = threading.Event()
                    run.server.call(done.set)
                    assert done.wait(TIMEOUT)
                run.server.stop()
            assert record.wait_for("closed") == [("closed", "dialled", ServerStopped)]
            release.set()
            run.join()
        for each in silent:
            each.close()


class Busy(Handler):
    """Has something under way until it is sent "done"."""

    def data(self, chunk: bytes) -> Reply:
        return (b"bye", Action.CLOSE) if chunk == b"done" else chunk

    def stopping(self) -> bool:
        self.conn.write(b"stopping ")
        return True


def busy_events() -> Events:
    """The same as callbacks."""

    def data(conn: Conn, chunk: bytes) -> Reply:
        return (b"bye", Action.CLOSE) if chunk == b"done" else chunk

    def stopping(conn: Conn) -> bool:
        conn.write(b"stopping ")
        return True

    return Events(data=data, stopping=stopping)


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("kind", ["callbacks", "handler"])
def test_what_is_under_way_goes_on_while_the_server_stops(
    kind: str, poller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_poller(monkeypatch, poller)
    events = busy_events() if kind == "callbacks" else Events(handlers={"tcp://127.0.0.1:0": Busy})
    with running(events, *(["tcp://127.0.0.1:0"] if kind == "callbacks" else [])) as started:
        with connect(started.addr) as peer:
            peer.sendall(b"a")
            assert receive(peer, 1) == b"a"
            started.server.stop(TIMEOUT)
            assert receive(peer, 9) == b"stopping "
            peer.sendall(b"b")
            assert receive(peer, 1) == b"b"
            peer.sendall(b"done")
            assert receive_all(peer) == b"bye"
        started.join()


@pytest.mark.parametrize("answer", [False, True, None])
def test_what_is_under_way_has_the_time_of_the_stop(answer: bool | None) -> None:
    """None: it fails. The others are those that have nothing under way, and those that never end."""
    record = Recorder()

    def stopping(conn: Conn) -> bool:
        if answer is None:
            raise ValueError("on purpose")
        return answer

    events = Events(
        opened=lambda conn: b"hello", stopping=stopping, closed=lambda conn, error: record.add("closed", type(error))
    )
    with running(events, "tcp://127.0.0.1:0") as started, connect(started.addr) as peer:
        assert receive(peer, 5) == b"hello"
        started.server.stop(0.1 if answer else TIMEOUT)
        assert receive_all(peer) == b""
        started.join()
    assert record.events == [("closed", ValueError if answer is None else type(None))]
