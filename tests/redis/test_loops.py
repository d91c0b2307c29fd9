"""Several loops over one keyspace: a client sees the same order of things as with one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import evio_redis
from evio_redis.clients.session import Session
from evio_redis.model.command import Args
from evio_redis.protocol.resp import OK, integer

from .wire import TIMEOUT, Wire

PONG = b"+PONG\r\n"


class Held:
    """Two clients of different loops, the second of which is in the middle of a command until it may go on."""

    def __init__(self, server: evio_redis.Server, first: Wire, second: Wire) -> None:
        self.first, self.second = first, second
        self.entered, self.go = threading.Event(), threading.Event()

        @server.command("HOLD", arity=-1)
        def hold(session: Session, args: Args) -> bytes:
            self.entered.set()
            assert self.go.wait(TIMEOUT)
            return server.dispatcher.process(session, args[1:])

    def during(self, command: str, *meanwhile: str) -> None:
        """Have the second client run a command and the first send others, which arrive before that is done."""
        self.second.send(f"HOLD {command}")
        assert self.entered.wait(TIMEOUT)
        self.first.send(*meanwhile)
        self.go.set()
        self.second.reply()


@pytest.fixture
def held() -> Iterator[Held]:
    with evio_redis.Server(port=0, loops=2) as server, ExitStack() as stack:

        @server.command("LOOP", arity=1)
        def loop(session: Session, args: Args) -> bytes:
            assert session.conn is not None
            return integer(session.conn.loop_index)

        wires: dict[bytes, Wire] = {}
        while len(wires) < 2:
            wire = stack.enter_context(Wire(server.port))
            wires[wire.ask("LOOP")] = wire
        yield Held(server, wires[b":1\r\n"], wires[b":0\r\n"])


def test_the_reply_of_what_waited_comes_before_that_of_the_next_command(held: Held) -> None:
    held.first.send("BLPOP l 0")
    while held.second.ask("CLIENT UNBLOCK 0") and b"blocked_clients:1" not in held.second.ask("INFO clients"):
        pass
    held.during("RPUSH l x", "PING")
    assert held.first.reply() == b"*2\r\n$1\r\nl\r\n$1\r\nx\r\n"
    assert held.first.reply() == PONG


@pytest.mark.parametrize("protocol", [2, 3])
def test_messages_come_in_the_order_in_which_they_were_published(held: Held, protocol: int) -> None:
    held.first.ask(f"HELLO {protocol}")
    held.first.ask("SUBSCRIBE c")
    held.during("PUBLISH c 1", "PING")
    assert held.first.reply().endswith(b"$1\r\n1\r\n")
    assert b"pong" in held.first.reply().lower()


def test_a_message_of_the_own_loop_does_not_overtake_one_of_another(held: Held) -> None:
    held.first.ask("HELLO 3")
    held.first.ask("SUBSCRIBE c")
    held.during("PUBLISH c 1", "PUBLISH c 2", "PING")
    replies = [held.first.reply() for _ in range(4)]
    assert [reply[-4:-2] for reply in replies if reply.startswith(b">")] == [b"\n1", b"\n2"]
    assert replies[0].startswith(b">")
    assert replies[-1] == PONG


def test_what_waited_for_the_end_of_a_pause_comes_before_what_is_sent_later(held: Held) -> None:
    assert held.second.ask("CLIENT PAUSE 100000 WRITE") == OK
    held.first.send("SET k v")
    while b"cmd=set" not in held.second.ask("CLIENT LIST"):
        pass
    held.during("CLIENT UNPAUSE", "PING")
    assert held.first.reply() == OK
    assert held.first.reply() == PONG
