"""``python -m evio_http DIR``: the command line."""

from __future__ import annotations

import gc
import logging
import signal
import sys
from contextlib import suppress
from types import FrameType

from evio_core import EvioError, ListenError, WorkerError, serve, workers

from .cli.arguments import parse_arguments
from .cli.build import Setup
from .cli.describe import describe

__all__ = ["main"]

log: logging.Logger = logging.getLogger("evio_http")


def main(arguments: list[str] | None = None) -> int:
    """Serve as ``arguments`` ask. Returns the exit status: 0, 1 when an address cannot be had, 2 when what was asked
    for cannot be."""
    # What was imported stays: collections need not look at it, nor does the end of the process.
    gc.freeze()
    flags = parse_arguments(arguments)
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s", level=logging.DEBUG if flags.verbose else logging.WARNING
    )
    if not flags.verbose:
        log.setLevel(logging.INFO)  # of ours, that it has stopped
    # Full collections look at every answer that is remembered, up to 20 ms long; little that lives long is ever part of
    # a cycle, so they may be rare. Those of the middle generation, which come while many files are asked for the first
    # time, look at what came since the last one: a millisecond, where it is after two of the youngest and not ten.
    gc.set_threshold(1000, 2, 500)
    allow_files()
    try:
        setup = Setup(flags)
        try:
            if flags.check:
                setup.check()
                print("evio-http: all of it would work", file=sys.stderr)
            else:
                run(setup, flags.workers)
                log.info("stopped")
        finally:
            setup.close()
    except (EvioError, OSError, ValueError) as error:
        print(f"evio-http: {describe(error)}", file=sys.stderr)
        return 1 if isinstance(error, (ListenError, WorkerError)) else 2
    return 0


def run(setup: Setup, count: int) -> None:
    """Serve until stopped."""
    if count:
        workers(count, setup.events, *setup.addresses)
        return
    if sys.platform == "win32":  # which has no SIGHUP
        serve(setup.events, *setup.addresses)
        return

    def reload() -> None:
        for error in setup.reload():
            log.error("%s; what is in use stays", describe(error))

    def on_hangup(number: int, frame: FrameType | None) -> None:
        if setup.server is not None:
            setup.server.call(reload)

    before = signal.signal(signal.SIGHUP, on_hangup)
    try:
        serve(setup.events, *setup.addresses)
    finally:
        signal.signal(signal.SIGHUP, before)


def allow_files() -> None:
    """As many open connections and files as the system lets us have without asking."""
    if sys.platform != "win32":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(OSError, ValueError):  # macOS says "no limit" and then has one: what there is has to do
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
