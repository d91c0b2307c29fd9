"""Run as a program: an example of the documentation, at addresses of its own.

``python child.py DESCRIPTOR EXAMPLE [ARGUMENT...]``: ports are any free ones, files are in the current directory, and
the addresses that were bound are written to the descriptor, a line of JSON for each server.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import sys
from collections.abc import Callable, Mapping
from typing import Any

import evio_core
from evio_core import Events, HandlerFactory, Server, stdlib

announcements = int(sys.argv[1])


def moved(address: str) -> str:
    """The same kind of address, where no other test is."""
    address = re.sub(r"^([a-z0-9-]+://)(localhost|127\.0\.0\.1)?:\d+", r"\g<1>127.0.0.1:0", address)
    return address.replace("/tmp/", "./")


def announcing(events: Events) -> Events:
    own = events.serving

    def serving(server: Server) -> Any:
        result = own(server) if own is not None else None
        os.write(announcements, json.dumps(server.addrs).encode() + b"\n")
        return result

    events.serving = serving
    return events


def served_elsewhere(real: Callable[..., Any]) -> Callable[..., Any]:
    def serve(events: Events | Mapping[str, HandlerFactory], *addresses: str) -> Any:
        if isinstance(events, Mapping):
            events = Events(handlers=events)
        events.handlers = {moved(address): factory for address, factory in events.handlers.items()}
        return real(announcing(events), *map(moved, addresses))

    return serve


def main() -> None:
    real_workers = evio_core.workers
    evio_core.serve = served_elsewhere(evio_core.serve)
    stdlib.serve = served_elsewhere(stdlib.serve)
    evio_core.workers = lambda n, *others: served_elsewhere(lambda *given: real_workers(n, *given))(*others)
    del sys.argv[:2]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
