"""Publish and subscribe.

https://redis.io/docs/latest/commands/?group=pubsub
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clients.limits import OutputGuard
from ..clients.pubsub import CHANNEL, PATTERN, SHARD, Kind, PubSub
from ..errors import bad_subcommand
from ..model.command import Args, command
from ..persistence import AppendOnlyFile
from ..protocol.glob import matcher
from ..protocol.resp import array, bulk, bulks, integer
from .help import declare_help

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []


def _subscribe(session: Session, kind: Kind, names: Args) -> bytes:
    return _confirmed(session, [session.services[PubSub].subscribe(session, kind, name) for name in names])


def _unsubscribe(session: Session, kind: Kind, names: Args) -> bytes:
    pubsub = session.services[PubSub]
    wanted: list[bytes | None] = list(names or kind.of(session)) or [None]
    return _confirmed(session, [pubsub.unsubscribe(session, kind, name) for name in wanted])


def _confirmed(session: Session, confirmations: list[bytes]) -> bytes:
    session.update_plain()
    session.services[OutputGuard].limit(session)
    if session.reply_mode == "on":
        return b"".join(confirmations)
    session.push(b"".join(confirmations))  # CLIENT REPLY silences replies, not this
    return b""


@command("SUBSCRIBE", arity=-2, flags="pubsub noscript loading stale", since="2.0.0")
def subscribe(session: Session, args: Args) -> bytes:
    return _subscribe(session, CHANNEL, args[1:])


@command("PSUBSCRIBE", arity=-2, flags="pubsub noscript loading stale", since="2.0.0")
def psubscribe(session: Session, args: Args) -> bytes:
    return _subscribe(session, PATTERN, args[1:])


@command("SSUBSCRIBE", arity=-2, flags="pubsub noscript loading stale", keys=(1, -1, 1), since="7.0.0")
def ssubscribe(session: Session, args: Args) -> bytes:
    return _subscribe(session, SHARD, args[1:])


@command("UNSUBSCRIBE", arity=-1, flags="pubsub noscript loading stale", since="2.0.0")
def unsubscribe(session: Session, args: Args) -> bytes:
    return _unsubscribe(session, CHANNEL, args[1:])


@command("PUNSUBSCRIBE", arity=-1, flags="pubsub noscript loading stale", since="2.0.0")
def punsubscribe(session: Session, args: Args) -> bytes:
    return _unsubscribe(session, PATTERN, args[1:])


@command("SUNSUBSCRIBE", arity=-1, flags="pubsub noscript loading stale", keys=(1, -1, 1), since="7.0.0")
def sunsubscribe(session: Session, args: Args) -> bytes:
    return _unsubscribe(session, SHARD, args[1:])


@command("PUBLISH", arity=3, flags="pubsub loading stale fast may_replicate", since="2.0.0")
def publish(session: Session, args: Args) -> bytes:
    session.services[AppendOnlyFile].feed_replicas(args, session.db)
    return integer(session.services[PubSub].publish(args[1], args[2]))


@command("SPUBLISH", arity=3, flags="pubsub loading stale fast may_replicate", keys=(1,), since="7.0.0")
def spublish(session: Session, args: Args) -> bytes:
    session.services[AppendOnlyFile].feed_replicas(args, session.db)
    return integer(session.services[PubSub].publish_sharded(args[1], args[2]))


def _active(session: Session, kind: Kind, args: Args) -> bytes:
    names = list(session.services[PubSub].listeners[kind])
    if len(args) > 3:
        raise bad_subcommand("pubsub", args[1])
    return bulks([*filter(matcher(args[2]), names)] if len(args) > 2 else names)


def _counts(session: Session, kind: Kind, names: Args) -> bytes:
    listeners = session.services[PubSub].listeners[kind]
    return array([part for name in names for part in (bulk(name), integer(len(listeners.get(name, ()))))])


@command("PUBSUB CHANNELS", arity=-2, flags="pubsub loading stale", since="2.8.0")
def channels(session: Session, args: Args) -> bytes:
    return _active(session, CHANNEL, args)


@command("PUBSUB SHARDCHANNELS", arity=-2, flags="pubsub loading stale", since="7.0.0")
def shardchannels(session: Session, args: Args) -> bytes:
    return _active(session, SHARD, args)


@command("PUBSUB NUMSUB", arity=-2, flags="pubsub loading stale", since="2.8.0")
def numsub(session: Session, args: Args) -> bytes:
    return _counts(session, CHANNEL, args[2:])


@command("PUBSUB SHARDNUMSUB", arity=-2, flags="pubsub loading stale", since="7.0.0")
def shardnumsub(session: Session, args: Args) -> bytes:
    return _counts(session, SHARD, args[2:])


@command("PUBSUB NUMPAT", arity=2, flags="pubsub loading stale", since="2.8.0")
def numpat(session: Session, args: Args) -> bytes:
    return integer(len(session.services[PubSub].listeners[PATTERN]))


declare_help(
    "PUBSUB",
    "pubsub",
    """\
CHANNELS [<pattern>]
    The channels that have subscribers.
HELP
    This text.
NUMPAT
    How many patterns are subscribed to.
NUMSUB [<channel> ...]
    How many subscribers each channel has, not counting those of patterns.
SHARDCHANNELS [<pattern>]
    The shard channels that have subscribers.
SHARDNUMSUB [<shardchannel> ...]
    How many subscribers each shard channel has.""",
)
