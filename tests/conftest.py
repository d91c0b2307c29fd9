"""Common parts of all tests. With ``EVIO_REQUIRE_TOOLS=1`` a test that lacks a tool fails instead of being skipped."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.core.harness import Clock

# What is run behind a shell's "&" ignores SIGINT, and so would the programs that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# It hides what the interpreter finds at exit in the buffers of a program whose output could not be written.
os.environ.pop("PYTHONUNBUFFERED", None)

# Without bytecode the programs that the tests start, some hundreds, would each spend most of their time on compiling.
# The same holds for each of the processes that run them.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ.setdefault(
        "PYTHONPYCACHEPREFIX", str(Path(__file__).parent.parent / "build" / "pycache")
    )


@pytest.hookimpl(optionalhook=True)  # tests of an sdist may be run without pytest-xdist
def pytest_xdist_auto_num_workers() -> int:
    """Three processes more than CPUs: a part of most tests' time is spent waiting for a server or a client, but each
    process collects all tests, which takes seconds."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cpus + 3


def pytest_collection_finish() -> None:
    """Take what was collected, some hundred thousand objects, out of the sight of all later garbage collections."""
    gc.freeze()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The servers' clock, which the test may put forward. It comes before the servers."""
    return Clock(monkeypatch)


MISSING = re.compile(r"not installed|could not import|No module named")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("EVIO_REQUIRE_TOOLS") == "1" and MISSING.search(str(report.longrepr)):
        report.outcome = "failed"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and os.environ.get("EVIO_REQUIRE_TOOLS") == "1" and MISSING.search(str(report.longrepr)):
        report.outcome = "failed"
    return report
