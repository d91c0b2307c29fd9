"""The same head again and again, as load generators send it: the shape that flatters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from email.utils import formatdate
from itertools import cycle, repeat
from pathlib import Path
from random import Random

from .. import measures
from ..load import connections
from ..server import Peer, Server
from ..suite import REQUEST_METRICS, Group, Metric, Settings, Target, Workload
from ..tls import secured
from ..traffic import CLIENTS, Load, drive, in_turns
from . import files
from .peers import LOGGED, PLAIN, TLS
from .responses import Responses

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

LARGE_CLIENTS = 10

WARM_UP = files.MANY_FILES
"""Requests: every file is asked for once."""

NOT_MODIFIED = f"If-Modified-Since: {formatdate(files.OLD, usegmt=True)}\r\n"
LATER = f"If-Modified-Since: {formatdate(files.OLD + 3600, usegmt=True)}\r\n"
"""The file's own date, as browsers send it, and one that is later, as programs do that remember when they asked."""

SMALL = ("/small.bin",)
DRAWN = (*range(files.MANY_FILES), *Random(1).choices(range(files.MANY_FILES), k=4 * files.MANY_FILES))
MANY = tuple(f"/many/{number}.bin" for number in DRAWN)


def request(path: str, fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()


def load(paths: Sequence[str], fields: str, tls: bool) -> Callable[[Server, Settings], AbstractContextManager[Load]]:
    """Requests for ``paths``, one after the other, which ``fields`` make conditional."""
    requests = [request(path, fields) for path in paths]

    def open_load(server: Server, _: Settings) -> AbstractContextManager[Load]:
        return in_turns(
            server,
            lambda: Responses(304 if fields else 200),
            cycle(requests),
            requests=1,
            warm_up=WARM_UP,
            connect=secured if tls else None,
        )

    return open_load


def large(server: Server, settings: Settings) -> dict[str, float]:
    """A file of 100 MiB to ten connections, at least once to each."""
    with connections(server.port, LARGE_CLIENTS) as opened, measures.cpu(server) as spent:
        run = drive(opened, lambda: Responses(200), repeat(request("/large.bin")), settings.seconds)
    return {"per_cpu": run.batches * files.LARGE / 1e6 / spent.seconds}


GROUP = Group("repeated", "the same head again and again")


def workload(
    key: str,
    title: str,
    paths: Sequence[str],
    *,
    fields: str = "",
    peers: tuple[Peer, ...] = PLAIN,
    prepare: Callable[[Path], None] = files.prepare,
) -> Workload:
    return Workload(
        key=key,
        title=f"{title}, {CLIENTS} connections",
        metrics=REQUEST_METRICS,
        peers=peers,
        load=load(paths, fields, peers is TLS),
        prepare=prepare,
        label=f"same head: {title}",
        group=GROUP,
    )


WORKLOADS = (
    workload("small", "1 KiB", SMALL),
    workload("logged", "1 KiB, access log on", SMALL, peers=LOGGED),
    workload("not_modified", "304", SMALL, fields=NOT_MODIFIED),
    workload("later", "304, another date", SMALL, fields=LATER),
    workload("medium", "100 KiB", ["/medium.bin"]),
    workload("many", "10,000 files of 1 KiB at random", MANY, prepare=files.prepare_many),
    workload("tls", "1 KiB over TLS", SMALL, peers=TLS, prepare=files.prepare_tls),
    Workload(
        key="large",
        title=f"100 MiB, {LARGE_CLIENTS} connections",
        metrics=(Metric("per_cpu", "MB/CPU second", higher_is_better=True),),
        peers=PLAIN,
        measure=large,
        prepare=files.prepare_large,
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
