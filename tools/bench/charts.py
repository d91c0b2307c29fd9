"""Charts of results that were kept as JSON: SVG, for a light and for a dark page.

A row is a workload, a mark a server: what it takes as a multiple of the suite's reference, the median of the rounds.
The scale is logarithmic, so that half as much and twice as much are equally far from the line at 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

__all__ = ["SUMMARY", "Panel", "Row", "draw", "group_charts", "panel", "summary_chart"]

SUMMARY = "summary"
"""The name of the chart that has what is most telling of all suites."""

MEASURES = (("cpu", "CPU time"), ("p99", "99th percentile of latency"))
"""The metrics that are drawn, side by side, with the titles of their columns."""

WIDTH, ROW, HEADER, FOOTER = 9.0, 0.27, 0.72, 0.5
"""Inches: the whole, a row, what is above a panel's rows, what is below the last panel."""
LEFT, GAP, RIGHT = 0.30, 0.05, 0.05
"""Parts of the width: what labels take, what is between the columns, what is beyond them."""

TICKS = (0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a page."""

    text: str
    faint: str
    grid: str
    servers: dict[str, str]


LIGHT = Theme(
    "#1f2328",
    "#59636e",
    "#d1d9e0",
    {
        "evio": "#0969da",
        "bare": "#1a7f37",
        "floor": "#1a7f37",
        "uvloop": "#8250df",
        "asyncio": "#bc4c00",
        "valkey": "#bc4c00",
    },
)
DARK = Theme(
    "#e6edf3",
    "#9198a1",
    "#3d444d",
    {
        "evio": "#58a6ff",
        "bare": "#3fb950",
        "floor": "#3fb950",
        "uvloop": "#bc8cff",
        "asyncio": "#f0883e",
        "valkey": "#f0883e",
    },
)
THEMES = {"light": LIGHT, "dark": DARK}

MARKS = {"evio": "o", "bare": "|", "floor": "|", "asyncio": "D", "uvloop": "s", "valkey": "D"}


@dataclass(frozen=True, slots=True)
class Row:
    """A workload: for each measure and server, the multiple of the reference."""

    label: str
    ratios: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """Rows that are measured by the same reference."""

    title: str
    subject: str
    reference: str
    rows: tuple[Row, ...]


def panel(title: str, data: dict[str, Any], keys: Sequence[str]) -> Panel:
    """The workloads ``keys`` of a suite's ``data``, as :func:`~tools.bench.report.as_json` has them, without those that
    the reference was not measured on."""
    rows = []
    for key in keys:
        workload = data["workloads"][key]
        reference = workload["servers"].get(data["reference"])
        if reference is None or data["subject"] not in workload["servers"]:
            continue
        ratios = {
            measure: {
                server: median(
                    one / other
                    for one, other in zip(figures[measure]["rounds"], reference[measure]["rounds"], strict=True)
                )
                for server, figures in workload["servers"].items()
                if server != data["reference"] and all(reference[measure]["rounds"])
            }
            for measure, _ in MEASURES
        }
        rows.append(Row(workload["label"], ratios))
    return Panel(title, data["subject"], data["reference"], tuple(rows))


def group_charts(data: dict[str, Any], directory: Path) -> list[Path]:
    """A chart of each group of a suite's ``data``. Returns the files."""

    def group_of(key: str) -> tuple[str, str] | None:
        group = data["workloads"][key]["group"]
        return (group["key"], group["title"]) if group else None

    written = []
    for group, keys in groupby(data["workloads"], group_of):
        if group is not None:
            drawn = panel(group[1], data, list(keys))
            written += draw([drawn], directory, f"{data['suite']}-{group[0]}") if drawn.rows else []
    return written


def summary_chart(suites: Sequence[dict[str, Any]], directory: Path) -> list[Path]:
    """One chart of what is most telling of each suite's data. Returns the files."""
    panels = []
    for data in suites:
        keys = [key for key, workload in data["workloads"].items() if workload["short"]]
        panels.append(panel(f"evio-{data['suite']} beside {data['reference']}", data, keys))
    return draw([each for each in panels if each.rows], directory, SUMMARY)


def draw(panels: Sequence[Panel], directory: Path, name: str) -> list[Path]:
    """Write ``name``-light.svg and ``name``-dark.svg into ``directory``. Returns the files. Raises OSError where they
    cannot be written."""
    written = []
    for theme_name, theme in THEMES.items():
        path = directory / f"{name}-{theme_name}.svg"
        # Text stays text; the same figures give the same file.
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9, "font.family": "sans-serif"}):
            figure(panels, theme).savefig(path, format="svg", transparent=True, metadata={"Date": None})
        written.append(path)
    return written


