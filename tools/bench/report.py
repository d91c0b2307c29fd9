"""Results as tables to read and as JSON to keep."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from .results import Outcome, Result, Verdict
from .suite import Metric, Suite, Target, is_variant, matches

__all__ = ["as_json", "show", "show_short"]

WORDS = 14
"""Letters that there is room for in a line of a workload's name, or of a server and its ratio, however narrow it is."""


def show(result: Result, console: Console) -> None:
    """Print what it was measured on, a table for each group of workloads and one of the targets."""
    console.print(conditions(result), highlight=False, soft_wrap=True)
    measured = [outcome for outcome in result.outcomes.values() if outcome.rounds]
    for title, outcomes in groupby(measured, heading):
        console.print(title, style="bold", highlight=False)
        console.print(group_table(list(outcomes), result.suite.subject))
    if any(verdict.value is not None for verdict in result.verdicts()):
        console.print(f"targets of {result.suite.subject}", style="bold", highlight=False)
        console.print(target_table(result))


def show_short(results: Sequence[Result], console: Console) -> None:
    """Print one table of several suites: what the subject takes, and how that compares with each of the others."""
    console.print(conditions(results[0]), highlight=False, soft_wrap=True)
    table = Table(box=box.SIMPLE)
    table.add_column("suite", no_wrap=True)
    table.add_column("workload", min_width=WORDS)
    for each in ("CPU µs", "p50 ms", "p99 ms", "p99.9 ms"):
        table.add_column(each, justify="right", no_wrap=True)
    table.add_column("CPU beside", min_width=WORDS)
    table.add_column("p99 beside", min_width=WORDS)
    for result in results:
        for outcome in result.outcomes.values():
            table.add_row(*short_cells(result, outcome))
        table.add_section()
    console.print(table)


def short_cells(result: Result, outcome: Outcome) -> list[str]:
    workload, subject = outcome.workload, result.suite.subject
    metrics = [workload.metric(key) for key in ("cpu", "p50", "p99", "p999")]
    row = [result.suite.name, workload.label or workload.key]
    row += [number(metric, outcome.figure(subject, metric.key)) for metric in metrics]
    # The subject with other settings is in the tables of its suite.
    others = [server for server in outcome.rounds if server != subject and not is_variant(server, subject)]
    return [
        *row,
        compared(outcome, subject, others, "cpu"),
        compared(outcome, subject, [result.suite.reference], "p99"),
    ]


def compared(outcome: Outcome, subject: str, others: Sequence[str], key: str) -> str:
    """The ratios of a metric to each of the ``others``'. Where the room is narrow, lines end between servers."""
    ratios = {server: outcome.ratio(subject, server, key) for server in others}
    found = (f"{server} {ratio:.2f}" for server, ratio in ratios.items() if ratio is not None)
    return "  ".join(each.replace(" ", "\N{NO-BREAK SPACE}") for each in found)


def heading(outcome: Outcome) -> str:
    """The title of the table that an outcome is in."""
    workload = outcome.workload
    return workload.group.title if workload.group else f"{workload.key}: {workload.title}"


def conditions(result: Result) -> str:
    """Return the conditions of a run: two results are comparable only if these agree."""
    settings, machine = result.settings, machine_json()
    core = "the same" if settings.pin == "same" else "another"
    load = ", ".join(f"{average:.1f}" for average in machine["load_average"])
    first = ", before everything else (SCHED_RR or SCHED_FIFO)" if machine["real_time"] else ""
    return (
        f"{machine['python']}, {machine['system']}, {machine['cores']} cores; "
        f"{settings.rounds} rounds of {settings.seconds:g} s, load on {core} core{first}; load averages {load}"
    )


def machine_json() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "real_time": os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR),
    }


