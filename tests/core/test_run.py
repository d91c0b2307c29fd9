"""``python -m evio_core``: a program's handler from the command line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evio_core import __main__ as program
from evio_core.events import LoopStats, Stats

from .harness import TIMEOUT, connect, receive

SERVER = """
from evio_core import Events, Handler

class Echo(Handler):
    def data(self, chunk):
        return b"1:" + chunk

class NotOne:
    pass

def data(conn, chunk):
    return chunk.upper()

events = Events(data=data)
own = Events(handlers={"tcp://127.0.0.1:0": Echo})
number = 5

def make():
    return Events(data=lambda conn, chunk: chunk[::-1])

def handler():
    return Echo()
"""


class Program:
    """A running program and what it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = 0

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def listening(self) -> None:
        """Wait for the line of a server, or of the next worker."""
        found = re.match(r"listening on tcp://127\.0\.0\.1:(\d+)", line := self.line())
        assert found, line
        self.port = int(found[1])

    def ask(self, question: bytes, size: int) -> bytes:
        with connect(("127.0.0.1", self.port)) as peer:
            peer.sendall(question)
            return receive(peer, size)

    def ask_until(self, question: bytes, answer: bytes) -> None:
        """Ask new connections until the answer is the wanted one: a worker that is replaced still takes some."""
        for _ in range(10_000):
            if self.ask(question, len(answer)) == answer:
                return
        raise AssertionError("never answered so")


@contextlib.contextmanager
def started(directory: Path, *flags: str) -> Iterator[Program]:
    command = [sys.executable, "-m", "evio_core", "tcp://127.0.0.1:0", *flags]
    # A module that is as long as before and changed within the same second has the bytecode of the one before.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield Program(process)
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "broken.py").write_text("import nosuch\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "answer"), [("Echo", b"1:hello"), ("handler", b"1:hello"), ("events", b"HELLO"), ("make", b"olleh")]
)
def test_what_can_be_named(directory: Path, name: str, answer: bytes) -> None:
    with started(directory, "--handler", f"server:{name}") as running:
        running.listening()
        assert running.ask(b"hello", len(answer)) == answer


@pytest.mark.skipif(sys.platform == "win32", reason="this system cannot fork")
def test_workers_and_loops(directory: Path) -> None:
    with started(directory, "--handler", "server:Echo", "--workers", "2", "--loops", "2") as running:
        running.listening()
        running.listening()
        assert running.ask(b"x", 3) == b"1:x"


@pytest.mark.skipif(sys.platform == "win32", reason="this system cannot fork")
def test_sighup_replaces_the_workers_by_ones_that_import_afresh(directory: Path) -> None:
    with started(directory, "--handler", "server:Echo", "--workers", "1") as running:
        running.listening()
        assert running.ask(b"x", 3) == b"1:x"
        (directory / "server.py").write_text(SERVER.replace("1:", "2:"))
        running.process.send_signal(signal.SIGHUP)
        running.listening()
        running.ask_until(b"x", b"2:x")


def test_reload_serves_what_was_changed_and_keeps_what_worked(directory: Path) -> None:
    pytest.importorskip("watchfiles")
    with started(directory, "--handler", "server:Echo", "--reload") as running:
        running.listening()
        assert running.ask(b"x", 3) == b"1:x"
        (directory / "server.py").write_text("class Echo(\n")
        running.process.send_signal(signal.SIGHUP)
        assert running.process.stderr is not None
        while "SyntaxError" not in running.process.stderr.readline():
            pass
        assert running.ask(b"x", 3) == b"1:x"
        while "the old ones stay" not in running.process.stderr.readline():
            pass
        assert running.process.stdout is not None
        changed = False
        while not changed:  # by the watcher alone, which may not be there yet
            (directory / "server.py").write_text(SERVER.replace("1:", "2:"))
            changed = bool(select.select([running.process.stdout], [], [], 1.0)[0])
        running.listening()
        running.ask_until(b"x", b"2:x")


def test_reload_waits_for_a_program_that_can_be_imported(directory: Path) -> None:
    pytest.importorskip("watchfiles")
    with started(directory, "--handler", "broken:Echo", "--reload") as running:
        assert running.line() == "waiting for a change"
        (directory / "broken.py").write_text(SERVER)
        running.process.send_signal(signal.SIGHUP)
        running.listening()
        running.ask_until(b"x", b"1:x")


