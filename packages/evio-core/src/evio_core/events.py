"""The contract: everything a program built on evio has to know.

A program fills an :class:`Events` with callbacks and gives it to :func:`evio_core.serve`::

    from evio_core import Events, serve

    def data(conn, chunk):
        return chunk

    serve(Events(data=data), "tcp://localhost:5000")

Callbacks run on the loop that owns the connection, one at a time, and must not block: while one runs,
no other connection of that loop moves. With ``num_loops`` above 1, callbacks of connections on different
loops run at the same time in different threads.

A callback returns what it wants done: nothing, bytes to send, an :class:`Action`, or
``(bytes, Action)``; output is always sent before the action is taken. In the place of bytes there may be a
:class:`Deferred`, for output that comes later.

A protocol with state is a class, of which each connection has an instance, and each address may have a class of its
own (:class:`Handler`)::

    class Echo(Handler):
        def data(self, chunk):
            return chunk

    serve({"tcp://localhost:5000": Echo, "unix:///run/admin.sock": Admin})
"""

from __future__ import annotations

import enum
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, NamedTuple, Protocol, TypeAlias, overload

from .checks import check_value

__all__ = [
    "Action",
    "Buffer",
    "Conn",
    "Events",
    "Handler",
    "HasFileno",
    "HandlerFactory",
    "Listening",
    "LoadBalance",
    "LoopStats",
    "Options",
    "PeerCredentials",
    "Reply",
    "Server",
    "SocketAddress",
    "Stats",
    "TickReply",
    "TimerHandle",
    "Watch",
]

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Anything that can be sent. A ``bytearray`` or ``memoryview`` is copied if it has to be queued."""

SocketAddress: TypeAlias = Any
"""An address as ``socket.getsockname`` gives it: ``(host, port)`` for IPv4, ``(host, port, flowinfo,
scope_id)`` for IPv6, a path (``str``) or an abstract name (``bytes``) for unix sockets."""


class PeerCredentials(NamedTuple):
    """The process at the other end of a unix socket, as it was when it connected (``SO_PEERCRED``, unix(7))."""

    pid: int
    uid: int
    """Its effective user..."""
    gid: int
    """...and group."""


class Action(enum.Enum):
    """The fate of a connection, or of the server, after a callback."""

    NONE = "none"
    """Nothing; the same as returning no action."""

    DETACH = "detach"
    """Send pending output, then give the socket to ``detached`` and forget the connection."""

    CLOSE = "close"
    """Send pending output, then close. Input that arrives meanwhile is discarded."""

    SHUTDOWN = "shutdown"
    """Stop the whole server: accept no more, send pending output, fire every ``closed``, return."""


class LoadBalance(enum.Enum):
    """The way in which a new connection is given to one of several loops."""

    RANDOM = "random"
    """Any loop with equal probability."""

    ROUND_ROBIN = "round-robin"
    """Loops in turn: with L loops and N connections each loop has been given N/L, rounded up or down."""

    LEAST_CONNECTIONS = "least-connections"
    """The loop with the fewest open connections; the lowest ``loop_index`` of several equal ones."""


Reply: TypeAlias = Buffer | Action | Future[Any] | tuple[Buffer | Future[Any] | None, Action] | None
"""The result of a connection's callback. A future (:class:`Deferred`, or one of an executor) is output that comes
later."""

TickReply: TypeAlias = float | Action | tuple[float, Action] | None
"""The result of ``tick``: seconds until the next tick, an action, or both; ``None`` ends the ticking."""


LARGEST = {
    "tcp_keepalive": 32767,
    "tcp_keepalive_interval": 32767,
    "tcp_keepalive_count": 127,
    "tcp_user_timeout": (2**31 - 1) // 1000,
    "tos": 255,
    "send_buffer": 2**31 - 1,
    "receive_buffer": 2**31 - 1,
}
"""Limits of the kernel: of Linux's probes (``MAX_TCP_KEEPIDLE`` and those beside it), an octet of the IP header, and
the C ``int`` of ``setsockopt``, which counts milliseconds for ``TCP_USER_TIMEOUT``."""

NEEDS = {
    "tcp_keepalive_interval": "TCP_KEEPINTVL",
    "tcp_keepalive_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
    "tos": "IP_TOS",
}
"""Socket options that not every system has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of a connection. ``Events.options`` holds the defaults, ``Conn.configure`` changes them for
    one connection. Times are in seconds, sizes in bytes; 0 means "none" or "the kernel's default".

    Of the socket:

    - ``tcp_nodelay``: send small output at once
    - ``tcp_keepalive``, ``tcp_keepalive_interval``, ``tcp_keepalive_count``: probe a silent peer after a time, then at
      this interval, so many times
    - ``tcp_user_timeout``: the time that sent data may stay unacknowledged
    - ``tos``: the traffic class of what is sent
    - ``send_buffer``, ``receive_buffer``: the kernel's buffers

    Of time:

    - ``idle_timeout``: the time over which nothing may move
    - ``send_timeout``, ``min_send_rate``: a time in which the peer has to take some of waiting output, and how much
    - ``handshake_timeout``: the time of the TLS handshake and the PROXY header
    - ``close_timeout``: the time that a closing connection has

    Of memory:

    - ``high_water``, ``low_water``: no input is read with more output pending than this, until no more than this is
    - ``max_pending``: a connection with more output pending is dropped
    - ``max_deferred``: answers that may be on their way before no more input is read
    - ``reuse_input_buffer``: hand ``data`` a ``memoryview`` of one buffer instead of bytes

    Of all connections together:

    - ``max_connections``, ``max_connections_per_address``: connections that may be open at a time
    - ``refusal``: bytes to send to those that are one too many
    """

    tcp_nodelay: bool = True
    """Send small output at once instead of waiting to fill a segment (``TCP_NODELAY``)."""

    tcp_keepalive: float = 0.0
    """Probe a silent peer after this time (``TCP_KEEPIDLE``), and then at this interval, unless there is another one;
    rounded up to whole seconds."""

    tcp_keepalive_interval: float = 0.0
    """Seconds between probes (``TCP_KEEPINTVL``), rounded up to whole ones; 0: ``tcp_keepalive``."""

    tcp_keepalive_count: int = 0
    """Probes without an answer that end the connection (``TCP_KEEPCNT``)."""

    tcp_user_timeout: float = 0.0
    """Seconds that sent data may stay unacknowledged before the kernel ends the connection with ``ETIMEDOUT``
    (``TCP_USER_TIMEOUT``, RFC 5482). Linux alone."""

    tos: int = 0
    """The traffic class of what is sent over IP (``IP_TOS``, ``IPV6_TCLASS``): four times the DSCP (RFC 2474)."""

    reuse_input_buffer: bool = False
    """Hand ``data`` a ``memoryview`` that is valid until it returns, rather than ``bytes`` of its own. Using it later
    raises ``ValueError``; slices of it stay as they are, at the cost of a new buffer for the loop."""

    idle_timeout: float = 0.0
    """End a connection over which no byte was received or sent for this time."""

    send_timeout: float = 0.0
    """While output waits, the peer has to take some of it in each such time, whatever it sends meanwhile..."""

    min_send_rate: int = 0
    """...and at least this many bytes a second, or all there is. A peer that does not is reset (``SendTimeout``)."""

    handshake_timeout: float = 10.0
    """Seconds that the TLS handshake and the PROXY header may take, together."""

    close_timeout: float = 5.0
    """Seconds that a closing connection may take to deliver its output and to see the peer's end of input."""

    high_water: int = 256 * 1024
    """With more output pending than this, no more input is read from the connection..."""

    low_water: int = 64 * 1024
    """...until no more than this is pending."""

    max_pending: int = 256 * 1024 * 1024
    """With more output pending than this, the connection is dropped (``OutputLimitExceeded``)."""

    max_deferred: int = 1
    """Answers that may be on their way (:class:`Deferred`); with so many, no more input is read. With 1, ``data`` is
    not called again before the answer is there. 0: any number, with ``high_water`` bytes of output behind them."""

    max_connections: int = 0
    """Connections that may be open at a time, those of all addresses together; dialled ones do not count. Set in
    ``Events.options``, as the next two are, for each process."""

    max_connections_per_address: int = 0
    """Connections that may be open at a time from one IP address, or of one that a PROXY header names."""

    refusal: bytes = b""
    """Sent to one too many before it is closed, over TLS after the handshake. Such a one fires no event, and is counted
    (``LoopStats.refused``)."""

    send_buffer: int = 0
    """``SO_SNDBUF``."""

    receive_buffer: int = 0
    """``SO_RCVBUF``."""

    def __post_init__(self) -> None:
        for each in fields(self):
            check_value(each.name, getattr(self, each.name), type(each.default))
        for name, limit in LARGEST.items():
            if getattr(self, name) > limit:
                raise ValueError(
                    f"{name} must be {limit} at most, which is the kernel's limit, not {getattr(self, name)!r}"
                )
        for name, needed in NEEDS.items():
            if getattr(self, name) and not hasattr(socket, needed):
                raise ValueError(f"{name} cannot be set: this system has no {needed}")
        if (self.tcp_keepalive_interval or self.tcp_keepalive_count) and not self.tcp_keepalive:
            raise ValueError("tcp_keepalive_interval and tcp_keepalive_count need a tcp_keepalive to follow")
        if self.min_send_rate and not self.send_timeout:
            raise ValueError("min_send_rate needs a send_timeout, over which it is counted")
        if self.low_water > self.high_water:
            raise ValueError(f"low_water ({self.low_water}) must not exceed high_water ({self.high_water})")


