"""Results as tables to read and as JSON to keep."""

from __future__ import annotations

import importlib.util
import os
import platform
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from .results import Outcome, Result, Verdict
from .suite import Metric

__all__ = ["as_json", "show"]


def show(result: Result, console: Console) -> None:
    """Print what it was measured on, a table for each workload and one of the targets."""
    console.print(conditions(result), highlight=False, soft_wrap=True)
    for outcome in result.outcomes.values():
        if outcome.rounds:
            console.print(f"{outcome.workload.key}: {outcome.workload.title}", style="bold", highlight=False)
            console.print(workload_table(outcome, result.suite.subject))
    console.print(f"targets of {result.suite.subject}", style="bold", highlight=False)
    console.print(target_table(result))


def conditions(result: Result) -> str:
    """Where and how: two results are comparable only if these agree."""
    settings, machine = result.settings, machine_json()
    core = "the same" if settings.pin == "same" else "another"
    load = ", ".join(f"{average:.1f}" for average in machine["load_average"])
    return (
        f"{machine['python']}, {machine['evio_core']} evio_core, {machine['system']}, {machine['cores']} cores; "
        f"{settings.rounds} rounds of {settings.seconds:g} s, load on {core} core; load averages {load}"
    )


def machine_json() -> dict[str, Any]:
    core = importlib.util.find_spec("evio_core.loop.loop")
    compiled = core is not None and core.origin is not None and not core.origin.endswith(".py")
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "evio_core": "compiled" if compiled else "plain",
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
    }


def workload_table(outcome: Outcome, subject: str) -> Table:
    workload = outcome.workload
    table = Table("server", box=box.SIMPLE)
    headings = [metric.title for metric in workload.metrics]
    headings += ["spread"] if workload.repeat else []
    if subject in outcome.rounds:
        headings += [f"{subject} / it", "by round"] if workload.repeat else [f"{subject} / it"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for server in outcome.rounds:
        table.add_row(*cells(outcome, subject, server))
    return table


def cells(outcome: Outcome, subject: str, server: str) -> list[str]:
    """A server's row: best values, the spread of the first metric, the subject's ratio to it."""
    workload = outcome.workload
    headline = workload.metrics[0].key
    row = [server, *(number(metric, outcome.best(server, metric.key)) for metric in workload.metrics)]
    if workload.repeat:
        row.append(f"{outcome.spread(server, headline):.0%}")
    if server != subject and subject in outcome.rounds:
        ratio = outcome.ratio(subject, server, headline)
        row.append("" if ratio is None else f"{ratio:.2f}")
        by_round = outcome.round_ratios(subject, server, headline)
        if workload.repeat and by_round:
            row.append("{:.2f} {:.2f} {:.2f}".format(*by_round))
    return row


def number(metric: Metric, value: float) -> str:
    return f"{value:,.{metric.decimals}f}"


def target_table(result: Result) -> Table:
    table = Table("workload", "what", "target", "measured", "", box=box.SIMPLE)
    for verdict in result.verdicts():
        table.add_row(*target_cells(result, verdict))
    return table


def target_cells(result: Result, verdict: Verdict) -> list[RenderableType]:
    target, value = verdict.target, verdict.value
    workload = next(each for each in result.suite.workloads if each.key == target.workload)
    metric = workload.metric(target.metric)
    if target.against:
        limit, measured = f"{target.limit:.2f} x {target.against}", f"{value or 0:.3f}"
    else:
        limit, measured = number(metric, target.limit), number(metric, value or 0)
    row: list[RenderableType] = [workload.key, metric.title, f"{target.comparison} {limit}"]
    if value is None:
        return [*row, "", Text("not measured", "dim")]
    return [*row, measured, Text("missed", "bold red") if verdict.missed else Text("reached", "green")]


def as_json(result: Result) -> dict[str, Any]:
    """Everything measured, each round of it, with what it was measured on."""
    settings = result.settings
    return {
        "suite": result.suite.name,
        "machine": machine_json(),
        "settings": {name: getattr(settings, name) for name in ("rounds", "seconds", "idle_seconds", "pin")},
        "workloads": {key: workload_json(outcome) for key, outcome in result.outcomes.items()},
        "targets": [target_json(verdict) for verdict in result.verdicts()],
    }


def workload_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "title": outcome.workload.title,
        "metrics": {metric.key: metric.title for metric in outcome.workload.metrics},
        "servers": {
            server: {key: {"best": outcome.best(server, key), "rounds": values} for key, values in kept.items()}
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
        "measured": verdict.value,
        "reached": None if verdict.value is None else not verdict.missed,
    }
