"""Sockets that are connected elsewhere and taken over, the reverse of DETACH."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from evio_core import Action, Conn, Events, Handler, Options, Server, ServerStopped

from .conftest import POLLERS, Certificates, use_poller
from .harness import TIMEOUT, Recorder, connect, eventually, receive, receive_all, running


@pytest.fixture(params=POLLERS)
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use_poller(monkeypatch, request.param)
    return str(request.param)


@pytest.fixture(params=["unix", "tcp"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Ours, to be taken over, and the peer's."""
    if request.param == "unix":
        ours, peer = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            peer, _ = listener.accept()
    peer.settimeout(TIMEOUT)
    with ours, peer:
        yield ours, peer


Pair = tuple[socket.socket, socket.socket]


def recorded(record: Recorder, **others: Any) -> Events:
    callbacks: dict[str, Any] = {
        "opened": lambda conn: record.add("opened", conn.context, conn.addr_index),
        "data": lambda conn, chunk: chunk.upper(),
        "closed": lambda conn, error: record.add("closed", error),
    }
    return Events(**(callbacks | others))


def test_a_socket_is_served_like_a_connection(poller: str, pair: Pair) -> None:
    ours, peer = pair
    names = ours.getsockname(), ours.getpeername()
    scheme = "tcp" if isinstance(names[0], tuple) else "unix"
    record = Recorder()
    with running(recorded(record, options=Options(tcp_keepalive=55)), "tcp://127.0.0.1:0") as run:
        peer.sendall(b"before, ")  # what is in the kernel is the connection's
        conn = run.server.adopt(ours, "mine")
        assert ours.fileno() == -1
        record.wait_for("opened")
        assert (conn.local_addr, conn.remote_addr, conn.scheme) == (*names, scheme)
        if scheme == "tcp":
            assert conn.socket_option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 55
        peer.sendall(b"and after")
        assert receive(peer, 17) == b"BEFORE, AND AFTER"
        assert run.server.stats().total.connections == 1
        peer.shutdown(socket.SHUT_WR)
        assert receive_all(peer) == b""
        record.wait_for("closed")
        assert run.server.stats().total.connections == 0
    assert record.events == [("opened", "mine", -1), ("closed", None)]


def test_what_was_detached_comes_back(poller: str) -> None:
    """A thread talks to the client for a while, and gives the connection back."""
    servers: list[Server] = []
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> Any:
        if chunk == b"upload":
            return b"go ahead, ", Action.DETACH
        return b"served: " + chunk

    def detached(conn: Conn, sock: socket.socket) -> None:
        threading.Thread(target=talk, args=(sock,)).start()

    def talk(sock: socket.socket) -> None:
        sock.settimeout(TIMEOUT)
        sock.sendall(b"in the thread: " + sock.recv(100) + b", ")
        servers[0].adopt(sock, "back")

    events = recorded(record, serving=servers.append, data=data, detached=detached)
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"upload")
        assert receive(peer, 10) == b"go ahead, "
        peer.sendall(b"a file")
        assert receive(peer, 23) == b"in the thread: a file, "
        record.wait_for("opened", 2)
        peer.sendall(b"hello")
        assert receive(peer, 13) == b"served: hello"
        peer.shutdown(socket.SHUT_WR)
        record.wait_for("closed")
    assert record.events == [("opened", None, 0), ("opened", "back", -1), ("closed", None)]


def test_a_handler_of_its_own_and_output_at_once(poller: str, pair: Pair) -> None:
    record = Recorder()

    class Greeter(Handler):
        def opened(self) -> bytes:
            return b"opened"

        def closed(self, error: BaseException | None) -> None:
            record.add("closed", error)

    ours, peer = pair
    with running(Events(), "tcp://127.0.0.1:0") as run:

        def adopt() -> None:
            conn = run.server.adopt(ours, handler=Greeter())
            conn.write(b"early, ")

        run.server.call(adopt)
        assert receive(peer, 13) == b"early, opened"
        peer.close()
        record.wait_for("closed")


@pytest.mark.parametrize("way", ["close", "abort"])
def test_it_may_be_given_up_at_once(poller: str, way: str, pair: Pair) -> None:
    ours, peer = pair
    record = Recorder()
    with running(recorded(record), "tcp://127.0.0.1:0") as run:

        def adopt() -> None:
            getattr(run.server.adopt(ours), way)()

        run.server.call(adopt)
        record.wait_for("closed")
        assert receive_all(peer) == b""
        assert eventually(lambda: run.server.stats().total.connections == 0)
    assert record.names() == ["closed"]


def test_it_belongs_to_the_loop_that_takes_it() -> None:
    record = Recorder()
    servers: list[Server] = []

    def opened(conn: Conn) -> None:
        if conn.addr_index >= 0:
            ours, peer = socket.socketpair()
            peers.append(peer)
            servers[0].adopt(ours, conn.loop_index)
        else:
            record.add("adopted", conn.context, conn.loop_index)

    peers: list[socket.socket] = []
    with running(Events(serving=servers.append, opened=opened, num_loops=3), "tcp://127.0.0.1:0") as run:
        clients = [connect(run.addr) for _ in range(3)]
        for _, expected, index in record.wait_for("adopted", 3):
            assert index == expected
        ours, peer = socket.socketpair()
        peers.append(peer)
        run.server.adopt(ours, 0)
        assert record.wait_for("adopted", 4)[3][1:] == (0, 0)
    for each in (*clients, *peers):
        each.close()


def test_a_server_that_stops_takes_nothing(poller: str, pair: Pair) -> None:
    ours, _ = pair
    with running(Events(), "tcp://127.0.0.1:0") as run:
        run.server.stop()
        run.join()
        with pytest.raises(ServerStopped, match="no connection can be taken over"):
            run.server.adopt(ours)
    assert ours.fileno() >= 0


def test_nothing_is_left_of_what_came_too_late(poller: str, pair: Pair) -> None:
    """The loop is stopped in the very turn in which the socket was given to it."""
    ours, peer = pair
    record = Recorder()
    with running(recorded(record), "tcp://127.0.0.1:0") as run:

        def late() -> None:
            run.server.adopt(ours)
            run.server.stop()

        run.server.call(late)
        run.join()
    assert receive_all(peer) == b""
    assert record.names()[-1] == "closed"


def test_what_cannot_be_taken_over(certificates: Certificates) -> None:
    with running(Events(), f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}") as run:
        with socket.socket() as unconnected, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            with pytest.raises(ValueError, match="is not connected"):
                run.server.adopt(unconnected)
            with pytest.raises(ValueError, match="a stream socket can be taken over"):
                run.server.adopt(datagrams)
            assert unconnected.fileno() >= 0
        with connect(run.addr, certificates.ca) as tls:
            with pytest.raises(TypeError, match="a plain socket can be taken over"):
                run.server.adopt(tls)
        with pytest.raises(TypeError, match="a plain socket can be taken over"):
            run.server.adopt(0)  # type: ignore[arg-type]


def test_no_descriptor_is_left(poller: str) -> None:
    record = Recorder()
    done: queue.Queue[int] = queue.Queue()
    with running(recorded(record), "tcp://127.0.0.1:0") as run:
        for times in (1, 2):
            for _ in range(20):
                ours, peer = socket.socketpair()
                run.server.adopt(ours)
                peer.close()
            record.wait_for("closed", 20 * times)
            run.server.call(lambda: run.server.call(lambda: done.put(len(os.listdir("/proc/self/fd")))))
        assert done.get(timeout=TIMEOUT) >= done.get(timeout=TIMEOUT)
