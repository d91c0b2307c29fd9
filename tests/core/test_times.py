"""Ticks, deadlines and time-outs."""

from __future__ import annotations

import itertools
import math
import threading
import time
from functools import partial
from typing import Any

import pytest

from evio_core import Action, CloseTimeout, Conn, DeadlineExceeded, Events, IdleTimeout, Options, SendTimeout, Server

from .conftest import Variant
from .harness import TIMEOUT, Clock, Recorder, connect, eventually, receive, receive_all, running


def test_ticks_come_after_serving_and_after_each_delay(variant: Variant) -> None:
    log: list[tuple[str, float]] = []

    def tick() -> Any:
        log.append(("tick", time.monotonic()))
        return 0.05 if len(log) < 4 else Action.SHUTDOWN

    def serving(server: Server) -> None:
        log.append(("serving", time.monotonic()))

    with running(Events(serving=serving, tick=tick, num_loops=variant.num_loops), variant.address) as run:
        run.join()
    assert [name for name, _ in log] == ["serving", "tick", "tick", "tick"]
    assert all(after - before >= 0.049 for (_, before), (_, after) in itertools.pairwise(log[1:]))


def test_none_ends_the_ticking(variant: Variant) -> None:
    record = Recorder()
    events = Events(tick=lambda: record.add("tick"), data=lambda conn, chunk: chunk, num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        record.wait_for("tick")
        for _ in range(20):
            peer.sendall(b"x")
            assert receive(peer, 1) == b"x"
    assert record.names() == ["tick"]


def test_a_tick_without_delay_starves_nobody(variant: Variant) -> None:
    events = Events(tick=lambda: 0.0, data=lambda conn, chunk: chunk, num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        for _ in range(50):
            peer.sendall(b"x")
            assert receive(peer, 1) == b"x"


def test_a_tick_may_give_delay_and_action() -> None:
    with running(Events(tick=lambda: (1.0, Action.SHUTDOWN)), "tcp://127.0.0.1:0") as run:
        run.join()


@pytest.mark.parametrize("reply", ["soon", -1.0, math.nan, math.inf, (1.0, "now"), (1.0,), Conn])
def test_a_tick_that_returns_nonsense_ends_the_server(reply: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"tick return(ed|s)"):
        with running(Events(tick=lambda: reply), "tcp://127.0.0.1:0") as run:
            run.join()


def test_a_tick_that_raises_ends_the_server_with_that_error(variant: Variant) -> None:
    def tick() -> Any:
        raise LookupError("in tick")

    with pytest.raises(LookupError, match="in tick"):
        with running(Events(tick=tick, num_loops=variant.num_loops), variant.address) as run:
            run.join()


# -- the end


def test_stopped_comes_once_and_last(variant: Variant) -> None:
    record = Recorder()
    events = Events(
        serving=lambda server: record.add("serving"),
        opened=lambda conn: record.add("opened"),
        closed=lambda conn, error: record.add("closed"),
        stopped=lambda: record.add("stopped"),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust):
        record.wait_for("opened")
        run.server.stop(0.0)
        run.join()
    assert record.names() == ["serving", "opened", "closed", "stopped"]


def test_stopped_comes_also_after_an_error_which_is_the_one_that_is_raised(variant: Variant) -> None:
    record = Recorder()

    def tick() -> Any:
        raise LookupError("in tick")

    def stopped() -> None:
        record.add("stopped")
        raise ValueError("in stopped")

    with pytest.raises(LookupError, match="in tick"):
        with running(Events(tick=tick, stopped=stopped, num_loops=variant.num_loops), variant.address) as run:
            run.join()
    assert record.names() == ["stopped"]


def test_what_stopped_raises_leaves_serve() -> None:
    def stopped() -> None:
        raise LookupError("in stopped")

    with pytest.raises(LookupError, match="in stopped"):
        with running(Events(stopped=stopped), "tcp://127.0.0.1:0"):
            pass


# -- time-outs


def test_an_idle_connection_is_ended_and_a_busy_one_is_not(variant: Variant, clock: Clock) -> None:
    record = Recorder()
    events = Events(
        opened=lambda conn: record.add("opened", conn),
        data=lambda conn, chunk: chunk,
        closed=lambda conn, error: record.add("closed", conn, error),
        options=Options(idle_timeout=600),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as busy:
        record.wait_for("opened")
        with connect(run.addr, variant.trust):
            conns = [conn for _, conn in record.wait_for("opened", 2)]
            for _ in range(3):
                assert "closed" not in record.names()
                clock.forward(250, *conns)  # a wake is no activity
                busy.sendall(b"x")
                assert receive(busy, 1) == b"x"
            [(_, conn, error)] = record.wait_for("closed")
            assert conn is conns[1]
            assert isinstance(error, IdleTimeout)
        busy.sendall(b"x")
        assert receive(busy, 1) == b"x"
    assert record.names().count("closed") == 2


def test_a_peer_that_sends_and_takes_nothing_is_reset(variant: Variant, clock: Clock) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> bytes:
        if not chunk:
            return b""
        record.add("data")
        return bytes(200_000)

    events = Events(
        opened=lambda conn: record.add("opened", conn),
        data=data,
        closed=lambda conn, error: record.add("closed", error),
        options=Options(send_timeout=600, min_send_rate=1 << 12, high_water=1 << 30, send_buffer=1 << 16),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as greedy:
        with connect(run.addr, variant.trust) as modest:
            conns = [conn for _, conn in record.wait_for("opened", 2)]
            for _ in range(40):  # 8 MB, of which the kernel takes a part
                asked = record.names().count("data")
                greedy.sendall(b"x")
                record.wait_for("data", asked + 1)
            for _ in range(3):
                modest.sendall(b"x")
                assert len(receive(modest, 200_000)) == 200_000
                clock.forward(301, *conns)
            [(_, error)] = record.wait_for("closed")
            assert isinstance(error, SendTimeout)
            assert "required" in str(error)
            with pytest.raises(OSError, match=r"reset|EOF"):
                while greedy.recv(1 << 20):
                    pass
                raise OSError("EOF: a unix socket knows no reset")
            modest.sendall(b"x")
            assert len(receive(modest, 200_000)) == 200_000


@pytest.mark.parametrize("scheme", ["tcp", "tcp-net"])
def test_a_peer_that_takes_enough_in_each_time_has_as_many_as_it_needs(scheme: str, clock: Clock) -> None:
    size, part = 16_000_000, 1_000_000
    record = Recorder()

    def opened(conn: Conn) -> bytes:
        record.add("opened", conn)
        return bytes(size)

    events = Events(
        opened=opened,
        closed=lambda conn, error: record.add("closed", error),
        options=Options(send_timeout=600, min_send_rate=500, send_buffer=1 << 16),
    )
    with running(events, f"{scheme}://127.0.0.1:0") as run, connect(run.addr) as peer:
        [(_, conn)] = record.wait_for("opened")
        assert eventually(lambda: conn.pending > 0)
        for _ in range(5):  # each time a multiple of what is required
            left = conn.pending - part // 2
            assert len(receive(peer, part)) == part
            assert eventually(partial(lambda left: conn.pending < left, left))
            clock.forward(601, conn)
            for _ in range(2):  # until it has looked at the clock: what is taken then counts for the next time
                turned = threading.Event()
                run.server.call(turned.set)
                assert turned.wait(TIMEOUT)
        assert conn.pending > 0
        assert len(receive(peer, size - 5 * part)) == size - 5 * part
        assert record.names() == ["opened"]


def test_a_deadline_ends_a_busy_connection_and_may_be_moved_and_taken_back(variant: Variant, clock: Clock) -> None:
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> bytes:
        if chunk == b"d":
            conn.set_deadline(900)
            conn.set_deadline(600)  # an earlier one counts
        elif chunk == b"c":
            conn.set_deadline(600)
            conn.set_deadline(None)
        return chunk

    events = Events(
        opened=lambda conn: record.add("opened", conn),
        data=data,
        closed=lambda conn, error: record.add("closed", error),
        num_loops=variant.num_loops,
    )
    with running(events, variant.address) as run:
        with connect(run.addr, variant.trust) as kept, connect(run.addr, variant.trust) as ended:
            kept.sendall(b"c")
            ended.sendall(b"d")
            assert receive(kept, 1) == b"c"
            assert receive(ended, 1) == b"d"
            conns = [conn for _, conn in record.wait_for("opened", 2)]
            for _ in range(2):
                ended.sendall(b"x")
                assert receive(ended, 1) == b"x"
                clock.forward(301, *conns)
            assert isinstance(record.wait_for("closed")[0][1], DeadlineExceeded)
            kept.sendall(b"x")
            assert receive(kept, 1) == b"x"


def test_a_peer_that_does_not_take_the_end_is_dropped_after_close_timeout() -> None:
    record = Recorder()
    events = Events(
        data=lambda conn, chunk: (bytes(32 << 20), Action.CLOSE),
        closed=lambda conn, error: record.add("closed", error),
        options=Options(close_timeout=0.2),
    )
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x")
        error = record.wait_for("closed")[0][1]
        assert isinstance(error, CloseTimeout)
        assert "not taken by the peer" in str(error)


def test_stop_gives_output_the_time_it_says_and_a_second_one_none() -> None:
    record = Recorder()
    events = Events(
        opened=lambda conn: bytes(32 << 20), closed=lambda conn, error: record.add("closed", error), shutdown_timeout=60
    )
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        receive(peer, 1)
        begin = time.monotonic()
        run.server.stop(0.3)
        run.join()
        assert time.monotonic() - begin > 0.25
        assert isinstance(record.wait_for("closed")[0][1], CloseTimeout)
    with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        receive(peer, 1)
        run.server.stop()
        run.server.stop()
        run.join()  # which does not wait for as long as shutdown_timeout


# -- other threads


def test_call_runs_on_loop_0_and_what_it_raises_is_logged(variant: Variant, caplog: pytest.LogCaptureFixture) -> None:
    record = Recorder()

    def fail() -> None:
        raise RuntimeError("in call")

    with running(Events(num_loops=variant.num_loops), variant.address) as run:
        import threading

        run.server.call(lambda: record.add("called", threading.get_ident()))
        run.server.call(fail)
        run.server.call(lambda: record.add("called", threading.get_ident()))
        calls = record.wait_for("called", 2)
    assert len({ident for _, ident in calls}) == 1
    assert "in call" in caplog.text


def test_wakes_from_other_threads_are_coalesced_and_none_is_lost(variant: Variant) -> None:
    record = Recorder()
    conns: list[Conn] = []

    def opened(conn: Conn) -> bytes:
        conns.append(conn)
        return b"+"

    events = Events(opened=opened, woken=lambda conn: record.add("woken"), num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        assert receive(peer, 1) == b"+"
        before = run.server.stats().total.turns
        for _ in range(10_000):
            conns[0].wake()
        record.wait_for("woken")
        count = record.names().count("woken")
        conns[0].wake()
        record.wait(lambda seen: len(seen) > count, "the last wake")
        assert run.server.stats().total.turns - before < 10_000


def test_writes_from_another_thread_arrive_in_order(variant: Variant) -> None:
    conns: list[Conn] = []

    def opened(conn: Conn) -> bytes:
        conns.append(conn)
        return b"+"

    with running(Events(opened=opened, num_loops=variant.num_loops), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            assert receive(peer, 1) == b"+"
            for number in range(2000):
                conns[0].write(b"%d\n" % number)
            conns[0].close()
            assert receive_all(peer) == b"".join(b"%d\n" % number for number in range(2000))
        conns[0].write(b"too late")
        conns[0].wake()
        conns[0].close()
        conns[0].abort()
