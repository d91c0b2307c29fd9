"""Guarantee 2: output leaves in order, whole and once, whatever else happens to the connection."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evio_core import Action, Conn, Events, Options
from tests.extent import examples

from .conftest import POLLERS, Certificates, Variant, use_poller
from .harness import TIMEOUT, Recorder, connect, exchange, receive, receive_all, running

EACH_POLLER = pytest.mark.parametrize("poller", POLLERS)

OUTPUT = ("return", "write", "pieces", "thread", "file")
"""Steps that send something; a ``pause`` and a ``wake`` come between them and must not change anything."""

steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(OUTPUT), st.one_of(st.integers(0, 200), st.integers(0, 150_000))),
        st.tuples(st.sampled_from(["wake", "pause"]), st.integers(1, 5)),
    ),
    max_size=10,
)
ends = st.sampled_from(["action", "method", "thread", "with output", "peer"])


def numbered(index: int, size: int) -> bytes:
    """``size`` bytes that could be no others."""
    return (b"%04d" % index * (size // 4 + 1))[:size]


def expected_of(script: list[tuple[str, int]]) -> bytes:
    return b"".join(numbered(index, size) for index, (what, size) in enumerate(script) if what in OUTPUT)


def in_thread(function: Callable[..., object], *arguments: Any) -> None:
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


@dataclass
class Player:
    """Has a connection do what a script says, one step an event, each event a wake by the one before."""

    script: list[tuple[str, int]]
    end: str

    def data(self, conn: Conn, chunk: bytes) -> Any:
        conn.context = iter(enumerate(self.script))
        return self.woken(conn)

    def woken(self, conn: Conn) -> Any:
        steps: Iterator[tuple[int, tuple[str, int]]] | None = conn.context
        if steps is None:
            return None  # a wake that was one too many
        found = next(steps, None)
        if found is None:
            conn.context = None
            return self.finish(conn)
        index, (what, size) = found
        conn.resume_reading()
        output = self.send(conn, what, numbered(index, size)) if what in OUTPUT else None
        if what == "pause":
            conn.pause_reading()
        for _ in range(size if what == "wake" else 1):
            conn.wake()  # not before `send`: what another thread writes would come after what the wake does
        return output

    def send(self, conn: Conn, what: str, output: bytes) -> bytes | None:
        if what == "return":
            return output
        if what == "thread":
            in_thread(conn.write, output)
        elif what == "file":
            with tempfile.TemporaryFile() as file:
                file.write(output)
                file.flush()
                conn.send_file(file)
        elif what == "pieces":
            for start in range(0, len(output), 10_000):
                conn.write(bytearray(output[start : start + 10_000]))
        else:
            conn.write(output)
        return None

    def finish(self, conn: Conn) -> Any:
        if self.end == "action":
            return Action.CLOSE
        if self.end == "with output":
            return b"last", Action.CLOSE
        if self.end == "thread":
            in_thread(conn.close)
        elif self.end == "method":
            conn.close()
            conn.write(b"of the same callback")
        else:
            return b"end"  # and the peer closes
        return None


def play(player: Player, address: str, trust: str | None, pauses: list[int]) -> bytes:
    """Return the bytes that a peer receives which reads a little, then the rest, through the smallest buffers there
    are."""
    events = Events(data=player.data, woken=player.woken, options=Options(send_buffer=4096))
    last = {"with output": b"last", "peer": b"end", "method": b"of the same callback"}.get(player.end, b"")
    expected = expected_of(player.script) + last
    with running(events, address) as run:
        with small_client(run.addr, trust) as peer:
            peer.sendall(b"go")
            received = b""
            for size in pauses:
                received += (
                    peer.recv(min(size, len(expected) - len(received))) if len(received) < len(expected) else b""
                )
            received += receive(peer, len(expected) - len(received))
            if player.end != "peer":
                received += receive_all(peer)
    assert received == expected
    return received


def small_client(addr: Any, trust: str | None) -> socket.socket:
    sock = socket.socket(socket.AF_INET if isinstance(addr, tuple) else socket.AF_UNIX)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(TIMEOUT)
    sock.connect(addr)
    if trust is None:
        return sock
    return ssl.create_default_context(cafile=trust).wrap_socket(sock, server_hostname="localhost")


@EACH_POLLER
@pytest.mark.parametrize("transport", ["tcp", "unix", "tls"])
@given(script=steps, end=ends, pauses=st.lists(st.integers(1, 5000), max_size=5))
@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
def test_output_is_what_was_returned_and_written_in_that_order(
    transport: str,
    poller: str,
    certificates: Certificates,
    script: list[tuple[str, int]],
    end: str,
    pauses: list[int],
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, tempfile.TemporaryDirectory() as directory:
        use_poller(monkeypatch, poller)
        address = {
            "tcp": "tcp://127.0.0.1:0",
            "unix": f"unix://{directory}/s",
            "tls": f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}",
        }[transport]
        play(Player(script, end), address, certificates.ca if transport == "tls" else None, pauses)


def test_writes_of_several_threads_are_whole_and_each_threads_own_are_in_order(variant: Variant) -> None:
    """While the connection echoes and wakes: nobody's output is inside that of another."""
    record = Recorder()
    size, count, writers = 3000, 100, 4

    def opened(conn: Conn) -> None:
        record.add("opened", conn)

    def data(conn: Conn, chunk: bytes) -> bytes | None:
        return message(b"E", 0)

    def message(who: bytes, number: int) -> bytes:
        return (b"%s%05d" % (who, number)).ljust(size, b".")

    def write(conn: Conn, who: bytes) -> None:
        for number in range(count):
            conn.write(message(who, number))
            conn.wake()

    events = Events(opened=opened, data=data, num_loops=variant.num_loops, options=Options(send_buffer=4096))
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        conn: Conn = record.wait_for("opened")[0][1]
        threads = [threading.Thread(target=write, args=(conn, b"%d" % who)) for who in range(writers)]
        for each in threads:
            each.start()
        received = exchange(peer, b"echo", (writers * count + 1) * size)
        for each in threads:
            each.join(TIMEOUT)
        conn.close()
        assert receive_all(peer) == b""
    seen: dict[bytes, int] = {}
    for start in range(0, len(received), size):
        who = received[start : start + 1]
        assert received[start : start + size] == message(who, seen.get(who, 0))
        seen[who] = seen.get(who, 0) + 1
    assert seen == {b"E": 1, **{b"%d" % who: count for who in range(writers)}}


