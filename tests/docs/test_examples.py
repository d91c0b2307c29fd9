"""Every example of the documentation is run, and those of the guide are talked to: they do what the text says."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trustme

from tests.core.harness import receive, receive_all
from tests.extent import FULL
from tests.ports import free_port

from .program import EXAMPLES, TIMEOUT, Program, Source

Scenario = Callable[[Source], None]

SCENARIOS: dict[str, Scenario] = {}


def scenario(name: str) -> Callable[[Scenario], Scenario]:
    def register(function: Scenario) -> Scenario:
        SCENARIOS[name] = function
        return function

    return register


DAILY = {"echo.py", "hello.py", "login.py", "multiplexed.py", "sums.py", "visits.py"}
"""Examples of the guide that are run each time, beside those of the READMEs. What the others use has tests of its own:
what they add is that the text is right."""


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param(*example, id=example[0])
        for example in EXAMPLES
        if FULL or example[0] in DAILY or "README" in example[0]
    ],
)
def test_example(name: str, code: str, tmp_path: Path) -> None:
    SCENARIOS.get(name, runs)(Source(code, tmp_path))


def runs(source: Source) -> None:
    """Run an example as every one: it comes up and ends in good order."""
    (source.directory / "public").mkdir()  # what the HTTP server's example serves
    with source.started() as program:
        if source.serves:
            assert program.addrs
            program.stop()
        else:
            program.finish()


def test_every_example_of_the_guide_is_talked_to() -> None:
    names = [name for name, _ in EXAMPLES]
    assert len(names) == len(set(names)) > 15
    assert {name for name in names if name.endswith(".py")} == SCENARIOS.keys() >= DAILY


# -- a first server


@scenario("echo.py")
def echo(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client:
            client.sendall(b"hello")
            assert receive(client, 5) == b"hello"
        assert program.stop() == ""


@scenario("greet.py")
def greet(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client:
            assert receive(client, 23) == b"say something, or quit\n"
            client.sendall(b"hi\n")
            assert receive(client, 15) == b"3 bytes so far\n"
            client.sendall(b"quit\n")
            assert receive_all(client) == b"goodbye\n"
        assert program.stop().endswith("is gone after 3 bytes: in good order\n")


@scenario("hello.py")
def hello(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client, program.connect(1) as other:
            assert receive(client, 23) == b"say something, or quit\n"
            client.sendall(b"hi\n")
            assert receive(client, 15) == b"3 bytes so far\n"
            other.sendall(b"hi\n")
            assert receive(other, 3) == b"hi\n"
            client.sendall(b"quit\n")
            assert receive_all(client) == b"goodbye\n"
        assert program.stop().endswith("is gone after 3 bytes\n")


@scenario("traced.py")
def traced(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client:
            client.sendall(b"hi")
            assert receive(client, 2) == b"hi"
        assert program.stop() == "127.0.0.1 b'hi'\n"


@scenario("reverse.py")
def reverse(source: Source) -> None:
    with source.started() as program:
        for index in range(2):
            with program.connect(index) as client:
                client.sendall(b"ab")
                client.sendall(b"c\nde\nf")
                assert receive(client, 7) == b"cba\ned\n"
        program.stop()


@scenario("test_upper.py")
def upper(source: Source) -> None:
    with source.started() as program:
        assert program.finish() == "passed\n"


# -- time


@scenario("clock.py")
def clock(source: Source) -> None:
    with source.started(("return 1.0", "return 0.01")) as program:
        with program.connect() as client:
            assert re.fullmatch(rb"(\d\d:\d\d:\d\d\n){3}", receive(client, 27))
        program.stop()


@scenario("login.py")
def login(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client:
            client.sendall(b"wrong\n")
            assert receive(client, 20) == b"password: password: "
            client.sendall(b"secret\n")
            assert receive(client, 8) == b"welcome\n"
            client.sendall(b"hello")
            assert receive(client, 5) == b"hello"
        assert program.stop() == "closed: None\n"
    with source.started(("set_deadline(10)", "set_deadline(0.1)")) as program:
        with program.connect() as client:
            assert receive_all(client) == b"password: "
        assert program.stop().startswith("closed: DeadlineExceeded(")


@scenario("ping.py")
def ping(source: Source) -> None:
    with source.started(("20.0, 10.0", "0.05, 0.05")) as program:
        with program.connect() as client:
            assert receive(client, 5) == b"ping\n"
            client.sendall(b"pong")
            assert receive(client, 5) == b"ping\n"
            with pytest.raises(ConnectionResetError):
                receive(client, 1)
        program.stop()


# -- output and back-pressure


@scenario("numbers.py")
def numbers(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client:
            lines = receive(client, 1 << 20).split(b"\n")[:-1]
            assert [int(line) for line in lines] == list(range(len(lines)))
            assert len(lines) > 50_000
        program.stop()


@scenario("send.py")
def send(source: Source) -> None:
    content = bytes(range(256)) * 4096
    (source.directory / "file").write_bytes(content)
    with source.started(arguments=["file"]) as program:
        with program.connect() as client:
            assert receive_all(client) == content
        program.stop()


@scenario("journal.py")
def journal(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client:
            client.sendall(b"set a 1\n")
            assert receive(client, 7) == b"stored\n"
            assert (source.directory / "journal.txt").read_bytes() == b"set a 1\n"
        program.stop()


# -- work that blocks


@scenario("sums.py")
def sums(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client:
            client.sendall(b"10\n")
            assert receive(client, 3) == b"45\n"
            client.sendall(b"ten\n")
            assert receive(client, 13) == b"not a number\n"
        program.stop()


@scenario("lines.py")
def lines(source: Source) -> None:
    def hashed(word: bytes) -> bytes:
        return hashlib.scrypt(word, salt=b"pepper", n=1024, r=8, p=1, dklen=16).hex().encode() + b"\n"

    with source.started() as program:
        with program.connect() as client:
            client.sendall(b"one\ntwo\nthr")
            client.sendall(b"ee\n")
            assert receive(client, 99) == b"".join(map(hashed, (b"one", b"two", b"three")))
        program.stop()


@scenario("typed.py")
def typed(source: Source) -> None:
    reading, writing = os.pipe()
    with source.started(
        ("sys.stdin", str(reading)), ("os.read(0,", f"os.read({reading},"), descriptors=[reading]
    ) as program:
        os.close(reading)
        with program.connect() as client:
            client.sendall(b"here I am")
            os.write(writing, b"typed\n")
            assert receive(client, 6) == b"typed\n"
        os.close(writing)
        program.stop()


@scenario("upload.py")
def upload(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client:
            client.sendall(b"hello")
            assert receive(client, 5) == b"hello"
            client.sendall(b"upload\n")
            assert receive(client, 9) == b"go ahead\n"
            client.sendall(bytes(1_000_000))
            client.shutdown(socket.SHUT_WR)
            assert receive_all(client) == b"1000000 bytes received\n"
        program.stop()


# -- datagrams


@scenario("relay.py")
def relay(source: Source) -> None:
    with source.started() as program:
        with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
            for client in (one, other):
                client.settimeout(TIMEOUT)
                client.connect(tuple(program.addrs[0]))
            one.send(b"here I am")
            other.send(b"hello")
            assert one.recv(100) == b"hello"
            one.send(b"and you")
            assert other.recv(100) == b"and you"
        program.stop()


# -- TLS


def certified(directory: Path) -> ssl.SSLContext:
    """Write a certificate for localhost there; returns what a client needs to verify it."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    issued.private_key_pem.write_to_path(str(directory / "key.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


