"""LATENCY: what has taken long, and how long each command takes (https://redis.io/docs/latest/commands/latency/)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..config.config import Config
from ..errors import CommandError
from ..execution.dispatcher import Dispatcher
from ..model.command import Args, Command, Registry, command
from ..protocol.resp import array, bulk, integer
from ..stats.latency_monitor import Latency
from .help import declare_help

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

ADMIN = "admin noscript loading stale"
COLUMNS, ROWS = 80, 4
FILLING = " _o#"
"""The characters of a graph from the least to the most filled; one below is full."""


@command("LATENCY LATEST", arity=2, flags=ADMIN, group="server", since="2.8.13")
def latency_latest(session: Session, args: Args) -> bytes:
    latency = session.services[Latency]
    rows = []
    for event, samples in latency.events.items():
        when, last = samples[-1]
        rows.append(array([bulk(event.encode()), integer(when), integer(last), integer(latency.worst[event])]))
    return array(rows)


@command("LATENCY HISTORY", arity=3, flags=ADMIN, group="server", since="2.8.13")
def latency_history(session: Session, args: Args) -> bytes:
    samples = session.services[Latency].events.get(args[2].decode("latin-1"), ())
    return array([array([integer(when), integer(taken)]) for when, taken in samples])


@command("LATENCY RESET", arity=-2, flags=ADMIN, group="server", since="2.8.13")
def latency_reset(session: Session, args: Args) -> bytes:
    events = [word.decode("latin-1") for word in args[2:]]
    return integer(session.services[Latency].reset(events or None))


@command("LATENCY DOCTOR", arity=2, flags=ADMIN, group="server", since="2.8.13")
def latency_doctor(session: Session, args: Args) -> bytes:
    latency, threshold = session.services[Latency], session.services[Config].latency_monitor_threshold
    if not threshold:
        text = "The latency monitor is off. CONFIG SET latency-monitor-threshold <milliseconds> turns it on."
    elif not latency.events:
        text = f"Nothing took {threshold} ms or more."
    else:
        lines = [
            f"{event}: {len(samples)} spikes, the last {samples[-1][1]} ms, the worst {latency.worst[event]} ms"
            for event, samples in latency.events.items()
        ]
        text = "\n".join(lines)
    return session.resp.verbatim(text.encode() + b"\n")


@command("LATENCY GRAPH", arity=3, flags=ADMIN, group="server", since="2.8.13")
def latency_graph(session: Session, args: Args) -> bytes:
    event = args[2].decode("utf-8", "surrogateescape")
    latency = session.services[Latency]
    if event not in latency.events:
        raise CommandError(f"ERR No samples available for event '{event}'")
    samples = list(latency.events[event])
    taken = [milliseconds for _, milliseconds in samples]
    title = f"{event} - high {max(taken)} ms, low {min(taken)} ms (all time high {latency.worst[event]} ms)"
    lines = [title, "-" * COLUMNS]
    for at in range(0, len(samples), COLUMNS):
        lines += [""] if at else []
        lines += _bars(taken[at : at + COLUMNS], min(taken), max(taken))
        lines += [
            " " * len(taken[at : at + COLUMNS]),
            *_upright([_ago(when) for when, _ in samples[at : at + COLUMNS]]),
        ]
    return session.resp.verbatim("\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))


def _bars(values: Sequence[int], low: int, high: int) -> list[str]:
    levels = ROWS * (len(FILLING) - 1)
    heights = [min((value - low) * levels // ((high - low) or 1), levels - 1) + 1 for value in values]
    rows = []
    for row in reversed(range(ROWS)):
        above = [height - row * (len(FILLING) - 1) for height in heights]
        rows.append("".join("|" if left >= len(FILLING) else FILLING[max(left, 0)] for left in above))
    return rows


def _ago(when: int) -> str:
    elapsed = int(time.time()) - when
    for unit, seconds in (("d", 86400), ("h", 3600), ("m", 60)):
        if elapsed >= seconds:
            return f"{elapsed // seconds}{unit}"
    return f"{elapsed}s"


def _upright(labels: Sequence[str]) -> list[str]:
    """Labels to be read from the top down."""
    longest = max(map(len, labels))
    return ["".join(label[at : at + 1] or " " for label in labels) for at in range(longest)]


@command("LATENCY HISTOGRAM", arity=-2, flags=ADMIN, group="server", since="7.0.0")
def latency_histogram(session: Session, args: Args) -> bytes:
    registry = session.services[Registry]
    session.services[Dispatcher].settle()
    chosen: list[Command] = []
    if len(args) == 2:
        chosen = registry.all()
    for word in args[2:]:
        name, _, subcommand = word.decode("latin-1").upper().partition("|")
        top = registry.commands.get(name)
        if top is not None and not subcommand:
            chosen += [top, *top.subcommands.values()]
        elif top is not None and subcommand in top.subcommands:
            chosen.append(top.subcommands[subcommand])
    parts: list[bytes] = []
    for each in chosen:
        if each.latencies.timed:
            steps = [integer(number) for step in each.latencies.steps(each.calls) for number in step]
            fields = [bulk(b"calls"), integer(each.calls), bulk(b"histogram_usec"), session.resp.map(steps)]
            parts += [bulk(each.name.encode()), session.resp.map(fields)]
    return session.resp.map(parts)


declare_help(
    "LATENCY",
    "server",
    """\
DOCTOR
    What has taken long, in words.
GRAPH <event>
    The spikes of an event, drawn.
HELP
    This text.
HISTOGRAM [<command> ...]
    How many calls of these commands, or of all, took how many microseconds at most.
HISTORY <event>
    The spikes of an event: Unix time, milliseconds.
LATEST
    Of each event: its name, when and how long it was last, how long at worst.
RESET [<event> ...]
    Forget the spikes of some or all events.""",
)
