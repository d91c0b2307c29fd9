"""Outgoing connections."""

from __future__ import annotations

import os
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
import trustme

from evio_core import (
    Aborted,
    Action,
    AddressError,
    Buffer,
    Conn,
    ConnectTimeout,
    Events,
    HandshakeTimeout,
    Options,
    Server,
    TLSError,
)
from evio_core.addresses.address import Address
from evio_core.addresses.candidates import alternate
from evio_core.tls.credentials import _client_context
from tests.ports import free_port

from .conftest import POLLERS, Certificates, Variant, use_poller
from .harness import TIMEOUT, Recorder, connect, receive, receive_all, running


@contextmanager
def accepting(kind: str, tmp_path: Any) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket and how to dial it."""
    if kind == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "target"))
        listener.listen()
        address = f"unix://{tmp_path}/target"
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    listener.settimeout(TIMEOUT)
    with listener:
        yield listener, address


@contextmanager
def full_listener() -> Iterator[str]:
    """An address that never answers: its backlog is full, so that the kernel drops further SYNs."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield f"tcp://127.0.0.1:{full.getsockname()[1]}"


EACH_POLLER = pytest.mark.parametrize("poller", POLLERS)


def server_address(poller: str, monkeypatch: pytest.MonkeyPatch) -> str:
    use_poller(monkeypatch, poller)
    return "tcp://127.0.0.1:0"


