"""TLS that begins in the middle of a connection (STARTTLS): what is plain, what is encrypted, and what may go wrong."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from typing import Any

import pytest

from evio_core import (
    Action,
    Address,
    AddressError,
    Conn,
    Deferred,
    Events,
    Handler,
    HandshakeTimeout,
    Options,
    TLSError,
    TLSTruncated,
    proxy_header,
)

from .conftest import POLLERS, Certificates, use_poller
from .harness import TIMEOUT, Recorder, connect, exchange, receive, receive_all, running


@pytest.fixture(params=POLLERS)
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use_poller(monkeypatch, request.param)
    return str(request.param)


def listening(certificates: Certificates, more: str = "") -> str:
    return f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}&starttls=true{more}"


def secure(sock: socket.socket, certificates: Certificates) -> ssl.SSLSocket:
    """The client's side of the handshake."""
    context = ssl.create_default_context(cafile=certificates.ca)
    return context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)


def greet(conn: Conn, chunk: bytes) -> Any:
    """A server's ``data``: an echo that says whether it is encrypted, and starts TLS when it is told to."""
    if chunk == b"STARTTLS\n":
        conn.write(b"go ahead\n")
        conn.start_tls()
        return b"encrypted from here\n"
    return (b"tls " if conn.tls is not None else b"plain ") + chunk


@pytest.mark.parametrize("collected", [False, True])
def test_a_client_starts_tls_when_it_wants_to(poller: str, collected: bool, certificates: Certificates) -> None:
    record = Recorder()
    events = Events(
        opened=lambda conn: record.add("opened", conn.scheme),
        data=greet,
        secured=lambda conn: record.add("secured", conn.scheme, conn.server_name),
        closed=lambda conn, error: record.add("closed", error),
    )
    if collected:
        events.pre_write = lambda: None
    with running(events, listening(certificates)) as run, connect(run.addr) as sock:
        assert exchange(sock, b"hello\n", 12) == b"plain hello\n"
        sock.sendall(b"STARTTLS\n")
        assert receive(sock, 9) == b"go ahead\n"
        with secure(sock, certificates) as peer:
            assert receive(peer, 20) == b"encrypted from here\n"
            assert exchange(peer, b"hello\n", 10) == b"tls hello\n"
            peer.unwrap().close()
            record.wait_for("closed")
    assert record.events == [("opened", "tcp"), ("secured", "tls", "localhost"), ("closed", None)]


def test_dialled_connections_start_it_too(poller: str, certificates: Certificates) -> None:
    record = Recorder()

    class Server(Handler):
        def data(self, chunk: bytes) -> Any:
            return greet(self.conn, chunk)

    class Client(Handler):
        def opened(self) -> bytes:
            record.add("opened", self.conn.scheme)
            return b"STARTTLS\n"

        def data(self, chunk: bytes) -> Any:
            record.add("data", chunk)
            if chunk == b"go ahead\n":
                self.conn.start_tls()
                return b"a secret"
            if chunk.endswith(b"tls a secret"):
                return Action.CLOSE
            return None

        def secured(self) -> None:
            assert self.conn.tls is not None
            record.add("secured", self.conn.scheme, self.conn.tls.selected_alpn_protocol())

        def closed(self, error: BaseException | None) -> None:
            record.add("closed", error)

    with running(Events(handlers={listening(certificates, "&alpn=mail"): Server})) as run:
        target = f"tls://127.0.0.1:{run.addr[1]}?ca={certificates.ca}&server_name=localhost&alpn=mail&starttls=true"
        run.server.dial(target, handler=Client())
        record.wait_for("closed")
    events = [event for event in record.events if event[0] != "data"]
    assert events == [("opened", "tcp"), ("secured", "tls", "mail"), ("closed", None)]
    received = [event[1] for event in record.events if event[0] == "data"]
    assert received[0] == b"go ahead\n"
    assert b"".join(received[1:]) == b"encrypted from here\ntls a secret"


def test_nothing_that_is_written_after_the_call_is_plain(poller: str, certificates: Certificates) -> None:
    """On the wire: a TLS record follows the plain answer, whatever was written and however."""

    def data(conn: Conn, chunk: bytes) -> bytes:
        conn.write(b"go ahead\n")
        conn.start_tls()
        conn.write(b"secret 1")
        threading.Thread(target=conn.write, args=(b"secret 2",)).start()
        return b"secret 3"

    with running(Events(data=data, options=Options(handshake_timeout=1.0)), listening(certificates)) as run:
        with connect(run.addr) as sock:
            sock.sendall(b"x")
            assert receive(sock, 9) == b"go ahead\n"
            assert receive_all(sock) == b""  # there is no handshake, so there is nothing else
        with connect(run.addr) as sock:
            sock.sendall(b"x")
            assert receive(sock, 9) == b"go ahead\n"
            with secure(sock, certificates) as peer:
                got = receive(peer, 24)
    assert got.startswith(b"secret 1")
    assert sorted([got[8:16], got[16:]]) == [b"secret 2", b"secret 3"]


