"""Settings and times that mean nothing are refused where they are given, with what is allowed."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from evio_core import Action, Conn, Events, LoadBalance, Options, Server, serve, stdlib, workers

from .harness import Recorder, connect, receive, running

NONSENSE_TIMES = (-1, -0.001, math.nan, -math.inf)


@pytest.mark.parametrize("name", ["tcp_keepalive", "idle_timeout", "handshake_timeout", "close_timeout"])
@pytest.mark.parametrize("value", NONSENSE_TIMES)
def test_options_refuse_times_that_are_none(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be 0 or more, not {re.escape(repr(value))}$"):
        Options(**{name: value})  # type: ignore[arg-type]  # whichever it is


@pytest.mark.parametrize("name", ["high_water", "low_water", "max_pending", "send_buffer", "receive_buffer"])
def test_options_refuse_sizes_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be 0 or more, not -1$"):
        Options(**{name: -1})  # type: ignore[arg-type]
    for value in (1.5, "1k", None):
        with pytest.raises(TypeError, match=f"^{name} must be a whole number, not "):
            Options(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"idle_timeout": "5"}, "idle_timeout must be a number, not '5'"),
        ({"tcp_nodelay": "no"}, "tcp_nodelay must be True or False, not 'no'"),
    ],
)
def test_options_refuse_values_of_another_kind(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        Options(**options)


def test_options_refuse_marks_that_cross() -> None:
    with pytest.raises(ValueError, match=r"^low_water \(11\) must not exceed high_water \(10\)$"):
        Options(low_water=11, high_water=10)
    assert Options(low_water=10, high_water=10).low_water == 10


@pytest.mark.parametrize(
    "name, value", [("tcp_keepalive", 32768.0), ("tcp_keepalive", math.inf), ("send_buffer", 1 << 31)]
)
def test_options_refuse_what_the_kernel_would(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be .* at most, which is the kernel's limit, not {value}$"):
        Options(**{name: value})  # type: ignore[arg-type]


def in_callback(action: Callable[[Conn], object]) -> BaseException:
    """Return the error of doing something with a connection in its callback; the connection lives on."""
    record = Recorder()

    def data(conn: Conn, chunk: bytes) -> bytes:
        try:
            action(conn)
        except Exception as error:
            record.add("error", error)
        return chunk

    with running(Events(data=data), "tcp://127.0.0.1:0") as run, connect(run.addr) as peer:
        peer.sendall(b"x")
        assert receive(peer, 1) == b"x"
        error: BaseException = record.wait_for("error")[0][1]
        return error


@pytest.mark.parametrize("value", NONSENSE_TIMES)
def test_set_deadline_refuses_times_that_are_none(value: float) -> None:
    error = in_callback(lambda conn: conn.set_deadline(value))
    assert isinstance(error, ValueError)
    assert str(error) == f"a deadline must be 0 or more, not {value!r}"


def test_configure_refuses_what_options_refuse_and_changes_nothing() -> None:
    error = in_callback(lambda conn: conn.configure(idle_timeout=math.nan, tcp_nodelay=False))
    assert (type(error), str(error)) == (ValueError, "idle_timeout must be 0 or more, not nan")
    error = in_callback(lambda conn: conn.configure(no_such_option=1))
    assert isinstance(error, TypeError)
    assert "no_such_option" in str(error)


@pytest.mark.parametrize("value", NONSENSE_TIMES)
def test_stop_and_dial_refuse_times_that_are_none(value: float) -> None:
    with running(Events(data=lambda conn, chunk: chunk), "tcp://127.0.0.1:0") as run:
        with pytest.raises(ValueError, match=r"^timeout must be 0 or more, not "):
            run.server.stop(value)
        with pytest.raises(ValueError, match=r"^timeout must be 0 or more, not "):
            run.server.dial("tcp://127.0.0.1:1", timeout=value)
        with connect(run.addr) as peer:  # neither stopped nor counted as a first stop
            peer.sendall(b"x")
            assert receive(peer, 1) == b"x"


SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"num_loops": -2}, "num_loops must be -1 (one per CPU) or 1 and more, not -2"),
    ({"num_loops": 0}, "num_loops must be -1 (one per CPU) or 1 and more, not 0"),
    ({"num_loops": 1.5}, "num_loops must be a whole number, not 1.5"),
    ({"load_balance": "random"}, "load_balance must be one of LoadBalance.RANDOM, "),
    ({"shutdown_timeout": math.nan}, "shutdown_timeout must be 0 or more, not nan"),
    ({"shutdown_timeout": -1.0}, "shutdown_timeout must be 0 or more, not -1.0"),
]


@pytest.mark.parametrize("settings, message", SETTINGS)
def test_settings_of_the_server_are_checked_before_anything_is_bound(settings: dict[str, Any], message: str) -> None:
    def serving(server: Server) -> Action:
        raise AssertionError("it serves")

    events = Events(serving=serving, **settings)
    unbindable = "tcp://192.0.2.1:1"  # of TEST-NET-1 (RFC 5737): binding it would be another error
    ways: list[Callable[[], object]] = [
        lambda: serve(events, unbindable),
        lambda: asyncio.run(stdlib.serve(events, unbindable)),
        lambda: workers(2, events, unbindable),
    ]
    for way in ways:
        with pytest.raises((TypeError, ValueError)) as raised:
            way()
        assert str(raised.value).startswith(message)


@pytest.mark.parametrize("strategy", list(LoadBalance))
def test_every_strategy_is_allowed(strategy: LoadBalance) -> None:
    serve(Events(serving=lambda server: Action.SHUTDOWN, load_balance=strategy, num_loops=2), "tcp://127.0.0.1:0")
