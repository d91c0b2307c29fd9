"""The soak finds nothing in a short run, and what there is to find it does."""

from __future__ import annotations

import sys

import pytest

from tests.extent import full_only

if sys.platform != "linux":
    pytest.skip("tools.soak runs on Linux only", allow_module_level=True)

from tools.soak.__main__ import Result, Sample, problems, soak
from tools.soak.clients import CLIENTS

MIB = 1 << 20


def result(*memory: int, **fields: object) -> Result:
    made = Result(samples=[Sample(number, size * MIB, 10) for number, size in enumerate(memory)])
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_what_is_wrong() -> None:
    assert problems(result(20, 60, 61, 62, idle=(9, 9))) == []
    assert problems(result(20, 29, 30, 35, idle=(9, 9))) == ["memory grew from 30 to 35 MiB"]
    assert problems(result(20, 20, idle=(9, 10)))[0].startswith("10 descriptors are open")
    assert problems(result(20, 20, failures=["x"], said="y", status=1)) == [
        "x",
        "the server said: y",
        "the server ended with status 1",
    ]


@full_only
def test_a_short_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KNOWN_PATHS", "HELD_FILES"):
        monkeypatch.setattr(f"tools.soak.clients.{name}", 0)
    monkeypatch.setattr("tools.soak.__main__.SETTLING", 2.0)
    found = soak(1.0, 2, ["--hot-memory", "0"])
    assert set(found.rounds) == {client.__name__ for client in CLIENTS}
    assert len(found.samples) > 2
    memory = [problem for problem in problems(found) if problem.startswith("memory")]
    assert problems(found) == memory  # which has not come to its bound yet
