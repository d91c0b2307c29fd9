"""``serve``: from addresses to a running server and back to nothing."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeGuard

from .addresses.address import Address, url
from .addresses.bind import BoundAddress, bind_all
from .addresses.origin import Origin
from .checks import not_negative
from .errors import AddressError, ServerStopped, TLSError
from .events import (
    Action,
    Conn,
    Events,
    Handler,
    HandlerFactory,
    HasFileno,
    Listening,
    LoadBalance,
    LoopStats,
    SocketAddress,
    Stats,
    TimerHandle,
    Watch,
)
from .loop.admission import Admission
from .loop.balance import make_balancer
from .loop.calls import Call, DescriptorWatch, call_safely
from .loop.cpus import usable_cpus
from .loop.draining import Drain
from .loop.lifeline import Lifeline
from .loop.loop import Loop
from .loop.poller import choice, make_poller
from .loop.signal_pipe import SignalPipe
from .loop.threads import Threads
from .loop.ticker import Ticker
from .loop.watchdog import Watchdog
from .middleware import Serialised
from .slow import ON_LOOPS, Timed, slow_after, timed, watched
from .stream.adopted import check_connected, take_over
from .stream.dial import dial
from .stream.listener import Accepted, Listener, adopt
from .stream.listening import ListeningAddress
from .systemd import ServiceManager
from .tls.credentials import ServerCredentials, client_session
from .udp.datagram import DatagramSocket
from .udp.dialled import dial as dial_datagrams

if TYPE_CHECKING:  # asyncio takes longer to import than all the rest, so the fallback is imported where it is used
    import asyncio

    from .fallback.loop import NetLoop

__all__ = ["RunningServer", "checked", "loop_count", "parse_all", "serve", "serve_bound"]


def serve(events: Events | Mapping[str, HandlerFactory], *addresses: str) -> None:
    """Serve the addresses until the server is stopped: with the callbacks of ``events``, or each with handlers of its
    own (``serve({"tcp://localhost:5000": Echo})``, see :class:`Handler` and ``Events.handlers``).

    Returns after ``SHUTDOWN``, ``Server.stop``, SIGINT or SIGTERM, when every connection has ended. Raises
    :class:`AddressError` for an address that is not understood, :class:`ListenError` for one that cannot be bound,
    :class:`TLSError` for a bad certificate, ``ValueError`` or ``TypeError`` for a setting, ``RuntimeError`` for the
    fallback in a thread that runs asyncio already, and whatever ``serving``, ``tick``, ``pre_write`` or ``stopped``
    raise.
    """
    events = checked(events)
    parsed = parse_all(events, addresses)
    _check_thread(parsed)
    num_loops = loop_count(events)
    bound = bind_all(parsed, events.options, num_loops)
    try:
        serve_bound(events, bound, num_loops)
    finally:
        for each in bound:
            each.close()


def _check_thread(addresses: Sequence[Address]) -> None:
    """See that the calling thread can run the loop. Raises ``RuntimeError``."""
    if all(address.fallback or choice() == "asyncio" for address in addresses):
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise RuntimeError("this thread runs an asyncio loop already: await evio_core.stdlib.serve(...) there")


def parse_all(events: Events, addresses: Sequence[str]) -> list[Address]:
    """Parse addresses to listen on, then those of ``Events.handlers``. Raises :class:`AddressError`."""
    if not addresses and not events.handlers:
        raise AddressError("no address to serve; for instance tcp://localhost:5000")
    parsed = [Address.parse(text) for text in (*addresses, *events.handlers)]
    for address in parsed:
        address.check_listen()
    return parsed


def checked(events: Events | Mapping[str, HandlerFactory]) -> Events:
    """The events, their settings looked at; of handlers by address, those that have them. Raises ``TypeError`` or
    ``ValueError``; each connection's settings are checked by :class:`Options`."""
    if isinstance(events, Mapping):
        events = Events(handlers=events)
    elif not isinstance(events, Events):
        raise TypeError(f"Events, or handlers by address, are served, not {events!r}")
    for address, factory in events.handlers.items():
        if not callable(factory):
            raise TypeError(f"{address}: a Handler is made by a class or a function, not by {factory!r}")
    if not isinstance(events.num_loops, int):
        raise TypeError(f"num_loops must be a whole number, not {events.num_loops!r}")
    if events.num_loops < 1 and events.num_loops != -1:
        raise ValueError(f"num_loops must be -1 (one per CPU) or 1 and more, not {events.num_loops}")
    if not isinstance(events.load_balance, LoadBalance):
        allowed = ", ".join(str(each) for each in LoadBalance)
        raise TypeError(f"load_balance must be one of {allowed}, not {events.load_balance!r}")
    if not isinstance(events.num_threads, int) or events.num_threads < 1:
        raise ValueError(f"num_threads must be 1 or more, not {events.num_threads!r}")
    not_negative("shutdown_timeout", events.shutdown_timeout)
    not_negative("slow_callback", events.slow_callback)
    slow_after(events)
    return events


