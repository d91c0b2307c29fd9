"""UDP: one event per datagram, one datagram per output."""

from __future__ import annotations

import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, overload

from ..addresses.origin import Origin
from ..events import Action, Buffer, Handler, Reply, Server, SocketAddress, TimerHandle
from ..logs import LogLimit, log
from ..loop.callbacks import make_handler
from ..loop.calls import Call
from ..loop.loop import Loop
from ..loop.polled import Polled
from ..loop.poller import READ, WRITE
from ..loop.reply import parse_reply
from .conn import DatagramConn
from .pktinfo import ANCILLARY_SIZE, Ancillary, PacketInfo, Path

__all__ = ["DATAGRAMS_PER_TURN", "DatagramPeer", "DatagramSocket"]

DATAGRAMS_PER_TURN = 64

LARGEST_DATAGRAM = 65535


class DatagramSocket(Polled):
    """A bound UDP socket. What the kernel does not take at once waits, up to ``high_water`` bytes; what is
    beyond that is dropped and counted, as a router would."""

    __slots__ = (
        "_dirty",
        "_info",
        "_limit",
        "_loop",
        "_mask",
        "_origin",
        "_out",
        "_queued",
        "_receiving",
        "_sock",
        "submitted",
    )

    def __init__(self, loop: Loop, sock: socket.socket, origin: Origin) -> None:
        self._loop = loop
        self._sock = sock
        self._origin = origin
        self._info = PacketInfo.of(sock)
        self._out: deque[tuple[bytes, SocketAddress, Ancillary | None]] = deque()
        self._queued = 0
        self.submitted: int = 0
        """Bytes that other threads have written and the loop has not seen yet."""
        self._dirty = False
        self._receiving = True
        self._limit = LogLimit()
        self._mask = READ

    def start(self) -> None:
        """Begin to receive. Raises ``OSError`` when the socket cannot be polled."""
        self._loop.add(self._sock.fileno(), self, READ)

    @property
    def origin(self) -> Origin:
        return self._origin

    @property
    def loop(self) -> Loop:
        return self._loop

    @property
    def name(self) -> SocketAddress:
        return None if self._sock.fileno() < 0 else self._sock.getsockname()

    @property
    def is_open(self) -> bool:
        """True until the server stops."""
        return self._sock.fileno() >= 0

    @property
    def queued(self) -> int:
        """Bytes written and not yet handed to the kernel."""
        return self._queued + self.submitted

    def option(self, level: int, name: int, size: int) -> int | bytes:
        """A socket option, as ``socket.getsockopt``. Raises ``OSError``."""
        return self._sock.getsockopt(level, name, size) if size else self._sock.getsockopt(level, name)

    def on_event(self, mask: int) -> None:
        if mask & WRITE:
            if self._loop.collecting:
                self._mark()
            else:
                self.flush()
        if mask & ~WRITE and self._receiving:
            self._receive()

    def _receive(self) -> None:
        stats, info = self._loop.stats, self._info
        path = None
        for _ in range(DATAGRAMS_PER_TURN):
            try:
                if info is None or sys.platform == "win32":
                    chunk, remote = self._sock.recvfrom(LARGEST_DATAGRAM)
                else:
                    chunk, ancillary, _, remote = self._sock.recvmsg(LARGEST_DATAGRAM, ANCILLARY_SIZE)
                    path = info.path(ancillary)
            except BlockingIOError:
                return
            except OSError as error:  # an ICMP error that an earlier datagram provoked
                log.debug("receiving on %s: %s", self._origin.name, error)
                continue
            stats.datagrams_in += 1
            stats.bytes_in += len(chunk)
            self.deliver(DatagramPeer(self, remote, path), chunk)
            if self._sock.fileno() < 0:
                return

    def deliver(self, peer: DatagramPeer, chunk: bytes) -> None:
        """Call ``data`` for a datagram and do what it returns."""
        factory, data = self._origin.handler, self._loop.events.data
        try:
            if factory is not None:
                peer.handler = handler = make_handler(factory, peer, self._loop.wrap)
                peer.reply(handler.data(chunk))
            elif data is not None:
                peer.reply(data(peer, chunk))
        except BaseException as error:
            self._loop.callback_failed(peer, error)

    def woken(self, peer: DatagramPeer) -> None:
        """Call ``woken`` and do what it returns."""
        handler, woken = peer.handler, self._loop.events.woken
        try:
            if handler is not None:
                peer.reply(handler.woken())
            elif woken is not None:
                peer.reply(woken(peer))
        except BaseException as error:
            self._loop.callback_failed(peer, error)

    def send(self, data: bytes, remote: SocketAddress, ancillary: Ancillary | None) -> None:
        """Send one datagram now or, if it has to wait, in order."""
        if self._loop.collecting or self._out or not self._send_now(data, remote, ancillary):
            self._enqueue(data, remote, ancillary)

    def _send_now(self, data: bytes, remote: SocketAddress, ancillary: Ancillary | None) -> bool:
        """False if the kernel has no room."""
        if self._sock.fileno() < 0:
            return True
        try:
            if ancillary and sys.platform != "win32":
                self._sock.sendmsg((data,), ancillary, 0, remote)
            else:
                self._sock.sendto(data, remote)
        except BlockingIOError:
            return False
        except OSError as error:
            if self._limit.allows():
                text = "cannot send %d bytes from %s to %s: %s%s"
                log.warning(text, len(data), self._origin.name, remote, error, self._limit.left_out())
            self._loop.stats.datagrams_dropped += 1
            return True
        self._loop.stats.datagrams_out += 1
        self._loop.stats.bytes_out += len(data)
        return True

    def _enqueue(self, data: bytes, remote: SocketAddress, ancillary: Ancillary | None) -> None:
        if self._queued and self._queued + len(data) > self._origin.options.high_water:
            self._loop.stats.datagrams_dropped += 1
            return
        self._out.append((data, remote, ancillary))
        self._queued += len(data)
        self._mark()

    def _mark(self) -> None:
        if not self._dirty:
            self._dirty = True
            self._loop.dirty.append(self)

    def flush(self) -> None:
        """Send what is queued, as far as the kernel takes it."""
        self._dirty = False
        while self._out and self._send_now(*self._out[0]):
            self._queued -= len(self._out.popleft()[0])
        if self._sock.fileno() < 0:
            return
        if self._loop.stopping and not self._out:
            self.close_now()
            return
        mask = (READ if self._receiving else 0) | (WRITE if self._out else 0)
        if mask != self._mask:
            self._loop.poller.modify(self._sock.fileno(), mask)
            self._mask = mask

    def stop_accepting(self) -> None:
        """Receive no more, and stay for late answers: the datagrams that wait are the replacement's."""
        self._receiving = False
        self.flush()

    def shut_down(self) -> None:
        self.stop_accepting()

    def close_now(self) -> None:
        """Close."""
        self._loop.remove(self._sock.fileno())
        self._sock.close()


