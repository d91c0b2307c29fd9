"""Charts of results that were kept as JSON: SVG, for a light and for a dark page.

In most, a row is a workload, a mark a server: what it takes as a multiple of the suite's reference, the median of the
rounds. The scale is logarithmic, so that half as much and twice as much are equally far from the line at 1. Others show
percentiles of latency, cost as something grows, and memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

__all__ = ["SUMMARY", "Panel", "Row", "draw", "panel", "suite_charts", "summary_chart"]

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
        "redis": "#8250df",
        "nginx": "#8250df",
        "nginx 0 s": "#8250df",
        "asyncio": "#bc4c00",
        "evio 60 s": "#bc4c00",
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
        "redis": "#bc8cff",
        "nginx": "#bc8cff",
        "nginx 0 s": "#bc8cff",
        "asyncio": "#f0883e",
        "evio 60 s": "#f0883e",
        "valkey": "#f0883e",
    },
)
THEMES = {"light": LIGHT, "dark": DARK}

MARKS = {
    "evio": "o",
    "bare": "|",
    "floor": "|",
    "asyncio": "D",
    "evio 60 s": "D",
    "uvloop": "s",
    "redis": "s",
    "nginx": "s",
    "nginx 0 s": "x",
    "valkey": "D",
}


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


def suite_charts(data: dict[str, Any], directory: Path) -> list[Path]:
    """A chart of each group of a suite's ``data``, of the percentiles of its short form, and of memory for a
    connection, as far as they were measured. Returns the files."""
    written = group_charts(data, directory)
    for name, figure_of in (("latency", latencies), ("memory", memory)):
        written += save(partial(figure_of, data), directory, f"{data['suite']}-{name}")
    return written


def group_charts(data: dict[str, Any], directory: Path) -> list[Path]:
    """A chart of each group of a suite's ``data``. Returns the files."""

    def group_of(key: str) -> tuple[str, str, str] | None:
        group = data["workloads"][key]["group"]
        return (group["key"], group["title"], group["axis"]) if group else None

    written = []
    for group, keys in groupby(data["workloads"], group_of):
        if group is None:
            continue
        key, title, axis = group
        name, points = f"{data['suite']}-{key}", list(keys)
        if axis:
            written += save(partial(curves, data, points, axis), directory, name)
        else:
            drawn = panel(title, data, points)
            written += draw([drawn], directory, name) if drawn.rows else []
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
    return save(partial(figure, panels), directory, name)


def save(figure_of: Callable[[Theme], Figure | None], directory: Path, name: str) -> list[Path]:
    """Write the figure for both themes, if there is one. Returns the files; raises as :func:`draw`."""
    written = []
    for theme_name, theme in THEMES.items():
        path = directory / f"{name}-{theme_name}.svg"
        # Text stays text; the same figures give the same file.
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9, "font.family": "sans-serif"}):
            drawn = figure_of(theme)
            if drawn is not None:
                drawn.savefig(path, format="svg", transparent=True, metadata={"Date": None})
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
    foot(drawn, list(servers), theme, height, "further left is better")


def foot(drawn: Figure, servers: Sequence[str], theme: Theme, height: float, better: str) -> None:
    """The marks of servers, and which way is better, at the foot."""
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
    drawn.text(0.99, 0.12 / height, better, color=theme.faint, size=8, ha="right", va="bottom")


def curves(data: dict[str, Any], keys: Sequence[str], axis: str, theme: Theme) -> Figure | None:
    """CPU time and latency of each server as what the keys count grows, with the reference's first point as 1. None if
    that was not measured, or there is one point only."""
    workloads, reference = data["workloads"], data["reference"]
    points = [key for key in keys if reference in workloads[key]["servers"]]
    if len(points) < 2:
        return None
    drawn = Figure(figsize=(WIDTH, 3.3))
    servers = list(dict.fromkeys(server for key in points for server in workloads[key]["servers"]))
    for column, (measure, title) in enumerate(MEASURES):
        axes = drawn.add_axes((0.07 + column * 0.5, 0.27, 0.42, 0.6))
        first = workloads[points[0]]["servers"][reference][measure]["median"]
        for server in servers:
            measured = [key for key in points if server in workloads[key]["servers"]]
            axes.plot(
                [number_of(key) for key in measured],
                [workloads[key]["servers"][server][measure]["median"] / first for key in measured],
                **{**mark(server, theme), "linestyle": "-", "linewidth": 1.4, "markersize": 4},
                zorder=3 if server == data["subject"] else 2,
            )
        style_plot(axes, f"{title}, {reference} at {number_of(points[0])} = 1", theme)
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = [number_of(key) for key in points]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        number_ticks(axes.yaxis)
        axes.set_xlabel(axis, color=theme.faint, size=8)
    foot(drawn, servers, theme, 3.3, "lower is better")
    return drawn


