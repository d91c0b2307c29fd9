"""An echo server on evio_core whose handler computes for tens of microseconds: ``loops|workers COUNT PORT``.

What several loops in threads gain or lose under the interpreter's lock shows here, where most of the time is Python's.
"""

from __future__ import annotations

import sys

from evio_core import Conn, Events, serve, workers

__all__: list[str] = []

STEPS = 500
"""Rounds of the handler's arithmetic: about 20 µs."""


def data(_conn: Conn, chunk: bytes) -> bytes:
    """Compute, then send back what came."""
    total = 0
    for step in range(STEPS):
        total += step & 7
    return chunk if total else b""


def main() -> None:
    """Serve on 127.0.0.1 until killed."""
    how, count, port = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    address = f"tcp://127.0.0.1:{port}"
    if how == "workers":
        workers(count, Events(data=data), address)
    else:
        serve(Events(data=data, num_loops=count), address)


if __name__ == "__main__":
    main()