class HasFileno(Protocol):
    """An object with a descriptor: a socket, a file."""

    def fileno(self) -> int:
        """The descriptor."""


class TimerHandle(Protocol):
    """A call that is still to come."""

    @property
    def is_pending(self) -> bool:
        """True until the function is called or the call is cancelled."""

    def cancel(self) -> None:
        """Call the function no more. From any thread; while it is being called, too late."""


class Listening(Protocol):
    """An address that is listened on."""

    @property
    def addr(self) -> SocketAddress:
        """The bound address, with the real port where 0 was asked."""

    @property
    def addr_index(self) -> int:
        """The ``Conn.addr_index`` of its connections."""

    def close(self) -> None:
        """Accept no more on it; its connections stay. From any thread."""


class Watch(Protocol):
    """A descriptor that is watched."""

    def close(self) -> None:
        """Watch it no more; the descriptor stays open. From any thread; before the descriptor is closed."""


if TYPE_CHECKING:
    from typing_extensions import TypeVar  # known to type checkers without being installed

    Context = TypeVar("Context", default=Any)
else:
    from typing import TypeVar

    Context = TypeVar("Context")


class Conn(Protocol[Context]):
    """A connection, or the peer that a datagram came from.

    ``write``, ``run_in_thread``, ``wake``, ``shutdown_write``, ``close`` and ``abort`` may be called from any thread
    and at any time; on a connection that is gone they do nothing. Everything else belongs to the connection's
    callbacks.

    A UDP peer has no connection, unless it was dialled: it fires ``data`` and ``woken`` alone, each ``write`` is one
    datagram, and there is nothing that ``shutdown_write``, ``close``, ``abort`` and ``CLOSE`` could end: they do
    nothing, as on a connection that is gone. What asks for more than datagrams have (``set_deadline``,
    ``pause_reading``, ``resume_reading``, ``configure``, ``send_file``, ``DETACH``) raises ``TypeError``. It may be
    kept and written to later.
    """

    context: Context
    """Yours to use; ``None`` at first. Where types are checked, ``Conn[Session]`` says what it is from ``opened`` on,
    and ``Events`` whose callbacks agree on it are ``Events[Session]``."""

    @property
    def addr_index(self) -> int:
        """The index, among the addresses given to ``serve``, of the one that the connection came in on; -1 for a
        dialled one."""

    @property
    def loop_index(self) -> int:
        """The number of the loop that owns it, from 0."""

    @property
    def turn(self) -> int:
        """The turn of the loop: equal for two ``data`` events exactly if both connections were found ready by the same
        look at all of them. What is looked up for the first of them, after that moment, is as fresh as if it were
        looked up for each."""

    @property
    def local_addr(self) -> SocketAddress:
        """Our end."""

    @property
    def remote_addr(self) -> SocketAddress:
        """The peer's end; with the PROXY protocol, what the proxy said it is."""

    @property
    def server(self) -> Server:
        """The server that it is a connection of."""

    @property
    def scheme(self) -> str:
        """``tcp``, ``unix``, ``tls`` (over either of them) or ``udp``, also where the address says ``fd`` or
        ``systemd``."""

    @property
    def peer_credentials(self) -> PeerCredentials | None:
        """The process at the other end of a unix socket; None for other sockets, and where the system does not say
        (it does on Linux and macOS)."""

    @overload
    def socket_option(self, level: int, name: int) -> int: ...

    @overload
    def socket_option(self, level: int, name: int, size: int) -> bytes: ...

    def socket_option(self, level: int, name: int, size: int = 0) -> int | bytes:
        """A socket option: a number, or with ``size`` as many bytes at most (``socket.getsockopt``). Raises
        ``OSError``; before a dialled connection opens and after it has ended with ``EBADF``."""

    def set_socket_option(self, level: int, name: int, value: int | Buffer) -> None:
        """Set a socket option of a connection that is open. Raises ``OSError``; ``TypeError`` for a UDP peer, whose
        socket is everybody's."""

    @property
    def pending(self) -> int:
        """Bytes of output written and not yet handed to the kernel; in ``closed`` those that never were. From any
        thread: what other threads have written counts from the call of ``write`` on, so that one that produces without
        end can wait while there is much of it."""

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS session (``version()``, ``getpeercert()``, ``selected_alpn_protocol()`` ...) or None."""

    @property
    def server_name(self) -> str | None:
        """The host name the TLS client asked for (SNI, RFC 6066 section 3) or None."""

    def write(self, data: Buffer | Future[Any]) -> None:
        """Queue output; it is sent at the end of the current loop turn, in the order of the calls. A future
        (:class:`Deferred`) keeps its place: what is written after it waits until it is done."""

    def run_in_thread(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have ``function(*arguments)`` called in one of the server's threads (``Events.num_threads``): a future, to be
        returned by the callback or given to ``write``, of what the function returns, which is what a callback
        may return. An exception in it is one in the callback. When the connection ends, it is cancelled: what has not
        begun is not called, and what has is not waited for."""

    def send_file(self, file: int | BinaryIO, offset: int = 0, count: int | None = None, *, head: bytes = b"") -> None:
        """Send ``head``, then ``count`` bytes of an open file from ``offset`` (to its end when None), in order with
        other output. With a ``count`` and nothing queued, what the kernel takes is sent within the call; the rest is
        queued, the descriptor duplicated: the caller may close ``file`` at once. A file that turns out shorter than
        promised ends the connection with an ``OSError``: what was announced cannot be delivered.

        Raises ``ValueError`` for a negative offset or count and ``OSError`` when the file cannot be
        duplicated or measured.
        """

    def wake(self) -> None:
        """Have ``woken`` called soon. Several calls may become one event."""

    def wake_when_drained(self) -> None:
        """Have ``woken`` called once, when the output pending now, and what is queued until then, has
        all been handed to the kernel; soon, if none is pending. For the rare connection that has to wait for its
        peer, where a ``drained`` callback would be paid for by every reply of every connection. From the
        connection's own callbacks."""

    def start_tls(self, context: ssl.SSLContext | None = None, *, server_hostname: str | None = None) -> None:
        """Go on with TLS (STARTTLS; RFC 3207, for instance). What was written before is sent in plain; all that is
        written, and returned, after the call is encrypted, and leaves once the handshake is done. Then ``secured``
        fires; until then no other event does but ``closed``, which gets the :class:`TLSError` of a handshake that
        fails. Whatever of the client's came together with the request for TLS is unencrypted, and anybody's: answer
        nothing of it afterwards.

        A ``tls`` address with ``starttls=true`` has the certificate, for the server, and whom to trust, for what is
        dialled; else ``context`` says which side this is (``ssl.PROTOCOL_TLS_SERVER`` or ``PROTOCOL_TLS_CLIENT``), and
        ``server_hostname`` whom to verify. The handshake has ``handshake_timeout``, in the place of a deadline. Of a
        dialled connection that has not opened it begins when it has connected, and ``opened`` fires after it.

        Raises ``RuntimeError`` when TLS has been started already, without a certificate, once input or output has
        ended, and while a :class:`Deferred` is to be answered; :class:`TLSError` for certificates that cannot be
        loaded. From the connection's own callbacks.
        """

    def shutdown_write(self) -> None:
        """End the output and go on reading (half-close, shutdown(2) with ``SHUT_WR``): what is queued is sent, then
        the peer sees the end of it. Over TLS that is a ``close_notify`` (RFC 8446 section 6.1), and the socket stays
        open. Output that is returned or written after it in the same callback is still sent; later output is dropped.

        The connection is open until the peer ends, too, or already had, and then closes as ``close`` does, after
        ``eof``. ``close_timeout`` begins there: a peer that never ends is a matter of ``idle_timeout`` or of
        ``set_deadline``. ``close``, ``abort`` and ``DETACH`` remain possible."""

    def close(self) -> None:
        """Close as ``Action.CLOSE`` does: send what is queued, then close. Output that is returned or written after it
        in the same callback is still sent, but for a :class:`Deferred`, which is cancelled; later output is not."""

    def abort(self) -> None:
        """Close at once with a reset; queued output is lost. ``closed`` gets :class:`Aborted`."""

    def pause_reading(self) -> None:
        """Read no more input until ``resume_reading``; the kernel then makes the peer wait."""

    def resume_reading(self) -> None:
        """Undo ``pause_reading``."""

    def call_later(self, seconds: float, function: Callable[..., Reply], *arguments: Any) -> TimerHandle:
        """Have ``function(*arguments)`` called in ``seconds``, unless the connection has ended. What it returns is
        done, and what it raises ends the connection, as with a callback. From any thread. Raises ``ValueError`` for a
        time below 0 or NaN."""

    def set_deadline(self, seconds: float | None) -> None:
        """End the connection with :class:`DeadlineExceeded` in ``seconds`` from now whatever it does;
        ``None`` takes the deadline back. Raises ``ValueError`` for a time below 0 or NaN."""

    def configure(self, **options: Any) -> None:
        """Change this connection's :class:`Options`. Raises ``TypeError`` for an unknown name or a value of
        another kind, and ``ValueError`` for one that is not allowed."""


