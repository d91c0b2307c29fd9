"""Guarantees 7 to 10: what goes wrong in the kernel, in peers and in callbacks, and stays where it belongs."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evio_core import Action, Conn, Events, Options, Server, logs, server
from evio_core.fallback.loop import NetLoop
from evio_core.loop.loop import READ_SIZE
from evio_core.loop.poller import make_poller
from evio_core.loop.poller.select import FD_SETSIZE
from evio_core.loop.waker import Waker
from evio_core.stream import listener
from evio_core.udp import datagram
from tests.ports import free_port

from .conftest import NATIVE, POLLERS, PROCESSES, Certificates, Variant, use_poller
from .harness import TIMEOUT, Recorder, Running, connect, eventually, receive, receive_all, running


def reset(peer: socket.socket) -> None:
    """Close with a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


# -- accepting

OUT_OF_DESCRIPTORS = """
import logging, os, resource, sys, threading, time
from evio_core import Events, serve

logging.basicConfig(format="%(message)s", stream=sys.stderr)

def serving(server):
    limit = len(os.listdir("/proc/self/fd")) + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.write(1, b"%d\\n" % server.addrs[0][1])
    threading.Thread(target=report, args=(server,), daemon=True).start()

def report(server):
    for line in sys.stdin:
        os.write(1, b"%d %f\\n" % (server.stats().total.turns, time.process_time()))

serve(Events(serving=serving, data=lambda conn, chunk: chunk), "tcp://127.0.0.1:0")
"""


