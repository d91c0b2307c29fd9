"""Replication: of this server by others, and of others by it.

https://redis.io/docs/latest/commands/replicaof/
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..config.config import Config
from ..errors import SYNTAX_ERROR, CommandError
from ..model.args import Options
from ..model.command import Args, command
from ..protocol.numbers import parse_int
from ..protocol.resp import OK, array, bulk, integer
from ..replication.failover import FailoverState
from ..replication.replicas import Replicas
from ..replication.replication import Replication

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

log: logging.Logger = logging.getLogger("evio_redis")

ADMIN = "admin noscript"
SEVERAL_LOOPS = "ERR replication needs a server with one loop ('loops 1')"


# -- this server as a master


@command("PSYNC", arity=-3, flags=f"{ADMIN} no_async_loading no_multi", group="server", since="2.8.0")
def psync(session: Session, args: Args) -> bytes:
    offset = parse_int(args[2])
    if len(args) > 3 and args[3].lower() == b"failover":
        _take_over(session, args[1])
    return _synchronise(session, args[1].decode("ascii", "replace"), offset)


@command("SYNC", arity=1, flags=f"{ADMIN} no_async_loading no_multi", group="server", since="1.0.0")
def sync(session: Session, args: Args) -> bytes:
    return _synchronise(session, None, -1)


def _take_over(session: Session, stream: bytes) -> None:
    """Lead from now on, as the master of this server asks it to. Raises :class:`CommandError`."""
    replication = session.services[Replication]
    if replication.master is None:
        raise CommandError("ERR PSYNC FAILOVER can't be sent to a master.")
    if stream.lower() != replication.replicas.id.encode():
        raise CommandError("ERR PSYNC FAILOVER replid must match my replid.")
    log.info("Failover request received: this server leads from now on")
    replication.lead()


def _synchronise(session: Session, stream: str | None, offset: int) -> bytes:
    replication = session.services[Replication]
    if session.outbox is not None:
        raise CommandError(SEVERAL_LOOPS)
    if replication.failover.state is not FailoverState.NONE:
        raise CommandError("NOMASTERLINK Can't SYNC while failing over")
    if replication.master is not None and not replication.up:
        raise CommandError("NOMASTERLINK Can't SYNC while not connected with my master")
    if session.replica is not None and session.replica.following:
        return b""
    return replication.replicas.synchronise(session, stream, offset)


@command("REPLCONF", arity=-1, flags=f"{ADMIN} loading stale allow_busy", group="server", since="3.0.0")
def replconf(session: Session, args: Args) -> bytes:
    if len(args) % 2 == 0:
        raise CommandError(SYNTAX_ERROR)
    replicas = session.services[Replicas]
    for name, value in zip(args[1::2], args[2::2], strict=True):
        option = name.lower()
        if option == b"ack":
            replicas.acknowledge(session, parse_int(value))
            return b""
        if option == b"getack":
            return b""
        replica = replicas.introduce(session)
        if option == b"listening-port":
            replica.port = parse_int(value)
        elif option == b"ip-address":
            replica.host = value.decode("utf-8", "replace")
        elif option == b"capa":
            replica.psync2 = replica.psync2 or value.lower() == b"psync2"
            replica.eof = replica.eof or value.lower() == b"eof"
        elif option == b"rdb-only":
            replica.rdb_only = parse_int(value) != 0
        elif option == b"rdb-filter-only":
            replica.functions_only = _only_functions(value)
        else:
            raise CommandError(f"ERR Unrecognized REPLCONF option: {name.decode('utf-8', 'replace')}")
    return OK


def _only_functions(value: bytes) -> bool:
    """Return True if a snapshot is to have the functions alone. Raises :class:`CommandError`."""
    words = value.split()
    for word in words:
        if word.lower() != b"functions":
            raise CommandError(f"ERR Unsupported rdb-filter-only option: {word.decode('utf-8', 'replace')}")
    return bool(words)


@command("WAIT", arity=3, flags="noscript", group="generic", since="3.0.0")
def wait(session: Session, args: Args) -> bytes:
    wanted = parse_int(args[1])
    milliseconds = parse_int(args[2], "ERR timeout is not an integer or out of range")
    if milliseconds < 0:
        raise CommandError("ERR timeout is negative")
    return session.services[Replicas].wait(session, wanted, milliseconds / 1000)


# -- this server as a replica


@command("REPLICAOF", arity=3, flags=f"{ADMIN} stale no_async_loading", group="server", since="5.0.0")
def replicaof(session: Session, args: Args) -> bytes:
    return _replicaof(session, args)


@command("SLAVEOF", arity=3, flags=f"{ADMIN} stale no_async_loading", group="server", since="1.0.0")
def slaveof(session: Session, args: Args) -> bytes:
    return _replicaof(session, args)


def _replicaof(session: Session, args: Args) -> bytes:
    replication = session.services[Replication]
    if replication.failover.state is not FailoverState.NONE:
        raise CommandError("ERR REPLICAOF not allowed while failing over.")
    if (args[1].lower(), args[2].lower()) == (b"no", b"one"):
        replication.lead()
        return OK
    if session.outbox is not None:
        raise CommandError(SEVERAL_LOOPS)
    if session.replica is not None and session.replica.following:
        raise CommandError("ERR Command is not valid when client is a replica.")
    port = parse_int(args[2], "ERR Invalid master port")
    if not 0 <= port <= 65535:
        raise CommandError("ERR Invalid master port")
    host = args[1].decode("utf-8", "replace")
    if replication.master == (host, port):
        return b"+OK Already connected to specified master\r\n"
    replication.follow(host, port)
    return OK


@command("FAILOVER", arity=-1, flags=f"{ADMIN} stale", group="server", since="6.2.0")
def failover(session: Session, args: Args) -> bytes:
    if session.services[Config].cluster_enabled:
        raise CommandError("ERR FAILOVER not allowed in cluster mode.")
    failing = session.services[Replication].failover
    if len(args) == 2 and args[1].lower() == b"abort":
        failing.abort()
        return OK
    target, timeout, force = None, 0, False
    options = Options(args, 1)
    for option in options:
        if option == b"TIMEOUT" and not timeout:
            timeout = parse_int(options.word())
            if timeout <= 0:
                raise CommandError("ERR FAILOVER timeout must be greater than 0")
        elif option == b"TO" and target is None:
            host, port = options.take(2)
            target = host.decode("utf-8", "replace"), parse_int(port)
        elif option == b"FORCE" and not force:
            force = True
        else:
            raise options.unknown()
    failing.begin(target, timeout / 1000, force)
    return OK


@command("ROLE", arity=1, flags="noscript loading stale fast", group="server", since="2.8.12")
def role(session: Session, args: Args) -> bytes:
    replication = session.services[Replication]
    replicas = replication.replicas
    if replication.master is not None:
        host, port = replication.master
        offset = replicas.offset if replication.up else -1
        return array(
            [bulk(b"slave"), bulk(host.encode()), integer(port), bulk(replication.state.encode()), integer(offset)]
        )
    rows = [
        array([bulk(each.address[0].encode()), bulk(b"%d" % each.address[1]), bulk(b"%d" % each.acknowledged)])
        for each in replicas
        if each.online
    ]
    return array([bulk(b"master"), integer(replicas.offset), array(rows)])
