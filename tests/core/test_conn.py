"""Facts of a connection, for its callbacks and for other threads, and what the server counts."""

from __future__ import annotations

import os
import queue
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from evio_core import Action, Conn, Events, Options, PeerCredentials, Server

from .conftest import POLLERS, Certificates, Variant, use_poller
from .harness import TIMEOUT, Recorder, connect, eventually, receive, running


@pytest.fixture(params=POLLERS)
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use_poller(monkeypatch, request.param)
    return str(request.param)


def test_each_connection_knows_its_server_and_scheme(variant: Variant) -> None:
    record = Recorder()
    servers: list[Server] = []
    events = Events(
        serving=servers.append,
        opened=lambda conn: record.add("opened", conn.server, conn.scheme),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust):
        assert record.wait_for("opened") == [("opened", servers[0], variant.transport)]


def test_schemes_of_inherited_and_dialled_sockets_and_datagrams(
    poller: str, tmp_path: Path, certificates: Certificates
) -> None:
    record = Recorder()

    def opened(conn: Conn) -> None:
        record.add("opened", conn.addr_index, conn.context, conn.scheme)

    def data(conn: Conn, chunk: bytes) -> None:
        record.add("data", conn.server, conn.scheme)

    inherited = [socket.create_server(("127.0.0.1", 0)).detach() for _ in range(2)]
    tls = f"cert={certificates.cert}&key={certificates.key}"
    addresses = [f"fd://{inherited[0]}", f"fd://{inherited[1]}?{tls}", f"unix://{tmp_path}/s", "udp://127.0.0.1:0"]
    with running(Events(opened=opened, data=data), *addresses) as run:
        first, second, path, datagrams = run.server.addrs
        run.server.dial(f"tcp://127.0.0.1:{first[1]}", "a")
        run.server.dial(f"tls://localhost:{second[1]}?ca={certificates.ca}", "b")
        run.server.dial(f"unix://{path}", "c")
        schemes = sorted(event[1:] for event in record.wait_for("opened", 6))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"x", datagrams)
        assert record.wait_for("data") == [("data", run.server, "udp")]
    assert [each[2] for each in schemes] == ["tcp", "tls", "unix", "tcp", "tls", "unix"]


