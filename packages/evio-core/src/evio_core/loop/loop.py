"""One event loop: the hot path, the timers and the queue of work from other threads.

Everything here runs in the loop's own thread, except ``submit``. A loop knows descriptors by their
*handlers*: connections, listeners, datagram sockets, half-open states. A turn is: poll, handle each ready
descriptor, run submitted work, flush what was written, close what was dropped.

Shared with other threads are only ``_ops`` (a deque: append and popleft are atomic by themselves, also on
free-threaded CPython), the waker's flag and the counters, each of which has one writing thread.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, cast

from ..errors import InputLimitExceeded, ServerStopped
from ..events import Events, Handler, LoopStats, Server
from ..logs import log
from .admission import Admission
from .polled import Droppable, Flushable, InlineStream, Polled
from .poller import MAX_EVENTS, READ, Poller
from .threads import Threads
from .waker import Waker

__all__ = ["LARGE_READ_SIZE", "READ_SIZE", "Loop", "Timer"]

READ_SIZE = 16 * 1024
"""Bytes of a connection's input that are read in a turn at first. ``os.read`` allocates what it asks for, so more
costs something even if little arrives."""

LARGE_READ_SIZE = 120 * 1024
"""Bytes once a read came back full, until one comes back small. From 128 KiB on malloc would map fresh pages for
each read (M_MMAP_THRESHOLD, mallopt(3)), which costs four times as much as the read itself."""

COMPACT_TIMERS = 256
"""With more cancelled timers than this, and more cancelled than alive, the heap is rebuilt."""

LONGEST_WAIT = 24 * 3600.0
"""Seconds that one look at the descriptors may take. Kernels count them in types of their own: epoll_wait(2) takes
milliseconds in an ``int``, and a time-out of a month, let alone an infinite one, does not fit."""

Timer = list[Any]
"""``[when, tie-breaker, target]``; a cancelled one has no target."""


class Loop:
    """A poller, the handlers of its descriptors, timers, and work submitted by other threads."""

    polls_together = True
    """Descriptors that are found ready by one poll belong to one turn; else each event is a turn of its own."""

    def __init__(self, index: int, events: Events, poller: Poller, stop: Callable[[], None]) -> None:
        self.index = index
        self.events = events
        self.poller = poller
        self.request_stop = stop
        self.stats: LoopStats = LoopStats()
        self.ident: int | None = None
        self.now: float = 0.0
        self.draining = False
        self.stopping: bool = False
        self.over: bool = False
        self.collecting: bool = events.pre_write is not None
        self.direct: bool = not self.collecting
        """True if a reply may be written at once, with no callback to fire before it."""
        self.threads: Threads = Threads(events.num_threads)  # the server gives all its loops the same
        self.admission: Admission | None = Admission.of(events.options)  # the same
        self.lock: threading.RLock | None = None  # held by calls where two loops make theirs one at a time
        self.wrap: Callable[[Handler], Handler] | None = None
        """Puts something around each handler of a connection."""
        self.server: Server
        """The server that it is a loop of, which sets this."""
        self.submitting: threading.Lock = threading.Lock()
        """Held while the bytes are counted that other threads write to connections of this loop."""
        self.input_buffer: bytearray = bytearray(LARGE_READ_SIZE)
        self.error: BaseException | None = None
        self.handed = 0  # connections given to this loop by the accepting one, which alone writes this
        self.started = 0  # connections that this loop began by itself
        self.ended = 0
        self.handlers: dict[int, Polled] = {}
        self.dirty: list[Flushable] = []
        self._to_close: list[int] = []
        self._timers: list[Timer] = []
        self._timer_count = 0
        self._cancelled = 0
        self._ops: deque[tuple[Callable[[Any], object], Any]] = deque()
        self.permanent: int = 0  # handlers that live as long as the loop
        self._waker = Waker()
        self.keep(self._waker.fileno(), self._waker, READ)

    @property
    def open_connections(self) -> int:
        """Connections of this loop, counted from the moment it was chosen for them."""
        return self.handed + self.started - self.ended

    # -- descriptors

    def add(self, fd: int, handler: Polled, mask: int, exclusive: bool = False) -> None:
        """Watch a descriptor. Raises ``OSError`` when the poller cannot."""
        self.poller.register(fd, mask, exclusive)
        self.handlers[fd] = handler

    def keep(self, fd: int, handler: Polled, mask: int) -> None:
        """The same until the loop ends, which does not wait for this one."""
        self.add(fd, handler, mask)
        self.permanent += 1

    def remove(self, fd: int) -> None:
        """Watch it no more. Explicit even when it is to be closed: a copy of the descriptor in a forked
        child would keep its epoll entry alive and ready for ever (epoll(7), question 6)."""
        if self.handlers.pop(fd, None) is not None:
            self.poller.unregister(fd)

    def close_later(self, fd: int) -> None:
        """Close a removed descriptor at the end of the turn: until then its number cannot be given to a
        new connection, which would receive the old one's events of this turn."""
        self._to_close.append(fd)

    # -- timers

    def arm(self, target: Polled, when: float) -> Timer:
        """Call ``target.on_timer`` at ``when`` (``time.monotonic``)."""
        self._timer_count += 1
        timer = [when, self._timer_count, target]
        heapq.heappush(self._timers, timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Forget a timer. It stays in the heap, without its target, until it is the first or there is a rebuild."""
        timer[2] = None
        self._cancelled += 1
        if self._cancelled > COMPACT_TIMERS and self._cancelled * 2 > len(self._timers):
            self._timers[:] = [timer for timer in self._timers if timer[2] is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _run_timers(self) -> float | None:
        """Run what is due; returns the seconds until the next one."""
        timers = self._timers
        self.now = now = monotonic()
        last = self._timer_count  # timers set by these belong to the next turn: a tick of 0 s starves nobody
        while timers and timers[0][0] <= now and timers[0][1] <= last:
            target = heapq.heappop(timers)[2]
            if target is None:
                self._cancelled -= 1
            else:
                target.on_timer(now)
        while timers and timers[0][2] is None:  # nobody is to be woken for these
            heapq.heappop(timers)
            self._cancelled -= 1
        return min(max(0.0, timers[0][0] - now), LONGEST_WAIT) if timers else None

    # -- work from other threads

    def submit(self, function: Callable[[Any], object], argument: Any = None) -> None:
        """Have ``function(argument)`` called in the loop's thread soon. From any thread."""
        self._ops.append((function, argument))
        if self.ident != threading.get_ident():
            self._waker.wake()

    def interrupt(self) -> None:
        """Make ``poll`` return. A signal handler needs it: it may run in the loop's own thread in the middle
        of ``poll``, which Python then resumes (PEP 475)."""
        self._waker.force()

    def run_ops(self) -> None:
        """Do what was submitted; once more by the server when the loop has ended."""
        ops = self._ops
        for _ in range(len(ops)):  # what these submit belongs to the next turn
            if not ops:
                break  # one of them has served others
            function, argument = ops.popleft()
            function(argument)

    # -- running

    def run(self) -> None:
        """Serve until stopped and everything has ended."""
        self.ident = threading.get_ident()
        try:
            self._run()
        except BaseException as error:
            self.fail(error)
            self._drop_everything()
        finally:
            self._close()

    def _run(self) -> None:
        # The names are local, the counters too, and the common turn is written out in one piece because this is
        # where the time goes: a call or an attribute chain per event would be seen in the benchmark.
        poll = self.poller.poll
        handlers = cast("dict[int, InlineStream]", self.handlers)  # the others are never inline
        read, write = os.read, os.write
        direct = self.direct
        stats, timers, ops, dirty, to_close = self.stats, self._timers, self._ops, self.dirty, self._to_close
        readable, usual_size, max_events = READ, READ_SIZE, MAX_EVENTS
        longest_wait = LONGEST_WAIT
        now = 0.0
        while True:
            timeout: float | None = None
            if timers:
                first = timers[0]
                timeout = first[0] - monotonic()
                if timeout <= 0 or first[2] is None or timeout > longest_wait:  # more than to wait for it
                    timeout = self._run_timers()
            if dirty or to_close:
                timeout = 0
            elif self.stopping and len(handlers) == self.permanent:
                return  # whatever has been submitted, which might go on for ever: the server does it once more
            elif ops:
                timeout = 0
            ready = poll(timeout, max_events)
            received = sent = 0
            if timers:
                self.now = now = monotonic()
            for fd, mask in ready:
                try:
                    conn = handlers[fd]
                except KeyError:
                    continue  # dropped earlier in this turn
                if mask != readable or not conn.inline:
                    conn.on_event(mask)
                    continue
                try:
                    chunk = read(fd, conn.read_size)
                except OSError as error:
                    conn.read_failed(error)
                    continue
                if not chunk:
                    conn.input_ended()
                    continue
                size = len(chunk)
                received += size
                if size >= usual_size or conn.read_size != usual_size:
                    conn.read_size = LARGE_READ_SIZE if size >= usual_size else usual_size
                conn.seen = now
                on_data = conn.on_data  # as a method, it would be looked up in the class first
                try:
                    output = on_data(conn.subject, chunk)
                    if type(output) is not bytes or not conn.inline or not direct:
                        if output is not None:
                            conn.reply(output)
                            output = None  # it may be huge: not to be held until the next one
                        continue
                except BaseException as error:
                    self.callback_failed(conn, error)
                    continue
                try:
                    size = write(fd, output)
                except OSError as error:
                    conn.write_failed(error, output)
                    continue
                sent += size
                if size != len(output):
                    conn.write_rest(output, size)
                    output = None
            stats.turns += 1
            stats.bytes_in += received
            stats.bytes_out += sent
            if ops:
                self.run_ops()
            if dirty:
                self._flush()
            if to_close:
                self._close_dropped()

    def serve_others(self) -> None:
        """Serve once what is ready now, within a callback of a turn. Descriptors that were dropped are closed at the
        end of that turn: their numbers may be among those that it has yet to look at. What it finds ready and has been
        read meanwhile would block, which every handler puts up with."""
        handlers = self.handlers
        for fd, mask in self.poller.poll(0, MAX_EVENTS):
            handler = handlers.get(fd)
            if handler is not None:
                handler.on_event(mask)
        self.stats.turns += 1
        if self._ops:
            self.run_ops()
        if self.dirty:
            self._flush()

    def _flush(self) -> None:
        """Send what this turn queued. What a flush makes others write belongs to the next turn."""
        if self.events.pre_write is not None:
            self.events.pre_write()  # what it raises ends the server: none of this turn's output may leave
        dirty = self.dirty[:]
        self.dirty.clear()
        for handler in dirty:
            handler.flush()

    def _close_dropped(self) -> None:
        for fd in self._to_close:
            os.close(fd)
        self._to_close.clear()

    # -- failing and stopping

    def callback_failed(self, conn: Droppable, error: BaseException) -> None:
        """A connection's callback raised: end that connection. Only what is not an ``Exception``
        (``KeyboardInterrupt``, ``SystemExit``) ends the server too."""
        if isinstance(error, (ServerStopped, InputLimitExceeded)):
            log.info("%r dropped: %s", conn, error)
        elif isinstance(error, Exception):
            log.error("callback failed, connection dropped: %r", conn, exc_info=error)
        else:
            self.fail(error)
        conn.drop(error)

    def fail(self, error: BaseException) -> None:
        """Stop the server and let ``serve`` raise ``error``."""
        if self.error is None:
            self.error = error
        self.request_stop()

    def shut_down(self, deadline: float) -> None:
        """Finish every handler in good order, until ``deadline``."""
        self.arm(_Deadline(self), deadline)
        if not self.stopping:
            self.stopping = True
            for fd, handler in list(self.handlers.items()):
                if self.handlers.get(fd) is handler:  # what one does at its end may end others
                    handler.shut_down()

    def close_now(self, _: object = None) -> None:
        """End every handler now."""
        self.stopping = True
        for fd, handler in list(self.handlers.items()):
            if self.handlers.get(fd) is handler:
                handler.close_now()

    def _drop_everything(self) -> None:
        """The loop itself failed: end every connection, so that each gets its ``closed``."""
        self.dirty.clear()
        self.close_now()

    def _close(self) -> None:
        self.over = True
        self._close_dropped()
        self.poller.close()
        self._waker.close()


class _Deadline(Polled):
    """Ends what a shutdown could not finish in time."""

    __slots__ = ("_loop",)

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def on_timer(self, now: float) -> None:
        self._loop.close_now()
