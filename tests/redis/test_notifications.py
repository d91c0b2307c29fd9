"""Keyspace events: who hears them, and that nobody pays for those that nobody can hear."""

from __future__ import annotations

import pytest
import redis

import evio_redis
from evio_redis.clients.pubsub import CHANNEL, PATTERN, PubSub
from evio_redis.clients.session import Session
from tests.tables import each_row

SUBSCRIPTIONS = {
    "SUBSCRIBE news": (False, False),
    "PSUBSCRIBE news.*": (False, False),
    "SUBSCRIBE __keyevent@0__:expired": (True, False),
    "SUBSCRIBE __keyevent@0__:evicted": (True, False),
    "PSUBSCRIBE __keyevent@*__:expired": (True, False),
    "SUBSCRIBE __keyevent@0__:set": (True, True),
    "SUBSCRIBE __keyspace@0__:k:expired": (True, True),
    "PSUBSCRIBE __keyspace@0__:*:expired": (True, True),
    "PSUBSCRIBE __key*:expired": (True, True),
    "PSUBSCRIBE *": (True, True),
    "PSUBSCRIBE ?_key*": (True, True),
    "PSUBSCRIBE [_]_key*": (True, True),
    r"PSUBSCRIBE \_\_key*": (True, True),
}
"""Commands, and whether what they subscribe to may be an event, and whether one that a command causes."""


@pytest.fixture(scope="module")
def server() -> evio_redis.Server:
    return evio_redis.Server()


@each_row("command", SUBSCRIPTIONS)
def test_what_a_subscription_may_hear(server: evio_redis.Server, command: str) -> None:
    word, name = command.split()
    kind = PATTERN if word == "PSUBSCRIBE" else CHANNEL
    pubsub, told = PubSub(), [(False, False)]
    one, other = (Session(server.services, None, number) for number in (1, 2))
    pubsub.on_heard = lambda *heard: told.append(heard)
    for session in (one, other):
        pubsub.subscribe(session, kind, name.encode())
        pubsub.subscribe(session, kind, name.encode())
        assert told[-1] == SUBSCRIPTIONS[command]
    pubsub.unsubscribe(one, kind, name.encode())
    assert told[-1] == SUBSCRIPTIONS[command]
    pubsub.forget(other)
    assert told[-1] == (False, False)


def test_events_arrive_whoever_else_is_subscribed() -> None:
    with evio_redis.Server(port=0, notify_keyspace_events="KEA") as running, redis.Redis(port=running.port) as client:
        listeners = {command: client.pubsub() for command in SUBSCRIPTIONS}

        def begin(command: str) -> None:
            word, name = command.split()
            listener = listeners[command]
            (listener.psubscribe if word == "PSUBSCRIBE" else listener.subscribe)(name)
            assert listener.get_message(timeout=20)["data"] == 1

        def heard(command: str) -> bytes:
            return bytes(listeners[command].get_message(timeout=20)["channel"])

        expired, all_of_them = "SUBSCRIBE __keyevent@0__:expired", "PSUBSCRIBE *"
        begin(expired)
        client.set("k:expired", "v")
        assert not running.keyspace.databases[0].has_listeners
        client.pexpire("k:expired", 1)
        assert heard(expired) == b"__keyevent@0__:expired"
        begin(all_of_them)
        assert running.keyspace.databases[0].has_listeners
        client.set("k", "v")
        assert heard(all_of_them) == b"__keyspace@0__:k"
        assert heard(all_of_them) == b"__keyevent@0__:set"
        listeners[all_of_them].close()
        begin("SUBSCRIBE __keyevent@0__:set")
        client.set("k", "v")
        assert heard("SUBSCRIBE __keyevent@0__:set") == b"__keyevent@0__:set"
        for listener in listeners.values():
            listener.close()
