"""The pollers: one list of methods, the same meaning. kqueue's runs over a stand-in for the kernel's."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from evio_core.loop.poller import HANGUP, READ, WRITE, choice, make_poller
from evio_core.loop.poller.kqueue import KqueuePoller
from evio_core.loop.poller.select import FD_SETSIZE, SelectPoller

from . import kqueue
from .conftest import use_poller


@pytest.fixture(params=["epoll", "kqueue", "select"])
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    use_poller(monkeypatch, request.param)
    made = make_poller()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    yield ours, peer
    ours.close()
    peer.close()


def test_readable_writable_and_both(poller: Any, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, peer = pair
    poller.register(ours.fileno(), READ)
    assert poller.poll(0) == []
    peer.send(b"x")
    assert poller.poll(1) == [(ours.fileno(), READ)]
    assert poller.poll(1) == [(ours.fileno(), READ)]  # level-triggered
    poller.modify(ours.fileno(), READ | WRITE)
    assert poller.poll(1) == [(ours.fileno(), READ | WRITE)]
    poller.modify(ours.fileno(), WRITE)
    assert poller.poll(1) == [(ours.fileno(), WRITE)]
    ours.recv(1)
    poller.modify(ours.fileno(), READ)
    assert poller.poll(0) == []
    poller.unregister(ours.fileno())
    peer.send(b"x")
    assert poller.poll(0) == []


def test_no_interest_at_all(poller: Any, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, peer = pair
    poller.register(ours.fileno(), 0)
    peer.send(b"x")
    assert poller.poll(0) == []
    poller.modify(ours.fileno(), READ)
    assert poller.poll(1) == [(ours.fileno(), READ)]


def test_a_half_close_is_something_to_read(poller: Any, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, peer = pair
    poller.register(ours.fileno(), READ)
    peer.shutdown(socket.SHUT_WR)
    assert [(fd, mask & ~0x2000) for fd, mask in poller.poll(1)] == [(ours.fileno(), READ)]
    assert ours.recv(1) == b""


def test_a_peer_that_is_gone_shows_to_a_writer(poller: Any, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, peer = pair
    poller.register(ours.fileno(), WRITE)
    peer.close()
    ((fd, mask),) = poller.poll(1)
    assert fd == ours.fileno()
    assert mask & WRITE
    assert mask & HANGUP or isinstance(poller, SelectPoller)


def test_no_more_events_than_asked_for(poller: Any) -> None:
    pairs = [socket.socketpair() for _ in range(5)]
    for ours, peer in pairs:
        poller.register(ours.fileno(), READ)
        peer.send(b"x")
    if not isinstance(poller, SelectPoller):  # select reports all there are
        assert len(poller.poll(1, 3)) == 3
    assert len(poller.poll(1, 64)) == 5
    for ours, peer in pairs:
        poller.unregister(ours.fileno())
        ours.close()
        peer.close()


def test_a_bad_descriptor_is_an_error_and_leaves_nothing_behind(poller: Any) -> None:
    if isinstance(poller, SelectPoller):
        pytest.skip("select notices when it polls")
    fd = os.open("/dev/null", os.O_RDONLY)
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        poller.register(fd, READ)
    assert poller.poll(0) == []


@pytest.fixture
def kqueue_poller(monkeypatch: pytest.MonkeyPatch) -> Iterator[KqueuePoller]:
    kqueue.install(monkeypatch)
    made = KqueuePoller()
    yield made
    made.close()


def test_kqueue_changes_only_what_differs(
    kqueue_poller: KqueuePoller, pair: tuple[socket.socket, socket.socket]
) -> None:
    kernel: kqueue.Kqueue = kqueue_poller._kqueue
    fd = pair[0].fileno()
    kqueue_poller.register(fd, READ)
    calls = kernel.calls
    kqueue_poller.modify(fd, READ)
    assert kernel.calls == calls
    kqueue_poller.modify(fd, WRITE)
    assert kernel.interests == {(fd, kqueue.WRITE)}
    kqueue_poller.unregister(fd)
    assert kernel.interests == set()
    kqueue_poller.close()
    assert kernel.closed


def test_kqueue_reads_what_there_is_before_the_end(
    kqueue_poller: KqueuePoller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, peer = pair
    kqueue_poller.register(ours.fileno(), READ | WRITE)
    peer.send(b"last words")
    peer.close()
    (fd, mask), *others = kqueue_poller.poll(1)
    assert (fd, mask, others) == (ours.fileno(), READ | WRITE | HANGUP, [])
    kqueue_poller.modify(ours.fileno(), READ)
    assert kqueue_poller.poll(1) == [(ours.fileno(), READ)]
    assert (ours.recv(100), ours.recv(100)) == (b"last words", b"")


@pytest.mark.parametrize("refused", [kqueue.READ, kqueue.WRITE])
def test_a_change_that_kqueue_refuses_leaves_the_others_known(
    refused: int,
    kqueue_poller: KqueuePoller,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory runs out between the two filters of a descriptor."""
    kernel: kqueue.Kqueue = kqueue_poller._kqueue
    fd = pair[0].fileno()
    real = kernel._change

    def change(event: kqueue.Kevent) -> int:
        return errno.ENOMEM if event.filter == refused and event.flags & kqueue.ADD else real(event)

    with monkeypatch.context() as patch:
        patch.setattr(kernel, "_change", change)
        with pytest.raises(OSError, match="Cannot allocate memory"):
            kqueue_poller.register(fd, READ | WRITE)
        assert kernel.interests == set()
    kqueue_poller.register(fd, READ if refused == kqueue.WRITE else WRITE)
    with monkeypatch.context() as patch:
        patch.setattr(kernel, "_change", change)
        with pytest.raises(OSError, match="Cannot allocate memory"):
            kqueue_poller.modify(fd, READ | WRITE)
    kqueue_poller.modify(fd, READ | WRITE)
    assert kernel.interests == {(fd, kqueue.READ), (fd, kqueue.WRITE)}
    kqueue_poller.unregister(fd)


def test_select_refuses_descriptors_beyond_its_reach() -> None:
    with pytest.raises(OSError, match=f"beyond what select can watch \\({FD_SETSIZE}\\)"):
        SelectPoller().register(FD_SETSIZE, READ)


def test_the_ladder_and_its_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVIO_POLLER", raising=False)
    assert choice() == "epoll"
    monkeypatch.delattr(select, "epoll")
    assert choice() == "select"
    kqueue.install(monkeypatch)
    assert choice() == "kqueue"
    monkeypatch.setenv("EVIO_POLLER", "asyncio")
    assert choice() == "asyncio"
    monkeypatch.setenv("EVIO_POLLER", "epoll")
    with pytest.raises(ValueError, match="EVIO_POLLER=epoll: this system has kqueue, select, asyncio"):
        choice()


def test_epoll_shares_a_listener_exclusively() -> None:
    poller = make_poller()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        poller.register(listener.fileno(), READ, True)
        with socket.create_connection(listener.getsockname()):
            assert poller.poll(1, 1) == [(listener.fileno(), READ)]
    poller.close()
