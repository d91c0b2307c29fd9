"""The benchmark's own logic: figures, order, verdicts, and that no server outlives it."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.extent import FULL
from tests.tables import each_row

if sys.platform != "linux":
    pytest.skip("tools.bench runs on Linux only", allow_module_level=True)

from tools.bench import certificate, echo, load, measures, procfs
from tools.bench.__main__ import main
from tools.bench.echo import messages
from tools.bench.echo.peers import BUSY, LOOPS, PLAIN, TLS
from tools.bench.echo.suite import MEMORY, SMALL_TLS, SPREAD
from tools.bench.load import RedisBenchmark
from tools.bench.report import as_json, show
from tools.bench.results import Outcome, Result
from tools.bench.run import Step, measure, run, steps
from tools.bench.server import ROOT, BenchError, Peer, Requirement, Server, pinned, require, running
from tools.bench.suite import Group, Metric, Settings, Suite, Target, Workload, matches

CORE = {max(os.sched_getaffinity(0))}

COST = Metric("cost", "cost µs", 1)
SPEED = Metric("speed", "MB/s", higher_is_better=True)


def script(name: str, code: str) -> Peer:
    """A server that is this Python code, with the port as its argument."""
    return Peer(name, lambda port, _: [sys.executable, "-c", code, str(port)])


ACCEPTING = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); "
SLEEPING = script("sleeping", ACCEPTING + "import time; time.sleep(60)")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# -- servers


def test_a_server_runs_on_its_core_and_is_stopped() -> None:
    with running(SLEEPING, CORE, ROOT) as server:
        assert os.sched_getaffinity(server.pid) == CORE
    assert not alive(server.pid)


def test_a_server_is_stopped_when_the_measurement_fails() -> None:
    pids = []
    with pytest.raises(BenchError, match="sleeping: no luck; it printed nothing"):
        with running(SLEEPING, CORE, ROOT) as server:
            pids.append(server.pid)
            raise OSError("no luck")
    assert not alive(pids[0])


def test_a_server_is_stopped_on_interrupt() -> None:
    pids = []
    with pytest.raises(KeyboardInterrupt):
        with running(SLEEPING, CORE, ROOT) as server:
            pids.append(server.pid)
            raise KeyboardInterrupt
    assert not alive(pids[0])


def test_a_server_that_does_not_start_shows_what_it_printed() -> None:
    failing = script("failing", "import sys; sys.exit('the port is haunted')")
    with pytest.raises(BenchError, match=r"(?s)failing: ended, with status 1, .*the port is haunted"):
        with running(failing, CORE, ROOT):
            pytest.fail("it did start")


def test_a_server_that_ignores_sigterm_is_killed_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.bench.server.STOP_TIMEOUT", 0.1)
    stubborn = script(
        "stubborn", "import signal, time; signal.signal(15, signal.SIG_IGN); " + ACCEPTING + "time.sleep(60)"
    )
    pids = []
    with pytest.raises(BenchError, match="stubborn did not end"):
        with running(stubborn, CORE, ROOT) as server:
            pids.append(server.pid)
    assert not alive(pids[0])


def test_pinned_is_undone() -> None:
    before = os.sched_getaffinity(0)
    with pinned(CORE):
        assert os.sched_getaffinity(0) == CORE
    assert os.sched_getaffinity(0) == before


def test_what_is_missing_is_named_with_its_remedy() -> None:
    with pytest.raises(BenchError, match=r"^nosuch is not installed: apt install nosuch$"):
        require([Requirement("nosuch", "apt install nosuch", program=True), Requirement("json", "it is there")] * 2)


def test_split_needs_two_cores() -> None:
    with pinned(CORE):
        assert Settings().cores() == (*CORE, *CORE)
        with pytest.raises(BenchError, match="needs two cores"):
            Settings(pin="split").cores()


# -- the peers

PLAIN_AND_OTHERS = (*PLAIN, *LOOPS[1:], *BUSY)
PEERS = [(peer, False) for peer in PLAIN_AND_OTHERS] + [(peer, True) for peer in TLS]


@pytest.mark.parametrize(("peer", "tls"), PEERS, ids=lambda value: getattr(value, "name", value and "tls"))
def test_every_peer_echoes_a_megabyte_to_a_client_that_reads_late(peer: Peer, tls: bool, tmp_path: Path) -> None:
    certificate.issue(tmp_path)
    message = os.urandom(1 << 20)
    with running(peer, CORE, tmp_path) as server, connect(server, tls) as client:
        sender = threading.Thread(target=client.sendall, args=(message,))
        sender.start()
        received = bytearray()
        while len(received) < len(message):
            received += client.recv(1 << 16)
        sender.join()
        assert received == message


def connect(server: Server, tls: bool) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), 10)
    if not tls:
        return client
    import ssl

    context = ssl.create_default_context(cafile=str(server.directory / certificate.AUTHORITY))
    return context.wrap_socket(client, server_hostname="localhost")


def test_the_bare_loop_keeps_output_that_nobody_reads_and_survives_resets(tmp_path: Path) -> None:
    bare = next(peer for peer in PLAIN if peer.name == "bare")
    with running(bare, CORE, tmp_path) as server:
        # So much that it fits into no socket buffer: only a server that holds output back gets through.
        stalled = socket.create_connection(("127.0.0.1", server.port), 10)
        stalled.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                stalled.send(bytes(1 << 20))
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        stalled.close()
        with load.connections(server.port, 3) as clients:
            load.echo_once(clients, b"still here", bytearray(10))


# -- reading and loading


def test_cpu_time_and_switches_count_what_a_process_does(tmp_path: Path) -> None:
    bare = next(peer for peer in PLAIN if peer.name == "bare")
    with running(bare, CORE, tmp_path) as server, load.connections(server.port, 1) as clients:
        cpu = procfs.settled(procfs.cpu_seconds, server.pid)
        switches = procfs.context_switches(server.pid)
        for _ in range(100):
            load.echo_once(clients, b"x", bytearray(1))
        spent = procfs.settled(procfs.cpu_seconds, server.pid) - cpu
        assert 0 < spent < 1
        assert procfs.context_switches(server.pid) > switches
        assert procfs.memory_bytes(server.pid) > 1 << 20


def test_the_cpu_time_of_workers_is_counted() -> None:
    workers = next(peer for peer in LOOPS if peer.name == "2 workers")
    with running(workers, CORE, ROOT) as server, load.connections(server.port, 4) as clients:
        before = procfs.settled(procfs.cpu_seconds, server.pid)
        supervisor = int(Path(f"/proc/{server.pid}/schedstat").read_text().split()[0])
        for _ in range(100):
            load.echo_once(clients, b"x", bytearray(1))
        assert procfs.settled(procfs.cpu_seconds, server.pid) > before
        assert int(Path(f"/proc/{server.pid}/schedstat").read_text().split()[0]) == supervisor


def test_a_server_that_never_sleeps_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "PATIENCE", 0.2)
    busy = script("busy", ACCEPTING + "\nwhile True: pass")
    with pytest.raises(BenchError, match=r"busy: process .* still uses CPU"):
        with running(busy, CORE, ROOT) as server:
            procfs.settled(procfs.cpu_seconds, server.pid)


def test_a_server_that_is_kept_waiting_for_a_cpu_is_not_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "PATIENCE", 0.2)
    monkeypatch.setattr(procfs, "cpu_seconds", lambda pid: 1.0)
    busy = script("busy", ACCEPTING + "\nwhile True: pass")
    with pytest.raises(BenchError, match=r"busy: process .* still uses CPU"):
        with running(busy, CORE, ROOT) as server:
            procfs.settled(procfs.cpu_seconds, server.pid)


@pytest.fixture
def echoing() -> Iterator[Server]:
    bare = next(peer for peer in PLAIN if peer.name == "bare")
    with running(bare, CORE, ROOT) as server:
        yield server


def test_bulk_idle_and_memory_yield_their_metrics(echoing: Server) -> None:
    bulk = measures.bulk(echoing, 0.05, size=65536, clients=2)
    assert bulk["per_cpu"] >= bulk["rate"] > 0
    assert measures.idle(echoing, 0.05, count=10) == {"wakeups": 0}
    memory = measures.idle_memory(echoing, count=20)
    assert memory.keys() == {metric.key for metric in MEMORY.metrics}
    assert memory["retries"] == 0
    assert memory["cpu"] > 0


def figures(workload: Workload, server: Server) -> dict[str, float]:
    """Those of one short round."""
    outcome = Outcome(workload)
    measure(workload, [server], Settings(seconds=0.05), outcome)
    return {key: rounds[0] for key, rounds in outcome.rounds[server.name].items()}


def check(workload: Workload, values: dict[str, float]) -> None:
    assert values.keys() == {metric.key for metric in workload.metrics}
    assert 0 < values["p50"] <= values["p99"] <= values["p999"]
    assert 0.1 < values["cpu"] < 1000


@pytest.mark.skipif(not load.REDIS_BENCHMARK.met(), reason="redis-benchmark is not installed: apt install redis-tools")
def test_what_redis_benchmark_sends_yields_its_metrics(echoing: Server) -> None:
    workload = SPREAD[0]
    check(workload, figures(workload, echoing))


def test_small_messages_over_tls_yield_their_metrics(tmp_path: Path) -> None:
    assert SMALL_TLS.prepare
    SMALL_TLS.prepare(tmp_path)
    asyncio_peer = next(peer for peer in SMALL_TLS.peers if peer.name == "asyncio")
    with running(asyncio_peer, CORE, tmp_path) as server:
        check(SMALL_TLS, figures(SMALL_TLS, server))


def test_echoes_are_checked_and_counted_however_they_arrive() -> None:
    echoes = messages.Echoes()
    for message in (b"first", b"second", b"third"):
        echoes.sent(message)
    assert [echoes.received(chunk) for chunk in (b"fir", b"stsecondth", b"ir", b"d")] == [0, 2, 0, 1]
    echoes.sent(b"fourth")
    with pytest.raises(BenchError, match="2 bytes are not those that were sent"):
        echoes.received(b"x!")


@pytest.mark.parametrize("key", ["small", "sizes", "crowd"])
def test_messages_yield_their_metrics(key: str, echoing: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MESSAGES", 100), ("WARM_UP", 100), ("CROWD", 40), ("ACTIVE", 4)):
        monkeypatch.setattr(messages, name, value)
    monkeypatch.setattr(messages, "messages", messages.messages.__wrapped__)
    workload = next(each for each in echo.SUITE.workloads if each.key == key)
    check(workload, figures(workload, echoing))


def test_servers_that_use_several_cores_are_not_pinned() -> None:
    everywhere = frozenset(os.sched_getaffinity(0))
    assert Settings().cores_for(workload()) == (frozenset(CORE), frozenset(CORE))
    assert Settings().cores_for(dataclasses.replace(workload(), pinned=False)) == (everywhere, everywhere)


def test_an_echo_that_is_not_one_is_an_error() -> None:
    wrong = script("wrong", ACCEPTING + "s.accept()\nwhile True: c = s.accept()[0]; c.recv(9); c.send(b'wrong')")
    with pytest.raises(BenchError, match="wrong: the server did not echo"):
        with running(wrong, CORE, ROOT) as server, load.connections(server.port, 1) as clients:
            load.echo_once(clients, b"right", bytearray(5))


def test_a_dropped_syn_is_counted() -> None:
    """A queue of one is full with two; the third SYN is dropped and comes again after a second."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        port = listener.getsockname()[1]
        first = [load.connected(port) for _ in range(2)]
        third: list[socket.socket] = []
        waiting = threading.Thread(target=lambda: third.append(load.connected(port)))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive(), "the backlog took three"
        accepted = [listener.accept()[0] for _ in range(3)]
        waiting.join()
        assert [load.retransmissions(client) for client in (*first, *third)] == [0, 0, 1]
        for each in (*first, *third, *accepted):
            each.close()


