"""A stream connection: its states, its input, its output, its end, and what callers see of it.

A connection is ``inline`` while it is open, its channel is the kernel's own, its input is wanted and nothing is queued;
the loop then serves it by itself. Every other situation comes through ``on_event`` and ``flush``, and ``_update``
decides after each change what to poll for and whether the loop may serve the connection again.

It has a channel, which is what lies between it and the kernel (:mod:`evio_core.loop.channel`); a queue of output while
something waits (:mod:`evio_core.buffers.output`); and time-outs while one is set (:mod:`.timeouts`).
"""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import Any, BinaryIO, cast, final, overload

from ..addresses.origin import Origin
from ..addresses.sockopt import apply_options, borrowed, half_close, peer_credentials
from ..buffers.output import FILE_TURN_SIZE, FileSpan, Output
from ..checks import not_negative
from ..errors import (
    Aborted,
    CloseTimeout,
    ConnectTimeout,
    DeadlineExceeded,
    HandshakeTimeout,
    OutputLimitExceeded,
    ServerStopped,
    TLSError,
)
from ..events import (
    Action,
    Buffer,
    Events,
    Options,
    PeerCredentials,
    Reply,
    Server,
    SocketAddress,
    TimerHandle,
)
from ..logs import log
from ..loop.admission import Admission
from ..loop.callbacks import data_callback, data_method, ignore, make_handler, methods_of
from ..loop.calls import Call
from ..loop.channel import Channel, Wire
from ..loop.loop import LARGE_READ_SIZE, READ_SIZE, Loop
from ..loop.polled import Polled
from ..loop.poller import ERROR, HANGUP, READ, WRITE
from ..loop.reply import parse_reply
from ..loop.turns import own_turns
from ..tls.channel import TLSChannel
from ..tls.session import TLSSession
from .answers import Answers
from .linger import Linger, nothing_in_flight, unread
from .state import (
    ADMITTED,
    AWAITING_HEADER,
    CLOSE,
    CLOSE_WHEN_OPEN,
    CLOSING,
    CLOSING_TURN,
    DETACH,
    DETACHED,
    DETACHING,
    DIRTY,
    END,
    END_OUTPUT,
    GONE,
    INPUT_ENDED,
    NOT_POLLED,
    NOT_READING,
    OPEN,
    OPENED,
    OPENING,
    OUTPUT_ENDED,
    OUTPUT_FAILED,
    PAUSED_BY_ANSWERS,
    PAUSED_BY_OUTPUT,
    PAUSED_BY_USER,
    START,
    START_TLS,
    TRANSITIONS,
    UPGRADING,
    WAKE_WHEN_DRAINED,
)
from .timeouts import Timeouts

__all__ = ["Connection"]

LAST_READS = 16
"""Reads that a connection gets when the server stops; more arrives for ever from a peer that streams."""

_NO_EVENTS = Events()
"""The callbacks of a connection that was refused."""


