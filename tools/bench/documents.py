"""Tables within Markdown files: what stands between two marks is made anew from results that were kept as JSON.

``<!-- bench: table redis mixed -->`` ... ``<!-- /bench -->``: a table of a group, or of a workload in none, which
folds away; ``summary SUITE``: the workloads of the short form as ratios; ``targets SUITE``: what is wanted and what was
measured; ``machine SUITE``: what it was measured on. All of it is text that GitHub shows as well as Sphinx does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from .markdown import by_server, by_workload, comparable, heading, number
from .server import BenchError
from .suite import is_variant

__all__ = ["filled"]

MARK = re.compile(r"(<!-- bench: ([^\n]+?) -->\n)(.*?)(<!-- /bench -->)", re.DOTALL)


def filled(text: str, results: Mapping[str, dict[str, Any]]) -> str:
    """Return ``text`` with what is between its marks made of ``results``, by suite. A mark of a suite that is not among
    them stays as it is. Raises :class:`BenchError` for a mark that asks for what does not exist."""

    def fill(found: re.Match[str]) -> str:
        kind, suite, *rest = found[2].split()
        if suite not in results:
            return found[0]
        return found[1] + made(kind, results[suite], rest, found[2]) + found[4]

    return MARK.sub(fill, text)


def made(kind: str, data: dict[str, Any], rest: list[str], mark: str) -> str:
    match kind, rest:
        case "table", [name]:
            return table(data, name, mark)
        case "summary", []:
            return summary(data)
        case "targets", []:
            return targets(data)
        case "machine", []:
            return machine(data)
    raise BenchError(
        f"a page asks for {mark!r}; there are: table SUITE NAME, summary SUITE, targets SUITE, machine SUITE"
    )


def table(data: dict[str, Any], name: str, mark: str) -> str:
    """A folded table of the group or workload ``name``; empty if none of it was measured."""
    chosen = [
        workload
        for key, workload in data["workloads"].items()
        if (workload["group"]["key"] if workload["group"] else key) == name
    ]
    if not chosen:
        raise BenchError(f"a page asks for {mark!r}, of which nothing was measured")
    rows = by_workload(data, chosen) if comparable(data, chosen) else by_server(data["subject"], chosen[0])
    title = heading(chosen[0])
    return folded(f"{title[:1].upper()}{title[1:]}", rows)


def folded(title: str, rows: Iterable[list[str]]) -> str:
    """A table that folds away."""
    return f"<details>\n<summary>{title}</summary>\n\n{lines(rows)}\n</details>\n"


def lines(rows: Iterable[list[str]]) -> str:
    """The rows of a table."""
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def summary(data: dict[str, Any]) -> str:
    """The short form: CPU time as a multiple of each other server's, and the 99th percentile of the reference's. The
    subject with other settings is compared with the reference, too."""
    subject, reference = data["subject"], data["reference"]
    chosen = [each for each in data["workloads"].values() if each["short"] and subject in each["servers"]]
    others = list(dict.fromkeys(server for each in chosen for server in each["servers"] if server != subject))
    others.sort(key=lambda server: server != reference)
    pairs = [(each, reference) if is_variant(each, subject) else (subject, each) for each in others]
    heads = [f"CPU / {other}" if one == subject else f"{one}: CPU / {other}" for one, other in pairs]
    rows = [[f"evio-{data['suite']}", *heads, f"p99 / {reference}"]]
    rows.append(["---"] * len(rows[0]))
    for workload in chosen:
        ratios = [ratio(workload, one, other, "cpu") for one, other in pairs]
        rows.append([workload["label"], *ratios, ratio(workload, subject, reference, "p99")])
    return lines(rows)


def ratio(workload: dict[str, Any], subject: str, other: str, metric: str) -> str:
    """The median of the rounds' ratios, which is what the charts show."""
    servers = workload["servers"]
    if not {subject, other} <= servers.keys():
        return ""
    pairs = zip(servers[subject][metric]["rounds"], servers[other][metric]["rounds"], strict=True)
    return f"{median(one / another for one, another in pairs if another):.2f}"


def targets(data: dict[str, Any]) -> str:
    """List the targets of the suite, and which of them were reached."""
    measured = [each for each in data["targets"] if each["measured"] is not None]
    reached = sum(each["reached"] for each in measured)
    rows = [["workload", "figure", "wanted", "measured", ""], ["---"] * 5]
    for each in measured:
        of = f", {each['of']}" if each["of"] == "median" else ""
        against = f" times {each['against']}" if each["against"] else ""
        wanted = f"{each['comparison']} {number(each['limit'])}{against}".replace("<", "&lt;").replace(">", "&gt;")
        verdict = "reached" if each["reached"] else "**missed**"
        rows.append([f"`{each['workload']}`{of}", each["metric"], wanted, number(each["measured"]), verdict])
    return folded(f"What is wanted of evio-{data['suite']}: {reached} of {len(measured)} targets are reached", rows)


def machine(data: dict[str, Any]) -> str:
    """Name the machine and the conditions of the run."""
    found, settings = data["machine"], data["settings"]
    load = ", ".join(f"{average:.1f}" for average in found["load_average"])
    first = ""
    if found["real_time"]:
        first = (
            ", before everything else on its core, which the kernel interrupts for 50 ms of each second: some "
            "percentiles of latency are that pause"
        )
    return (
        f"{found['system']}, {found['cores']} cores, {found['python']}; "
        f"{settings['rounds']} rounds of {settings['seconds']:g} s{first}; load averages at the end: {load}.\n"
    )
