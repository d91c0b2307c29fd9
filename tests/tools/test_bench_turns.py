"""Turns: each server has as many, its CPU time is its own, and an error is that of the server that made it."""

from __future__ import annotations

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("tools.bench runs on Linux only", allow_module_level=True)

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.bench import procfs
from tools.bench.markdown import by_workload
from tools.bench.report import as_json
from tools.bench.results import Outcome, Result
from tools.bench.run import run, steps
from tools.bench.server import BenchError, Peer, Server
from tools.bench.suite import REQUEST_METRICS, Group, Settings, Suite, Workload
from tools.bench.traffic import Load, Run
from tools.bench.turns import take_turns

CODE = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); "


def peer(name: str, code: str = "time.sleep(60)") -> Peer:
    return Peer(name, lambda port, _: [sys.executable, "-c", CODE + code, str(port)])


def sent(batches: int) -> Run:
    return Run(batches, 0.5, [0.001] * batches)


@contextmanager
def idle(_server: Server, _settings: Settings) -> Iterator[Load]:
    yield Load(lambda: sent(2), 10)


def workload(
    load: Callable[..., object] = idle, peers: tuple[Peer, ...] = (peer("ours"), peer("theirs")), key: str = "work"
) -> Workload:
    return Workload(
        key=key,
        title="some work",
        metrics=REQUEST_METRICS,
        peers=peers,
        load=load,  # type: ignore[arg-type]
        group=Group("works", "all works"),
        label=key,
    )


def suite(*workloads: Workload) -> Suite:
    return Suite("test", "a test", "ours", "theirs", ("work",), (), workloads, ())


def test_turns_alternate_and_cpu_time_is_that_of_each_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """One takes 40 µs for a turn of 20 requests and 10 between turns, the other 100."""
    spent = {1: 0.0, 2: 0.0}
    order = []

    def turn(pid: int) -> Run:
        order.append(pid)
        spent[pid] += 40e-6 if pid == 1 else 100e-6
        spent[1] += 5e-6
        return sent(2 if len(order) <= 8 else 0)

    monkeypatch.setattr(procfs, "cpu_seconds", spent.__getitem__)
    monkeypatch.setattr(procfs, "settled", lambda read, pid: read(pid))
    servers = [Server(name, pid, 0, Path()) for name, pid in (("ours", 1), ("theirs", 2))]
    loads = {server: Load(lambda pid=server.pid: turn(pid), 10) for server in servers}  # type: ignore[misc]
    turns = take_turns(loads, seconds=60)
    assert order == [1, 2] * 4 + [1]
    assert turns["ours"].counts == [20] * 4 + [0]
    assert turns["ours"].costs() == pytest.approx([2.5e-6] * 4)
    assert turns["theirs"].costs()[:3] == pytest.approx([5e-6] * 3)
    assert turns["theirs"].figures() == pytest.approx(
        {"cpu": 5.0, "p50": 1.0, "p99": 1.0, "p999": 1.0, "rate": 80 / 2.0}
    )


def test_turns_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def turn() -> Run:
        time.sleep(0.01)
        return sent(1)

    monkeypatch.setattr(procfs, "settled", lambda read, pid: read(pid))
    loads = {Server(name, os.getpid(), 0, Path()): Load(turn) for name in "ab"}
    turns = take_turns(loads, seconds=0.05)
    assert len(turns["a"].counts) == len(turns["b"].counts) <= 5


def test_servers_that_take_turns_are_one_step() -> None:
    plan = list(steps([workload()], ["ours", "theirs", "absent"], rounds=2))
    assert [str(step) for step in plan] == ["work, round 1: ours, theirs", "work, round 2: ours, theirs"]
    assert not list(steps([workload()], ["absent"], rounds=2))


@pytest.mark.parametrize("guilty", ["ours", "theirs"])
@pytest.mark.parametrize("early", [True, False])
def test_an_error_is_that_of_the_server_that_made_it(guilty: str, early: bool) -> None:
    def send(server: Server) -> Run:
        if server.name == guilty:
            raise BenchError("no luck")
        return sent(1)

    @contextmanager
    def load(server: Server, _: Settings) -> Iterator[Load]:
        if early:
            send(server)
        yield Load(lambda: send(server))

    peers = tuple(peer(name, f"print('I am {name}', flush=True); time.sleep(60)") for name in ("ours", "theirs"))
    tested = suite(workload(load, peers))
    with pytest.raises(BenchError) as raised:
        run(tested, Settings(), tested.workloads, ["ours", "theirs"], lambda plan: plan)
    assert str(raised.value) == f"{guilty}: no luck; it printed:\nI am {guilty}"


def test_a_server_that_does_not_start_is_no_error_of_the_others() -> None:
    tested = suite(workload(peers=(peer("ours"), peer("theirs", "sys.exit('haunted')"))))
    with pytest.raises(BenchError, match=r"(?s)^theirs: ended, with status 1, .*haunted$"):
        run(tested, Settings(), tested.workloads, ["ours", "theirs"], lambda plan: plan)


def result() -> Result:
    """Two rounds, of which the second was on a slower core; one of four pairs of turns was disturbed."""
    tested = workload()
    outcome = Outcome(tested)
    for slower in (1.0, 3.0):
        for server, cost in (("ours", 2.0), ("theirs", 1.0)):
            figures = {metric.key: slower * cost for metric in tested.metrics}
            outcome.add(
                server, figures, [slower * cost, slower * cost * (9 if server == "ours" and slower == 3 else 1)]
            )
    return Result(suite(tested), Settings(), {"work": outcome})


def test_the_median_of_rounds_and_of_turns_is_what_is_compared() -> None:
    outcome = result().outcomes["work"]
    assert outcome.figure("ours", "cpu") == 4.0
    assert outcome.ratio("ours", "theirs", "cpu") == 2.0
    assert outcome.turn_ratio("ours", "theirs") == 2.0
    assert outcome.turn_ratio("ours", "absent") is None


def test_tables_have_both() -> None:
    data = as_json(result())
    kept = data["workloads"]["work"]
    assert kept["turns"] == {"ours": 1.0, "theirs": 2.0}
    *_, row = by_workload(data, [kept])
    assert row[1] == "4, 2"
    assert row[-1] == "**2.00** (2.00)"
