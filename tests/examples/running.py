"""The programs of ``examples/`` as their users run them: processes of their own."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.core.harness import TIMEOUT
from tests.popen import Popen

ROOT = Path(__file__).parents[2] / "examples"


class Example:
    """One that runs, its URLs in the order of its arguments."""

    def __init__(self, process: subprocess.Popen[str], urls: list[str]) -> None:
        self.process = process
        self.urls = urls

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def ports(self) -> list[int]:
        return [int(url.rpartition(":")[2]) for url in self.urls if not url.startswith("unix")]

    def stop(self) -> str:
        """Stop it as a service manager does; returns what it printed since it began to listen."""
        self.process.send_signal(signal.SIGTERM)
        printed, errors = self.process.communicate(timeout=TIMEOUT)
        assert not self.process.returncode, errors
        assert not errors
        return printed


@contextlib.contextmanager
def example(name: str, *arguments: str) -> Iterator[Example]:
    """Run ``examples/NAME/NAME.py`` until the block ends; it says where it listens in its first line."""
    command = [sys.executable, "-W", "error", str(ROOT / name / f"{name.replace('-', '_')}.py"), *arguments]
    pipe = subprocess.PIPE
    process = Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    with process:
        try:
            assert process.stdout is not None
            urls: list[str] = []
            while not urls:
                line = process.stdout.readline()
                assert line, process.communicate(timeout=TIMEOUT)[1]
                urls = re.findall(r"\w+://\S+", line)
            yield Example(process, urls)
        finally:
            process.kill()
