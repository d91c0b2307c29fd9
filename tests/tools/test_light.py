"""The environments in which ``make echo``, ``make redis`` and ``make http`` run their server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import light


@pytest.mark.parametrize(
    ("server", "expected"),
    [("evio-echo", set()), ("evio-redis", {"hiredis"}), ("evio-http", {"h11"})],
)
def test_a_server_needs_few_packages(server: str, expected: set[str]) -> None:
    needs, sources = light.requirements(server)
    assert {need.partition(">")[0] for need in needs} == expected
    assert [folder.parent.name for folder in sources] == [server, "evio-core"]
    assert all(folder.is_dir() for folder in sources)


def test_the_environment_runs_the_server_from_its_sources(tmp_path: Path) -> None:
    light.make("evio-echo", tmp_path / "env")
    assert (tmp_path / "env/.stamp").exists()
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = subprocess.run(
        [python, "-m", "evio_echo", "--version"], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.startswith("evio-echo ")


@pytest.mark.parametrize("package", ["evio_echo", "evio_redis", "evio_http"])
def test_a_server_starts_without_what_takes_long_to_import(package: str) -> None:
    slow = [
        "asyncio",
        "difflib",
        "logging.handlers",
        "tempfile",
        "tomllib",
        "importlib.metadata",
        "importlib.resources",
        "email",
        "urllib.request",
        "prometheus_client",
        "h2",
        "watchfiles",
    ]
    program = f"import sys, {package}.__main__; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"
