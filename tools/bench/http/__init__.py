"""The HTTP benchmark: evio_http, with one loop, beside nginx with one process and the floor, on the same files."""

from .suite import SUITE

__all__ = ["SUITE"]
