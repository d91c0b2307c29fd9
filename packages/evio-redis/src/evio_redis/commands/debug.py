"""DEBUG: what test harnesses need, behind ``enable-debug-command``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..clients.describe import is_allowed
from ..config.config import Config
from ..errors import LOADING, NO_SUCH_KEY, NOT_POSITIVE, CommandError, LogCorrupt, bad_subcommand
from ..keyspace.digest import digest_of_all, digest_of_value
from ..keyspace.expirer import Expirer
from ..keyspace.idle_times import Accesses
from ..keyspace.keyspace import Keyspace
from ..keyspace.last_save import LastSave
from ..model.command import Args, Function, command
from ..persistence import AppendOnlyFile
from ..persistence.loading import Loading
from ..persistence.rdb.payload import Checksums
from ..persistence.rdb.reader import load_rdb
from ..persistence.snapshots import Snapshots
from ..protocol.numbers import parse_int, to_int
from ..protocol.resp import OK, array, bulk, integer, simple
from ..scripting import Runner
from ..stats.memory import MemoryLimit
from .objects import encoding_name

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

NO_OPS = frozenset(
    (
        *(b"JMAP", b"CHANGE-REPL-ID", b"QUICKLIST-PACKED-THRESHOLD", b"STRINGMATCH-LEN", b"PAUSE-CRON", b"LISTPACK"),
        *(b"REPLYBUFFER", b"CONFIG-REWRITE-FORCE-ALL", b"OOM", b"LOG"),
    )
)
"""Subcommands that have nothing to do here: they are about Redis's own insides."""

NOT_ALLOWED = (
    'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a local'
    " connection, otherwise you need to set this option in the configuration file, and then restart the server."
)


_SUBCOMMANDS: dict[bytes, tuple[Function, range]] = {}
"""By name, with the numbers of arguments that each may have. COMMAND does not know them, as it does not in Redis: DEBUG
is no container."""


def _subcommand(name: str, least: int, most: int = 0) -> Callable[[Function], Function]:
    """Declare a subcommand that takes so many arguments, the two names included; ``most`` is ``least`` unless given."""

    def declare(function: Function) -> Function:
        _SUBCOMMANDS[name.encode()] = function, range(least, (most or least) + 1)
        return function

    return declare


@command("DEBUG", arity=-2, flags="admin noscript loading stale", group="server")
def debug(session: Session, args: Args) -> bytes:
    if not is_allowed(session, session.services[Config].enable_debug_command):
        raise CommandError(NOT_ALLOWED)
    name = args[1].upper()
    if name in NO_OPS:
        return OK
    function, counts = _SUBCOMMANDS.get(name, (debug, range(0)))
    if len(args) not in counts:
        raise bad_subcommand("debug", args[1])
    return function(session, args)


MANY = 1 << 20
"""Arguments, of subcommands that take any number."""


@_subcommand("SLEEP", 3)
def _sleep(session: Session, args: Args) -> bytes:
    time.sleep(max(0.0, _seconds(args[2])))  # blocking everybody is what it is for
    return OK


@_subcommand("SET-ACTIVE-EXPIRE", 3)
def _set_active_expire(session: Session, args: Args) -> bytes:
    session.services[Expirer].enabled = args[2] != b"0"
    return OK


@_subcommand("SET-SKIP-CHECKSUM-VALIDATION", 3)
def _skip_checksums(session: Session, args: Args) -> bytes:
    session.services[Checksums].checked = args[2] == b"0"
    return OK


@_subcommand("SET-DISABLE-DENY-SCRIPTS", 3)
def _let_scripts_call_all(session: Session, args: Args) -> bytes:
    session.services[Runner].denies = args[2] == b"0"
    return OK


@_subcommand("AOF-FLUSH-SLEEP", 3)
def _flush_sleep(session: Session, args: Args) -> bytes:
    session.services[AppendOnlyFile].flush_delay = (to_int(args[2]) or 0) / 1e6
    return OK


@_subcommand("ERROR", 3)
def _error(session: Session, args: Args) -> bytes:
    raise CommandError(args[2].decode("utf-8", "surrogateescape"))


@_subcommand("HELP", 2)
def _help(session: Session, args: Args) -> bytes:
    return array([simple(line) for line in HELP.splitlines()])


