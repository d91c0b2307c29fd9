"""Guarantee 17: TLS."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme

from evio_core import Action, Conn, Events, Options, TLSError, TLSTruncated, serve

from .conftest import Certificates, use_poller
from .harness import TIMEOUT, Recorder, Running, connect, needs, receive, receive_all, resident, running


@pytest.fixture(params=["epoll", "asyncio"], autouse=True)
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use_poller(monkeypatch, request.param)
    return str(request.param)


@pytest.fixture
def address(certificates: Certificates) -> str:
    return f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}"


def echo(conn: Conn, chunk: bytes) -> bytes:
    return chunk


def dns_names(peer: ssl.SSLSocket) -> list[str]:
    certificate: Any = peer.getpeercert()
    return [value for _, value in certificate["subjectAltName"]]


def client(addr: Any, certificates: Certificates, **settings: Any) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=certificates.ca)
    if "alpn" in settings:
        context.set_alpn_protocols(settings["alpn"])
    if "version" in settings:
        context.minimum_version = context.maximum_version = settings["version"]
    if "cert" in settings:
        context.load_cert_chain(*settings["cert"])
    context.check_hostname = settings.get("check", True)
    return context.wrap_socket(
        socket.create_connection(addr, TIMEOUT),
        server_hostname=settings.get("name", "localhost"),
        suppress_ragged_eofs=False,
    )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_versions_alpn_and_sni_are_shown(version: ssl.TLSVersion, address: str, certificates: Certificates) -> None:
    seen: queue.Queue[Any] = queue.Queue()

    def opened(conn: Conn) -> bytes:
        assert conn.tls is not None
        seen.put((conn.tls.version(), conn.tls.selected_alpn_protocol(), conn.server_name))
        return b"welcome"

    with running(Events(opened=opened, data=echo), address + "&alpn=h2,http/1.1") as run:
        with client(run.addr, certificates, version=version, alpn=["http/1.1"]) as peer:
            assert receive(peer, 7) == b"welcome"
            peer.sendall(b"hello")
            assert receive(peer, 5) == b"hello"
            assert peer.selected_alpn_protocol() == "http/1.1"
            assert seen.get(timeout=TIMEOUT) == (peer.version(), "http/1.1", "localhost")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        (None, None),
        (["http/1.1"], "http/1.1"),
        (["h2", "http/1.1"], "http/1.1"),
        (["h2"], ""),
        (["foo", "http/1.0"], ""),
    ],
)
def test_a_client_that_speaks_none_of_our_protocols_is_refused(
    version: ssl.TLSVersion, address: str, certificates: Certificates, offered: list[str] | None, agreed: str | None
) -> None:
    """RFC 7301 section 3.2; a client without ALPN says nothing about what it speaks."""
    with running(Events(data=echo), address + "&alpn=http/1.1") as run:
        settings: dict[str, Any] = {"version": version} | ({"alpn": offered} if offered else {})
        if agreed == "":
            with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
                client(run.addr, certificates, **settings)
        else:
            with client(run.addr, certificates, **settings) as peer:
                peer.sendall(b"hello")
                assert receive(peer, 5) == b"hello"
                assert peer.selected_alpn_protocol() == agreed


@pytest.mark.parametrize("groups", ["P-521:X25519", "X25519"])
def test_a_client_hello_in_pieces_and_asked_for_again_is_understood(
    address: str, certificates: Certificates, groups: str
) -> None:
    """A key share of a group that the server does not like makes it ask again (RFC 8446 section 4.1.4)."""
    with running(Events(data=lambda conn, chunk: (chunk.upper(), Action.CLOSE)), address + "&alpn=http/1.1") as run:
        good = s_client(run, certificates, f"-quiet -groups {groups} -alpn h2,http/1.1")
        bad = s_client(run, certificates, f"-quiet -groups {groups} -alpn h2")
    assert good.stdout == b"HELLO\n", good.stderr
    assert b"no application protocol" in bad.stderr


def issue_pair(certificates: Certificates, path: Path, kind: trustme.KeyType, *names: str) -> str:
    issued = certificates.authority.issue_cert(*names, key_type=kind)
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))
    return f"cert={path}"


RSA, ECDSA = trustme.KeyType.RSA, trustme.KeyType.ECDSA


@pytest.mark.parametrize("first", [RSA, ECDSA], ids=["rsa first", "ecdsa first"])
def test_certificates_of_two_algorithms_for_one_name_are_both_used(
    certificates: Certificates, tmp_path: Path, first: trustme.KeyType
) -> None:
    second = ECDSA if first is RSA else RSA
    options = [
        issue_pair(certificates, tmp_path / "1.pem", first, "a.test", "only.test"),
        issue_pair(certificates, tmp_path / "2.pem", second, "a.test", "other.test"),
    ]
    with running(Events(data=echo), f"tls://127.0.0.1:0?{'&'.join(options)}") as run:

        def ask(name: str, algorithm: str) -> list[str] | None:
            context = ssl.create_default_context(cafile=certificates.ca)
            context.check_hostname = False
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(f"ECDHE-{algorithm}-AES128-GCM-SHA256")
            sock = socket.create_connection(run.addr, TIMEOUT)
            try:
                with context.wrap_socket(sock, server_hostname=name) as peer:
                    return dns_names(peer)
            except ssl.SSLError:
                sock.close()
                return None

        kinds = ("RSA", "ECDSA") if first is RSA else ("ECDSA", "RSA")
        found = {name: [ask(name, kind) for kind in kinds] for name in ("a.test", "only.test", "other.test", "else")}
    one, two = ["a.test", "only.test"], ["a.test", "other.test"]
    assert found == {"a.test": [one, two], "only.test": [one, None], "other.test": [None, two], "else": [one, None]}


def test_a_certificate_that_would_never_be_used_is_an_error(certificates: Certificates, tmp_path: Path) -> None:
    first = issue_pair(certificates, tmp_path / "1.pem", RSA, "a.test", "b.test")
    second = issue_pair(certificates, tmp_path / "2.pem", RSA, "b.test")
    with pytest.raises(TLSError, match=r"certificate .*2\.pem would never be used"):
        serve(Events(), f"tls://127.0.0.1:0?{first}&{second}")
    third = issue_pair(certificates, tmp_path / "3.pem", RSA, "b.test", "c.test")
    with running(Events(data=echo), f"tls://127.0.0.1:0?{first}&{third}") as run:
        with client(run.addr, certificates, name="c.test") as peer:
            assert dns_names(peer) == ["b.test", "c.test"]


def test_sni_picks_the_certificate(certificates: Certificates, tmp_path: Path) -> None:
    options = []
    for name in ("one.test", "*.two.test", "a.two.test"):
        issued = certificates.authority.issue_cert(name)
        path = tmp_path / f"{name.replace('*', 'any')}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
        options.append(f"cert={path}")
    with running(Events(data=echo), f"tls://127.0.0.1:0?{'&'.join(options)}") as run:
        for name, expected in {
            "one.test": "one.test",
            "b.two.test": "*.two.test",
            "A.Two.test": "a.two.test",  # rather than the wildcard before it
            "x.b.two.test": "one.test",
            "else.test": "one.test",
        }.items():
            with client(run.addr, certificates, name=name, check=False) as peer:
                names = dns_names(peer)
                assert names == [expected]


def test_client_certificates(address: str, certificates: Certificates, tmp_path: Path) -> None:
    issued = certificates.authority.issue_cert("client.test")
    path = tmp_path / "client.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))
    seen: queue.Queue[Any] = queue.Queue()

    def opened(conn: Conn) -> bytes:
        assert conn.tls is not None
        seen.put(conn.tls.getpeercert())
        return b"welcome"

    with running(Events(opened=opened), f"{address}&client_ca={certificates.ca}") as run:
        with client(run.addr, certificates, cert=(str(path),)) as peer:
            assert receive(peer, 7) == b"welcome"
            assert ("DNS", "client.test") in seen.get(timeout=TIMEOUT)["subjectAltName"]
        with pytest.raises(OSError), client(run.addr, certificates) as peer:
            receive(peer, 7)
    assert seen.empty()


def test_certificates_are_reloaded_without_a_restart(certificates: Certificates, tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"

    def install(name: str) -> None:
        fresh = tmp_path / "fresh.pem"
        certificates.authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(fresh))
        os.replace(fresh, path)

    def names(run: Any) -> list[str]:
        with client(run.addr, certificates, check=False) as peer:
            return dns_names(peer)

    install("old.test")
    with running(Events(data=echo), f"tls://127.0.0.1:0?cert={path}") as run:
        with client(run.addr, certificates, check=False) as before:
            assert names(run) == ["old.test"]
            install("new.test")
            assert names(run) == ["new.test"]
            path.write_text("broken")
            assert names(run) == ["new.test"]
            with pytest.raises(TLSError, match=r"cannot load .*cert\.pem with key .*: no cert.* in PEM form$"):
                run.server.reload_certificates()
            install("newer.test")
            run.server.reload_certificates()
            assert names(run) == ["newer.test"]
            before.sendall(b"still here")
            assert receive(before, 10) == b"still here"


def test_a_certificate_that_goes_away_while_it_is_loaded_is_not_taken(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cert.pem"
    issued = certificates.authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))

    def removed(path: str) -> frozenset[str]:
        raise FileNotFoundError(2, "No such file or directory", path)

    with running(Events(data=echo), f"tls://127.0.0.1:0?cert={path}") as run:
        monkeypatch.setattr("evio_core.tls.credentials.certificate_names", removed)
        os.utime(path, (1, 1))
        with client(run.addr, certificates) as peer:
            peer.sendall(b"hello")
            assert receive(peer, 5) == b"hello"
        with pytest.raises(TLSError, match=r"cannot read the names of certificate .*cert\.pem"):
            run.server.reload_certificates()


@pytest.mark.parametrize("name", ["ECDHE-ECDSA-AES128-SHA256", "AES128-SHA", "DHE-RSA-AES128-GCM-SHA256", "NULL"])
def test_weak_ciphers_are_not_to_be_had(name: str, address: str, certificates: Certificates) -> None:
    context = ssl.create_default_context(cafile=certificates.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{name}:@SECLEVEL=0")
    with running(Events(data=echo), address) as run, connect(run.addr) as raw:
        with pytest.raises(ssl.SSLError, match=r"(?i)handshake[ _]failure"):
            context.wrap_socket(raw, server_hostname="localhost")


@pytest.mark.parametrize("break_", ["missing", "junk", "wrong key"])
def test_bad_certificates_are_refused_at_the_start(break_: str, certificates: Certificates, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(certificates.cert, cert)
    shutil.copy(certificates.key, key)
    if break_ == "missing":
        key.unlink()
    elif break_ == "junk":
        cert.write_text("junk")
    else:
        trustme.CA().issue_cert("x.test").private_key_pem.write_to_path(str(key))
    with pytest.raises(TLSError, match="cannot load certificate"):
        serve(Events(), f"tls://127.0.0.1:0?cert={cert}&key={key}")


def test_close_sends_close_notify_after_all_output(address: str, certificates: Certificates) -> None:
    big = os.urandom(1 << 20)
    with running(Events(data=lambda conn, chunk: (big, Action.CLOSE)), address) as run:
        with client(run.addr, certificates) as peer:
            peer.sendall(b"x")
            assert receive_all(peer) == big  # suppress_ragged_eofs is off: without close_notify this raises


def test_truncation_is_reported_and_a_good_end_is_not(address: str, certificates: Certificates) -> None:
    record = Recorder()
    with running(Events(closed=lambda conn, error: record.add("closed", error)), address) as run:
        with client(run.addr, certificates) as peer:
            peer.shutdown(socket.SHUT_WR)  # plain end of file, without close_notify
            assert isinstance(record.wait_for("closed")[0][1], TLSTruncated)
        with client(run.addr, certificates) as peer:
            peer.unwrap()
            assert record.wait_for("closed", 2)[1][1] is None


def test_eof_callback_fires_on_close_notify(address: str, certificates: Certificates) -> None:
    record = Recorder()

    def eof(conn: Conn) -> Action:
        record.add("eof")
        return Action.CLOSE

    events = Events(eof=eof, closed=lambda conn, error: record.add("closed", error))
    with running(events, address) as run, client(run.addr, certificates) as peer:
        peer.unwrap()
        record.wait_for("closed")
    assert record.events == [("eof",), ("closed", None)]


def test_handshake_timeout(address: str) -> None:
    record = Recorder()
    events = Events(
        opened=lambda conn: record.add("opened"),
        closed=lambda conn, error: record.add("closed"),
        options=Options(handshake_timeout=0.05),
    )
    with running(events, address) as run, connect(run.addr) as peer:
        peer.sendall(b"\x16\x03\x01")
        with contextlib.suppress(ConnectionResetError):
            assert receive_all(peer) == b""
    assert record.names() == []


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", os.urandom(5000), b"\x16\x03\x01\xff\xff" + b"\0" * 500])
def test_junk_fails_cleanly_and_harms_nobody(junk: bytes, address: str, certificates: Certificates) -> None:
    record = Recorder()
    events = Events(opened=lambda conn: record.add("opened"), data=echo)
    with running(events, address) as run, client(run.addr, certificates) as other:
        with connect(run.addr) as peer:
            peer.sendall(junk)
            receive_all(peer)  # an alert, or nothing; but an end in good order
        other.sendall(b"fine")
        assert receive(other, 4) == b"fine"
    assert record.names() == ["opened"]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"DELETE", b"CONNECT", b"PRI"])
def test_plain_http_is_answered_in_plain(method: bytes, address: str) -> None:
    answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
    request = method + b" / HTTP/1.1\r\nHost: x\r\n\r\n"
    told: list[bytes] = []

    def not_tls(first: bytes) -> bytes:
        told.append(first)
        return answer

    with running(Events(data=echo, not_tls=not_tls), address) as run:
        with connect(run.addr) as peer:
            peer.sendall(request)
            assert receive_all(peer) == answer
    assert told == [request]


def test_the_first_bytes_of_another_protocol_are_collected_until_they_are_a_header(address: str) -> None:
    told: list[bytes] = []
    with running(Events(data=echo, not_tls=told.append), address) as run:
        with connect(run.addr) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for each in b"EHLO":
                peer.sendall(bytes([each]))
            peer.sendall(b" example.org\r\n")
            receive_all(peer)  # an alert, as nothing was returned
    assert told[0][:5] == b"EHLO "


def test_a_damaged_handshake_is_not_another_protocol(address: str) -> None:
    told: list[bytes] = []
    with running(Events(data=echo, not_tls=told.append), address) as run:
        with connect(run.addr) as peer:
            peer.sendall(b"\x16\x03\x01\xff\xff" + b"\0" * 500)
            receive_all(peer)
    assert told == []


def test_what_is_raised_about_another_protocol_ends_that_connection_only(
    address: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    def not_tls(first: bytes) -> bytes:
        raise RuntimeError("of the callback")

    with running(Events(data=echo, not_tls=not_tls), address) as run:
        with connect(run.addr) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                receive_all(peer)
        with client(run.addr, certificates) as other:
            other.sendall(b"fine")
            assert receive(other, 4) == b"fine"
    assert "of the callback" in caplog.text


def test_a_large_write_does_not_multiply_in_memory(address: str, certificates: Certificates) -> None:
    size = 64 << 20
    peaks: list[int] = []

    def data(conn: Conn, chunk: bytes) -> bytes:
        return bytes(size)

    def drained(conn: Conn) -> None:
        peaks.append(conn.pending)

    with running(Events(data=data, drained=drained), address) as run, client(run.addr, certificates) as peer:
        before = resident()
        peer.sendall(b"x")
        got = receive(peer, size // 2)
        growth = resident() - before
        assert len(got) == size // 2
        # The output itself, what this client has received of it, and little else.
        assert growth < size + len(got) * 2.2 + (16 << 20)
        del got
        assert len(receive(peer, size // 2)) == size // 2
    assert peaks == [0]


def test_send_file_and_writes_in_order(address: str, certificates: Certificates, tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    path = tmp_path / "file"
    path.write_bytes(content)

    def data(conn: Conn, chunk: bytes) -> Any:
        conn.write(b"<")
        with path.open("rb") as file:
            conn.send_file(file, 1000)
        return b">", Action.CLOSE

    with running(Events(data=data), address) as run, client(run.addr, certificates) as peer:
        peer.sendall(b"x")
        assert receive_all(peer) == b"<" + content[1000:] + b">"


def test_sessions_are_resumed(address: str, certificates: Certificates) -> None:
    context = ssl.create_default_context(cafile=certificates.ca)
    with running(Events(data=echo), address) as run:
        session = None
        for expected in (False, True):
            raw = socket.create_connection(run.addr, TIMEOUT)
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as peer:
                peer.sendall(b"x")
                assert peer.recv(1) == b"x"  # TLS 1.3 tickets arrive with the first data
                session = peer.session
                assert peer.session_reused is expected


def s_client(run: Running, certificates: Certificates, flags: str) -> subprocess.CompletedProcess[bytes]:
    """openssl's own client, which sends a line."""
    return subprocess.run(
        f"{needs('openssl')} s_client -verify_return_error -CAfile {certificates.ca} -connect 127.0.0.1:{run.addr[1]} "
        f"-servername localhost {flags}".split(),
        input=b"hello\n",
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )


def test_openssl_s_client(address: str, certificates: Certificates) -> None:
    with running(Events(data=lambda conn, chunk: (chunk.upper(), Action.CLOSE)), address) as run:
        done = s_client(run, certificates, "-quiet")
    assert done.stdout == b"HELLO\n", done.stderr


def test_a_connection_gets_one_ticket(address: str, certificates: Certificates) -> None:
    with running(Events(data=lambda conn, chunk: (chunk.upper(), Action.CLOSE)), address) as run:
        done = s_client(run, certificates, "-msg -ign_eof")
    assert b"HELLO" in done.stdout
    assert done.stdout.count(b", NewSessionTicket") == 1
