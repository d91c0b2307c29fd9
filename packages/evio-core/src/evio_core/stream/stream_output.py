"""A stream connection's output: at once where that can be, else queued until the peer takes it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

from ..buffers.output import FILE_TURN_SIZE, FileSpan, Output
from ..errors import OutputLimitExceeded
from ..events import Buffer, Reply
from ..loop.poller import WRITE
from .stream import CLOSE_WHEN_OPEN, CLOSING, DETACHING, GONE, OPEN, OPENING, PAUSED_BY_OUTPUT
from .timeouts import TimedStream

__all__ = ["WritingStream"]


class WritingStream(TimedStream):
    """A stream that is written to."""

    __slots__ = ()

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

    # -- what follows when the peer takes it, and when it does not

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

    def _fire(self, callback: Callable[..., Reply], *arguments: Any) -> None:
        try:
            reply = callback(self, *arguments)
            if reply is not None:
                self.reply(reply)
        except BaseException as error:
            self.loop.callback_failed(self, error)

    def wake(self) -> None:
        if not self._waking:
            self._waking = True
            self.loop.submit(self._on_wake)

    def wake_when_drained(self) -> None:
        if self.pending:
            self._wake_drained = True
        else:
            self.wake()

    def _on_wake(self, _: object) -> None:
        if self._phase == OPENING or not self._waking:
            return  # `opened` comes first, and this after it
        self._waking = False
        if self._phase == OPEN and self.loop.events.data is not None:
            self._fire(self.loop.events.data, b"")
