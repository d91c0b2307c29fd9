"""Channels and who listens to them.

https://redis.io/docs/latest/develop/interact/pubsub/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..protocol.glob import matcher
from ..protocol.resp import bulk, integer

if TYPE_CHECKING:
    from .session import Session

__all__ = ["KINDS", "Kind", "PubSub"]


class Kind:
    """One of the three kinds of subscription: its names on the wire, who has it, where a session keeps its own."""

    def __init__(self, prefix: bytes, message: bytes, attribute: str) -> None:
        self.subscribe: bytes = prefix + b"subscribe"
        self.unsubscribe: bytes = prefix + b"unsubscribe"
        self.message = message
        self.attribute = attribute

    def of(self, session: Session) -> dict[bytes, None]:
        """Return the subscriptions of a session."""
        names: dict[bytes, None] = getattr(session, self.attribute)
        return names


CHANNEL = Kind(b"", b"message", "channels")
PATTERN = Kind(b"p", b"pmessage", "patterns")
SHARD = Kind(b"s", b"smessage", "shard_channels")
KINDS = (CHANNEL, PATTERN, SHARD)


def _may_hear_events(kind: Kind, name: bytes) -> bool:
    """Tell whether a channel is one of keyspace events, or a pattern may match one."""
    if kind is PATTERN:
        return name[:1] in (b"_", b"*", b"?", b"[", b"\\")
    return kind is CHANNEL and name.startswith(b"__key")


def _hears_the_end_of_keys_only(name: bytes) -> bool:
    """Tell whether a channel or pattern is of nothing but the events of keys that expire or are evicted, which is what
    programs mostly listen to, and no command causes."""
    return name.startswith(b"__keyevent@") and name.endswith((b":expired", b":evicted")) and b"[" not in name


class PubSub:
    """The subscriptions of a server."""

    def __init__(self) -> None:
        self.on_heard: Callable[[bool, bool], None] = lambda heard, told: None
        """Told when it changes whether a keyspace event may be heard by anybody, and whether one of a command."""

        self._heard = False, False
        self._hearing = self._hearing_commands = 0  # channels and patterns of keyspace events that have listeners
        self.listeners: dict[Kind, dict[bytes, dict[Session, None]]] = {kind: {} for kind in KINDS}

    # -- subscribing. Each returns the confirmation, encoded.

    def subscribe(self, session: Session, kind: Kind, name: bytes) -> bytes:
        """Subscribe to a channel or pattern."""
        kind.of(session)[name] = None
        known = self.listeners[kind].get(name)
        self.listeners[kind].setdefault(name, {})[session] = None
        if known is None:
            self._changed(kind, name, 1)
        return self._confirm(session, kind.subscribe, kind, name)

    def unsubscribe(self, session: Session, kind: Kind, name: bytes | None) -> bytes:
        """Subscribe no more; None is the reply to unsubscribing from everything without having anything."""
        if name is not None:
            self._drop(session, kind, name)
        return self._confirm(session, kind.unsubscribe, kind, name)

    def forget(self, session: Session) -> None:
        """Drop all subscriptions of a session."""
        for kind in KINDS:
            for name in list(kind.of(session)):
                self._drop(session, kind, name)

    def _drop(self, session: Session, kind: Kind, name: bytes) -> None:
        kind.of(session).pop(name, None)
        sessions = self.listeners[kind].get(name)
        if sessions is not None:
            sessions.pop(session, None)
            if not sessions:
                del self.listeners[kind][name]
                self._changed(kind, name, -1)

    def _changed(self, kind: Kind, name: bytes, by: int) -> None:
        """A channel or pattern has its first listener (``by`` 1), or has lost its last (-1)."""
        if _may_hear_events(kind, name):
            self._hearing += by
            self._hearing_commands += 0 if _hears_the_end_of_keys_only(name) else by
            heard = self._hearing > 0, self._hearing_commands > 0
            if heard != self._heard:
                self._heard = heard
                self.on_heard(*heard)

    def _confirm(self, session: Session, what: bytes, kind: Kind, name: bytes | None) -> bytes:
        count = len(session.shard_channels) if kind is SHARD else len(session.channels) + len(session.patterns)
        shown = session.resp.null if name is None else bulk(name)
        return session.resp.push([bulk(what), shown, integer(count)])

    # -- publishing

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send to the listeners of a channel and of patterns that match it; returns how many."""
        patterns = self.listeners[PATTERN]
        if not patterns and channel not in self.listeners[CHANNEL]:
            return 0
        count = self._send(CHANNEL, channel, [bulk(channel), bulk(message)])
        for pattern in list(patterns):
            if matcher(pattern)(channel):
                count += self._send(PATTERN, pattern, [bulk(pattern), bulk(channel), bulk(message)])
        return count

    def publish_sharded(self, channel: bytes, message: bytes) -> int:
        """Send to the listeners of a shard channel; returns how many."""
        return self._send(SHARD, channel, [bulk(channel), bulk(message)])

    def _send(self, kind: Kind, name: bytes, parts: list[bytes]) -> int:
        sessions = self.listeners[kind].get(name)
        if not sessions:
            return 0
        parts = [bulk(kind.message), *parts]
        encoded: dict[int, bytes] = {}
        for session in list(sessions):
            version = session.resp.version
            if version not in encoded:
                encoded[version] = session.resp.push(parts)
            session.push(encoded[version])
        return len(sessions)
