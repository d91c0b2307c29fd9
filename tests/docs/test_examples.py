"""The examples of the documentation are run: each serves, for a moment, on a port of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)

PREPARE = """
import evio_core, re
from evio_core import Action, stdlib

def movable(addresses):
    ports = [re.sub("(localhost|127.0.0.1):[0-9]+", "127.0.0.1:0", address) for address in addresses]
    return [address.replace("/tmp/", "./") for address in ports]

def ending(events):
    own = events.tick
    def tick():
        if own is not None:
            own()
        return Action.SHUTDOWN
    events.tick = tick
    return events

real_serve, real_workers, real_async = evio_core.serve, evio_core.workers, stdlib.serve
evio_core.serve = lambda events, *addresses: real_serve(ending(events), *movable(addresses))
evio_core.workers = lambda n, events, *addresses: real_workers(2, ending(events), *movable(addresses))
stdlib.serve = lambda events, *addresses: real_async(ending(events), *movable(addresses))
"""


def examples() -> Iterator[tuple[str, str]]:
    for path in sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md")]):
        for number, block in enumerate(BLOCK.findall(path.read_text()), 1):
            yield f"{path.relative_to(ROOT)}-{number}", block


EXAMPLES = dict(examples())


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    source = EXAMPLES[name]
    compile(source, name, "exec")
    whole = "serve(" in source or "workers(" in source or ".run()" in source or "Server(port=0)" in source
    assert whole, "an example that serves nothing cannot be tried by its reader either"
    (tmp_path / "public").mkdir()  # what the HTTP server's example serves
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PREPARE + source],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 8
