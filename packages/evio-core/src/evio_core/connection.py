"""A stream connection: its states, its output, its end.

The states and what leads from one to the next::

    OPENING ──opened──> OPEN ──CLOSE, end of input──> CLOSING ──flushed──> GONE (the descriptor lingers)
       │                 ├─────DETACH─────────────> DETACHING ──flushed──> GONE (the descriptor is the caller's)
       └────failed───────┴────error, time-out, abort──────────────────────> GONE

A connection is ``plain`` while it is open, is being read and has nothing queued; the loop then serves it
by itself. Every other situation comes through ``on_event`` and ``flush`` here, and ``_update`` decides after
each change what to poll for and whether the connection is plain again.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO

from .checks import not_negative
from .errors import (
    Aborted,
    CloseTimeout,
    ConnectTimeout,
    DeadlineExceeded,
    HandshakeTimeout,
    IdleTimeout,
    OutputLimitExceeded,
    SendTimeout,
)
from .events import Action, Buffer, Options, Reply, SocketAddress
from .linger import Linger, in_flight, nothing_in_flight
from .loop import READ_SIZE, Handler, Loop, Timer, log
from .output import FILE_TURN_SIZE, FileSpan, Output
from .poller import ERROR, HANGUP, READ, WRITE
from .reply import parse_reply
from .sockopt import apply_options, borrowed, half_close

if TYPE_CHECKING:
    import ssl

    from .listener import Origin

__all__ = ["Connection"]

OPENING, OPEN, CLOSING, DETACHING, GONE = range(5)

# Reasons not to read; input is wanted while there is none.
PAUSED_BY_USER, PAUSED_BY_OUTPUT, INPUT_ENDED, DETACHED, CLOSE_WHEN_OPEN = 1, 2, 4, 8, 16

LAST_READS = 16
"""How many reads a connection gets when the server stops; more arrives for ever from a peer that streams."""

NOT_POLLED = -1
"""The interest of a descriptor that is taken out of the poller for now."""


class Connection(Handler):
    """A tcp or unix stream; implements :class:`evio_core.events.Conn`."""

    __slots__ = (
        "_deadline",
        "_dirty",
        "_file",
        "_local",
        "_mask",
        "_not_reading",
        "_origin",
        "_out",
        "_phase",
        "_reason",
        "_remote",
        "_send_due",
        "_send_goal",
        "_taken",
        "_timer",
        "_wake_drained",
        "_waking",
        "context",
        "fd",
        "loop",
        "options",
        "plain",
        "read_size",
        "seen",
    )

    def __init__(self, loop: Loop, fd: int, origin: Origin, remote: SocketAddress, context: Any = None) -> None:
        self.loop = loop
        self.fd = fd
        self.context = context
        self.options: Options = origin.options
        self.plain = False
        self.read_size = READ_SIZE
        self.seen = 0.0  # when bytes last moved; kept only while the loop has timers
        self._origin = origin
        self._remote = remote
        self._local: SocketAddress = None
        self._phase = OPENING
        self._mask = NOT_POLLED
        self._not_reading = 0
        self._out: Output | None = None
        self._dirty = False
        self._file: FileSpan | None = None  # the head of the queue, if that is one and `_send_more` may serve it
        self._waking = False
        self._wake_drained = False
        self._deadline = 0.0  # of the phase: handshake, the user's own, or closing; 0 is none
        self._send_due = 0.0  # when the peer has to have taken `_send_goal` bytes; 0: nothing waits, or no such limit
        self._send_goal: float = 0
        self._taken = 0
        self._timer: Timer | None = None
        self._reason: BaseException | None = None

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
    def turn(self) -> int:
        # Below the loop's number, so that no two loops have one in common.
        return self.loop.stats.turns << 16 | self.loop.index

    @property
    def remote_addr(self) -> SocketAddress:
        return self._remote

    @property
    def local_addr(self) -> SocketAddress:
        if self._local is None and self._phase != GONE and self.fd >= 0:
            with borrowed(self.fd) as sock:
                self._local = sock.getsockname()
        return self._local

    @property
    def pending(self) -> int:
        return self._out.pending if self._out is not None else 0

    @property
    def tls(self) -> ssl.SSLObject | None:
        return None

    @property
    def server_name(self) -> str | None:
        return None

    def write(self, data: Buffer) -> None:
        if threading.get_ident() == self.loop.ident:
            self._write(data)
        else:
            self.loop.submit(self._write, bytes(memoryview(data)))

    def send_file(self, file: int | BinaryIO, offset: int = 0, count: int | None = None, *, head: bytes = b"") -> None:
        if self.plain and self.loop.direct and count is not None and count > 0 and offset >= 0:
            sent = self._send_file_now(file, offset, count, head)
            if sent == len(head) + count:
                return
            head, sent = head[sent:], max(0, sent - len(head))
            offset, count = offset + sent, count - sent
        span = FileSpan(file, offset, count)
        if self._phase == OPEN or self._queues_early():
            if head:
                self._queue().append(head)
            self._queue().append_file(span)
            self._mark()
        else:
            span.close()

    def _send_file_now(self, file: int | BinaryIO, offset: int, count: int, head: bytes) -> int:
        """With nothing queued, send what the kernel takes: neither duplicate nor queue. Returns the bytes sent; why it
        were fewer comes up again when the rest is sent."""
        if sys.platform == "win32":
            raise NotImplementedError("native loops need a POSIX system")
        fd = file if isinstance(file, int) else file.fileno()
        sent = 0
        try:
            if head:
                sent = os.write(self.fd, head)
            if sent == len(head):
                sent += os.sendfile(self.fd, fd, offset, min(count, FILE_TURN_SIZE))
        except OSError:
            pass
        self.loop.stats.bytes_out += sent
        return sent

    def wake(self) -> None:
        if not self._waking:
            self._waking = True
            self.loop.submit(self._on_wake)

    def wake_when_drained(self) -> None:
        if self.pending:
            self._wake_drained = True
        else:
            self.wake()

    def close(self) -> None:
        self._in_loop(self._close)

    def abort(self) -> None:
        self._in_loop(self._abort)

    def pause_reading(self) -> None:
        self._stop_reading(PAUSED_BY_USER)

    def resume_reading(self) -> None:
        self._read_again(PAUSED_BY_USER)

    def set_deadline(self, seconds: float | None) -> None:
        if self._phase == OPEN:
            self._set_deadline(0.0 if seconds is None else monotonic() + not_negative("a deadline", seconds))

    def configure(self, **options: Any) -> None:
        changed = dataclasses.replace(self.options, **options)
        if self._phase == GONE:
            return
        if self.fd >= 0:  # a dialled one has no socket yet, and will get what is said here
            with borrowed(self.fd) as sock:
                apply_options(sock, changed, self.options)
        self.options = changed
        self._start_idle_timer()
        self._update()

    # -- beginning

    def begin(self) -> None:
        """Start on a connected descriptor. Raises ``OSError`` when it cannot be polled."""
        self._poll()
        self._opened()

    def _poll(self) -> None:
        """Become the handler of the descriptor, which the handler of an earlier stage may have polled."""
        if self.fd in self.loop.handlers:
            self.loop.handlers[self.fd] = self
            self.loop.poller.modify(self.fd, READ)
        else:
            self.loop.add(self.fd, self, READ)
        self._mask = READ

    def in_stage(self, fd: int, mask: int) -> None:
        """The handler of an earlier stage polls ``fd``, which is ours, for ``mask``."""
        self.fd = fd
        self._mask = mask

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self._phase == GONE

    def set_proxied(self, remote: SocketAddress | None, local: SocketAddress | None) -> None:
        """Take the addresses a proxy has named; None keeps the socket's own."""
        self._remote = self._remote if remote is None else remote
        self._local = local

    def limit_opening(self, seconds: float) -> None:
        """End the connection unless it opens in time."""
        self._set_deadline(monotonic() + seconds)

    def _opened(self) -> None:
        self._phase = OPEN
        self._deadline = 0.0
        self._start_idle_timer()
        self._update()
        if self._out is not None:
            self._mark()  # a dialled connection may be written to before it is open
        if self._not_reading & CLOSE_WHEN_OPEN:
            self._begin_close()
        if self.loop.events.opened is not None:
            self._fire(self.loop.events.opened)
        if self.loop.draining:
            self.retire()
        if self._waking:
            self.loop.submit(self._on_wake)  # woken before it was open
        # That of the handshake serves the time-outs set since, if there are any.
        if self._timer is not None and not self._next_timer():
            self.loop.cancel(self._timer)
            self._timer = None

    # -- events

    def on_event(self, mask: int) -> None:
        if mask == WRITE and self._file is not None:
            self._send_more(self._file)
            return
        if mask & WRITE:
            if self.loop.collecting:
                self._mark()
            else:
                self.flush()
        if mask & ~WRITE and self._phase != GONE:
            if self._mask > 0 and self._mask & READ:
                self._on_readable()
            elif mask & (ERROR | HANGUP):
                self._on_hangup()

    def _on_readable(self) -> None:
        view: memoryview | None = None
        chunk: Buffer
        try:
            if self.options.reuse_input_buffer:
                if sys.platform == "win32":
                    raise NotImplementedError("native loops need a POSIX system")
                size = os.readv(self.fd, [self.loop.input_buffer])
                chunk = view = memoryview(self.loop.input_buffer)[:size]
            else:
                chunk = os.read(self.fd, self.read_size)
        except OSError as error:
            self.read_failed(error)
            return
        if chunk:
            self.feed(chunk)
        else:
            self.feed_end()
        if view is not None:
            view.release()  # keeping it past the callback is an error, and now one that shows

    def feed(self, chunk: Buffer) -> None:
        """Input has come from the kernel."""
        self.loop.stats.bytes_in += len(chunk)
        self.seen = self.loop.now
        if self._phase == OPEN and self.loop.events.data is not None:
            self._fire(self.loop.events.data, chunk)

    def _on_hangup(self) -> None:
        """Both directions are closed, or the connection failed, while we are not reading."""
        with borrowed(self.fd) as sock:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.lost(OSError(code, os.strerror(code)))
        elif self._not_reading & INPUT_ENDED:
            error = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            self.lost(error if self._out is not None else self._reason)
        else:
            # Paused, with input still to be had: a hang-up is reported as long as the descriptor is polled,
            # whatever the interest, so it is polled again only when reading is resumed.
            self.loop.poller.unregister(self.fd)
            self._mask = NOT_POLLED

    def _on_wake(self, _: object) -> None:
        if self._phase == OPENING or not self._waking:
            return  # `opened` comes first, and this after it
        self._waking = False
        if self._phase == OPEN and self.loop.events.data is not None:
            self._fire(self.loop.events.data, b"")

    def read_failed(self, error: OSError) -> None:
        """Reading raised ``error``."""
        if not isinstance(error, BlockingIOError):
            self.lost(error)

    def feed_end(self) -> None:
        """The kernel has no more input."""
        self.input_ended()

    def input_ended(self) -> None:
        """The peer has sent all it will."""
        self._not_reading |= INPUT_ENDED
        if self._phase == CLOSING:
            self._mark()
        elif self.loop.events.eof is None:
            self._begin_close()
        else:
            self._update()
            self._fire(self.loop.events.eof)

    def _fire(self, callback: Callable[..., Reply], *arguments: Any) -> None:
        try:
            reply = callback(self, *arguments)
            if reply is not None:
                self.reply(reply)
        except BaseException as error:
            self.loop.callback_failed(self, error)

    def reply(self, reply: Reply) -> None:
        """Do what a callback returned. Raises ``TypeError`` if it is nothing a callback may return."""
        output, action = parse_reply(reply)
        if output is not None:
            self._write(output)
        if action is not Action.NONE:
            self._act(action)

    def _act(self, action: Action) -> None:
        if action is Action.CLOSE:
            self._begin_close()
        elif action is Action.SHUTDOWN:
            self.loop.request_stop()
        elif self._phase == OPEN:
            self._phase = DETACHING
            self._not_reading |= DETACHED
            self._limit_closing()
            self._mark()

    # -- output

    def _queue(self) -> Output:
        if self._out is None:
            self._out = Output()
        return self._out

    def _queues_early(self) -> bool:
        """Whether it is dialled and not open yet, and has not been closed either."""
        return self._phase == OPENING and not self._not_reading & CLOSE_WHEN_OPEN

    def _write(self, data: Buffer) -> None:
        if data and (self._phase == OPEN or self._queues_early()):
            self._queue().append(data)
            self._mark()

    def write_failed(self, error: OSError, output: bytes) -> None:
        """Writing ``output``, with nothing queued before it, raised ``error``."""
        if isinstance(error, BlockingIOError):
            self.write_rest(output, 0)
        else:
            self.lost(error)

    def write_rest(self, output: bytes, sent: int) -> None:
        """The kernel took ``sent`` bytes of ``output``: queue the others and wait."""
        self._queue().append_rest(output, sent)
        self._blocked(self.pending)

    def _mark(self) -> None:
        """Have ``flush`` called at the end of the turn."""
        self.plain = False
        if not self._dirty:
            self._dirty = True
            self.loop.dirty.append(self)

    def flush(self) -> None:
        """Send what is queued, then do what was waiting for that."""
        self._dirty = False
        if self._phase == OPENING or self._phase == GONE:
            return
        if self._out is not None:
            try:
                sent = self._send(self._out)
            except OSError as error:
                self.lost(error)
                return
            if sent:
                self.seen = self.loop.now
                self.loop.stats.bytes_out += sent
            pending = self.pending
            if pending:
                self._taken += sent
                self._blocked(pending)
                return
            self._out = None
            if self._send_due:
                self._send_due = 0.0
            self._flushed()
        if self._phase == OPEN:
            self._update()
        elif self._out is None:  # else `drained` has returned output with its action: the next flush is due
            if self._phase == CLOSING:
                self._finish_close()
            elif self._phase == DETACHING:
                self._finish_detach()

    def _send(self, out: Output) -> int:
        """Hand queued output to the kernel; returns the bytes it took."""
        sent = out.send(self.fd)
        self._file = None if self.loop.collecting else out.file
        return sent

    def _send_more(self, file: FileSpan) -> None:
        """The peer takes more of FILE. What ``flush`` would do, in one piece: a large file drives all this out of the
        processor's caches each time, so it had better be little."""
        if sys.platform == "win32":
            raise NotImplementedError("native loops need a POSIX system")
        out, count = self._out, file.count
        assert out is not None
        try:
            sent = os.sendfile(self.fd, file.fd, file.offset, count if count < FILE_TURN_SIZE else FILE_TURN_SIZE)
        except OSError:
            sent = 0  # why, comes up again
        rest = count - sent
        file.offset += sent
        file.count = rest
        out.pending -= sent
        self._taken += sent
        loop = self.loop
        loop.stats.bytes_out += sent
        if sent:
            self.seen = loop.now
        if not rest:
            out.drop_file(file)
        if not sent or rest <= self.options.low_water:
            self.flush()

    def _flushed(self) -> None:
        """All output has left."""
        self._not_reading &= ~PAUSED_BY_OUTPUT
        if self._wake_drained:
            self._wake_drained = False
            self.wake()
        if self._phase == OPEN and self.loop.events.drained is not None:
            self._fire(self.loop.events.drained)

    def _blocked(self, pending: int) -> None:
        """The kernel takes no more for now, and that many bytes are left."""
        options, before = self.options, self._not_reading
        if options.max_pending and pending > options.max_pending:
            self.lost(OutputLimitExceeded(f"{pending} bytes queued, {options.max_pending} allowed"), reset=True)
            return
        if options.send_timeout and not self._send_due:
            self._limit_sending()
        if pending > options.high_water:
            self._not_reading |= PAUSED_BY_OUTPUT
        elif pending <= options.low_water:
            self._not_reading &= ~PAUSED_BY_OUTPUT
        if self._not_reading != before or self._phase != OPEN or self._mask <= 0 or not self._mask & WRITE:
            self._update()  # else all is as it was, as it mostly is for a large file

    # -- reading or not

    def _stop_reading(self, why: int) -> None:
        self._not_reading |= why
        self._update()

    def _read_again(self, why: int) -> None:
        self._not_reading &= ~why
        self._update()

    def _update(self) -> None:
        """Poll for what is wanted now."""
        phase = self._phase
        if phase == OPENING or phase == GONE:
            return
        # A closing connection reads on, to discard: its peer may have to finish sending before it receives.
        blockers = self._not_reading & INPUT_ENDED if phase == CLOSING else self._not_reading
        want = (0 if blockers else READ) | (0 if self._out is None or self._dirty else WRITE)
        if want != self._mask:
            if self._mask != NOT_POLLED:
                self.loop.poller.modify(self.fd, want)
                self._mask = want
            elif want:
                self.loop.poller.register(self.fd, want)
                self._mask = want
        self.plain = self._is_plain() and want == READ and phase == OPEN and not self._dirty

    def _is_plain(self) -> bool:
        """Whether the loop's own read and write would be right for this connection."""
        return not self.options.reuse_input_buffer

    # -- time

    def _set_deadline(self, when: float) -> None:
        self._deadline = when
        self._arm()

    def _start_idle_timer(self) -> None:
        if self.options.idle_timeout:
            self.seen = monotonic()
            self._arm()

    def _next_timer(self) -> float:
        """When to look again; 0 is never."""
        idle, when = self.options.idle_timeout, self._deadline
        if self._phase == OPEN:
            if idle and (not when or self.seen + idle < when):
                when = self.seen + idle
            if self._send_due and (not when or self._send_due < when):
                when = self._send_due
        return when

    def _arm(self) -> None:
        """See that a timer comes no later than is needed. One that comes too early is set again then: moving
        a deadline on, as is done for every request, is only an assignment."""
        when = self._next_timer()
        if when and (self._timer is None or self._timer[0] > when):
            if self._timer is not None:
                self.loop.cancel(self._timer)
            self._timer = self.loop.arm(self, when)

    def on_timer(self, now: float) -> None:
        self._timer = None
        if self._deadline and now >= self._deadline:
            self._deadline_passed()
        elif self._phase == OPEN and self.options.idle_timeout and now >= self.seen + self.options.idle_timeout:
            self.lost(IdleTimeout(f"idle for {self.options.idle_timeout:g} s"))
        elif self._phase == OPEN and self._send_due and now >= self._send_due:
            self._check_sending()
        else:
            self._arm()

    def _limit_sending(self) -> None:
        """Give the peer its time to take some of what waits. What the kernel has and the peer's has not counts as
        waiting, too: the kernel takes more only when much of that has left, which a slow peer needs minutes for."""
        options, behind = self.options, self._behind()
        self._taken = behind
        self._send_goal = min(self.pending + behind, max(1, options.min_send_rate * options.send_timeout))
        self._send_due = monotonic() + options.send_timeout
        self._arm()

    def _check_sending(self) -> None:
        taken = self._taken - self._behind()
        if taken >= self._send_goal:
            self._limit_sending()
        else:
            text = f"{taken} bytes taken in {self.options.send_timeout:g} s, {self._send_goal:g} are required"
            self.lost(SendTimeout(text), reset=True)

    def _behind(self) -> int:
        """Bytes that are queued no more, and not with the peer's kernel either."""
        return in_flight(self.fd) + self.pending - (self._out.pending if self._out is not None else 0)

    def _deadline_passed(self) -> None:
        if self._phase == OPEN:
            self.lost(DeadlineExceeded("deadline passed"))
        elif self._phase == OPENING:
            self.lost(self._opening_timeout())
        else:
            self.lost(CloseTimeout(f"{self.pending} bytes not taken by the peer"))

    def _opening_timeout(self) -> BaseException:
        if self._mask in (NOT_POLLED, WRITE):
            return ConnectTimeout("no answer in time")
        return HandshakeTimeout("handshake not complete in time")

    # -- ending

    def _close(self, _: object) -> None:
        if self._phase == OPENING and self._out is not None:
            self._not_reading |= CLOSE_WHEN_OPEN  # dialled, written to and closed: the output is to arrive
        else:
            self._begin_close()

    def _begin_close(self) -> None:
        """Send what is queued, then close."""
        if self._phase == OPEN:
            self._phase = CLOSING
            if not self.loop.stopping:  # then the time that the whole server has is everybody's
                self._limit_closing()
            self._mark()
        elif self._phase == OPENING:
            self.lost(None)

    def _limit_closing(self) -> None:
        self._set_deadline(monotonic() + self.options.close_timeout)

    def _finish_close(self) -> None:
        """All output is with the kernel: say so to the peer, and close when it has."""
        in_flight = not self._not_reading & INPUT_ENDED and not (self.loop.stopping and nothing_in_flight(self.fd))
        if in_flight:
            self._linger(self._reason)
        else:
            self.lost(self._reason)

    def _linger(self, reason: BaseException | None) -> None:
        """End the connection, but let the peer receive what was sent before the descriptor is closed."""
        # Taken out of the poller, the peer has hung up: there is nobody to receive anything.
        if self._mask != NOT_POLLED and self._half_close():
            Linger.take_over(self.loop, self.fd, self._mask, monotonic() + self.options.close_timeout)
            self._end(reason)
        else:
            self.lost(reason)

    def _half_close(self) -> bool:
        """Send end-of-file. False if the peer is gone already."""
        try:
            half_close(self.fd)
        except OSError:
            return False
        return True

    def _finish_detach(self) -> None:
        self._leave()
        sock = self._detach_socket()
        self._end(None, fire=False)
        detached = self.loop.events.detached
        if detached is None:
            sock.close()
            return
        try:
            if detached(self, sock) is Action.SHUTDOWN:
                self.loop.request_stop()
        except BaseException as error:
            sock.close()
            self.loop.callback_failed(self, error)

    def _detach_socket(self) -> socket.socket:
        """The descriptor as a blocking socket."""
        sock = socket.socket(fileno=self._hand_over())
        sock.setblocking(True)
        return sock

    def _hand_over(self) -> int:
        """The descriptor, which is no longer ours."""
        return self.fd

    def _abort(self, _: object = None) -> None:
        self.lost(Aborted("aborted by the program"), reset=True)

    def lost(self, error: BaseException | None, reset: bool = False) -> None:
        """Close at once, for the reason ``error``; with ``reset`` the peer is sent a reset."""
        if self._phase == GONE:
            return
        if reset and self.fd >= 0:
            with borrowed(self.fd) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self._leave():
            self.loop.bury(self.fd)
        self._end(error)

    def _leave(self) -> bool:
        """Take the descriptor out of the loop. False if there is none, as while a name is looked up."""
        if self._mask == NOT_POLLED:
            self.loop.handlers.pop(self.fd, None)
        else:
            self.loop.remove(self.fd)
        return self.fd >= 0

    def _end(self, error: BaseException | None, fire: bool = True) -> None:
        opened = self._phase != OPENING
        self._phase = GONE
        self.plain = False
        if self._timer is not None:
            self.loop.cancel(self._timer)
            self._timer = None
        self.loop.ended += 1
        if not opened and self._origin.index >= 0:
            log.info("%r dropped before it opened: %s", self, error)
        elif fire and self.loop.events.closed is not None:
            self._fire_closed(error)
        if self._out is not None:  # until now ``pending`` said what did not leave
            self._out.clear()
            self._out = None

    def _fire_closed(self, error: BaseException | None) -> None:
        assert self.loop.events.closed is not None
        try:
            if self.loop.events.closed(self, error) is Action.SHUTDOWN:
                self.loop.request_stop()
        except BaseException as failure:
            self.loop.callback_failed(self, failure)

    def retire(self) -> None:
        if self._phase == OPEN and self.loop.events.retiring is not None:
            self._fire(self.loop.events.retiring)

    def close_if_quiet(self, since: float) -> None:
        if self._phase == OPEN and self._out is None and self.seen <= since:
            self.shut_down()

    def shut_down(self) -> None:
        self._serve_arrived()
        self._begin_close()

    def _serve_arrived(self) -> None:
        """Handle input that is here already: closed over it, the peer would see a reset instead of replies."""
        for _ in range(LAST_READS):
            before = self.loop.stats.bytes_in
            if self._phase == OPEN and self._mask > 0 and self._mask & READ:
                self._on_readable()
            if self.loop.stats.bytes_in == before:
                return

    def expire(self) -> None:
        self.lost(CloseTimeout(f"server stopped with {self.pending} bytes pending") if self.pending else None)

    def _in_loop(self, function: Callable[[Any], None]) -> None:
        if threading.get_ident() == self.loop.ident:
            function(None)
        else:
            self.loop.submit(function)