def number_ticks(axis: Axis) -> None:
    """Put numbers on a logarithmic axis at 1, 2, 5, 10, 20 ..."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def number_of(key: str) -> int:
    """The number behind the colon of a workload's key."""
    return int(key.rpartition(":")[2])


def latencies(data: dict[str, Any], theme: Theme) -> Figure | None:
    """Median, 99th and 99.9th percentile of the subject and the reference in the workloads of the short form, in
    milliseconds."""
    servers = [data["subject"], data["reference"]]
    rows = [
        workload
        for workload in data["workloads"].values()
        if workload["short"] and {*servers} <= workload["servers"].keys() and "p999" in workload["metrics"]
    ]
    if not rows:
        return None
    height = 1.0 + 0.42 * len(rows)
    drawn = Figure(figsize=(WIDTH, height))
    axes = drawn.add_axes((LEFT, 0.55 / height, 1 - LEFT - RIGHT, (height - 0.95) / height))
    style_plot(axes, "median, 99th and 99.9th percentile of latency under full load, in milliseconds", theme)
    axes.set_xscale("log")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
    axes.tick_params(axis="y", colors=theme.text, length=0, labelsize=9)
    number_ticks(axes.xaxis)
    for position, row in enumerate(rows):
        for offset, server in zip((-0.16, 0.16), servers, strict=True):
            values = [row["servers"][server][key]["median"] for key in ("p50", "p99", "p999")]
            style = mark(server, theme)
            level = position + offset
            axes.plot(values[:2], [level] * 2, color=style["color"], linewidth=2.6, alpha=0.55)
            axes.plot(values[1:], [level] * 2, color=style["color"], linewidth=1.2, alpha=0.55)
            axes.plot(values[:1], [level], **{**style, "markersize": 5})
            axes.plot(values[1:], [level] * 2, **{**style, "marker": "|", "markersize": 7, "markeredgewidth": 1.5})
    foot(drawn, servers, theme, height, "further left is better")
    return drawn


def memory(data: dict[str, Any], theme: Theme) -> Figure | None:
    """Memory of each server for what the workload ``memory`` counts, as bars."""
    workload = data["workloads"].get("memory")
    if workload is None:
        return None
    values = {server: figures["memory"]["median"] for server, figures in workload["servers"].items()}
    height = 0.75 + 0.3 * len(values)
    drawn = Figure(figsize=(WIDTH, height))
    axes = drawn.add_axes((0.12, 0.1 / height, 0.78, (height - 0.5) / height))
    style_plot(axes, f"{workload['metrics']['memory']}: {workload['title']}", theme)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_yticks(range(len(values)), list(values))
    axes.tick_params(axis="y", colors=theme.text, length=0, labelsize=9)
    for position, (server, value) in enumerate(values.items()):
        axes.barh(position, value, height=0.55, color=theme.servers.get(server, theme.faint), alpha=0.8)
        axes.annotate(
            f"{value:,.0f}",
            (value, position),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=theme.text,
            size=8.5,
        )
    return drawn


def style_plot(axes: Axes, title: str, theme: Theme) -> None:
    """Style an axis as all plots have it."""
    axes.set_title(title, color=theme.faint, size=8.5, loc="left", pad=5)
    axes.tick_params(which="both", colors=theme.faint, length=0, labelsize=7.5)
    axes.grid(color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.patch.set_alpha(0)
    for side in axes.spines.values():
        side.set_visible(False)
