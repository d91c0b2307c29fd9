"""Callbacks that hold up a loop are named in the log, if that is wanted."""

from __future__ import annotations

import functools
import re
import threading
import time
from typing import Any

import pytest

from evio_core import Conn, Events, EvioError, Handler, Server, serve
from evio_core.slow import VARIABLE, watched

from .harness import TIMEOUT, connect, receive, running


def slow_data(conn: Conn, chunk: bytes) -> bytes:
    if chunk == b"slow":
        time.sleep(0.03)
    if chunk == b"bad":
        time.sleep(0.03)
        raise RuntimeError("on purpose")
    return chunk


def test_a_slow_callback_is_named_with_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    with running(Events(data=slow_data, slow_callback=0.02), "tcp://127.0.0.1:0") as served:
        with connect(served.addr) as peer:
            for word in (b"fast", b"slow"):
                peer.sendall(word)
                assert receive(peer, 4) == word
    assert len(caplog.messages) == 1
    named = r"data: \S+\.test_slow\.slow_data held up its loop for [0-9.]+ ms, for <.*127\.0\.0\.1.*>"
    assert re.fullmatch(named, caplog.messages[0])


def test_the_method_of_a_handler_is_named(caplog: pytest.LogCaptureFixture) -> None:
    class Slow(Handler):
        def data(self, chunk: bytes) -> bytes:
            return slow_data(self.conn, chunk)

    with running(Events(handlers={"tcp://127.0.0.1:0": Slow}, slow_callback=0.02)) as served:
        with connect(served.addr) as peer:
            for word in (b"fast", b"slow"):
                peer.sendall(word)
                assert receive(peer, 4) == word
    assert len(caplog.messages) == 1
    assert re.match(r"data: \S+Slow\.data held up its loop for [0-9.]+ ms, for <.*127\.0\.0\.1", caplog.messages[0])


def test_one_that_fails_is_named_as_well(caplog: pytest.LogCaptureFixture) -> None:
    with running(Events(data=slow_data, slow_callback=0.02), "tcp://127.0.0.1:0") as served:
        with connect(served.addr) as peer:
            peer.sendall(b"bad")
            assert peer.recv(1) == b""
    assert any("slow_data held up" in message for message in caplog.messages)
    assert "on purpose" in caplog.text


def test_calls_of_other_threads_are_timed(caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()

    def held_up() -> None:
        time.sleep(0.03)
        done.set()

    with running(Events(slow_callback=0.02), "tcp://127.0.0.1:0") as served:
        served.server.call(functools.partial(held_up))
        assert done.wait(TIMEOUT)
    assert "held_up held up its loop for" in caplog.text


def test_the_environment_does_it_for_a_program_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, "0.02")

    class Ticker:
        def __call__(self) -> None:
            time.sleep(0.03)

    events = Events(data=lambda conn, chunk: chunk, tick=Ticker())
    with running(events, "tcp://127.0.0.1:0") as served, connect(served.addr) as peer:
        peer.sendall(b"x")
        assert receive(peer, 1) == b"x"
    assert "tick: " in caplog.text
    assert "Ticker held up its loop" in caplog.text


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf"])
def test_an_environment_that_is_no_time(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(EvioError, match=f"^{VARIABLE} must be a number of seconds from 0, not '{value}'$"):
        serve(Events(), "tcp://127.0.0.1:0")


def test_nothing_is_wrapped_while_it_is_off() -> None:
    def serving(server: Server) -> Any:
        return None

    events = Events(data=slow_data, serving=serving)
    assert watched(events, 0.0) is events
    assert watched(events, 1.0).serving is serving
