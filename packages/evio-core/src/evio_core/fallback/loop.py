"""The fallback's loop: an asyncio event loop that behaves like :class:`evio_core.loop.loop.Loop`.

Connections, time-outs and flushing are the native code; what is replaced is the boundary to the kernel. A turn is
what asyncio runs between two looks at the sockets: whatever wrote, closed or submitted something schedules
``_turn``, once.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from ..events import Events
from ..loop.loop import Loop, Timer
from ..loop.polled import Polled
from ..loop.poller import MAX_EVENTS, READ, WRITE

__all__ = ["NetLoop"]

WRITE_RETRY = 0.005
"""Seconds before a datagram that found no room is tried again; asyncio tells only streams when there is some."""


class NetPoller:
    """Turns what a handler wants into what its transport does."""

    def __init__(self, loop: NetLoop) -> None:
        self._loop = loop
        self.masks: dict[int, int] = {}

    def register(self, fd: int, mask: int, exclusive: bool = False) -> None:
        self.modify(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        self.masks[fd] = mask
        transport = self._loop.transports.get(fd)
        handler = self._loop.handlers.get(fd)
        if handler is not None and handler.is_descriptor:
            self._watch(fd, mask)
        elif transport is not None:
            if mask & READ:
                transport.resume_reading()
            else:
                transport.pause_reading()
        elif mask & WRITE:
            self._loop.aio.call_later(WRITE_RETRY, self._loop.deliver, fd, WRITE)

    def _watch(self, fd: int, mask: int) -> None:
        """Have asyncio poll the descriptor itself. Raises ``OSError`` where its loop cannot, as on Windows."""
        aio, deliver = self._loop.aio, self._loop.deliver
        try:
            if mask & READ:
                aio.add_reader(fd, deliver, fd, READ)
            else:
                aio.remove_reader(fd)
            if mask & WRITE:
                aio.add_writer(fd, deliver, fd, WRITE)
            else:
                aio.remove_writer(fd)
        except NotImplementedError as error:
            raise OSError(errno.EOPNOTSUPP, "the event loop of this system polls no descriptors") from error

    def unregister(self, fd: int) -> None:
        self.masks.pop(fd, None)

    def poll(self, timeout: float | None, maxevents: int = MAX_EVENTS, /) -> list[tuple[int, int]]:
        raise NotImplementedError("asyncio polls")

    def close(self) -> None:
        self.masks.clear()


class NetQueue(list[Any]):
    """A queue for the end of a turn. Whoever adds to it may be a coroutine of the program's, in no turn at all."""

    def __init__(self, loop: NetLoop) -> None:
        super().__init__()
        self._loop = loop

    def append(self, item: Any) -> None:
        super().append(item)
        self._loop.turn_soon()


class NetLoop(Loop):
    """A loop on asyncio; ``aio`` is the event loop, its own one unless it is given."""

    polls_together = False

    def __init__(
        self,
        index: int,
        events: Events,
        stop: Callable[[], None],
        aio: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.transports: dict[int, asyncio.Transport] = {}
        super().__init__(index, events, NetPoller(self), stop)
        self.dirty: NetQueue = NetQueue(self)
        self._to_close = NetQueue(self)
        self.remove(self._waker.fileno())
        self.permanent = 0
        self._waker.close()  # asyncio has its own
        self.aio: asyncio.AbstractEventLoop = aio or asyncio.new_event_loop()
        self.tasks: set[asyncio.Task[None]] = set()
        self._done = asyncio.Event()
        self._scheduled = False

    # -- what differs from the native loop

    def add(self, fd: int, handler: Polled, mask: int, exclusive: bool = False) -> None:
        self.handlers[fd] = handler
        try:
            self.poller.register(fd, mask)
        except BaseException:
            del self.handlers[fd]
            raise

    def remove(self, fd: int) -> None:
        handler = self.handlers.get(fd)
        if handler is not None and handler.is_descriptor:
            self.aio.remove_reader(fd)
            self.aio.remove_writer(fd)
        super().remove(fd)

    def submit(self, function: Callable[[Any], object], argument: Any = None) -> None:
        self._ops.append((function, argument))
        if self.ident == threading.get_ident():
            self.turn_soon()
        else:
            self.interrupt()

    def interrupt(self) -> None:
        with suppress(RuntimeError):  # closed; asking first would only leave room for it to be closed meanwhile
            self.aio.call_soon_threadsafe(self.turn_soon)

    def arm(self, target: Polled, when: float) -> Timer:
        timer: Timer = [when, 0, target, None]
        timer[3] = self.aio.call_later(max(0.0, when - monotonic()), self._on_timer, timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        timer[2] = None
        timer[3].cancel()

    def _on_timer(self, timer: Timer) -> None:
        if timer[2] is not None:
            self.now: float = monotonic()
            timer[2].on_timer(self.now)
            self.turn_soon()

    def deliver(self, fd: int, mask: int) -> None:
        """Tell the handler of a descriptor that it is ready."""
        handler = self.handlers.get(fd)
        if handler is not None:
            handler.on_event(mask)
        self.turn_soon()

    def begin_task(self, work: Any) -> asyncio.Task[None]:
        """Run a coroutine that ends with the loop."""
        task = self.aio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # -- turns

    def turn_soon(self) -> None:
        """Have what is pending done after the current callback."""
        ending = self.stopping and len(self.handlers) == self.permanent
        pending = self._ops or self.dirty or self._to_close or ending
        if pending and not self._scheduled and not self.aio.is_closed():
            self._scheduled = True
            self.aio.call_soon(self._turn)

    def _turn(self) -> None:
        self.now = monotonic()
        self.stats.turns += 1
        try:
            self.run_ops()
            if self.dirty:
                self._flush()
            self._close_dropped()
        except BaseException as error:
            self.fail(error)
            self._drop_everything()
            self._close_dropped()
        self._scheduled = False  # not earlier: what this turn adds and sees to itself needs no other one
        if self.stopping and len(self.handlers) == self.permanent and not self.dirty and not self._to_close:
            self._done.set()
        else:
            self.turn_soon()

    def _close_dropped(self) -> None:
        for fd in self._to_close:
            transport = self.transports.pop(fd, None)
            if transport is not None:
                transport.abort()
        self._to_close.clear()

    # -- running

    def run(self) -> None:
        """Serve until stopped, in the calling thread, on a loop of its own."""
        try:
            self.aio.run_until_complete(self.main())
        except BaseException as error:  # KeyboardInterrupt, where signals are not ours
            self.fail(error)
            self._drop_everything()
            self.aio.run_until_complete(self._finish())
        finally:
            self.aio.close()

    async def main(self) -> None:
        """Serve until stopped and everything has ended."""
        self.ident: int | None = threading.get_ident()
        self.turn_soon()
        await self._done.wait()
        await self._finish()

    async def _finish(self) -> None:
        self._close_dropped()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close their sockets in a callback of their own
        self.poller.close()
