"""Files while they are sent: those that do not stay what they are, disks and systems that fail then, slow readers."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from evio_core.buffers import output
from evio_http import Request, Site, http_events
from evio_http.connections.session import HTTPSession
from tests.core.harness import TIMEOUT, Recorder, Running, eventually, no_descriptors_left, receive, resident, running

from .serving import wait_until_settled

SIZES = {"held.bin": 100_000, "large.bin": 6 << 20}
CONTENT = {name: os.urandom(size) for name, size in SIZES.items()}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    directory = tmp_path / "site"
    directory.mkdir()
    for name, content in CONTENT.items():
        (directory / name).write_bytes(content)
    (directory / "a.txt").write_bytes(b"aaa")
    wait_until_settled(directory)
    return directory


@dataclasses.dataclass
class Transport:
    """The way in which clients connect; ``trust`` is a certificate authority's file, or None."""

    address: str
    trust: str | None

    def connect(self, run: Running) -> socket.socket:
        """A client that takes little at a time."""
        sock = socket.socket()
        sock.settimeout(TIMEOUT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(run.addr)
        if self.trust is None:
            return sock
        context = ssl.create_default_context(cafile=self.trust)
        return context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)


@pytest.fixture(params=["tcp", "tls"])
def transport(request: pytest.FixtureRequest, tmp_path: Path) -> Transport:
    if request.param == "tcp":
        return Transport("tcp://127.0.0.1:0", None)
    authority = trustme.CA()
    pem = tmp_path / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return Transport(f"tls://127.0.0.1:0?cert={pem}", str(tmp_path / "ca.pem"))


class Told(Recorder):
    """An observer."""

    def answered(self, session: HTTPSession, request: Request | None, status: int, length: int) -> None:
        assert request is not None
        self.add(request.path.decode(), status, length)


@contextlib.contextmanager
def serving(site: Path, transport: Transport, told: Told) -> Iterator[Running]:
    """With a small send buffer, so that a response of 100 kB waits for its reader, too."""
    events = http_events(Site(str(site)), observers=[told])
    events.options = dataclasses.replace(events.options, send_buffer=4096)
    with running(events, transport.address) as run:
        yield run


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def head(sock: socket.socket) -> bytes:
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        got += receive(sock, 1)
    return got


def until_the_end(sock: socket.socket) -> bytes:
    """All that comes, in whatever way it ends."""
    got = bytearray()
    with contextlib.suppress(OSError):
        while chunk := sock.recv(65536):
            got += chunk
    return bytes(got)


def hot(run: Running, transport: Transport, path: str) -> None:
    """Have it asked for before: what is answered next is held open, or in memory."""
    with transport.connect(run) as sock:
        for _ in range(2):
            sock.sendall(get(path))
            assert head(sock).startswith(b"HTTP/1.1 200")
            assert receive(sock, len(CONTENT[path[1:]])) == CONTENT[path[1:]]


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(bytes(path.stat().st_size))
    other.rename(path)


def lock(path: Path) -> None:
    path.chmod(0)