@final
class Connection(Polled):
    """A tcp, unix or tls stream; implements :class:`evio_core.events.Conn`."""

    __slots__ = (
        "_answers",
        "_calls",
        "_channel",
        "_local",
        "_mask",
        "_flags",
        "_origin",
        "_out",
        "_phase",
        "_reason",
        "_remote",
        "_submitted",
        "_timeouts",
        "_waking",
        "context",
        "events",
        "fd",
        "inline",
        "loop",
        "on_data",
        "options",
        "read_size",
        "seen",
        "subject",
    )

    def __init__(
        self, loop: Loop, fd: int, origin: Origin, remote: SocketAddress, channel: Channel, context: Any = None
    ) -> None:
        self.loop: Loop = loop
        self.fd: int = fd
        self.context: Any = context
        self.options: Options = origin.options
        self.inline: bool = False
        self.read_size: int = READ_SIZE
        self.seen: float = 0.0  # when bytes last moved; kept only while the loop has timers
        self._channel = channel
        self._origin = origin
        self._remote = remote
        self._local: SocketAddress = None
        self._phase = OPENING
        self._mask = NOT_POLLED
        self._flags = 0
        self._out: Output | None = None
        self._submitted = 0  # bytes that other threads have written and the loop has not seen yet
        self._waking = False
        self._timeouts: Timeouts | None = None
        self._reason: BaseException | None = None  # for `closed`, when it comes
        self._calls: set[Call] | None = None  # those to come
        self._answers: Answers | None = None  # while one of them is not there yet
        self.events: Events = loop.events  # the callbacks of this connection
        self.subject: Any = None
        self.on_data: Callable[[Any, Any], Reply] = ignore
        if origin.index < 0:
            self._bind()  # a dialled one may fail before it opens, which its handler is to hear

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
        loop = self.loop
        # Below the loop's number, so that no two loops have one in common.
        return loop.stats.turns << 16 | loop.index if loop.polls_together else next(own_turns)

    @property
    def remote_addr(self) -> SocketAddress:
        return self._remote

    @property
    def local_addr(self) -> SocketAddress:
        if self._local is None and self._has_descriptor:
            with borrowed(self.fd) as sock:
                self._local = sock.getsockname()
        return self._local

    @property
    def pending(self) -> int:
        answers = self._answers
        return self._unsent + self._submitted + (answers.held if answers is not None else 0)

    @property
    def _unsent(self) -> int:
        out = self._out  # once, as another thread may ask
        return self._channel.pending + (out.pending if out is not None else 0)

    @property
    def server(self) -> Server:
        return self.loop.server

    @property
    def scheme(self) -> str:
        return self._origin.scheme if self._channel.tls is None else "tls"

    @property
    def peer_credentials(self) -> PeerCredentials | None:
        return peer_credentials(self.fd) if self._has_descriptor else None

    @overload
    def socket_option(self, level: int, name: int) -> int: ...

    @overload
    def socket_option(self, level: int, name: int, size: int) -> bytes: ...

    def socket_option(self, level: int, name: int, size: int = 0) -> int | bytes:
        self._check_descriptor()
        with borrowed(self.fd) as sock:
            return sock.getsockopt(level, name, size) if size else sock.getsockopt(level, name)

    def set_socket_option(self, level: int, name: int, value: int | Buffer) -> None:
        self._check_descriptor()
        with borrowed(self.fd) as sock:
            sock.setsockopt(level, name, value)

    @property
    def _has_descriptor(self) -> bool:
        return self._phase != GONE and self.fd >= 0

    def _check_descriptor(self) -> None:
        if not self._has_descriptor:
            raise OSError(errno.EBADF, "the connection has no socket yet, or any more")

    @property
    def tls(self) -> ssl.SSLObject | None:
        return self._channel.tls

    @property
    def server_name(self) -> str | None:
        return self._channel.server_name

    def pause_reading(self) -> None:
        self._flags |= PAUSED_BY_USER
        self._update()

    def resume_reading(self) -> None:
        self._flags &= ~PAUSED_BY_USER
        self._update()

    def call_later(self, seconds: float, function: Callable[..., Reply], *arguments: Any) -> TimerHandle:
        if self._calls is None:
            self._calls = set()
        call = Call(self.loop, function, arguments, self._call, self._calls)
        if self._phase == GONE:
            call.cancel()
        else:
            call.begin(seconds)
        return call

    def _call(self, function: Callable[..., Reply], arguments: tuple[Any, ...]) -> None:
        if self._phase in (OPENING, OPEN):
            try:
                reply = function(*arguments)
                if reply is not None:
                    self.reply(reply)
            except BaseException as error:
                self.loop.callback_failed(self, error)

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

    def wake(self) -> None:
        if not self._waking:
            self._waking = True
            self.loop.submit(self._on_wake)

    def wake_when_drained(self) -> None:
        if self.pending:
            self._flags |= WAKE_WHEN_DRAINED
        else:
            self.wake()

    def write(self, data: Buffer | Future[Any]) -> None:
        if threading.get_ident() == self.loop.ident:
            self._write(data)
        else:
            if isinstance(data, Future):
                self.loop.submit(self._write, data)
                return
            chunk = bytes(memoryview(data))
            with self.loop.submitting:
                self._submitted += len(chunk)
            self.loop.submit(self._write_submitted, chunk)

    def run_in_thread(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self.loop.threads.submit(function, arguments)

    def send_file(self, file: int | BinaryIO, offset: int = 0, count: int | None = None, *, head: bytes = b"") -> None:
        if self.inline and self.loop.direct and count is not None and count > 0 and offset >= 0:
            sent = self._send_file_now(file, offset, count, head)
            if sent == len(head) + count:
                return
            head, sent = head[sent:], max(0, sent - len(head))
            offset, count = offset + sent, count - sent
        span = FileSpan(file, offset, count)
        if not self._takes_output():
            span.close()
            return
        self._write(head)
        if self._answers is not None:
            self._answers.put(self._append_file, span, 0)
        else:
            self._append_file(span)

    def start_tls(self, context: ssl.SSLContext | None = None, *, server_hostname: str | None = None) -> None:
        if self._phase not in (OPENING, OPEN):
            return
        if self._channel.tls is not None:
            raise RuntimeError("TLS has been started already")
        if self._flags & (INPUT_ENDED | END_OUTPUT | OUTPUT_ENDED | OUTPUT_FAILED):
            raise RuntimeError("TLS cannot be started once input or output has ended")
        if self._answers is not None:
            raise RuntimeError("TLS cannot be started while an answer is still to come")
        if context is not None:
            session = TLSSession(context, context.protocol == ssl.PROTOCOL_TLS_SERVER, server_hostname)
        elif self._origin.new_session is not None:
            session = self._origin.new_session()
        else:
            raise RuntimeError("TLS needs a tls address with starttls=true, or an ssl.SSLContext")
        self._upgrade(session)

    def shutdown_write(self) -> None:
        self._in_loop(self._shutdown_write)

    def close(self) -> None:
        self._in_loop(self._close)

    def abort(self) -> None:
        self._in_loop(self._abort)

    # -- what the core's other parts see

    @property
    def gone(self) -> bool:
        """True when the connection has ended."""
        return self._phase == GONE

    @property
    def is_open(self) -> bool:
        """True between ``opened`` and the decision to end."""
        return self._phase == OPEN

    @property
    def queued(self) -> int:
        """Bytes of output as they were written: not encrypted, not in a transport."""
        return self._out.pending if self._out is not None else 0

    # -- opening

    def _bind(self) -> None:
        """Make the handler, if it has one. Raises what that raises."""
        factory = self._origin.handler
        if factory is None:
            self.subject = self
            self.on_data = data_callback(self.events)
            return
        self.subject = handler = make_handler(factory, self, self.loop.wrap)
        self.events = methods_of(handler)
        self.on_data = data_method(handler)

    def await_header(self) -> None:
        """Wait for a PROXY header, which an earlier stage reads before it begins."""
        self._flags |= AWAITING_HEADER
        self.limit_opening(self.options.handshake_timeout)

    def _enter(self, admission: Admission) -> bool:
        """Be counted against the limits; False if there is no room. No event is fired then."""
        if admission.enter(self._remote):
            self._flags |= ADMITTED
            return True
        self.loop.stats.refused += 1
        self.events = _NO_EVENTS
        return False

    def begin(self) -> None:
        """Start on a connected descriptor. Raises ``OSError`` when it cannot be polled."""
        self._flags &= ~AWAITING_HEADER
        self._poll()
        self._open(b"")

    def use_descriptor(self, fd: int, mask: int) -> None:
        """Take ``fd``, which the handler of an earlier stage polls for ``mask``."""
        self.fd = fd
        self._mask = mask

    def set_addresses(self, remote: SocketAddress | None, local: SocketAddress | None) -> None:
        """Take the addresses a proxy has named, or that are being dialled; None keeps the socket's own."""
        self._remote = self._remote if remote is None else remote
        self._local = local

    def limit_opening(self, seconds: float) -> None:
        """End the connection unless it opens in time."""
        self._set_deadline(monotonic() + seconds)

    def _poll(self) -> None:
        """Become the handler of the descriptor, which the handler of an earlier stage may have polled."""
        if self.fd in self.loop.handlers:
            self.loop.handlers[self.fd] = self
            self.loop.poller.modify(self.fd, READ)
        else:
            self.loop.add(self.fd, self, READ)
        self._mask = READ

    def _open(self, data: Buffer) -> None:
        """Go on opening with this input."""
        try:
            done = self._channel.open(data)
        except TLSError as error:
            self._fail(error)
            return
        except BaseException as error:  # of a callback
            self.loop.callback_failed(self, error)
            return
        if done:
            if self._flush_channel():
                self._opened()
                if self._phase == OPEN and data:
                    self.feed(b"")  # more may have come together with the end of the handshake
            return
        if self._timeouts is None or not self._timeouts.has_deadline:
            self.limit_opening(self.options.handshake_timeout)
        self._continue_opening()

    def _continue_opening(self) -> None:
        """Send what opening asks for, waiting for room if a peer takes it in small bits."""
        if self._flush_channel() and self._mask != NOT_POLLED:
            want = READ | WRITE if self._channel.pending else READ
            if want != self._mask:
                self._mask = want
                self.loop.poller.modify(self.fd, want)

    def _flush_channel(self) -> bool:
        """False if the connection has failed."""
        try:
            self._channel.flush(self.fd)
        except OSError as error:
            self.drop(error)
            return False
        return True

    def _upgrade(self, session: TLSSession) -> None:
        """Have everything encrypted from here on; what is queued already leaves before the handshake, in plain."""
        out, self._out = self._out, None
        before = bytearray()
        while out is not None and (piece := out.take(FILE_TURN_SIZE)):
            before += piece
        self._channel = TLSChannel(session, cast(Wire, self._channel), before=before)
        if not self._advance(START):
            return  # a dialled one, whose handshake begins when it has connected
        self._flags |= UPGRADING | START_TLS
        if self._mask == NOT_POLLED:
            self.loop.poller.register(self.fd, READ)
        elif self._mask != READ:
            self.loop.poller.modify(self.fd, READ)
        self._mask = READ
        self.limit_opening(self.options.handshake_timeout)
        self._schedule_flush()

    def _opened(self) -> None:
        admitted, upgraded = True, self._flags & UPGRADING
        if upgraded:
            self._flags &= ~(UPGRADING | START_TLS)
        elif self._origin.index >= 0:
            admitted = self.loop.admission is None or self._enter(self.loop.admission)
            try:
                if admitted:
                    self._bind()
            except BaseException as error:
                self.loop.callback_failed(self, error)
                return
        event = self.events.secured if upgraded else self.events.opened
        self._advance(OPENED)
        if self._timeouts is not None:
            self._timeouts.set_deadline(0.0)
        self._start_idle_timer()
        if self._out is not None:
            self._schedule_flush()  # a dialled connection may be written to before it is open
        elif self._channel.pending:
            self._queue()  # the end of the handshake found no room
        if self._answers is not None:
            self.resume_output(self._answers)
        if self._flags & END_OUTPUT:
            self._schedule_flush()
        self._update()
        if self._flags & CLOSE_WHEN_OPEN:
            self._begin_close()
        if not admitted:
            self._write(self.options.refusal)
            self._begin_close()
        elif event is not None:
            self._fire(event)
        if self.loop.draining and not upgraded:
            self.retire()
        if self._waking:
            self.loop.submit(self._on_wake)  # woken before it was open
        # That of the handshake serves the time-outs set since, if there are any.
        if self._timeouts is not None and not self._timeouts.next():
            self._timeouts.cancel()
            self._timeouts = None

    # -- events

    def on_event(self, mask: int) -> None:
        if mask == READ == self._mask:
            self._on_readable()
            return
        if mask == WRITE and self._out is not None and self._out.sending is not None:
            self._send_more(self._out, self._out.sending)
            return
        if mask & WRITE:
            if self._phase == OPENING:
                self._continue_opening()
            elif self.loop.collecting:
                self._schedule_flush()
            else:
                self.flush()
        if mask & ~WRITE and self._phase != GONE:
            if self._mask & READ:
                self._on_readable()
            elif mask & (ERROR | HANGUP):
                self._on_hangup()

    def _on_readable(self) -> None:
        if self.options.reuse_input_buffer and self._channel.native:
            self._read_into_buffer()
            return
        try:
            data = os.read(self.fd, self.read_size)
        except OSError as error:
            self.read_failed(error)
            return
        if data:
            self.feed(data)
        else:
            self.feed_end()

    def _read_into_buffer(self) -> None:
        if sys.platform == "win32":
            raise NotImplementedError("native loops need a POSIX system")
        try:
            size = os.readv(self.fd, [self.loop.input_buffer])
        except OSError as error:
            self.read_failed(error)
            return
        if not size:
            self.feed_end()
            return
        view = memoryview(self.loop.input_buffer)[:size]
        self.feed(view)
        view.release()  # keeping it past the callback is an error, and now one that shows
        try:
            self.loop.input_buffer.append(0)  # a slice of it that was kept forbids that
            self.loop.input_buffer.pop()
        except BufferError:
            self.loop.input_buffer = bytearray(LARGE_READ_SIZE)  # the old one is the slice's, and stays as it is

    def feed(self, data: Buffer) -> None:
        """Take input of the kernel."""
        if self._phase == OPENING:
            self._open(data)
            return
        channel, loop = self._channel, self.loop
        try:
            chunk = channel.decode(data)
        except TLSError as error:
            self._fail(error)
            return
        if chunk:
            loop.stats.bytes_in += len(chunk)
            self.seen = loop.now
            if self._phase == OPEN:
                try:
                    if type(chunk) is bytes and self.options.reuse_input_buffer:
                        chunk = memoryview(chunk)
                    on_data = self.on_data
                    output = on_data(self.subject, chunk)
                    if (
                        type(output) is bytes
                        and self._out is None
                        and self._phase == OPEN
                        and self._answers is None
                        and loop.direct
                        and self.events.drained is None
                    ):
                        self._send_now(output)
                    elif output is not None:
                        self.reply(output)
                except BaseException as error:
                    loop.callback_failed(self, error)
                    return
        if channel.due and self._phase != GONE:
            if channel.pending and not self._flags & DIRTY:  # an answer of TLS itself, say, or what found no room
                self._queue()
                self._blocked(self._unsent)
            if channel.ended and not self.gone:
                self.input_ended()

    def read_failed(self, error: OSError) -> None:
        if not isinstance(error, BlockingIOError):
            self.drop(self._reason if self._flags & OUTPUT_FAILED else error)

    def feed_end(self) -> None:
        """Take note that the kernel has no more input."""
        error = None if self._phase == CLOSING or self._flags & OUTPUT_FAILED else self._channel.end_of_input()
        if error is None:
            self.input_ended()
        elif self._phase == OPENING:
            self.drop(error)
        else:
            self._reason = error
            self._flags |= INPUT_ENDED
            self._begin_close()

    def input_ended(self) -> None:
        self._flags |= INPUT_ENDED
        if self._flags & OUTPUT_FAILED:
            self.drop(self._reason)
        elif self._phase == CLOSING:
            self._schedule_flush()
        elif self.events.eof is None:
            self._begin_close()
        else:
            self._update()
            self._fire(self.events.eof)
            ending = self._answers is not None and self._answers.end is not None
            if ending or self._flags & (END_OUTPUT | OUTPUT_ENDED):
                self._begin_close()  # both directions have ended

    def _on_hangup(self) -> None:
        """Both directions are closed, or the connection failed, while we are not reading."""
        with borrowed(self.fd) as sock:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code and not self._flags & OUTPUT_FAILED:
            self._output_failed(OSError(code, os.strerror(code)))
        elif self._flags & INPUT_ENDED:
            error = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            self.drop(error if self._out is not None else self._reason)
        else:
            # Paused, with input still to be had: a hang-up is reported as long as the descriptor is polled,
            # whatever the interest, so it is polled again only when reading is resumed.
            self.loop.poller.unregister(self.fd)
            self._mask = NOT_POLLED
            if self._answers is not None:  # nobody is there to be answered
                self._cancel_answers()
                self._update()

    def _on_wake(self, _: object) -> None:
        if self._phase == OPENING or not self._waking:
            return  # `opened` comes first, and this after it
        self._waking = False
        if self._phase == OPEN and self.events.woken is not None:
            self._fire(self.events.woken)

    def _fire(self, callback: Callable[..., Reply], *arguments: Any) -> None:
        try:
            reply = callback(self, *arguments)
            if reply is not None:
                self.reply(reply)
        except BaseException as error:
            self.loop.callback_failed(self, error)

    def reply(self, reply: Reply) -> None:
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
        else:
            self._begin_detach()

    def _begin_detach(self, _: object = None) -> None:
        if self._answers is not None and self._phase == OPEN:
            self._end_behind(self._answers, self._begin_detach, closing=True)
        elif self._advance(DETACH):
            self._flags |= DETACHED
            self._update()  # at once: asyncio would go on reading, and that would be lost
            self._limit_closing()
            self._schedule_flush()

    # -- what to poll for

    def _advance(self, event: int) -> bool:
        """Enter the phase that the event leads to; False if it leads to none."""
        phase = TRANSITIONS.get((self._phase, event))
        if phase is None:
            return False
        self._phase = phase
        self.inline = False
        return True

    def _update(self) -> None:
        """Poll for what is wanted now."""
        phase = self._phase
        if phase == OPENING or phase == GONE:
            return
        # A closing connection reads on, to discard: its peer may have to finish sending before it receives.
        flags = self._flags
        blockers = flags & (INPUT_ENDED if phase == CLOSING else NOT_READING)
        want = (0 if blockers else READ) | (0 if self._out is None or flags & (DIRTY | OUTPUT_FAILED) else WRITE)
        if want != self._mask:
            if self._mask != NOT_POLLED:
                self.loop.poller.modify(self.fd, want)
                self._mask = want
            elif want:
                self.loop.poller.register(self.fd, want)
                self._mask = want
        self.inline = (
            want == READ
            and phase == OPEN
            and self.events.drained is None
            and self._answers is None
            and self._channel.native
            and not self.options.reuse_input_buffer
            and not flags & (DIRTY | OUTPUT_ENDED)
        )

    # -- output

    def _queue(self) -> Output:
        if self._out is None:
            self._out = Output()
        return self._out

    def _takes_output(self) -> bool:
        """True while it is open: from the dial on until the end of the turn in which it, or its output, was ended."""
        phase = self._phase
        if phase == OPENING:
            return not self._flags & (CLOSE_WHEN_OPEN | END_OUTPUT)
        if phase == OPEN:
            if self._answers is not None and self._answers.end is not None:
                return self._flags & CLOSING_TURN > 0
            return not self._flags & (OUTPUT_FAILED | OUTPUT_ENDED)
        return phase == CLOSING and self._flags & (CLOSING_TURN | OUTPUT_ENDED) == CLOSING_TURN

    def _write_submitted(self, data: bytes) -> None:
        self._write(data)
        with self.loop.submitting:
            self._submitted -= len(data)

    def _write(self, data: Buffer | Future[Any]) -> None:
        if not self._takes_output():
            if isinstance(data, Future):
                data.cancel()
        elif data:
            if isinstance(data, Future):
                self._defer(data)
            elif self._answers is not None:
                self._write_behind(self._answers, bytes(memoryview(data)))
            else:
                self._queue().append(data)
                self._schedule_flush()

    def _append_file(self, span: FileSpan) -> None:
        self._queue().append_file(span)
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        """Have ``flush`` called at the end of the turn."""
        self.inline = False
        if not self._flags & DIRTY:
            self._flags |= DIRTY
            self.loop.dirty.append(self)

    def _send_now(self, output: bytes) -> None:
        """Send a reply with nothing before it."""
        if self._flags & OUTPUT_ENDED:
            return
        try:
            sent = self._channel.send_now(self.fd, output)
        except OSError as error:
            self._output_failed(error)
            return
        self.loop.stats.bytes_out += sent
        if sent != len(output):
            self.write_rest(output, sent)

    def _send_file_now(self, file: int | BinaryIO, offset: int, count: int, head: bytes) -> int:
        """With nothing queued, send what the kernel takes: neither duplicate nor queue. Returns the bytes sent; why it
        were fewer comes up again when the rest is sent."""
        if sys.platform == "win32":
            raise NotImplementedError("native loops need a POSIX system")
        fd = file if isinstance(file, int) else file.fileno()
        most = count if count < FILE_TURN_SIZE else FILE_TURN_SIZE
        sent = 0
        try:
            if head:
                sent = os.write(self.fd, head)
            if sent == len(head):
                sent += os.sendfile(self.fd, fd, offset, most)
        except OSError:
            pass
        self.loop.stats.bytes_out += sent
        return sent

    def write_failed(self, error: OSError, output: bytes) -> None:
        if isinstance(error, BlockingIOError):
            self.write_rest(output, 0)
        else:
            self._output_failed(error)

    def _output_failed(self, error: OSError) -> None:
        """Writing has failed, or will. What the peer sent before it went, and the kernel still has, is the program's:
        it is delivered, as soon as the program reads, and then the connection ends with this error."""
        if self._phase != OPEN or not isinstance(error, ConnectionError) or not unread(self.fd):
            self.drop(error)
            return
        self._cancel_answers()
        self._reason = error
        self._flags = self._flags & ~PAUSED_BY_OUTPUT | OUTPUT_FAILED
        if self._out is not None:
            self._out.sending = None
        if self._timeouts is not None:
            self._timeouts.send_due = 0.0
        self._update()

    def pause_if_blocked(self) -> None:
        """Read no more over the high-water mark, before the flush would see to it: uvloop reads on in the same turn."""
        if self._phase == OPEN and self._flags & DIRTY and self._unsent > self.options.high_water:
            self._flags |= PAUSED_BY_OUTPUT
            self._update()

    def write_rest(self, output: bytes, sent: int) -> None:
        self._queue().append_rest(output, sent)
        self._blocked(self._unsent)

    def flush(self) -> None:
        """Send what is queued, then do what was waiting for that."""
        self._flags &= ~(DIRTY | CLOSING_TURN)
        phase = self._phase
        if phase == OPENING or phase == GONE:
            if self._flags & START_TLS:
                self._flags &= ~START_TLS
                self._open(b"")
            return
        if self.events.writable is not None and self._unsent > self.options.high_water:
            self._flags |= PAUSED_BY_OUTPUT  # its end, which may come at once, is to be told
        if self._flags & OUTPUT_FAILED:
            if phase != OPEN:
                self.drop(self._reason)
            return
        ending = self._flags & END_OUTPUT
        if ending:
            self._flags |= OUTPUT_ENDED
        out = self._out
        if out is not None:
            channel = self._channel
            try:
                sent = channel.send(self.fd, out, phase == CLOSING or ending > 0)
            except OSError as error:
                self._output_failed(error)
                return
            out.sending = out.file if channel.native and not self.loop.collecting else None
            timeouts = self._timeouts
            if sent:
                self.seen = self.loop.now
                self.loop.stats.bytes_out += sent
            pending = self._unsent
            if pending:
                if timeouts is not None:
                    timeouts.taken += sent
                self._blocked(pending)
                return
            self._out = None
            if timeouts is not None:
                timeouts.send_due = 0.0
        if ending and phase != CLOSING:
            self._end_output()
            if self._out is not None or self._phase == GONE:
                return
        if out is not None:
            self._flushed()
        if self._phase == OPEN:
            self._update()
        elif self._out is None:  # else `drained` has returned output with its action: the next flush is due
            if self._phase == CLOSING:
                self._finish_close()
            elif self._phase == DETACHING:
                self._finish_detach()

    def _send_more(self, out: Output, file: FileSpan) -> None:
        """Send more of a file, which the peer takes. What ``flush`` would do, in one piece: a large file drives all
        this out of the processor's caches each time, so it had better be little."""
        if sys.platform == "win32":
            raise NotImplementedError("native loops need a POSIX system")
        count = file.count
        try:
            sent = os.sendfile(self.fd, file.fd, file.offset, count if count < FILE_TURN_SIZE else FILE_TURN_SIZE)
        except OSError:
            sent = 0  # why, comes up again
        rest = count - sent
        file.offset += sent
        file.count = rest
        out.pending -= sent
        if self._timeouts is not None:
            self._timeouts.taken += sent
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
        if self._flags & PAUSED_BY_OUTPUT:
            self._flags &= ~PAUSED_BY_OUTPUT
            if self._phase == OPEN and self.events.writable is not None:
                self._fire(self.events.writable)
        if self._flags & WAKE_WHEN_DRAINED:
            self._flags &= ~WAKE_WHEN_DRAINED
            self.wake()
        if self._phase == OPEN and self.events.drained is not None:
            self._fire(self.events.drained)

    def _blocked(self, pending: int) -> None:
        """The kernel takes no more for now, and that many bytes are left."""
        options, before = self.options, self._flags
        if options.max_pending and pending > options.max_pending:
            self.drop(OutputLimitExceeded(f"{pending} bytes queued, {options.max_pending} allowed"), reset=True)
            return
        if options.send_timeout and (self._timeouts is None or not self._timeouts.send_due):
            self._needed_timeouts().limit_sending()
        if pending > options.high_water:
            self._flags |= PAUSED_BY_OUTPUT
        elif pending <= options.low_water:
            self._flags &= ~PAUSED_BY_OUTPUT
        if self._flags != before or self._phase != OPEN or not self._mask & WRITE:
            self._update()  # else all is as it was, as it mostly is for a large file
        self._channel.wait_for_room(self.fd)
        if before & ~self._flags & PAUSED_BY_OUTPUT and self._phase == OPEN and self.events.writable is not None:
            self._fire(self.events.writable)

    # -- answers that come later

    def _defer(self, future: Future[Any]) -> None:
        """Keep a place in the output for what comes later."""
        if self._phase == CLOSING:
            future.cancel()
            return
        if self._answers is None:
            self._answers = Answers(self)
            if self._flags & END_OUTPUT:  # of this very callback
                self._flags ^= END_OUTPUT
                self._answers.end = self._shutdown_write
        self._answers.add(future)
        self._answers_changed()

    def _write_behind(self, answers: Answers, data: bytes) -> None:
        answers.put(self._write, data, len(data))
        limit = self.options.max_pending
        if limit and answers.held > limit:
            self.drop(OutputLimitExceeded(f"{answers.held} bytes wait for an answer, {limit} allowed"), reset=True)
        else:
            self._answers_changed()

    def _end_behind(self, answers: Answers, end: Callable[[Any], object], closing: bool) -> None:
        """End the connection, or its output, once the answers have been given."""
        if not answers.closing:
            answers.end, answers.closing = end, closing
            self._flags |= CLOSING_TURN
            self._schedule_flush()
            self._answers_changed()

    def _answers_changed(self) -> None:
        """Read no more while too much waits."""
        if self._answers is not None and self._answers.full:
            self._flags |= PAUSED_BY_ANSWERS
        else:
            self._flags &= ~PAUSED_BY_ANSWERS
        self._update()

    def resume_output(self, answers: Answers) -> None:
        """Give the answers that have come, in their order."""
        if self._answers is answers and self._phase != OPENING:
            self._answers = None  # for the moment: what is due waits for nothing
            if not answers.settle():
                self._answers = answers
            self._answers_changed()

    def answer(self, future: Future[Any]) -> None:
        """Do what ``future``, which is done, says; a cancelled one says nothing."""
        if future.cancelled():
            return
        try:
            reply = future.result()
            if isinstance(reply, Future):
                raise TypeError(f"a Deferred results in what a callback may return, not in another one: {reply!r}")
            if reply is not None:
                self.reply(reply)
        except BaseException as error:
            self.loop.callback_failed(self, error)

    def _cancel_answers(self) -> None:
        answers, self._answers = self._answers, None
        self._flags &= ~PAUSED_BY_ANSWERS
        if answers is not None:
            answers.cancel()

    # -- time-outs

    def _needed_timeouts(self) -> Timeouts:
        if self._timeouts is None:
            self._timeouts = Timeouts(self)
        return self._timeouts

    def _set_deadline(self, when: float) -> None:
        """End at ``when`` (``time.monotonic``); 0 takes the deadline back."""
        if when or self._timeouts is not None:
            self._needed_timeouts().set_deadline(when)

    def _limit_closing(self) -> None:
        self._set_deadline(monotonic() + self.options.close_timeout)

    def _start_idle_timer(self) -> None:
        if self.options.idle_timeout:
            self.seen = monotonic()
            self._needed_timeouts().arm()

    def deadline_error(self) -> BaseException:
        """The error of a deadline that has passed in this phase."""
        if self._phase == OPEN:
            return DeadlineExceeded("deadline passed")
        if self._phase != OPENING:
            return CloseTimeout(f"{self.pending} bytes not taken by the peer")
        if self._mask in (NOT_POLLED, WRITE):
            return ConnectTimeout("no answer in time")
        awaited = "no PROXY header" if self._flags & AWAITING_HEADER else "handshake not complete"
        return HandshakeTimeout(f"{awaited} in time")

    # -- ending

    def _shutdown_write(self, _: object) -> None:
        phase = self._phase
        if phase not in (OPENING, OPEN) or self._flags & (END_OUTPUT | OUTPUT_ENDED | OUTPUT_FAILED):
            return
        if self._flags & INPUT_ENDED:
            self._begin_close()  # both directions have ended
            return
        if self._answers is not None:
            self._end_behind(self._answers, self._shutdown_write, closing=False)
            return
        self._flags |= END_OUTPUT
        if phase == OPEN:
            self._schedule_flush()

    def _end_output(self) -> None:
        """All output is with the kernel: announce its end, by end-of-file, or over TLS by ``close_notify`` alone, as
        the socket may still have to carry what TLS itself has to say."""
        self._flags &= ~END_OUTPUT
        channel = self._channel
        if channel.tls is None:
            self._half_close()  # in vain if the peer is gone, which the input then says
        elif channel.finish():
            try:
                channel.flush(self.fd)
            except OSError as error:
                self._output_failed(error)
                return
            if channel.pending:
                self._queue()
                self._blocked(self._unsent)

    def _close(self, _: object) -> None:
        if self._phase == OPENING and (self._out is not None or self._answers is not None):
            self._flags |= CLOSE_WHEN_OPEN  # dialled, written to and closed: the output is to arrive
        else:
            self._begin_close()

    def _begin_close(self, _: object = None) -> None:
        """Send what is queued, then close."""
        if self._answers is not None and self._phase == OPEN:
            self._end_behind(self._answers, self._begin_close, closing=True)
        elif self._advance(CLOSE):
            if not self.loop.stopping:  # then the time that the whole server has is everybody's
                self._limit_closing()
            self._flags |= CLOSING_TURN
            self._schedule_flush()
        elif self._phase == OPENING:
            self.drop(None)

    def _finish_close(self) -> None:
        """All output is with the kernel: say so to the peer, and close when it has."""
        if self._channel.finish():
            self._queue()
            self.flush()  # comes back here once it has left
            return
        in_flight = not self._flags & INPUT_ENDED and not (self.loop.stopping and nothing_in_flight(self.fd))
        if in_flight:
            self._linger(self._reason)
        else:
            self.drop(self._reason)

    def _fail(self, error: BaseException) -> None:
        """The peer has broken the protocol: send it what there is to say, and end."""
        with suppress(OSError):  # the reason to report is the first error
            self._channel.flush(self.fd)
        self._linger(error)  # a reset could overtake the alert

    def _linger(self, reason: BaseException | None) -> None:
        """End the connection, but let the peer receive what was sent before the descriptor is closed."""
        # Taken out of the poller, the peer has hung up: there is nobody to receive anything.
        if self._mask != NOT_POLLED and self._half_close():
            Linger.take_over(self.loop, self.fd, self._mask, monotonic() + self.options.close_timeout)
            self._end(reason)
        else:
            self.drop(reason)

    def _half_close(self) -> bool:
        """Send end-of-file. False if the peer is gone already."""
        try:
            half_close(self.fd)
        except OSError:
            return False
        return True

    def _finish_detach(self) -> None:
        self._leave()
        sock = self._channel.detach(self.fd)
        self._end(None, fire=False)
        detached: Callable[..., object] | None = self.events.detached
        try:
            if detached is None:
                sock.close()
            elif detached(self, sock) is Action.SHUTDOWN:
                self.loop.request_stop()
        except BaseException as error:
            sock.close()
            self.loop.callback_failed(self, error)
        self._forget()

    def _abort(self, _: object = None) -> None:
        self.drop(Aborted("aborted by the program"), reset=True)

    def drop(self, error: BaseException | None, reset: bool = False) -> None:
        """Close at once, for the reason ``error``; with ``reset`` the peer is sent a reset."""
        if self._phase == GONE:
            return
        if reset and self.fd >= 0:
            with borrowed(self.fd) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self._leave():
            self.loop.close_later(self.fd)
        self._end(error)

    def _leave(self) -> bool:
        """Take the descriptor out of the loop. False if there is none, as while a name is looked up."""
        if self._mask == NOT_POLLED:
            handler = self.loop.handlers.pop(self.fd, None)
            if handler is not None:
                handler.abandon()
        else:
            self.loop.remove(self.fd)
        return self.fd >= 0

    def _end(self, error: BaseException | None, fire: bool = True) -> None:
        opened = self._phase != OPENING or self._flags & UPGRADING
        self._advance(END)
        if self._timeouts is not None:
            self._timeouts.cancel()
            self._timeouts = None
        if self._channel.pending:
            self._channel.discard()
        if self._answers is not None:
            self._answers.cancel()
        self.loop.ended += 1
        if self._flags & ADMITTED and self.loop.admission is not None:
            self.loop.admission.leave(self._remote)
        if not opened and error is not None:
            self._count_failure()
        if not opened and self._origin.index >= 0:
            log.info("%r dropped before it opened: %s", self, error)
        elif fire and self.events.closed is not None:
            self._fire_closed(self.events.closed, error)
        if self._out is not None:  # until now ``pending`` said what did not leave
            self._out.clear()
            self._out = None
        self._answers = None
        if fire:
            self._forget()

    def _forget(self) -> None:
        """Let go of the callbacks, as no event comes any more: bound to this connection, they would keep it alive until
        the garbage is collected."""
        self.on_data = ignore
        self.subject = None
        for call in list(self._calls or ()):
            call.cancel()

    def _count_failure(self) -> None:
        """Count a connection that has failed before it opened."""
        stats = self.loop.stats
        if self._origin.index < 0:
            stats.dial_errors += 1
        elif self._flags & AWAITING_HEADER:
            stats.proxy_errors += 1
        elif self._channel.tls is not None:
            stats.handshake_errors += 1

    def _fire_closed(self, closed: Callable[..., object], error: BaseException | None) -> None:
        try:
            if closed(self, error) is Action.SHUTDOWN:
                self.loop.request_stop()
        except BaseException as failure:
            self.loop.callback_failed(self, failure)

    def retire(self) -> None:
        if self._phase == OPEN and self.events.retiring is not None:
            self._fire(self.events.retiring)

    def close_if_quiet(self, since: float) -> None:
        if self._phase == OPEN and self._out is None and self._answers is None and self.seen <= since:
            self.shut_down()

    def shut_down(self) -> None:
        if self._phase == OPENING:
            self.close_now()
        self._serve_arrived()
        if not self._goes_on():
            self._begin_close()

    def _goes_on(self) -> bool:
        """Ask the program whether something is under way."""
        stopping = self.events.stopping
        if stopping is None or self._phase != OPEN:
            return False
        try:
            return stopping(self)
        except BaseException as error:
            self.loop.callback_failed(self, error)
            return False

    def _serve_arrived(self) -> None:
        """Handle input that is here already: closed over it, the peer would see a reset instead of replies."""
        if not self._channel.reads:
            return  # asyncio has read it already, or will not say whether there is any
        for _ in range(LAST_READS):
            before = self.loop.stats.bytes_in
            if self._phase == OPEN and self._mask & READ:
                self._on_readable()
            if self.loop.stats.bytes_in == before:
                return

    def close_now(self) -> None:
        kind = ServerStopped if self._phase == OPENING else CloseTimeout
        self.drop(kind(f"server stopped with {self.pending} bytes pending") if self.pending else None)

    def _in_loop(self, function: Callable[[Any], None]) -> None:
        if threading.get_ident() == self.loop.ident:
            function(None)
        else:
            self.loop.submit(function)
