"""``python -m tools.bench SUITE|short|docs|charts|tables``: the command line."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

if sys.platform != "linux":
    sys.exit("tools.bench reads CPU time, memory and wake-ups from Linux's /proc: it runs on Linux only")

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from . import echo, http, redis
from .documents import filled
from .markdown import tables
from .report import as_json, show, show_short
from .results import Result
from .run import Step, run
from .server import ROOT, BenchError, Requirement, require
from .suite import Settings, Suite, Workload, matches

__all__ = ["main"]

COLUMNS = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))

SHORT = Settings(rounds=2, seconds=0.5)
SHORT_CHARTS = "build/bench"

DOCUMENTED = Settings(rounds=2, seconds=0.5, idle_seconds=2.0)
RESULTS, PICTURES = ROOT / "docs/results", ROOT / "docs/_static"
PAGES = (ROOT / "README.md", ROOT / "docs/benchmarks.md")
"""Places of the figures, the charts and the tables of the documentation."""

MATPLOTLIB = Requirement("matplotlib", "pip install matplotlib (it is among the development dependencies)")

SUITES = {suite.name: suite for suite in (echo.SUITE, http.SUITE, redis.SUITE)}


class Parser(argparse.ArgumentParser):
    """Errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with status 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what ``arguments`` ask for.

    Returns the exit status: 0, or 1 when a target was missed and ``--check`` was given, 2 when it could not
    be measured or written, 130 when interrupted.
    """
    asked = parser().parse_args(arguments)
    # As Ctrl-C does, so that the servers are stopped.
    signal.signal(signal.SIGTERM, interrupt)
    try:
        status: int = asked.run(asked)
    except (BenchError, OSError) as error:
        print(f"tools.bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tools.bench: interrupted; the servers are stopped", file=sys.stderr)
        return 130
    return status


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run_suite(asked: argparse.Namespace) -> int:
    """One suite, with all its tables."""
    suite: Suite = SUITES[asked.command]
    require([MATPLOTLIB] if asked.charts else [])
    settings = Settings(asked.rounds, asked.seconds, asked.idle_seconds, asked.pin)
    result = measured(suite, settings, suite.chosen(asked.only), asked.servers)
    show(result, console())
    data = as_json(result)
    if asked.json:
        write(asked.json, data)
    if asked.charts:
        from .charts import suite_charts

        told(suite_charts(data, asked.charts))
    return status(result) if asked.check else 0


def run_short(asked: argparse.Namespace) -> int:
    """Measure what is most telling of every suite, for one table and one chart."""
    require([MATPLOTLIB])
    # Importing it takes a second, which the suites by themselves do without.
    from .charts import summary_chart

    settings = Settings(asked.rounds, asked.seconds)
    results = [measured(suite, settings, suite.chosen(suite.short), suite.installed()) for suite in SUITES.values()]
    kept = [as_json(result) for result in results]
    for data in kept:
        write(asked.charts / f"{data['suite']}.json", data)
    written = summary_chart(kept, asked.charts)
    show_short(results, console())
    told(written)
    return 0


def run_docs(asked: argparse.Namespace) -> int:
    """Measure what the documentation shows, or take what was kept; draw its charts and fill its tables."""
    require([MATPLOTLIB])
    from .charts import suite_charts, summary_chart

    began = time.monotonic()
    RESULTS.mkdir(exist_ok=True)
    settings = Settings(asked.rounds, asked.seconds, DOCUMENTED.idle_seconds)
    for name in () if asked.redraw else asked.suites:
        suite = SUITES[name]
        result = measured(suite, settings, suite.chosen(suite.documented), suite.installed())
        write(RESULTS / f"{suite.name}.json", as_json(result))
    kept = {name: read(path) for name in SUITES if (path := RESULTS / f"{name}.json").exists()}
    told([path for data in kept.values() for path in suite_charts(data, PICTURES)])
    told(summary_chart(list(kept.values()), PICTURES))
    for page in PAGES:
        page.write_text(filled(page.read_text(), kept))
    told(PAGES)
    print(f"{time.monotonic() - began:.0f} s")
    return 0


def run_charts(asked: argparse.Namespace) -> int:
    """The charts of results that were kept."""
    require([MATPLOTLIB])
    from .charts import suite_charts, summary_chart

    kept = [read(path) for path in asked.results]
    written = [path for data in kept for path in suite_charts(data, asked.charts)]
    told([*written, *summary_chart(kept, asked.charts)])
    return 0


def run_tables(asked: argparse.Namespace) -> int:
    """The tables of results that were kept, in Markdown."""
    for path in asked.results:
        print("\n".join(tables(read(path))))
    return 0


def read(path: Path) -> dict[str, Any]:
    """A result that ``--json`` has written. Raises :class:`BenchError` for anything else."""
    try:
        data = json.loads(path.read_text())
        suite = SUITES[data["suite"]]
        missing = {"subject", "reference", "workloads"} - data.keys()
    except (ValueError, KeyError, TypeError):
        raise BenchError(f"{path} is not what --json writes") from None
    if missing or suite.reference != data["reference"]:
        raise BenchError(f"{path} is of another version: measure again")
    return dict(data)


def write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n")


def told(paths: Sequence[Path]) -> None:
    """Say where the charts are."""
    for path in paths:
        print(path)


def console() -> Console:
    """For tables: in a pipe or a file, rich would fold them at 80 columns."""
    return Console(emoji=False) if sys.stdout.isatty() else Console(width=140, emoji=False)


def measured(suite: Suite, settings: Settings, workloads: Sequence[Workload], servers: Collection[str]) -> Result:
    with Progress(*COLUMNS, console=Console(stderr=True, emoji=False), transient=True) as progress:

        def track(plan: Sequence[Step]) -> Iterator[Step]:
            task = progress.add_task("", total=len(plan))
            for step in plan:
                progress.update(task, description=f"{suite.name} {step}")
                yield step
                progress.advance(task)

        return run(suite, settings, workloads, servers, track)


def status(result: Result) -> int:
    """1 when a target was missed. That none could be judged is an error: it would pass for a success."""
    verdicts = result.verdicts()
    if all(verdict.value is None for verdict in verdicts):
        print("tools.bench: --check, but nothing was measured that has a target", file=sys.stderr)
        return 2
    return 1 if any(verdict.missed for verdict in verdicts) else 0


def parser() -> Parser:
    top = Parser(prog="python -m tools.bench", description="Measure servers side by side.")
    commands = top.add_subparsers(
        dest="command", required=True, metavar="{" + ",".join((*SUITES, "short", "docs", "charts", "tables")) + "}"
    )
    for suite in SUITES.values():
        add_options(commands.add_parser(suite.name, help=suite.title, description=suite.title), suite)
    about = "what is most telling of every suite, in two minutes: a table and a chart"
    short = commands.add_parser("short", help=about, description=about)
    short.set_defaults(run=run_short)
    add_effort(short, SHORT)
    add_charts(short, SHORT_CHARTS)
    about = "what the documentation shows, in nine minutes: figures as JSON, charts and tables into docs/ and README.md"
    docs = commands.add_parser("docs", help=about, description=about)
    docs.set_defaults(run=run_docs)
    add_effort(docs, DOCUMENTED)
    docs.add_argument(
        "--suites",
        type=names(tuple(SUITES)),
        default=tuple(SUITES),
        metavar="NAME,...",
        help="measure these, and keep the figures of the others (default: all)",
    )
    docs.add_argument(
        "--redraw", action="store_true", help="measure nothing: make charts and tables of the figures that are there"
    )
    about = "draw the charts of results that --json has kept"
    charts = commands.add_parser("charts", help=about, description=about)
    charts.set_defaults(run=run_charts)
    charts.add_argument("results", type=Path, nargs="+", metavar="FILE")
    add_charts(charts, SHORT_CHARTS)
    about = "print the tables of results that --json has kept, in Markdown"
    printed = commands.add_parser("tables", help=about, description=about)
    printed.set_defaults(run=run_tables)
    printed.add_argument("results", type=Path, nargs="+", metavar="FILE")
    return top


def add_effort(options: argparse.ArgumentParser, default: Settings) -> None:
    options.add_argument("--rounds", type=positive(int), default=default.rounds, help="default: %(default)s")
    options.add_argument(
        "--seconds",
        type=positive(float),
        default=default.seconds,
        help="under load, a server and round; all its turns together (default: %(default)s)",
    )


def add_charts(options: argparse.ArgumentParser, default: str | None) -> None:
    options.add_argument(
        "--charts",
        type=folder,
        default=default,
        metavar="DIR",
        help="write the charts there" + (" (default: %(default)s)" if default else ""),
    )


def add_options(options: argparse.ArgumentParser, suite: Suite) -> None:
    options.set_defaults(run=run_suite)
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
    add_effort(options, default)
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
    add_charts(options, None)
    options.add_argument("--check", action="store_true", help="exit with status 1 when a target is missed")


def writable(text: str) -> Path:
    """A file that can be written: found out before minutes are spent on measuring."""
    path = Path(text)
    try:
        path.open("a").close()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot write {text!r}: {error.strerror}") from None
    return path


def folder(text: str) -> Path:
    """A folder to write to, made where there is none."""
    path = Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot write to {text!r}: {error.strerror}") from None
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
    """A parser of comma-separated patterns for ``keys``; the error lists their ``kinds``, since there are many keys."""

    def parse(text: str) -> tuple[str, ...]:
        given = text.split(",")
        for pattern in given:
            if not any(matches(key, pattern) for key in keys):
                raise argparse.ArgumentTypeError(f"{pattern!r} is not one of {', '.join(kinds)}")
        return tuple(given)

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
