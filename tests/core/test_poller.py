"""The pollers: one list of methods, the same meaning. kqueue's logic is tested against a fake of the kernel's."""

from __future__ import annotations

import importlib.util
import os
import select
import socket
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from evio_core.loop import poller as poller_package
from evio_core.loop.poller import HANGUP, READ, WRITE, choice, make_poller
from evio_core.loop.poller.select import FD_SETSIZE, SelectPoller

# -- a fake of select.kqueue (kqueue(2)), over the sockets' real readiness


class Kevent(NamedTuple):
    ident: int
    filter: int
    flags: int = 0
    fflags: int = 0


READ_FILTER, WRITE_FILTER, ADD, DELETE, EOF, ERROR_FLAG = -1, -2, 1, 2, 0x8000, 0x4000


class FakeKqueue:
    """Level-triggered; as strict about changes as the kernel: deleting what is not there is ENOENT."""

    def __init__(self) -> None:
        self.interests: set[tuple[int, int]] = set()
        self.calls = 0
        self.closed = False

    def control(self, changes: list[Kevent] | None, most: int, timeout: float | None = None) -> list[Kevent]:
        self.calls += 1
        for change in changes or ():
            os.fstat(change.ident)
            key = change.ident, change.filter
            if change.flags & DELETE:
                if key not in self.interests:
                    raise FileNotFoundError(2, "No such file or directory")
                self.interests.remove(key)
            else:
                self.interests.add(key)
        if not most:
            return []
        readers = [fd for fd, which in self.interests if which == READ_FILTER]
        writers = [fd for fd, which in self.interests if which == WRITE_FILTER]
        readable, writable, _ = select.select(readers, writers, [], timeout)
        events = [Kevent(fd, READ_FILTER, EOF if ended(fd) else 0) for fd in readable]
        events += [Kevent(fd, WRITE_FILTER, EOF if gone(fd) else 0) for fd in writable]
        return events[:most]

    def close(self) -> None:
        self.closed = True


def ended(fd: int) -> bool:
    with socket.socket(fileno=os.dup(fd)) as sock:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""


def gone(fd: int) -> bool:
    polled = select.poll()
    polled.register(fd, select.POLLOUT)
    return any(mask & select.POLLHUP for _, mask in polled.poll(0))


def load_kqueue(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The class, from its module as it is imported where there is kqueue."""
    fake = types.ModuleType("select")
    names = {"KQ_EV_ADD": ADD, "KQ_EV_DELETE": DELETE, "KQ_EV_EOF": EOF, "KQ_EV_ERROR": ERROR_FLAG}
    names |= {"KQ_FILTER_READ": READ_FILTER, "KQ_FILTER_WRITE": WRITE_FILTER}
    for name, value in {**names, "kevent": Kevent, "kqueue": FakeKqueue}.items():
        setattr(fake, name, value)
    spec = importlib.util.find_spec("evio_core.loop.poller.kqueue")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "select", fake)
        patched.setattr(sys, "platform", "darwin")
        spec.loader.exec_module(module)
    return module.KqueuePoller


@pytest.fixture(params=["epoll", "kqueue", "select"])
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if request.param == "kqueue":
        made = load_kqueue(monkeypatch)()
    else:
        monkeypatch.setenv("EVIO_POLLER", request.param)
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


def test_kqueue_changes_only_what_differs(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[socket.socket, socket.socket]
) -> None:
    poller = load_kqueue(monkeypatch)()
    kernel: FakeKqueue = poller._kqueue
    fd = pair[0].fileno()
    poller.register(fd, READ)
    calls = kernel.calls
    poller.modify(fd, READ)
    assert kernel.calls == calls
    poller.modify(fd, WRITE)
    assert kernel.interests == {(fd, WRITE_FILTER)}
    poller.unregister(fd)
    assert kernel.interests == set()
    poller.close()
    assert kernel.closed


def test_kqueue_errors_and_ends_in_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    poller = load_kqueue(monkeypatch)()
    events = [
        Kevent(7, READ_FILTER, EOF),
        Kevent(8, WRITE_FILTER, EOF),
        Kevent(9, READ_FILTER, ERROR_FLAG),
        Kevent(8, READ_FILTER),
    ]
    reply: Callable[..., list[Kevent]] = lambda changes, most, timeout=None: events  # noqa: E731
    monkeypatch.setattr(poller._kqueue, "control", reply)
    assert poller.poll(0) == [(7, READ), (8, READ | WRITE | HANGUP), (9, READ | poller_package.ERROR)]


def test_select_refuses_descriptors_beyond_its_reach() -> None:
    with pytest.raises(OSError, match=f"beyond what select can watch \\({FD_SETSIZE}\\)"):
        SelectPoller().register(FD_SETSIZE, READ)


def test_the_ladder_and_its_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVIO_POLLER", raising=False)
    assert choice() == "epoll"
    monkeypatch.delattr(select, "epoll")
    assert choice() == "select"
    monkeypatch.setattr(select, "kqueue", FakeKqueue, raising=False)
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
