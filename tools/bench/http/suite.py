"""All workloads of the HTTP benchmark and what evio_http has to reach in them."""

from __future__ import annotations

from ..suite import Suite
from . import multiplexed, real, repeated, visits

__all__ = ["SUITE"]

SUITE = Suite(
    name="http",
    title="http: evio_http, 1 loop, each file looked at again, beside nginx, 1 process, open_file_cache, and the floor",
    subject="evio",
    reference="nginx",
    short=("real:plain", "real:tls", "page:plain", "connection:tls", "small"),
    documented=("real", "connection", "page", "small", "logged", "not_modified", "medium", "many", "tls", "large"),
    workloads=(*real.WORKLOADS, *visits.WORKLOADS, *repeated.WORKLOADS, *multiplexed.WORKLOADS),
    targets=(*real.TARGETS, *visits.TARGETS, *repeated.TARGETS, *multiplexed.TARGETS),
)