class Server(Protocol):
    """The running server, as given to ``serving``."""

    @property
    def addrs(self) -> tuple[SocketAddress, ...]:
        """The bound address of each address given to ``serve``, with the real port where 0 was asked.
        A name that stands for several (``localhost``) shows the first; all have the same port."""

    @property
    def num_loops(self) -> int:
        """The number of loops that run."""

    def stop(self, timeout: float | None = None) -> None:
        """Shut down as ``Action.SHUTDOWN`` does, giving output ``timeout`` seconds
        (``Events.shutdown_timeout`` when None) to leave. A second call stops at once. From any thread.
        Raises ``ValueError`` for a time below 0 or NaN."""

    def dial(self, address: str, context: Any = None, timeout: float = 10.0, *, handler: Handler | None = None) -> Conn:
        """Open a connection to ``tcp://``, ``unix://``, ``tls://`` or ``udp://`` ``address``. It fires the events of
        ``handler``, which may have no other connection at the time, or else the callbacks of ``Events``. Called on a
        loop, the connection belongs to that loop; from elsewhere, to loop 0. Output may be written at once; ``close``
        before ``opened`` sends it first. Of a name's addresses each has 250 ms before the next one is tried beside it,
        IPv6 and IPv4 in turn, and the first to connect is taken (RFC 8305). An attempt that fails, or has not opened in
        ``timeout`` seconds, fires ``closed(conn, error)`` without ``opened``.

        Over ``udp`` the events are the same: ``opened`` when there is an address to send to, ``data`` for each datagram
        of that peer, ``closed`` after ``close`` or with the error that its system reports (``ConnectionRefusedError``).

        The first ``tls`` address without ``ca`` loads the authorities that the system trusts, which takes some
        30 ms; they are kept. A changed file of an address is noticed.

        Raises :class:`AddressError` for an address that cannot be dialled, :class:`TLSError` for a certificate or
        ``ca`` that cannot be loaded, ``ValueError`` for a time-out below 0 or NaN, and :class:`ServerStopped` once the
        server is told to stop, so that a program that dials again in ``closed`` ends, too.
        """

    def adopt(self, sock: socket.socket, context: Any = None, *, handler: Handler | None = None) -> Conn:
        """Take over a connected stream socket, the reverse of ``DETACH``: it fires the events of a dialled connection,
        ``opened`` first. ``sock`` is closed for the caller, as after ``sock.detach()``. Called on a loop, the
        connection belongs to that loop; from elsewhere, to loop 0. From any thread.

        Raises ``TypeError`` for what is no plain socket (a TLS one has a session that is not here), ``ValueError`` for
        one that is not connected, and :class:`ServerStopped` once the server is told to stop; it then stays the
        caller's.
        """

    def hold_ready(self) -> Callable[[], None]:
        """In ``serving``: have the service manager (``Events.notify_systemd``) be told ``READY`` not after ``serving``,
        but when what this returns is called, on loop 0. For a server that still has to load something."""

    def call(self, function: Callable[[], object]) -> None:
        """Have ``function()`` called on loop 0 soon. From any thread. What it raises is logged."""

    def call_soon(self, function: Callable[[], object]) -> None:
        """The same, without a system call if a callback on loop 0 asks for it: ``function()`` is called at the end of
        the loop's turn, before what the turn has queued is sent. Not from a signal handler, which may have interrupted
        the loop while it waits."""

    def call_later(self, seconds: float, function: Callable[..., object], *arguments: Any) -> TimerHandle:
        """Have ``function(*arguments)`` called in ``seconds``: on the loop that this is called on, from elsewhere on
        loop 0. From any thread. What it raises is logged. A server that stops calls none any more. Raises
        ``ValueError`` for a time below 0 or NaN."""

    def watch(
        self,
        fd: int | HasFileno,
        readable: Callable[[], object] | None = None,
        writable: Callable[[], object] | None = None,
    ) -> Watch:
        """Watch a descriptor that is the program's own (a pipe, a library's socket, inotify): ``readable()`` is called
        whenever it can be read or has failed, ``writable()`` whenever it can be written or has failed, on the loop that
        this is called on, from elsewhere on loop 0. From any thread; closing the descriptor, after the watch, is the
        program's. One that raises is logged, and ends the watch.

        Raises ``ValueError`` for a descriptor that is watched already and ``OSError`` for one that cannot be, such as a
        plain file's with epoll; from another thread these are logged.
        """

    def serve_others(self) -> bool:
        """Serve once, without waiting, what the other connections of the loop have sent: for a callback that has to
        take long, which calls this every now and then. Events of its own connection fire as well unless it has paused
        reading; timers and ``tick`` wait. Returns False once the server is told to stop. From a callback on a native
        loop; elsewhere and on asyncio nothing is looked at.
        """

    @property
    def listening(self) -> tuple[Listening, ...]:
        """The addresses that are listened on now: those given to ``serve``, then those of ``listen``."""

    def listen(self, address: str) -> Listening:
        """Listen on one more address, whose connections fire the callbacks of ``Events`` and whose ``addr_index`` goes
        on from the last one. It is bound when this returns and accepts from the next turn on. From any thread. In a
        worker it is that worker's alone.

        Raises :class:`AddressError` for an address that is not understood or that needs a loop which this server has
        not (``-net``), :class:`ListenError` for one that cannot be bound, :class:`TLSError` for a bad certificate, and
        :class:`ServerStopped` once the server is told to stop.
        """

    def stats(self) -> Stats:
        """Counters as they are now. From any thread."""

    def reload_certificates(self) -> None:
        """Load the certificates of ``tls`` addresses again, for new connections. From any thread. A
        changed file is also noticed by itself.

        Raises :class:`TLSError` when a file is bad; the ones in use then stay.
        """


