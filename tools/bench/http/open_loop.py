"""An open loop: requests come when they come, whether or not earlier ones are answered, as those of many visitors do.

A closed loop sends the next request when the last one is answered, so a server that stops for 50 ms is asked less
meanwhile, and its percentiles do not tell. Here arrivals are drawn beforehand (exponential gaps, a fixed seed). Each
goes out on a connection that is free, or waits for one, and its latency begins with its arrival.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from ..load import TIMEOUT
from ..server import BenchError
from ..traffic import READ_SIZE, Answers, Run, uncollected

__all__ = ["arrivals", "offer"]


def arrivals(rate: float, seconds: float) -> Iterator[float]:
    """Seconds at which requests come, ``rate`` a second in the mean, from 0 up to ``seconds``."""
    random = Random(1)
    at = random.expovariate(rate)
    while at < seconds:
        yield at
        at += random.expovariate(rate)


def offer(
    clients: Sequence[socket.socket],
    answers: Callable[[], Answers],
    requests: Iterator[bytes],
    times: Iterable[float],
) -> Run:
    """Send one of ``requests`` at each of ``times``, in seconds from now, over whichever of ``clients`` is free.

    A latency begins when a request was taken up: this process being late is not the server's fault. Raises
    :class:`BenchError` when the server closes a connection, gives a wrong answer or none within TIMEOUT.
    """
    with uncollected():
        try:
            return offered(clients, answers, requests, deque(times))
        except ConnectionError as error:
            raise BenchError(f"the server closed a connection: {error.strerror}") from error


def offered(
    clients: Sequence[socket.socket],
    answers: Callable[[], Answers],
    requests: Iterator[bytes],
    coming: deque[float],
) -> Run:
    run, clock = Run(), time.perf_counter
    free = deque((client, answers()) for client in clients)
    waiting: deque[float] = deque()
    busy: dict[socket.socket, tuple[Answers, float]] = {}
    started = clock()
    while coming or waiting or busy:
        now = clock()
        while coming and started + coming[0] <= now:
            coming.popleft()
            waiting.append(now)
        while waiting and free:
            (client, counting), request = free.popleft(), next(requests)
            busy[client] = counting, waiting.popleft()
            counting.sent(request)
            client.sendall(request)
        # Not epoll, which counts in milliseconds.
        left = max(0.0, started + coming[0] - clock()) if coming else TIMEOUT
        ready = select.select(busy, (), (), left)[0]
        if not ready and not coming:
            raise BenchError(f"no answer within {TIMEOUT:g} s")
        for client in ready:
            chunk = client.recv(READ_SIZE)
            if not chunk:
                raise BenchError("the server closed a connection")
            counting, since = busy[client]
            if counting.received(chunk):
                run.latencies.append(clock() - since)
                del busy[client]
                free.append((client, counting))
    run.elapsed = clock() - started
    run.batches = len(run.latencies)
    return run