@EACH_POLLER
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_dialled_connection_fires_the_same_events(
    poller: str, kind: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorder()

    def opened(conn: Conn) -> bytes:
        record.add("opened", conn.context, conn.addr_index)
        return b"+"

    def data(conn: Conn, chunk: bytes) -> bytes:
        record.add("data", chunk)
        return chunk

    events = Events(opened=opened, data=data, closed=lambda conn, error: record.add("closed", error))
    with accepting(kind, tmp_path) as (listener, address):
        with running(events, server_address(poller, monkeypatch)) as run:
            # On the loop, which cannot open it before this returns.
            run.server.call(lambda: run.server.dial(address, "mine").write(b"early"))
            accepted, _ = listener.accept()
            with accepted:
                accepted.settimeout(TIMEOUT)
                assert receive(accepted, 6) == b"early+"
                accepted.sendall(b"hello")
                assert receive(accepted, 5) == b"hello"
            record.wait_for("closed")
    assert record.events == [("opened", "mine", -1), ("data", b"hello"), ("closed", None)]


@EACH_POLLER
def test_a_refused_attempt_arrives_in_closed(poller: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Recorder()
    events = Events(
        opened=lambda conn: record.add("opened"), closed=lambda conn, error: record.add("closed", conn.context, error)
    )
    refused = free_port()
    with running(events, server_address(poller, monkeypatch)) as run:
        run.server.dial(f"tcp://127.0.0.1:{refused}", 1)
        run.server.dial(f"unix://{tmp_path}/missing", 2)
        run.server.dial("tcp://no-such-host.invalid:1", 3)
        errors = {context: error for _, context, error in record.wait_for("closed", 3)}
    assert isinstance(errors[1], ConnectionRefusedError)
    assert isinstance(errors[2], FileNotFoundError)
    assert isinstance(errors[3], OSError)
    assert record.names() == ["closed"] * 3


@EACH_POLLER
def test_an_attempt_without_answer_times_out(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Recorder()
    events = Events(closed=lambda conn, error: record.add("closed", error))
    with full_listener() as address, running(events, server_address(poller, monkeypatch)) as run:
        run.server.dial(address, timeout=0.3)
        assert isinstance(record.wait_for("closed")[0][1], ConnectTimeout)


@EACH_POLLER
def test_dialling_over_tls_verifies_the_certificate(
    poller: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> bytes | None:
        if conn.addr_index < 0:
            record.add("answer", chunk)
            return None
        return chunk

    def opened(conn: Conn) -> bytes | None:
        return b"hello" if conn.addr_index < 0 else None

    def closed(conn: Conn, error: BaseException | None) -> None:
        if conn.addr_index < 0:
            record.add("closed", error)

    use_poller(monkeypatch, poller)
    address = f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}"
    with running(Events(opened=opened, data=data, closed=closed), address) as run:
        port = run.addr[1]
        conn = run.server.dial(f"tls://localhost:{port}?ca={certificates.ca}")
        assert record.wait_for("answer") == [("answer", b"hello")]
        conn.close()
        assert record.wait_for("closed") == [("closed", None)]
        run.server.dial(f"tls://localhost:{port}")  # not from an authority that the system trusts
        error = record.wait_for("closed", 2)[1][1]
        assert "certificate verify failed" in str(error)


def test_whom_a_dialled_address_trusts_is_read_again_when_the_file_has_changed(
    certificates: Certificates, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorder()
    made: list[Address] = []

    def make(address: Address) -> ssl.SSLContext:
        made.append(address)
        return _client_context(address)

    monkeypatch.setattr("evio_core.tls.credentials._client_context", make)
    trusted = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(trusted))

    def closed(conn: Conn, error: BaseException | None) -> None:
        if conn.addr_index < 0:
            record.add("closed", type(error))

    address = f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}"
    with running(Events(opened=lambda conn: Action.CLOSE, closed=closed), address) as run:

        def dial() -> Any:
            before = record.names().count("closed")
            run.server.dial(f"tls://localhost:{run.addr[1]}?ca={trusted}")
            return record.wait_for("closed", before + 1)[-1][1]

        assert [dial(), dial()] == [TLSError, TLSError]
        assert len(made) == 1
        fresh = tmp_path / "fresh.pem"
        certificates.authority.cert_pem.write_to_path(str(fresh))
        fresh.replace(trusted)
        assert [dial(), dial()] == [type(None), type(None)]
        assert len(made) == 2
        trusted.write_text("broken")
        with pytest.raises(TLSError, match="cannot load certificate authorities"):
            dial()


def test_what_cannot_be_dialled_is_refused_at_once() -> None:
    with running(Events(), "tcp://127.0.0.1:0") as run:
        with pytest.raises(AddressError, match="cannot dial fd"):
            run.server.dial("fd://3")
        with pytest.raises(AddressError, match="this server has no -net address"):
            run.server.dial("tcp-net://127.0.0.1:1")


def test_a_dialled_connection_belongs_to_the_loop_that_dials() -> None:
    record = Recorder()
    servers: list[Server] = []

    def opened(conn: Conn) -> None:
        if conn.addr_index >= 0:
            servers[0].dial(f"tcp://127.0.0.1:{servers[0].addrs[0][1]}", conn.loop_index)

    def data(conn: Conn, chunk: bytes) -> None:
        record.add("data")

    def closed(conn: Conn, error: BaseException | None) -> None:
        if conn.addr_index < 0:
            record.add("dialled", conn.context, conn.loop_index)

    # Each accepted connection dials the server itself, so it stops after a few.
    count = iter(range(6))

    def limited(conn: Conn) -> Any:
        if conn.addr_index < 0:
            return Action.CLOSE
        if next(count, None) is None:
            return Action.CLOSE
        return opened(conn)

    events = Events(serving=servers.append, opened=limited, data=data, closed=closed, num_loops=3)
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr):
        for _, dialled_on, index in record.wait_for("dialled", 6):
            assert dialled_on == index


def proxy_events(target: list[str], highest: list[int]) -> Events:
    """A TCP proxy: two connections that are each other's context."""
    servers: list[Server] = []

    def opened(conn: Conn) -> None:
        if conn.addr_index >= 0:
            conn.context = servers[0].dial(target[0], conn)

    def data(conn: Conn, chunk: Buffer) -> None:
        other: Conn = conn.context
        other.write(chunk)
        highest[0] = max(highest[0], other.pending)
        if other.pending > 1 << 20:
            conn.pause_reading()

    def drained(conn: Conn) -> None:
        conn.context.resume_reading()

    def closed(conn: Conn, error: BaseException | None) -> None:
        if conn.context is not None:
            conn.context.close()

    return Events(serving=servers.append, opened=opened, data=data, drained=drained, closed=closed)


def test_a_proxy_moves_50_mib_each_way_with_bounded_memory(variant: Variant) -> None:
    if variant.num_loops > 1:
        pytest.skip("both connections of a pair belong to one loop: the number of loops changes nothing")
    size = 50 << 20 if variant.transport == "tcp" else 5 << 20
    block = os.urandom(1 << 16)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)

        def echo() -> None:
            upstream, _ = listener.accept()
            with upstream:
                upstream.settimeout(TIMEOUT)
                while chunk := upstream.recv(1 << 16):
                    upstream.sendall(chunk)

        server = threading.Thread(target=echo)
        server.start()
        highest = [0]
        events = proxy_events([f"tcp://127.0.0.1:{listener.getsockname()[1]}"], highest)
        events.options = Options(high_water=1 << 30)  # so that only the proxy's own pausing bounds it
        with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:

            def send() -> None:
                for _ in range(size // len(block)):
                    peer.sendall(block)

            if variant.transport == "tls":  # one TLS session, one thread
                for _ in range(size // len(block)):
                    peer.sendall(block)
                    assert receive(peer, len(block)) == block
            else:
                sender = threading.Thread(target=send)
                sender.start()
                for _ in range(size // len(block)):
                    assert receive(peer, len(block)) == block
                sender.join(TIMEOUT)
        server.join(TIMEOUT)
    assert highest[0] < 2 << 20


def test_an_unreachable_target_closes_the_client_of_the_proxy() -> None:
    refused = free_port()
    with running(proxy_events([f"tcp://127.0.0.1:{refused}"], [0]), "tcp://127.0.0.1:0") as run:
        with connect(run.addr) as peer:
            assert receive_all(peer) == b""


# -- before it is open


@EACH_POLLER
@pytest.mark.parametrize("kind", ["tcp", "unix", "name"])
def test_what_is_written_before_it_is_open_leaves_although_it_is_closed_then(
    poller: str, kind: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorder()
    content = tmp_path / "content"
    content.write_bytes(b"from a file")
    events = Events(opened=lambda conn: record.add("opened"), closed=lambda conn, error: record.add("closed", error))
    with accepting(kind, tmp_path) as (listener, address):
        with running(events, server_address(poller, monkeypatch)) as run:

            def dial() -> None:
                conn = run.server.dial(address.replace("127.0.0.1", "localhost") if kind == "name" else address)
                conn.write(b"a message, ")
                with open(content, "rb") as file:
                    conn.send_file(file)
                conn.close()
                conn.write(b"not this")

            run.server.call(dial)
            accepted, _ = listener.accept()
            with accepted:
                accepted.settimeout(TIMEOUT)
                assert receive_all(accepted) == b"a message, from a file"
            record.wait_for("closed")
    assert record.events == [("opened",), ("closed", None)]


@EACH_POLLER
@pytest.mark.parametrize("way", ["close", "abort", "stop"])
def test_an_attempt_may_be_given_up(way: str, poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Recorder()
    events = Events(opened=lambda conn: record.add("opened"), closed=lambda conn, error: record.add("closed", error))
    with full_listener() as address, running(events, server_address(poller, monkeypatch)) as run:
        conn = run.server.dial(address)
        run.server.call(lambda: record.add("under way"))
        record.wait_for("under way")
        if way == "stop":
            run.server.stop()
            run.join()
        else:
            getattr(conn, way)()
        error = record.wait_for("closed")[0][1]
        assert isinstance(error, Aborted) if way == "abort" else error is None
    assert record.names() == ["under way", "closed"]


@EACH_POLLER
def test_options_and_addresses_before_there_is_a_socket(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Recorder()

    def opened(conn: Conn) -> Action:
        record.add("opened", conn.local_addr, conn.remote_addr)
        return Action.DETACH

    def detached(conn: Conn, sock: socket.socket) -> None:
        with sock:
            options = (socket.SO_KEEPALIVE, socket.SO_SNDBUF)
            record.add("options", *(sock.getsockopt(socket.SOL_SOCKET, option) for option in options))

    with accepting("tcp", None) as (listener, address):
        with running(Events(opened=opened, detached=detached), server_address(poller, monkeypatch)) as run:

            def dial() -> None:
                conn = run.server.dial(address)
                record.add("before", conn.local_addr, conn.remote_addr, conn.pending, conn.addr_index)
                conn.configure(tcp_keepalive=3.0, send_buffer=20_000)

            run.server.call(dial)
            accepted, peer_name = listener.accept()
            with accepted:
                assert record.wait_for("options") == [("options", 1, 40_000)]
    assert record.events[:2] == [("before", None, None, 0, -1), ("opened", peer_name, listener_name(address))]


def listener_name(address: str) -> tuple[str, int]:
    return "127.0.0.1", int(address.rpartition(":")[2])


@EACH_POLLER
def test_a_wake_and_a_pause_before_it_is_open_take_effect_then(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> None:
        record.add("data", chunk)

    def woken(conn: Conn) -> None:
        record.add("woken")
        conn.resume_reading()

    events = Events(
        opened=lambda conn: record.add("opened"),
        data=data,
        woken=woken,
        closed=lambda conn, error: record.add("closed", error),
    )
    with accepting("tcp", None) as (listener, address):
        with running(events, server_address(poller, monkeypatch)) as run:

            def dial() -> None:
                conn = run.server.dial(address)
                conn.wake()
                conn.wake()
                conn.pause_reading()

            run.server.call(dial)
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"held back until the wake")
            record.wait_for("closed")
    assert record.events == [("opened",), ("woken",), ("data", b"held back until the wake"), ("closed", None)]


@EACH_POLLER
def test_the_time_out_holds_for_the_handshake_too(
    poller: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorder()
    events = Events(opened=lambda conn: record.add("opened"), closed=lambda conn, error: record.add("closed", error))
    with accepting("tcp", None) as (_, address), running(events, server_address(poller, monkeypatch)) as run:
        begin = time.monotonic()
        run.server.dial(f"tls{address[3:]}?ca={certificates.ca}", timeout=1.0)  # the kernel connects, nobody answers
        assert isinstance(record.wait_for("closed")[0][1], HandshakeTimeout)
        assert 0.99 < time.monotonic() - begin < Options().handshake_timeout
    assert record.names() == ["closed"]


@EACH_POLLER
def test_a_plain_peer_fails_a_tls_attempt_cleanly(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Recorder()
    events = Events(opened=lambda conn: record.add("opened"), closed=lambda conn, error: record.add("closed", error))
    with accepting("tcp", None) as (listener, address), running(events, server_address(poller, monkeypatch)) as run:
        run.server.dial(f"tls{address[3:]}")
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"220 mail.example.com ESMTP\r\n")
            assert isinstance(record.wait_for("closed")[0][1], TLSError)
    assert record.names() == ["closed"]


# -- from where


@pytest.mark.parametrize("where", ["serving", "tick", "call", "another thread"])
@pytest.mark.parametrize("num_loops", [1, 3])
def test_from_anywhere_but_another_loop_it_belongs_to_loop_0(where: str, num_loops: int) -> None:
    record = Recorder()
    servers: list[Server] = []

    def dial() -> None:
        servers[0].dial(address, where)

    def opened(conn: Conn) -> Any:
        record.add("opened", conn.context, conn.loop_index, threading.get_ident())
        return Action.CLOSE

    def serving(server: Server) -> None:
        servers.append(server)
        record.add("serving", threading.get_ident())
        if where == "serving":
            dial()

    events = Events(serving=serving, opened=opened, num_loops=num_loops)
    if where == "tick":
        events.tick = dial
    with accepting("tcp", None) as (listener, address), running(events, "tcp://127.0.0.1:0") as run:
        if where == "call":
            run.server.call(dial)
        elif where == "another thread":
            dial()
        listener.accept()[0].close()
        _, context, index, thread = record.wait_for("opened")[0]
    assert (context, index, thread) == (where, 0, record.events[0][1])


@EACH_POLLER
def test_the_end_of_a_failed_attempt_may_stop_the_server(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = free_port()
    with running(Events(closed=lambda conn, error: Action.SHUTDOWN), server_address(poller, monkeypatch)) as run:
        run.server.dial(f"tcp://127.0.0.1:{refused}")
        run.join()


@EACH_POLLER
def test_a_failed_attempt_keeps_no_descriptor(poller: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Recorder()
    content = tmp_path / "content"
    content.write_bytes(bytes(1000))
    refused = f"tcp://127.0.0.1:{free_port()}"
    events = Events(closed=lambda conn, error: record.add("closed", error))
    with running(events, server_address(poller, monkeypatch)) as run:

        def dial() -> None:
            with open(content, "rb") as file:
                for _ in range(20):
                    run.server.dial(refused).send_file(file)

        def count() -> None:  # in the next turn: at the end of this one the loop closes what it has dropped
            run.server.call(lambda: record.add("open", len(os.listdir("/proc/self/fd"))))

        for times in (1, 2):
            run.server.call(dial)
            record.wait_for("closed", 20 * times)
            run.server.call(count)
            counts = [count for _, count in record.wait_for("open", times)]
    assert counts[1] <= counts[0]


@EACH_POLLER
def test_an_attempt_given_up_before_it_began_is_none(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Recorder()
    events = Events(closed=lambda conn, error: record.add("closed", error))
    with accepting("tcp", None) as (listener, address):
        with running(events, server_address(poller, monkeypatch)) as run:

            def dial() -> None:
                run.server.dial(address).close()
                run.server.dial(address).abort()

            run.server.call(dial)
            errors = [error for _, error in record.wait_for("closed", 2)]
            assert [type(error) for error in errors] == [type(None), Aborted]
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert record.names() == ["closed"] * 2


@EACH_POLLER
def test_the_peer_of_a_dial_is_what_getpeername_says(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux connects to the loopback address when the unspecified one is dialled."""
    names: queue.Queue[Any] = queue.Queue()

    def opened(conn: Conn) -> None:
        if conn.addr_index < 0:
            names.put(conn.remote_addr)

    with running(Events(opened=opened), server_address(poller, monkeypatch)) as run:
        port = run.addr[1]
        run.server.dial(f"tcp://0.0.0.0:{port}")
        assert names.get(timeout=TIMEOUT) == ("127.0.0.1", port)


# -- names with several addresses


def sockets_open() -> int:
    """Sockets that this process has."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return count


def name_service(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[int]:
    """Let the host ``dual.test`` stand for the addresses of these; returns the threads in which it is looked up."""
    threads: list[int] = []
    real = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        flags = options.get("flags", arguments[4] if len(arguments) > 4 else 0)
        if host not in ("dual.test", b"dual.test") or flags & socket.AI_NUMERICHOST:
            return real(host, *arguments, **options)
        threads.append(threading.get_ident())
        ports = [int(each.rpartition(":")[2]) for each in answers]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return threads


@contextmanager
def refusing() -> Iterator[str]:
    """An address that refuses: bound, and not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{sock.getsockname()[1]}"


@EACH_POLLER
def test_the_next_address_is_tried_beside_one_that_does_not_answer(
    poller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorder()
    events = Events(
        opened=lambda conn: record.add("opened", conn.remote_addr, threading.get_ident()),
        closed=lambda conn, error: record.add("closed", error),
    )
    with accepting("tcp", None) as (listener, good), full_listener() as hole, refusing() as refused:
        threads = name_service(monkeypatch, hole, refused, good, hole)
        with running(events, server_address(poller, monkeypatch)) as run:
            before = sockets_open()
            conn = run.server.dial("tcp://dual.test:1", timeout=TIMEOUT)
            conn.configure(tcp_keepalive=3.0)
            accepted, _ = listener.accept()
            with accepted:
                _, remote, loop_thread = record.wait_for("opened")[0]
                assert remote == listener.getsockname()
                done = threading.Event()
                for _ in range(2):  # turns: descriptors are closed at the end of one
                    done.clear()
                    run.server.call(done.set)
                    assert done.wait(TIMEOUT)
                assert sockets_open() == before + 2  # both ends of one connection
                assert len(threads) == 1
                assert threads[0] != loop_thread
            assert record.wait_for("closed") == [("closed", None)]


@EACH_POLLER
def test_when_no_address_connects_the_last_failure_or_the_timeout_is_reported(
    poller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorder()
    events = Events(closed=lambda conn, error: record.add("closed", type(error)))
    with full_listener() as hole, refusing() as refused:
        with running(events, server_address(poller, monkeypatch)) as run:
            before = sockets_open()
            name_service(monkeypatch, refused, refused)
            run.server.dial("tcp://dual.test:1", timeout=TIMEOUT)
            assert record.wait_for("closed") == [("closed", ConnectionRefusedError)]
            name_service(monkeypatch, hole, refused)
            run.server.dial("tcp://dual.test:1", timeout=0.4)
            assert record.wait_for("closed", 2)[1] == ("closed", ConnectTimeout)
        assert sockets_open() < before


@EACH_POLLER
@pytest.mark.parametrize("way", ["close", "abort", "stop"])
def test_attempts_beside_each_other_are_given_up_together(
    way: str, poller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorder()
    events = Events(closed=lambda conn, error: record.add("closed", type(error)))
    with full_listener() as hole, running(events, server_address(poller, monkeypatch)) as run:
        name_service(monkeypatch, hole, hole)
        monkeypatch.setattr("evio_core.stream.dial.ATTEMPT_DELAY", 0.01)
        monkeypatch.setattr("evio_core.fallback.dial.ATTEMPT_DELAY", 0.01)
        before = sockets_open()
        conn = run.server.dial("tcp://dual.test:1", timeout=TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while sockets_open() < before + 2:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        if way == "stop":
            run.server.stop()
            run.join()
        else:
            getattr(conn, way)()
        assert record.wait_for("closed") == [("closed", Aborted if way == "abort" else type(None))]
        while sockets_open() > before:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_families_take_turns_that_of_the_first_address_first() -> None:
    six, four = socket.AF_INET6, socket.AF_INET
    assert alternate([(six, 1), (six, 2), (six, 3), (four, 4), (four, 5)]) == [
        (six, 1),
        (four, 4),
        (six, 2),
        (four, 5),
        (six, 3),
    ]
    assert alternate([]) == []
