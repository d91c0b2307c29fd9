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
    the first metric) as a multiple of each server's, and, in brackets, the median of the turns or of the rounds."""
    subject, reference = data["subject"], data["reference"]
    metrics: dict[str, str] = workloads[0]["metrics"]
    headline = next(iter(metrics))
    others = list(dict.fromkeys(server for each in workloads for server in each["servers"] if server != subject))
    others.sort(key=lambda server: server != reference)
    yield [f"{subject}, {reference}", *metrics.values(), *(f"/ {server}" for server in others)]
    yield ["---"] * (1 + len(metrics) + len(others))
    for workload in workloads:
        figures = [
            f"{number(figure(workload, subject, key))}, {number(figure(workload, reference, key))}" for key in metrics
        ]
        yield [workload["label"], *figures, *(ratio(workload, subject, other, headline) for other in others)]


def by_server(subject: str, workload: dict[str, Any]) -> Iterator[list[str]]:
    """A row for each server of one workload."""
    metrics: dict[str, str] = workload["metrics"]
    headline = next(iter(metrics))
    yield ["", *metrics.values(), f"{subject} / it"]
    yield ["---"] * (2 + len(metrics))
    for server in workload["servers"]:
        compared = "" if server == subject else ratio(workload, subject, server, headline)
        yield [server, *(number(figure(workload, server, key)) for key in metrics), compared]


def figure(workload: dict[str, Any], server: str, metric: str) -> float:
    """The best of the rounds or, of servers that take turns and are disturbed alike, their median."""
    kept = workload["servers"][server][metric]
    return float(kept["median" if workload.get("turns") else "best"])


def ratio(workload: dict[str, Any], subject: str, other: str, metric: str) -> str:
    """The subject's figure as a multiple of another server's; nothing where one was not measured or is 0."""
    servers = workload["servers"]
    if not {subject, other} <= servers.keys() or not figure(workload, other, metric):
        return ""
    best = f"{figure(workload, subject, metric) / figure(workload, other, metric):.2f}"
    if workload.get("turns"):
        return f"**{best}** ({workload['turns'][other]:.2f})"
    ours, theirs = servers[subject][metric], servers[other][metric]
    by_round = [one / another for one, another in zip(ours["rounds"], theirs["rounds"], strict=True) if another]
    return f"**{best}** ({median(by_round):.2f})" if len(by_round) > 1 else f"**{best}**"


def number(value: float) -> str:
    """A figure with as many decimals as it deserves."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
