"""Answers that come later: their order, what waits for them, and their end."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from evio_core import Aborted, Action, Conn, Deferred, Events, Handler, Options, OutputLimitExceeded, Reply

from .conftest import Variant
from .harness import TIMEOUT, Recorder, connect, eventually, exchange, receive, receive_all, running
from .test_faults import reset


class Asked:
    """A server whose answers are given by the test."""

    def __init__(self, variant: Variant | None = None, **options: Any) -> None:
        self.record = Recorder()
        self.answers: list[Deferred] = []
        loops = variant.num_loops if variant is not None else 1
        self.events = Events(
            opened=lambda conn: self.record.add("opened", conn),
            data=self.data,
            closed=lambda conn, error: self.record.add("closed", error),
            num_loops=loops,
            options=Options(**options),
        )

    def data(self, conn: Conn, chunk: bytes) -> Reply:
        if chunk == b"now":
            self.record.add("now")
            return chunk
        answer = Deferred()
        self.answers.append(answer)
        self.record.add("asked", chunk)
        return answer

    def wait(self, count: int = 1) -> Deferred:
        self.record.wait_for("asked", count)
        return self.answers[count - 1]


def test_the_answer_is_sent_when_it_is_there(variant: Variant) -> None:
    asked = Asked(variant)
    with running(asked.events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        for number in (1, 2):
            peer.sendall(b"x")
            asked.wait(number).set_result(b"answer %d" % number)
            assert receive(peer, 8) == b"answer %d" % number


def test_one_that_is_there_already_is_an_answer_like_any_other(variant: Variant) -> None:
    def data(conn: Conn, chunk: bytes) -> Deferred:
        answer = Deferred()
        answer.set_result(chunk)
        return answer

    events = Events(data=data, num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        for _ in range(3):
            assert exchange(peer, b"hello", 5) == b"hello"


def test_no_more_input_is_read_before_the_answer(variant: Variant) -> None:
    if variant.poller == "asyncio" and variant.transport == "tls":
        pytest.skip("uvloop's transports read on within a turn")
    asked = Asked(variant)
    with running(asked.events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"one")
        first = asked.wait()
        peer.sendall(b"two")
        settled = threading.Event()
        run.server.call(settled.set)
        assert settled.wait(TIMEOUT)
        assert len(asked.answers) == 1
        before = run.server.stats().total.turns
        time.sleep(0.05)
        assert run.server.stats().total.turns - before <= 1  # it waits, and does not spin
        first.set_result(b"1")
        asked.wait(2).set_result(b"2")
        assert receive(peer, 2) == b"12"


def test_answers_keep_the_order_of_their_requests(variant: Variant) -> None:
    asked = Asked(variant, max_deferred=3)
    with running(asked.events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        for number, word in enumerate((b"one", b"two"), 1):
            peer.sendall(word)
            asked.wait(number)
        peer.sendall(b"now")
        asked.record.wait_for("now")
        conn: Conn = asked.record.wait_for("opened")[0][1]
        conn.write(b" thread")
        asked.answers[1].set_result(b"two ")
        peer.settimeout(0.05)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        peer.settimeout(TIMEOUT)
        asked.answers[0].set_result(b"one ")
        assert receive(peer, 18) == b"one two now thread"
        assert exchange(peer, b"now", 3) == b"now"


def test_several_answers_of_one_event(variant: Variant, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"<file>" * 10_000)
    answers = [Deferred() for _ in range(3)]

    def data(conn: Conn, chunk: bytes) -> bytes:
        conn.write(b"begin ")
        for answer in answers:
            conn.write(answer)
            conn.write(b" ")
        with open(tmp_path / "file", "rb") as file:
            conn.send_file(file, head=b"head ")
        return b" end"

    expected = b"begin 0 1 2 head " + b"<file>" * 10_000 + b" end"
    with running(Events(data=data, num_loops=variant.num_loops), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            peer.sendall(b"x")
            for number in (2, 0, 1):
                answers[number].set_result(b"%d" % number)
            assert receive(peer, len(expected)) == expected


@pytest.mark.parametrize("how", ["action", "method", "with output", "answer", "eof"])
def test_a_close_waits_for_the_answers(variant: Variant, how: str) -> None:
    if how == "eof" and variant.transport == "tls":
        pytest.skip("the end of TLS's input is that of its output")
    answer = Deferred()
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> Reply:
        conn.write(answer)
        record.add("asked")
        if how == "method":
            conn.close()
        if how == "with output":
            conn.close()
            return b" more"
        return Action.CLOSE if how == "action" else None

    events = Events(
        data=data, closed=lambda conn, error: record.add("closed", error), num_loops=variant.num_loops,
        options=Options(close_timeout=0.5),
    )  # fmt: skip
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        record.wait_for("asked")
        if how == "eof":
            peer.shutdown(socket.SHUT_WR)
        answer.set_result((b"answer", Action.CLOSE) if how == "answer" else b"answer")
        assert receive_all(peer) == b"answer" + (b" more" if how == "with output" else b"")
        assert record.wait_for("closed") == [("closed", None)]


def test_output_after_a_close_that_waits_is_dropped(variant: Variant) -> None:
    asked = Asked(variant)
    with running(asked.events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        answer = asked.wait()
        conn: Conn = asked.record.wait_for("opened")[0][1]
        conn.close()
        turned = threading.Event()
        conn.write(b"in the same turn perhaps"[:0])
        for _ in range(2 * variant.num_loops + 2):  # the turn of the close is over
            run.server.call(lambda: None)
        run.server.call(turned.set)
        assert turned.wait(TIMEOUT)
        answer.set_result(b"answer")
        assert receive_all(peer) == b"answer"
        conn.write(b"too late")


def test_shutdown_write_waits_for_the_answers_and_input_goes_on(variant: Variant) -> None:
    if variant.transport == "tls":
        pytest.skip("the client does not send behind its peer's end")
    record = Recorder()
    answer = Deferred()

    def data(conn: Conn, chunk: bytes) -> Reply:
        record.add("data", chunk)
        if chunk != b"x":
            return None
        conn.shutdown_write()
        return answer

    events = Events(data=data, closed=lambda conn, error: record.add("closed", error), num_loops=variant.num_loops)
    events.options = Options(max_deferred=2)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        record.wait_for("data", 1)
        peer.sendall(b"y")
        record.wait_for("data", 2)
        answer.set_result(b"answer")
        assert receive_all(peer) == b"answer"
        peer.sendall(b"z")
        record.wait_for("data", 3)
        peer.close()
        record.wait_for("closed")


def test_detach_waits_for_the_answers(variant: Variant) -> None:
    answer = Deferred()
    socks: list[socket.socket] = []
    record = Recorder()

    def detached(conn: Conn, sock: socket.socket) -> None:
        socks.append(sock)
        record.add("detached")

    def data(conn: Conn, chunk: bytes) -> Reply:
        record.add("asked")
        return answer, Action.DETACH

    with running(Events(data=data, detached=detached, num_loops=variant.num_loops), variant.address) as run:
        with connect(run.addr, variant.trust) as peer:
            peer.sendall(b"x")
            record.wait_for("asked")
            peer.sendall(b"for the new owner")
            answer.set_result(b"answer")
            assert receive(peer, 6) == b"answer"
            record.wait_for("detached")
            with socks[0] as sock:
                assert receive(sock, 17) == b"for the new owner"


@pytest.mark.parametrize("how", ["set_exception", "wrong type", "nested"])
def test_a_failed_answer_is_a_failed_callback(variant: Variant, how: str, caplog: pytest.LogCaptureFixture) -> None:
    asked = Asked(variant)
    with running(asked.events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        answer = asked.wait()
        if how == "set_exception":
            answer.set_exception(ZeroDivisionError("later"))
        else:
            answer.set_result(Deferred() if how == "nested" else "text")
        error = asked.record.wait_for("closed")[0][1]
        assert isinstance(error, ZeroDivisionError if how == "set_exception" else TypeError)
    assert "callback failed" in caplog.text


def test_a_cancelled_answer_says_nothing(variant: Variant) -> None:
    asked = Asked(variant, max_deferred=2)
    with running(asked.events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        for number in (1, 2):
            peer.sendall(b"x")
            asked.wait(number)
        assert asked.answers[0].cancel()
        asked.answers[1].set_result(b"second")
        assert receive(peer, 6) == b"second"


@pytest.mark.parametrize("how", ["abort", "reset", "stop"])
def test_answers_are_cancelled_with_their_connection(variant: Variant, how: str) -> None:
    untold = variant.poller in ("asyncio", "select") or (variant.poller, variant.transport) == ("kqueue", "unix")
    if how == "reset" and untold:
        pytest.skip("it tells nothing of a peer while nothing is read or written")
    asked = Asked(variant, max_deferred=0)
    with running(asked.events, variant.address, stop_timeout=0) as run:
        peer = connect(run.addr, variant.trust)
        for number in (1, 2):
            peer.sendall(b"x")
            asked.wait(number)
        conn: Conn = asked.record.wait_for("opened")[0][1]
        if how == "abort":
            conn.abort()
        elif how == "reset":
            reset(peer)
        else:
            run.server.stop(0)
        error = asked.record.wait_for("closed")[0][1]
        assert how != "abort" or isinstance(error, Aborted)
        assert all(answer.cancelled() for answer in asked.answers)
        asked.answers[0].set_result(b"to nobody")  # who answers need not know
        asked.answers[1].set_exception(LookupError())
        peer.close()


def test_a_peer_that_leaves_cancels_the_answer_for_which_it_is_paused(tmp_path: Path) -> None:
    """With nothing to be read, epoll tells of a reset, and of a unix socket that was closed."""
    asked = Asked()
    with running(asked.events, "tcp://127.0.0.1:0", f"unix://{tmp_path}/s") as run:
        for number, addr in enumerate(run.server.addrs, 1):
            peer = connect(addr)
            peer.sendall(b"x")
            answer = asked.wait(number)
            reset(peer) if number == 1 else peer.close()
            asked.record.wait_for("closed", number)
            assert answer.cancelled()


def test_a_half_closed_peer_gets_its_answer() -> None:
    asked = Asked()
    with running(asked.events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x")
        peer.shutdown(socket.SHUT_WR)
        asked.wait().set_result(b"answer")
        assert receive_all(peer) == b"answer"


def test_what_waits_behind_an_answer_is_bounded(poller: str) -> None:
    asked = Asked(max_pending=100_000, high_water=50_000, low_water=0)
    with running(asked.events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x")
        asked.wait()
        conn: Conn = asked.record.wait_for("opened")[0][1]
        for _ in range(3):
            conn.write(bytes(40_000))
        assert isinstance(asked.record.wait_for("closed")[0][1], OutputLimitExceeded)


def test_a_peer_that_pipelines_behind_an_answer_is_read_no_further_than_the_mark(poller: str) -> None:
    """``data`` answers the rest at once, and all of that waits."""
    record = Recorder()
    answer = Deferred()

    def data(conn: Conn, chunk: bytes) -> Reply:
        record.add("data", len(chunk))
        return answer if len(record.names()) == 1 else bytes(len(chunk))

    options = Options(max_deferred=0, high_water=100_000, low_water=10_000)
    with running(Events(data=data, options=options), "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x")
        record.wait_for("data")
        sender = threading.Thread(target=peer.sendall, args=(bytes(16 << 20),), daemon=True)
        sender.start()
        quiet = [0, time.monotonic()]

        def is_quiet() -> bool:
            count = len(record.names())
            if count != quiet[0]:
                quiet[:] = count, time.monotonic()
            return time.monotonic() - quiet[1] > 0.1

        assert eventually(is_quiet)
        assert sum(event[1] for event in record.events) < 1_000_000
        answer.set_result(b"y")
        assert len(receive(peer, 1 + (16 << 20))) == 1 + (16 << 20)
        sender.join(TIMEOUT)


# -- threads


def test_run_in_thread(variant: Variant) -> None:
    class Squares(Handler):
        def data(self, chunk: bytes) -> Future[bytes]:
            return self.conn.run_in_thread(self.square, int(chunk))

        def square(self, number: int) -> bytes:
            return b"%d in %s" % (number * number, threading.current_thread().name[:9].encode())

    with running(Events(handlers={variant.address: Squares}, num_loops=variant.num_loops)) as run:
        with connect(run.addr, variant.trust) as peer:
            assert exchange(peer, b"12", 16) == b"144 in evio-work"
    assert eventually(lambda: not any(each.name.startswith("evio-work") for each in threading.enumerate()))


def test_threads_work_at_the_same_time_and_the_order_is_kept(variant: Variant) -> None:
    """The first of eight waits for the last."""
    barrier = threading.Barrier(8)

    def work(number: int) -> bytes:
        barrier.wait(TIMEOUT)
        return b"%d" % number

    def data(conn: Conn, chunk: bytes) -> None:
        for each in chunk.split():
            conn.write(conn.run_in_thread(work, int(each)))

    events = Events(data=data, num_loops=variant.num_loops, options=Options(max_deferred=8))
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        assert exchange(peer, b"0 1 2 3 4 5 6 7", 8) == b"01234567"


def test_num_threads_bounds_them_and_what_has_not_begun_is_cancelled() -> None:
    begun: list[int] = []
    release = threading.Event()

    def work(number: int) -> bytes:
        begun.append(number)
        release.wait(TIMEOUT)
        return b"%d" % number

    def data(conn: Conn, chunk: bytes) -> None:
        for number in range(5):
            conn.write(conn.run_in_thread(work, number))

    record = Recorder()
    events = Events(data=data, closed=lambda conn, error: record.add("closed"), num_threads=2)
    with running(events, "tcp://127.0.0.1:0") as run:
        peer = connect(run.addr)
        peer.sendall(b"x")
        assert eventually(lambda: len(begun) == 2)
        reset(peer)
        record.wait_for("closed")
        release.set()
    assert sorted(begun) == [0, 1]


def test_any_executors_future_is_an_answer() -> None:
    with ThreadPoolExecutor(1) as pool:
        events = Events(data=lambda conn, chunk: pool.submit(chunk.upper))
        with running(events, "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
            assert exchange(peer, b"hello", 5) == b"HELLO"


def test_a_datagram_is_answered_later(poller: str) -> None:
    def data(conn: Conn, chunk: bytes) -> Reply:
        return conn.run_in_thread(chunk.upper) if chunk == b"thread" else Deferred()

    with running(Events(data=data), "udp://127.0.0.1:0") as run:
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.settimeout(TIMEOUT)
            peer.sendto(b"never answered", run.addr)
            peer.sendto(b"thread", run.addr)
            assert peer.recv(100) == b"THREAD"


def test_a_dialled_connection_may_be_written_an_answer_that_comes_later(poller: str) -> None:
    answer = Deferred()
    with socket.create_server(("127.0.0.1", 0)) as listener, running(Events(), "tcp://127.0.0.1:0") as run:
        listener.settimeout(TIMEOUT)
        conn = run.server.dial(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        conn.write(answer)
        conn.write(b" behind")
        conn.close()
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(TIMEOUT)
            answer.set_result(os.urandom(0) or b"later")
            assert receive_all(accepted) == b"later behind"


@pytest.mark.parametrize("count", [0, -1, 1.5])
def test_num_threads_is_checked(count: Any) -> None:
    with pytest.raises(ValueError, match="num_threads"):
        with running(Events(num_threads=count), "tcp://127.0.0.1:0"):
            pass
