"""Guarantees 7 to 10: what goes wrong in the kernel, in peers and in callbacks, and stays where it belongs."""

from __future__ import annotations

import errno
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from evio_core import Action, Conn, Events, Options, Server, listener

from .conftest import Variant
from .harness import TIMEOUT, Recorder, connect, receive, receive_all, running


def reset(peer: socket.socket) -> None:
    """Close with a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


# -- accepting

OUT_OF_DESCRIPTORS = """
import logging, os, resource, sys, threading
from evio_core import Events, serve

logging.basicConfig(format="%(message)s", stream=sys.stderr)

def serving(server):
    limit = len(os.listdir("/proc/self/fd")) + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.write(1, b"%d\\n" % server.addrs[0][1])
    threading.Thread(target=report, args=(server,), daemon=True).start()

def report(server):
    for line in sys.stdin:
        os.write(1, b"%d\\n" % server.stats().total("turns"))

serve(Events(serving=serving, data=lambda conn, chunk: chunk), "tcp://127.0.0.1:0")
"""


@pytest.mark.parametrize("poller", ["epoll", "select", "asyncio"])
def test_running_out_of_descriptors_is_told_once_costs_no_cpu_and_passes(poller: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", OUT_OF_DESCRIPTORS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "EVIO_POLLER": poller},
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def turns() -> int:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    try:
        addr = ("127.0.0.1", int(process.stdout.readline()))
        peers = [connect(addr) for _ in range(30)]  # more than it has descriptors for
        peers[0].sendall(b"served")
        assert receive(peers[0], 6) == b"served"
        before = turns()
        time.sleep(0.4)
        assert turns() - before < 20
        for peer in peers[:-1]:
            peer.close()
        peers[-1].sendall(b"the last")  # it waited in the backlog
        assert receive(peers[-1], 8) == b"the last"
        peers[-1].close()
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=TIMEOUT)
    lines = log.decode().splitlines()
    assert len([line for line in lines if "cannot accept" in line]) == 1
    assert "Too many open files" in lines[0]
    assert "again" in lines[-1]
    assert process.returncode == 0


class Faulty:
    """A listening socket whose ``accept`` fails as told, 0 being no failure, before it works."""

    def __init__(self, sock: socket.socket, errors: list[int]) -> None:
        self._sock = sock
        self._errors = errors

    def accept(self) -> Any:
        code = self._errors.pop(0) if self._errors else 0
        if code:
            raise OSError(code, os.strerror(code))
        return self._sock.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.mark.parametrize(
    "code", [errno.ECONNABORTED, errno.EINTR, errno.ENOMEM, errno.ENFILE, errno.EPROTO, errno.EPERM]
)
def test_an_error_of_accept_never_ends_the_server(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = listener.Listener.__init__

    def init(self: listener.Listener, loop: Any, sock: Any, *rest: Any) -> None:
        before(self, loop, Faulty(sock, [code, code]), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(listener.Listener, "__init__", init)
    with running(Events(data=lambda conn, chunk: chunk), "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x")
        assert receive(peer, 1) == b"x"
        assert run.server.stats().total("accept_errors") == 2


# -- peers


def test_thousands_of_aborted_connections_disturb_nobody(variant: Variant) -> None:
    count = 100 if variant.transport == "tls" else 1000 if variant.poller == "epoll" else 300
    record = Recorder()
    events = Events(
        opened=lambda conn: record.add("opened"),
        data=lambda conn, chunk: chunk,
        closed=lambda conn, error: record.add("closed"),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as honest:
        for number in range(count):
            peer = connect(run.addr)  # without a handshake where one is wanted
            if number % 3:
                peer.sendall(b"\x16\x03\x01junk")
            if number % 2 and variant.transport != "unix":
                reset(peer)
            else:
                peer.close()
            if number % 50 == 0:
                honest.sendall(b"%4d" % number)
                assert receive(honest, 4) == b"%4d" % number
        honest.sendall(b"done")
        assert receive(honest, 4) == b"done"
        expected = 1 if variant.transport == "tls" else count
        record.wait(lambda seen: [name for (name,) in seen].count("closed") >= expected - 1, "every closed")
    names = record.names()
    assert names.count("opened") == names.count("closed")


def test_a_reset_ends_only_that_connection(variant: Variant) -> None:
    if variant.transport == "unix":
        pytest.skip("unix sockets have no resets")
    record = Recorder()
    events = Events(
        data=lambda conn, chunk: chunk,
        closed=lambda conn, error: record.add("closed", error),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as honest:
        peer = connect(run.addr, variant.trust)
        peer.sendall(b"x")
        assert receive(peer, 1) == b"x"
        reset(peer)
        assert isinstance(record.wait_for("closed")[0][1], ConnectionResetError)
        honest.sendall(b"x")
        assert receive(honest, 1) == b"x"


def test_a_trickle_arrives_whole(variant: Variant) -> None:
    with running(Events(data=lambda conn, chunk: chunk, num_loops=variant.num_loops), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            for byte in b"a byte at a time":
                peer.sendall(bytes([byte]))
            assert receive(peer, 16) == b"a byte at a time"


def test_a_half_closed_peer_gets_its_reply(variant: Variant) -> None:
    if variant.transport == "tls":
        pytest.skip("TLS 1.3's half-close is tested in test_tls.py")
    replies: list[Conn] = []

    def answer(conn: Conn) -> None:
        conn.write(b"late reply")
        conn.close()

    def eof(conn: Conn) -> None:
        replies.append(conn)
        threading.Timer(0.05, answer, (conn,)).start()

    with running(Events(eof=eof, num_loops=variant.num_loops), variant.address) as run, connect(run.addr) as peer:
        peer.sendall(b"request")
        peer.shutdown(socket.SHUT_WR)
        assert receive_all(peer) == b"late reply"
    assert len(replies) == 1


def test_a_full_unix_backlog_makes_clients_wait_not_fail(tmp_path: Any) -> None:
    release = threading.Event()
    entered = threading.Event()

    def opened(conn: Conn) -> None:
        entered.set()
        release.wait(TIMEOUT)  # holds up the loop, which accepts no more

    path = f"{tmp_path}/a.sock"
    with running(Events(opened=opened, data=lambda conn, chunk: chunk), f"unix://{path}?backlog=1") as run:
        peers = [connect(run.addr)]
        assert entered.wait(TIMEOUT)
        refused = 0
        for _ in range(100):
            peer = socket.socket(socket.AF_UNIX)
            peer.setblocking(False)
            try:
                peer.connect(path)
                peers.append(peer)
            except BlockingIOError:
                peer.close()
                refused += 1
        assert refused > 0
        release.set()
        for peer in peers:
            peer.settimeout(TIMEOUT)
            peer.sendall(b"x")
            assert receive(peer, 1) == b"x"
            peer.close()


def test_a_flooding_peer_does_not_starve_others(variant: Variant) -> None:
    if variant.transport == "tls":
        pytest.skip("the same code reads")
    stop = threading.Event()

    def flood(peer: socket.socket) -> None:
        while not stop.is_set():
            peer.sendall(bytes(1 << 20))

    with running(Events(data=lambda conn, chunk: b"x" if len(chunk) == 1 else None), variant.address) as run:
        flooder = connect(run.addr)
        thread = threading.Thread(target=flood, args=(flooder,))
        thread.start()
        worst = 0.0
        with connect(run.addr) as peer:
            for _ in range(50):
                begin = time.monotonic()
                peer.sendall(b"x")
                assert receive(peer, 1) == b"x"
                worst = max(worst, time.monotonic() - begin)
        stop.set()
        thread.join(TIMEOUT)
        flooder.close()
    assert worst < 2.0


def test_a_bounded_number_is_accepted_in_a_turn() -> None:
    order: list[str] = []

    def opened(conn: Conn) -> None:
        order.append("opened")

    def data(conn: Conn, chunk: bytes) -> bytes:
        order.append("data")
        return chunk

    blocked = threading.Event()
    with running(Events(opened=opened, data=data), "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x")
        assert receive(peer, 1) == b"x"
        run.server.call(lambda: blocked.wait(TIMEOUT) and None)  # meanwhile connections and a message arrive
        peers = [connect(run.addr) for _ in range(300)]
        peer.sendall(b"y")
        blocked.set()
        assert receive(peer, 1) == b"y"
        for each in peers:
            each.sendall(b"z")
            assert receive(each, 1) == b"z"
            each.close()
    position = order.index("data", order.index("data") + 1)
    assert position <= 2 + 2 * listener.ACCEPTS_PER_TURN


# -- descriptors


def test_events_of_a_descriptor_closed_in_the_same_turn_are_ignored(variant: Variant) -> None:
    """Two connections are ready in one turn; the first one's callback ends the second."""
    conns: list[Conn] = []
    record = Recorder()
    ready = threading.Event()

    def data(conn: Conn, chunk: bytes) -> None:
        record.add("data", conn.context)
        for other in conns:
            if other is not conn:
                other.abort()

    def opened(conn: Conn) -> None:
        conn.context = len(conns)
        conns.append(conn)
        record.add("opened")

    events = Events(opened=opened, data=data, closed=lambda conn, error: record.add("closed", conn.context))
    with running(events, variant.address) as run:
        peers = [connect(run.addr, variant.trust) for _ in range(2)]
        record.wait_for("opened", 2)
        run.server.call(lambda: ready.wait(TIMEOUT) and None)
        for peer in peers:
            peer.sendall(b"x")
        ready.set()
        record.wait_for("closed")
        new = connect(run.addr, variant.trust)  # may get the number of the one that was closed
        record.wait_for("opened", 3)
        assert len(record.wait_for("data")) == 1
        for peer in (*peers, new):
            peer.close()


