"""A server in this process for each test, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

import evio_redis

from .transcripts import SERVERS, running


@pytest.fixture
def server() -> Iterator[evio_redis.Server]:
    with evio_redis.Server(port=0) as running:
        yield running


@pytest.fixture(scope="module", params=SERVERS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of each server that a transcript is true of."""
    yield from running(request.param)


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request: pytest.FixtureRequest, server: evio_redis.Server) -> Iterator[redis.Redis]:
    """redis-py over each version of the protocol; replies as bytes, unparsed by ``execute`` below."""
    with redis.Redis(port=server.port, protocol=request.param, socket_timeout=20) as connected:
        yield connected


def execute(client: redis.Redis, *args: Any) -> Any:
    """A command's reply as the protocol has it, without redis-py's conversions; an error reply as its text."""
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command(*args)  # type: ignore[no-untyped-call]
        return connection.read_response()
    except redis.ResponseError as error:
        return error
    finally:
        client.connection_pool.release(connection)