def test_the_file_limit_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 1000))
    with pytest.raises(BenchError, match=r"10000 connections need 10100 open files; the hard limit is 1000"):
        load.allow_files(10_000)
    raised = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    load.allow_files(500)
    assert raised == [(600, 1000)]


def test_redis_benchmark_is_read() -> None:
    text = """\
Latency by percentile distribution:
50.000% <= 0.751 milliseconds (cumulative count 10033)
99.805% <= 5.407 milliseconds (cumulative count 19961)
99.902% <= 12.447 milliseconds (cumulative count 19981)
100.000% <= 12.527 milliseconds (cumulative count 20000)

Cumulative distribution of latencies:
100.000% <= 13.103 milliseconds (cumulative count 20000)

Summary:
  throughput summary: 41841.00 requests per second
  latency summary (msec):
          avg       min       p50       p95       p99       max
        0.930     0.192     0.751     1.175     1.391     12.527
"""
    assert RedisBenchmark.parse(text) == RedisBenchmark(41841.0, 0.751, 1.391, 12.447)
    with pytest.raises(BenchError, match=r"6\.2 or newer"):
        RedisBenchmark.parse("throughput summary: 41841.00 requests per second")


def test_redis_benchmark_that_fails_or_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "redis-benchmark"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for body, message in (("echo sorry >&2; exit 3", r"(?s)exit status 3: .*sorry"), ("exec sleep 60", "no end")):
        fake.write_text(f"#!/bin/sh\n{body}\n")
        fake.chmod(0o755)
        with pytest.raises(BenchError, match=message):
            RedisBenchmark.run(1, 1, clients=1, timeout=0.3)


