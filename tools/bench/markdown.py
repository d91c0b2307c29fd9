"""Tables in Markdown, for the documentation, of results that were kept as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import median
from typing import Any

__all__ = ["by_server", "by_workload", "comparable", "heading", "number", "tables"]


def tables(data: dict[str, Any]) -> Iterator[str]:
    """A table of each group of a suite's ``data``, as :func:`~tools.bench.report.as_json` has them, and of each
    workload that is in none."""
    workloads = data["workloads"]
    for title, keys in groupby(workloads, lambda key: heading(workloads[key])):
        chosen = [workloads[key] for key in keys]
        rows = by_workload(data, chosen) if comparable(data, chosen) else by_server(data["subject"], chosen[0])
        yield f"{title[:1].upper()}{title[1:]}:\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def heading(workload: dict[str, Any]) -> str:
    """The title of a workload's group, or its own."""
    return str(workload["group"]["title"] if workload["group"] else workload["title"])


def comparable(data: dict[str, Any], workloads: Sequence[dict[str, Any]]) -> bool:
    """True for a group whose workloads were measured on the subject and on the reference."""
    both = {data["subject"], data["reference"]}
    return all(workload["group"] and both <= workload["servers"].keys() for workload in workloads)


def by_workload(data: dict[str, Any], workloads: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """A row for each workload: each figure of the subject and of the reference, and the subject's CPU time (or what is
    the first metric) as a multiple of each server's: of the best rounds, and, in brackets, the median of the rounds."""
    subject, reference = data["subject"], data["reference"]
    metrics: dict[str, str] = workloads[0]["metrics"]
    headline = next(iter(metrics))
    others = list(dict.fromkeys(server for each in workloads for server in each["servers"] if server != subject))
    others.sort(key=lambda server: server != reference)
    yield [f"{subject}, {reference}", *metrics.values(), *(f"/ {server}" for server in others)]
    yield ["---"] * (1 + len(metrics) + len(others))
    for workload in workloads:
        servers = workload["servers"]
        figures = [
            f"{number(servers[subject][key]['best'])}, {number(servers[reference][key]['best'])}" for key in metrics
        ]
        yield [workload["label"], *figures, *(ratio(servers, subject, other, headline) for other in others)]


def by_server(subject: str, workload: dict[str, Any]) -> Iterator[list[str]]:
    """A row for each server of one workload."""
    metrics: dict[str, str] = workload["metrics"]
    headline = next(iter(metrics))
    yield ["", *metrics.values(), f"{subject} / it"]
    yield ["---"] * (2 + len(metrics))
    for server, figures in workload["servers"].items():
        compared = "" if server == subject else ratio(workload["servers"], subject, server, headline)
        yield [server, *(number(figures[key]["best"]) for key in metrics), compared]


def ratio(servers: dict[str, Any], subject: str, other: str, metric: str) -> str:
    """The subject's figure as a multiple of another server's; nothing where one was not measured or is 0."""
    if not {subject, other} <= servers.keys() or not servers[other][metric]["best"]:
        return ""
    ours, theirs = servers[subject][metric], servers[other][metric]
    by_round = [one / another for one, another in zip(ours["rounds"], theirs["rounds"], strict=True) if another]
    best = f"{ours['best'] / theirs['best']:.2f}"
    return f"**{best}** ({median(by_round):.2f})" if len(by_round) > 1 else f"**{best}**"


def number(value: float) -> str:
    """A figure with as many decimals as it deserves."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
