"""CLIENT.

https://redis.io/docs/latest/commands/client/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..acl.users import Users
from ..clients.blocking import Blocking
from ..clients.connected import Clients
from ..clients.describe import client_type, describe, parse_type, peer, show_address
from ..clients.pause import Pause
from ..clients.tracker import Tracker
from ..clients.tracking import Tracking
from ..errors import SYNTAX_ERROR, CommandError, bad_subcommand
from ..model.args import Options
from ..model.command import Args, command
from ..protocol.numbers import parse_int, to_int
from ..protocol.resp import OK, ONE, ZERO, bulk, bulks, integer
from ..replication.replication import Replication
from .connection import check_client_name
from .help import declare_help

if TYPE_CHECKING:
    from evio_core import Conn

    from ..clients.session import Session

__all__: list[str] = []

NO_SUCH_CLIENT = "ERR No such client"
BASE = "noscript loading stale"


def _on_off(text: bytes) -> bool:
    word = text.upper()
    if word not in (b"ON", b"OFF"):
        raise CommandError(SYNTAX_ERROR)
    return word == b"ON"


@command("CLIENT ID", arity=2, flags=BASE, group="connection", since="5.0.0")
def id_(session: Session, args: Args) -> bytes:
    return integer(session.id)


@command("CLIENT INFO", arity=2, flags=BASE, group="connection", since="6.2.0")
def info(session: Session, args: Args) -> bytes:
    return session.resp.verbatim(_line(session, session, args))


def _line(each: Session, session: Session, args: Args) -> bytes:
    return (describe(each, args if each is session else ()) + "\n").encode("utf-8", "surrogateescape")


@command("CLIENT LIST", arity=-2, flags="admin " + BASE, group="connection", since="2.4.0")
def list_(session: Session, args: Args) -> bytes:
    sessions = list(session.services[Clients].sessions.values())
    if len(args) == 4 and args[2].upper() == b"TYPE":
        kind = parse_type(args[3])
        sessions = [each for each in sessions if client_type(each) == kind]
    elif len(args) > 3 and args[2].upper() == b"ID":
        wanted = [parse_int(text, "ERR Invalid client ID") for text in args[3:]]
        known = session.services[Clients].sessions
        sessions = [known[identity] for identity in wanted if identity in known]
    elif len(args) != 2:
        raise CommandError(SYNTAX_ERROR)
    return session.resp.verbatim(b"".join(_line(each, session, args) for each in sessions))


@command("CLIENT SETNAME", arity=3, flags=BASE, group="connection", since="2.6.9")
def setname(session: Session, args: Args) -> bytes:
    check_client_name(args[2])
    session.name = args[2]
    return OK


@command("CLIENT GETNAME", arity=2, flags=BASE, group="connection", since="2.6.9")
def getname(session: Session, args: Args) -> bytes:
    return bulk(session.name) if session.name else session.resp.null


@command("CLIENT SETINFO", arity=4, flags=BASE, group="connection", since="7.2.0")
def setinfo(session: Session, args: Args) -> bytes:
    option = args[2].lower()
    if option not in (b"lib-name", b"lib-ver"):
        raise CommandError(f"ERR Unrecognized option '{args[2].decode('utf-8', 'surrogateescape')}'")
    check_client_name(args[3], option.decode())
    if option == b"lib-name":
        session.lib_name = args[3]
    else:
        session.lib_ver = args[3]
    return OK


@command("CLIENT REPLY", arity=3, flags=BASE, group="connection", since="3.2.0")
def reply(session: Session, args: Args) -> bytes:
    mode = args[2].lower()
    if mode not in (b"on", b"off", b"skip"):
        raise CommandError(SYNTAX_ERROR)
    if mode != b"skip":
        session.reply_mode = mode.decode()
    elif session.reply_mode != "off":
        session.reply_mode = "skip next"
    session.update_plain()
    return OK if mode == b"on" else b""


@command("CLIENT UNBLOCK", arity=-3, flags="admin " + BASE, group="connection", since="5.0.0")
def unblock(session: Session, args: Args) -> bytes:
    reason = args[3].upper() if len(args) > 3 else b"TIMEOUT"
    if len(args) > 4:
        raise bad_subcommand("client", args[1])
    if reason not in (b"TIMEOUT", b"ERROR"):
        raise CommandError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    target = session.services[Clients].sessions.get(parse_int(args[2]))
    if target is None or not session.services[Blocking].unblock(target, error=reason == b"ERROR"):
        return ZERO
    return ONE


@command("CLIENT PAUSE", arity=-3, flags="admin " + BASE, group="connection", since="3.0.0")
def pause(session: Session, args: Args) -> bytes:
    if len(args) > 4:
        raise bad_subcommand("client", args[1])
    mode = args[3].upper() if len(args) > 3 else b"ALL"
    if mode not in (b"WRITE", b"ALL"):
        raise CommandError("ERR CLIENT PAUSE mode must be WRITE or ALL")
    milliseconds = parse_int(args[2], "ERR timeout is not an integer or out of range")
    if milliseconds < 0:
        raise CommandError("ERR timeout is negative")
    session.services[Pause].begin(milliseconds / 1000, writes_only=mode == b"WRITE")
    return OK


@command("CLIENT UNPAUSE", arity=2, flags="admin " + BASE, group="connection", since="6.2.0")
def unpause(session: Session, args: Args) -> bytes:
    session.services[Pause].end()
    return OK


@command("CLIENT NO-EVICT", arity=3, flags="admin " + BASE, group="connection", since="7.0.0")
def no_evict(session: Session, args: Args) -> bytes:
    session.no_evict = _on_off(args[2])
    return OK


@command("CLIENT NO-TOUCH", arity=3, flags=BASE, group="connection", since="7.2.0")
def no_touch(session: Session, args: Args) -> bytes:
    session.no_touch = _on_off(args[2])
    return OK


@command("CLIENT GETREDIR", arity=2, flags=BASE, group="connection", since="6.0.0")
def getredir(session: Session, args: Args) -> bytes:
    return integer(session.tracking.redirect if session.tracking is not None else -1)


@command("CLIENT TRACKINGINFO", arity=2, flags=BASE, group="connection", since="6.2.0")
def trackinginfo(session: Session, args: Args) -> bytes:
    resp, tracker = session.resp, session.tracking
    flags, redirect, prefixes = [b"off"], -1, set[bytes]()
    if tracker is not None:
        redirect, prefixes = tracker.redirect, tracker.prefixes
        states = (
            (b"on", True),
            (b"bcast", tracker.bcast),
            (b"optin", tracker.optin),
            (b"caching-yes", tracker.optin and tracker.caching),
            (b"optout", tracker.optout),
            (b"caching-no", tracker.optout and tracker.caching),
            (b"noloop", tracker.noloop),
            (b"broken_redirect", tracker.broken),
        )
        flags = [name for name, state in states if state]
    shown = resp.set_of_strings(flags)
    fields = [bulk(b"flags"), shown, bulk(b"redirect"), integer(redirect), bulk(b"prefixes"), bulks(sorted(prefixes))]
    return resp.map(fields)


@command("CLIENT TRACKING", arity=-3, flags=BASE, group="connection", since="6.0.0")
def tracking(session: Session, args: Args) -> bytes:
    wanted, prefixes = _tracker(session, args)
    state = args[2].upper()
    if state == b"ON":
        _check_modes(session, wanted, prefixes)
        wanted.prefixes = set(prefixes)
        session.services[Tracking].enable(session, wanted)
    elif state == b"OFF":
        session.services[Tracking].disable(session)
    else:
        raise CommandError(SYNTAX_ERROR)
    return OK


def _tracker(session: Session, args: Args) -> tuple[Tracker, list[bytes]]:
    """Return the tracker that the options ask for, and the prefixes in order."""
    wanted, prefixes = Tracker(session.id), list[bytes]()
    options = Options(args, 3)
    for option in options:
        left = options.at < len(args)
        if option == b"REDIRECT" and left:
            if wanted.redirect:
                raise CommandError("ERR A client can only redirect to a single other client")
            wanted.redirect = parse_int(options.word())
            if wanted.redirect not in session.services[Clients].sessions:
                raise CommandError("ERR The client ID you want redirect to does not exist")
        elif option == b"PREFIX" and left:
            prefixes.append(options.word())
        elif option in (b"BCAST", b"OPTIN", b"OPTOUT", b"NOLOOP"):
            setattr(wanted, option.decode().lower(), True)
        else:
            raise CommandError(SYNTAX_ERROR)
    return wanted, prefixes


def _check_modes(session: Session, wanted: Tracker, prefixes: list[bytes]) -> None:
    """Raise :class:`CommandError` for modes that exclude each other, or those in force."""
    now = session.tracking
    if prefixes and not wanted.bcast:
        raise CommandError("ERR PREFIX option requires BCAST mode to be enabled")
    if now is not None and now.bcast != wanted.bcast:
        raise CommandError(f"ERR You can't switch BCAST mode on/off {SWITCHING}")
    if wanted.bcast and (wanted.optin or wanted.optout):
        raise CommandError("ERR OPTIN and OPTOUT are not compatible with BCAST")
    if wanted.optin and wanted.optout:
        raise CommandError("ERR You can't specify both OPTIN mode and OPTOUT mode")
    if now is not None and ((wanted.optin and now.optout) or (wanted.optout and now.optin)):
        raise CommandError(f"ERR You can't switch OPTIN/OPTOUT mode {SWITCHING}")
    for at, prefix in enumerate(prefixes):
        others = [(each, "an existing prefix") for each in sorted(now.prefixes if now is not None else ())]
        others += [(each, "another provided prefix") for each in prefixes[at + 1 :]]
        for other, what in others:
            if prefix.startswith(other) or other.startswith(prefix):
                shown = (each.partition(b"\0")[0].decode("utf-8", "surrogateescape") for each in (prefix, other))
                raise CommandError(OVERLAP.format(*shown, what=what))


SWITCHING = "before disabling tracking for this client, and then re-enabling it with a different mode."
OVERLAP = "ERR Prefix '{}' overlaps with {what} '{}'. Prefixes for a single client must not overlap."


@command("CLIENT CACHING", arity=3, flags=BASE, group="connection", since="6.0.0")
def caching(session: Session, args: Args) -> bytes:
    tracker = session.tracking
    if tracker is None:
        raise CommandError(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode"
            " enabled"
        )
    word = args[2].upper()
    if word not in (b"YES", b"NO"):
        raise CommandError(SYNTAX_ERROR)
    if word == b"YES" and not tracker.optin:
        raise CommandError("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
    if word == b"NO" and not tracker.optout:
        raise CommandError("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
    tracker.caching = True
    session.update_plain()
    return OK


@command("CLIENT KILL", arity=-3, flags="admin " + BASE, group="connection", since="2.4.0")
def kill(session: Session, args: Args) -> bytes:
    if len(args) == 3:
        return _kill_address(session, args[2].decode("utf-8", "surrogateescape"))
    filters, skip_me = _filters(session, args)
    doomed = [
        each
        for each in list(session.services[Clients].sessions.values())
        if all(_matches(each, name, value) for name, value in filters) and not (skip_me and each is session)
    ]
    for each in doomed:
        session.services[Clients].kill(each, by=session)
    master = session.services[Replication].disconnect(
        lambda conn: all(value == "master" if name == "TYPE" else _is_at(conn, name, value) for name, value in filters)
    )
    return integer(len(doomed) + master)


def _kill_address(session: Session, address: str) -> bytes:
    for each in list(session.services[Clients].sessions.values()):
        if each.conn is not None and peer(each.conn) == address:
            session.services[Clients].kill(each, by=session)
            return OK
    if session.services[Replication].disconnect(lambda conn: peer(conn) == address):
        return OK
    raise CommandError(NO_SUCH_CLIENT)


def _filters(session: Session, args: Args) -> tuple[list[tuple[str, str]], bool]:
    if len(args) % 2:
        raise CommandError(SYNTAX_ERROR)
    filters: list[tuple[str, str]] = []
    skip_me = True
    for option, value in zip(args[2::2], args[3::2], strict=True):
        name, text = option.upper().decode("latin-1"), value.decode("utf-8", "surrogateescape")
        if name == "ID":
            identity = to_int(value)
            if identity is None or identity < 1:
                raise CommandError("ERR client-id should be greater than 0")
        elif name == "TYPE":
            text = parse_type(value)
        elif name == "USER":
            if text not in session.services[Users].by_name:
                raise CommandError(f"ERR No such user '{text}'")
        elif name == "SKIPME":
            if text.lower() not in ("yes", "no"):
                raise CommandError(SYNTAX_ERROR)
            skip_me = text.lower() == "yes"
            continue
        elif name not in ("ADDR", "LADDR"):
            raise CommandError(SYNTAX_ERROR)
        filters.append((name, text))
    return filters, skip_me


def _matches(session: Session, name: str, value: str) -> bool:
    conn = session.conn
    if conn is None:
        return False
    if name == "ID":
        return session.id == int(value)
    if name == "TYPE":
        return client_type(session) == value
    if name == "USER":
        return session.user.name == value
    return _is_at(conn, name, value)


def _is_at(conn: Conn, name: str, address: str) -> bool:
    """Tell whether this is the address of a connection's peer (ADDR), or its own (LADDR); False for what is neither."""
    if name == "ADDR":
        return peer(conn) == address
    return name == "LADDR" and show_address(conn.local_addr) == address


