"""Commands of operators and tools, but for COMMAND.

https://redis.io/docs/latest/commands/?group=server
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..clients.describe import is_allowed
from ..clients.monitor import Monitors
from ..config.config import Config
from ..errors import SYNTAX_ERROR, CommandError, ConfigError, LogCorrupt, bad_subcommand
from ..keyspace.keyspace import Keyspace
from ..model.command import Args, Registry, command
from ..model.version import REDIS_VERSION
from ..persistence import AppendOnlyFile
from ..persistence.snapshots import Snapshots
from ..process.running import Running
from ..protocol.numbers import parse_int
from ..protocol.resp import EMPTY_ARRAY, OK, array, bulk, bulks, integer, simple
from ..scripting import Runner
from ..stats.info import Info
from ..stats.rates import Rates
from ..stats.slowlog import SlowLog
from ..stats.totals import Totals
from .help import declare_help

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

ADMIN = "admin noscript loading stale"


@command("INFO", arity=-1, flags="loading stale")
def info(session: Session, args: Args) -> bytes:
    wanted = [name.decode("latin-1").lower() for name in args[1:]]
    return session.resp.verbatim(session.services[Info].render(wanted).encode())


@command("TIME", arity=1, flags="loading stale fast", since="2.6.0")
def time_(session: Session, args: Args) -> bytes:
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    return bulks([b"%d" % seconds, b"%d" % microseconds])


@command("MONITOR", arity=1, flags=ADMIN)
def monitor(session: Session, args: Args) -> bytes:
    if session.atomic:
        raise CommandError("ERR MONITOR isn't allowed for DENY BLOCKING client")
    session.services[Monitors].add(session)
    return OK


@command("SHUTDOWN", arity=-1, flags="admin noscript loading stale no_multi allow_busy")
def shutdown(session: Session, args: Args) -> bytes:
    words = [word.upper() for word in args[1:]]
    if set(words) - {b"NOSAVE", b"SAVE", b"NOW", b"FORCE", b"ABORT"} or {b"SAVE", b"NOSAVE"} <= set(words):
        raise CommandError(SYNTAX_ERROR)
    if b"ABORT" in words:
        if len(words) > 1:
            raise CommandError(SYNTAX_ERROR)
        raise CommandError("ERR No shutdown in progress.")
    run = session.services[Runner].run
    if run is not None and b"NOSAVE" not in words:
        raise run.busy_error
    snapshots = session.services[Snapshots]
    wanted = True if b"SAVE" in words else False if b"NOSAVE" in words else None
    if not snapshots.save_last(wanted, b"FORCE" in words):
        raise CommandError("ERR Errors trying to SHUTDOWN. Check logs.")
    session.closing = True
    session.services[Running].shut_down()
    return b""


@command("LOLWUT", arity=-1, flags="readonly fast", since="5.0.0")
def lolwut(session: Session, args: Args) -> bytes:
    return session.resp.verbatim(f"Redis ver. {REDIS_VERSION}\n".encode())


@command("BGREWRITEAOF", arity=1, flags="admin noscript no_async_loading")
def bgrewriteaof(session: Session, args: Args) -> bytes:
    rewrites = session.services[AppendOnlyFile].rewrites
    if rewrites.active:
        raise CommandError("ERR Background append only file rewriting already in progress")
    if session.atomic or rewrites.others_active():  # the log has half of the transaction
        rewrites.scheduled = True
        return simple("Background append only file rewriting scheduled")
    try:
        rewrites.begin()
    except (OSError, LogCorrupt):
        raise CommandError(
            "ERR Can't execute an AOF background rewriting. Please check the server logs for more information."
        ) from None
    return simple("Background append only file rewriting started")


# -- CONFIG


@command("CONFIG GET", arity=-3, flags=ADMIN, since="2.0.0")
def config_get(session: Session, args: Args) -> bytes:
    shown = session.services[Config].shown(word.lower() for word in args[2:])
    return session.resp.map([bulk(part.encode("utf-8", "surrogateescape")) for pair in shown.items() for part in pair])


SECRETS = frozenset({b"requirepass", b"masterauth", b"tls-key-file-pass", b"tls-client-key-file-pass"})


@command("CONFIG SET", arity=-4, flags=ADMIN, since="2.0.0")
def config_set(session: Session, args: Args) -> bytes:
    if len(args) % 2:
        raise CommandError(SYNTAX_ERROR)
    session.redact(args, *(at + 1 for at in range(2, len(args), 2) if args[at].lower() in SECRETS))
    words = [word.decode("utf-8", "surrogateescape") for word in args[2:]]
    config = session.services[Config]
    try:
        config.set(zip(words[::2], words[1::2], strict=True), is_allowed(session, config.enable_protected_configs))
    except ConfigError as error:
        raise CommandError(f"ERR {error}") from None
    return OK


@command("CONFIG RESETSTAT", arity=2, flags=ADMIN, since="2.0.0")
def config_resetstat(session: Session, args: Args) -> bytes:
    services = session.services
    services[Totals].reset()
    services[Rates].reset()
    services[Keyspace].reset_statistics()
    for each in services[Registry].all():
        each.reset_statistics()
    return OK


@command("CONFIG REWRITE", arity=2, flags=ADMIN, since="2.8.0")
def config_rewrite(session: Session, args: Args) -> bytes:
    try:
        session.services[Config].rewrite()
    except ConfigError as error:
        raise CommandError(f"ERR {error}") from None
    except OSError as error:
        raise CommandError(f"ERR Rewriting config file: {error.strerror}") from None
    return OK


# -- SLOWLOG


@command("SLOWLOG GET", arity=-2, flags="admin loading stale", since="2.2.12")
def slowlog_get(session: Session, args: Args) -> bytes:
    if len(args) > 3:
        raise bad_subcommand("slowlog", args[1])
    count = 10
    if len(args) > 2:
        count = parse_int(args[2], "ERR count should be greater than or equal to -1")
        if count < -1:
            raise CommandError("ERR count should be greater than or equal to -1")
    entries = list(session.services[SlowLog].entries)
    return array(
        [
            array(
                [
                    *(integer(entry.id), integer(entry.when), integer(entry.taken), bulks(entry.args)),
                    *(bulk(entry.address), bulk(entry.name)),
                ]
            )
            for entry in (entries if count == -1 else entries[:count])
        ]
    )


@command("SLOWLOG LEN", arity=2, flags="admin loading stale", since="2.2.12")
def slowlog_len(session: Session, args: Args) -> bytes:
    return integer(len(session.services[SlowLog].entries))


@command("SLOWLOG RESET", arity=2, flags="admin loading stale", since="2.2.12")
def slowlog_reset(session: Session, args: Args) -> bytes:
    session.services[SlowLog].entries.clear()
    return OK


# -- what monitoring tools ask of a server that is alone


@command("MODULE LIST", arity=2, flags="admin noscript", group="server", since="4.0.0")
def module_list(session: Session, args: Args) -> bytes:
    return EMPTY_ARRAY


declare_help(
    "MODULE",
    "server",
    """\
HELP
    This text.
LIST
    The modules that are loaded: none, as they are written in C; a program adds commands in Python.""",
)


# -- HELP of each container


declare_help(
    "CONFIG",
    "server",
    """\
GET <pattern> [<pattern> ...]
    The directives whose names match, with their values.
HELP
    This text.
RESETSTAT
    Set the statistics of INFO to zero.
REWRITE
    Bring the configuration file up to date.
SET <directive> <value> [<directive> <value> ...]
    Change directives, all of them or none.""",
)
declare_help(
    "SLOWLOG",
    "server",
    """\
GET [<count>]
    The latest slow commands (10 unless told, -1 for all): id, Unix time, microseconds, arguments, address, name.
HELP
    This text.
LEN
    How many there are.
RESET
    Forget them.""",
)