# -- figures


def workload(key: str = "work", repeat: bool = True, names: tuple[str, ...] = ("ours", "theirs")) -> Workload:
    return Workload(
        key=key,
        title="some work",
        metrics=(COST, SPEED),
        peers=tuple(dataclasses.replace(SLEEPING, name=name) for name in names),
        measure=lambda server, settings: {"cost": float(server.port > 0), "speed": settings.seconds},
        repeat=repeat,
    )


def result(*targets: Target) -> Result:
    suite = Suite("test", "a test", "ours", "theirs", ("work",), (), (workload(),), targets)
    outcome = Outcome(suite.workloads[0])
    for ours, theirs in ((3.0, 2.0), (1.0, 4.0)):
        outcome.add("ours", {"cost": ours, "speed": ours})
        outcome.add("theirs", {"cost": theirs, "speed": theirs})
    return Result(suite, Settings(), {"work": outcome})


def test_the_best_round_is_what_is_compared() -> None:
    outcome = result().outcomes["work"]
    assert outcome.best("ours", "cost") == 1.0
    assert outcome.best("ours", "speed") == 3.0
    assert outcome.median("ours", "cost") == 2.0
    assert outcome.ratio("ours", "theirs", "cost") == 0.5
    assert outcome.ratio("ours", "theirs", "speed") == 0.75
    assert outcome.round_ratios("ours", "theirs", "cost") == (0.25, 0.875, 1.5)


