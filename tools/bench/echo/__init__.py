"""The echo benchmark: evio_echo, with one loop, beside a bare loop, asyncio and uvloop."""

from .suite import SUITE

__all__ = ["SUITE"]
