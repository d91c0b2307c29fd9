"""``python -m evio_core ADDRESS --handler module:Name``: serve a program's handler."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import logging
import mmap
import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from evio_core import Action, AddressError, Events, EvioError, Server, Stats, TLSError, __version__, serve, url
from evio_core.cli import Parser, count, seconds

from .addresses.address import Address
from .addresses.bind import bind_all
from .events import Options
from .loop.cpus import usable_cpus
from .run import changes
from .run.application import ApplicationError, find, load, show
from .run.trace import traced
from .server import parse_all

__all__ = ["main"]

EXAMPLES = """\
Name is a Handler class, Events, or a function without parameters that returns either; the module is looked for in the
current directory first.

examples:
  python -m evio_core tcp://127.0.0.1:5000 --handler server:Echo --reload
  python -m evio_core tcp://:5000 unix:///run/echo.sock --handler package.server:make_events --workers -1
  python -m evio_core tcp://127.0.0.1:5000 --handler server:events --stats 10 --trace

signals: SIGTERM and SIGINT stop in good order; with --workers or --reload, SIGHUP replaces the workers by new ones that
import the module afresh, without refusing a connection.
"""

log: logging.Logger = logging.getLogger("evio")


def make_parser() -> Parser:
    """Make the parser of all flags."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        "python -m evio_core", description="Serve a program's handler.", epilog=EXAMPLES, formatter_class=raw
    )
    parser.add_argument("addresses", nargs="+", metavar="ADDRESS", help="where to listen, as tcp://127.0.0.1:5000")
    parser.add_argument("--handler", required=True, metavar="MODULE:NAME", help="what to serve there")
    parser.add_argument("--loops", type=count, metavar="N", help="event loops (threads); -1: one per CPU")
    parser.add_argument("--workers", type=count, default=0, metavar="N", help="processes; -1: one per CPU")
    parser.add_argument(
        "--reload", action="store_true", help="for development: replace the worker when a Python file here has changed"
    )
    parser.add_argument("--stats", type=seconds, default=0.0, metavar="SECONDS", help="log the counters that often")
    parser.add_argument("--trace", action="store_true", help="print a line for each event")
    parser.add_argument("--version", action="version", version=f"evio-core {__version__}")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Serve as ``arguments`` ask. Returns the exit status: 0, 1 when the system refuses something or the program has an
    error, 2 when what was asked for cannot be."""
    gc.freeze()  # what was imported stays, and the end of the process need not look at it
    flags = make_parser().parse_intermixed_args(arguments)  # addresses may come after flags
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        find(flags.handler)
        for address in {each for each in flags.addresses if flags.addresses.count(each) > 1}:
            raise ApplicationError(f"{address} is given twice")
        if flags.workers or flags.reload:
            _supervise(flags)
        else:
            serve(*_arguments(_events(flags), flags.addresses))
    except ApplicationError as error:
        print(f"python -m evio_core: {error}", file=sys.stderr)
        return 2
    except (EvioError, OSError) as error:
        print(f"python -m evio_core: {error}", file=sys.stderr)
        return 2 if isinstance(error, (AddressError, TLSError)) else 1
    except _ProgramError as error:
        sys.stderr.write(show(error.cause))
        return 1
    return 0


class _ProgramError(Exception):
    """The program's module raised ``cause``."""

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause


def _arguments(events: Events, addresses: list[str]) -> tuple[Any, ...]:
    return (events,) if events.handlers else (events, *addresses)


def _events(flags: argparse.Namespace) -> Events:
    """The program's events, with what the flags ask for. Raises :class:`ApplicationError` and ``_ProgramError``."""
    try:
        events = load(flags.handler, flags.addresses)
    except ApplicationError:
        raise
    except Exception as error:
        raise _ProgramError(error) from None
    events = dataclasses.replace(events)
    if flags.loops is not None:
        events.num_loops = flags.loops or 1
    if flags.trace:
        events = traced(events, _say)
    events.serving = _serving(events.serving, flags)
    return events


