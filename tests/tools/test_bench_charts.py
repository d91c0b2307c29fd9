"""Charts and the short form: what is drawn of which result."""

from __future__ import annotations

import sys

import pytest

from tests.extent import full_only

if sys.platform != "linux":
    pytest.skip("tools.bench runs on Linux only", allow_module_level=True)

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rich.console import Console

from tools.bench import __main__ as program
from tools.bench import charts
from tools.bench.__main__ import SUITES, main
from tools.bench.report import as_json, show_short
from tools.bench.results import Outcome, Result
from tools.bench.suite import Settings, Suite

KEPT = ("mix:16", "one:hgetall", "one:geosearch", "set:16", "memory")


def result(suite: Suite, patterns: Sequence[str]) -> Result:
    """Two rounds of the workloads and their servers, in which the first server takes twice what the others do."""
    outcomes = {}
    for workload in suite.chosen(patterns):
        outcomes[workload.key] = outcome = Outcome(workload)
        for number in (1, 2):
            for position, peer in enumerate(workload.peers):
                value = number * (1 if position else 2)
                outcome.add(peer.name, {metric.key: float(value) for metric in workload.metrics})
    return Result(suite, Settings(), outcomes)


def texts(path: Path) -> str:
    """The text in a picture."""
    root = ElementTree.fromstring(path.read_text())
    return "\n".join("".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text"))


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(as_json(result(SUITES["redis"], KEPT))))
    return data


def test_a_group_has_a_chart_for_either_page(kept: dict[str, Any], tmp_path: Path) -> None:
    written = charts.group_charts(kept, tmp_path)
    assert sorted(path.name for path in written) == sorted(
        f"redis-{group}-{theme}.svg" for group in ("mixed", "commands", "repeated") for theme in ("light", "dark")
    )
    light, dark = tmp_path / "redis-commands-light.svg", tmp_path / "redis-commands-dark.svg"
    assert texts(light) == texts(dark)
    assert light.read_text() != dark.read_text()
    shown = texts(light)
    for label in (
        "HGETALL",
        "GEOSEARCH",
        "2.00",
        "CPU time, redis = 1",
        "99th percentile of latency, redis = 1",
        "valkey",
    ):
        assert label in shown


@full_only
def test_the_same_figures_give_the_same_picture(kept: dict[str, Any], tmp_path: Path) -> None:
    drawn = [charts.panel("a table", kept, ["mix:16"])]
    first = [path.read_bytes() for path in charts.draw(drawn, tmp_path, "chart")]
    assert first == [path.read_bytes() for path in charts.draw(drawn, tmp_path, "chart")]


def test_what_has_no_reference_is_not_drawn(kept: dict[str, Any]) -> None:
    without = json.loads(json.dumps(kept))
    del without["workloads"]["mix:16"]["servers"]["redis"]
    assert charts.panel("", kept, ["mix:16"]).rows[0].ratios["cpu"] == {"evio": 2.0, "valkey": 1.0, "floor": 1.0}
    assert charts.panel("", without, ["mix:16"]).rows == ()


def test_the_axis_holds_every_mark() -> None:
    rows = (charts.Row("low", {"cpu": {"evio": 0.3}}), charts.Row("high", {"cpu": {"evio": 9.0, "floor": 1.0}}))
    assert charts.span([charts.Panel("", "evio", "redis", rows)], "cpu") == (0.25, 16)
    far = charts.Panel("", "evio", "redis", (charts.Row("far", {"cpu": {"evio": 900.0, "floor": 0.001}}),))
    assert charts.span([far], "cpu") == (charts.TICKS[0], charts.TICKS[-1])


def test_every_workload_of_the_short_form_can_be_drawn() -> None:
    for suite in SUITES.values():
        for pattern in suite.short:
            assert suite.chosen([pattern]), pattern
        assert suite.reference in suite.servers()
        for workload in suite.chosen(suite.short):
            assert {"cpu", "p50", "p99", "p999"} <= {metric.key for metric in workload.metrics}
            assert suite.reference in {peer.name for peer in workload.peers}


def test_the_short_form_is_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_short([result(suite, suite.short) for suite in SUITES.values()], Console(width=200))
    printed = capsys.readouterr().out
    for line in ("redis 2.00  valkey 2.00  floor 2.00", "nginx 2.00", "bare 2.00  asyncio 2.00  uvloop 2.00"):
        assert line in printed.replace("\N{NO-BREAK SPACE}", " ")