def test_nothing_is_divided_by_zero() -> None:
    outcome = Outcome(workload())
    for server in ("ours", "theirs"):
        outcome.add(server, {"cost": 0.0, "speed": 0.0})
    assert outcome.ratio("ours", "theirs", "cost") is None
    assert outcome.round_ratios("ours", "theirs", "cost") is None


@each_row(
    ("target", "value", "missed"),
    [
        (Target("work", "cost", "<=", 0.5, against="theirs"), 0.5, False),
        (Target("work", "cost", "<", 0.5, against="theirs"), 0.5, True),
        (Target("work", "cost", "<=", 0.9), 1.0, True),
        (Target("work", "speed", ">=", 0.75, against="theirs"), 0.75, False),
        (Target("work", "speed", ">=", 0.76, against="theirs"), 0.75, True),
        (Target("work", "cost", "<=", 0.5, against="absent"), None, False),
        (Target("other", "cost", "<=", 0.5), None, False),
    ],
)
def test_targets(target: Target, value: float | None, missed: bool) -> None:
    (verdict,) = result(target).verdicts()
    assert (verdict.value, verdict.missed) == (value, missed)


def test_every_target_of_the_echo_suite_is_one_that_it_measures() -> None:
    workloads = {each.key: each for each in echo.SUITE.workloads}
    for target in echo.SUITE.targets:
        measured = workloads[target.workload]
        assert measured.metric(target.metric)
        assert {echo.SUITE.subject, target.against or echo.SUITE.subject} <= {peer.name for peer in measured.peers}


