"""A stream connection: its beginning, its input, and what callers see of it. Below it are its output and its end."""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from ..addresses.sockopt import apply_options, borrowed
from ..events import Action, Buffer, Reply, SocketAddress
from ..loop.poller import ERROR, HANGUP, READ, WRITE
from ..loop.reply import parse_reply
from .stream import CLOSE_WHEN_OPEN, CLOSING, DETACHED, DETACHING, GONE, INPUT_ENDED, NOT_POLLED, OPEN, PAUSED_BY_USER
from .stream_ending import EndingStream

if TYPE_CHECKING:
    import ssl

__all__ = ["Connection"]

LAST_READS = 16
"""How many reads a connection gets when the server stops; more arrives for ever from a peer that streams."""


class Connection(EndingStream):
    """A tcp or unix stream; implements :class:`evio_core.events.Conn`."""

    __slots__ = ()

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
    def tls(self) -> ssl.SSLObject | None:
        return None

    @property
    def server_name(self) -> str | None:
        return None

    def pause_reading(self) -> None:
        self._stop_reading(PAUSED_BY_USER)

    def resume_reading(self) -> None:
        self._read_again(PAUSED_BY_USER)

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

    def set_proxied(self, remote: SocketAddress | None, local: SocketAddress | None) -> None:
        """Take the addresses a proxy has named; None keeps the socket's own."""
        self._remote = self._remote if remote is None else remote
        self._local = local

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
