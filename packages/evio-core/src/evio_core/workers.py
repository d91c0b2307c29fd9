"""Several processes on the same addresses.

The process that calls :func:`workers` binds the addresses, forks, and supervises. The listening sockets are the
supervisor's and stay open whatever happens to a worker, so the connections that wait in their queues are never
lost: another worker, or the replacement, accepts them.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import NoReturn

from .bind import BoundAddress, bind_all
from .cpus import usable_cpus
from .errors import WorkerError
from .events import Action, Events, Server
from .lifeline import Lifeline
from .server import RunningServer, loop_count, parse_all

__all__ = ["workers"]

log = logging.getLogger("evio")

READY, STOP = b"r", b"s"
"""What a worker tells its supervisor through its pipe."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a worker that died is replaced; doubled while they die young."""

GROWN_UP = 10.0
"""A worker that lived this many seconds did not die of how it starts."""

MOST_EARLY_DEATHS = 5
"""How many may die before any worker was ever ready."""

KILL_AFTER = 2.0
"""Seconds beyond ``shutdown_timeout`` that a worker has to end."""

SIGNALS = ("SIGCHLD", "SIGTERM", "SIGINT", "SIGHUP")


def workers(n: int, events: Events, *addresses: str) -> None:
    """Serve the addresses with ``n`` processes (-1: one per usable CPU) until stopped.

    Each runs its own loops and callbacks, ``serving`` included, and shares nothing with the others but what was
    open before. SIGTERM and SIGINT stop all in good order, a second one at once; SIGHUP replaces them one by one, by
    new ones that load the certificates afresh, without refusing a connection. A worker that dies is replaced;
    ``SHUTDOWN`` in one of them stops all.

    Raises what :func:`evio_core.serve` raises for addresses, ``ValueError`` for ``n``, and :class:`WorkerError`
    outside the main thread, on a system without ``fork``, and when workers die before they are ready.
    """
    if n < 1 and n != -1:
        raise ValueError(f"workers must be -1 (one per CPU) or 1 and more, not {n}")
    if sys.platform == "win32":
        raise WorkerError("this system cannot fork; use num_loops")
    if threading.current_thread() is not threading.main_thread():
        raise WorkerError("workers are supervised by signals, which only the main thread receives")
    count = usable_cpus() if n == -1 else n
    parsed = parse_all(addresses)
    bound = bind_all(parsed, events.options, max(count, 1))
    try:
        _Supervisor(count, events, bound).run()
    finally:
        for each in bound:
            each.close()


@dataclass(slots=True)
class _Worker:
    slot: int
    pid: int
    pipe: int
    born: float
    ready: bool = False
    stopping: bool = False
    kill_at: float = 0.0
    replaces: _Worker | None = None