def loop_count(events: Events) -> int:
    """Return the number of loops that ``num_loops`` means."""
    return usable_cpus() if events.num_loops == -1 else events.num_loops


def serve_bound(events: Events, bound: Sequence[BoundAddress], num_loops: int, exclusive: bool = False) -> None:
    """Serve sockets that are bound already; ``exclusive`` when other processes accept on them too."""
    RunningServer(events, bound, num_loops, exclusive).run()


class RunningServer:
    """Implements :class:`evio_core.events.Server`: the loops, their threads, and what they share."""

    def __init__(
        self,
        events: Events,
        bound: Sequence[BoundAddress],
        num_loops: int,
        exclusive: bool = False,
        aio: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._slow_after = slow_after(events)
        self._events = events = watched(events, self._slow_after)
        self._bound = bound
        self._exclusive = exclusive
        self._names = tuple(each.name for each in bound)
        self._listening: list[ListeningAddress] = []
        self._indexes = itertools.count(len(bound))
        self._credentials = [ServerCredentials(each.address) if each.address.certs else None for each in bound]
        self._stopping = False
        self._stop_calls = 0
        self._signals_seen = 0
        self._turns_at_signal = -1
        self._manager: ServiceManager | None = None
        self._ready_held = False  # what has been loaded is not all yet
        self._served = False  # ``serving`` has returned
        simulated = [each.address.fallback or choice() == "asyncio" for each in bound]
        self._simulated = simulated
        self._threads = Threads(events.num_threads)
        self._admission = Admission.of(events.options)
        self._native: list[Loop] = []
        self._net: list[NetLoop] = []
        for index in range(num_loops):
            own, lock = events, None
            if len(set(simulated)) > 1:
                lock = threading.RLock()
                own = _serialised(events, lock)
            if not all(simulated):
                self._native.append(Loop(index, own, make_poller(), self._stop_once))
            if any(simulated):
                from .fallback.loop import NetLoop

                self._net.append(NetLoop(index, own, self._stop_once, aio if index == 0 else None))
            for loop in (*self._native[index:], *self._net[index:]):
                loop.lock = lock
                loop.wrap = self._wrapper(lock)
                loop.threads = self._threads
                loop.admission = self._admission
        self._loops: list[Loop] = [*self._native, *self._net]
        for loop in self._loops:
            loop.server = self

    def _wrapper(self, lock: threading.RLock | None) -> Callable[[Handler], Handler] | None:
        """Return the function that does to handlers what is done to callbacks."""
        limit = self._slow_after
        if not limit and lock is None:
            return None

        def wrap(handler: Handler) -> Handler:
            if limit:
                handler = Timed(handler, limit)
            return handler if lock is None else Serialised(handler, lock)

        return wrap

    # -- what callers see

    @property
    def addrs(self) -> tuple[SocketAddress, ...]:
        return self._names

    @property
    def num_loops(self) -> int:
        return max(len(self._native), len(self._net))

    def stop(self, timeout: float | None = None) -> None:
        if timeout is not None:
            not_negative("timeout", timeout)
        self._stop_calls += 1
        if self._stop_calls > 1:
            for loop in self._loops:
                loop.submit(loop.close_now)
        else:
            self._begin_stop(self._events.shutdown_timeout if timeout is None else timeout)
        self._loops[0].interrupt()

    def dial(self, address: str, context: Any = None, timeout: float = 10.0, *, handler: Handler | None = None) -> Conn:
        parsed = Address.parse(address)
        parsed.check_dial()
        not_negative("timeout", timeout)
        if self._stopping:
            raise ServerStopped("the server has been stopped: nothing can be dialled")
        usable: Sequence[Loop] = (self._net if parsed.fallback else self._native) or self._net
        if not usable:
            raise AddressError(f"{address}: this server has no -net address, so it cannot dial one")
        loop = _loop_of_this_thread(usable)
        factory = None if handler is None else lambda: handler
        scheme = "tcp" if parsed.base == "tls" else parsed.base
        new_session = functools.partial(client_session, parsed) if parsed.starttls else None
        if new_session is not None:
            new_session()  # what is wrong with its files is said now
        origin = Origin(address, -1, self._events.options, factory, new_session=new_session, scheme=scheme)
        if parsed.base == "udp":
            return dial_datagrams(loop, parsed, origin, context, timeout)
        if _on_asyncio(loop):
            from .fallback import dial as net_dial

            return net_dial.dial(loop, parsed, origin, context, timeout)
        return dial(loop, parsed, origin, context, timeout)

    def adopt(self, sock: socket.socket, context: Any = None, *, handler: Handler | None = None) -> Conn:
        check_connected(sock)
        if self._stopping:
            raise ServerStopped("the server has been stopped: no connection can be taken over")
        loop = _loop_of_this_thread(self._native or self._net)
        name = sock.getpeername()
        scheme = "tcp" if isinstance(name, tuple) else "unix"
        factory = None if handler is None else lambda: handler
        origin = Origin(url(scheme, name), -1, self._events.options, factory, scheme=scheme)
        if _on_asyncio(loop):
            from .fallback import adopted as net_adopted

            return net_adopted.take_over(loop, sock, origin, context)
        return take_over(loop, sock, origin, context)

    @property
    def listening(self) -> tuple[Listening, ...]:
        return tuple(self._listening)

    def listen(self, address: str) -> Listening:
        parsed = Address.parse(address)
        parsed.check_listen()
        if self._stopping:
            raise ServerStopped("the server has been stopped: nothing can be listened on")
        usable: Sequence[Loop] = (self._net if parsed.fallback else self._native) or self._net
        if not usable:
            raise AddressError(f"{address}: this server has no -net address, so it cannot listen on one")
        (bound,) = bind_all([parsed], self._events.options, len(usable))
        try:
            credentials = ServerCredentials(parsed) if parsed.certs else None
        except BaseException:
            bound.close()
            raise
        self._credentials.append(credentials)
        accepting = self._make_listening(next(self._indexes), bound, credentials, None, usable)

        def begin(loop: Loop, each: Listener | DatagramSocket) -> None:
            if not loop.stopping:
                each.start()

        for loop, each in accepting:
            loop.submit(call_safely, functools.partial(begin, loop, each))
        return self._listening[-1]

    def call(self, function: Callable[[], object]) -> None:
        self._loops[0].submit(call_safely, self._timed(function))
        self._loops[0].interrupt()

    def call_soon(self, function: Callable[[], object]) -> None:
        self._loops[0].submit(call_safely, self._timed(function))

    def call_later(self, seconds: float, function: Callable[..., object], *arguments: Any) -> TimerHandle:
        call = Call(self._here(), self._timed(function), arguments, call_safely)
        call.begin(seconds)
        return call

    def watch(
        self,
        fd: int | HasFileno,
        readable: Callable[[], object] | None = None,
        writable: Callable[[], object] | None = None,
    ) -> Watch:
        if readable is None and writable is None:
            raise ValueError("a descriptor is watched for being readable or writable: give a function for that")
        number = fd if isinstance(fd, int) else fd.fileno()
        watch = DescriptorWatch(
            self._here(), number, readable and self._timed(readable), writable and self._timed(writable)
        )
        watch.begin()
        return watch

    def _here(self) -> Loop:
        """The loop that this thread runs, or else loop 0."""
        return _loop_of_this_thread(self._loops)

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return timed(function, self._slow_after) if self._slow_after else function

    def serve_others(self) -> bool:
        here = threading.get_ident()
        for loop in self._native:
            if loop.ident == here:
                loop.serve_others()
        return not self._stopping

    def stats(self) -> Stats:
        return Stats([_snapshot(loop) for loop in self._loops])

    def hold_ready(self) -> Callable[[], None]:
        self._ready_held = True

        def release() -> None:
            self._ready_held = False
            if self._served:
                self._announce()

        return release

    def _announce(self) -> None:
        """Tell the service manager that the server is ready, unless something holds that up."""
        if self._manager is not None and not self._stopping and not self._ready_held:
            self._manager.ready()

    def reload_certificates(self) -> None:
        if self._manager is not None:
            self._manager.reloading()
        try:
            self._reload_certificates()
        finally:
            if self._manager is not None:
                self._manager.ready()

    def _reload_certificates(self) -> None:
        failed = []
        for credentials in self._credentials:
            try:
                if credentials is not None:
                    credentials.reload()
            except TLSError as error:
                failed.append(str(error))
        if failed:
            raise TLSError("; ".join(failed))

    # -- running

    def drain(self) -> None:
        """Accept no more, let connections come to their natural end, then stop. After ``shutdown_timeout``, stop as
        ``stop`` does. From any thread and from a signal handler."""
        deadline = monotonic() + self._events.shutdown_timeout

        def look() -> None:
            done = all(loop.draining and loop.open_connections == 0 for loop in self._loops)
            if done or monotonic() > deadline:
                self._stop_once()

        for loop in self._loops:
            loop.submit(Drain(loop, look).begin)
        self._loops[0].interrupt()

    def reopen_logs(self) -> None:
        """Have ``Events.reopen_logs`` called on loop 0. From any thread and from a signal handler."""
        if self._events.reopen_logs is not None:
            self.call(self._events.reopen_logs)

    def follow(self, lifeline: Lifeline) -> None:
        """Stop when the supervisor of this worker is gone."""
        lifeline.watch(self._loops[0])

    def run(self) -> None:
        """Serve until stopped, then raise what ended the server, if anything did."""
        with self._signals():
            if self._events.notify_systemd and threading.current_thread() is threading.main_thread():
                self._manager = ServiceManager.from_environment()
            threads = self._start()
            self._loops[0].run()
            for thread in threads:
                thread.join()
        self._finish()

    async def run_async(self) -> None:
        """The same on a running asyncio loop, which is loop 0."""
        import asyncio

        threads = self._start()
        main = asyncio.ensure_future(self._net[0].main())
        cancelled: asyncio.CancelledError | None = None
        while not main.done():
            try:
                await asyncio.shield(main)
            except asyncio.CancelledError as error:
                cancelled = error
                self._stop_once()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        self._finish()
        if cancelled is not None:
            raise cancelled

    def _start(self) -> list[threading.Thread]:
        """Do everything but run loop 0."""
        first, *others = self._loops
        first.ident = threading.get_ident()
        try:
            self._listen()
            self._serving()
            self._served = True
            self._announce()
            if self._manager is not None and self._manager.watchdog and not self._stopping:
                # Twice as often as it has to be heard, which is what sd_watchdog_enabled(3) advises.
                watchdog = Watchdog(self._loops, self._manager.watchdog / 2, self._manager.alive)
                first.submit(watchdog.start)
        except BaseException as error:
            first.fail(error)
        if self._events.tick is not None:
            first.submit(Ticker(first).start)
        # Daemons, for the third signal: `run` joins them, unless one never ends.
        threads = [threading.Thread(target=loop.run, name=f"evio-loop-{loop.index}", daemon=True) for loop in others]
        for thread in threads:
            thread.start()
        return threads

    def _finish(self) -> None:
        """Tell that it is over, and raise what ended the server, if anything did."""
        self._threads.close()
        for loop in self._loops:
            loop.run_ops()  # connections handed over too late, and calls that the end overtook
        for listening in self._listening:
            if listening.addr_index >= len(self._bound):  # the others are closed by whoever has bound them
                listening.release()
        try:
            if self._events.stopped is not None:
                self._events.stopped()
        finally:
            for loop in self._loops:
                if loop.error is not None:
                    raise loop.error

    def _serving(self) -> None:
        if self._events.serving is not None and self._events.serving(self) is Action.SHUTDOWN:
            self._stop_once()

    def _listen(self) -> None:
        handlers = self._events.handlers
        factories = [*[None] * (len(self._bound) - len(handlers)), *handlers.values()]
        for index, (each, factory) in enumerate(zip(self._bound, factories, strict=True)):
            loops: Sequence[Loop] = self._net if self._simulated[index] else self._native
            for _, accepting in self._make_listening(index, each, self._credentials[index], factory, loops):
                accepting.start()

    def _make_listening(
        self,
        index: int,
        bound: BoundAddress,
        credentials: ServerCredentials | None,
        factory: HandlerFactory | None,
        loops: Sequence[Loop],
    ) -> list[tuple[Loop, Listener | DatagramSocket]]:
        """Make what accepts on an address: a loop and its handler, to be started, for each socket."""
        new_session = None
        if credentials is not None and bound.address.starttls:
            new_session, credentials = credentials.session, None
        networks = bound.address.proxy_protocol
        origin = Origin(bound.address.text, index, self._events.options, factory, networks, new_session, bound.scheme)
        balance = make_balancer(self._events.load_balance, loops)
        listening = ListeningAddress(bound, index, self._listening.remove)
        made: list[tuple[Loop, Listener | DatagramSocket]] = []
        for loop, sockets in zip(loops, bound.sets):  # noqa: B905  # one set serves all loops
            place = functools.partial(_place, loops, balance if len(bound.sets) == 1 else None, loop)
            made += [(loop, self._accepting(loop, sock, origin, credentials, place)) for sock in sockets]
        for loop, accepting in made:
            listening.add(loop, accepting)
        self._listening.append(listening)
        return made

    def _accepting(
        self,
        loop: Loop,
        sock: socket.socket,
        origin: Origin,
        credentials: ServerCredentials | None,
        place: Callable[[Accepted], None],
    ) -> Listener | DatagramSocket:
        datagrams: type[DatagramSocket] = DatagramSocket
        listener: type[Listener] = Listener
        if _on_asyncio(loop):
            from .fallback import datagram as net_datagram
            from .fallback import listener as net_listener

            datagrams, listener = net_datagram.NetDatagramSocket, net_listener.NetListener
        if sock.type == socket.SOCK_DGRAM:
            return datagrams(loop, sock, origin)
        return listener(loop, sock, origin, credentials, place, self._exclusive)

    # -- stopping

    def _stop_once(self) -> None:
        self._begin_stop(self._events.shutdown_timeout)

    def _begin_stop(self, timeout: float) -> None:
        # No lock: a signal handler may interrupt this very code, and doing it twice does no harm.
        if not self._stopping:
            self._stopping = True
            if self._manager is not None:
                self._manager.stopping()
            deadline = monotonic() + timeout
            for loop in self._loops:
                loop.submit(loop.shut_down, deadline)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM, which Python delivers to the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM) if self._events.handle_signals else ()
        pipe = SignalPipe(self._loops[0]) if sys.platform != "win32" else None
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        if sys.platform != "win32" and self._events.handle_signals:
            theirs = signal.getsignal(signal.SIGUSR1)
            if self._events.reopen_logs is not None or theirs is signal.SIG_DFL:
                before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, lambda number, frame: self.reopen_logs())
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if pipe is not None:
                pipe.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Stop in good order, with the second signal at once. A loop that has not come round since that one is held up
        by a callback, which the third interrupts: by ``KeyboardInterrupt``, or ``SystemExit`` for SIGTERM."""
        self._signals_seen += 1
        turns = sum(loop.stats.turns for loop in self._loops)
        if self._signals_seen > 2 and turns == self._turns_at_signal:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        self._turns_at_signal = turns
        self.stop()


def _place(loops: Sequence[Loop], balance: Callable[[], int] | None, here: Loop, accepted: Accepted) -> None:
    """Give a connection that one loop accepted to the loop whose turn it is; without a balancer, to that one."""
    if balance is None:
        here.started += 1
        _adopt(here, accepted)
        return
    loop = loops[balance()]
    loop.handed += 1
    if loop is here:
        _adopt(loop, accepted)
    else:
        loop.submit(functools.partial(_adopt, loop), accepted)


def _loop_of_this_thread(loops: Sequence[Loop]) -> Loop:
    """The loop that runs in the calling thread, else the first."""
    here = threading.get_ident()
    return next((loop for loop in loops if loop.ident == here), loops[0])


def _on_asyncio(loop: Loop) -> TypeGuard[NetLoop]:
    return not loop.polls_together


def _adopt(loop: Loop, accepted: Accepted) -> None:
    if _on_asyncio(loop):
        from .fallback import listener as net_listener

        net_listener.adopt(loop, accepted)
    else:
        adopt(loop, accepted)


def _serialised(events: Events, lock: threading.RLock) -> Events:
    """The same events, one at a time: where a native and a simulated loop share an index, each in its thread."""

    def one_at_a_time(callback: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(callback)
        def locked(*arguments: Any) -> Any:
            with lock:
                return callback(*arguments)

        return locked

    serialised = dataclasses.replace(events)
    for name in ON_LOOPS:
        callback = getattr(events, name)
        if callback is not None:
            setattr(serialised, name, one_at_a_time(callback))
    return serialised


def _snapshot(loop: Loop) -> LoopStats:
    return dataclasses.replace(loop.stats, connections=loop.open_connections)
