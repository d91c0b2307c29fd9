"""A program that is forked off a template is as one that ``subprocess`` starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from . import popen

PROGRAM = """
import json, os, signal, sys, warnings
mask = os.umask(0)
json.dump([
    sys.argv, sys.path[0], __name__, os.getcwd(), dict(os.environ), sys.stdin.read(), sys.warnoptions,
    sorted(os.listdir("/proc/self/fd"))[:-1], os.getppid(), os.getsid(0) == os.getpid(), mask,
    [signal.getsignal(each) == signal.SIG_DFL for each in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
], sys.stdout)
sys.stdout.flush()
{end}
"""

ENDS = {"": 0, "sys.exit('over')": 1, "sys.exit(7)": 7, "1 / 0": 1, "os.kill(os.getpid(), signal.SIGKILL)": -9}


@pytest.mark.skipif(not popen.FORKS, reason="all programs are started anew")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("options", [[], ["-W", "error"]], ids=["plain", "error"])
def test_it_is_as_if_started_anew(tmp_path: Path, options: list[str], end: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(end=end))
    (tmp_path / "work").mkdir()
    seen = []
    with open(os.devnull) as passed:
        for start in (subprocess.Popen, popen.Popen):
            given: dict[str, Any] = {
                "cwd": tmp_path / "work",
                "env": {**os.environ, "COLOUR": "blue"},
                "pass_fds": [passed.fileno()],
                "start_new_session": True,
                "umask": 0o27,
                "stdin": subprocess.PIPE,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
            }
            process: subprocess.Popen[str] = start([sys.executable, *options, str(program), "a", "b c"], **given)
            output, errors = process.communicate("input", 20)
            seen.append((json.loads(output), errors.splitlines()[-1:], process.returncode))
    assert seen[0] == seen[1]
    assert seen[0][0][0] == [str(program), "a", "b c"]
    assert seen[0][2] == ENDS[end]


@pytest.mark.skipif(not popen.FORKS, reason="all programs are started anew")
def test_a_module_is_found_and_a_signal_ends_it() -> None:
    with popen.Popen([sys.executable, "-m", "evio_echo", "tcp://127.0.0.1:0"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert b"tcp://127.0.0.1:" in process.stdout.readline()
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert "evio-echo" in popen.run([sys.executable, "-m", "evio_echo", "--version"], timeout=20).stdout


def test_a_directory_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        popen.run([sys.executable, "-m", "evio_echo", "--version"], timeout=20, cwd=tmp_path / "missing")
