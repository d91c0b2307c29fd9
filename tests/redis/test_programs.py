"""Programs that are built on Redis, each beside a real redis-server: what they need of it is there.

Their packages want versions of redis-py that exclude each other's, so they have an environment of their own, which is
made once and kept in ``build``.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.harness import needs
from tests.extent import full_only

from .test_clients import BUILD, install
from .transcripts import SERVERS, running

pytestmark = [
    full_only,  # it installs many packages
    pytest.mark.timeout(900),
]

PACKAGES = (
    *("celery==5.7.0", "huey==3.5.4", "dramatiq[redis]==2.2.1", "channels_redis==4.3.0", "redis-om==1.2.0"),
    *("taskiq==0.13.0", "redis==8.1.0", "click", "packaging"),
)
ALONE = ("arq==0.28.0", "taskiq-redis==1.2.4")
"""Those that want an older redis-py than they need."""

HERE = Path(__file__).parent / "programs"
PROGRAMS = ("celery", "huey", "dramatiq", "arq", "taskiq", "channels", "om")
NODE_PROGRAMS = ("bullmq@5", "bull@4")


@pytest.fixture(scope="module", params=SERVERS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    yield from running(request.param)


def made(folder: Path) -> None:
    """Make the environment. The test is skipped where the packages cannot be had."""
    commands = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin/python"), "-m", "pip", "install", "-q", *PACKAGES],
        [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--no-deps", *ALONE],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            pytest.skip(f"not installed, and pip cannot: {done.stderr.strip().splitlines()[-1:]}")


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of the environment."""
    kept = BUILD / f"programs-{sys.version_info[0]}.{sys.version_info[1]}"
    if not kept.exists():
        BUILD.mkdir(exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=BUILD))
        made(temporary)  # works where it is, and through a link
        with contextlib.suppress(OSError):  # somebody else was faster
            kept.symlink_to(temporary, target_is_directory=True)
    return kept / "bin/python"


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_works(port: int, python: Path, program: str, tmp_path: Path) -> None:
    command = [str(python), str(HERE / f"use_{program}.py"), str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert done.stdout.splitlines()[-1:] == ["well"], done.stdout + done.stderr


@pytest.fixture(scope="session")
def node_project() -> Path:
    return install(BUILD / "-".join(NODE_PROGRAMS), "bull.js", (HERE / "bull.js").read_text(), *NODE_PROGRAMS)


def test_bullmq_and_bull_work(port: int, node_project: Path) -> None:
    command = [needs("node"), "bull.js", str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=node_project, check=False)
    assert done.stdout == "well\n", done.stderr