def test_a_blocked_connection_keeps_the_order_of_everything_that_comes_meanwhile(variant: Variant) -> None:
    """A wake, input, another thread and a close while output waits: Go's evio lost or repeated some of it."""
    record = Recorder()
    first = os.urandom(8 << 20)  # more than the kernel takes

    def data(conn: Conn, chunk: bytes) -> Any:
        record.add("data", chunk, conn.pending)
        if chunk == b"begin":
            conn.context = conn
            record.add("conn", conn)
            return first
        return b"<" + chunk + b">"

    def woken(conn: Conn) -> bytes:
        record.add("data", b"", conn.pending)
        return b"<wake>"

    # Input goes on above the mark, so that it, too, comes while output waits.
    events = Events(data=data, woken=woken, num_loops=variant.num_loops, options=Options(high_water=1 << 30))
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"begin")
        conn: Conn = record.wait_for("conn")[0][1]
        conn.wake()
        record.wait_for("data", 2)
        peer.sendall(b"input")
        record.wait_for("data", 3)
        conn.write(b"<thread>")
        conn.close()
        assert receive_all(peer) == first + b"<wake><input><thread>"
    pending = [each[2] for each in record.events if each[0] == "data"]
    assert pending[0] == 0
    assert min(pending[1:]) > 0  # output was waiting all the time