def _seconds(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0  # as strtod has it


@_subcommand("POPULATE", 3, 5)
def _populate(session: Session, args: Args) -> bytes:
    """Make keys ``key:0``, ``key:1``... that are not there yet, without logging it."""
    count = _positive(args[2])
    prefix = args[3] if len(args) > 3 else b"key"
    size = _positive(args[4]) if len(args) > 4 else 0
    database = session.db
    for number in range(count):
        key, value = b"%b:%d" % (prefix, number), b"value:%d" % number
        if database.lookup(key) is None:
            database.add(key, value[:size].ljust(size, b"\0") if size else value)
            if database.has_listeners:
                database.keyspace.notify_watchers(database, key)
    return OK


def _positive(text: bytes) -> int:
    number = parse_int(text, NOT_POSITIVE)
    if number < 0:
        raise CommandError(NOT_POSITIVE)
    return number


HELP = """\
DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
AOF-FLUSH-SLEEP <microseconds>
    Wait before each write to the append-only file.
DIGEST
    A digest of all keys.
DIGEST-VALUE <key> [<key> ...]
    A digest of each value.
ERROR <text>
    An error reply of this text.
HELP
    This text.
LOADAOF
    Forget all keys and load the append-only file.
OBJECT <key>
    What is known of a value.
POPULATE <count> [<prefix>] [<size>]
    Make so many string keys, named prefix:<number>.
PROTOCOL <type>
    A reply of this type, string to false.
RELOAD [NOSAVE] [NOFLUSH] [MERGE]
    Write a snapshot, forget all keys and load it.
SET-ACTIVE-EXPIRE <0|1>
    Whether expired keys are looked for.
SET-DISABLE-DENY-SCRIPTS <0|1>
    Whether scripts may call all commands.
SLEEP <seconds>
    Have everybody wait."""


@_subcommand("DIGEST", 2, MANY)
def _digest(session: Session, args: Args) -> bytes:
    return simple(digest_of_all(session.services[Keyspace].databases))


@_subcommand("DIGEST-VALUE", 2, MANY)
def _digest_value(session: Session, args: Args) -> bytes:
    return array([bulk(digest_of_value(session.db.data.get(key)).encode()) for key in args[2:]])


@_subcommand("PROTOCOL", 3)
def _protocol(session: Session, args: Args) -> bytes:
    """A reply of each kind that the protocol has, for tests of clients."""
    resp, kind = session.resp, args[2].lower()
    numbers = [integer(number) for number in range(3)]
    if kind == b"push" and resp.version == 2:
        raise CommandError("ERR RESP2 is not supported by this command")
    after = bulk(b"Some real reply following the attribute")
    attribute = b"|1\r\n" + bulk(b"key-popularity") + array([bulk(b"key:123"), integer(90)])
    pushed = resp.push([bulk(b"server-cpu-usage"), integer(42)])
    truths = [resp.false, resp.true, resp.false]
    replies = {
        b"string": bulk(b"Hello World"),
        b"integer": integer(12345),
        b"double": resp.double(3.141),
        b"bignum": resp.bignum(1234567999999999999999999999999999999),
        b"null": resp.null,
        b"array": array(numbers),
        b"set": resp.set(numbers),
        b"map": resp.map([part for pair in zip(numbers, truths, strict=True) for part in pair]),
        b"attrib": after if resp.version == 2 else attribute + after,
        b"push": pushed + bulk(b"Some real reply following the push reply"),
        b"verbatim": resp.verbatim(b"This is a verbatim\nstring"),
        b"true": resp.true,
        b"false": resp.false,
    }
    if kind not in replies:
        allowed = "|".join(name.decode() for name in replies)
        raise CommandError(f"ERR Wrong protocol type name. Please use one of the following: {allowed}")
    return replies[kind]


@_subcommand("LOADAOF", 2)
def _load_log(session: Session, args: Args) -> bytes:
    """Forget all keys and load them from the log."""
    _replace_keys(session, session.services[AppendOnlyFile].reload, "the AOF files, check server logs")
    return OK


@_subcommand("RELOAD", 2, MANY)
def _reload(session: Session, args: Args) -> bytes:
    """Write a snapshot, forget all keys and load it; ``NOSAVE``, ``NOFLUSH``: without the first, or the second, for
    which ``MERGE`` has keys replaced that are there."""
    options = {word.upper() for word in args[2:]}
    if not options <= {b"NOSAVE", b"NOFLUSH", b"MERGE"}:
        raise CommandError("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
    services = session.services
    snapshots, aof = services[Snapshots], services[AppendOnlyFile]

    def load() -> None:
        if b"NOSAVE" not in options:
            snapshots.save()
        with aof.suspended() if b"NOFLUSH" in options else aof.replaying():
            load_rdb(services[Keyspace], snapshots.path, services[Config], replace=b"MERGE" in options)

    _replace_keys(session, load, "the RDB dump, check server logs")
    return OK


def _replace_keys(session: Session, load: Callable[[], None], what: str) -> None:
    services = session.services
    if services[Loading].active:
        raise CommandError(LOADING)
    try:
        load()
    except (LogCorrupt, OSError) as error:
        raise CommandError(f"ERR Error trying to load {what}: {error}") from None
    finally:
        services[MemoryLimit].recount()
    services[LastSave].dirty = services[Keyspace].dirty


@_subcommand("OBJECT", 3, MANY)
def _object(session: Session, args: Args) -> bytes:
    key = args[2]
    value = session.db.data.get(key)  # as it is, expired or not
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    number = to_int(value) if isinstance(value, bytes) else None
    length = len(value) if number is None else len(b"%d" % number)
    accesses = session.services[Accesses]
    idle = accesses.idle(session.db, key) if accesses.recording else 0
    return simple(
        f"Value at:0x{id(value):x} refcount:1 encoding:{encoding_name(value)} serializedlength:{length}"
        f" lru:{int(time.time()) & 0xFFFFFF} lru_seconds_idle:{idle}"
    )
