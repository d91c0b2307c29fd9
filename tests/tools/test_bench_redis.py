"""The Redis benchmark's own logic: that every target can be judged, and what servers are filled with."""

from __future__ import annotations

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("tools.bench runs on Linux only", allow_module_level=True)

import os
from pathlib import Path

import redis

import evio_redis
from tools.bench.redis import MEMORY, SUITE, command, fill_keys, fill_list
from tools.bench.server import BenchError, Server


def filled(server: evio_redis.Server) -> Server:
    return Server("evio", os.getpid(), server.port, Path())


def test_every_target_is_of_a_workload_and_a_server_in_it() -> None:
    workloads = {workload.key: workload for workload in SUITE.workloads}
    assert {target.workload for target in SUITE.targets} == workloads.keys()
    for target in SUITE.targets:
        workload = workloads[target.workload]
        assert target.metric in {metric.key for metric in workload.metrics}
        assert {SUITE.subject, target.against} <= {peer.name for peer in workload.peers}
    assert MEMORY in SUITE.workloads


def test_a_command_as_a_client_sends_it() -> None:
    assert command(b"GET", b"a key") == b"*2\r\n$3\r\nGET\r\n$5\r\na key\r\n"


def test_servers_are_filled_before_they_are_read() -> None:
    with evio_redis.Server(port=0) as server, redis.Redis(port=server.port) as client:
        fill_keys(filled(server), 3_000)
        assert client.dbsize() == 3_000
        assert client.get("key:000000002999") == b"xxx"
        fill_list(filled(server), 0.0)
        assert client.llen("mylist") == 2_000_000


def test_a_server_that_cannot_be_filled_is_an_error() -> None:
    with evio_redis.Server(port=0, requirepass="secret") as server, pytest.raises(BenchError, match="NOAUTH"):
        fill_keys(filled(server), 1_000)
