"""Snapshots: SAVE, BGSAVE, LASTSAVE.

https://redis.io/docs/latest/commands/bgsave/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import SYNTAX_ERROR, CommandError
from ..keyspace.last_save import LastSave
from ..model.command import Args, command
from ..persistence.snapshots import Snapshots
from ..protocol.resp import OK, integer, simple

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

IN_PROGRESS = "ERR Background save already in progress"


@command("SAVE", arity=1, flags="admin noscript no_async_loading no_multi", group="server")
def save(session: Session, args: Args) -> bytes:
    snapshots = session.services[Snapshots]
    if snapshots.active:
        raise CommandError(IN_PROGRESS)
    try:
        snapshots.save()
    except OSError:
        raise CommandError("ERR") from None
    return OK


@command("BGSAVE", arity=-1, flags="admin noscript no_async_loading", group="server")
def bgsave(session: Session, args: Args) -> bytes:
    if len(args) > 2 or (len(args) == 2 and args[1].upper() != b"SCHEDULE"):
        raise CommandError(SYNTAX_ERROR)
    snapshots = session.services[Snapshots]
    if snapshots.active:
        raise CommandError(IN_PROGRESS)
    if snapshots.others_active() or session.atomic:
        if len(args) == 1 and not session.atomic:
            raise CommandError(
                "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to"
                " schedule a BGSAVE whenever possible."
            )
        snapshots.scheduled = True
        return simple("Background saving scheduled")
    try:
        snapshots.begin()
    except OSError:
        raise CommandError("ERR") from None
    return simple("Background saving started")


@command("LASTSAVE", arity=1, flags="loading stale fast", group="server")
def lastsave(session: Session, args: Args) -> bytes:
    return integer(int(session.services[LastSave].when))
