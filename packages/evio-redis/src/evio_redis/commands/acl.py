"""ACL: users and what they may do.

https://redis.io/docs/latest/commands/?name=acl
"""

from __future__ import annotations

import logging
import secrets
import time
from typing import TYPE_CHECKING

from ..acl.known import CATEGORIES, Known
from ..acl.log import AclLog
from ..acl.user import merge_selectors
from ..acl.users import Users, loses_channels, may_listen
from ..clients.connected import Clients
from ..clients.describe import client_type
from ..config.config import Config
from ..errors import AclError, CommandError, bad_subcommand, wrong_arity
from ..model.command import Args, Registry, command
from ..protocol.numbers import parse_int
from ..protocol.resp import OK, array, bulk, bulks, integer
from .help import declare_help

if TYPE_CHECKING:
    from ..acl.selector import Selector
    from ..acl.user import User
    from ..clients.session import Session

__all__: list[str] = []

log: logging.Logger = logging.getLogger("evio_redis")

BASE = "noscript loading stale"
ADMIN = "admin " + BASE
MOST_BITS = 4096
NO_FILE = (
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER"
    " command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store"
    " users in the Redis configuration."
)


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@command("ACL WHOAMI", arity=2, flags=BASE, group="server", since="6.0.0")
def whoami(session: Session, args: Args) -> bytes:
    return bulk(_bytes(session.user.name))


@command("ACL USERS", arity=2, flags=ADMIN, group="server", since="6.0.0")
def users(session: Session, args: Args) -> bytes:
    return bulks([_bytes(name) for name in sorted(session.services[Users].by_name)])


@command("ACL LIST", arity=2, flags=ADMIN, group="server", since="6.0.0")
def list_(session: Session, args: Args) -> bytes:
    return bulks(session.services[Users].lines())


@command("ACL GETUSER", arity=3, flags=ADMIN, group="server", since="6.0.0")
def getuser(session: Session, args: Args) -> bytes:
    session.redact(args, 2)
    user = session.services[Users].by_name.get(_text(args[2]))
    if user is None:
        return session.resp.null
    root, *selectors = user.selectors
    flags = session.resp.set_of_strings([flag.encode() for flag in user.flags()])
    fields = [bulk(b"flags"), flags, bulk(b"passwords"), bulks([each.encode() for each in user.passwords])]
    fields += _rules(root)
    fields += [bulk(b"selectors"), array([session.resp.map(_rules(each)) for each in selectors])]
    return session.resp.map(fields)


def _rules(selector: Selector) -> list[bytes]:
    fields = {
        b"commands": _bytes(selector.shown_commands()),
        b"keys": b" ".join(selector.shown_keys()),
        b"channels": b" ".join(selector.shown_channels()),
    }
    return [bulk(part) for field in fields.items() for part in field]


@command("ACL SETUSER", arity=-3, flags=ADMIN, group="server", since="6.0.0")
def setuser(session: Session, args: Args) -> bytes:
    session.redact(args, *range(2, len(args)))
    if any(byte in b" \t\n\v\f\r\0" for byte in args[2]):
        raise CommandError("ERR Usernames can't contain spaces or null characters")
    try:
        rules = merge_selectors(args[3:])
    except AclError as error:
        raise CommandError(f"ERR Unmatched parenthesis in acl selector starting at '{error}'.") from None
    users = session.services[Users]
    try:
        user = users.changed(_text(args[2]), rules)
    except AclError as error:
        raise CommandError(f"ERR {error}") from None
    known = users.by_name.get(user.name)
    if known is not None:
        _close_listeners(session, user, known)
    users.set(user)
    return OK


def _close_listeners(session: Session, new: User, old: User) -> None:
    """Close the connections of a user that are subscribed to what its new rules do not allow."""
    patterns = loses_channels(new, old)
    if patterns is None:
        return
    clients = session.services[Clients]
    for each in list(clients.sessions.values()):
        names = [*each.channels, *each.shard_channels]
        if each.user is old and client_type(each) == "pubsub" and not may_listen(patterns, names, [*each.patterns]):
            clients.kill(each, by=session)


@command("ACL DELUSER", arity=-3, flags=ADMIN, group="server", since="6.0.0")
def deluser(session: Session, args: Args) -> bytes:
    session.redact(args, *range(2, len(args)))
    users = session.services[Users]
    removed = []
    for name in args[2:]:
        if name == b"default":
            raise CommandError("ERR The 'default' user cannot be removed")
        user = users.remove(_text(name))
        if user is not None:
            removed.append(user)
            _close_all(session, [user])
    return integer(len(removed))


def _close_all(session: Session, gone: list[User]) -> None:
    clients = session.services[Clients]
    for each in list(clients.sessions.values()):
        if each.user in gone:
            clients.kill(each, by=session)