@pytest.mark.parametrize("poller", PROCESSES)
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

    def spent() -> tuple[int, float]:
        """Turns, and seconds of CPU."""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        turns, seconds = process.stdout.readline().split()
        return int(turns), float(seconds)

    try:
        addr = ("127.0.0.1", int(process.stdout.readline()))
        peers = [connect(addr) for _ in range(30)]  # more than it has descriptors for
        peers[0].sendall(b"served")
        assert receive(peers[0], 6) == b"served"
        before = spent()
        time.sleep(0.4)  # not for luck: what is measured is how much happens in this time
        after = spent()
        assert after[0] - before[0] < 20
        assert after[1] - before[1] < 0.1
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
        self._fail()
        return self._sock.accept()

    def _accept(self) -> Any:
        self._fail()
        return self._sock._accept()  # type: ignore[attr-defined]

    def _fail(self) -> None:
        code = self._errors.pop(0) if self._errors else 0
        if code:
            raise OSError(code, os.strerror(code))

    def fail(self, code: int, count: int) -> None:
        """Fail ``count`` times from now on."""
        self._errors += [code] * count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize(
    "code", [errno.ECONNABORTED, errno.EINTR, errno.ENOMEM, errno.ENFILE, errno.EPROTO, errno.EPERM]
)
def test_an_error_of_accept_never_ends_the_server(
    poller: str, code: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use_poller(monkeypatch, poller)
    before = listener.Listener.__init__

    def init(self: listener.Listener, loop: Any, sock: Any, *rest: Any) -> None:
        before(self, loop, Faulty(sock, [code, code]), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(listener.Listener, "__init__", init)
    with running(Events(data=lambda conn, chunk: chunk), "tcp://127.0.0.1:0") as run:
        for _ in range(2):
            with connect(run.addr) as peer:
                peer.sendall(b"x")
                assert receive(peer, 1) == b"x"
        asyncios = poller == "asyncio" and code == errno.EINTR  # which tries that one again by itself
        assert run.server.stats().total.accept_errors == (0 if asyncios else 2)
    told = [record.getMessage() for record in caplog.records]
    if code in (errno.ENOMEM, errno.ENFILE):  # the system's: told once, and once that it is over
        assert len(told) == 2
        assert os.strerror(code) in told[0]
        assert "again" in told[1]
    else:
        assert told == []


@pytest.mark.parametrize("poller", POLLERS)
def test_an_error_of_accept_that_comes_and_goes_is_not_told_each_time(
    poller: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the limit of descriptors each connection that ends makes room for one."""
    use_poller(monkeypatch, poller)
    monkeypatch.setattr(listener, "FIRST_PAUSE", 0.001)
    before = listener.Listener.__init__

    def init(self: listener.Listener, loop: Any, sock: Any, *rest: Any) -> None:
        errors = [errno.EMFILE, 0] * 5
        if poller != "asyncio":  # the native listener accepts until there is nothing: its last one is not made up
            errors = [errno.EMFILE, 0, errno.EMFILE, 0, errno.EMFILE, 0]
        before(self, loop, Faulty(sock, errors), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(listener.Listener, "__init__", init)
    with running(Events(data=lambda conn, chunk: chunk), "tcp://127.0.0.1:0") as run:
        for _ in range(3):
            with connect(run.addr) as peer:
                exchange(peer, b"x")
        assert run.server.stats().total.accept_errors >= 3
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "cannot accept" in told[0]
    assert "again" in told[1]


def test_messages_that_were_left_out_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(logs, "monotonic", lambda: now[0])
    limit = logs.LogLimit()
    assert limit.allows()
    assert limit.left_out() == ""
    assert [limit.allows() for _ in range(3)] == [False] * 3
    now[0] += 60
    assert limit.allows()
    assert limit.left_out() == " (3 times more before)"


@pytest.mark.parametrize("kind", ["plain", "proxy_protocol", "tls"])
def test_a_connection_that_cannot_be_polled_is_dropped_and_the_next_one_is_not(
    kind: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``fs.epoll.max_user_watches`` is reached, say (epoll_ctl(2), ENOSPC)."""

    class Full:
        def __init__(self) -> None:
            self._inner = make_poller()
            self.room = 2  # the waker and the listener

        def register(self, fd: int, mask: int, exclusive: bool = False) -> None:
            self.room -= 1
            if self.room == -1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._inner.register(fd, mask, exclusive)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    monkeypatch.setattr(server, "make_poller", Full)
    record = Recorder()
    events = Events(
        opened=lambda conn: record.add("opened"),
        data=lambda conn, chunk: chunk,
        closed=lambda conn, error: record.add("closed"),
    )
    options = {
        "plain": "",
        "proxy_protocol": "?proxy_protocol=true",
        "tls": f"?cert={certificates.cert}&key={certificates.key}",
    }
    with running(events, f"{'tls' if kind == 'tls' else 'tcp'}://127.0.0.1:0{options[kind]}") as run:
        with connect(run.addr) as dropped:
            assert dropped.recv(1) == b""
        with connect(run.addr, certificates.ca if kind == "tls" else None) as peer:
            if kind == "proxy_protocol":
                peer.sendall(b"PROXY UNKNOWN\r\n")
            exchange(peer, b"x")
            assert run.server.stats().total.connections == 1
    assert record.names() == ["opened", "closed"]


BEYOND_SELECT = """
import resource
from evio_core import Events, serve

def serving(server):
    print(server.addrs[0][1], flush=True)

_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
serve(Events(serving=serving, data=lambda conn, chunk: chunk), "tcp://127.0.0.1:0?backlog=2048")
"""


def test_more_connections_than_select_can_watch_are_dropped_and_the_others_served() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * FD_SETSIZE:
        pytest.skip("this system lets nobody have so many descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * FD_SETSIZE, hard))
    peers: list[socket.socket] = []
    try:
        with Process("-c", BEYOND_SELECT, EVIO_POLLER="select") as server:
            peers += [connect(server.addr) for _ in range(FD_SETSIZE + 20)]
            exchange(peers[0], b"x")
            assert peers[-1].recv(1) == b""
            for peer in peers[100:200]:
                peer.close()
            for peer in (peers[0], peers[99], peers[200]):
                exchange(peer, b"still served")
            for _ in range(20):
                with connect(server.addr) as peer:
                    exchange(peer, b"room again")
            server.terminate()
            assert server.end() == (0, b"")
    finally:
        for peer in peers:
            peer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- peers


def exchange(peer: socket.socket, message: bytes) -> None:
    peer.sendall(message)
    assert receive(peer, len(message)) == message


def abort_many(addr: Any, count: int, now_and_then: Callable[[int], None] = lambda number: None) -> None:
    """Connect and leave at once, in every way: with and without data, with a reset and without."""
    for number in range(count):
        peer = connect(addr)  # without a handshake where one is wanted
        if number % 3:
            peer.sendall(b"\x16\x03\x01junk")
        if number % 2 and peer.family != socket.AF_UNIX:
            reset(peer)
        else:
            peer.close()
        if number % 50 == 0:
            now_and_then(number)


def test_thousands_of_aborted_connections_disturb_nobody(variant: Variant) -> None:
    count = 100 if variant.transport == "tls" else 300
    record = Recorder()
    events = Events(
        opened=lambda conn: record.add("opened"),
        data=lambda conn, chunk: chunk,
        closed=lambda conn, error: record.add("closed"),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run:
        honest = connect(run.addr, variant.trust)
        abort_many(run.addr, count, lambda number: exchange(honest, b"%4d" % number))
        exchange(honest, b"done")
        honest.close()
        expected = 1 if variant.transport == "tls" else count + 1
        record.wait(lambda seen: [name for (name,) in seen].count("closed") >= expected, "every closed")
    names = record.names()
    assert names.count("opened") == names.count("closed")


@pytest.mark.parametrize("poller", POLLERS)
def test_large_echoes_are_whole_during_thousands_of_aborts(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, poller)
    message = os.urandom(300_000)
    echoed: list[bool] = []
    over = threading.Event()

    def echo() -> None:
        with connect(run.addr) as peer:
            while not over.is_set():
                sender = threading.Thread(target=peer.sendall, args=(message,))
                sender.start()
                echoed.append(receive(peer, len(message)) == message)
                sender.join(TIMEOUT)

    with running(Events(data=lambda conn, chunk: chunk, num_loops=2), "tcp://127.0.0.1:0") as run:
        threads = [threading.Thread(target=echo) for _ in range(2)]
        for thread in threads:
            thread.start()
        abort_many(run.addr, 2000)
        over.set()
        for thread in threads:
            thread.join(TIMEOUT)
    assert len(echoed) >= 2
    assert all(echoed)


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


def fill(peer: socket.socket) -> int:
    """Send as much as the kernel takes from a server that does not read; returns how much that was."""
    peer.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += peer.send(bytes(1 << 16))
    peer.settimeout(TIMEOUT)
    return sent


@contextlib.contextmanager
def held(run: Running) -> Iterator[None]:
    """Keep loop 0 from looking at its sockets while the block prepares what it will find."""
    entered, release = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        release.wait(TIMEOUT)

    run.server.call(hold)
    assert entered.wait(TIMEOUT)
    try:
        yield
    finally:
        release.set()


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_a_flooding_peer_does_not_starve_others(
    poller: str, transport: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all that is there to be read, each connection gets a bounded piece before the next one's turn."""
    use_poller(monkeypatch, poller)
    record = Recorder()
    events = Events(
        opened=lambda conn: record.add("opened"),
        data=lambda conn, chunk: record.add("data", len(chunk)),
        options=Options(receive_buffer=8 << 20),
    )
    address = "tcp://127.0.0.1:0" if transport == "tcp" else f"unix://{tmp_path}/a.sock"
    with running(events, address) as run, connect(run.addr) as flooder, connect(run.addr) as quiet:
        flooder.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        record.wait_for("opened", 2)
        with held(run):
            sent = fill(flooder)
            quiet.sendall(b"x")
        record.wait(lambda seen: sum(event[1] for event in seen if event[0] == "data") == sent + 1, "all input")
    sizes = [event[1] for event in record.events if event[0] == "data"]
    before = sum(sizes[: sizes.index(1)])
    largest = READ_SIZE if poller != "asyncio" else 256 * 1024  # _SelectorSocketTransport.max_size
    assert sent > 2 * largest
    assert before <= largest


@pytest.mark.parametrize("poller", NATIVE)
def test_a_bounded_number_is_accepted_in_a_turn(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, poller)
    record = Recorder()
    events = Events(opened=lambda conn: record.add("opened"), data=lambda conn, chunk: record.add("data"))
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        record.wait_for("opened")
        with held(run):
            peers = [connect(run.addr) for _ in range(3 * listener.ACCEPTS_PER_TURN)]
            peer.sendall(b"x")
        record.wait_for("opened", 1 + len(peers))
        record.wait_for("data")
        for each in peers:
            each.close()
    assert record.names().index("data") <= 1 + listener.ACCEPTS_PER_TURN


@pytest.mark.parametrize("poller", NATIVE)
def test_a_bounded_number_of_datagrams_is_taken_in_a_turn(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, poller)
    record = Recorder()
    events = Events(
        opened=lambda conn: record.add("opened"),
        data=lambda conn, chunk: record.add("udp" if conn.addr_index else "tcp"),
    )
    count = 2 * datagram.DATAGRAMS_PER_TURN  # which fits the usual receive buffer
    with running(events, "tcp://127.0.0.1:0", "udp://127.0.0.1:0") as run, connect(run.addr) as peer:
        record.wait_for("opened")
        with held(run), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flooder:
            for _ in range(count):
                flooder.sendto(b"x", run.server.addrs[1])
            peer.sendall(b"x")
        record.wait_for("udp", count)
        record.wait_for("tcp")
    assert record.names().index("tcp") <= 1 + datagram.DATAGRAMS_PER_TURN


# -- descriptors


def test_events_of_a_descriptor_closed_in_the_same_turn_are_ignored(variant: Variant) -> None:
    """Two connections are ready in one turn; the callback of the first ends the second."""
    conns: list[Conn] = []
    record = Recorder()
    ended: list[int] = []
    taken: list[int] = []

    def data(conn: Conn, chunk: bytes) -> bytes:
        record.add("data", conn.context, chunk)
        if chunk == b"first":
            [other] = [each for each in conns if each is not conn]
            ended.append(other.fd)  # type: ignore[attr-defined]
            other.abort()
            taken.extend(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) for _ in range(8))
        return chunk

    def opened(conn: Conn) -> None:
        conn.context = len(conns)
        conns.append(conn)
        record.add("opened")

    events = Events(opened=opened, data=data, closed=lambda conn, error: record.add("closed", conn.context))
    try:
        with running(events, variant.address) as run:
            peers = [connect(run.addr, variant.trust) for _ in range(2)]
            record.wait_for("opened", 2)
            with held(run):
                for peer in peers:
                    peer.sendall(b"first")
            record.wait_for("closed")
            with connect(run.addr, variant.trust) as new:  # may get the number of the one that was closed
                new.sendall(b"new")
                assert receive(new, 3) == b"new"
            survivor = record.wait_for("data")[0][1]
            assert receive(peers[survivor], 5) == b"first"
            for peer in peers:
                peer.close()
    finally:
        for fd in taken:
            os.close(fd)
    assert len(ended) == 1
    assert ended[0] not in taken  # it was nobody else's before the turn, with its stale event, was over
    assert [event for event in record.events if event[0] == "data"] == [
        ("data", survivor, b"first"),
        ("data", 2, b"new"),
    ]


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
    assert "a callback returns bytes, an Action, (bytes, Action) or a Deferred" in caplog.text


# -- signals

LARGE_REPLIES = """
from evio_core import Events, Options, serve

def serving(server):
    print("listening on %s:%d" % server.addrs[0], flush=True)

def data(conn, chunk):
    return b"<" + bytes(1000000 * len(chunk)) + b">"

options = Options(send_buffer=65536)
serve(Events(serving=serving, data=data, options=options, shutdown_timeout=600), "tcp://127.0.0.1:0")
"""


class Process:
    """A server in a process of its own, which says where it listens."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        assert self.process.stdout is not None
        self.addr = ("127.0.0.1", int(self.process.stdout.readline().rpartition(b":")[2]))

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> tuple[int, bytes]:
        """Wait for its end; its exit status and what it complained of."""
        _, errors = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, errors


class Client:
    """Asks in a thread until the server ends, and keeps count of what it got for each request."""

    def __init__(self, addr: tuple[str, int], request: bytes, size: int) -> None:
        self.got: list[int] = []
        self._addr, self._request, self._size = addr, request, size
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        with connect(self._addr) as peer, contextlib.suppress(OSError):  # a request may cross with the end
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            while not self.got or self.got[-1] == self._size:
                peer.sendall(self._request)
                self.got.append(0)
                while self.got[-1] < self._size:
                    part = peer.recv(self._size - self.got[-1])
                    if not part:
                        return
                    self.got[-1] += len(part)


@pytest.mark.parametrize("poller", PROCESSES)
@pytest.mark.parametrize("program", ["evio_echo", "large replies"])
def test_sigterm_under_load_cuts_no_reply(poller: str, program: str) -> None:
    if program == "evio_echo":
        arguments, request, size, enough = ["-m", "evio_echo", "tcp://127.0.0.1:0"], b"message", 7, 100
    else:  # more than the kernel takes at once: there are always some that have left in part
        arguments, request, size, enough = ["-c", LARGE_REPLIES], b"x", 1_000_002, 5
    with Process(*arguments, EVIO_POLLER=poller) as server:
        clients = [Client(server.addr, request, size) for _ in range(6)]
        deadline = time.monotonic() + TIMEOUT
        while any(len(client.got) < enough for client in clients) and time.monotonic() < deadline:
            time.sleep(0.001)
        server.terminate()
        assert server.end() == (0, b"")
        for client in clients:
            client.thread.join(TIMEOUT)
            assert len(client.got) >= enough
            assert set(client.got) <= {0, size}  # whole, or not begun as the request came too late


def refuses(addr: tuple[str, int]) -> bool:
    """Wait until nobody listens there any more."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        try:
            connect(addr).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            continue  # it was in the queue when the listener was closed
    return False


def test_a_signal_in_the_middle_of_the_end_writes_to_no_descriptor_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler runs between any two bytecodes: here where the loop's last descriptors are closed one by one, and their
    numbers may be somebody else's at once."""
    waker = Waker()
    close: Callable[[int], None] = os.close
    strays: list[int] = []

    def close_and_be_interrupted(fd: int) -> None:
        close(fd)
        waker.force()

    monkeypatch.setattr(os, "close", close_and_be_interrupted)
    monkeypatch.setattr(os, "write", lambda fd, data: strays.append(fd))
    waker.close()
    waker.force()
    assert strays == []


def test_a_call_that_crosses_with_the_end_of_the_fallback_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread has looked whether the event loop lives, and is overtaken by its end."""
    loop = NetLoop(0, Events(), lambda: None)
    before = loop.aio.is_closed

    def closed_meanwhile() -> bool:
        monkeypatch.setattr(loop.aio, "is_closed", before)
        loop.aio.close()
        return False

    monkeypatch.setattr(loop.aio, "is_closed", closed_meanwhile)
    loop.submit(lambda _: None)
    monkeypatch.setattr(loop.aio, "is_closed", before)
    loop.aio.close()
    loop.submit(lambda _: None)
    assert loop.aio.is_closed()


@pytest.mark.parametrize("poller", PROCESSES)
def test_a_second_sigterm_stops_at_once(poller: str) -> None:
    """The peer never takes its reply: the first signal would wait for it, up to ``shutdown_timeout``."""
    with Process("-c", LARGE_REPLIES, EVIO_POLLER=poller) as server, connect(server.addr) as peer:
        peer.sendall(bytes(50))
        assert receive(peer, 1) == b"<"
        server.terminate()
        assert refuses(server.addr)  # it has heard it, and waits
        assert server.process.poll() is None
        server.terminate()
        assert server.end() == (0, b"")


# -- several at once


@pytest.mark.parametrize("poller", POLLERS)
def test_a_listener_that_backs_off_ends_with_the_server(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not polled while it waits, and has to hear of the end all the same."""
    use_poller(monkeypatch, poller)
    before = listener.Listener.__init__
    faulty: list[Faulty] = []

    def init(self: listener.Listener, loop: Any, sock: Any, *rest: Any) -> None:
        faulty.append(Faulty(sock, []))
        before(self, loop, faulty[0], *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(listener.Listener, "__init__", init)
    monkeypatch.setattr(listener, "FIRST_PAUSE", TIMEOUT)
    large = bytes(8 << 20)  # more than the kernel takes: the server has to wait for the peer
    with running(Events(data=lambda conn, chunk: large), "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x")
        assert receive(peer, 1) == b"\0"
        faulty[0].fail(errno.ENOMEM, 1)
        with connect(run.addr):
            assert eventually(lambda: run.server.stats().total.accept_errors == 1)
            run.server.stop(TIMEOUT)
            assert refuses(run.addr)
        assert receive_all(peer) == large[1:]
        peer.close()
        run.server.join(TIMEOUT / 2)  # long before the time of the stop is over
        assert run.server.stats().total.accepted == 1


@pytest.mark.parametrize("poller", NATIVE)
def test_a_listener_that_cannot_be_polled_again_yet_tries_later(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """epoll_ctl(2) fails with ENOMEM or ENOSPC, when accept did so a moment before."""
    use_poller(monkeypatch, poller)
    before = listener.Listener.__init__
    listeners: list[tuple[listener.Listener, Faulty]] = []

    def init(self: listener.Listener, loop: Any, sock: Any, *rest: Any) -> None:
        listeners.append((self, Faulty(sock, [errno.ENOMEM])))
        before(self, loop, listeners[0][1], *rest)  # type: ignore[arg-type]

    start = listener.Listener.start
    starts = [0]

    def failing_start(self: listener.Listener) -> None:
        starts[0] += 1
        if starts[0] in (2, 3):
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        start(self)

    monkeypatch.setattr(listener.Listener, "__init__", init)
    monkeypatch.setattr(listener.Listener, "start", failing_start)
    with running(Events(data=lambda conn, chunk: chunk), "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        exchange(peer, b"x")
    assert starts[0] == 4


@pytest.mark.parametrize("how", ["close", "abort", "detach", "stop", "write"])
def test_a_paused_connection_whose_peer_is_gone_ends_like_any_other(variant: Variant, how: str) -> None:
    """Nobody polls it: a hang-up would be reported for ever."""
    if variant.transport == "tls":
        pytest.skip("the same code polls")
    record = Recorder()

    def opened(conn: Conn) -> None:
        conn.pause_reading()
        record.add("opened", conn)

    events = Events(
        opened=opened,
        woken=lambda conn: Action.DETACH,
        detached=lambda conn, sock: record.add("detached", sock),
        closed=lambda conn, error: record.add("closed", conn),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run:
        gone = connect(run.addr)
        conn: Conn = record.wait_for("opened")[0][1]
        gone.close()
        with connect(run.addr):
            record.wait_for("opened", 2)
            other_conn = record.events[-1][1]
            other_conn.resume_reading()
            before = sum(loop.turns for loop in run.server.stats().loops)
            run.server.call(lambda: None)
            assert eventually(lambda: sum(loop.turns for loop in run.server.stats().loops) > before)
            if how == "stop":
                run.server.stop()
                run.join()
                return
            if how == "write":
                conn.write(b"to nobody")
                conn.close()
            else:
                {"close": conn.close, "abort": conn.abort, "detach": conn.wake}[how]()
            if how == "detach":
                record.wait_for("detached")[0][1].close()
            else:
                record.wait(lambda seen: ("closed", conn) in seen, "closed")


def test_a_failed_attempt_to_dial_does_not_disturb_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is looking up a name when the other one's first address refuses; then the server stops."""
    look_up = socket.getaddrinfo
    looked_up, stopped = threading.Event(), threading.Event()
    refusing = ("127.0.0.1", free_port())

    def slow_look_up(host: Any, *rest: Any) -> Any:
        if host == "slow.test":
            if socket.AI_NUMERICHOST in rest:
                raise socket.gaierror
            looked_up.set()
            stopped.wait(TIMEOUT)
            raise socket.gaierror
        if host == "two.test":
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", name) for name in (refusing, run.addr)]
        return look_up(host, *rest)

    record = Recorder()
    events = Events(
        opened=lambda conn: record.add("opened", conn.context),
        closed=lambda conn, error: record.add("closed", conn.context),
    )
    with running(events, "tcp://127.0.0.1:0") as run:
        monkeypatch.setattr(socket, "getaddrinfo", slow_look_up)

        def dial_both() -> None:
            run.server.dial("tcp://two.test:1", "two")
            run.server.dial("tcp://slow.test:1", "slow")

        run.server.call(dial_both)
        assert looked_up.wait(TIMEOUT)
        record.wait(lambda seen: ("opened", "two") in seen and ("opened", None) in seen, "the connection")
        run.server.stop()
        run.join()
        stopped.set()
    assert sorted(str(event[1]) for event in record.events if event[0] == "closed") == ["None", "slow", "two"]


@pytest.mark.parametrize("where", ["opened", "data", "closed", "wake"])
def test_system_exit_in_a_callback_ends_the_server_with_every_closed(variant: Variant, where: str) -> None:
    record = Recorder()

    def leave(name: str) -> None:
        if name == where:
            raise SystemExit(f"in {name}")

    def opened(conn: Conn) -> None:
        record.add("opened")
        if len(record.names()) == 3:
            leave("opened")

    def data(conn: Conn, chunk: bytes) -> Action:
        leave("data")
        conn.wake()
        return Action.CLOSE if where == "closed" else Action.NONE

    def woken(conn: Conn) -> None:
        leave("wake")

    def closed(conn: Conn, error: BaseException | None) -> None:
        record.add("closed")
        leave("closed")

    events = Events(opened=opened, data=data, woken=woken, closed=closed, num_loops=variant.num_loops)
    with pytest.raises(SystemExit, match=f"in {where}"):
        with running(events, variant.address) as run:
            peers = [connect(run.addr, variant.trust) for _ in range(3)]
            record.wait_for("opened", 3)
            with contextlib.suppress(OSError):
                peers[0].sendall(b"x")
            for peer in peers:
                with contextlib.suppress(OSError):
                    receive_all(peer)
                peer.close()
            run.join()
    assert sorted(record.names()) == ["closed"] * 3 + ["opened"] * 3


# -- times


FAR_AWAY = pytest.mark.parametrize("seconds", [3e6, 1e300, math.inf])
"""epoll counts milliseconds in an int, which is 24.8 days; the others have limits of their own."""


@FAR_AWAY
@pytest.mark.parametrize("what", ["idle_timeout", "deadline", "tick"])
@pytest.mark.parametrize("poller", POLLERS)
def test_a_time_too_far_away_for_the_kernel_is_no_error(
    poller: str, what: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_poller(monkeypatch, poller)
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
@pytest.mark.parametrize("poller", POLLERS)
def test_so_is_a_stop_that_may_take_as_long_as_it_wants(
    poller: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_poller(monkeypatch, poller)
    size = 8 << 20  # more than both kernel buffers take: the stop has to wait for the peer
    events = Events(data=lambda conn, chunk: bytes(size), options=Options(close_timeout=seconds))
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x")
        assert receive(peer, 1) == b"\0"
        run.server.stop(seconds)
        assert len(receive_all(peer)) == size - 1
        peer.close()
        run.join()
