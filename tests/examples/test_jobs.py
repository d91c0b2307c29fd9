"""The job server as a pipelining client sees it."""

from __future__ import annotations

import hashlib
import json
import socket

from tests.core.harness import connect, receive_all
from tests.core.test_faults import reset
from tests.extent import examples

from .running import ROOT, example


def test_answers_come_in_the_order_of_the_jobs() -> None:
    password = hashlib.scrypt(b"secret", salt=b"pepper", n=2**14, r=8, p=1, dklen=32).hex()
    jobs: list[object] = []
    expected: list[object] = []
    for _ in range(examples(20)):
        jobs += [["password", "secret"], ["factors", 600851475143], ["checksum", str(ROOT / "jobs/jobs.py")]]
        digest = hashlib.sha256((ROOT / "jobs/jobs.py").read_bytes()).hexdigest()
        expected += [{"result": password}, {"result": [71, 839, 1471, 6857]}, {"result": digest}]
    with example("jobs", "tcp://127.0.0.1:0") as server, connect(("127.0.0.1", server.port)) as client:
        client.sendall(b"".join(json.dumps(job).encode() + b"\n" for job in jobs))
        client.shutdown(socket.SHUT_WR)
        assert [json.loads(line) for line in receive_all(client).splitlines()] == expected
        server.stop()


def test_a_bad_job_is_answered_and_ends_nothing() -> None:
    with example("jobs", "tcp://127.0.0.1:0") as server, connect(("127.0.0.1", server.port)) as client:
        client.sendall(b'nonsense\n["no such job", 1]\n["factors", "x"]\n["checksum", "/nowhere"]\n["factors", 12]\n')
        client.shutdown(socket.SHUT_WR)
        lines = [json.loads(line) for line in receive_all(client).splitlines()]
        assert [next(iter(line)) for line in lines] == ["error"] * 4 + ["result"]
        server.stop()


def test_a_client_that_leaves_disturbs_nobody() -> None:
    with example("jobs", "tcp://127.0.0.1:0", "--threads", "1") as server:
        for _ in range(3):
            gone = connect(("127.0.0.1", server.port))
            gone.sendall(b'["password", "secret"]\n' * 50)
            reset(gone)
        with connect(("127.0.0.1", server.port)) as client:
            client.sendall(b'["factors", 12]\n')
            client.shutdown(socket.SHUT_WR)
            assert json.loads(receive_all(client)) == {"result": [2, 2, 3]}
        server.stop()
