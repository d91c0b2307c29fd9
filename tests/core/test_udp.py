"""Guarantee 11: one event per datagram, one datagram per output."""

from __future__ import annotations

import os
import queue
import socket
import sys
from collections.abc import Callable
from typing import Any, cast

import pytest

from evio_core import Action, Conn, Events, Reply
from evio_core.server import RunningServer

from .conftest import POLLERS, use_poller
from .harness import TIMEOUT, Recorder, connect, receive, running

ADDRESSES = {
    "udp4": ("udp4://127.0.0.1:0", socket.AF_INET, "127.0.0.1"),
    "udp6": ("udp6://[::1]:0", socket.AF_INET6, "::1"),
    "udp": ("udp://127.0.0.1:0", socket.AF_INET, "127.0.0.1"),
}


@pytest.fixture(params=POLLERS, autouse=True)
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use_poller(monkeypatch, request.param)
    return str(request.param)


def client(family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(TIMEOUT)
    return sock


@pytest.mark.parametrize("scheme", ADDRESSES)
def test_addresses_are_what_getpeername_would_say(scheme: str) -> None:
    address, family, host = ADDRESSES[scheme]
    seen: queue.Queue[Any] = queue.Queue()

    def data(conn: Conn, chunk: bytes) -> bytes:
        seen.put((conn.remote_addr, conn.local_addr, conn.addr_index))
        return chunk.upper()

    with running(Events(data=data), address) as run, client(family) as peer:
        peer.bind((host, 0))
        peer.connect(run.addr)
        peer.send(b"hello")
        assert peer.recv(100) == b"HELLO"
        assert seen.get(timeout=TIMEOUT) == (peer.getsockname(), peer.getpeername(), 0)


def test_an_event_and_a_reply_for_each_datagram_empty_ones_included() -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> bytes:
        record.add("data", chunk)
        return chunk

    events = Events(
        data=data, opened=lambda conn: record.add("opened"), closed=lambda conn, error: record.add("closed")
    )
    sent = [b"one", b"", b"three", b"\0" * 60000]
    with running(events, "udp://127.0.0.1:0") as run, client() as peer:
        for datagram in sent:
            peer.sendto(datagram, run.addr)
            assert peer.recv(65535) == datagram
    assert record.events == [("data", datagram) for datagram in sent]


def test_a_peer_may_be_kept_and_written_to_later_from_another_thread() -> None:
    peers: queue.Queue[Conn] = queue.Queue()
    with running(Events(data=lambda conn, chunk: peers.put(conn)), "udp://127.0.0.1:0") as run, client() as peer:
        peer.sendto(b"hello", run.addr)
        conn = peers.get(timeout=TIMEOUT)
        for number in range(10):
            conn.write(b"%d" % number)
        conn.write(b"")
        assert [peer.recv(100) for _ in range(11)] == [*(b"%d" % number for number in range(10)), b""]


def test_write_and_output_in_one_event_are_two_datagrams_in_order() -> None:
    def data(conn: Conn, chunk: bytes) -> bytes:
        conn.write(b"first")
        return b"second"

    with running(Events(data=data), "udp://127.0.0.1:0") as run, client() as peer:
        peer.sendto(b"hello", run.addr)
        assert [peer.recv(100), peer.recv(100)] == [b"first", b"second"]


def test_a_wake_is_no_datagram() -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> bytes | None:
        record.add("data", chunk)
        if chunk:
            conn.wake()
        return chunk

    with running(Events(data=data, woken=lambda conn: b"woken"), "udp://127.0.0.1:0") as run, client() as peer:
        peer.sendto(b"", run.addr)
        assert peer.recv(100) == b""
        peer.sendto(b"x", run.addr)
        assert [peer.recv(100), peer.recv(100)] == [b"x", b"woken"]
    assert record.events == [("data", b""), ("data", b"x")]


def test_close_ends_nothing_and_shutdown_stops() -> None:
    def data(conn: Conn, chunk: bytes) -> Reply:
        conn.close()
        conn.abort()
        conn.shutdown_write()
        return chunk, Action.CLOSE if chunk == b"close" else Action.SHUTDOWN

    with running(Events(data=data), "udp://127.0.0.1:0") as run, client() as peer:
        for word in (b"close", b"shutdown"):
            peer.sendto(word, run.addr)
            assert peer.recv(100) == word
        run.join()


WANTED: dict[str, Callable[[Conn], object]] = {
    "set_deadline": lambda peer: peer.set_deadline(1),
    "pause_reading": lambda peer: peer.pause_reading(),
    "resume_reading": lambda peer: peer.resume_reading(),
    "configure": lambda peer: peer.configure(idle_timeout=1),
    "send_file": lambda peer: peer.send_file(0),
    "detach": lambda peer: Action.DETACH,
}


@pytest.mark.parametrize("what", WANTED)
def test_what_datagrams_do_not_have_is_refused_aloud(what: str, caplog: pytest.LogCaptureFixture) -> None:
    def data(peer: Conn, chunk: bytes) -> Reply:
        if chunk == b"again":
            return chunk
        return b"output", cast(Action, WANTED[what](peer))

    with running(Events(data=data), "udp://127.0.0.1:0") as run, client() as peer:
        peer.sendto(b"x", run.addr)
        peer.sendto(b"again", run.addr)
        assert peer.recv(100) == (b"output" if what == "detach" else b"again")
        run.server.stop()
    assert "TypeError" in caplog.text


def test_an_exception_costs_that_datagram_only(caplog: pytest.LogCaptureFixture) -> None:
    def data(conn: Conn, chunk: bytes) -> bytes:
        return b"%d" % (1 // len(chunk))

    with running(Events(data=data), "udp://127.0.0.1:0") as run, client() as peer:
        peer.sendto(b"", run.addr)
        peer.sendto(b"x", run.addr)
        assert peer.recv(100) == b"1"
    assert "ZeroDivisionError" in caplog.text


def test_a_datagram_that_is_too_long_is_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    def data(conn: Conn, chunk: bytes) -> bytes:
        conn.write(b"x" * 70000)
        return b"after"

    with running(Events(data=data), "udp://127.0.0.1:0") as run, client() as peer:
        peer.sendto(b"x", run.addr)
        assert peer.recv(65535) == b"after"
        assert run.server.stats().total.datagrams_dropped == 1
    assert "70000 bytes" in caplog.text


def test_output_waits_for_pre_write() -> None:
    order: list[str] = []

    def data(conn: Conn, chunk: bytes) -> bytes:
        order.append("data")
        return b"reply"

    events = Events(data=data, pre_write=lambda: order.append("pre"))
    with running(events, "udp://127.0.0.1:0") as run, client() as peer:
        peer.sendto(b"x", run.addr)
        assert peer.recv(100) == b"reply"
    assert order == ["data", "pre"]


def test_tcp_and_udp_share_a_loop_and_have_their_index() -> None:
    events = Events(data=lambda conn, chunk: b"%d" % conn.addr_index)
    with running(events, "tcp://127.0.0.1:0", "udp://127.0.0.1:0") as run, client() as peer:
        peer.sendto(b"x", run.server.addrs[1])
        assert peer.recv(10) == b"1"
        with socket.create_connection(run.server.addrs[0], TIMEOUT) as stream:
            stream.sendall(b"x")
            assert stream.recv(10) == b"0"


def test_a_draining_server_takes_no_more_datagrams_and_sends_late_answers() -> None:
    record = Recorder()
    peers: list[Conn] = []

    def data(conn: Conn, chunk: bytes) -> bytes | None:
        record.add("data", conn.addr_index, chunk)
        if conn.addr_index == 0:
            return chunk
        peers.append(conn)
        return None

    events = Events(data=data, retiring=lambda conn: record.add("retiring"), shutdown_timeout=TIMEOUT)
    with running(events, "tcp://127.0.0.1:0", "udp://127.0.0.1:0") as run, connect(run.addr) as stream:
        stream.sendall(b"x")
        assert receive(stream, 1) == b"x"
        with client() as asking:
            asking.connect(run.server.addrs[1])
            asking.send(b"before")
            record.wait(lambda seen: ("data", 1, b"before") in seen)
            cast(RunningServer, run.server).drain()
            record.wait_for("retiring")
            asking.send(b"after")
            for _ in range(3):  # turns of the loop, each of which would find the datagram
                stream.sendall(b"x")
                assert receive(stream, 1) == b"x"
            peers[0].write(b"late")
            assert asking.recv(100) == b"late"
    assert [event for event in record.events if event[:2] == ("data", 1)] == [("data", 1, b"before")]


# -- a socket bound to all addresses

WILDCARDS = {
    "udp4": ("udp4://:0", socket.AF_INET, ("127.0.0.1", "127.0.0.5", "127.1.2.3")),
    "udp": ("udp://0.0.0.0:0", socket.AF_INET, ("127.0.0.1", "127.0.0.5")),
    "udp6": ("udp6://[::]:0", socket.AF_INET6, ("::1",)),
}


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.5 is an address of Linux' loopback without being set up")
@pytest.mark.parametrize("scheme", WILDCARDS)
def test_a_wildcard_socket_answers_from_the_address_that_was_asked(scheme: str) -> None:
    address, family, hosts = WILDCARDS[scheme]
    peers: queue.Queue[Conn] = queue.Queue()

    def data(conn: Conn, chunk: bytes) -> bytes:
        peers.put(conn)
        conn.write(b"written")
        return chunk

    with running(Events(data=data), address) as run, client(family) as peer:
        port = run.addr[1]
        for host in hosts:
            peer.sendto(b"returned", (host, port))
            assert peer.recvfrom(100) == (b"written", peer_name(family, host, port))
            assert peer.recvfrom(100) == (b"returned", peer_name(family, host, port))
            conn = peers.get(timeout=TIMEOUT)
            assert conn.local_addr == peer_name(family, host, port)
            assert conn.remote_addr[1] == peer.getsockname()[1]
            conn.write(b"from another thread")
            assert peer.recvfrom(100) == (b"from another thread", peer_name(family, host, port))


def peer_name(family: int, host: str, port: int) -> Any:
    return (host, port, 0, 0) if family == socket.AF_INET6 else (host, port)


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.5 is an address of Linux' loopback without being set up")
def test_answers_of_a_wildcard_socket_that_wait_leave_from_the_address_that_was_asked() -> None:
    events = Events(data=lambda conn, chunk: chunk, pre_write=lambda: None)
    with running(events, "udp4://:0") as run, client() as peer:
        for chunk in (b"x", b""):
            peer.sendto(chunk, ("127.0.0.5", run.addr[1]))
            assert peer.recvfrom(100) == (chunk, ("127.0.0.5", run.addr[1]))


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.5 is an address of Linux' loopback without being set up")
def test_a_wildcard_socket_that_came_as_a_descriptor_answers_both_families_from_there() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        port = both.getsockname()[1]
        with running(Events(data=lambda conn, chunk: conn.local_addr[0].encode()), f"fd://{os.dup(both.fileno())}"):
            with client() as four, client(socket.AF_INET6) as six:
                four.sendto(b"x", ("127.0.0.5", port))
                assert four.recvfrom(100) == (b"::ffff:127.0.0.5", ("127.0.0.5", port))
                six.sendto(b"x", ("::1", port))
                assert six.recvfrom(100) == (b"::1", ("::1", port, 0, 0))


def test_a_stopped_wildcard_socket_leaves_nothing() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        with running(Events(data=lambda conn, chunk: chunk), "udp4://:0") as run, client() as peer:
            peer.sendto(b"x", ("127.0.0.1", run.addr[1]))
            assert peer.recv(10) == b"x"
    assert len(os.listdir("/proc/self/fd")) == before
