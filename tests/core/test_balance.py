"""Guarantee 14: which loop gets a connection, exactly."""

from __future__ import annotations

import collections
import random
import socket
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_core import Action, Conn, Events, LoadBalance
from evio_core.loop.balance import make_balancer
from tests.extent import examples

from .conftest import POLLERS, use_poller
from .harness import Recorder, Running, connect, receive, running


class Counted:
    def __init__(self) -> None:
        self.open_connections = 0


def place(strategy: LoadBalance, loops: int, count: int) -> list[int]:
    counted = [Counted() for _ in range(loops)]
    balance = make_balancer(strategy, counted)
    order = []
    for _ in range(count):
        index = balance()
        counted[index].open_connections += 1
        order.append(index)
    return order


def test_round_robin_goes_in_turns() -> None:
    assert place(LoadBalance.ROUND_ROBIN, 3, 7) == [0, 1, 2, 0, 1, 2, 0]


def test_least_connections_takes_the_lowest_index_of_equals() -> None:
    assert place(LoadBalance.LEAST_CONNECTIONS, 3, 4) == [0, 1, 2, 0]


@given(st.integers(1, 8), st.lists(st.integers(0, 7), max_size=60))
@settings(max_examples=examples(100), deadline=None)
def test_least_connections_never_leaves_a_loop_with_fewer(loops: int, closes: list[int]) -> None:
    counted = [Counted() for _ in range(loops)]
    balance = make_balancer(LoadBalance.LEAST_CONNECTIONS, counted)
    for close in closes:
        if counted[close % loops].open_connections:
            counted[close % loops].open_connections -= 1
        index = balance()
        assert counted[index].open_connections == min(each.open_connections for each in counted)
        counted[index].open_connections += 1


def test_random_uses_every_loop_about_equally(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evio_core.loop.balance.random", random.Random(7))
    counts = collections.Counter(place(LoadBalance.RANDOM, 4, 4000))
    assert all(850 < counts[index] < 1150 for index in range(4))


def test_a_single_loop_needs_no_decision() -> None:
    assert place(LoadBalance.RANDOM, 1, 3) == [0, 0, 0]


# -- in a server


def index_server(num_loops: int, strategy: LoadBalance) -> tuple[Events, Recorder]:
    record = Recorder()
    events = Events(
        opened=lambda conn: b"%d" % conn.loop_index,
        closed=lambda conn, error: record.add("closed", conn.loop_index),
        num_loops=num_loops,
        load_balance=strategy,
    )
    return events, record


def connect_to_loop(run: Running) -> tuple[socket.socket, int]:
    peer = connect(run.addr)
    return peer, int(receive(peer, 1))


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("num_loops", [1, 2, 5])
@pytest.mark.parametrize("strategy", [LoadBalance.ROUND_ROBIN, LoadBalance.LEAST_CONNECTIONS])
def test_connections_in_turn_give_exact_counts(
    strategy: LoadBalance, num_loops: int, poller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_poller(monkeypatch, poller)
    events, _ = index_server(num_loops, strategy)
    with running(events, "tcp://127.0.0.1:0") as run:
        peers = [connect_to_loop(run) for _ in range(3 * num_loops + 1)]
        counts = collections.Counter(index for _, index in peers)
        assert counts == {index: 3 + (index == 0) for index in range(num_loops)}
        assert [loop.connections for loop in run.server.stats().loops] == [counts[i] for i in range(num_loops)]
        for peer, _ in peers:
            peer.close()


@pytest.mark.parametrize("poller", ["epoll", "asyncio"])
def test_least_connections_fills_what_closed_connections_leave(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, poller)
    events, record = index_server(3, LoadBalance.LEAST_CONNECTIONS)
    with running(events, "tcp://127.0.0.1:0") as run:
        peers = [connect_to_loop(run) for _ in range(9)]
        for count, (peer, _) in enumerate([each for each in peers if each[1] == 1], 1):
            peer.close()
            record.wait_for("closed", count)
        new = [connect_to_loop(run) for _ in range(3)]
        assert [index for _, index in new] == [1, 1, 1]
        for peer, _ in peers + new:
            peer.close()


def test_random_places_every_connection_on_some_loop() -> None:
    events, _ = index_server(3, LoadBalance.RANDOM)
    with running(events, "tcp://127.0.0.1:0") as run:
        peers = [connect_to_loop(run) for _ in range(60)]
        assert {index for _, index in peers} == {0, 1, 2}  # missing one has a probability of 1 in 10**10
        for peer, _ in peers:
            peer.close()


def test_a_connection_stays_on_its_loop_and_its_thread() -> None:
    threads: dict[int, set[int]] = collections.defaultdict(set)

    def data(conn: Conn, chunk: bytes) -> bytes:
        threads[conn.loop_index].add(threading.get_ident())
        return b"%d" % conn.loop_index

    with running(Events(data=data, num_loops=3), "tcp://127.0.0.1:0") as run:
        peers = [connect(run.addr) for _ in range(6)]
        first = []
        for turn in range(4):
            for number, peer in enumerate(peers):
                peer.sendall(b"x")
                index = receive(peer, 1)
                if turn == 0:
                    first.append(index)
                assert index == first[number]
        for peer in peers:
            peer.close()
    assert sorted(threads) == [0, 1, 2]
    assert all(len(each) == 1 for each in threads.values())
    assert len(set.union(*threads.values())) == 3


@pytest.mark.parametrize("poller", POLLERS)
def test_reuseport_gives_each_loop_a_listening_socket(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, poller)
    events, _ = index_server(3, LoadBalance.LEAST_CONNECTIONS)
    with running(events, "tcp://127.0.0.1:0?reuseport=true") as run:
        port = run.addr[1]
        with open("/proc/net/tcp", encoding="ascii") as table:
            listening = [line for line in table if f"0100007F:{port:04X} 00000000:0000 0A" in line]
        assert len(listening) == 3
        peers = [connect_to_loop(run) for _ in range(90)]
        counts = collections.Counter(index for _, index in peers)
        assert len(counts) > 1  # the kernel hashes addresses and ports: all 90 in one has a chance of 1 in 3**89
        accepted = [loop.accepted for loop in run.server.stats().loops]
        assert accepted == [counts[index] for index in range(3)]  # each accepted its own
        for peer, _ in peers:
            peer.close()


def test_shutdown_from_a_loop_that_does_not_listen() -> None:
    def data(conn: Conn, chunk: bytes) -> Any:
        return Action.SHUTDOWN if conn.loop_index == 2 else None

    with running(Events(data=data, num_loops=3), "tcp://127.0.0.1:0") as run:
        peers = [connect(run.addr) for _ in range(3)]
        for peer in peers:
            peer.sendall(b"x")
        run.join()
        for peer in peers:
            peer.close()
