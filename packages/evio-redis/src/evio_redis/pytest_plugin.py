"""Fixtures for programs that talk to Redis: a server of this process, empty, in milliseconds.

    def test_cache(evio_redis_server):
        client = redis.Redis(port=evio_redis_server.port)

pytest finds it by itself once evio-redis is installed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .server import Server

__all__ = ["evio_redis_server"]


@pytest.fixture
def evio_redis_server() -> Iterator[Server]:
    """A key-value server on a port of its own, for one test."""
    with Server(port=0) as server:
        yield server