# -- a run


def test_rounds_are_interleaved_and_counts_are_made_once() -> None:
    plan = steps([workload("timed"), workload("counted", repeat=False)], ["ours", "theirs"], rounds=2)
    assert [(step.workloads[0].key, step.round, step.peers[0].name) for step in plan] == [
        ("timed", 1, "ours"),
        ("timed", 1, "theirs"),
        ("timed", 2, "ours"),
        ("timed", 2, "theirs"),
        ("counted", 1, "ours"),
        ("counted", 1, "theirs"),
    ]
    assert [step.peers[0].name for step in steps([workload()], ["theirs"], rounds=1)] == ["theirs"]


def test_workloads_that_share_servers_are_measured_on_the_same_process() -> None:
    alone = workload("alone")
    one, two = (dataclasses.replace(workload(key), group=Group("a", "a table"), shared=True) for key in ("one", "two"))
    plan = list(steps([alone, one, two], ["ours"], rounds=2))
    assert [([each.key for each in step.workloads], step.round) for step in plan] == [
        (["alone"], 1),
        (["alone"], 2),
        (["one", "two"], 1),
        (["one", "two"], 2),
    ]
    assert str(plan[-1]) == "one to two, round 2: ours"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("cache", ["cache:1", "cache:16"]), ("*:16", ["cache:16", "mix:16"]), ("mix:16", ["mix:16"]), ("c", [])],
)
def test_workloads_are_chosen_by_name_kind_or_pattern(pattern: str, found: list[str]) -> None:
    assert [key for key in ("cache:1", "cache:16", "mix:16") if matches(key, pattern)] == found


def test_an_optional_server_is_left_out_where_it_is_not_installed() -> None:
    absent = dataclasses.replace(
        SLEEPING, name="absent", optional=True, requires=(Requirement("nosuch", "apt install nosuch", program=True),)
    )
    both = dataclasses.replace(workload(), peers=(dataclasses.replace(SLEEPING, name="ours"), absent))
    suite = Suite("test", "a test", "ours", "theirs", ("work",), (), (both,), ())
    assert suite.servers() == ("ours", "absent")
    assert suite.installed() == ("ours",)
    with pytest.raises(BenchError, match="apt install nosuch"):
        run(suite, Settings(), suite.workloads, ["absent"], lambda plan: plan)


def test_a_target_for_several_workloads_is_for_the_worst_or_the_median() -> None:
    outcomes = {}
    for key, cost in (("one:a", 1.0), ("one:b", 2.0), ("one:c", 9.0)):
        outcomes[key] = Outcome(workload(key))
        outcomes[key].add("ours", {"cost": cost, "speed": cost})
    targets = (
        Target("one", "cost", "<=", 8),
        Target("one", "cost", "<=", 2, of="median"),
        Target("one", "speed", ">=", 2),
    )
    suite = Suite(
        "test", "a test", "ours", "theirs", ("work",), (), tuple(each.workload for each in outcomes.values()), targets
    )
    verdicts = Result(suite, Settings(), outcomes).verdicts()
    assert [(verdict.value, verdict.missed) for verdict in verdicts] == [(9.0, True), (2.0, False), (1.0, True)]


