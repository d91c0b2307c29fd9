"""Every action from every callback that can return it. The commonest are in ``test_guarantees_closing``."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from evio_core import Action, Conn, Events, Server

from .conftest import POLLERS, Variant, use_poller
from .harness import TIMEOUT, Recorder, connect, receive, receive_all, running


def acting(where: str, reply: Any, record: Recorder) -> Events:
    """A server in which the callback ``where`` returns ``reply``, once, and everything else just goes on: ``drained``
    needs output and ``wake`` a wake to come about."""

    def once(name: str, otherwise: Any = None) -> Callable[..., Any]:
        def callback(*arguments: Any) -> Any:
            if name == where and name not in record.names():
                record.add(name)
                return reply
            return otherwise

        return callback

    def data(conn: Conn, chunk: bytes) -> Any:
        if where == "wake":
            conn.wake()
            return None
        return on_data(conn, chunk)

    def detached(conn: Conn, sock: socket.socket) -> Any:
        record.add("socket", sock)
        return on_detached(conn, sock)

    def closed(conn: Conn, error: BaseException | None) -> Any:
        record.add("end", error)
        return on_closed(conn, error)

    on_data = once("data", Action.DETACH if where == "detached" else Action.CLOSE if where == "closed" else b"+")
    on_wake, on_detached, on_closed = once("wake"), once("detached"), once("closed")
    events = Events(opened=once("opened"), data=data, woken=on_wake, detached=detached, closed=closed)
    if where == "eof":
        events.eof = once("eof")
    if where == "drained":
        events.drained = once("drained")
    return events


def provoke(where: str, peer: socket.socket) -> None:
    """Do what makes the callback come, and take the output that this takes."""
    if where != "opened":
        peer.sendall(b"x")
    if where in ("drained", "eof"):
        assert receive(peer, 1) == b"+"
    if where == "eof" and isinstance(peer, ssl.SSLSocket):
        with contextlib.suppress(ssl.SSLError):  # it does not take data behind its own close_notify
            peer.unwrap()
    elif where == "eof":
        peer.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("where", ["eof", "drained", "wake", "detached", "closed"])
def test_shutdown(variant: Variant, where: str) -> None:
    record = Recorder()
    reply = Action.SHUTDOWN if where in ("detached", "closed") else (b"bye", Action.SHUTDOWN)
    events = acting(where, reply, record)
    events.opened = lambda conn: record.add("open")
    events.num_loops = variant.num_loops
    with running(events, variant.address) as run:
        with connect(run.addr, variant.trust) as peer, connect(run.addr, variant.trust) as other:
            record.wait_for("open", 2)  # one that is not accepted yet never gets to `closed`
            provoke(where, peer)
            run.join()
            if where == "detached":
                with record.wait_for("socket")[0][1] as sock:
                    sock.settimeout(TIMEOUT)
                    sock.sendall(b"bye")
            if where != "closed" and not (where == "eof" and variant.transport == "tls"):
                assert receive_all(peer) == b"bye"
            assert receive_all(other) == b""
    ends = [error for _, error in record.wait_for("end", 1 if where == "detached" else 2)]
    assert ends == [None] * len(ends)
    assert record.names().count("end") == len(ends)


@pytest.mark.parametrize("where", ["opened", "eof", "drained", "wake"])
def test_detach(variant: Variant, where: str) -> None:
    if where == "eof" and variant.transport == "tls":
        pytest.skip("Python's TLS clients take nothing after their own close_notify")
    record = Recorder()
    events = acting(where, (b"bye", Action.DETACH), record)
    events.num_loops = variant.num_loops
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        provoke(where, peer)
        assert receive(peer, 3) == b"bye"
        with record.wait_for("socket")[0][1] as sock:
            sock.settimeout(TIMEOUT)
            if where == "eof":
                assert sock.recv(10) == b""
            else:
                peer.sendall(b"more")
                assert receive(sock, 4) == b"more"
            sock.sendall(b"from its owner")
            assert receive(peer, 14) == b"from its owner"
    assert "end" not in record.names()


@pytest.mark.parametrize("where", ["opened", "data", "eof", "drained", "wake"])
def test_detach_without_anybody_to_take_the_socket_closes_it(variant: Variant, where: str) -> None:
    events = acting(where, (b"bye", Action.DETACH), Recorder())
    events.detached = None
    events.num_loops = variant.num_loops
    with running(events, variant.address) as run, connect(run.addr, variant.trust) as peer:
        if where == "eof" and variant.transport == "tls":
            provoke(where, peer)  # and the server is not harmed
            return
        provoke(where, peer)
        assert receive(peer, 3) == b"bye"
        with contextlib.suppress(ssl.SSLError):  # without a close_notify, which was the owner's to send
            assert peer.recv(1) == b""


@pytest.mark.parametrize("action", [Action.NONE, Action.CLOSE, Action.DETACH])
@pytest.mark.parametrize("where", ["serving", "tick", "detached", "closed"])
@pytest.mark.parametrize("poller", POLLERS)
def test_where_there_is_nothing_to_close_nothing_happens(
    poller: str, where: str, action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_poller(monkeypatch, poller)
    record = Recorder()
    if where in ("serving", "tick"):
        events = Events(data=lambda conn, chunk: chunk)

        def callback(*_: Server) -> Action:
            record.add(where)
            return action

        setattr(events, where, callback)
    else:
        events = acting(where, action, record)
    with running(events, "tcp://127.0.0.1:0") as run:
        for turn in range(2):  # the second time the server is still as it was
            with connect(run.addr) as peer:
                peer.sendall(b"x")
                if where == "detached":
                    record.wait_for("socket", turn + 1)[turn][1].close()
                elif where == "closed":
                    assert receive_all(peer) == b""
                else:
                    assert receive(peer, 1) == b"x"
        record.wait_for(where)
