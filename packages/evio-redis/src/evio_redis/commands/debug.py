"""DEBUG: what test harnesses need, behind ``enable-debug-command``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..clients import local_peer
from ..command import Args, command
from ..errors import NO_SUCH_KEY, CommandError
from ..numbers import to_int
from ..resp import OK, simple
from .objects import encoding_name

if TYPE_CHECKING:
    from ..session import Session

__all__: list[str] = []

NO_OPS = frozenset(
    (
        *(b"JMAP", b"CHANGE-REPL-ID", b"QUICKLIST-PACKED-THRESHOLD", b"STRINGMATCH-LEN", b"PAUSE-CRON", b"LISTPACK"),
        *(b"DISABLE-DENY-SCRIPTS", b"REPLYBUFFER", b"CONFIG-REWRITE-FORCE-ALL", b"OOM", b"LOG"),
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
        session.server.expirer.enabled = args[2] != b"0"
        return OK
    if what == b"OBJECT" and len(args) >= 3:
        return _object(session, args[2])
    if what in NO_OPS:
        return OK
    shown = args[1].decode("utf-8", "surrogateescape")
    raise CommandError(f"ERR unknown subcommand or wrong number of arguments for '{shown}'. Try DEBUG HELP.")


def _check_allowed(session: Session) -> None:
    allowed = session.server.config.enable_debug_command
    if allowed == "no" or (allowed == "local" and not is_local(session)):
        raise CommandError(NOT_ALLOWED)


def is_local(session: Session) -> bool:
    """Whether the client is on this machine."""
    return session.conn is None or local_peer(session.conn)


def _seconds(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0  # as strtod has it


def _object(session: Session, key: bytes) -> bytes:
    value = session.db.lookup(key)
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    number = to_int(value) if type(value) is bytes else None
    length = len(value) if number is None else len(b"%d" % number)
    accesses = session.server.accesses
    idle = accesses.idle(session.db, key) if accesses.recording else 0
    return simple(
        f"Value at:0x{id(value):x} refcount:1 encoding:{encoding_name(value)} serializedlength:{length}"
        f" lru:{int(time.time()) & 0xFFFFFF} lru_seconds_idle:{idle}"
    )
