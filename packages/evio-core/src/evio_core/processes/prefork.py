"""Several processes on the same addresses.

The process that calls :func:`workers` binds the addresses, forks, and supervises. The listening sockets are the
supervisor's and stay open whatever happens to a worker, so the connections that wait in their queues are never
lost: another worker, or the replacement, accepts them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping

from ..addresses.bind import bind_all
from ..errors import WorkerError
from ..events import Events, HandlerFactory
from ..loop.cpus import usable_cpus
from ..server import checked, parse_all

__all__ = ["workers"]


def workers(n: int, events: Events | Mapping[str, HandlerFactory], *addresses: str) -> None:
    """Serve the addresses with ``n`` processes (-1: one per usable CPU) until stopped.

    Each runs its own loops and callbacks, ``serving`` included, and shares nothing with the others but what was
    open before. SIGTERM and SIGINT stop all in good order, a second one at once; SIGHUP replaces them one by one, by
    new ones that load the certificates afresh, without refusing a connection: an old one accepts no more, fires
    ``retiring``, closes connections as they fall quiet, and ends with the last of them or after
    ``shutdown_timeout``. A worker that dies is replaced; ``SHUTDOWN`` in one of them stops all.

    Raises what :func:`evio_core.serve` raises for addresses and settings, ``ValueError`` for ``n``, and
    :class:`WorkerError` outside the main thread, on a system without ``fork``, and when workers die before they are
    ready.
    """
    if n < 1 and n != -1:
        raise ValueError(f"workers must be -1 (one per CPU) or 1 and more, not {n}")
    if threading.current_thread() is not threading.main_thread():
        raise WorkerError("workers are supervised by signals, which only the main thread receives")
    if sys.platform == "win32":
        raise WorkerError("this system cannot fork; use num_loops")
    else:  # noqa: RET506  # mypy does not import in a branch of another platform
        from .supervisor import Supervisor

        events = checked(events)
        count = usable_cpus() if n == -1 else n
        bound = bind_all(parse_all(events, addresses), events.options, count)
        try:
            Supervisor(count, events, bound).run()
        finally:
            for each in bound:
                each.close()
