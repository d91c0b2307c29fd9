"""Connecting to somewhere with asyncio."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from ..addresses.address import Address
from ..addresses.candidates import ATTEMPT_DELAY, Candidate, alternate
from ..addresses.origin import Origin
from ..addresses.resolver import look_up_numeric, resolve
from ..addresses.sockopt import apply_address, apply_options, bind_own_end
from ..errors import ConnectTimeout
from ..loop.channel import Channel
from ..loop.poller import WRITE
from ..stream.connection import Connection
from ..stream.half_open import HalfOpen
from ..stream.state import NOT_POLLED
from ..tls.channel import TLSChannel
from ..tls.credentials import client_session
from .channel import NetChannel, StreamProtocol
from .loop import NetLoop

__all__ = ["dial"]


def dial(loop: NetLoop, address: Address, origin: Origin, context: Any, timeout: float) -> Connection:
    """A connection in its opening state. From any thread. Raises :class:`TLSError` for a bad certificate."""
    wire = NetChannel(loop)
    channel: Channel = TLSChannel(client_session(address), wire) if address.tls_at_once else wire
    conn = Connection(loop, -1, origin, None, channel, context)

    def start(_: object) -> None:
        loop.started += 1
        loop.stats.dialled += 1
        if conn.gone or loop.stopping:
            conn.close_now()
            return
        conn.use_descriptor(-1 - loop.started, NOT_POLLED)
        loop.handlers[conn.fd] = _Dialling(conn, loop.begin_task(_dial(loop, conn, wire, address, timeout)))
        conn.limit_opening(timeout)

    loop.submit(start)
    return conn


class _Dialling(HalfOpen):
    """The task that dials, which ends with its connection."""

    __slots__ = ("_task",)

    def __init__(self, conn: Connection, task: asyncio.Task[None]) -> None:
        super().__init__(conn)
        self._task = task

    def abandon(self) -> None:
        if self._task is not asyncio.current_task(self._task.get_loop()):
            self._task.cancel()


async def _dial(loop: NetLoop, conn: Connection, wire: NetChannel, address: Address, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            sock = await _open_socket(loop, address)
        if conn.gone:
            sock.close()
            return
        apply_options(sock, conn.options)
        loop.handlers.pop(conn.fd, None)
        conn.use_descriptor(sock.fileno(), WRITE)
        loop.handlers[conn.fd] = conn
        conn.set_addresses(sock.getpeername(), None)
        await loop.aio.connect_accepted_socket(lambda: StreamProtocol(loop, conn, wire, None), sock)
    except TimeoutError:
        conn.drop(ConnectTimeout("no answer in time"))
    except OSError as error:
        conn.drop(error)
    loop.turn_soon()


async def _open_socket(loop: NetLoop, address: Address) -> socket.socket:
    """A connected socket, of the address of the host that answers first."""
    if address.base == "unix":
        return await _connect(loop, address, (socket.AddressFamily["AF_UNIX"], address.path))
    candidates = alternate(await _look_up(loop, address))
    attempts: set[asyncio.Task[socket.socket]] = set()
    failure = OSError("the host has no address")
    try:
        while candidates or attempts:
            if candidates:
                attempts.add(loop.aio.create_task(_connect(loop, address, candidates.pop(0))))
            ended, _ = await asyncio.wait(
                attempts, timeout=ATTEMPT_DELAY if candidates else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in ended:
                attempts.remove(attempt)
                try:
                    return attempt.result()
                except OSError as error:
                    failure = error
        raise failure
    finally:
        for attempt in attempts:
            attempt.cancel()
        for late in await asyncio.gather(*attempts, return_exceptions=True):
            if isinstance(late, socket.socket):
                late.close()


async def _look_up(loop: NetLoop, address: Address) -> list[Candidate]:
    """The addresses of the host."""
    numeric = look_up_numeric(address, socket.SOCK_STREAM)
    if numeric is not None:
        return numeric
    future: asyncio.Future[list[Candidate]] = loop.aio.create_future()

    def settle(found: list[Candidate] | OSError) -> None:
        if future.done():
            return  # cancelled
        if isinstance(found, OSError):
            future.set_exception(found)
        else:
            future.set_result(found)

    look_up = resolve(address, socket.SOCK_STREAM, lambda found: loop.submit(settle, found))
    try:
        return await future
    finally:
        look_up.cancel()


async def _connect(loop: NetLoop, address: Address, candidate: Candidate) -> socket.socket:
    """A socket connected to this address."""
    family, name = candidate
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        apply_address(sock, address)
        bind_own_end(sock, address)
        await loop.aio.sock_connect(sock, name)
    except BaseException:
        sock.close()
        raise
    return sock