@dataclass(slots=True)
class LoopStats:
    """Counters of one loop since it started; ``connections`` and ``lingering`` are what there is now."""

    connections: int = 0
    lingering: int = 0
    """Descriptors whose connection has ended and that wait, for ``close_timeout`` at most, for the peer to end, too."""
    accepted: int = 0
    accept_errors: int = 0
    refused: int = 0
    """Connections beyond ``Options.max_connections`` or ``max_connections_per_address``."""
    handshake_errors: int = 0
    """Accepted connections that ended in their TLS handshake, or were too slow with it."""
    proxy_errors: int = 0
    """Accepted connections that ended before their PROXY header was there."""
    dialled: int = 0
    dial_errors: int = 0
    """Dialled connections that ended with an error before they opened."""
    turns: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    datagrams_in: int = 0
    datagrams_out: int = 0
    datagrams_dropped: int = 0


@dataclass(slots=True)
class Stats:
    """Counters of the server, a ``LoopStats`` a loop."""

    loops: list[LoopStats]

    @property
    def total(self) -> LoopStats:
        """The sums of the counters over the loops."""
        return LoopStats(*(sum(getattr(loop, each.name) for loop in self.loops) for each in fields(LoopStats)))


class Handler:
    """One connection's events, as methods; its state is on ``self``. Given to ``serve`` by address::

        serve({"tcp://localhost:5000": Echo, "unix:///run/admin.sock": lambda: Admin(config)})

    Each connection, when it opens, gets an instance from whatever is called there: the class, or anything without
    parameters that returns a :class:`Handler`. It has its connection as ``self.conn``, not yet in ``__init__``. The
    methods are the callbacks of :class:`Events` without the connection and return the same. Methods that are not
    defined do what their absence means there; they are looked up once for each connection.

    A datagram has no connection, so each has an instance of its own.
    """

    __slots__ = ("conn",)

    conn: Conn
    """The connection, or the sender of the datagram."""

    def attach(self, conn: Conn) -> None:
        """Take the connection. Called once, before the first event."""
        self.conn = conn

    def opened(self) -> Reply:
        """The connection opened: accepted or dialled, its TLS handshake and PROXY header done."""
        return None

    def data(self, chunk: Any) -> Reply:
        """Bytes arrived; ``b""`` for an empty datagram. ``bytes``, with ``Options.reuse_input_buffer`` a
        ``memoryview``."""
        return None

    def woken(self) -> Reply:
        """After ``conn.wake`` or ``conn.wake_when_drained``, also while reading is paused."""
        return None

    def eof(self) -> Reply:
        """The peer finished sending. Unless it is overridden: flush, then close."""
        return Action.CLOSE

    def drained(self) -> Reply:
        """Output has all been handed to the kernel. Only a class that overrides it pays for it."""
        return None

    def writable(self) -> Reply:
        """Pending output, which was more than ``high_water``, has come down to ``low_water``."""
        return None

    def secured(self) -> Reply:
        """The TLS handshake that ``conn.start_tls`` began is done."""
        return None

    def retiring(self) -> Reply:
        """This worker is replaced: the connection is to come to its end."""
        return None

    def stopping(self) -> bool:
        """The server stops: True if something is under way, which goes on until the connection is closed."""
        return False

    def detached(self, sock: socket.socket) -> Action | None:
        """After ``DETACH``: the socket, blocking, is yours now. Unless it is overridden, it is closed."""
        sock.close()
        return None

    def closed(self, error: BaseException | None) -> Action | None:
        """The connection ended, for the reason ``error`` or, when None, in good order. Once, as the last event;
        without ``opened`` for a dialled one that failed."""
        return None

    def has_drained(self) -> bool:
        """True if ``drained`` is to be called, which costs something for each output."""
        return getattr(self.drained, "__func__", None) is not Handler.drained

    def has_writable(self) -> bool:
        """True if ``writable`` is to be called, which costs something for output that is queued."""
        return getattr(self.writable, "__func__", None) is not Handler.writable