# -- callbacks


@pytest.mark.parametrize("where", ["opened", "data", "eof", "drained", "closed", "detached"])
def test_an_exception_ends_that_connection_only_and_is_logged(
    variant: Variant, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    if variant.transport == "tls" and where == "eof":
        pytest.skip("the end of a TLS client is the end of its connection")
    record = Recorder()
    failed: list[bool] = []

    def fail_once(name: str) -> None:
        if name == where and not failed:
            failed.append(True)
            raise ZeroDivisionError(f"in {name}")

    def opened(conn: Conn) -> None:
        fail_once("opened")

    def data(conn: Conn, chunk: bytes) -> Any:
        fail_once("data")
        if where == "detached" and not failed:
            return Action.DETACH
        return (b"bye", Action.CLOSE) if chunk == b"q" and where not in ("drained", "eof") else chunk

    def eof(conn: Conn) -> Action:
        fail_once("eof")
        return Action.CLOSE

    def closed(conn: Conn, error: BaseException | None) -> None:
        record.add("closed", error)
        fail_once("closed")

    events = Events(
        opened=opened,
        data=data,
        eof=eof,
        drained=(lambda conn: fail_once("drained")) if where == "drained" else None,
        detached=lambda conn, sock: fail_once("detached"),
        closed=closed,
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run:
        with connect(run.addr, variant.trust) as victim:
            try:
                victim.sendall(b"q")
                if where == "eof":
                    victim.shutdown(socket.SHUT_WR)
                receive_all(victim)
            except OSError:
                pass  # a reset, if it was sent something that was not read
        with connect(run.addr, variant.trust) as other:
            other.sendall(b"x")
            assert receive(other, 1) == b"x"
    assert f"in {where}" in caplog.text
    assert "Traceback" in caplog.text
    if where in ("opened", "data", "drained"):
        assert isinstance(record.wait_for("closed")[0][1], ZeroDivisionError)


def test_an_exception_in_serving_leaves_serve_as_itself(variant: Variant) -> None:
    def serving(server: Server) -> None:
        raise LookupError("in serving")

    with pytest.raises(LookupError, match="in serving"):
        with running(Events(serving=serving, num_loops=variant.num_loops), variant.address) as run:
            run.join()


@pytest.mark.parametrize("reply", ["text", 1, (b"x",), (b"x", b"y"), (None, None), [b"x"], object()])
def test_a_callback_that_returns_nonsense_ends_its_connection(reply: Any, caplog: pytest.LogCaptureFixture) -> None:
    record = Recorder()
    events = Events(data=lambda conn, chunk: reply, closed=lambda conn, error: record.add("closed", error))
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x")
        assert isinstance(record.wait_for("closed")[0][1], TypeError)
    assert "a callback returns bytes, an Action or (bytes, Action)" in caplog.text


# -- signals

UNDER_LOAD = """
import os, sys
from evio_core import Events, serve
def serving(server):
    os.write(1, b"%d\\n" % server.addrs[0][1])
def data(conn, chunk):
    return b"<" + chunk * 1000 + b">"
serve(Events(serving=serving, data=data), "tcp://127.0.0.1:0")
"""


def test_sigterm_under_load_cuts_no_reply() -> None:
    process = subprocess.Popen([sys.executable, "-c", UNDER_LOAD], stdout=subprocess.PIPE)
    assert process.stdout is not None
    addr = ("127.0.0.1", int(process.stdout.readline()))
    incomplete: list[bytes] = []
    exchanged = [0]

    def client() -> None:
        try:
            with connect(addr) as peer:
                while True:
                    peer.sendall(b"message")
                    reply = receive(peer, 7002)
                    if len(reply) < 7002:
                        if reply:
                            incomplete.append(reply)
                        return
                    exchanged[0] += 1
        except OSError:
            return  # a request, or even the connection, that crossed with the end

    clients = [threading.Thread(target=client) for _ in range(8)]
    for each in clients:
        each.start()
    deadline = time.monotonic() + TIMEOUT
    while exchanged[0] < 200 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT) == 0
    for each in clients:
        each.join(TIMEOUT)
    process.stdout.close()
    assert incomplete == []


# -- times


FAR_AWAY = pytest.mark.parametrize("seconds", [3e6, 1e300, math.inf])
"""epoll counts milliseconds in an int, which is 24.8 days; the others have limits of their own."""


@FAR_AWAY
@pytest.mark.parametrize("what", ["idle_timeout", "deadline", "tick"])
@pytest.mark.parametrize("poller", ["epoll", "select", "asyncio"])
def test_a_time_too_far_away_for_the_kernel_is_no_error(
    poller: str, what: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVIO_POLLER", poller)
    events = Events(data=lambda conn, chunk: chunk)
    if what == "idle_timeout":
        events.options = Options(idle_timeout=seconds)
    elif what == "deadline":
        events.opened = lambda conn: conn.set_deadline(seconds)
    else:
        events.tick = lambda: min(seconds, 1e300)  # an infinite delay is refused: None says that
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        for _ in range(2):  # the wait in between is one with that time-out
            peer.sendall(b"x")
            assert receive(peer, 1) == b"x"


@FAR_AWAY
@pytest.mark.parametrize("poller", ["epoll", "select", "asyncio"])
def test_so_is_a_stop_that_may_take_as_long_as_it_wants(
    poller: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVIO_POLLER", poller)
    size = 8 << 20  # more than both kernel buffers take: the stop has to wait for the peer
    events = Events(data=lambda conn, chunk: bytes(size), options=Options(close_timeout=seconds))
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x")
        assert receive(peer, 1) == b"\0"
        run.server.stop(seconds)
        assert len(receive_all(peer)) == size - 1
        peer.close()
        run.join()
