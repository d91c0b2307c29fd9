"""Tables in Markdown, for the documentation, of results that were kept as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import median
from typing import Any

__all__ = ["tables"]


def tables(data: dict[str, Any]) -> Iterator[str]:
    """A table of each group of a suite's ``data``, as :func:`~tools.bench.report.as_json` has them: the best round of
    each server, and the subject's CPU time as a multiple of its, by the best rounds and by the median of the rounds."""
    workloads = data["workloads"]
    for title, keys in groupby(workloads, lambda key: heading(workloads[key])):
        yield f"### {title[:1].upper()}{title[1:]}\n\n{table(data, list(keys))}"


def heading(workload: dict[str, Any]) -> str:
    """The title of a workload's group, or its own."""
    return str(workload["group"]["title"] if workload["group"] else workload["title"])


def table(data: dict[str, Any], keys: Sequence[str]) -> str:
    """The workloads ``keys``, a row for each of their servers."""
    metrics: dict[str, str] = data["workloads"][keys[0]]["metrics"]
    headline = next(iter(metrics))
    subject = data["subject"]
    rows = ["| | server | " + " | ".join([*metrics.values(), f"{subject} / it", "by round"]) + " |"]
    rows.append("|" + "---|" * (len(metrics) + 4))
    for key in keys:
        workload = data["workloads"][key]
        name = workload["label"] if workload["group"] else ""
        for server, figures in workload["servers"].items():
            cells = [name, f"**{server}**" if server == subject else server]
            cells += [number(figures[metric]["best"]) for metric in metrics]
            cells += ["", ""] if server == subject else ratios(workload["servers"], subject, server, headline)
            rows.append("| " + " | ".join(cells) + " |")
            name = ""
    return "\n".join(rows) + "\n"


def ratios(servers: dict[str, Any], subject: str, other: str, metric: str) -> list[str]:
    """The subject's figure as a multiple of another server's: of the best rounds, and the median of all rounds."""
    if subject not in servers or not servers[other][metric]["best"]:
        return ["", ""]
    ours, theirs = servers[subject][metric], servers[other][metric]
    by_round = [one / another for one, another in zip(ours["rounds"], theirs["rounds"], strict=True) if another]
    return [f"{ours['best'] / theirs['best']:.2f}", f"{median(by_round):.2f}"]


def number(value: float) -> str:
    """A figure with as many decimals as it deserves."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
