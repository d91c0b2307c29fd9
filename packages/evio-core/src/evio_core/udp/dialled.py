"""UDP dialled: a socket connected to one peer, with the events of a connection.

Only what the peer sends is received, and what its system says of datagrams that reach nobody arrives: an ICMP "port
unreachable" is ``ECONNREFUSED`` (udp(7)).
"""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any, final, overload

from ..addresses.address import Address
from ..addresses.candidates import Candidate, alternate
from ..addresses.origin import Origin
from ..addresses.resolver import LookUp, look_up_numeric, resolve
from ..addresses.sockopt import apply_address, apply_options, bind_own_end
from ..checks import not_negative
from ..errors import Aborted, ConnectTimeout, DeadlineExceeded, IdleTimeout
from ..events import (
    Action,
    Buffer,
    Events,
    Options,
    Reply,
    Server,
    SocketAddress,
    TimerHandle,
)
from ..logs import LogLimit, log
from ..loop.callbacks import data_callback, data_method, make_handler, methods_of
from ..loop.calls import Call
from ..loop.loop import Loop, Timer
from ..loop.polled import Polled
from ..loop.poller import ERROR, READ, WRITE
from ..loop.reply import parse_reply
from .conn import DatagramConn
from .datagram import DATAGRAMS_PER_TURN, LARGEST_DATAGRAM

__all__ = ["DialledDatagrams", "dial"]

NOT_SENT = frozenset((errno.EMSGSIZE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM))
"""Errors of one datagram rather than of the way to the peer (send(2))."""


def dial(loop: Loop, address: Address, origin: Origin, context: Any, timeout: float) -> DialledDatagrams:
    """A connection in its opening state. From any thread."""
    conn = DialledDatagrams(loop, origin, address, context)
    loop.submit(conn.start, timeout)
    return conn