HandlerFactory: TypeAlias = Callable[[], Handler]
"""Makes the handler of a connection: a class, or a function without parameters."""


@dataclass(slots=True)
class Events(Generic[Context]):
    """The callbacks and settings of a server. All are optional; callbacks may also be assigned later,
    ``events.data = f``, but before ``serve``, which looks at them once.

    Callbacks of a connection:

    - ``opened(conn)``: it opened
    - ``data(conn, chunk)``: bytes, or a datagram, arrived
    - ``woken(conn)``: after ``conn.wake`` and ``conn.wake_when_drained``
    - ``eof(conn)``: the peer finished sending
    - ``drained(conn)``: all output has been handed to the kernel
    - ``writable(conn)``: pending output, which was over ``high_water``, has come down to ``low_water``
    - ``secured(conn)``: the TLS handshake after ``conn.start_tls`` is done
    - ``retiring(conn)``: this worker is replaced
    - ``stopping(conn)``: the server stops; says whether something is under way
    - ``detached(conn, sock)``: after ``DETACH``, the socket is the program's
    - ``closed(conn, error)``: it ended
    - ``not_tls(first)``: a client of a ``tls`` address speaks something else; returns what to send it

    Callbacks of the server:

    - ``serving(server)``: it can accept
    - ``tick()``: after ``serving``, then after each delay it returns
    - ``pre_write()``: before the output of a loop's turn is written
    - ``reopen_logs()``: SIGUSR1 came
    - ``stopped()``: it has ended

    Settings:

    - ``handlers``: addresses whose connections have a :class:`Handler` each
    - ``options``: the :class:`Options` of all connections
    - ``num_loops``, ``load_balance``: loops, and how connections are spread over them
    - ``num_threads``: threads for ``Conn.run_in_thread``
    - ``shutdown_timeout``: seconds that pending output has when the server stops
    - ``slow_callback``: seconds after which a callback is logged as too slow
    - ``handle_signals``, ``notify_systemd``: stop on signals, tell a service manager
    """

    serving: Callable[[Server], Action | None] | None = None
    """Once, when the server can accept, before any other event. An exception ends ``serve``."""

    opened: Callable[[Conn[Context]], Reply] | None = None
    """A connection opened: accepted or dialled, its TLS handshake and PROXY header done."""

    data: Callable[[Conn[Context], Any], Reply] | None = None
    """Bytes arrived; ``b""`` for an empty datagram."""

    woken: Callable[[Conn[Context]], Reply] | None = None
    """After ``wake`` or ``wake_when_drained``, also while reading is paused."""

    not_tls: Callable[[bytes], bytes | None] | None = None
    """A client of a ``tls`` address speaks something else than TLS: with the first bytes it sent, at least one. What is
    returned is sent as it is, before the connection is closed; None or ``b""``: a TLS alert. No connection fires
    ``opened`` or ``closed`` for it."""

    eof: Callable[[Conn[Context]], Reply] | None = None
    """The peer finished sending. Without this callback the connection is flushed and closed; with it,
    it stays open for output until it is closed by an action, or by ``shutdown_write``."""

    drained: Callable[[Conn[Context]], Reply] | None = None
    """Output has all been handed to the kernel: the moment to produce more of a long stream. It fires
    after each piece of output, also when that left at once."""

    writable: Callable[[Conn[Context]], Reply] | None = None
    """Pending output, which was more than ``high_water``, has come down to ``low_water``: the moment to produce more of
    a long stream before the peer has to wait for it."""

    secured: Callable[[Conn[Context]], Reply] | None = None
    """The TLS handshake that ``start_tls`` began is done: ``conn.tls`` has the session."""

    retiring: Callable[[Conn[Context]], Reply] | None = None
    """This worker is replaced (:func:`evio_core.workers`, SIGHUP): the connection is to come to its end. Once for each
    open one, and right after ``opened`` for those that open meanwhile. With or without this callback, one over which
    nothing moves for half a second is closed."""

    stopping: Callable[[Conn[Context]], bool] | None = None
    """The server stops, or this worker is replaced and nothing moves on the connection: once input that has arrived was
    served. True: something is under way for which pending output says too little, such as answers for which the peer
    has yet to make room. The connection then stays as it is, with all its events, until the program closes it or
    ``shutdown_timeout`` is over, and is asked again now and then while a worker is replaced. False, and without this
    callback: it is closed behind its output."""

    pre_write: Callable[[], None] | None = None
    """Once per loop turn with output, before that turn's output is written."""

    detached: Callable[[Conn[Context], socket.socket], Action | None] | None = None
    """After ``DETACH``: the socket, blocking, is the callee's now. Without this callback it is closed."""

    closed: Callable[[Conn[Context], BaseException | None], Action | None] | None = None
    """A connection ended, for the reason ``error`` or, when None, in good order. Exactly once for every
    ``opened`` that was not detached. Of a peer that can no longer be written to, input that has arrived comes first,
    also if reading is paused; on asyncio, which drops it, only what was read before."""

    tick: Callable[[], TickReply] | None = None
    """Right after ``serving``, on loop 0, then after each delay it returns."""

    reopen_logs: Callable[[], None] | None = None
    """SIGUSR1 came, by which log files are to be reopened after they were moved: on loop 0, and with
    :func:`evio_core.workers` in each worker. An exception is logged. Without this callback the
    signal does nothing, unless the program has a handler of its own."""

    stopped: Callable[[], None] | None = None
    """Once, when the server has ended, for whatever reason: no other event follows. In the thread that served; with
    :func:`evio_core.workers`, in each worker, which has no other place for what is to be done at its end."""

    handlers: Mapping[str, HandlerFactory] = field(default_factory=dict)
    """Addresses with connections of a class of their own, and what makes the :class:`Handler` of each connection. They
    come after the addresses that are given to ``serve``, whose connections have the callbacks above. A mapping in the
    place of ``Events`` is short for these alone."""

    num_loops: int = 1
    """1: one loop, in the calling thread. N: that and N-1 more threads. -1: one per usable CPU."""

    num_threads: int = 8
    """Threads for ``Conn.run_in_thread``, at most; they are started when they are needed."""

    load_balance: LoadBalance = LoadBalance.ROUND_ROBIN
    """The choice of the loop that gets a new connection. Without effect on ``reuseport=true`` addresses, where the
    kernel chooses."""

    options: Options = field(default_factory=Options)
    """Defaults for every connection."""

    shutdown_timeout: float = 10.0
    """Seconds that pending output may take to leave when the server stops."""

    slow_callback: float = 0.0
    """For debugging: log callbacks that take longer than this many seconds, as they hold up all connections of their
    loop; 0 does not look. ``EVIO_SLOW_CALLBACK`` in the environment does it for a program that is as it is."""

    handle_signals: bool = True
    """Stop on SIGINT and SIGTERM, and heed SIGUSR1 (``reopen_logs``), when ``serve`` runs in the main thread; the
    handlers are put back."""

    notify_systemd: bool = True
    """Tell a service manager that asks for it (``NOTIFY_SOCKET``, ``WATCHDOG_USEC``: sd_notify(3)) ``READY`` after
    ``serving``, ``RELOADING`` and ``READY`` around ``Server.reload_certificates`` and a roll of workers, ``STOPPING``,
    and ``WATCHDOG`` while all loops go round. By ``workers``, and by ``serve`` in the main thread."""
