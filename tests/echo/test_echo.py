"""evio-echo as its users run it: a process, real clients."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evio_echo.__main__ import main
from tests.core.harness import TIMEOUT, connect, needs, receive, status
from tests.popen import Popen, run
from tests.tables import each_row


class Echo:
    """A running server and the addresses its banner names."""

    def __init__(self, process: subprocess.Popen[str], count: int) -> None:
        self.process = process
        self.urls = [self.line().removeprefix("listening on ") for _ in range(count)]

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "evio_echo", *arguments]


@contextlib.contextmanager
def echo(*arguments: str, count: int = 1) -> Iterator[Echo]:
    process = Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield Echo(process, count)
    finally:
        process.kill()
        process.communicate()


def port(address: str) -> int:
    return int(address.partition(" ")[0].rpartition(":")[2])


def test_tcp_udp_and_unix_at_once(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    with echo("tcp://127.0.0.1:0", "udp://127.0.0.1:0", f"unix://{path}", count=3) as server:
        assert re.fullmatch(r"tcp://127\.0\.0\.1:\d+", server.urls[0])
        assert server.urls[2] == f"unix://{path}"
        for addr in (("127.0.0.1", port(server.urls[0])), str(path)):
            with connect(addr) as peer:
                peer.sendall(b"hello")
                assert receive(peer, 5) == b"hello"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(TIMEOUT)
            peer.sendto(b"hello", ("127.0.0.1", port(server.urls[1])))
            assert peer.recv(10) == b"hello"
        assert server.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_in_good_order(number: int) -> None:
    with echo("tcp://127.0.0.1:0") as server, connect(("127.0.0.1", port(server.urls[0]))) as peer:
        peer.sendall(b"x")
        assert receive(peer, 1) == b"x"
        assert server.stop(number) == 0
        assert peer.recv(1) == b""


@pytest.mark.parametrize("tool", ["nc", "socat"])
def test_command_line_clients(tool: str) -> None:
    needs(tool)
    with echo("tcp://127.0.0.1:0") as server:
        where = str(port(server.urls[0]))
        client = ["nc", "-N", "127.0.0.1", where] if tool == "nc" else ["socat", "-t5", "-", f"TCP:127.0.0.1:{where}"]
        done = subprocess.run(client, input=b"hello\n" * 1000, capture_output=True, timeout=TIMEOUT, check=True)
        assert done.stdout == b"hello\n" * 1000


def test_redis_benchmark() -> None:
    with echo("tcp://127.0.0.1:0", "--loops", "2", "--balance", "least-connections") as server:
        where = str(port(server.urls[0]))
        subprocess.run(
            [needs("redis-benchmark"), "-p", where, "-c", "50", "-n", "2000", "-t", "ping_mbulk", "-q"],
            capture_output=True,
            timeout=TIMEOUT,
            check=True,
        )
        assert server.stop() == 0


def test_trace_shows_what_passes_safely() -> None:
    with echo("tcp://127.0.0.1:0", "--trace") as server, connect(("127.0.0.1", port(server.urls[0]))) as peer:
        peer.sendall(b"\x1b[31mred")
        assert receive(peer, 8) == b"\x1b[31mred"
        local = peer.getsockname()[1]
        peer.close()
        name = f"#1 tcp://127.0.0.1:{local}"
        assert [server.line() for _ in range(3)] == [f"{name} opened", rf"{name} b'\x1b[31mred'", f"{name} closed"]


def test_trace_escapes_the_name_of_a_peer(tmp_path: Path) -> None:
    path = f"{tmp_path}/echo.sock"
    with echo(f"unix://{path}", "--trace") as server, socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(TIMEOUT)
        peer.bind("\0\x1b[31m\n#2 forged")
        peer.connect(path)
        assert server.line() == r"#1 unix://@\x1b[31m\n#2 forged opened"


@pytest.mark.parametrize("options", [(), ("--loops", "2"), ("--workers", "2")])
def test_a_trace_that_nobody_reads_any_more_ends_the_server_in_good_order(options: tuple[str, ...]) -> None:
    with echo("tcp://127.0.0.1:0", "--trace", *options, count=2 if "--workers" in options else 1) as server:
        assert server.process.stdout is not None
        assert server.process.stderr is not None
        server.process.stdout.close()
        with connect(("127.0.0.1", port(server.urls[0]))) as peer:
            assert peer.recv(1) == b""
        assert server.process.wait(TIMEOUT) == 0
        assert server.process.stderr.read().splitlines() == ["evio-echo: cannot print: Broken pipe"]


def test_a_full_disk_is_one_line_and_status_1() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command("tcp://127.0.0.1:0"), stdout=full, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False
        )
    assert (done.returncode, done.stderr) == (1, "evio-echo: [Errno 28] No space left on device\n")


def test_an_address_without_a_scheme_is_tcp() -> None:
    with echo("127.0.0.1:0", "--reuseport") as server:
        assert re.fullmatch(r"tcp://127\.0\.0\.1:\d+", server.urls[0])


def test_each_worker_says_which_process_it_is() -> None:
    with echo("tcp://127.0.0.1:0", "--workers", "2", count=2) as server:
        found = [re.fullmatch(r"tcp://127\.0\.0\.1:(\d+) \(process (\d+)\)", line) for line in server.urls]
        assert all(found), server.urls
        ports, processes = zip(*(match.groups() for match in found if match), strict=True)
        assert ports[0] == ports[1]
        assert processes[0] != processes[1]
        assert server.stop() == 0


def test_idle_timeout() -> None:
    with echo("tcp://127.0.0.1:0", "--idle-timeout", "0.05") as server:
        with connect(("127.0.0.1", port(server.urls[0]))) as peer:
            assert peer.recv(1) == b""


def test_reuseport_on_several_loops() -> None:
    with echo("tcp://127.0.0.1:0", "--reuseport", "--loops", "2") as server:
        for _ in range(10):
            with connect(("127.0.0.1", port(server.urls[0]))) as peer:
                peer.sendall(b"x")
                assert receive(peer, 1) == b"x"


@each_row(
    ("arguments", "text"),
    [
        (["tpc://x:1"], "did you mean tcp"),
        (["tcp://localhost"], "expected host:port"),
        (["tls://localhost:0"], "needs cert=FILE"),
        (["--loops", "-5"], "--loops: '-5' is not a number from 0 to 9999, nor -1, which is one per CPU"),
        (["--balance", "best"], "choose from"),
        (["--idle-timeout", "-1"], "--idle-timeout: '-1' is not a number of seconds from 0"),
        (["--workers", "-5"], "--workers: '-5' is not a number from 0 to 9999"),
        (["--loops", "many"], "--loops: 'many' is not a number"),
        (["--lops", "2"], "unknown flag --lops; did you mean --loops?"),
        (["--trac"], "unknown flag --trac; did you mean --trace?"),
        (["--nonsense"], "unknown flag --nonsense; --help has all of them"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(main, arguments) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"evio-echo: .+\n", said)
    assert text in said


def test_the_status_of_bad_usage_is_that_of_the_process() -> None:
    done = run(command("--nonsense"), timeout=TIMEOUT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "evio-echo: unknown flag --nonsense; --help has all of them\n"


def test_port_in_use_is_one_line_and_status_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        done = run(command(address), timeout=TIMEOUT)
    assert done.returncode == 1
    assert done.stderr == f"evio-echo: cannot listen on {address}: Address already in use\n"


def test_help_shows_examples() -> None:
    done = subprocess.run(command("--help"), capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert "examples:" in done.stdout
