"""HTTP/2, as h2load asks: one connection, several requests under way at a time."""

from __future__ import annotations

import re

from .. import measures
from ..load import printed_by
from ..server import BenchError, Requirement, Server
from ..suite import Metric, Settings, Target, Workload
from . import files
from .peers import HTTP2

__all__ = ["TARGETS", "WORKLOADS", "H2load"]

H2LOAD = Requirement("h2load", "apt install nghttp2-client", program=True)

AT_MOST = 3.0
"""CPU time per request, as a part of nginx's."""

STREAMS = (1, 10, 100)
"""Requests that are under way at a time."""

WARM_UP = 1000
"""Requests."""

METRICS = (
    Metric("cpu", "CPU µs/request", 2),
    Metric("mean", "mean ms", 3),
    Metric("rate", "requests/s", higher_is_better=True),
)


class H2load:
    """One run of h2load: ``requests`` answered, ``mean`` time of one in ms, ``rate`` per second."""

    def __init__(self, text: str) -> None:
        """From what it prints. Raises :class:`BenchError` for anything else, and unless all was answered with 2xx over
        HTTP/2."""
        counts = re.search(r"^requests: (\d+) total, .* (\d+) succeeded,", text, re.MULTILINE)
        statuses = re.search(r"^status codes: (\d+) 2xx", text, re.MULTILINE)
        rate = re.search(r"^finished in \S+, ([\d.]+) req/s", text, re.MULTILINE)
        mean = re.search(r"^time for request: +\S+ +\S+ +([\d.]+)(us|ms|s) ", text, re.MULTILINE)
        if counts is None or statuses is None or rate is None or mean is None:
            raise BenchError(f"not what h2load prints: {text!r}")
        if not int(counts[1]) == int(counts[2]) == int(statuses[1]) or "Application protocol: h2\n" not in text:
            raise BenchError(f"requests failed, or were not over HTTP/2: {text!r}")
        self.requests = int(counts[1])
        self.mean = float(mean[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[mean[2]]
        self.rate = float(rate[1])


def h2load(server: Server, requests: int, streams: int) -> H2load:
    """Have as many requests answered over one connection."""
    url = f"https://127.0.0.1:{server.port}/small.bin"
    return H2load(printed_by(["h2load", "-c", "1", "-m", str(streams), "-n", str(requests), url]))


def measured(server: Server, settings: Settings, streams: int) -> dict[str, float]:
    """The figures of as many requests as the server answers in the time; how many that are, a short run says."""
    warm = h2load(server, WARM_UP, streams)
    with measures.cpu(server) as spent:
        run = h2load(server, max(WARM_UP, round(warm.rate * settings.seconds)), streams)
    return {"cpu": spent.seconds / run.requests * 1e6, "mean": run.mean, "rate": run.rate}


def workload(streams: int) -> Workload:
    return Workload(
        key=f"http2:{streams}",
        title=f"1 KiB over HTTP/2, 1 connection, {streams} at a time",
        metrics=METRICS,
        peers=HTTP2,
        measure=lambda server, settings: measured(server, settings, streams),
        prepare=files.prepare_tls,
        requires=(H2LOAD,),
    )


WORKLOADS = tuple(map(workload, STREAMS))

TARGETS = (Target("http2", "cpu", "<=", AT_MOST, against="nginx"),)
