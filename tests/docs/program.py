"""The examples of the documentation, found and run."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.popen import Popen

__all__ = ["EXAMPLES", "TIMEOUT", "Program", "Source"]

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("child.py")

TIMEOUT = 20.0
"""Seconds that anything may take."""

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
TITLE = re.compile(r"# (\w+\.py)\n")
SERVES = re.compile(r"^(asyncio\.run|serve|workers|\w+\.run)\(", re.MULTILINE)


def found() -> Iterator[tuple[str, str]]:
    """Names and code: the name is the file's, which is in the first line, or else the page and a number."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("packages/*/README.md")]
    for page in sorted(pages):
        for number, code in enumerate(BLOCK.findall(page.read_text()), 1):
            title = TITLE.match(code)
            yield (title[1] if title else f"{page.relative_to(ROOT)}-{number}"), code


EXAMPLES = list(found())


class Program:
    """An example that runs."""

    def __init__(self, process: subprocess.Popen[str], directory: Path, announcements: int) -> None:
        self._process = process
        self._directory = directory
        self._announcements = announcements
        self.addrs = self._announced()

    def _announced(self) -> list[Any]:
        """The addresses of the next server that comes up; none if the program ends before."""
        if not select.select([self._announcements], [], [], TIMEOUT)[0]:
            raise AssertionError("it neither serves nor ends")
        line = os.read(self._announcements, 4096).partition(b"\n")[0]
        addrs: list[Any] = json.loads(line or b"[]")
        return addrs

    def connect(self, index: int = 0) -> socket.socket:
        """A client of one of the addresses."""
        address = self.addrs[index]
        if isinstance(address, list):
            return socket.create_connection(tuple(address), TIMEOUT)
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(TIMEOUT)
        client.connect(str(self._directory / address))
        return client

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Have it end as a user would; returns what it printed."""
        self._process.send_signal(number)
        return self.finish()

    def finish(self) -> str:
        """Wait for it to end by itself, in good order and without a complaint; returns what it printed."""
        printed, errors = self._process.communicate(timeout=TIMEOUT)
        if self._process.returncode or errors:
            raise AssertionError(f"exit status {self._process.returncode}: {errors or printed}")
        return printed


class Source:
    """An example that may be run, in a directory of its own."""

    def __init__(self, code: str, directory: Path) -> None:
        self.code = code
        self.directory = directory

    @property
    def serves(self) -> bool:
        """True if it runs until it is stopped."""
        return SERVES.search(self.code) is not None

    @contextmanager
    def started(
        self, *replacements: tuple[str, str], arguments: Sequence[str] = (), descriptors: Sequence[int] = ()
    ) -> Iterator[Program]:
        """Run it with parts of its text replaced; killed at the end of the block if it still runs."""
        code = self.code
        for old, new in replacements:
            if old not in code:
                raise AssertionError(f"{old!r} is not in the example")
            code = code.replace(old, new)
        file = self.directory / "example.py"
        file.write_text(code)
        reading, writing = os.pipe()
        command = [sys.executable, "-W", "error", str(CHILD), str(writing), str(file), *arguments]
        try:
            process = Popen(
                command,
                cwd=self.directory,
                pass_fds=[writing, *descriptors],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # what it forks is killed with it
            )
            os.close(writing)
            with process:
                try:
                    yield Program(process, self.directory, reading)
                finally:
                    if process.poll() is None:
                        os.killpg(process.pid, signal.SIGKILL)
        finally:
            os.close(reading)