def test_options_of_a_connections_socket(poller: str) -> None:
    record = Recorder()
    conns: queue.Queue[Conn] = queue.Queue()

    def opened(conn: Conn) -> Action:
        conns.put(conn)
        linger = struct.pack("ii", 1, 7)
        conn.set_socket_option(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        conn.set_socket_option(socket.SOL_SOCKET, socket.SO_PRIORITY, 3)
        record.add(
            "options",
            conn.socket_option(socket.SOL_SOCKET, socket.SO_LINGER, 8) == linger,
            conn.socket_option(socket.SOL_SOCKET, socket.SO_PRIORITY),
        )
        with pytest.raises(OSError, match="Protocol not available"):
            conn.socket_option(socket.SOL_SOCKET, 12345)
        return Action.CLOSE

    with running(Events(opened=opened, closed=lambda *_: record.add("closed")), "tcp://127.0.0.1:0") as run:
        with connect(run.addr):
            assert record.wait_for("options") == [("options", True, 3)]
            record.wait_for("closed")
        gone = conns.get(timeout=TIMEOUT)
        for use in (
            lambda: gone.socket_option(socket.SOL_SOCKET, socket.SO_PRIORITY),
            lambda: gone.set_socket_option(socket.SOL_SOCKET, socket.SO_PRIORITY, 1),
        ):
            with pytest.raises(OSError, match="has no socket yet, or any more"):
                use()
        assert gone.peer_credentials is None


def test_options_of_a_datagram_socket(poller: str) -> None:
    results: queue.Queue[Any] = queue.Queue()

    def data(peer: Conn, chunk: bytes) -> None:
        results.put((peer.socket_option(socket.SOL_SOCKET, socket.SO_TYPE), peer.peer_credentials))
        with pytest.raises(TypeError, match="is everybody's"):
            peer.set_socket_option(socket.SOL_SOCKET, socket.SO_PRIORITY, 1)

    with running(Events(data=data), "udp://127.0.0.1:0") as run:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", run.addr)
            assert results.get(timeout=TIMEOUT) == (socket.SOCK_DGRAM, None)


def test_who_is_at_the_other_end_of_a_unix_socket(poller: str, tmp_path: Path) -> None:
    found: queue.Queue[Any] = queue.Queue()
    events = Events(opened=lambda conn: found.put((conn.addr_index, conn.peer_credentials)))
    with running(events, f"unix://{tmp_path}/s", "tcp://127.0.0.1:0") as run:
        with connect(run.server.addrs[0]), connect(run.server.addrs[1]):
            said = dict(found.get(timeout=TIMEOUT) for _ in range(2))
    assert said == {0: PeerCredentials(os.getpid(), os.geteuid(), os.getegid()), 1: None}


# -- output that is under way


def test_a_thread_sees_what_it_has_written_at_once(variant: Variant) -> None:
    """The loop is held up: all that is written is still to be looked at, and counts."""
    conns: queue.Queue[Conn] = queue.Queue()
    go = threading.Event()
    held = threading.Event()

    def data(conn: Conn, chunk: bytes) -> None:
        held.set()
        assert go.wait(TIMEOUT)

    events = Events(opened=conns.put, data=data, num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        conn = conns.get(timeout=TIMEOUT)
        peer.sendall(b"x")
        assert held.wait(TIMEOUT)
        for count in range(1, 11):
            conn.write(bytes(1000))
            assert conn.pending == count * 1000
        go.set()
        assert receive(peer, 10_000) == bytes(10_000)
        drained = threading.Event()
        conn.write(b"y")
        assert receive(peer, 1) == b"y"
        run.server.call(drained.set)
        assert drained.wait(TIMEOUT)
        assert conn.pending == 0


def test_a_producer_in_a_thread_is_bounded_by_what_is_pending(variant: Variant) -> None:
    conns: queue.Queue[Conn] = queue.Queue()
    piece, most, total = bytes(64 * 1024), 1 << 20, 16 << 20
    highest = 0
    with running(Events(opened=conns.put, num_loops=variant.num_loops), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            conn = conns.get(timeout=TIMEOUT)
            received = threading.Thread(target=lambda: receive(peer, total))
            received.start()
            for _ in range(total // len(piece)):
                assert eventually(lambda: conn.pending <= most)
                conn.write(piece)
                highest = max(highest, conn.pending)
            received.join(TIMEOUT)
            assert not received.is_alive()
    assert highest <= most + 3 * len(piece)  # TLS adds to it, and what is handed over counts twice for a moment


def test_many_threads_count_each_byte_once(poller: str) -> None:
    conns: queue.Queue[Conn] = queue.Queue()
    with running(Events(opened=conns.put), "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        conn = conns.get(timeout=TIMEOUT)

        def write() -> None:
            for _ in range(500):
                conn.write(b"0123456789")

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert len(receive(peer, 20_000)) == 20_000
        for thread in threads:
            thread.join(TIMEOUT)
        done = threading.Event()
        run.server.call(done.set)
        assert done.wait(TIMEOUT)
        assert conn.pending == 0


def test_what_a_thread_has_written_to_a_datagram_peer_is_pending(poller: str) -> None:
    peers: queue.Queue[Conn] = queue.Queue()
    go, held = threading.Event(), threading.Event()

    def data(peer: Conn, chunk: bytes) -> None:
        peers.put(peer)
        held.set()
        assert go.wait(TIMEOUT)

    with running(Events(data=data), "udp://127.0.0.1:0") as run:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.settimeout(TIMEOUT)
            sender.sendto(b"x", run.addr)
            peer = peers.get(timeout=TIMEOUT)
            assert held.wait(TIMEOUT)
            peer.write(b"12345")
            assert peer.pending == 5
            go.set()
            assert sender.recv(100) == b"12345"


# -- counters


def total(run: Any, name: str) -> int:
    return int(getattr(run.server.stats().total, name))


def until(run: Any, **counters: int) -> None:
    """Wait until the server has counted that."""
    assert eventually(lambda: all(total(run, name) == count for name, count in counters.items()))


def test_handshakes_that_fail_are_counted(poller: str, certificates: Certificates) -> None:
    address = f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}"
    with running(Events(options=Options(handshake_timeout=1.0)), address, "tcp://127.0.0.1:0") as run:
        with connect(run.server.addrs[1]):
            pass
        with connect(run.addr) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            until(run, handshake_errors=1)
        with connect(run.addr):
            until(run, handshake_errors=2)  # too slow
        connect(run.addr).close()
        until(run, handshake_errors=3)
        with connect(run.addr, certificates.ca):
            until(run, accepted=5, connections=1)
        assert total(run, "handshake_errors") == 3
        assert total(run, "proxy_errors") == total(run, "dial_errors") == 0


def test_proxy_headers_that_fail_are_counted(poller: str, certificates: Certificates) -> None:
    tls = f"cert={certificates.cert}&key={certificates.key}"
    options = Options(handshake_timeout=1.0)
    opened = Recorder()
    with running(
        Events(opened=lambda conn: opened.add("opened"), options=options),
        "tcp://127.0.0.1:0?proxy_protocol=true",
        f"tls://127.0.0.1:0?proxy_protocol=true&{tls}",
        "tcp://127.0.0.1:0?proxy_protocol=10.0.0.0/8",
    ) as run:
        plain, encrypted, others = run.server.addrs
        with connect(plain) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            until(run, proxy_errors=1)
        with connect(encrypted):
            until(run, proxy_errors=2)  # too slow
        with connect(others):
            until(run, proxy_errors=3)  # not believed
        with connect(encrypted) as peer:
            peer.sendall(b"PROXY UNKNOWN\r\n")
            until(run, handshake_errors=1)  # the header is there, the handshake is too slow
        with connect(plain) as peer:
            peer.sendall(b"PROXY UNKNOWN\r\n")
            opened.wait_for("opened")
        assert total(run, "proxy_errors") == 3


def test_dials_are_counted(poller: str) -> None:
    record = Recorder()
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        events = Events(opened=lambda conn: record.add("opened"), closed=lambda *_: record.add("closed"))
        with running(events, "tcp://127.0.0.1:0") as run:
            run.server.dial(f"tcp://127.0.0.1:{refusing.getsockname()[1]}")
            record.wait_for("closed")
            run.server.dial(f"tcp://127.0.0.1:{run.addr[1]}")
            record.wait_for("opened", 2)
            assert (total(run, "dialled"), total(run, "dial_errors")) == (2, 1)
            assert total(run, "handshake_errors") == 0


def test_what_time_has_run_out_is_said(poller: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "evio"):
        options = Options(handshake_timeout=0.1)
        with running(Events(options=options), "tcp://127.0.0.1:0?proxy_protocol=true") as run, connect(run.addr):
            until(run, proxy_errors=1)
    assert "no PROXY header in time" in caplog.text
