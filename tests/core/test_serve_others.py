"""``Server.serve_others``: a callback that takes long, and those who do not have to wait for it."""

from __future__ import annotations

import threading
import time

import pytest

from evio_core import Conn, Events, Server

from .conftest import Variant
from .harness import TIMEOUT, Recorder, connect, running


def test_others_are_served_while_a_callback_takes_long(variant: Variant) -> None:
    if variant.poller in ("asyncio", "uvloop"):
        pytest.skip("asyncio's loop cannot be entered again")
    record, servers = Recorder(), list[Server]()
    held = threading.Event()

    def data(conn: Conn, chunk: bytes) -> bytes:
        record.add(chunk)
        if chunk == b"hold":
            conn.pause_reading()
            held.set()
            until = time.monotonic() + TIMEOUT
            while (b"release",) not in record.events and time.monotonic() < until:
                assert servers[0].serve_others()
            conn.resume_reading()
        return chunk

    events = Events(data=data, serving=servers.append, num_loops=1)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as first:
        with connect(run.addr, variant.trust) as second:
            second.sendall(b"before")
            assert second.recv(100) == b"before"
            first.sendall(b"hold")
            assert held.wait(TIMEOUT)
            first.sendall(b"later")
            second.sendall(b"meanwhile")
            assert second.recv(100) == b"meanwhile"
            with connect(run.addr, variant.trust) as third:
                third.sendall(b"release")
                assert third.recv(100) == b"release"
            assert first.recv(4) == b"hold"
            assert first.recv(100) == b"later"
            second.sendall(b"after")
            assert second.recv(100) == b"after"
    chunks = [event[0] for event in record.events]
    assert chunks.index(b"later") > chunks.index(b"release") > chunks.index(b"meanwhile")


def test_a_callback_hears_that_the_server_is_told_to_stop(variant: Variant) -> None:
    servers = list[Server]()
    held, over = threading.Event(), threading.Event()

    def data(conn: Conn, chunk: bytes) -> None:
        held.set()
        while servers[0].serve_others():
            pass
        over.set()

    events = Events(data=data, serving=servers.append, num_loops=variant.num_loops)
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        peer.sendall(b"x")
        assert held.wait(TIMEOUT)
        servers[0].stop()
        assert over.wait(TIMEOUT)