def test_a_run_measures_each_step_and_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    suite = Suite(
        "test",
        "a test",
        "ours",
        "theirs",
        ("work",),
        (),
        (workload(),),
        (Target("work", "cost", "<=", 1, against="theirs"),),
    )
    begun: list[Step] = []

    def track(plan: Sequence[Step]) -> Iterator[Step]:
        for step in plan:
            begun.append(step)
            yield step

    before = os.sched_getaffinity(0)
    outcome = run(suite, Settings(rounds=2, seconds=7), suite.workloads, ["ours", "theirs"], track)
    assert os.sched_getaffinity(0) == before
    assert len(begun) == 4
    assert outcome.outcomes["work"].rounds["ours"] == {"cost": [1.0, 1.0], "speed": [7.0, 7.0]}

    show(outcome, Console(width=120))
    printed = capsys.readouterr().out
    assert "<= 1.00 x theirs" in printed
    assert "2 rounds of 7 s, load on the same core" in printed
    assert "reached" in printed

    kept = json.loads(json.dumps(as_json(outcome)))
    assert kept["settings"]["rounds"] == 2
    assert kept["workloads"]["work"]["servers"]["theirs"]["speed"] == {
        "best": 7.0,
        "median": 7.0,
        "rounds": [7.0, 7.0],
    }
    assert kept["targets"][0]["reached"] is True


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(BenchError, match="none of the chosen workloads"):
        run(echo.SUITE, Settings(), [SMALL_TLS], ["bare"], lambda plan: plan)


# -- the command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "the following arguments are required"),
        ("gopher", "invalid choice: 'gopher' (choose from"),
        ("echo --only small,big", "'big' is not one of sizes, crowd, small, tls, connections, bulk, memory, idle"),
        ("echo --servers nginx", "'nginx' is not one of evio, bare, asyncio, uvloop"),
        ("echo --rounds 0", "'0' is not a whole number above 0"),
        ("echo --rounds 1.5", "'1.5' is not a whole number above 0"),
        ("echo --seconds nan", "'nan' is not a number above 0"),
        ("echo --pin none", "invalid choice: 'none' (choose from"),
        ("echo --charts /proc/nonexistent", "cannot write to '/proc/nonexistent': No such file"),
        ("short --only small", "unrecognized arguments: --only"),
        ("echo --json /nonexistent/result.json", "cannot write '/nonexistent/result.json': No such file"),
    ],
)
def test_a_wrong_command_line_is_one_line(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(arguments.split())
    assert leaving.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def bench(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tools.bench", "echo", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_whole_program(tmp_path: Path) -> None:
    kept = tmp_path / "result.json"
    with bench(
        "--only", "idle", "--servers", "evio", "--idle-seconds", "0.1", "--check", "--json", str(kept)
    ) as program:
        printed, errors = program.communicate(timeout=50)
    assert program.returncode == 0, errors
    assert "reached" in printed
    assert json.loads(kept.read_text())["workloads"]["idle"]["servers"]["evio"]["wakeups"]["best"] == 0


def test_a_check_of_nothing_does_not_pass() -> None:
    with bench("--only", "idle", "--servers", "bare", "--idle-seconds", "0.1", "--check") as program:
        _, errors = program.communicate(timeout=50)
    assert program.returncode == 2
    assert "nothing was measured that has a target" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, *([signal.SIGINT] if FULL else [])])
def test_interrupted_it_stops_its_servers(number: signal.Signals) -> None:
    with bench("--only", "idle", "--servers", "bare", "--idle-seconds", "40") as program:
        server = wait_for_child(program.pid)
        program.send_signal(number)
        _, errors = program.communicate(timeout=20)
    assert program.returncode == 130
    assert "interrupted" in errors
    assert not alive(server)


def wait_for_child(pid: int) -> int:
    """The pid of the first process that process ``pid`` starts."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while True:
        found = children.read_text().split()
        if found:
            return int(found[0])
