"""A key-value server with a rate limiter and a lock that keeps its fences, as commands of its own."""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import time

from evio_redis import Args, CommandError, Server, Session, array, integer

FENCES = itertools.count(1)


class Buckets:
    """Token buckets (GCRA): for each key the moment at which its bucket will be full again."""

    def __init__(self) -> None:
        self.full_at: dict[bytes, float] = {}

    def take(self, key: bytes, burst: int, rate: float, now: float) -> tuple[bool, int, float]:
        """Whether one may pass, how many more may pass now, and the seconds until one may."""
        interval = 1 / rate
        full_at = max(self.full_at.get(key, now), now)
        wait = full_at + interval - (now + burst * interval)
        if wait > 1e-9:
            return False, 0, wait
        self.full_at[key] = full_at = full_at + interval
        return True, int((now + burst * interval - full_at) / interval + 1e-9), 0.0

    def forget(self, now: float) -> None:
        """Drop the buckets that are full, which mean nothing."""
        self.full_at = {key: full_at for key, full_at in self.full_at.items() if full_at > now}


class Locks:
    """Who holds what, and until when."""

    def __init__(self) -> None:
        self.held: dict[bytes, tuple[bytes, int, float]] = {}

    def holder(self, name: bytes, now: float) -> tuple[bytes, int, float] | None:
        held = self.held.get(name)
        return held if held is not None and held[2] > now else None


def number(text: bytes, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise CommandError(f"ERR {what} must be a number above 0")
    return value


def make_server(port: int) -> Server:
    server = Server(port=port)
    buckets, locks, calls = Buckets(), Locks(), itertools.count(1)

    @server.command("THROTTLE", arity=4, keys=(1, 1, 1), flags="fast", summary="Let a request pass, or say when.")
    def throttle(session: Session, args: Args) -> bytes:
        """``THROTTLE key burst rate``: passed (1 or 0), how many more may pass, milliseconds to wait."""
        now = time.monotonic()
        if next(calls) % 10_000 == 0:
            buckets.forget(now)
        passed, left, wait = buckets.take(args[1], int(number(args[2], "burst")), number(args[3], "rate"), now)
        return array([integer(passed), integer(left), integer(round(wait * 1000))])

    @server.command("LOCK", arity=4, keys=(1, 1, 1), flags="fast", summary="Take a lock.")
    def lock(session: Session, args: Args) -> bytes:
        """``LOCK name owner seconds``: a fencing token that grows with every lock, or 0 if another one holds it."""
        now, seconds = time.monotonic(), number(args[3], "seconds")
        held = locks.holder(args[1], now)
        if held is not None and held[0] != args[2]:
            return integer(0)
        fence = held[1] if held is not None else next(FENCES)
        locks.held[args[1]] = (args[2], fence, now + seconds)
        return integer(fence)

    @server.command("UNLOCK", arity=3, keys=(1, 1, 1), flags="fast", summary="Give a lock back.")
    def unlock(session: Session, args: Args) -> bytes:
        """``UNLOCK name owner``: 1 if it was held by that owner."""
        held = locks.holder(args[1], time.monotonic())
        if held is None or held[0] != args[2]:
            return integer(0)
        del locks.held[args[1]]
        return integer(1)

    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=7000)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)  # it says where it listens
    make_server(parser.parse_args().port).run()


if __name__ == "__main__":
    main()