@final
class DialledDatagrams(DatagramConn, Polled):
    """Implements :class:`evio_core.events.Conn`. What the kernel does not take at once waits, up to ``high_water``
    bytes; what is beyond that is dropped and counted."""

    __slots__ = (
        "_address",
        "_answers",
        "_calls",
        "_closing",
        "_deadline",
        "_dirty",
        "_gone",
        "_failure",
        "_limit",
        "_local",
        "_look_up",
        "_mask",
        "_open",
        "_origin",
        "_out",
        "_paused",
        "_queued",
        "_remote",
        "_seen",
        "_sock",
        "_submitted",
        "_timer",
        "_waking",
        "context",
        "events",
        "loop",
        "on_data",
        "options",
        "subject",
    )

    is_descriptor = True

    def __init__(self, loop: Loop, origin: Origin, address: Address, context: Any) -> None:
        self.loop: Loop = loop
        self.context: Any = context
        self.options: Options = origin.options
        self._address = address
        self._origin = origin
        self._sock: socket.socket | None = None
        self._local: SocketAddress = None
        self._remote: SocketAddress = None
        self._look_up: LookUp | None = None
        self._failure: OSError | None = None  # of sending, for the end of the turn: no callback runs within another
        self._answers: set[Future[Any]] = set()  # that are not there yet
        self._calls: set[Call] = set()  # those to come
        self._out: deque[bytes] = deque()
        self._queued = 0
        self._submitted = 0
        self._open = self._gone = self._closing = self._paused = self._dirty = self._waking = False
        self._mask = 0
        self._deadline = self._seen = 0.0
        self._timer: Timer | None = None
        self._limit = LogLimit()
        self.events: Events = loop.events
        self.on_data: Callable[[Any, Any], Reply] = data_callback(loop.events)
        self.subject: Any = self
        if origin.handler is not None:
            self.subject = handler = make_handler(origin.handler, self, loop.wrap)
            self.events = methods_of(handler)
            self.on_data = data_method(handler)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._origin.name} from {self._remote!r}>"

    # -- what callers see

    @property
    def addr_index(self) -> int:
        return self._origin.index

    @property
    def loop_index(self) -> int:
        return self.loop.index

    @property
    def server(self) -> Server:
        return self.loop.server

    @property
    def local_addr(self) -> SocketAddress:
        return self._local

    @property
    def remote_addr(self) -> SocketAddress:
        return self._remote

    @property
    def pending(self) -> int:
        return self._queued + self._submitted

    @overload
    def socket_option(self, level: int, name: int) -> int: ...

    @overload
    def socket_option(self, level: int, name: int, size: int) -> bytes: ...

    def socket_option(self, level: int, name: int, size: int = 0) -> int | bytes:
        sock = self._needed_socket()
        return sock.getsockopt(level, name, size) if size else sock.getsockopt(level, name)

    def set_socket_option(self, level: int, name: int, value: int | Buffer) -> None:
        self._needed_socket().setsockopt(level, name, value)

    def _needed_socket(self) -> socket.socket:
        if self._sock is None:
            raise OSError(errno.EBADF, "the connection has no socket yet, or any more")
        return self._sock

    def write(self, data: Buffer | Future[Any]) -> None:
        if isinstance(data, Future):
            self._in_loop(lambda _: self._defer(data))
            return
        datagram = bytes(memoryview(data))
        if threading.get_ident() == self.loop.ident:
            self._write(datagram)
            return
        with self.loop.submitting:
            self._submitted += len(datagram)
        self.loop.submit(self._write_submitted, datagram)

    def run_in_thread(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self.loop.threads.submit(function, arguments)

    def wake(self) -> None:
        if not self._waking:
            self._waking = True
            self.loop.submit(self._on_wake)

    def close(self) -> None:
        self._in_loop(self._close)

    def abort(self) -> None:
        self._in_loop(self._abort)

    def pause_reading(self) -> None:
        self._paused = True
        self._poll()

    def resume_reading(self) -> None:
        self._paused = False
        self._poll()

    def call_later(self, seconds: float, function: Callable[..., Reply], *arguments: Any) -> TimerHandle:
        call = Call(self.loop, function, arguments, self._call, self._calls)
        if self._gone:
            call.cancel()
        else:
            call.begin(seconds)
        return call

    def _call(self, function: Callable[..., Reply], arguments: tuple[Any, ...]) -> None:
        if not self._gone and not self._closing:
            self._fire(lambda _: function(*arguments))

    def set_deadline(self, seconds: float | None) -> None:
        if self._open:
            self._deadline = 0.0 if seconds is None else monotonic() + not_negative("a deadline", seconds)
            self._arm()

    def configure(self, **options: Any) -> None:
        changed = dataclasses.replace(self.options, **options)
        if self._sock is not None:
            apply_options(self._sock, changed, self.options)
        self.options = changed
        if self._open:
            self._seen = monotonic()
            self._arm()

    # -- opening

    def start(self, timeout: float) -> None:
        """Look the host up and connect to it, within so many seconds."""
        loop = self.loop
        loop.started += 1
        loop.stats.dialled += 1
        if self._gone or loop.stopping:
            self.drop(None)
            return
        loop.handlers[~id(self)] = self  # a place without a descriptor, as the loop waits for every connection's end
        self._deadline = monotonic() + timeout
        self._arm()
        numeric = look_up_numeric(self._address, socket.SOCK_DGRAM)
        if numeric is not None:
            self._connect(numeric)
        else:
            self._look_up = resolve(self._address, socket.SOCK_DGRAM, lambda found: loop.submit(self._connect, found))

    def _connect(self, found: list[Candidate] | OSError) -> None:
        if self._gone:
            return
        if isinstance(found, OSError):
            self.drop(found)
            return
        failure = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        for family, name in alternate(found):
            sock = socket.socket(family, socket.SOCK_DGRAM)
            try:
                sock.setblocking(False)
                apply_options(sock, self.options)
                apply_address(sock, self._address)
                bind_own_end(sock, self._address)
                sock.connect(name)  # nothing is sent: it fails if there is no way to there
                self.loop.add(sock.fileno(), self, READ)
            except OSError as error:
                sock.close()
                failure = error
                continue
            except BaseException:
                sock.close()
                raise
            self._opened(sock)
            return
        self.drop(failure)

    def _opened(self, sock: socket.socket) -> None:
        del self.loop.handlers[~id(self)]
        self._sock = sock
        self._local, self._remote = sock.getsockname(), sock.getpeername()
        self._mask = READ
        self._open = True
        self._deadline = 0.0
        self._seen = monotonic()
        self._arm()
        self._poll()
        if self.events.opened is not None:
            self._fire(self.events.opened)
        if self.loop.draining:
            self.retire()
        if self._waking:
            self.loop.submit(self._on_wake)  # woken before it was open
        self._mark()

    # -- events

    def on_event(self, mask: int) -> None:
        if mask & WRITE:
            self._mark()
        if mask & READ or (mask & ~WRITE and not self._paused and not self._closing):
            self._receive()
        elif mask & ERROR and self._sock is not None:
            # Reported whatever is polled for, and again and again until somebody takes it.
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.drop(OSError(code, os.strerror(code)))

    def _receive(self) -> None:
        stats = self.loop.stats
        for _ in range(DATAGRAMS_PER_TURN):
            if self._sock is None or self._paused or self._closing:
                return
            try:
                chunk = self._sock.recv(LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                self.drop(error)
                return
            stats.datagrams_in += 1
            stats.bytes_in += len(chunk)
            self._seen = self.loop.now
            try:
                reply = self.on_data(self.subject, chunk)
                if reply is not None:
                    self.reply(reply)
            except BaseException as error:
                self.loop.callback_failed(self, error)

    def _fire(self, callback: Callable[..., Reply]) -> None:
        try:
            self.reply(callback(self))
        except BaseException as error:
            self.loop.callback_failed(self, error)

    def reply(self, reply: Reply) -> None:
        """Do what a callback returned."""
        output, action = parse_reply(reply)
        if isinstance(output, Future):
            self._defer(output)
        elif output is not None:
            self._write(bytes(output))
        if action is Action.CLOSE:
            self._close()
        elif action is Action.SHUTDOWN:
            self.loop.request_stop()
        elif action is Action.DETACH:
            self._detach()

    def _on_wake(self, _: object) -> None:
        if self._open and self._waking:
            self._waking = False
            if self.events.woken is not None and not self._closing:
                self._fire(self.events.woken)

    # -- output

    def _defer(self, future: Future[Any]) -> None:
        """Send what comes later when it is there; datagrams have no order."""
        if self._gone:
            future.cancel()
            return
        self._answers.add(future)
        future.add_done_callback(lambda done: self.loop.submit(self._answer, done))

    def _answer(self, future: Future[Any]) -> None:
        self._answers.discard(future)
        if self._gone or future.cancelled():
            return
        try:
            self.reply(future.result())
        except BaseException as error:
            self.loop.callback_failed(self, error)

    def _write_submitted(self, datagram: bytes) -> None:
        self._write(datagram)
        with self.loop.submitting:
            self._submitted -= len(datagram)

    def _write(self, datagram: bytes) -> None:
        if self._gone or (self._closing and not self._dirty):
            return
        if not self._open or self.loop.collecting or self._out or not self._send_now(datagram):
            self._enqueue(datagram)

    def _enqueue(self, datagram: bytes) -> None:
        if self._queued and self._queued + len(datagram) > self.options.high_water:
            self.loop.stats.datagrams_dropped += 1
            return
        self._out.append(datagram)
        self._queued += len(datagram)
        self._mark()

    def _send_now(self, datagram: bytes) -> bool:
        """False if the kernel has no room."""
        if self._sock is None:
            return True
        stats = self.loop.stats
        try:
            self._sock.send(datagram)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in NOT_SENT:
                self._failure = error
                self._mark()
                return True
            if self._limit.allows():
                text = "cannot send %d bytes to %s: %s%s"
                log.warning(text, len(datagram), self._origin.name, error, self._limit.left_out())
            stats.datagrams_dropped += 1
            return True
        stats.datagrams_out += 1
        stats.bytes_out += len(datagram)
        self._seen = self.loop.now
        return True

    def _send_queued(self) -> None:
        while self._out and self._failure is None and self._send_now(self._out[0]):
            self._queued -= len(self._out.popleft())

    def _mark(self) -> None:
        if not self._dirty and self._open and not self._gone:
            self._dirty = True
            self.loop.dirty.append(self)

    def flush(self) -> None:
        """Send what is queued, as far as the kernel takes it, then do what was waiting for that."""
        sent = bool(self._out)
        self._send_queued()
        self._dirty = False
        if self._gone:
            return
        if self._failure is not None:
            self.drop(self._failure)
        elif self._out:
            self._poll()
        elif self._closing:
            self.drop(None)
        else:
            self._poll()
            if sent and self.events.drained is not None:
                self._fire(self.events.drained)

    def _poll(self) -> None:
        """Poll for what is wanted now."""
        if self._sock is None:
            return
        mask = (0 if self._paused or self._closing else READ) | (WRITE if self._out and not self._dirty else 0)
        if mask != self._mask:
            self.loop.poller.modify(self._sock.fileno(), mask)
            self._mask = mask

    # -- time-outs

    def _arm(self) -> None:
        when, idle = self._deadline, self.options.idle_timeout
        if idle and self._open and (not when or self._seen + idle < when):
            when = self._seen + idle
        if when and (self._timer is None or self._timer[0] > when):
            if self._timer is not None:
                self.loop.cancel(self._timer)
            self._timer = self.loop.arm(self, when)

    def on_timer(self, now: float) -> None:
        self._timer = None
        idle = self.options.idle_timeout
        if self._deadline and now >= self._deadline:
            self.drop(DeadlineExceeded("deadline passed") if self._open else ConnectTimeout("no answer in time"))
        elif idle and self._open and now >= self._seen + idle:
            self.drop(IdleTimeout(f"idle for {idle:g} s"))
        else:
            self._arm()

    # -- ending

    def _close(self, _: object = None) -> None:
        if self._gone:
            return
        if not self._open and not self._out:
            self.drop(None)
            return
        self._closing = True  # what is queued leaves first, also when it has yet to open
        self._mark()
        self._poll()

    def _abort(self, _: object) -> None:
        self.drop(Aborted("aborted by the program"))

    def _detach(self) -> None:
        """Give the socket away; what the kernel has no room for is dropped and counted."""
        sock = self._sock
        if sock is None:
            return
        self._send_queued()
        self.loop.stats.datagrams_dropped += len(self._out)
        self._leave()
        self._sock = None
        self._end(None, fire=False)
        sock.setblocking(True)
        if self.events.detached is None:
            sock.close()
            return
        try:
            if self.events.detached(self, sock) is Action.SHUTDOWN:
                self.loop.request_stop()
        except BaseException as error:
            sock.close()
            self.loop.callback_failed(self, error)

    def drop(self, error: BaseException | None) -> None:
        """Close at once, for the reason ``error``."""
        if self._gone:
            return
        self._leave()
        sock, self._sock = self._sock, None
        if sock is not None and self.loop.polls_together:
            self.loop.close_later(sock.detach())
        elif sock is not None:
            sock.close()
        self._end(error)

    def _leave(self) -> None:
        if self._sock is not None:
            self.loop.remove(self._sock.fileno())
        else:
            self.loop.handlers.pop(~id(self), None)

    def _end(self, error: BaseException | None, fire: bool = True) -> None:
        self._gone = True
        if self._look_up is not None:
            self._look_up.cancel()
        if self._timer is not None:
            self.loop.cancel(self._timer)
            self._timer = None
        if not self._open and error is not None:
            self.loop.stats.dial_errors += 1
        self._open = False
        for future in list(self._answers):
            future.cancel()
        for call in list(self._calls):
            call.cancel()
        self.loop.ended += 1
        if fire and self.events.closed is not None:
            try:
                if self.events.closed(self, error) is Action.SHUTDOWN:
                    self.loop.request_stop()
            except BaseException as failure:
                self.loop.callback_failed(self, failure)
        self._out.clear()
        self._queued = 0

    def retire(self) -> None:
        if self._open and not self._closing and self.events.retiring is not None:
            self._fire(self.events.retiring)

    def close_if_quiet(self, since: float) -> None:
        if self._open and not self._out and self._seen <= since:
            self._close()

    def shut_down(self) -> None:
        if self._open:
            self._close()
        else:
            self.close_now()

    def close_now(self) -> None:
        self.drop(None)

    def _in_loop(self, function: Callable[[Any], None]) -> None:
        if threading.get_ident() == self.loop.ident:
            function(None)
        else:
            self.loop.submit(function)
