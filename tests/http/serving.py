"""evio-http as its users run it: a process of its own, and a small site of every kind of file."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from evio_http.files.version import is_settled
from tests.core.harness import TIMEOUT
from tests.popen import Popen

TEXT = b"All the world's a stage, and all the men and women merely players.\n" * 200
BLOB = random.Random(7).randbytes(3_000_000)
FILES = {
    "index.html": b"<!DOCTYPE html><title>Home</title><h1>Home</h1>\n",
    "style.css": b"body { margin: 0 }\n",
    "app.mjs": b"export const answer = 42;\n",
    "data.json": b'{"answer": 42}\n',
    "text.txt": TEXT,
    "blob.bin": BLOB,
    "empty.txt": b"",
    "about.html": b"<title>About</title>\n",
    "sub/index.html": b"<title>Sub</title>\n",
    "plain/a.txt": b"a\n",
    "sp ace/\u00fc.txt": b"umlaut\n",
    ".env": b"SECRET=1\n",
    ".well-known/security.txt": b"Contact: mailto:x@example.org\n",
}


def make_site(directory: Path) -> Path:
    """Write ``FILES``, and gzip's version of text.txt beside it."""
    for name, content in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (directory / "text.txt.gz").write_bytes(gzip.compress(TEXT))
    os.utime(directory / "text.txt.gz")
    (directory / "out").symlink_to("/etc")
    return directory


def wait_until_settled(path: Path) -> None:
    """Until the file, or each one below the directory, is so old that any other write changes its times."""
    files = list(path.rglob("*")) if path.is_dir() else [path]
    deadline = time.monotonic() + TIMEOUT
    while not all(is_settled(each.stat()) for each in files):
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Served:
    """A running server: its URLs, in the order of its banner, and what it says."""

    def __init__(self, process: subprocess.Popen[str], count: int) -> None:
        self.process = process
        self.urls: list[str] = []
        self.said: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        # Read all the time: a full pipe would hold up the server.
        self._reader = threading.Thread(target=self.said.extend, args=(process.stderr,), daemon=True)
        self._reader.start()
        while len(self.urls) < count:
            line = process.stdout.readline()
            if not line:
                self._reader.join(TIMEOUT)
                raise AssertionError(f"the server did not start: {''.join(self.said)}")
            self.urls += [url.rstrip("/") for url in re.findall(r"\b(?:https?|unix)://\S+", line)]

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self) -> int:
        """Stop it as a service manager does; its exit status."""
        self.process.terminate()
        status = self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        return status


@contextlib.contextmanager
def serving(*arguments: str, count: int = 1) -> Iterator[Served]:
    """Run ``python -m evio_http`` with these arguments until the block ends; ``count`` is how many addresses it has."""
    process = Popen(
        [sys.executable, "-m", "evio_http", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield Served(process, count)
    finally:
        process.kill()
        process.wait(TIMEOUT)
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            with contextlib.suppress(ValueError):
                pipe.close()