def figure(panels: Sequence[Panel], theme: Theme) -> Figure:
    """All panels, one below the other."""
    height = FOOTER + sum(HEADER + ROW * len(each.rows) for each in panels)
    drawn = Figure(figsize=(WIDTH, height))
    limits = [span(panels, measure) for measure, _ in MEASURES]
    width = (1 - LEFT - RIGHT - GAP * (len(MEASURES) - 1)) / len(MEASURES)
    top = height
    for each in panels:
        bottom = top - HEADER - ROW * len(each.rows)
        drawn.text(0.01, (top - 0.3) / height, each.title, color=theme.text, weight="bold", va="top", size=10)
        for column, (measure, title) in enumerate(MEASURES):
            left = LEFT + column * (width + GAP)
            axes = drawn.add_axes((left, bottom / height, width, ROW * len(each.rows) / height))
            axes.set_title(f"{title}, {each.reference} = 1", color=theme.faint, size=8, loc="left", pad=3)
            fill(axes, each, measure, limits[column], theme, labelled=column == 0)
        top = bottom
    legend(drawn, panels, theme, height)
    return drawn


def span(panels: Sequence[Panel], measure: str) -> tuple[float, float]:
    """The ends of the axis of a measure: the next powers of two."""
    values = [ratio for each in panels for row in each.rows for ratio in row.ratios[measure].values()]
    low = max(tick for tick in TICKS if tick < min(*values, 0.99) or tick == TICKS[0])
    high = min(tick for tick in TICKS if tick > max(*values, 1.01) or tick == TICKS[-1])
    return low, high


def fill(axes: Axes, panel: Panel, measure: str, limits: tuple[float, float], theme: Theme, *, labelled: bool) -> None:
    """One column of a panel."""
    axes.set_xscale("log", base=2)
    # Room for the figure beside a mark at the end.
    axes.set_xlim(limits[0] * 0.9, limits[1] * 1.25)
    axes.set_ylim(len(panel.rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if limits[0] <= tick <= limits[1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(axis="x", colors=theme.faint, length=0, labelsize=7.5, pad=2)
    axes.set_yticks(range(len(panel.rows)), [row.label for row in panel.rows] if labelled else [])
    axes.tick_params(axis="y", colors=theme.text, length=0)
    axes.grid(axis="x", color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.axvline(1, color=theme.faint, linewidth=1.3)
    marks: dict[str, list[tuple[float, int]]] = {}
    for position, row in enumerate(panel.rows):
        for server, ratio in row.ratios[measure].items():
            marks.setdefault(server, []).append((min(max(ratio, limits[0]), limits[1]), position))
    ours = marks.pop(panel.subject, [])
    for server, points in marks.items():
        axes.plot(*zip(*points, strict=True), **mark(server, theme))
    if not ours:
        return
    ends, positions = zip(*ours, strict=True)
    axes.hlines(positions, 1, ends, color=theme.servers[panel.subject], linewidth=3, alpha=0.55, zorder=1)
    axes.plot(ends, positions, **mark(panel.subject, theme))
    for position, row in enumerate(panel.rows):
        ratios = row.ratios[measure]
        axes.annotate(
            f"{ratios[panel.subject]:.2f}",
            (min(max(*ratios.values(), 1), limits[1]), position),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=theme.text,
            size=8,
        )


def mark(server: str, theme: Theme) -> dict[str, Any]:
    """The shape and colour of a server's mark, as arguments of ``plot``."""
    shape = MARKS.get(server, "x")
    return {
        "marker": shape,
        "color": theme.servers.get(server, theme.faint),
        "markersize": {"o": 6, "|": 9}.get(shape, 4),
        "markeredgewidth": 2 if shape == "|" else 0.8,
        "linestyle": "none",
    }


def legend(drawn: Figure, panels: Sequence[Panel], theme: Theme, height: float) -> None:
    """The marks and what they stand for, at the foot."""
    servers = dict.fromkeys(
        server for each in panels for row in each.rows for values in row.ratios.values() for server in values
    )
    handles = []
    for server in servers:
        axes = drawn.axes[0]
        (handle,) = axes.plot([], [], label=server, **mark(server, theme))
        handles.append(handle)
    drawn.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.0, 0.0),
        ncols=len(handles),
        frameon=False,
        labelcolor=theme.text,
        fontsize=8.5,
        handletextpad=0.2,
        columnspacing=1.5,
    )
    drawn.text(0.99, 0.12 / height, "further left is better", color=theme.faint, size=8, ha="right", va="bottom")