@full_only
def test_the_short_form_ends_with_its_table_and_the_chart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def measured(suite: Suite, settings: Settings, workloads: object, _servers: object) -> Result:
        asked.append((suite.name, settings.rounds, settings.seconds, workloads == suite.chosen(suite.short)))
        return result(suite, suite.short)

    monkeypatch.setattr(program, "measured", measured)
    monkeypatch.chdir(tmp_path)
    assert main(["short", "--rounds", "1"]) == 0  # which makes the folder
    assert asked == [(name, 1, 0.5, True) for name in SUITES]
    printed = capsys.readouterr().out.splitlines()
    directory = Path("build/bench")
    assert printed[-2:] == [str(directory / "summary-light.svg"), str(directory / "summary-dark.svg")]
    assert "evio-http beside nginx" in texts(directory / "summary-dark.svg")
    for name in SUITES:
        assert json.loads((directory / f"{name}.json").read_text())["suite"] == name


@full_only
def test_charts_are_drawn_from_results_that_were_kept(
    kept: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "redis.json"
    source.write_text(json.dumps(kept))
    assert main(["charts", str(source), "--charts", str(tmp_path / "new" / "folder")]) == 0
    printed = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert len(printed) == 12
    assert all(path.parent == tmp_path / "new" / "folder" and path.exists() for path in printed)


def test_tables_are_printed_in_markdown(
    kept: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "redis.json"
    source.write_text(json.dumps(kept))
    assert main(["tables", str(source)]) == 0
    printed = capsys.readouterr().out
    assert "Mixed commands, random keys and sizes:\n\n| evio, redis | CPU µs/request | p50 ms |" in printed
    assert "| requests/s | / redis | / valkey | / floor |\n" in printed
    row = ["mix, 16 pipelined", *["2, 1"] * 4, "4, 2", *["**2.00** (2.00)"] * 3]
    assert f"\n| {' | '.join(row)} |\n" in printed
    assert "\n1,000,000 strings of 3 bytes:\n\n|  | bytes/key | evio / it |\n" in printed
    assert "\n| redis | 1 | **2.00** (2.00) |\n" in printed
    for block in printed.strip().split("\n\n"):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not what --json writes"),
        ("[]", "is not what --json writes"),
        ('{"suite": "gopher"}', "is not what --json writes"),
        ('{"suite": "redis"}', "is of another version: measure again"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_is_no_result_is_an_error(
    content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "redis.json"
    if content is not None:
        source.write_text(content)
    assert main(["charts", str(source), "--charts", str(tmp_path)]) == 2
    printed = capsys.readouterr().err
    assert re.search(message, printed)
    assert printed.count(os.linesep) == 1


# -- curves, percentiles, memory


def test_points_of_a_curve_are_drawn_as_one(tmp_path: Path) -> None:
    data = json.loads(json.dumps(as_json(result(SUITES["redis"], ["depth"]))))
    written = charts.suite_charts(data, tmp_path)
    assert sorted({path.name for path in written}) == ["redis-depth-dark.svg", "redis-depth-light.svg"]
    shown = texts(tmp_path / "redis-depth-light.svg")
    for label in ("CPU time, redis at 1 = 1", "commands pipelined", "128", "lower is better", "floor"):
        assert label in shown
    lonely = json.loads(json.dumps(as_json(result(SUITES["redis"], ["depth:16"]))))
    assert charts.suite_charts(lonely, tmp_path) == []


@full_only
def test_percentiles_are_of_the_short_form_and_memory_is_drawn_as_bars(kept: dict[str, Any], tmp_path: Path) -> None:
    names = {path.name for path in charts.suite_charts(kept, tmp_path)}
    assert {"redis-latency-light.svg", "redis-memory-dark.svg", "redis-mixed-light.svg"} <= names
    shown = texts(tmp_path / "redis-latency-light.svg")
    for label in ("mix, 16 pipelined", "only SET, 16 pipelined", "in milliseconds", "redis"):
        assert label in shown
    assert "HGETALL" not in shown
    assert "bytes/key: 1,000,000 strings of 3 bytes" in texts(tmp_path / "redis-memory-light.svg")


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_the_points_of_every_curve_have_numbers(suite: Suite) -> None:
    for workload in suite.workloads:
        if workload.group is not None and workload.group.axis:
            assert charts.number_of(workload.key) > 0
