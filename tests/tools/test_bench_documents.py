"""Tables within pages: what is between the marks is made of the results, and nothing else is touched."""

from __future__ import annotations

import sys

import pytest

from tests.extent import full_only

if sys.platform != "linux":
    pytest.skip("tools.bench runs on Linux only", allow_module_level=True)

import json
import re
from pathlib import Path
from typing import Any

from tools.bench import __main__ as program
from tools.bench.__main__ import PAGES, PICTURES, SUITES, main
from tools.bench.documents import MARK, filled
from tools.bench.report import as_json
from tools.bench.results import Result
from tools.bench.server import BenchError
from tools.bench.suite import Settings, Suite

from .test_bench_charts import result

PAGE = """Before.

<!-- bench: table redis mixed -->
old
<!-- /bench -->

<!-- bench: summary http -->
<!-- /bench -->
After.
"""


def kept(name: str, *patterns: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(as_json(result(SUITES[name], patterns))))
    return data


def test_what_is_between_the_marks_is_made_anew() -> None:
    text = filled(PAGE, {"redis": kept("redis", "mix", "cache"), "http": kept("http", "real:plain", "small")})
    assert "old" not in text
    assert "<summary>Mixed commands, random keys and sizes</summary>\n\n| evio, redis | CPU µs/request |" in text
    assert (
        "\n| evio-http | CPU / nginx | CPU / nginx 0 s | CPU / floor | evio 60 s: CPU / nginx | p99 / nginx |\n"
        "| --- | --- | --- | --- | --- | --- |\n" in text
    )
    assert "| real heads: a third conditional | 2.00 | 2.00 | 2.00 | 1.00 | 2.00 |" in text
    assert "| same head: 1 KiB | 2.00 |  |  |  | 2.00 |" in text
    assert text.startswith("Before.\n\n<!-- bench: table redis mixed -->\n<details>\n")
    assert text.endswith(" |\n<!-- /bench -->\nAfter.\n")
    assert filled(text, {}) == text
    assert filled(text, {"redis": kept("redis", "mix", "cache")}) == text


def test_targets_say_what_is_missed() -> None:
    page = "<!-- bench: targets redis -->\n<!-- /bench -->\n"
    text = filled(page, {"redis": kept("redis", "memory", "mix:1")})
    assert "1 of 3 targets are reached</summary>" in text
    assert "| `mix:1` | cpu | &lt;= 1.25 times floor | 2 | **missed** |" in text


@pytest.mark.parametrize("mark", ["table redis nothing", "picture redis", "table redis"])
def test_a_mark_that_asks_for_what_is_not_there_is_an_error(mark: str) -> None:
    with pytest.raises(BenchError, match=f"a page asks for '{mark}'"):
        filled(f"<!-- bench: {mark} -->\n<!-- /bench -->", {"redis": kept("redis", "mix")})


@full_only
@pytest.mark.timeout(180)  # more than a hundred charts
def test_one_command_measures_draws_and_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(suite: Suite, settings: Settings, workloads: object, _servers: object) -> Result:
        assert (settings.rounds, settings.seconds, workloads) == (1, 0.5, suite.chosen(suite.documented))
        return result(suite, suite.documented)

    page = tmp_path / "page.md"
    page.write_text(PAGE)
    monkeypatch.setattr(program, "measured", measured)
    monkeypatch.setattr(program, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(program, "PICTURES", tmp_path)
    monkeypatch.setattr(program, "PAGES", [page])
    assert main(["docs", "--rounds", "1"]) == 0
    first = page.read_text()
    assert "old" not in first
    names = {path.name for path in tmp_path.glob("*-light.svg")}
    shown = re.findall(r'_static/([\w-]+-light\.svg)"', "".join(path.read_text() for path in PAGES))
    assert names >= {*shown}, "a page shows what is not drawn"
    assert len(names) > len(SUITES)
    page.write_text(PAGE)
    monkeypatch.setattr(program, "measured", None)  # nothing is measured
    assert main(["docs", "--redraw"]) == 0
    assert page.read_text() == first
    assert str(page) in capsys.readouterr().out


def test_the_pages_ask_for_what_there_is_and_have_what_was_measured() -> None:
    everything = {suite.name: kept(suite.name, *suite.documented) for suite in SUITES.values()}
    asked = []
    for page in PAGES:
        filled(page.read_text(), everything)
        asked += [found[2] for found in MARK.finditer(page.read_text())]
    for suite in SUITES.values():
        groups = {each.group.key if each.group else each.key for each in suite.chosen(suite.documented)}
        assert {f"table {suite.name} {key}" for key in groups} <= {*asked}
        assert {f"summary {suite.name}", f"targets {suite.name}"} <= {*asked}
    assert PICTURES.is_dir()
    measured = {path.stem: json.loads(path.read_text()) for path in program.RESULTS.glob("*.json")}
    for page in PAGES:
        assert filled(page.read_text(), measured) == page.read_text(), "python -m tools.bench docs --redraw"
