"""Names looked up in threads: never more than a few of them, and none that a dial no longer waits for."""

from __future__ import annotations

import os
import socket
import threading
import warnings
from typing import Any

import pytest

from evio_core import Conn, Events
from evio_core.addresses import resolver
from evio_core.addresses.address import Address
from evio_core.addresses.resolver import LookUp, look_up_numeric, resolve

from .conftest import POLLERS, use_poller
from .harness import TIMEOUT, Recorder, running

ADDRESS = Address.parse("tcp://name.test:80")


class Names:
    """A name service that answers when it is told to, for all names that end in ``.test``."""

    def __init__(self, patch: pytest.MonkeyPatch, answer: int) -> None:
        self._real = socket.getaddrinfo
        self._lock = threading.Condition()
        self._answer = answer
        self.go = threading.Event()
        self.asked: list[str] = []
        self.under_way = self.most = 0
        patch.setattr(socket, "getaddrinfo", self._look_up)

    def _look_up(self, host: Any, *arguments: Any, **options: Any) -> Any:
        flags = options.get("flags", arguments[4] if len(arguments) > 4 else 0)
        if not str(host).endswith(".test") or flags & socket.AI_NUMERICHOST:
            return self._real(host, *arguments, **options)
        with self._lock:
            self.asked.append(host)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self._lock.notify_all()
        assert self.go.wait(TIMEOUT)
        with self._lock:
            self.under_way -= 1
            self._lock.notify_all()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", self._answer))]

    def wait_for(self, count: int) -> None:
        """Wait until so many look-ups are under way."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.under_way == count, TIMEOUT), self.under_way


@pytest.mark.parametrize("poller", POLLERS)
def test_a_thousand_names_have_few_threads(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, poller)
    record = Recorder()
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        names = Names(monkeypatch, refusing.getsockname()[1])
        events = Events(closed=lambda conn, error: record.add("closed", type(error)))
        with running(events, "tcp://127.0.0.1:0") as run:
            for number in range(1000):
                run.server.dial(f"tcp://n{number}.test:1", timeout=TIMEOUT)
            names.wait_for(resolver.MOST_THREADS)
            assert threading.active_count() < resolver.MOST_THREADS + 10
            names.go.set()
            ended = record.wait_for("closed", 1000)
    assert {error for _, error in ended} == {ConnectionRefusedError}
    assert names.most == resolver.MOST_THREADS
    assert len(names.asked) == 1000


@pytest.mark.parametrize("poller", POLLERS)
def test_a_name_that_nobody_waits_for_any_more_is_not_looked_up(poller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_poller(monkeypatch, poller)
    monkeypatch.setattr(resolver, "MOST_THREADS", 1)
    record = Recorder()
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        names = Names(monkeypatch, refusing.getsockname()[1])

        def closed(conn: Conn, error: BaseException | None) -> None:
            record.add("closed", conn.context, type(error))

        with running(Events(closed=closed), "tcp://127.0.0.1:0") as run:
            run.server.dial("tcp://first.test:1", "first")
            names.wait_for(1)
            given_up = run.server.dial("tcp://second.test:1", "second")
            run.server.dial("tcp://third.test:1", "third")
            given_up.close()
            record.wait_for("closed")
            for _ in range(3):  # turns: asyncio ends the task of a dial that was given up in the next one
                turned = threading.Event()
                run.server.call(turned.set)
                assert turned.wait(TIMEOUT)
            names.go.set()
            record.wait_for("closed", 3)
    assert names.asked == ["first.test", "third.test"]


def test_look_ups_at_the_limit_of_threads_are_an_error_of_the_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    record = Recorder()
    Names(monkeypatch, 1)
    with running(Events(closed=lambda conn, error: record.add("closed", error)), "tcp://127.0.0.1:0") as run:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            run.server.dial("tcp://first.test:1")
            ((_, error),) = record.wait_for("closed")
        assert isinstance(error, OSError)
        assert str(error).endswith("cannot look up first.test: can't start new thread")


def test_a_forked_child_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, 1)
    monkeypatch.setattr(resolver, "MOST_THREADS", 1)
    ended = threading.Event()
    resolve(ADDRESS, socket.SOCK_STREAM, lambda found: ended.set())
    names.wait_for(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, as there are threads: what is tested
        child = os.fork()
    if child == 0:  # pragma: no cover
        status = 1
        try:
            names.go = threading.Event()
            names.go.set()
            done = threading.Event()
            resolve(ADDRESS, socket.SOCK_STREAM, lambda found: done.set())
            status = 0 if done.wait(TIMEOUT) else 2
        finally:
            os._exit(status)
    names.go.set()
    assert ended.wait(TIMEOUT)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_numeric_hosts_need_no_thread() -> None:
    assert look_up_numeric(Address.parse("tcp://127.0.0.1:80"), socket.SOCK_STREAM) == [
        (socket.AF_INET, ("127.0.0.1", 80))
    ]
    assert look_up_numeric(ADDRESS, socket.SOCK_STREAM) is None


def test_a_cancelled_look_up_tells_nobody() -> None:
    told: list[Any] = []
    look_up = LookUp(ADDRESS, socket.SOCK_STREAM, told.append)
    look_up.cancel()
    look_up.run()
    assert told == []
