"""The measurement of one process beside two."""

from __future__ import annotations

import sys

import pytest

from tests.core.harness import needs
from tests.extent import FULL
from tools import many

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="CPU times are those of /proc")


@pytest.mark.skipif(not FULL, reason="takes some seconds and measures nothing")
def test_a_row_for_each_server(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in ("redis-benchmark", "wrk"):
        needs(engine)
    monkeypatch.setattr(many, "SECONDS", 1)
    assert many.main(["--rounds", "1", "--requests", "2000"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| evio")]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(many.WORKLOADS)
    assert all(row.count("|") == 7 for row in rows)


def test_a_load_generator_that_is_not_there_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(many, "measure", lambda name, workers, requests: many.http_load(1, workers))
    assert many.main(["--rounds", "1"]) == 2
    assert capsys.readouterr().err == "many: wrk: [Errno 2] No such file or directory: 'wrk'\n"