if sys.platform != "win32":

    class _Supervisor:
        """A loop over pipes and signals; it wakes only when one of them has something to say."""

        def __init__(self, count: int, events: Events, bound: Sequence[BoundAddress]) -> None:
            self._count = count
            self._events = events
            self._bound = bound
            self._workers: dict[int, _Worker] = {}
            self._due: dict[int, float] = {}  # slot: when to start its next worker
            self._pause = FIRST_PAUSE
            self._early_deaths = 0
            self._was_ready = False
            self._roll: list[int] = []
            self._stops = 0
            self._error: WorkerError | None = None
            self._lifeline, self._lifeline_end = os.pipe()
            self._signal_pipe, self._signal_end = os.pipe()
            os.set_blocking(self._signal_pipe, False)
            os.set_blocking(self._signal_end, False)

        # -- the loop

        def run(self) -> None:
            """Supervise until every worker has ended."""
            try:
                with self._signals():
                    for slot in range(self._count):
                        self._spawn(slot)
                    while self._workers or (self._due and not self._stops):
                        self._turn()
            finally:
                for fd in (self._lifeline, self._lifeline_end, self._signal_pipe, self._signal_end):
                    os.close(fd)
            if self._error is not None:
                raise self._error

        def _turn(self) -> None:
            pipes = {worker.pipe: worker for worker in self._workers.values()}
            poll = select.poll()
            for fd in (self._signal_pipe, *pipes):
                poll.register(fd, select.POLLIN)
            timeout = self._timeout()
            for fd, _ in poll.poll(None if timeout is None else timeout * 1000 + 1):
                if fd == self._signal_pipe:
                    self._on_signals()
                elif pipes[fd].pid in self._workers:
                    self._on_message(pipes[fd])
            self._reap()
            now = monotonic()
            for slot in [slot for slot, when in self._due.items() if when <= now]:
                del self._due[slot]
                if not self._stops:
                    self._spawn(slot)
            for worker in self._workers.values():
                if worker.kill_at and now >= worker.kill_at:
                    self._send(worker, signal.SIGKILL)

        def _timeout(self) -> float | None:
            moments = [worker.kill_at for worker in self._workers.values() if worker.kill_at]
            if not self._stops:
                moments += self._due.values()
            return max(0.0, min(moments) - monotonic()) if moments else None

        @contextmanager
        def _signals(self) -> Iterator[None]:
            def ignore(*_: object) -> None:
                """The wake-up descriptor tells which signal came."""

            numbers = [getattr(signal, name) for name in SIGNALS]
            before = {number: signal.signal(number, ignore) for number in numbers}
            wakeup = signal.set_wakeup_fd(self._signal_end, warn_on_full_buffer=False)
            try:
                yield
            finally:
                signal.set_wakeup_fd(wakeup)
                for number, handler in before.items():
                    signal.signal(number, handler)

        def _on_signals(self) -> None:
            with suppress(BlockingIOError):
                for number in os.read(self._signal_pipe, 4096):
                    if number in (signal.SIGTERM, signal.SIGINT):
                        self._stop()
                    elif number == signal.SIGHUP and not self._stops:
                        self._roll = [slot for slot in range(self._count) if slot not in self._roll] + self._roll
                        self._roll_next()

        # -- workers

        def _spawn(self, slot: int, replaces: _Worker | None = None) -> None:
            reader, writer = os.pipe()
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid == 0:
                self._be_worker(slot, reader, writer)
            os.close(writer)
            self._workers[pid] = _Worker(slot, pid, reader, monotonic(), replaces=replaces)

        def _be_worker(self, slot: int, reader: int, writer: int) -> NoReturn:
            """The child's whole life. It never returns into the caller's frames, nor runs its exit handlers."""
            status = 1
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                for worker in self._workers.values():
                    os.close(worker.pipe)
                for fd in (reader, self._lifeline_end, self._signal_pipe, self._signal_end):
                    os.close(fd)
                self._serve(slot, writer)
                status = 0
            except BaseException:
                log.exception("worker %d failed", os.getpid())
            finally:
                with suppress(OSError, ValueError):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(status)

        def _serve(self, slot: int, writer: int) -> None:
            events, serving = replace(self._events), self._events.serving
            stopped_by_signal: list[int] = []

            def ready(server: Server) -> Action | None:
                action = serving(server) if serving is not None else None
                os.write(writer, READY)
                return action

            def on_term(number: int, _: object) -> None:
                stopped_by_signal.append(number)
                running.stop()

            events.serving = ready
            events.handle_signals = False
            num_loops = loop_count(events)
            own = [
                BoundAddress(each.address, [each.sets[slot]] if len(each.sets) > 1 else each.sets)
                for each in self._bound
            ]
            running = RunningServer(events, own, num_loops, exclusive=True)
            # A terminal's SIGINT reaches the whole group: it is the supervisor's, which then sends SIGTERM.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, on_term)
            running.watch(Lifeline(self._lifeline, on_term))
            running.run()
            if not stopped_by_signal:
                os.write(writer, STOP)  # the program's own wish, which is meant for all

        def _on_message(self, worker: _Worker) -> None:
            message = os.read(worker.pipe, 16)
            if READY in message:
                worker.ready = self._was_ready = True
                if worker.replaces is not None:
                    self._end(worker.replaces)
                    worker.replaces = None
            if STOP in message:
                self._stop()
            if not message:  # it has ended, or is about to
                self._collect(worker, *os.waitpid(worker.pid, 0))

        def _reap(self) -> None:
            for worker in list(self._workers.values()):
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    with suppress(OSError):
                        os.set_blocking(worker.pipe, False)
                        if STOP in os.read(worker.pipe, 16):
                            self._stop()
                    self._collect(worker, pid, status)

        def _collect(self, worker: _Worker, pid: int, status: int) -> None:
            del self._workers[pid]
            os.close(worker.pipe)
            code = os.waitstatus_to_exitcode(status)
            if worker.stopping or self._stops:
                self._roll_next()
                return
            why = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
            if worker.replaces is not None:
                log.error("replacement worker %d ended before it was ready (%s); the old ones stay", pid, why)
                self._roll.clear()
                return
            log.error("worker %d ended: %s", pid, why)
            self._replace(worker, why)

        def _replace(self, worker: _Worker, why: str) -> None:
            if not self._was_ready:
                self._early_deaths += 1
                if self._early_deaths >= MOST_EARLY_DEATHS:
                    self._error = WorkerError(f"workers die as soon as they start: {why}")
                    self._stop()
                    return
            if monotonic() - worker.born > GROWN_UP:
                self._pause = FIRST_PAUSE
            self._due[worker.slot] = monotonic() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

        # -- rolling and stopping

        def _roll_next(self) -> None:
            """Begin to replace the next worker, unless one is being replaced."""
            rolling = any(worker.stopping or worker.replaces is not None for worker in self._workers.values())
            while self._roll and not rolling and not self._stops:
                slot = self._roll.pop(0)
                old = [worker for worker in self._workers.values() if worker.slot == slot]
                if old:
                    self._spawn(slot, replaces=old[0])
                    return

        def _end(self, worker: _Worker) -> None:
            worker.stopping = True
            worker.kill_at = monotonic() + self._events.shutdown_timeout + KILL_AFTER
            self._send(worker, signal.SIGTERM)

        def _stop(self) -> None:
            """Let all end in good order; called a second time, at once."""
            self._stops += 1
            self._due.clear()
            for worker in self._workers.values():
                if self._stops == 1:
                    self._end(worker)
                elif self._stops == 2:
                    self._send(worker, signal.SIGKILL)

        def _send(self, worker: _Worker, number: int) -> None:
            with suppress(ProcessLookupError):  # it has ended already
                os.kill(worker.pid, number)
