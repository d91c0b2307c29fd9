"""The same head again and again, as wrk sends it by itself: the shape that flatters."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

from .. import measures
from ..server import Peer, Server
from ..suite import REQUEST_METRICS, Group, Metric, Settings, Target, Workload
from . import files
from .peers import LOGGED, PLAIN, TLS
from .wrk import CLIENTS, WRK, measured, wrk

__all__ = ["TARGETS", "WORKLOADS"]

SMALL_AT_MOST = 0.80
NOT_MODIFIED_AT_MOST = 1.10
TLS_AT_MOST = 1.10
MEDIUM_AT_MOST = 1.10
MANY_AT_MOST = 1.70
LOGGED_AT_MOST = 0.90
"""CPU time per request, as a part of nginx's."""

LARGE_AT_LEAST = 0.95
"""Bytes per CPU second, as a part of nginx's."""

LARGE_CLIENTS, LARGE_SECONDS = 10, 4.0
"""Connections, and the least time: on a busy machine a file may take seconds."""

NOT_MODIFIED = f'wrk.headers["If-Modified-Since"] = "{formatdate(files.OLD, usegmt=True)}"\n'
LATER = f'wrk.headers["If-Modified-Since"] = "{formatdate(files.OLD + 3600, usegmt=True)}"\n'
"""The file's own date, as browsers send it, and one that is later, as programs do that remember when they asked."""
MANY = f"""
request = function()
    return wrk.format("GET", string.format("/many/%d.bin", math.random(0, {files.MANY_FILES - 1})))
end
"""


def large(server: Server, settings: Settings) -> dict[str, float]:
    """A file of 100 MiB to ten connections."""
    with measures.cpu(server) as spent:
        got = wrk(server, max(settings.seconds, LARGE_SECONDS), "/large.bin", clients=LARGE_CLIENTS)
    return {"per_cpu": got.bytes / 1e6 / spent.seconds}


GROUP = Group("repeated", "the same head again and again")


def workload(
    key: str,
    title: str,
    path: str,
    *,
    script: str = "",
    peers: tuple[Peer, ...] = PLAIN,
    prepare: Callable[[Path], None] = files.prepare,
) -> Workload:
    return Workload(
        key=key,
        title=f"{title}, {CLIENTS} connections",
        metrics=REQUEST_METRICS,
        peers=peers,
        measure=lambda server, settings: measured(server, settings.seconds, path, script=script, tls=peers is TLS),
        prepare=prepare,
        requires=(WRK,),
        label=f"same head: {title}",
        group=GROUP,
    )


WORKLOADS = (
    workload("small", "1 KiB", "/small.bin"),
    workload("logged", "1 KiB, access log on", "/small.bin", peers=LOGGED),
    workload("not_modified", "304", "/small.bin", script=NOT_MODIFIED),
    workload("later", "304, another date", "/small.bin", script=LATER),
    workload("medium", "100 KiB", "/medium.bin"),
    workload("many", "10,000 files of 1 KiB at random", "/", script=MANY, prepare=files.prepare_many),
    workload("tls", "1 KiB over TLS", "/small.bin", peers=TLS, prepare=files.prepare_tls),
    Workload(
        key="large",
        title=f"100 MiB, {LARGE_CLIENTS} connections",
        metrics=(Metric("per_cpu", "MB/CPU second", higher_is_better=True),),
        peers=PLAIN,
        measure=large,
        prepare=files.prepare_large,
        requires=(WRK,),
    ),
)

TARGETS = (
    Target("small", "cpu", "<=", SMALL_AT_MOST, against="nginx"),
    Target("logged", "cpu", "<=", LOGGED_AT_MOST, against="nginx"),
    Target("not_modified", "cpu", "<=", NOT_MODIFIED_AT_MOST, against="nginx"),
    Target("later", "cpu", "<=", NOT_MODIFIED_AT_MOST, against="nginx"),
    Target("medium", "cpu", "<=", MEDIUM_AT_MOST, against="nginx"),
    Target("many", "cpu", "<=", MANY_AT_MOST, against="nginx"),
    Target("tls", "cpu", "<=", TLS_AT_MOST, against="nginx"),
    Target("large", "per_cpu", ">=", LARGE_AT_LEAST, against="nginx"),
)
