"""The HTTP benchmark: evio_http, with one loop, beside nginx with one process, on the same files."""

from .suite import SUITE

__all__ = ["SUITE"]
