"""The HTTP benchmark's own logic: what is sent, how responses are read, and that every target can be judged."""

from __future__ import annotations

import sys

import pytest

from tests.extent import FULL

if sys.platform != "linux":
    pytest.skip("tools.bench runs on Linux only", allow_module_level=True)

import os
import re
import socket
import threading
from itertools import pairwise
from pathlib import Path
from random import Random

from tools.bench.http import SUITE, files, heads, real, repeated, visits
from tools.bench.http.multiplexed import H2load
from tools.bench.http.open_loop import arrivals, offer
from tools.bench.http.peers import PLAIN, PLAIN_AND_MORE, TLS, TLS_AND_MORE, nginx
from tools.bench.http.responses import Response, Responses, read
from tools.bench.results import Outcome
from tools.bench.run import measure
from tools.bench.server import BenchError, Peer, running
from tools.bench.suite import Settings, matches

from .test_bench import figures

CORE = {max(os.sched_getaffinity(0))}


@pytest.fixture(autouse=True)
def few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site of 30 files, so that no test takes long."""
    monkeypatch.setattr(files, "PATHS", files.paths("site", 30))
    monkeypatch.setattr(files, "COLD_PATHS", files.paths("cold", 60))
    monkeypatch.setattr(visits, "PAGES", 3)
    monkeypatch.setattr(visits, "pages", visits.pages.__wrapped__)
    monkeypatch.setattr(visits, "WARM_UP", 3)
    monkeypatch.setattr(real, "WARM_UP", 100)
    monkeypatch.setattr(repeated, "WARM_UP", 100)
    monkeypatch.setattr(real, "COLD_WARM_UP", 10)
    monkeypatch.setattr(real, "HEADS", 200)
    monkeypatch.setattr(real, "OPEN_SECONDS", 0.1)
    monkeypatch.setattr(real, "MANY_HEADS", 100)
    monkeypatch.setattr(real, "drawn", real.drawn.__wrapped__)
    monkeypatch.setattr(real, "cold_requests", real.cold_requests.__wrapped__)


H2LOAD = """\
Application protocol: h2
finished in 128.22ms, 38994.87 req/s, 44.11MB/s
requests: 5000 total, 5000 started, 5000 done, 5000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 5000 2xx, 0 3xx, 0 4xx, 0 5xx
                     min         max         mean         sd        +/- sd