@pytest.mark.parametrize("change", [delete, replace, lock])
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_what_has_begun_is_sent_as_it_was(
    change: Callable[[Path], None], name: str, again: bool, site: Path, transport: Transport
) -> None:
    with serving(site, transport, Told()) as run:
        if again:
            hot(run, transport, f"/{name}")
        with transport.connect(run) as sock:
            sock.sendall(get(f"/{name}"))
            assert head(sock).startswith(b"HTTP/1.1 200")
            change(site / name)
            assert receive(sock, SIZES[name]) == CONTENT[name]
            sock.sendall(get(f"/{name}"))
            status = head(sock).split()[1]
        if change is replace:
            assert status == b"200"
        elif change is delete:
            assert status == b"404"
        elif os.geteuid() != 0:  # whom modes do not keep out
            assert status == b"403"


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_a_file_that_becomes_shorter_ends_the_connection(
    name: str, again: bool, site: Path, transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    with serving(site, transport, told) as run:
        if again:
            hot(run, transport, f"/{name}")
        with transport.connect(run) as sock:
            sock.sendall(get(f"/{name}"))
            head(sock)
            os.truncate(site / name, 1000)
            got = until_the_end(sock)
        assert CONTENT[name].startswith(got[:1000])
        assert len(got) < SIZES[name]
        path, status, length = told.wait(lambda events: len(events) == (3 if again else 1))[-1]
        assert (path, status) == (f"/{name}", 200)
        assert length <= SIZES[name] - 1000
        with transport.connect(run) as sock:
            sock.sendall(get("/a.txt"))
            assert head(sock).startswith(b"HTTP/1.1 200")
    assert f"cannot send all of /{name} to 127.0.0.1: file ended" in caplog.text


@pytest.mark.parametrize("broken", [errno.EIO, errno.ESTALE], ids=["EIO", "ESTALE"])
@pytest.mark.parametrize("good", [0, 50_000, 3 << 20])
def test_a_disk_that_fails_in_the_middle(
    broken: int,
    good: int,
    site: Path,
    transport: Transport,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inode = (site / "large.bin").stat().st_ino
    real_sendfile, real_pread = os.sendfile, os.pread

    def readable(fd: int, offset: int, count: int) -> int:
        if os.fstat(fd).st_ino == inode:
            count = min(count, good - offset)
            if count <= 0:
                raise OSError(broken, os.strerror(broken))
        return count

    def sendfile(out_fd: int, in_fd: int, offset: int, count: int) -> int:
        return real_sendfile(out_fd, in_fd, offset, readable(in_fd, offset, count))

    def pread(fd: int, count: int, offset: int) -> bytes:
        return real_pread(fd, readable(fd, offset, count), offset)

    told = Told()
    with serving(site, transport, told) as run:
        with transport.connect(run) as sock:
            sock.sendall(get("/a.txt"))
            head(sock)
            assert receive(sock, 3) == b"aaa"
        monkeypatch.setattr(os, "sendfile", sendfile)
        monkeypatch.setattr(output, "read_at", pread)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(2):
            with transport.connect(run) as sock:
                sock.sendall(get("/large.bin"))
                got = until_the_end(sock)
                start, _, body = got.partition(b"\r\n\r\n")
                assert start.startswith(b"HTTP/1.1 200")
                assert CONTENT["large.bin"].startswith(body)
                assert len(body) <= good
        events = told.wait(lambda events: len(events) == 3)
        assert [event[:2] for event in events[1:]] == [("/large.bin", 200)] * 2
        assert events[-1][2] <= good
        if transport.trust is None:  # of TLS, some may have been encrypted and not sent
            assert events[-1][2] == len(body) == good
        with transport.connect(run) as sock:
            sock.sendall(get("/a.txt"))
            assert head(sock).startswith(b"HTTP/1.1 200")
        assert len(os.listdir("/proc/self/fd")) <= before + 2  # of the last client, at both ends
    assert caplog.text.count(f"cannot send all of /large.bin to 127.0.0.1: {os.strerror(broken)}") == 2


def test_no_descriptor_for_the_rest_ends_the_connection(
    site: Path, transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    with serving(site, transport, told) as run:
        with transport.connect(run) as sock:
            # With what the kernel takes by itself on this side, an answer of 100 kB might leave at once.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(get("/a.txt"))
            head(sock)
            assert receive(sock, 3) == b"aaa"
            hot(run, transport, "/held.bin")  # and it is held as long as somebody is connected
            # A connection that closes later would give its descriptor back.
            assert eventually(lambda: run.server.stats().total.connections == 1)
            assert eventually(lambda: run.server.stats().total.lingering == 0)
            with no_descriptors_left(run.server):
                before = run.server.stats().total.bytes_in
                sock.sendall(get("/held.bin"))
                # Read while it is sent, all of it might find room in the kernel.
                assert eventually(lambda: run.server.stats().total.bytes_in > before)
                got = until_the_end(sock)
        body = got.partition(b"\r\n\r\n")[2]
        assert CONTENT["held.bin"].startswith(body)
        assert len(body) < SIZES["held.bin"]
        assert told.wait(lambda events: len(events) == 4)[-1][:2] == ("/held.bin", 200)
        hot(run, transport, "/held.bin")
    assert "cannot send all of /held.bin to 127.0.0.1: Too many open files" in caplog.text


def test_many_slow_readers_of_a_large_file_cost_little_memory(site: Path, transport: Transport) -> None:
    with (site / "huge.bin").open("wb") as file:
        file.truncate(1 << 30)
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(serving(site, transport, Told()))
        hot(run, transport, "/held.bin")
        readers = [stack.enter_context(transport.connect(run)) for _ in range(10)]
        before = resident()
        for sock in readers:
            sock.sendall(get("/huge.bin"))
        for sock in readers:
            assert head(sock).startswith(b"HTTP/1.1 200")
            assert receive(sock, 1 << 20) == bytes(1 << 20)
        assert resident() - before < 16 << 20
