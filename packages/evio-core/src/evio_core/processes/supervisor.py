"""The process that watches over the workers: it starts, replaces, rolls and stops them.

It wakes only when a signal, a message or the end of a worker, or a time it waits for has come.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import NoReturn

from ..addresses.bind import BoundAddress
from ..errors import EvioError, WorkerError
from ..events import Events
from ..logs import log
from ..systemd import ServiceManager

assert sys.platform != "win32"

from .worker import DRAIN_SIGNAL, READY, REOPEN_SIGNAL, STOP, serve_as_worker  # noqa: E402  # needs what the assertion is about

__all__ = ["Supervisor"]

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a worker that died is replaced; doubled while they die young."""

GROWN_UP = 10.0
"""A worker that lived this many seconds did not die of how it starts."""

MOST_EARLY_DEATHS = 5
"""Workers that may die before any was ever ready."""

KILL_AFTER = 2.0
"""Seconds beyond ``shutdown_timeout`` that a worker has to end."""

SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, REOPEN_SIGNAL)


@dataclass(slots=True)
class _Worker:
    slot: int
    pid: int
    pipe: int
    born: float
    stopping: bool = False
    kill_at: float = 0.0
    replaces: _Worker | None = None


class Supervisor:
    """A loop over pipes and signals; it wakes only when one of them has something to say."""

    def __init__(
        self, count: int, events: Events, bound: Sequence[BoundAddress], load: Callable[[], Events] | None = None
    ) -> None:
        """``load``, if given, makes the events of each worker, in its own process; ``events`` then has the settings
        of the supervisor."""
        self._count = count
        self._events = events
        self._load = load
        self._bound = bound
        self._workers: dict[int, _Worker] = {}
        self._due: dict[int, float] = {}  # slot: when to start its next worker
        self._pause = FIRST_PAUSE
        self._early_deaths = 0
        self._was_ready = False
        self._manager = ServiceManager.from_environment() if events.notify_systemd else None
        self._unready = set(range(count))  # slots of which no worker was ever ready
        self._next_beat = 0.0
        self._rolling = False
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
                worker.kill_at = 0.0
                self._send(worker, signal.SIGKILL)
        if self._manager is not None:
            self._tell(self._manager, now)

    def _tell(self, manager: ServiceManager, now: float) -> None:
        """Tell the service manager that a roll has ended, and that we live: every worker is replaced when it dies, and
        one that hangs is left to its own time-outs."""
        if self._rolling and not self._roll and all(worker.replaces is None for worker in self._workers.values()):
            self._rolling = False
            manager.ready()
        if manager.watchdog and now >= self._next_beat and not self._unready:
            self._next_beat = now + manager.watchdog / 2
            manager.alive()

    def _timeout(self) -> float | None:
        moments = [worker.kill_at for worker in self._workers.values() if worker.kill_at]
        if not self._stops:
            moments += self._due.values()
        if self._manager is not None and self._manager.watchdog and not self._unready:
            moments.append(self._next_beat)
        return max(0.0, min(moments) - monotonic()) if moments else None

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def ignore(*_: object) -> None:
            """The wake-up descriptor tells which signal came."""

        before = {number: signal.signal(number, ignore) for number in SIGNALS}
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
                elif number == REOPEN_SIGNAL:
                    for worker in self._workers.values():
                        self._send(worker, REOPEN_SIGNAL)
                elif number == signal.SIGHUP and not self._stops:
                    if self._manager is not None:
                        self._rolling = True
                        self._manager.reloading()
                    self._roll = [slot for slot in range(self._count) if slot not in self._roll] + self._roll
                    self._roll_next()

    # -- workers

    def _spawn(self, slot: int, replaces: _Worker | None = None) -> None:
        reader, writer = os.pipe()
        _flush_output()  # or the child prints it once more
        # Blocked until the worker has its own handlers: the supervisor's would lose a SIGTERM.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._be_worker(slot, reader, writer, mask)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(writer)
        self._workers[pid] = _Worker(slot, pid, reader, monotonic(), replaces=replaces)

    def _be_worker(self, slot: int, reader: int, writer: int, mask: set[int]) -> NoReturn:
        """The child's whole life. It never returns into the caller's frames, nor runs its exit handlers."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for fd in (reader, self._lifeline_end, self._signal_pipe, self._signal_end):
                os.close(fd)
            for worker in self._workers.values():
                os.close(worker.pipe)
            events = self._events if self._load is None else self._load()
            serve_as_worker(slot, events, self._bound, writer, self._lifeline, mask)
            status = 0
        except SystemExit:
            pass  # `load` has said why
        except EvioError as error:  # a bad certificate, say: what it says is enough
            log.error("worker %d failed: %s", os.getpid(), error)
        except BaseException:
            log.exception("worker %d failed", os.getpid())
        finally:
            _flush_output()
            os._exit(status)

    def _on_message(self, worker: _Worker) -> None:
        message = os.read(worker.pipe, 16)
        self._heed(worker, message)
        if not message:  # it has ended, or is about to
            self._collect(worker, *os.waitpid(worker.pid, 0))

    def _heed(self, worker: _Worker, message: bytes) -> None:
        if READY in message:
            self._was_ready = True
            if worker.slot in self._unready:
                self._unready.remove(worker.slot)
                if not self._unready and self._manager is not None and not self._stops:
                    self._manager.ready()
            if worker.replaces is not None:
                self._drain(worker.replaces)
                worker.replaces = None
                self._roll_next()
        if STOP in message and not self._stops:
            self._stop()

    def _reap(self) -> None:
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                os.set_blocking(worker.pipe, False)
                with suppress(BlockingIOError):
                    self._heed(worker, os.read(worker.pipe, 16))
                self._collect(worker, pid, status)

    def _collect(self, worker: _Worker, pid: int, status: int) -> None:
        del self._workers[pid]
        os.close(worker.pipe)
        if worker.stopping or self._stops:
            return
        code = os.waitstatus_to_exitcode(status)
        why = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        successor = next((other for other in self._workers.values() if other.replaces is worker), None)
        if worker.replaces is not None:
            log.error("replacement worker %d ended before it was ready (%s); the old ones stay", pid, why)
            self._roll.clear()
            return
        log.error("worker %d ended: %s", pid, why)
        if successor is not None:
            successor.replaces = None
            self._roll_next()
        else:
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
        """Begin to replace the next worker, unless one is being replaced. The old one drains meanwhile."""
        rolling = any(worker.replaces is not None for worker in self._workers.values())
        while self._roll and not rolling and not self._stops:
            slot = self._roll.pop(0)
            old = [worker for worker in self._workers.values() if worker.slot == slot and not worker.stopping]
            if old:
                self._spawn(slot, replaces=old[0])
                return

    def _drain(self, worker: _Worker) -> None:
        worker.stopping = True
        worker.kill_at = monotonic() + 2 * self._events.shutdown_timeout + KILL_AFTER
        self._send(worker, DRAIN_SIGNAL)

    def _stop(self) -> None:
        """Let all end in good order; called a second time, at once."""
        self._stops += 1
        if self._stops == 1 and self._manager is not None:
            self._manager.stopping()
        self._due.clear()
        for worker in self._workers.values():
            worker.stopping = True
            worker.kill_at = monotonic() + (self._events.shutdown_timeout + KILL_AFTER if self._stops == 1 else 0)
            self._send(worker, signal.SIGTERM)

    def _send(self, worker: _Worker, number: int) -> None:
        with suppress(ProcessLookupError):  # it has ended already
            os.kill(worker.pid, number)


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        # Nobody may be reading any more, or the disk is full: the error of whoever printed, none of the server's.
        with suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