time for request:       70us      5.70ms       230us       138us    88.72%
"""


def test_what_h2load_prints() -> None:
    run = H2load(H2LOAD)
    assert (run.requests, run.rate, run.mean) == (5000, 38994.87, 0.23)
    for before, after in (
        ("5000 succeeded", "4999 succeeded"),
        ("5000 2xx", "4999 2xx"),
        ("protocol: h2", "protocol: http/1.1"),
        ("time for request", ""),
    ):
        with pytest.raises(BenchError):
            H2load(H2LOAD.replace(before, after))


def test_every_target_is_of_workloads_and_a_server_in_them() -> None:
    for target in SUITE.targets:
        chosen = [workload for workload in SUITE.workloads if matches(workload.key, target.workload)]
        assert chosen
        for workload in chosen:
            assert target.metric in {metric.key for metric in workload.metrics}
            assert {SUITE.subject, target.against or SUITE.subject} <= {peer.name for peer in workload.peers}
    assert len({workload.key for workload in SUITE.workloads}) == len(SUITE.workloads)


def test_the_configuration_of_nginx_is_for_this_port_and_folder(tmp_path: Path) -> None:
    path = Path(nginx(log="{directory}/log combined")(8123, tmp_path)[-1])
    text = path.read_text()
    assert "listen 127.0.0.1:8123;" in text
    assert f"access_log {tmp_path}/log combined;" in text
    assert f"root {tmp_path}/files;" in text


# -- heads


def test_there_are_two_hundred_user_agents() -> None:
    assert len(set(heads.USER_AGENTS)) == 200


def test_a_head_is_what_a_browser_sends_and_never_the_same() -> None:
    random = Random(1)
    drawn = [heads.draw(random, "/site/0.html", ["/", "/site/5.html"], b'"tag"') for _ in range(500)]
    assert len(set(drawn)) == 500
    for head in drawn:
        assert head.count(heads.MARK) == 1
        assert head.startswith(b"GET /site/0.html HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Mozilla/5.0 (")
        assert head.endswith(b'\r\nIf-None-Match: "tag"\r\n\r\n')
        assert re.search(rb"\r\nCookie: session=[0-9a-f]{32}; seen=COUNT[;\r]", head)
        assert re.search(rb"\r\nReferer: https?://", head)
    assert b"If-None-Match" not in heads.draw(random, "/site/1.css", ["/"])


def test_a_third_of_the_heads_are_conditional_and_most_of_those_current() -> None:
    drawn = [head for _, head in real.drawn(real.FOUND)]
    conditional = [head for head in drawn if b"If-None-Match" in head]
    current = [head for head in conditional if b"|" in head]
    assert 0.25 < len(conditional) / len(drawn) < 0.42
    assert 0.5 < len(current) / len(conditional) < 0.95
    assert not [head for _, head in real.drawn(real.NOT_FOUND) if b"|" in head]


# -- the open loop


def test_requests_come_at_a_rate_and_by_chance() -> None:
    times = list(arrivals(1000, 10))
    assert times == list(arrivals(1000, 10)) == sorted(times)
    assert 9_700 < len(times) < 10_300
    assert times[-1] < 10
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) < 0.0001
    assert max(gaps) > 0.005


def test_who_has_to_wait_for_a_connection_has_come_before() -> None:
    """The latencies of those who come while the server is at another one have the waiting in them."""
    here, there = socket.socketpair()
    asked: list[bytes] = []

    def serve() -> None:
        for _ in range(3):
            asked.append(there.recv(100))
            there.sendall(response(b"200 OK", b"hello"))

    with here, there:
        server = threading.Thread(target=serve)
        server.start()
        run = offer([here], lambda: Responses(200, 304), iter([b"a", b"b", b"c"]), [0, 0, 0])
        server.join(10)
    assert asked == [b"a", b"b", b"c"]
    first, second, third = run.latencies
    assert 0 < first < second < third <= run.elapsed


def test_a_server_that_ends_a_connection_is_an_error() -> None:
    here, there = socket.socketpair()
    with here, there:
        there.shutdown(socket.SHUT_WR)
        with pytest.raises(BenchError, match="closed a connection"):
            offer([here], lambda: Responses(200), iter([b"a"]), [0])


# -- responses


def response(status: bytes, content: bytes, length: bool = True) -> bytes:
    field = b"content-length: %d\r\n" % len(content) if length else b""
    return b'HTTP/1.1 %b\r\n%bETag: "x"\r\n\r\n%b' % (status, field, content)


def test_responses_are_counted_however_they_arrive() -> None:
    whole = response(b"200 OK", b"hello")
    for cut in range(1, len(whole)):
        responses = Responses(200)
        assert not responses.received(whole[:cut])
        assert responses.received(whole[cut:])
        assert responses.received(whole), "counting begins anew for the next"


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (response(b"404 Not Found", b""), "status 404, not one of"),
        (b"SSH-2.0\r\n\r\n", "not a response"),
        (response(b"200 OK", b"", length=False), "no Content-Length"),
    ],
)
def test_a_response_that_is_not_the_one_expected_is_an_error(sent: bytes, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        Responses(200).received(sent)


def test_a_response_is_read_with_its_content() -> None:
    here, there = socket.socketpair()
    with here, there:
        there.sendall(response(b"200 OK", bytes(1000)))
        got = read(here)
        assert (got.status, got.length, got.field(b"etag")) == (200, 1000, b'"x"')
        there.sendall(response(b"304 Not Modified", b"", length=False))
        assert read(here).status == 304
        there.sendall(response(b"200 OK", b"cut")[:-1])
        there.shutdown(socket.SHUT_WR)
        with pytest.raises(BenchError, match="1 bytes of content are missing"):
            read(here)
        with pytest.raises(BenchError, match="closed the connection after"):
            read(here)
    assert Response(b"HTTP/1.1 200 OK\r\nServer: x").field(b"etag") is None


# -- the workloads, on evio


def evio(tls: bool) -> Peer:
    return next(peer for peer in (TLS if tls else PLAIN) if peer.name == "evio")


MEASURED = ["real:tls", "real:404", "real:cold", "connection:tls", "page:plain", "later"]


@pytest.mark.parametrize("key", [*MEASURED, "real:plain", "connection:plain", "page:tls", "tls"] if FULL else MEASURED)
def test_a_workload_yields_its_metrics(key: str, tmp_path: Path) -> None:
    workload = next(each for each in SUITE.workloads if each.key == key)
    assert workload.prepare
    workload.prepare(tmp_path)
    with running(evio("tls" in key), CORE, tmp_path) as server:
        values = figures(workload, server)
    assert values.keys() == {metric.key for metric in workload.metrics}
    assert 0 < values["p50"] <= values["p99"] <= values["p999"]
    assert values["cpu"] > 1


@pytest.mark.parametrize("tls", [False, True])
def test_the_floor_answers_as_a_web_server_does(tls: bool, tmp_path: Path) -> None:
    files.prepare_site_tls(tmp_path)
    floor = next(peer for peer in (TLS_AND_MORE if tls else PLAIN_AND_MORE) if peer.name == "floor")
    with running(floor, CORE, tmp_path) as server:
        for kind in (real.FOUND, real.NOT_MODIFIED):
            assert len(real.probed(kind, server, tls)) == real.HEADS  # or an error


def test_a_server_that_does_not_answer_as_it_should_is_an_error(tmp_path: Path) -> None:
    """Without the files, everything is a 404."""
    (tmp_path / "files").mkdir()
    workload = next(each for each in SUITE.workloads if each.key == "real:plain")
    with pytest.raises(BenchError, match="without an entity tag"), running(evio(False), CORE, tmp_path) as server:
        measure(workload, [server], Settings(), Outcome(workload))
