"""A worker of RQ 3, which keeps the results of jobs in streams, added within transactions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from rq import Queue, SimpleWorker
from rq.job import JobStatus
from rq.results import Result

from .transcripts import SERVERS, running


def add(one: int, other: int) -> int:
    return one + other


def fail() -> None:
    raise ValueError("on purpose")


@pytest.fixture(scope="module", params=SERVERS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    yield from running(request.param)


def test_jobs_are_run_and_their_results_are_kept(port: int) -> None:
    with redis.Redis(port=port, socket_timeout=20) as client:
        client.flushall()
        queue = Queue(connection=client)
        good, bad = queue.enqueue(add, 2, 3), queue.enqueue(fail)
        SimpleWorker([queue], connection=client).work(burst=True, logging_level="CRITICAL")
        assert (good.get_status(), good.return_value()) == (JobStatus.FINISHED, 5)
        assert bad.get_status() == JobStatus.FAILED
        kinds = [result.type for job in (good, bad) if (result := job.latest_result()) is not None]
        assert kinds == [Result.Type.SUCCESSFUL, Result.Type.FAILED]
        assert sum(client.type(key) == b"stream" for key in client.scan_iter()) == 2