class DatagramPeer(DatagramConn):
    """The sender of a datagram; implements :class:`evio_core.events.Conn`."""

    __slots__ = ("_ancillary", "_local", "_remote", "_socket", "_waking", "context", "handler")

    def __init__(self, sock: DatagramSocket, remote: SocketAddress, path: Path | None) -> None:
        """``path``: our end, where the socket has several."""
        self.context: Any = None
        self.handler: Handler | None = None
        if path is None:
            self._local = self._ancillary = None
        else:
            self._local, self._ancillary = path
        self._socket = sock
        self._remote = remote
        self._waking = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._socket.origin.name} from {self._remote!r}>"

    @property
    def addr_index(self) -> int:
        return self._socket.origin.index

    @property
    def loop_index(self) -> int:
        return self._socket.loop.index

    @property
    def local_addr(self) -> SocketAddress:
        return self._socket.name if self._local is None else self._local

    @property
    def remote_addr(self) -> SocketAddress:
        return self._remote

    @property
    def pending(self) -> int:
        return self._socket.queued

    @property
    def server(self) -> Server:
        return self._socket.loop.server

    @overload
    def socket_option(self, level: int, name: int) -> int: ...

    @overload
    def socket_option(self, level: int, name: int, size: int) -> bytes: ...

    def socket_option(self, level: int, name: int, size: int = 0) -> int | bytes:
        return self._socket.option(level, name, size)

    def set_socket_option(self, level: int, name: int, value: int | Buffer) -> None:
        raise TypeError("the socket of a datagram peer is everybody's: no option of it can be set for one")

    def write(self, data: Buffer | Future[Any]) -> None:
        if isinstance(data, Future):
            data.add_done_callback(lambda future: self._socket.loop.submit(self._answer, future))
            return
        datagram = bytes(memoryview(data))
        if threading.get_ident() == self._socket.loop.ident:
            self._socket.send(datagram, self._remote, self._ancillary)
        else:
            with self._socket.loop.submitting:
                self._socket.submitted += len(datagram)
            self._socket.loop.submit(self._write_submitted, datagram)

    def _write_submitted(self, datagram: bytes) -> None:
        self._socket.send(datagram, self._remote, self._ancillary)
        with self._socket.loop.submitting:
            self._socket.submitted -= len(datagram)

    def run_in_thread(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self._socket.loop.threads.submit(function, arguments)

    def _answer(self, future: Future[Any]) -> None:
        if self._socket.is_open and not future.cancelled():
            try:
                self.reply(future.result())
            except BaseException as error:
                self._socket.loop.callback_failed(self, error)

    def wake(self) -> None:
        if not self._waking:
            self._waking = True
            self._socket.loop.submit(self._on_wake)

    def _on_wake(self, _: object) -> None:
        self._waking = False
        if self._socket.is_open:
            self._socket.woken(self)

    def reply(self, reply: Reply) -> None:
        """Do what a callback returned. There is nothing to close; detaching raises ``TypeError``."""
        output, action = parse_reply(reply)
        if isinstance(output, Future):
            self.write(output)
        elif output is not None:
            self._socket.send(bytes(output), self._remote, self._ancillary)
        if action is Action.SHUTDOWN:
            self._socket.loop.request_stop()
        elif action is Action.DETACH:
            raise TypeError("a datagram peer has no socket of its own to detach")

    def drop(self, error: BaseException | None) -> None:
        """A callback failed: there is nothing to end."""

    def close(self) -> None:
        """Nothing to close."""

    def abort(self) -> None:
        """Nothing to reset."""

    def pause_reading(self) -> None:
        raise TypeError("one peer of many on a socket cannot be paused")

    def resume_reading(self) -> None:
        raise TypeError("one peer of many on a socket cannot be paused")

    def call_later(self, seconds: float, function: Callable[..., Reply], *arguments: Any) -> TimerHandle:
        call = Call(self._socket.loop, function, arguments, self._call)
        call.begin(seconds)
        return call

    def _call(self, function: Callable[..., Reply], arguments: tuple[Any, ...]) -> None:
        if self._socket.is_open:
            try:
                self.reply(function(*arguments))
            except BaseException as error:
                self._socket.loop.callback_failed(self, error)

    def set_deadline(self, seconds: float | None) -> None:
        raise TypeError("a datagram peer is no connection: it has no deadline")

    def configure(self, **options: Any) -> None:
        raise TypeError("a datagram peer has no options")
