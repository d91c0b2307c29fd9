"""Which of the two builds is tested: ``make test-compiled`` is the whole suite over the other one."""

from __future__ import annotations

import os

import pytest

from evio_core import connection, loop, output


@pytest.mark.parametrize("module", [loop, connection, output])
def test_the_build_that_is_meant_is_the_one_that_is_tested(module: object) -> None:
    compiled = not str(getattr(module, "__file__", "")).endswith(".py")
    assert compiled == (os.environ.get("EVIO_COMPILED") == "1")