def test_plain_output_that_waits_leaves_first(poller: str, certificates: Certificates, tmp_path: Any) -> None:
    size = 3 << 20
    content = tmp_path / "content"
    content.write_bytes(b"f" * 1000)

    def data(conn: Conn, chunk: bytes) -> bytes:
        conn.write(b"p" * size)
        with open(content, "rb") as file:
            conn.send_file(file)
        conn.start_tls()
        return b"e" * size

    with running(Events(data=data), listening(certificates)) as run, connect(run.addr) as sock:
        sock.sendall(b"x")
        assert receive(sock, size) == b"p" * size
        assert receive(sock, 1000) == b"f" * 1000
        with secure(sock, certificates) as peer:
            assert receive(peer, size) == b"e" * size


@pytest.mark.parametrize("paused", [False, True])
def test_a_context_of_ones_own(poller: str, paused: bool, certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    conns: queue.Queue[Conn] = queue.Queue()

    def opened(conn: Conn) -> None:
        if paused:
            conn.pause_reading()
        conn.start_tls(context)
        conns.put(conn)

    record = Recorder()
    events = Events(
        opened=opened, secured=lambda conn: record.add("secured"), data=lambda conn, chunk: record.add("data", chunk)
    )
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as sock:
        with secure(sock, certificates) as peer:
            peer.sendall(b"hello")
            record.wait_for("secured")
            if paused:
                run.server.call(conns.get(timeout=TIMEOUT).resume_reading)
            record.wait_for("data")
    assert record.events == [("secured",), ("data", b"hello")]


def test_a_proxy_header_comes_before_the_handshake_of_a_dial(poller: str, certificates: Certificates) -> None:
    record = Recorder()

    def opened(conn: Conn) -> bytes | None:
        record.add("dialled" if conn.addr_index < 0 else "accepted", conn.scheme, conn.remote_addr)
        return b"hello" if conn.addr_index < 0 else None

    def data(conn: Conn, chunk: bytes) -> None:
        record.add("data", chunk)

    accepting = f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}&proxy_protocol=true"
    with running(Events(opened=opened, data=data), accepting) as run:

        def dial() -> None:
            conn = run.server.dial(f"tls://localhost:{run.addr[1]}?ca={certificates.ca}&starttls=true")
            conn.write(proxy_header(("192.0.2.1", 1), ("192.0.2.2", 2)))
            conn.start_tls()

        run.server.call(dial)
        record.wait_for("data")
    assert ("accepted", "tls", ("192.0.2.1", 1)) in record.events
    assert ("data", b"hello") in record.events
    assert [event[1] for event in record.events if event[0] == "dialled"] == ["tls"]


# -- what goes wrong


def outcome(events: Events, address: str, script: Any) -> list[tuple[Any, ...]]:
    """The record after a client has done something with its socket."""
    record = Recorder()
    events.opened = lambda conn: record.add("opened")
    events.secured = lambda conn: record.add("secured")
    events.closed = lambda conn, error: record.add("closed", error)
    with running(events, address) as run, connect(run.addr) as sock:
        script(sock)
        record.wait_for("closed")
    return record.events


def start(sock: socket.socket) -> None:
    sock.sendall(b"STARTTLS\n")
    assert receive(sock, 9) == b"go ahead\n"


def test_what_is_no_handshake_ends_it(poller: str, certificates: Certificates) -> None:
    def script(sock: socket.socket) -> None:
        start(sock)
        sock.sendall(b"EHLO example.com\r\n")

    record = outcome(Events(data=greet), listening(certificates), script)
    assert [event[0] for event in record] == ["opened", "closed"]
    assert isinstance(record[1][1], TLSError)


def test_a_handshake_that_takes_too_long_ends_it(poller: str, certificates: Certificates) -> None:
    events = Events(data=greet, options=Options(handshake_timeout=0.1))
    record = outcome(events, listening(certificates), start)
    assert [event[0] for event in record] == ["opened", "closed"]
    assert isinstance(record[1][1], HandshakeTimeout)


def test_a_peer_that_leaves_in_the_handshake_ends_it(poller: str, certificates: Certificates) -> None:
    def script(sock: socket.socket) -> None:
        start(sock)
        sock.shutdown(socket.SHUT_WR)

    record = outcome(Events(data=greet), listening(certificates), script)
    assert [event[0] for event in record] == ["opened", "closed"]
    assert isinstance(record[1][1], TLSError)


def test_a_cut_after_the_handshake_is_a_truncation(poller: str, certificates: Certificates) -> None:
    def script(sock: socket.socket) -> None:
        start(sock)
        peers.append(secure(sock, certificates))
        receive(peers[0], 20)
        peers[0].shutdown(socket.SHUT_WR)

    peers: list[ssl.SSLSocket] = []
    record = outcome(Events(data=greet), listening(certificates), script)
    peers[0].close()
    assert [event[0] for event in record] == ["opened", "secured", "closed"]
    assert isinstance(record[2][1], TLSTruncated)


