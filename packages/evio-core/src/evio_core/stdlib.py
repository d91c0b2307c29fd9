"""The fallback: the same events, simulated on asyncio.

Addresses with a ``-net`` scheme (``tcp-net://``) are served this way by :func:`evio_core.serve`, and so are all
addresses on a system without a native poller or with ``EVIO_POLLER=asyncio``. A program that runs asyncio already
awaits :func:`serve` of this module.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping

from .addresses.bind import bind_all
from .events import Events, HandlerFactory
from .server import RunningServer, checked, loop_count, parse_all

__all__ = ["serve"]


async def serve(events: Events | Mapping[str, HandlerFactory], *addresses: str) -> None:
    """Serve the addresses on the running asyncio loop until the server is stopped.

    With ``num_loops`` above 1, the others run in threads. Signals are left to the program. Cancelling stops the
    server in good order, then raises ``asyncio.CancelledError``. Raises what :func:`evio_core.serve` raises.
    """
    events = checked(events)
    parsed = [dataclasses.replace(address, fallback=True) for address in parse_all(events, addresses)]
    num_loops = loop_count(events)
    bound = bind_all(parsed, events.options, num_loops)
    try:
        await RunningServer(events, bound, num_loops, aio=asyncio.get_running_loop()).run_async()
    finally:
        for each in bound:
            each.close()
