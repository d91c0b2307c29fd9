"""The HTTP benchmark's own logic: what wrk's script prints, and that every target can be judged."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("tools.bench runs on Linux only", allow_module_level=True)

from tools.bench.http import SUITE, Wrk, nginx, prepare
from tools.bench.server import BenchError


def test_what_wrk_prints() -> None:
    run = Wrk("Running 1s test\nevio 2000 4096000 500000 0 1500 2500 9000\n")
    assert (run.requests, run.bytes, run.rate, run.p50, run.p99, run.p999) == (2000, 4096000, 4000.0, 1.5, 2.5, 9.0)


@pytest.mark.parametrize("text", ["", "evio 1 2 3\n", "evio 100 1 1 3 1 1 1\n", "evio 0 0 1 0 0 0 0\n"])
def test_a_run_that_says_nothing_true_is_an_error(text: str) -> None:
    with pytest.raises(BenchError):
        Wrk(text)


def test_every_target_is_of_a_workload_and_a_server_in_it() -> None:
    workloads = {workload.key: workload for workload in SUITE.workloads}
    for target in SUITE.targets:
        workload = workloads[target.workload]
        assert target.metric in {metric.key for metric in workload.metrics}
        assert {SUITE.subject, target.against} <= {peer.name for peer in workload.peers}


def test_the_configuration_of_nginx_is_for_this_port_and_folder(tmp_path: Path) -> None:
    prepare(tmp_path)
    path = Path(nginx(log="{directory}/log combined")(8123, tmp_path)[-1])
    text = path.read_text()
    assert "listen 127.0.0.1:8123;" in text
    assert f"access_log {tmp_path}/log combined;" in text
    assert f"root {tmp_path}/files;" in text
