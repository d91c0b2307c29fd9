"""Messages of random sizes come back byte for byte, on every combination of the matrix; the seeds are fixed."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable

import pytest

from evio_core import Conn, Events, Options

from .conftest import POLLERS, Variant, use_poller
from .harness import TIMEOUT, Recorder, Running, connect, exchange, running

BYTES = random.Random(1).randbytes((1 << 20) + 4096)
"""The bytes from which messages are cut."""

SIZES = (0, 1, 100, 16 * 1024, 65_537, 1 << 20)
LARGEST_DATAGRAM = 65_507
"""Bytes that fit into an IPv4 packet besides its header and that of UDP."""


def messages(seed: int, count: int) -> list[bytes]:
    """``count`` random cuts of 0 to 1 MiB; half of them exactly of a size that is a limit somewhere."""
    choose = random.Random(seed)
    found = []
    for _ in range(count):
        size = choose.choice(SIZES)
        size = size if choose.random() < 0.5 else choose.randint(size // 2, size)
        start = choose.randrange(4096)
        found.append(BYTES[start : start + size])
    return found


def in_parallel(count: int, client: Callable[[int], object]) -> None:
    """Have clients with the seeds below ``count`` at work at the same time; raise what one of them raises."""
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            client(seed)
        except BaseException as error:
            failures.append(error)

    clients = [threading.Thread(target=work, args=(seed,)) for seed in range(count)]
    for each in clients:
        each.start()
    for each in clients:
        each.join(2 * TIMEOUT)
    assert not any(each.is_alive() for each in clients)
    if failures:
        raise failures[0]


def echo(run: Running, trust: str | None, seed: int) -> int:
    """Several messages at once, sent and received at the same time; then the next. Returns the bytes sent."""
    total = 0
    with connect(run.addr, trust) as peer:
        for _ in range(3):
            message = b"".join(messages(seed, 3))
            assert exchange(peer, message, len(message)) == message
            total += len(message)
            seed += 100
    return total


def test_many_clients_get_their_own_bytes_back(variant: Variant) -> None:
    record = Recorder()
    events = Events(
        data=lambda conn, chunk: chunk, closed=lambda conn, error: record.add("closed"), num_loops=variant.num_loops
    )
    with running(events, variant.address) as run:
        in_parallel(5, lambda seed: record.add("sent", echo(run, variant.trust, seed)))
        record.wait_for("closed", 5)
    stats = run.server.stats()
    sent = sum(size for _, size in record.wait_for("sent", 5))
    assert stats.total.bytes_in == stats.total.bytes_out == sent > 1 << 20


@pytest.mark.parametrize("way", ["wake", "thread", "pre_write", "drained", "reuse_input_buffer", "small buffers"])
@pytest.mark.parametrize("poller", POLLERS)
def test_whatever_way_the_output_takes(way: str, poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, poller)

    def data(conn: Conn, chunk: bytes | memoryview) -> bytes | None:
        if way == "thread":
            writer = threading.Thread(target=conn.write, args=(bytes(chunk),))
            writer.start()
            writer.join()
            return None
        if way == "wake":  # half now, half in the event of the wake
            half = len(chunk) // 2
            first = woken(conn) + bytes(chunk[:half])
            conn.context = bytes(chunk[half:])
            conn.wake()
            return first
        return bytes(chunk)

    def woken(conn: Conn) -> bytes:
        waiting: bytes = conn.context or b""
        conn.context = b""
        return waiting

    events = Events(data=data, woken=woken)
    if way == "pre_write":
        events.pre_write = lambda: None
    elif way == "drained":
        events.drained = lambda conn: None
    elif way == "reuse_input_buffer":
        events.options = Options(reuse_input_buffer=True)
    elif way == "small buffers":
        events.options = Options(send_buffer=4096, receive_buffer=4096, high_water=8192, low_water=100)
    with running(events, "tcp://127.0.0.1:0") as run:
        in_parallel(2, lambda seed: echo(run, None, 1000 + seed))


# -- datagrams


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("scheme", ["udp4", "udp6"])
@pytest.mark.parametrize("num_loops", [1, 2, 5])
def test_datagrams_of_every_size_come_back_whole(
    num_loops: int, scheme: str, poller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_poller(monkeypatch, poller)
    choose = random.Random(num_loops)
    sizes = [0, 1, 1472, 1473, LARGEST_DATAGRAM, *(choose.randint(0, LARGEST_DATAGRAM) for _ in range(40))]
    events = Events(data=lambda conn, chunk: chunk, num_loops=num_loops)
    host = "127.0.0.1" if scheme == "udp4" else "[::1]"
    with running(events, f"{scheme}://{host}:0") as run, datagram_client(run) as peer:
        for size in sizes:  # one at a time: what no socket buffer has to hold cannot be dropped
            peer.send(BYTES[:size])
            assert peer.recv(65_536) == BYTES[:size]


@pytest.mark.parametrize("poller", POLLERS)
def test_many_peers_get_their_own_datagrams_back(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, poller)

    def client(seed: int) -> None:
        choose = random.Random(seed)
        with datagram_client(run) as peer:
            for number in range(30):
                # Together they always fit into the server's receive buffer.
                message = b"%d/%d " % (seed, number) + choose.randbytes(choose.randrange(4000))
                peer.send(message)
                assert peer.recv(65_536) == message

    with running(Events(data=lambda conn, chunk: chunk), "udp://127.0.0.1:0") as run:
        in_parallel(8, client)
    stats = run.server.stats()  # at the end: bytes are counted after they were sent
    assert stats.total.datagrams_in == stats.total.datagrams_out == 8 * 30


def datagram_client(run: Running) -> socket.socket:
    """A UDP socket that is connected to the server."""
    peer = socket.socket(socket.AF_INET if len(run.addr) == 2 else socket.AF_INET6, socket.SOCK_DGRAM)
    peer.settimeout(TIMEOUT)
    peer.connect(run.addr)
    return peer
