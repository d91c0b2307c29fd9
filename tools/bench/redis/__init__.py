"""The Redis benchmark: evio_redis, with one loop, beside redis-server, Valkey and the floor."""

from .suite import SUITE

__all__ = ["SUITE"]
