"""The stand-in for kqueue does what kqueue(2) says: on it stands what the tests say of the poller."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from .harness import TIMEOUT
from .kqueue import (
    ADD,
    CLEAR,
    DELETE,
    DISABLE,
    DISPATCH,
    ENABLE,
    EOF,
    ERROR,
    ONESHOT,
    READ,
    RECEIPT,
    WRITE,
    Kevent,
    Kqueue,
)

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def queue() -> Iterator[Kqueue]:
    made = Kqueue()
    yield made
    made.close()


@pytest.fixture(params=["unix", "tcp"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    if request.param == "unix":
        ours, peer = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            peer, _ = listener.accept()
    ours.setblocking(False)
    yield ours, peer
    ours.close()
    peer.close()


def seen(queue: Kqueue, most: int = 8, timeout: float = 0) -> list[tuple[int, int, int]]:
    """Filters, flags and counts of what is ready."""
    return [(each.filter, each.flags, each.data) for each in queue.control(None, most, timeout)]


def add(queue: Kqueue, sock: socket.socket, filter_: int, flags: int = 0) -> None:
    assert queue.control([Kevent(sock.fileno(), filter_, ADD | flags)], 0) == []


def test_events_are_level_triggered_and_count_bytes(queue: Kqueue, pair: Pair) -> None:
    ours, peer = pair
    add(queue, ours, READ)
    assert seen(queue) == []
    peer.send(b"12345")
    assert seen(queue, timeout=TIMEOUT) == [(READ, 0, 5)]
    assert seen(queue) == [(READ, 0, 5)]
    ours.recv(2)
    assert seen(queue) == [(READ, 0, 3)]
    ours.recv(3)
    assert seen(queue) == []


def test_the_end_of_input_comes_with_what_there_is_to_read(queue: Kqueue, pair: Pair) -> None:
    ours, peer = pair
    add(queue, ours, READ)
    peer.send(b"123")
    peer.shutdown(socket.SHUT_WR)
    while seen(queue, timeout=TIMEOUT) != [(READ, EOF, 3)]:
        pass
    ours.recv(3)
    assert seen(queue) == [(READ, EOF, 0)]


def test_room_to_write_and_its_end(queue: Kqueue, pair: Pair) -> None:
    ours, peer = pair
    add(queue, ours, WRITE)
    ((filter_, flags, room),) = seen(queue)
    assert (filter_, flags) == (WRITE, 0)
    assert room > 1000
    with pytest.raises(BlockingIOError):
        while True:
            ours.send(bytes(100_000))
    assert seen(queue) == []
    peer.close()  # over unread input, which resets
    ((filter_, flags, _),) = seen(queue, timeout=TIMEOUT)
    assert (filter_, flags) == (WRITE, EOF)


def test_what_we_have_shut_down_takes_no_more(queue: Kqueue) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as ours, listener.accept()[0]:
            add(queue, ours, WRITE)
            ours.shutdown(socket.SHUT_WR)
            assert seen(queue)[0][:2] == (WRITE, EOF)


def test_a_listener_counts_connections(queue: Kqueue) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        add(queue, listener, READ)
        with socket.create_connection(listener.getsockname()), socket.create_connection(listener.getsockname()):
            while seen(queue, timeout=TIMEOUT) != [(READ, 0, 2)]:
                pass


def test_clear_reports_news_alone(queue: Kqueue, pair: Pair) -> None:
    ours, peer = pair
    add(queue, ours, READ, CLEAR)
    peer.send(b"12")
    assert seen(queue, timeout=TIMEOUT) == [(READ, 0, 2)]
    assert seen(queue) == []
    peer.send(b"3")
    assert seen(queue, timeout=TIMEOUT) == [(READ, 0, 3)]
    assert seen(queue) == []


def test_the_filters_of_a_descriptor_are_events_of_their_own(queue: Kqueue, pair: Pair) -> None:
    ours, peer = pair
    add(queue, ours, READ, CLEAR)
    add(queue, ours, WRITE)
    assert [filter_ for filter_, _, _ in seen(queue)] == [WRITE]
    peer.send(b"1")
    while {filter_ for filter_, _, _ in seen(queue)} != {READ, WRITE}:
        pass
    assert [filter_ for filter_, _, _ in seen(queue)] == [WRITE]
    assert len(seen(queue, 1)) == 1


def test_oneshot_is_deleted_and_dispatch_disabled_by_its_report(queue: Kqueue, pair: Pair) -> None:
    ours, peer = pair
    peer.send(b"1")
    add(queue, ours, READ, ONESHOT)
    assert seen(queue, timeout=TIMEOUT) == [(READ, 0, 1)]
    assert seen(queue) == []
    with pytest.raises(FileNotFoundError):
        queue.control([Kevent(ours.fileno(), READ, DELETE)], 0)
    add(queue, ours, READ, DISPATCH)
    assert seen(queue) == [(READ, 0, 1)]
    assert seen(queue) == []
    queue.control([Kevent(ours.fileno(), READ, ENABLE)], 0)
    assert seen(queue) == [(READ, 0, 1)]


def test_a_disabled_event_is_kept_and_not_reported(queue: Kqueue, pair: Pair) -> None:
    ours, peer = pair
    add(queue, ours, READ, DISABLE)
    peer.send(b"1")
    assert seen(queue, timeout=0.05) == []
    queue.control([Kevent(ours.fileno(), READ, ENABLE)], 0)
    assert seen(queue, timeout=TIMEOUT) == [(READ, 0, 1)]


def test_adding_again_replaces(queue: Kqueue, pair: Pair) -> None:
    ours, peer = pair
    peer.send(b"1")
    queue.control([Kevent(ours.fileno(), READ, ADD | CLEAR, udata=1)], 0)
    queue.control([Kevent(ours.fileno(), READ, ADD, udata=2)], 0)
    for _ in range(2):
        assert [event.udata for event in queue.control(None, 8, TIMEOUT)] == [2]


def test_errors_of_changes_are_events_if_there_is_room(queue: Kqueue, pair: Pair) -> None:
    ours, peer = pair
    peer.send(b"1")
    fd = ours.fileno()
    missing, good = Kevent(fd, WRITE, DELETE), Kevent(fd, READ, ADD)
    with pytest.raises(FileNotFoundError):
        queue.control([missing, good], 0)
    assert queue.interests == set()  # what follows the error was not done
    (event,) = queue.control([missing, good], 8, TIMEOUT)
    assert (event.ident, event.filter, event.flags & ERROR, event.data) == (fd, WRITE, ERROR, errno.ENOENT)
    assert queue.interests == {(fd, READ)}
    (event,) = queue.control([Kevent(fd, WRITE, ADD | RECEIPT)], 8, TIMEOUT)
    assert (event.filter, event.flags & ERROR, event.data) == (WRITE, ERROR, 0)
    with pytest.raises(OSError, match="Invalid argument"):
        queue.control([Kevent(fd, -7, ADD)], 0)


def test_an_event_vanishes_with_its_descriptor_although_there_is_a_copy(queue: Kqueue, pair: Pair) -> None:
    ours, peer = pair
    fd = ours.fileno()
    add(queue, ours, READ)
    add(queue, ours, WRITE, CLEAR)
    left, right = socket.socketpair()
    with left, right, ours.dup() as copy:
        ours.close()
        peer.send(b"1")
        assert copy.recv(1, socket.MSG_PEEK) == b"1"
        assert seen(queue, timeout=0.05) == []
        assert queue.interests == set()
        with pytest.raises(OSError, match="Bad file descriptor"):
            queue.control([Kevent(fd, READ, DELETE)], 0)
        os.dup2(left.fileno(), fd)
        try:
            right.send(b"12")
            assert seen(queue) == []
            with pytest.raises(FileNotFoundError):
                queue.control([Kevent(fd, READ, DELETE)], 0)
            queue.control([Kevent(fd, READ, ADD)], 0)
            assert seen(queue, timeout=TIMEOUT) == [(READ, 0, 2)]
        finally:
            os.close(fd)
        assert seen(queue) == []


def test_arguments_are_checked_as_pythons_are(queue: Kqueue) -> None:
    with pytest.raises(ValueError, match="timeout must be positive or None"):
        queue.control(None, 1, -1)
    with pytest.raises(ValueError, match="must be 0 or positive"):
        queue.control(None, -1)
    with pytest.raises(TypeError, match="kevent objects"):
        queue.control([(1, READ)], 1)  # type: ignore[list-item]
    queue.close()
    with pytest.raises(ValueError, match="closed kqueue"):
        queue.control(None, 0)
