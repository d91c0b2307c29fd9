"""Guarantee 2: output leaves in order, whole and once, whatever else happens to the connection."""

from __future__ import annotations

import os
import random
import socket
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evio_core import Action, Conn, Events, Options

from .conftest import Variant
from .harness import TIMEOUT, Recorder, Running, connect, receive, receive_all, running

steps = st.lists(
    st.one_of(
        st.tuples(st.just("return"), st.integers(0, 300_000)),
        st.tuples(st.just("write"), st.integers(0, 300_000)),
        st.tuples(st.just("wake"), st.integers(1, 5)),
        st.tuples(st.just("thread"), st.integers(0, 100_000)),
    ),
    max_size=12,
)


def expected_of(script: list[tuple[str, int]]) -> bytes:
    return b"".join(numbered(index, size) for index, (what, size) in enumerate(script) if what != "wake")


def numbered(index: int, size: int) -> bytes:
    """``size`` bytes that could be no others."""
    return (b"%04d" % index * (size // 4 + 1))[:size]


def play(poller: str, script: list[tuple[str, int]], pauses: list[int]) -> bytes:
    """Have a connection do what the script says, one step a wake, and read it slowly."""
    monkey = pytest.MonkeyPatch()
    monkey.setenv("EVIO_POLLER", poller)

    def data(conn: Conn, chunk: bytes) -> Any:
        if chunk:
            conn.context = iter(enumerate(script))
        found = next(conn.context, None)
        if found is None:
            return Action.CLOSE
        index, (what, size) = found
        output = numbered(index, size)
        if what == "thread":
            thread = threading.Thread(target=conn.write, args=(output,))
            thread.start()
            thread.join()
        elif what == "wake":
            for _ in range(size):
                conn.wake()
            return None
        conn.wake()
        if what == "write":
            conn.write(output[: size // 2])
            conn.write(bytearray(output[size // 2 :]))
        return output if what == "return" else None

    events = Events(data=data, options=Options(send_buffer=4096))
    with running(events, "tcp://127.0.0.1:0") as run:
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(TIMEOUT)
        peer.connect(run.addr)
        with peer:
            peer.sendall(b"go")
            received = b""
            for size in pauses:
                received += peer.recv(size)
            received += receive_all(peer)
    monkey.undo()
    return received


@pytest.mark.parametrize("poller", ["epoll", "select", "asyncio"])
@given(script=steps, pauses=st.lists(st.integers(1, 5000), max_size=5))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
def test_output_is_what_was_returned_and_written_in_that_order(
    poller: str, script: list[tuple[str, int]], pauses: list[int]
) -> None:
    assert play(poller, script, pauses) == expected_of(script)


# -- echo of random sizes


def echo_randomly(run: Running, variant: Variant, seed: int) -> None:
    """Messages of 0 to 1 MiB, several under way, compared byte for byte."""
    choose = random.Random(seed)
    with connect(run.addr, variant.trust) as peer:
        for _ in range(3):
            sizes = [choose.choice((0, 1, 100, 16 * 1024, 65_537, 1 << 20)) for _ in range(3)]
            sizes = [choose.randint(size // 2, size) for size in sizes]
            message = b"".join(os.urandom(size) for size in sizes)
            if variant.transport == "tls":  # a session is one thread's: in portions that fit the kernel's buffers
                for at in range(0, len(message), 65_536):
                    part = message[at : at + 65_536]
                    peer.sendall(part)
                    assert receive(peer, len(part)) == part
                continue
            sender = threading.Thread(target=peer.sendall, args=(message,))
            sender.start()
            assert receive(peer, len(message)) == message
            sender.join(TIMEOUT)


def test_random_sizes_come_back_byte_for_byte(variant: Variant) -> None:
    failures: list[BaseException] = []
    record = Recorder()

    def client(seed: int) -> None:
        try:
            echo_randomly(run, variant, seed)
        except BaseException as error:
            failures.append(error)

    events = Events(
        data=lambda conn, chunk: chunk, closed=lambda conn, error: record.add("closed"), num_loops=variant.num_loops
    )
    with running(events, variant.address) as run:
        clients = [threading.Thread(target=client, args=(seed,)) for seed in range(6)]
        for each in clients:
            each.start()
        for each in clients:
            each.join(2 * TIMEOUT)
        assert not any(each.is_alive() for each in clients)
        record.wait_for("closed", len(clients))
        stats = run.server.stats()
    assert not failures
    assert stats.total("bytes_in") == stats.total("bytes_out") > 0
