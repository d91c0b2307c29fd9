"""``python -m tools.bench SUITE``: the command line."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

if sys.platform != "linux":
    sys.exit("tools.bench reads CPU time, memory and wake-ups from Linux's /proc: it runs on Linux only")

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from . import echo, http, redis
from .report import as_json, show
from .results import Result
from .run import Step, run
from .server import BenchError
from .suite import Settings, Suite, matches

__all__ = ["main"]

COLUMNS = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))

SUITES = {suite.name: suite for suite in (echo.SUITE, http.SUITE, redis.SUITE)}


class Parser(argparse.ArgumentParser):
    """Errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with status 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark that ARGUMENTS ask for.

    Returns the exit status: 0, or 1 when a target was missed and ``--check`` was given, 2 when it could not
    be measured, 130 when interrupted.
    """
    asked = parser().parse_args(arguments)
    # As Ctrl-C does, so that the servers are stopped.
    signal.signal(signal.SIGTERM, interrupt)
    try:
        result = measured(asked)
    except BenchError as error:
        print(f"tools.bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tools.bench: interrupted; the servers are stopped", file=sys.stderr)
        return 130
    # In a pipe or a file, rich would fold tables at 80 columns.
    show(result, Console() if sys.stdout.isatty() else Console(width=140))
    if asked.json:
        asked.json.write_text(json.dumps(as_json(result), indent=2) + "\n")
    return status(result) if asked.check else 0


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def measured(asked: argparse.Namespace) -> Result:
    suite: Suite = SUITES[asked.suite]
    settings = Settings(asked.rounds, asked.seconds, asked.idle_seconds, asked.pin)
    workloads = [each for each in suite.workloads if each.key in asked.only]
    with Progress(*COLUMNS, console=Console(stderr=True), transient=True) as progress:

        def track(plan: Sequence[Step]) -> Iterator[Step]:
            task = progress.add_task("", total=len(plan))
            for step in plan:
                progress.update(task, description=str(step))
                yield step
                progress.advance(task)

        return run(suite, settings, workloads, asked.servers, track)


def status(result: Result) -> int:
    """1 when a target was missed. That none could be judged is an error: it would pass for a success."""
    verdicts = result.verdicts()
    if all(verdict.value is None for verdict in verdicts):
        print("tools.bench: --check, but nothing was measured that has a target", file=sys.stderr)
        return 2
    return 1 if any(verdict.missed for verdict in verdicts) else 0


def parser() -> Parser:
    top = Parser(prog="python -m tools.bench", description="Measure servers side by side.")
    suites = top.add_subparsers(dest="suite", required=True, metavar="{" + ",".join(SUITES) + "}")
    for suite in SUITES.values():
        add_options(suites.add_parser(suite.name, help=suite.title, description=suite.title), suite)
    return top


def add_options(options: argparse.ArgumentParser, suite: Suite) -> None:
    default = Settings()
    keys = tuple(workload.key for workload in suite.workloads)
    kinds = tuple(dict.fromkeys(key.partition(":")[0] for key in keys))
    options.add_argument(
        "--only",
        type=patterns(keys, kinds),
        default=keys,
        metavar="WORKLOAD,...",
        help=f"{', '.join(kinds)}; or with what follows a colon in the tables; * and ? match several",
    )
    options.add_argument(
        "--servers",
        type=names(suite.servers()),
        default=suite.installed(),
        metavar="NAME,...",
        help=", ".join(suite.servers()),
    )
    options.add_argument("--rounds", type=positive(int), default=default.rounds, help="default: %(default)s")
    options.add_argument(
        "--seconds",
        type=positive(float),
        default=default.seconds,
        help="under load, a round (default: %(default)s)",
    )
    options.add_argument(
        "--idle-seconds",
        type=positive(float),
        default=default.idle_seconds,
        help="without load, to count wake-ups (default: %(default)s)",
    )
    options.add_argument(
        "--pin",
        choices=("same", "split"),
        default=default.pin,
        help="the load runs on the server's core (the default) or on another",
    )
    options.add_argument("--json", type=writable, metavar="FILE", help="also write every figure to FILE")
    options.add_argument("--check", action="store_true", help="exit with status 1 when a target is missed")


def writable(text: str) -> Path:
    """A file that can be written: found out before minutes are spent on measuring."""
    path = Path(text)
    try:
        path.open("a").close()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot write {text!r}: {error.strerror}") from None
    return path


def names(allowed: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """A parser of comma-separated names."""

    def parse(text: str) -> tuple[str, ...]:
        given = tuple(text.split(","))
        for name in given:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(allowed)}")
        return given

    return parse


def patterns(keys: Sequence[str], kinds: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """A parser of comma-separated patterns for KEYS; the error lists their KINDS, since there are many keys."""

    def parse(text: str) -> tuple[str, ...]:
        given = text.split(",")
        for pattern in given:
            if not any(matches(key, pattern) for key in keys):
                raise argparse.ArgumentTypeError(f"{pattern!r} is not one of {', '.join(kinds)}")
        return tuple(key for key in keys if any(matches(key, pattern) for pattern in given))

    return parse


def positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    """A parser of numbers above 0."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not 0 < value < float("inf"):
            word = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {word} above 0")
        return value

    return parse


if __name__ == "__main__":
    sys.exit(main())
