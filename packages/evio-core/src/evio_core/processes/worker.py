"""One worker: a server on sockets of its supervisor."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..addresses.bind import BoundAddress
from ..events import Action, Events, Server
from ..loop.lifeline import Lifeline
from ..server import RunningServer, loop_count

assert sys.platform != "win32"

__all__ = ["DRAIN_SIGNAL", "READY", "REOPEN_SIGNAL", "STOP", "serve_as_worker"]

READY, STOP = b"r", b"s"
"""The messages of a worker to its supervisor, through its pipe."""

DRAIN_SIGNAL = signal.SIGQUIT
"""Has a worker drain, as it has nginx's."""

REOPEN_SIGNAL = signal.SIGUSR1
"""Has log files reopened, as it has nginx's and gunicorn's. The supervisor passes it on."""


def serve_as_worker(
    slot: int, events: Events, bound: Sequence[BoundAddress], pipe: int, lifeline: int, mask: Iterable[int]
) -> None:
    """Serve until told to end; ``mask`` is the signal mask to restore once signals are handled. Raises what
    ``serve`` raises."""
    own, serving = replace(events), events.serving
    told_to_end: list[int] = []

    def ready(server: Server) -> Action | None:
        action = serving(server) if serving is not None else None
        os.write(pipe, READY)
        return action

    def on_term(number: int, _: object) -> None:
        told_to_end.append(number)
        running.stop()

    def on_drain(number: int, _: object) -> None:
        told_to_end.append(number)
        running.drain()

    own.serving = ready
    own.handle_signals = own.notify_systemd = False  # both are the supervisor's
    mine = [BoundAddress(each.address, [each.sets[slot]] if len(each.sets) > 1 else each.sets) for each in bound]
    running = RunningServer(own, mine, loop_count(own), exclusive=True)
    # A terminal's SIGINT reaches the whole group: it is the supervisor's, which then sends SIGTERM.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, on_term)
    signal.signal(DRAIN_SIGNAL, on_drain)
    signal.signal(REOPEN_SIGNAL, lambda number, frame: running.reopen_logs())
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    running.follow(Lifeline(lifeline, on_term))
    running.run()
    if not told_to_end:
        os.write(pipe, STOP)  # the program's own wish, which is meant for all
