"""DEBUG: what test harnesses need, behind ``enable-debug-command``."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..clients.describe import is_allowed
from ..config.config import Config
from ..errors import NO_SUCH_KEY, NOT_POSITIVE, CommandError, LogCorrupt
from ..keyspace.digest import digest_of_all, digest_of_value
from ..keyspace.expirer import Expirer
from ..keyspace.idle_times import Accesses
from ..keyspace.keyspace import Keyspace
from ..keyspace.last_save import LastSave
from ..model.command import Args, command
from ..model.services import Services
from ..persistence import AppendOnlyFile, load_commands, write_base
from ..persistence.rdb.payload import Checksums
from ..protocol.numbers import parse_int, to_int
from ..protocol.resp import OK, array, bulk, integer, simple
from .objects import encoding_name

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

NO_OPS = frozenset(
    (
        *(b"JMAP", b"CHANGE-REPL-ID", b"QUICKLIST-PACKED-THRESHOLD", b"STRINGMATCH-LEN", b"PAUSE-CRON", b"LISTPACK"),
        *(b"SET-DISABLE-DENY-SCRIPTS", b"REPLYBUFFER", b"CONFIG-REWRITE-FORCE-ALL", b"OOM", b"LOG"),
    )
)
"""What needs nothing done here: it is about Redis's own insides."""

NOT_ALLOWED = (
    'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a local'
    " connection, otherwise you need to set this option in the configuration file, and then restart the server."
)


@command("DEBUG", arity=-2, flags="admin noscript loading stale", group="server")
def debug(session: Session, args: Args) -> bytes:
    _check_allowed(session)
    what = args[1].upper()
    if what == b"SLEEP" and len(args) == 3:
        time.sleep(max(0.0, _seconds(args[2])))  # blocking everybody is what it is for
        return OK
    if what == b"SET-ACTIVE-EXPIRE" and len(args) == 3:
        session.services[Expirer].enabled = args[2] != b"0"
        return OK
    if what == b"SET-SKIP-CHECKSUM-VALIDATION" and len(args) == 3:
        session.services[Checksums].checked = args[2] == b"0"
        return OK
    if what == b"OBJECT" and len(args) >= 3:
        return _object(session, args[2])
    if what in (b"DIGEST", b"DIGEST-VALUE"):
        return _digest(session, what, args[2:])
    if what in (b"LOADAOF", b"RELOAD") and len(args) == 2:
        return _load(session.services, what)
    if what == b"PROTOCOL" and len(args) == 3:
        return _protocol(session, args[2].lower())
    if what == b"AOF-FLUSH-SLEEP" and len(args) == 3:
        session.services[AppendOnlyFile].flush_delay = (to_int(args[2]) or 0) / 1e6
        return OK
    if what == b"ERROR" and len(args) == 3:
        raise CommandError(args[2].decode("utf-8", "surrogateescape"))
    if what == b"POPULATE" and 3 <= len(args) <= 5:
        return _populate(session, args)
    if what == b"HELP" and len(args) == 2:
        return array([simple(line) for line in HELP.splitlines()])
    if what in NO_OPS:
        return OK
    shown = args[1].decode("utf-8", "surrogateescape")
    raise CommandError(f"ERR unknown subcommand or wrong number of arguments for '{shown}'. Try DEBUG HELP.")


def _check_allowed(session: Session) -> None:
    if not is_allowed(session, session.services[Config].enable_debug_command):
        raise CommandError(NOT_ALLOWED)


def _seconds(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0  # as strtod has it


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
RELOAD
    Write all keys to a file, forget them and load it.
SET-ACTIVE-EXPIRE <0|1>
    Whether expired keys are looked for.
SLEEP <seconds>
    Have everybody wait."""


def _digest(session: Session, what: bytes, keys: Args) -> bytes:
    if what == b"DIGEST":
        return simple(digest_of_all(session.services[Keyspace].databases))
    return array([bulk(digest_of_value(session.db.data.get(key)).encode()) for key in keys])


def _protocol(session: Session, kind: bytes) -> bytes:
    """A reply of each kind that the protocol has, for tests of clients."""
    resp = session.resp
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


def _load(services: Services, what: bytes) -> bytes:
    """Forget all keys and load them from the log, or from what they were written to just now."""
    aof = services[AppendOnlyFile]
    path = Path(services[Config].dir) / f"temp-reload-{os.getpid()}.aof"
    try:
        if what == b"LOADAOF":
            aof.reload()
        else:
            write_base(services[Config], services[Keyspace], path)
            with aof.replaying():
                load_commands(services, path, may_be_torn=False)
    except (LogCorrupt, OSError) as error:
        raise CommandError(f"ERR Error trying to load the AOF files, check server logs: {error}") from None
    finally:
        path.unlink(missing_ok=True)
    services[LastSave].dirty = services[Keyspace].dirty
    return OK


def _object(session: Session, key: bytes) -> bytes:
    value = session.db.lookup(key)
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