def _serving(own: Callable[[Server], Action | None] | None, flags: argparse.Namespace) -> Any:
    schemes = [Address.parse(text).scheme for text in flags.addresses]

    def serving(server: Server) -> Action | None:
        process = f" (process {os.getpid()})" if flags.workers or flags.reload else ""
        for scheme, bound in zip(schemes, server.addrs, strict=False):
            _say(f"listening on {url(scheme, bound)}{process}")
        if flags.stats:
            _report(server, flags.stats)
        return own(server) if own is not None else None

    return serving


def _report(server: Server, period: float) -> None:
    """Log the counters, now and every ``period`` seconds, as long as the server runs."""
    before = server.stats()

    def report() -> None:
        nonlocal before
        now = server.stats()
        log.info("%s", describe(before, now, period))
        before = now
        server.call_later(period, report)

    server.call_later(period, report)


def describe(before: Stats, now: Stats, period: float) -> str:
    """Return a line about what a server did in ``period`` seconds."""

    total, earlier = now.total, before.total

    def rate(counter: str) -> float:
        more: int = getattr(total, counter) - getattr(earlier, counter)
        return more / period

    line = f"{total.connections} connections, {rate('accepted'):.1f} accepted/s"
    line += f", {rate('bytes_in'):,.0f} B/s in, {rate('bytes_out'):,.0f} B/s out, {rate('turns'):,.1f} turns/s"
    datagrams = rate("datagrams_in") + rate("datagrams_out")
    return f"{line}, {datagrams:,.1f} datagrams/s" if datagrams else line


def _supervise(flags: argparse.Namespace) -> None:
    """Serve by workers, which import the program each for itself: one that replaces another has it as it is then."""
    if sys.platform == "win32":
        raise ApplicationError("this system cannot fork: --workers and --reload are not for it")

    number = usable_cpus() if flags.workers == -1 else max(1, flags.workers)
    loaded = mmap.mmap(-1, 1)  # shared: 1 once a worker has imported the program
    addresses = parse_all(Events(), flags.addresses)
    with ExitStack() as stack:
        bound = bind_all(addresses, Options(), number)
        for each in bound:
            stack.callback(each.close)
        if flags.reload:
            try:
                watcher = changes.start(os.getcwd())
            except ImportError:
                raise ApplicationError("--reload needs watchfiles: pip install 'evio-core[reload]'") from None
            stack.callback(watcher.wait)
            stack.callback(watcher.terminate)
        else:
            _try_out(flags)

        def events() -> Events:
            try:
                own = _events(flags)
            except (ApplicationError, _ProgramError) as error:
                sys.stderr.write(show(error.cause if isinstance(error, _ProgramError) else error))
                if loaded[0]:
                    raise SystemExit(1) from None  # the old worker stays
                _say("waiting for a change")
                return Events(opened=lambda conn: Action.CLOSE)
            loaded[0] = 1
            return own

        if sys.platform != "win32":  # said once more for type checkers
            from .processes.supervisor import Supervisor

            Supervisor(number, Events(), bound, events).run()


def _try_out(flags: argparse.Namespace) -> None:
    """Import the program once, in a process that ends: what is wrong with it is said once and not by each worker.
    Raises :class:`ApplicationError`, and ``SystemExit`` for an error in the program."""
    if sys.platform == "win32":
        raise NotImplementedError("there is no fork on Windows")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            load(flags.handler, flags.addresses)
            status = 0
        except ApplicationError as error:
            os.write(writer, str(error).encode())
        except BaseException as error:
            sys.stderr.write(show(error))
            sys.stderr.flush()
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    if said:
        raise ApplicationError(said)
    if status:
        raise SystemExit(1)


_printing = threading.Lock()


def _say(line: str) -> None:
    """Print a line, with what cannot be printed escaped. One that nobody reads is lost."""
    with _printing:
        try:
            print("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line), flush=True)
        except OSError as error:
            log.warning("cannot print: %s", error.strerror)


if __name__ == "__main__":
    sys.exit(main())