@scenario("secure.py")
def secure(source: Source) -> None:
    context = certified(source.directory)
    with source.started() as program:
        with program.connect() as plain, context.wrap_socket(plain, server_hostname="localhost") as client:
            expected = f"{client.version()}, you asked for localhost\n".encode()
            assert receive(client, len(expected)) == expected
            client.sendall(b"hello")
            assert receive(client, 5) == b"hello"
        program.stop()


@scenario("starttls.py")
def starttls(source: Source) -> None:
    context = certified(source.directory)
    with source.started() as program:
        with program.connect() as plain:
            plain.sendall(b"hello")
            assert receive(plain, 12) == b"plain: hello"
            plain.sendall(b"STARTTLS\n")
            assert receive(plain, 9) == b"go ahead\n"
            with context.wrap_socket(plain, server_hostname="localhost") as client:
                expected = f"this is {client.version()}\n".encode()
                assert receive(client, len(expected)) == expected
                client.sendall(b"hello")
                assert receive(client, 16) == b"encrypted: hello"
        program.stop()


# -- connecting and proxies


@scenario("proxy.py")
def proxy(source: Source) -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        address = f"127.0.0.1:{target.getsockname()[1]}"
        with source.started(("127.0.0.1:8080", address)) as program:
            with program.connect() as client, target.accept()[0] as accepted:
                request, reply = b"request" * 500_000, b"reply" * 500_000
                accepted.settimeout(TIMEOUT)
                sender = threading.Thread(target=client.sendall, args=(request,))
                sender.start()
                assert receive(accepted, len(request)) == request
                sender.join()
                accepted.sendall(reply)
                accepted.close()
                assert receive_all(client) == reply
            with program.connect() as client, target.accept()[0] as accepted:  # the end of a request is passed on
                accepted.settimeout(TIMEOUT)
                client.sendall(b"request")
                client.shutdown(socket.SHUT_WR)
                assert receive_all(accepted) == b"request"
                accepted.sendall(b"reply")
                accepted.close()
                assert receive_all(client) == b"reply"
            assert program.stop() == ""
    with source.started(("127.0.0.1:8080", address)) as program:  # nobody listens there any more
        with program.connect() as client:
            assert receive_all(client) == b""
        assert "Connection refused" in program.stop()