def group_table(outcomes: Sequence[Outcome], subject: str) -> Table:
    """A row for each workload and server. All workloads of a group have the same metrics."""
    first = outcomes[0].workload
    table = Table(box=box.SIMPLE)
    for each in ["workload", "server"] if first.group else ["server"]:
        table.add_column(each, no_wrap=True)
    headings = [metric.title for metric in first.metrics]
    if any(subject in outcome.rounds for outcome in outcomes):
        headings += [f"{subject} / it", *(["by round"] if first.repeat else []), *(["by turn"] if first.load else [])]
    for each in headings:
        table.add_column(each, justify="right", no_wrap=True)
    for outcome in outcomes:
        name = outcome.workload.key
        for server in outcome.rounds:
            table.add_row(*([name] if first.group else []), *cells(outcome, subject, server))
            name = ""
    return table


def cells(outcome: Outcome, subject: str, server: str) -> list[str]:
    """A server's row: its figures, the subject's ratios to it."""
    workload = outcome.workload
    headline = workload.metrics[0].key
    row = [server, *(number(metric, outcome.figure(server, metric.key)) for metric in workload.metrics)]
    if server != subject and subject in outcome.rounds:
        ratio = outcome.ratio(subject, server, headline)
        row.append("" if ratio is None else f"{ratio:.2f}")
        by_round = outcome.round_ratios(subject, server, headline)
        if workload.repeat and by_round:
            row.append("{:.2f} {:.2f} {:.2f}".format(*by_round))
        by_turn = outcome.turn_ratio(subject, server)
        if by_turn is not None:
            row.append(f"{by_turn:.2f}")
    return row


def number(metric: Metric, value: float) -> str:
    return f"{value:,.{metric.decimals}f}"


def target_table(result: Result) -> Table:
    table = Table("workload", "what", "target", "measured", "", box=box.SIMPLE)
    for verdict in result.verdicts():
        if verdict.value is not None:
            table.add_row(*target_cells(result.suite, verdict.target, verdict.value, verdict.missed))
    return table


def target_cells(suite: Suite, target: Target, value: float, missed: bool) -> list[RenderableType]:
    workload = next(each for each in suite.workloads if matches(each.key, target.workload))
    metric = workload.metric(target.metric)
    if target.against:
        limit, measured = f"{target.limit:.2f} x {target.against}", f"{value:.2f}"
    else:
        limit, measured = number(metric, target.limit), number(metric, value)
    name = target.workload if target.workload == workload.key else f"{target.workload}: {target.of}"
    verdict = Text("missed", "bold red") if missed else Text("reached", "green")
    return [name, metric.title, f"{target.comparison} {limit}", measured, verdict]


def as_json(result: Result) -> dict[str, Any]:
    """Everything measured, each round of it, with what it was measured on."""
    settings = result.settings
    return {
        "suite": result.suite.name,
        "subject": result.suite.subject,
        "reference": result.suite.reference,
        "machine": machine_json(),
        "settings": {name: getattr(settings, name) for name in ("rounds", "seconds", "idle_seconds", "pin")},
        "workloads": {key: workload_json(outcome, result.suite) for key, outcome in result.outcomes.items()},
        "targets": [target_json(verdict) for verdict in result.verdicts()],
    }


def workload_json(outcome: Outcome, suite: Suite) -> dict[str, Any]:
    return {
        "title": outcome.workload.title,
        "label": outcome.workload.label or outcome.workload.key,
        "short": any(matches(outcome.workload.key, pattern) for pattern in suite.short),
        "group": asdict(outcome.workload.group) if outcome.workload.group else None,
        "metrics": {metric.key: metric.title for metric in outcome.workload.metrics},
        "turns": {
            server: outcome.turn_ratio(suite.subject, server) for server, costs in outcome.turns.items() if costs
        },
        "servers": {
            server: {
                key: {"best": outcome.best(server, key), "median": outcome.median(server, key), "rounds": values}
                for key, values in kept.items()
            }
            for server, kept in outcome.rounds.items()
        },
    }


def target_json(verdict: Verdict) -> dict[str, Any]:
    target = verdict.target
    return {
        "workload": target.workload,
        "metric": target.metric,
        "against": target.against,
        "comparison": target.comparison,
        "limit": target.limit,
        "of": target.of,
        "measured": verdict.value,
        "reached": None if verdict.value is None else not verdict.missed,
    }
