"""The number of CPUs that this process may use."""

from __future__ import annotations

import math
import os

__all__ = ["usable_cpus"]


def usable_cpus() -> int:
    """CPUs of the affinity mask (sched_setaffinity(2)), no more than the cgroup's quota allows (``cpu.max`` of
    cgroup v2, ``cpu.cfs_quota_us`` of v1, rounded up); at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, _quota()))


def _quota() -> int:
    unlimited = 1 << 30
    text = _read("/sys/fs/cgroup/cpu.max")
    quota, _, period = text.partition(" ")
    if not text:
        quota, period = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    try:
        return math.ceil(int(quota) / int(period)) if int(quota) > 0 else unlimited
    except (ValueError, ZeroDivisionError):
        return unlimited  # "max", or no cgroup at all


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