# -- loops and workers


@scenario("many.py")
def many(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client:
            client.sendall(b"hello")
            assert re.fullmatch(rb"\d+: hello", client.recv(100))
        program.stop()


@scenario("counting.py")
def counting(source: Source) -> None:
    with source.started() as program:
        with program.connect() as one, program.connect() as other:
            replies = []
            for client in (one, other):
                client.sendall(b"hello")
                replies.append(client.recv(100))
        assert replies == [b"loop 0, 1 requests in all\n", b"loop 1, 2 requests in all\n"]
        program.stop()


# -- beside asyncio


@scenario("beside.py")
def beside(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client:
            client.sendall(b"hello world")
            assert receive(client, 11) == b"Hello World"
        assert program.stop(signal.SIGINT) == "stopped\n"


# -- coming from elsewhere


@scenario("shout.py")
def shout(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client:
            assert receive(client, 6) == b"hello\n"
            client.sendall(b"one\ntw")
            client.sendall(b"o\n")
            assert receive(client, 8) == b"ONE\nTWO\n"
        program.stop()
    with source.started(("idle_timeout=60", "idle_timeout=0.1")) as program:
        with program.connect() as client:
            assert receive_all(client) == b"hello\n"
        program.stop()


@scenario("shout_asyncio.py")
@scenario("shout_twisted.py")
def shout_elsewhere(source: Source) -> None:
    """Run the same program on another loop, which has no way to say which port it has."""
    port = free_port()
    file = source.directory / "shout.py"
    code = source.code.replace("interface=localhost", "interface=127.0.0.1").replace('"localhost"', '"127.0.0.1"')
    file.write_text(code.replace("5000", str(port)))
    with subprocess.Popen([sys.executable, str(file)], stderr=subprocess.PIPE) as process:
        try:
            with connected(port) as client:
                assert receive(client, 6) == b"hello\n"
                client.sendall(b"one\ntw")
                client.sendall(b"o\n")
                assert receive(client, 8) == b"ONE\nTWO\n"
            assert process.poll() is None
        finally:
            process.kill()


def connected(port: int) -> socket.socket:
    """A connection, as soon as somebody listens."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), TIMEOUT)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


# -- the servers


@scenario("test_remember.py")
@scenario("test_session.py")
def passes(source: Source) -> None:
    """Run by pytest, which finds the fixture by itself."""
    file = source.directory / "test_example.py"
    file.write_text(source.code)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        os.devnull,
        "--rootdir",
        ".",
        "-p",
        "no:cacheprovider",
        str(file),
    ]
    done = subprocess.run(
        command, cwd=source.directory, capture_output=True, text=True, timeout=2 * TIMEOUT, check=False
    )
    assert re.search(r"^[12] passed in ", done.stdout, re.MULTILINE), done.stdout + done.stderr


@scenario("visits.py")
def visits(source: Source) -> None:
    for expected in ("visit 1\n", "visit 2\n"):
        with source.started() as program:
            assert program.finish() == expected


@scenario("own_settings.py")
def own_settings(source: Source) -> None:
    with source.started() as program:
        assert program.finish() == "-NOAUTH Authentication required.\n+OK +PONG\n"


@scenario("leaderboard.py")
def leaderboard(source: Source) -> None:
    with source.started(("port=7000", "port=0")) as program:
        with program.connect() as client:
            client.sendall(b"SCORE ada 3\r\nSCORE bob 5\r\nLEADERS 1\r\nSCORE ada x\r\n")
            expected = b":3\r\n:5\r\n*1\r\n$3\r\nbob\r\n-ERR points are a whole number\r\n"
            assert receive(client, len(expected)) == expected
        program.stop()


@scenario("counter.py")
def counter(source: Source) -> None:
    (source.directory / "public").mkdir()
    (source.directory / "public/a.txt").write_text("a file")
    with source.started() as program:
        for path, end in ((b"/count", b'{"visits": 1}'), (b"/a.txt", b"a file")):
            with program.connect() as client:
                client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path)
                assert receive_all(client).endswith(b"\r\n\r\n" + end)
        program.stop()


@scenario("report.py")
def report(source: Source) -> None:
    (source.directory / "public").mkdir()
    with source.started() as program:
        with program.connect() as client:
            client.sendall(b"GET /report HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n")
            head, _, content = receive_all(client).partition(b"\r\n\r\n")
        assert b"Content-Encoding: gzip" in head
        assert gzip.decompress(content).endswith(b'{"number": 999, "square": 998001}]')
        program.stop()


@scenario("notes.py")
def notes(source: Source) -> None:
    (source.directory / "public").mkdir()

    def ask(program: Program, request: bytes, content: bytes = b"") -> bytes:
        head = b"%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (request, len(content))
        with program.connect() as client:
            client.sendall(head + content)
            return receive_all(client)

    with source.started() as program:
        for text in (b"milk", b"bread"):
            assert ask(program, b"POST /notes", b'{"text": "%b"}' % text).startswith(b"HTTP/1.1 201 ")
        assert ask(program, b"GET /notes?q=il").endswith(b'\r\n\r\n["milk"]')
        assert ask(program, b"POST /notes", b"milk").startswith(b"HTTP/1.1 400 ")
        assert ask(program, b"PUT /notes").startswith(b"HTTP/1.1 405 ")
        program.stop()


@scenario("multiplexed.py")
def multiplexed(source: Source) -> None:
    (source.directory / "public").mkdir()
    (source.directory / "public/index.html").write_text("hello")
    context = certified(source.directory)
    with source.started() as program:
        address = f"https://localhost:{program.addrs[0][1]}/"
        with httpx.Client(http2=True, verify=context, timeout=TIMEOUT) as client:
            answer = client.get(address)
        assert (answer.http_version, answer.text) == ("HTTP/2", "hello")
        program.stop()


# -- in production


@scenario("watched.py")
def watched(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client, program.connect(1) as watcher:
            client.sendall(b"hello")
            assert receive(client, 5) == b"hello"
            report = json.loads(receive_all(watcher))
            assert (report["accepted"], report["connections"]) == (2, 2)
        program.stop()


@scenario("telemetry.py")
def telemetry(source: Source) -> None:
    with source.started() as program:
        with program.connect() as client:
            client.sendall(b"hello")
            assert receive(client, 5) == b"hello"
            printed = program.stop()
        found = {
            metric["name"]: metric["data"]["data_points"][0]["value"]
            for resource in json.loads(printed)["resource_metrics"]
            for scope in resource["scope_metrics"]
            for metric in scope["metrics"]
        }
        assert found["bytes_in"] == found["bytes_out"] == 5
