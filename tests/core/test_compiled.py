"""The build that is tested: ``make test-compiled`` is the whole suite over the other one."""

from __future__ import annotations

import os
from importlib.metadata import distribution

import pytest

from evio_core.buffers import output
from evio_core.loop import loop
from evio_core.stream import connection, plain_channel
from evio_core.tls import channel, session

COMPILED = os.environ.get("EVIO_COMPILED") == "1"


@pytest.mark.parametrize("module", [loop, connection, plain_channel, output, channel, session])
def test_the_build_that_is_meant_is_the_one_that_is_tested(module: object) -> None:
    compiled = not str(getattr(module, "__file__", "")).endswith(".py")
    assert compiled == COMPILED


@pytest.mark.parametrize(
    "function",
    [
        loop.Loop.run,
        connection.Connection.write,
        plain_channel.PlainChannel.send,
        output.Output.append,
        channel.TLSChannel.send_now,
        session.TLSSession.receive,
    ],
)
def test_it_is_compiled_code_that_runs(function: object) -> None:
    """A compiled module that left its functions to the interpreter would pass the test above."""
    assert hasattr(function, "__code__")
    assert (type(function).__name__ == "cython_function_or_method") == COMPILED


def test_the_wheel_says_whether_it_is_for_one_platform() -> None:
    wheel = distribution("evio-core").read_text("WHEEL") or ""
    assert ("-none-any" not in wheel) == COMPILED
