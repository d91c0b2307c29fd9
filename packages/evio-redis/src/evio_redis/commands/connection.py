"""Connection management, but for CLIENT.

https://redis.io/docs/latest/commands/?group=connection
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..acl.log import AclLog, Denied
from ..acl.users import Users
from ..clients.connected import Clients
from ..clients.describe import describe
from ..clients.limits import OutputGuard
from ..cluster.cluster import Cluster
from ..errors import BAD_DB_INDEX, CommandError, wrong_arity
from ..keyspace.keyspace import Keyspace
from ..model.args import Options
from ..model.command import Args, command
from ..model.version import REDIS_VERSION
from ..protocol.numbers import parse_int, parse_int32
from ..protocol.resp import EMPTY_ARRAY, OK, RESP2, RESP3, Resp2, array, bulk, integer
from ..replication.replication import Replication

if TYPE_CHECKING:
    from ..clients.session import Session

__all__ = ["check_client_name"]

PONG = b"+PONG\r\n"

WRONGPASS = "WRONGPASS invalid username-password pair or user is disabled."


@command("PING", arity=-1, flags="fast")
def ping(session: Session, args: Args) -> bytes:
    if len(args) > 2:
        raise wrong_arity("ping")
    if session.subscribed and session.resp.version == 2:
        return array([bulk(b"pong"), bulk(args[1] if len(args) > 1 else b"")])
    return bulk(args[1]) if len(args) > 1 else PONG


@command("ECHO", arity=2, flags="loading stale fast")
def echo(session: Session, args: Args) -> bytes:
    return bulk(args[1])


@command("SELECT", arity=2, flags="loading stale fast")
def select(session: Session, args: Args) -> bytes:
    index = parse_int32(args[1])
    databases = session.services[Keyspace].databases
    if not 0 <= index < len(databases):
        raise CommandError(BAD_DB_INDEX)
    if index and session.services[Cluster].enabled:
        raise CommandError("ERR SELECT is not allowed in cluster mode")
    session.db = databases[index]
    return OK


@command("QUIT", arity=-1, flags="allow_busy noscript loading stale fast no_auth")
def quit_(session: Session, args: Args) -> bytes:
    session.closing = True
    session.update_plain()
    return OK


@command("RESET", arity=1, flags="allow_busy noscript loading stale fast no_auth", since="6.2.0")
def reset(session: Session, args: Args) -> bytes:
    session.services[Clients].reset(session)
    return b"+RESET\r\n"


@command("AUTH", arity=-2, flags="allow_busy noscript loading stale fast no_auth")
def auth(session: Session, args: Args) -> bytes:
    if len(args) > 3:
        raise CommandError("ERR syntax error")
    session.redact(args, *range(1, len(args)))
    if len(args) == 2 and session.services[Users].default.nopass:
        raise CommandError(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your"
            " configuration is correct?"
        )
    _authenticate(session, args, args[1] if len(args) == 3 else b"default", args[-1])
    return OK


def _authenticate(session: Session, args: Args, name: bytes, password: bytes) -> None:
    services = session.services
    user = services[Users].by_name.get(name.decode("utf-8", "surrogateescape"))
    if user is None or not user.accepts(password):
        context = "toplevel" if session.queue is None and session.executing is None else "multi"
        services[AclLog].add(Denied("auth", context, args[0], name, describe(session, session.shown(args))))
        raise CommandError(WRONGPASS)
    session.authenticated = session.parser.authenticated = True
    session.user = user
    session.update_plain()
    session.services[OutputGuard].limit(session)


@command("HELLO", arity=-1, flags="allow_busy noscript loading stale fast no_auth", since="6.0.0")
def hello(session: Session, args: Args) -> bytes:
    resp = _hello_version(session, args)
    _hello_options(session, args)
    if not session.authenticated:
        raise CommandError(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass>"
            " option can be used to authenticate the client and select the RESP protocol version at the same time"
        )
    session.resp = resp
    return resp.map(
        [
            *(bulk(b"server"), bulk(b"redis")),
            *(bulk(b"version"), bulk(REDIS_VERSION.encode())),
            *(bulk(b"proto"), integer(resp.version)),
            *(bulk(b"id"), integer(session.id)),
            *(bulk(b"mode"), bulk(b"cluster" if session.services[Cluster].enabled else b"standalone")),
            *(bulk(b"role"), bulk(b"replica" if session.services[Replication].master is not None else b"master")),
            *(bulk(b"modules"), EMPTY_ARRAY),
        ]
    )


def _hello_version(session: Session, args: Args) -> Resp2:
    if len(args) == 1:
        return session.resp
    version = parse_int(args[1], "ERR Protocol version is not an integer or out of range")
    if version not in (2, 3):
        raise CommandError("NOPROTO unsupported protocol version")
    return RESP2 if version == 2 else RESP3


def _hello_options(session: Session, args: Args) -> None:
    options = Options(args, 2)
    for option in options:
        left = len(args) - options.at
        if option == b"AUTH" and left >= 2:
            session.redact(args, options.at, options.at + 1)
            _authenticate(session, args, *options.take(2))
        elif option == b"SETNAME" and left:
            name = options.word()
            check_client_name(name)
            session.name = name
        else:
            shown = args[options.at - 1].decode("utf-8", "surrogateescape")
            raise CommandError(f"ERR Syntax error in HELLO option '{shown}'")


def check_client_name(name: bytes, what: str = "Client names") -> None:
    """Raises :class:`CommandError` for what would break the lines of CLIENT LIST."""
    if any(not 33 <= byte <= 126 for byte in name):
        raise CommandError(f"ERR {what} cannot contain spaces, newlines or special characters.")