@command("ACL CAT", arity=-2, flags=BASE, group="server", since="6.0.0")
def cat(session: Session, args: Args) -> bytes:
    if len(args) > 3:
        raise bad_subcommand("acl", args[1])
    if len(args) == 2:
        return bulks([category.encode() for category in CATEGORIES])
    registry = session.services[Registry]
    category = _text(args[2]).lower()
    if category not in CATEGORIES:
        raise CommandError(f"ERR Unknown category '{_text(args[2])}'")
    names = Known(registry).update().categories[category]
    here = (each.name for top in registry.commands.values() for each in (top, *top.subcommands.values()))
    return bulks([name.encode() for name in here if name in names])


@command("ACL GENPASS", arity=-2, flags=BASE, group="server", since="6.0.0")
def genpass(session: Session, args: Args) -> bytes:
    if len(args) > 3:
        raise bad_subcommand("acl", args[1])
    bits = parse_int(args[2]) if len(args) > 2 else 256
    if not 0 < bits <= MOST_BITS:
        raise CommandError(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"
        )
    digits = (bits + 3) // 4
    return bulk(secrets.token_hex((digits + 1) // 2)[:digits].encode())


@command("ACL DRYRUN", arity=-4, flags=ADMIN, group="server", since="7.0.0")
def dryrun(session: Session, args: Args) -> bytes:
    users, call = session.services[Users], args[3:]
    user = users.by_name.get(_text(args[2]))
    if user is None:
        raise CommandError(f"ERR User '{_text(args[2])}' not found")
    found = session.services[Registry].find(call)
    if found is None or (found.subcommands and len(call) > 1):
        raise CommandError(f"ERR Command '{_text(call[0])}' not found")
    if not found.accepts(len(call)):
        raise wrong_arity(found.name)
    denial = users.denial(user, found, call)
    if denial is None:
        return OK
    reason, about = denial
    if reason == "command":
        return bulk(b"This user has no permissions to run the '%b' command" % about)
    return bulk(b"This user has no permissions to access the '%b' %b" % (about, reason.encode()))


# -- the log


@command("ACL LOG", arity=-2, flags=ADMIN, group="server", since="6.0.0")
def log_(session: Session, args: Args) -> bytes:
    if len(args) > 3:
        raise bad_subcommand("acl", args[1])
    entries = session.services[AclLog].entries
    count = 10
    if len(args) == 3:
        if args[2].upper() == b"RESET":
            entries.clear()
            return OK
        count = max(0, parse_int(args[2]))
    now, resp = time.time(), session.resp
    shown = []
    for each in list(entries)[:count]:
        fields = {
            b"count": integer(each.count),
            b"reason": bulk(each.reason.encode()),
            b"context": bulk(each.context.encode()),
            b"object": bulk(each.object),
            b"username": bulk(each.username),
            b"age-seconds": resp.double(int(1000 * max(0.0, now - each.when)) / 1000),
            b"client-info": bulk(_bytes(each.client)),
        }
        shown.append(resp.map([part for name, value in fields.items() for part in (bulk(name), value)]))
    return array(shown)


# -- the file


@command("ACL SAVE", arity=2, flags=ADMIN, group="server", since="6.0.0")
def save(session: Session, args: Args) -> bytes:
    if not session.services[Config].aclfile:
        raise CommandError(NO_FILE)
    try:
        session.services[Users].save()
    except OSError as error:
        log.warning("Saving the users: %s", error)
        raise CommandError(
            "ERR There was an error trying to save the ACLs. Please check the server logs for more information"
        ) from None
    return OK


@command("ACL LOAD", arity=2, flags=ADMIN, group="server", since="6.0.0")
def load(session: Session, args: Args) -> bytes:
    if not session.services[Config].aclfile:
        raise CommandError(NO_FILE)
    try:
        gone = session.services[Users].load()
    except AclError as error:
        raise CommandError(f"ERR {error}") from None
    _close_all(session, gone)
    return OK


declare_help(
    "ACL",
    "server",
    """\
CAT [<category>]
    The categories, or the commands of one.
DELUSER <username> [<username> ...]
    Remove users and close their connections.
DRYRUN <username> <command> [<arg> ...]
    Whether a user may run a command, which is not run.
GENPASS [<bits>]
    A password that nobody can guess: 256 bits unless told, in hexadecimal.
GETUSER <username>
    The rules of a user.
HELP
    This text.
LIST
    All users with their rules, as in a file.
LOAD
    Replace all users by those of the file.
LOG [<count>|RESET]
    The latest denials (10 unless told), or forget them.
SAVE
    Write all users to the file.
SETUSER <username> <rule> [<rule> ...]
    Add rules to a user, who is made if there is none.
USERS
    The names of all users.
WHOAMI
    The user of this connection.""",
)
