"""Binding: all addresses or none; guarantee 12 about the files of unix sockets; inherited sockets."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from evio_core import Action, Conn, Events, ListenError, Options, serve
from tests.ports import free_port

from .harness import TIMEOUT, Recorder, connect, receive, running

ECHO = Events(data=lambda conn, chunk: chunk)


def echoes(addr: object) -> bool:
    with connect(addr) as peer:
        peer.sendall(b"hello")
        return receive(peer, 5) == b"hello"


def test_a_port_in_use_is_told_with_the_address_and_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ListenError, match="Address already in use") as caught:
            serve(Events(), address)
    assert address in str(caught.value)
    assert caught.value.errno is not None


def test_nothing_stays_bound_after_a_failed_serve(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(ListenError):
            serve(Events(), f"tcp://127.0.0.1:{port}", f"unix://{path}", f"tcp://127.0.0.1:{taken.getsockname()[1]}")
    assert not path.exists()
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_an_unknown_host_and_an_address_of_others() -> None:
    with pytest.raises(ListenError, match=r"no-such-host\.invalid"):
        serve(Events(), "tcp://no-such-host.invalid:1")
    with pytest.raises(ListenError, match="Cannot assign requested address"):
        serve(Events(), "tcp://192.0.2.1:0")


def test_a_name_of_several_addresses_is_bound_in_all_with_one_port() -> None:
    with running(ECHO, "tcp://localhost:0") as run:
        port = run.addr[1]
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            if (family, host) in {(info[0], info[4][0]) for info in socket.getaddrinfo("localhost", port)}:
                assert echoes((host, port))


def test_both_families_of_all_interfaces() -> None:
    with running(ECHO, "tcp://:0") as run:
        assert echoes(("127.0.0.1", run.addr[1]))
        assert echoes(("::1", run.addr[1]))


def test_the_families_of_schemes() -> None:
    with running(ECHO, "tcp4://localhost:0", "tcp6://[::1]:0") as run:
        assert [len(name) for name in run.server.addrs] == [2, 4]
        assert all(echoes(name[:2]) for name in run.server.addrs)


# -- guarantee 12


def test_a_socket_file_in_use_is_an_error_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with running(ECHO, f"unix://{path}"):
        with pytest.raises(ListenError, match="a server is listening on it"):
            serve(Events(), f"unix://{path}")
        assert echoes(str(path))
    assert not path.exists()


def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with running(ECHO, f"unix://{path}"):
        assert echoes(str(path))
    assert not path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling", "fifo", "datagram"])
def test_nothing_else_at_the_path_is_removed(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "a.sock", tmp_path / "target"
    target.write_bytes(b"precious")
    keep = None
    if kind == "file":
        path.write_bytes(b"precious")
    elif kind == "directory":
        path.mkdir()
        (path / "inside").write_bytes(b"precious")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "datagram":
        keep = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        keep.bind(str(path))
    else:
        path.symlink_to(target if kind == "link" else tmp_path / "nowhere")
    before = os.lstat(path)
    with pytest.raises(ListenError, match=r"not a socket|a server is listening"):
        serve(Events(), f"unix://{path}")
    assert os.lstat(path).st_ino == before.st_ino
    assert target.read_bytes() == b"precious"
    if kind == "directory":
        assert (path / "inside").read_bytes() == b"precious"
    if keep is not None:
        keep.close()


def test_the_file_is_left_alone_at_the_end_if_it_is_not_ours_any_more(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with running(ECHO, f"unix://{path}"):
        path.rename(tmp_path / "moved")
        path.write_bytes(b"somebody else's")
    assert path.read_bytes() == b"somebody else's"


def test_mode_and_strange_names(tmp_path: Path) -> None:
    with running(ECHO, f"unix://{tmp_path}/what%3Fa%25name?mode=0600") as run:
        path = tmp_path / "what?a%name"
        assert run.addr == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert echoes(str(path))


def test_an_abstract_name_leaves_no_file(tmp_path: Path) -> None:
    name = f"evio-test-{os.getpid()}"
    with running(ECHO, f"unix://@{name}") as run:
        assert run.addr == b"\0" + name.encode()
        with pytest.raises(ListenError, match="Address already in use"):
            serve(Events(), f"unix://@{name}")
        assert echoes(b"\0" + name.encode())
    assert not list(tmp_path.iterdir())


def test_a_directory_without_permission_or_existence(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="No such file or directory"):
        serve(Events(), f"unix://{tmp_path}/missing/a.sock")


# -- inherited sockets

INHERIT = """
import os, sys
from evio_core import Action, Events, serve
serve(Events(data=lambda conn, chunk: (chunk, Action.SHUTDOWN)), sys.argv[1])
"""


def test_an_inherited_listening_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        process = subprocess.Popen([sys.executable, "-c", INHERIT, f"fd://{fd}"], pass_fds=[fd])
        assert echoes(listener.getsockname())
    assert process.wait(TIMEOUT) == 0


def test_socket_activation_by_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        program = (
            f"import os\nos.dup2({fd}, 3); os.dup2({fd}, 4)\n"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2', LISTEN_FDNAMES='other:web')\n" + INHERIT
        )
        process = subprocess.Popen([sys.executable, "-c", program, "systemd://web"], pass_fds=[fd])
        assert echoes(listener.getsockname())
    assert process.wait(TIMEOUT) == 0


@pytest.mark.parametrize(
    "environment, name, why",
    [
        ({}, "web", "no sockets were passed to this process"),
        ({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, "web", "no sockets were passed to this process"),
        ({"LISTEN_PID": "self", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "api"}, "web", "no socket named 'web' was passed"),
    ],
)
def test_socket_activation_that_fails(
    environment: dict[str, str], name: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, str(os.getpid()) if value == "self" else value)
    with pytest.raises(ListenError, match=why):
        serve(Events(), f"systemd://{name}")


def test_descriptors_that_cannot_be_served(tmp_path: Path) -> None:
    with socket.socket() as silent:
        with pytest.raises(ListenError, match="does not listen"):
            serve(Events(), f"fd://{silent.fileno()}")
        silent.fileno()
    with open(tmp_path / "file", "wb") as file:
        with pytest.raises(ListenError):
            serve(Events(), f"fd://{file.fileno()}")
        file.write(b"still open")
    with pytest.raises(ListenError, match="Bad file descriptor"):
        serve(Events(), "fd://999")


def test_configured_options_reach_the_sockets() -> None:

    record = Recorder()

    def detached(conn: Conn, sock: socket.socket) -> None:
        with sock:
            record.add(
                "options",
                sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
                sock.getblocking(),
                os.get_inheritable(sock.fileno()),
            )

    def opened(conn: Conn) -> Action:
        conn.configure(tcp_keepalive=0.4)
        record.add("local", conn.local_addr, conn.remote_addr)
        return Action.DETACH

    events = Events(opened=opened, detached=detached, options=Options(send_buffer=50_000))
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        assert record.wait_for("options") == [("options", 1, 1, 1, 100_000, True, False)]
        assert record.wait_for("local") == [("local", peer.getpeername(), peer.getsockname())]