declare_help(
    "CLIENT",
    "connection",
    """\
CACHING (YES|NO)
    Whether the keys that the next command reads are tracked, for OPTIN and OPTOUT.
GETNAME
    The name of this connection.
GETREDIR
    The id of the client that invalidation messages go to: 0 for this one, -1 without tracking.
HELP
    This text.
ID
    The id of this connection.
INFO
    What LIST says of this connection.
KILL <ip:port>
    Close the connection from this address.
KILL <option> <value> [<option> <value> [...]]
    Close the connections that all of these fit: ADDR, LADDR, TYPE, USER, ID; SKIPME (YES|NO) spares this one or not.
LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <id> ...]
    A line for each connection.
NO-EVICT (ON|OFF)
    Protect this connection from eviction.
NO-TOUCH (ON|OFF)
    Leave the last access times of keys alone.
PAUSE <milliseconds> [WRITE|ALL]
    Make commands wait.
REPLY (ON|OFF|SKIP)
    Which replies this connection wants.
SETINFO (LIB-NAME|LIB-VER) <value>
    What the client library is.
SETNAME <name>
    Name this connection.
TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]
    Have messages about changes of the keys that this connection has read, or that begin with a prefix.
TRACKINGINFO
    The state of tracking of this connection.
UNBLOCK <id> [TIMEOUT|ERROR]
    Free a blocked client.
UNPAUSE
    End a pause.""",
)