@pytest.mark.parametrize("name", ["Echo", "events"])
def test_a_trace_has_a_line_for_each_event(directory: Path, name: str) -> None:
    with started(directory, "--handler", f"server:{name}", "--trace") as running:
        running.listening()
        with connect(("127.0.0.1", running.port)) as peer:
            peer.sendall(b"a\x1b")
            receive(peer, 4 if name == "Echo" else 2)
            where = peer.getsockname()
        returned = r"b'1:a\x1b'" if name == "Echo" else r"b'A\x1b'"
        assert running.line() == f"#1 {where} opened()"
        assert running.line() == rf"#1 {where} data(b'a\x1b') -> {returned}"
        while not (line := running.line()).startswith(f"#1 {where} closed()"):
            assert "eof()" in line


def test_counters_are_logged(directory: Path) -> None:
    with started(directory, "--handler", "server:Echo", "--stats", "0.01") as running:
        running.listening()
        assert running.process.stderr is not None
        line = running.process.stderr.readline()
        assert re.search(r" INFO 0 connections, 0\.0 accepted/s, 0 B/s in, 0 B/s out, [0-9.,]+ turns/s\n", line)


def test_the_line_of_counters() -> None:
    before = Stats([LoopStats(bytes_in=1000), LoopStats()])
    now = Stats(
        [LoopStats(connections=2, accepted=5, bytes_in=21000, datagrams_in=5), LoopStats(connections=1, turns=50)]
    )
    expected = "3 connections, 0.5 accepted/s, 2,000 B/s in, 0 B/s out, 5.0 turns/s, 0.5 datagrams/s"
    assert program.describe(before, now, 10.0) == expected


BAD_USAGE: list[tuple[list[str], str]] = [
    ([], "the following arguments are required: --handler"),
    (["--handler", "server"], "--handler takes module:Name, such as server:Echo, not 'server'"),
    (["--handler", "server.py:Echo"], "--handler takes a module, not a file: server:Echo"),
    (["--handler", "server:Ecko"], "server has no 'Ecko'; did you mean Echo?"),
    (["--handler", "server:Ecko", "--workers", "2"], "server has no 'Ecko'; did you mean Echo?"),
    (["--handler", "server:number"], "server:number is 5; it has to be a Handler class, Events, or a function"),
    (["--handler", "server:NotOne"], "it has to be a Handler class, Events, or a function"),
    (["--handler", "server:own"], "server:own has addresses of its own (Events.handlers): give it to serve()"),
    (["--handler", "nosuch:Echo"], "there is no module 'nosuch' here or among what is installed"),
    (["tcp://127.0.0.1:0", "--handler", "server:Echo"], "tcp://127.0.0.1:0 is given twice"),
    (["--handler", "server:Echo", "htp://x"], "unknown scheme 'htp'; did you mean tcp?"),
    (["--handler", "server:Echo", "--relod"], "unknown flag --relod; did you mean --reload?"),
    (["--handler", "server:Echo", "--loops", "x"], "--loops: 'x' is not a number from 0 to 9999"),
]

EACH_IN_TURN = """
import contextlib, io, json, sys
from evio_core.__main__ import main
ended = []
for flags in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            status = main(["tcp://127.0.0.1:0", *flags])
        except SystemExit as error:
            status = error.code
    ended.append([status, said.getvalue()])
print(json.dumps(ended))
"""
"""One process for all rows, which import a program each."""


def test_bad_usage_is_one_line_and_status_2(directory: Path) -> None:
    command = [sys.executable, "-c", EACH_IN_TURN, json.dumps([flags for flags, _ in BAD_USAGE])]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert done.stderr == ""
    for (status, error), (flags, text) in zip(json.loads(done.stdout), BAD_USAGE, strict=True):
        assert (status, error.count("\n")) == (2, 1), (flags, error)
        assert error.startswith("python -m evio_core: "), flags
        assert text in error, flags


def test_the_status_of_bad_usage_is_that_of_the_process(directory: Path) -> None:
    command = [sys.executable, "-m", "evio_core", "tcp://127.0.0.1:0", "--handler", "server:Ecko"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "python -m evio_core: server has no 'Ecko'; did you mean Echo?\n"


@pytest.mark.parametrize("flags", [[], ["--workers", "2"]])
def test_an_error_in_the_program_is_shown_once_from_where_the_program_begins(directory: Path, flags: list[str]) -> None:
    command = [sys.executable, "-m", "evio_core", "tcp://127.0.0.1:0", "--handler", "broken:Echo", *flags]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    first, file, *_, last = done.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert file == f'  File "{directory}/broken.py", line 1, in <module>'
    assert last == "ModuleNotFoundError: No module named 'nosuch'"
    assert done.stderr.count("Traceback") == 1


def test_an_address_in_use_is_one_line_and_status_1(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "evio_core", address, "--handler", "server:Echo"]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Address already in use" in done.stderr