@pytest.mark.parametrize("way", ["close", "abort", "stop"])
def test_it_may_be_ended_in_the_handshake(poller: str, way: str, certificates: Certificates) -> None:
    record = Recorder()
    conns: queue.Queue[Conn] = queue.Queue()
    events = Events(
        opened=conns.put,
        data=lambda conn, chunk: conn.start_tls(),
        secured=lambda conn: record.add("secured"),
        closed=lambda conn, error: record.add("closed"),
    )
    with running(events, listening(certificates)) as run, connect(run.addr) as sock:
        sock.sendall(b"x")
        conn = conns.get(timeout=TIMEOUT)
        done = threading.Event()
        while conn.tls is None:
            done.clear()
            run.server.call(done.set)
            assert done.wait(TIMEOUT)
        if way == "stop":
            run.server.stop()
            run.join()
        else:
            getattr(conn, way)()
        record.wait_for("closed")
    assert record.events == [("closed",)]


def test_a_dialled_server_that_cannot_be_verified(poller: str, certificates: Certificates) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> Any:
        if conn.addr_index >= 0:
            return greet(conn, chunk)
        conn.start_tls()
        return b"a secret"

    def closed(conn: Conn, error: BaseException | None) -> None:
        record.add("accepted" if conn.addr_index >= 0 else "dialled", error)

    events = Events(opened=lambda conn: b"STARTTLS\n" if conn.addr_index < 0 else None, data=data, closed=closed)
    with running(events, listening(certificates)) as run:
        run.server.dial(f"tls://127.0.0.1:{run.addr[1]}?ca={certificates.ca}&starttls=true&server_name=other.example")
        ((_, error),) = record.wait_for("dialled")
        assert isinstance(error, TLSError)
        assert "certificate verify failed" in str(error)


def test_when_it_cannot_be_started(certificates: Certificates) -> None:
    errors: queue.Queue[str] = queue.Queue()
    conns: queue.Queue[Conn] = queue.Queue()
    answer = Deferred()

    def attempt(conn: Conn) -> None:
        try:
            conn.start_tls()
            errors.put("none")
        except (RuntimeError, TypeError) as error:
            errors.put(str(error))

    def data(conn: Conn, chunk: bytes) -> Any:
        if conn.scheme == "udp" or conn.addr_index == 0:
            attempt(conn)
        elif chunk == b"twice":
            conn.start_tls()
            attempt(conn)
            return Action.CLOSE
        elif chunk == b"half":
            conn.shutdown_write()
            attempt(conn)
        elif chunk == b"deferred":
            conn.write(answer)
            attempt(conn)
            return Action.CLOSE
        return None

    events = Events(opened=conns.put, data=data)
    with running(events, "tcp://127.0.0.1:0", listening(certificates), "udp://127.0.0.1:0") as run:
        plain, tls, datagrams = run.server.addrs
        for addr, message, expected in [
            (plain, b"x", "TLS needs a tls address with starttls=true, or an ssl.SSLContext"),
            (tls, b"twice", "TLS has been started already"),
            (tls, b"half", "TLS cannot be started once input or output has ended"),
            (tls, b"deferred", "TLS cannot be started while an answer is still to come"),
        ]:
            with connect(addr) as sock:
                sock.sendall(message)
                assert errors.get(timeout=TIMEOUT) == expected
        answer.set_result(b"")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", datagrams)
            assert errors.get(timeout=TIMEOUT) == "datagrams are not encrypted by TLS"
        with connect(tls) as sock:
            conn = [conns.get(timeout=TIMEOUT) for _ in range(5)][-1]
        gone = threading.Event()
        run.server.call(gone.set)
        assert gone.wait(TIMEOUT)
        conn.abort()
        run.server.call(lambda: attempt(conn))
        assert errors.get(timeout=TIMEOUT) == "none"  # it is gone, and nothing happens


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tcp://:1?starttls=true", "tcp has no option 'starttls'"),
        ("tls://:1?starttls=maybe", "option starttls must be true or false"),
    ],
)
def test_addresses_that_cannot_start_it(text: str, message: str) -> None:
    with pytest.raises(AddressError, match=message):
        Address.parse(text)
    assert str(Address.parse("tls://:1?starttls=true")) == "tls://:1?starttls=true"


def test_bad_certificates_are_said_when_dialling(tmp_path: Any) -> None:
    with running(Events(), "tcp://127.0.0.1:0") as run:
        with pytest.raises(TLSError, match="cannot load certificate authorities"):
            run.server.dial(f"tls://127.0.0.1:1?starttls=true&ca={tmp_path}/missing")
