"""Transactions.

https://redis.io/docs/latest/develop/interact/transactions/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CommandError
from ..execution.dispatcher import Dispatcher
from ..model.command import Args, command
from ..protocol.resp import OK

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []


@command("MULTI", arity=1, flags="noscript loading stale fast allow_busy", since="1.2.0")
def multi(session: Session, args: Args) -> bytes:
    if session.queue is not None:
        raise CommandError("ERR MULTI calls can not be nested")
    session.begin_multi()
    return OK


@command("EXEC", arity=1, flags="noscript loading stale skip_slowlog", since="1.2.0")
def exec_(session: Session, args: Args) -> bytes:
    if session.queue is None:
        raise CommandError("ERR EXEC without MULTI")
    queue, failed = session.queue, session.dirty_exec
    modified = session.dirty_cas or (session.watching and session.watched_expired())
    session.leave_multi()
    if failed:
        raise CommandError("EXECABORT Transaction discarded because of previous errors.")
    if modified:
        return session.resp.null_array
    replies = session.services[Dispatcher].run_atomically(session, queue)
    replies.insert(0, b"*%d\r\n" % len(replies))  # `array` copies twice, and these may be huge
    return b"".join(replies)


@command("DISCARD", arity=1, flags="noscript loading stale fast allow_busy", since="2.0.0")
def discard(session: Session, args: Args) -> bytes:
    if session.queue is None:
        raise CommandError("ERR DISCARD without MULTI")
    session.leave_multi()
    return OK


@command("WATCH", arity=-2, flags="noscript loading stale fast allow_busy", keys=(1, -1, 1), since="2.2.0")
def watch(session: Session, args: Args) -> bytes:
    if session.queue is not None:
        raise CommandError("ERR WATCH inside MULTI is not allowed")
    session.watch(args[1:])
    return OK


@command("UNWATCH", arity=1, flags="noscript loading stale fast allow_busy", since="2.2.0")
def unwatch(session: Session, args: Args) -> bytes:
    session.unwatch()
    return OK
