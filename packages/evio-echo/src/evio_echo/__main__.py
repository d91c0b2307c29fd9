"""An echo server, and how a program on evio_core is put together: arguments, events, serve."""

from __future__ import annotations

import argparse
import functools
import gc
import itertools
import os
import sys

from evio_core import (
    Action,
    Address,
    Conn,
    Events,
    EvioError,
    LoadBalance,
    Options,
    Server,
    TLSError,
    __version__,
    serve,
    url,
    workers,
)
from evio_core.cli import Parser, count, seconds

EXAMPLES = """\
addresses:
  tcp://127.0.0.1:5000   udp://[::1]:5000   unix:///tmp/echo.sock   tcp://:5000 (all interfaces)
  tls://localhost:5000?cert=cert.pem&key=key.pem

examples:
  evio-echo                            tcp and udp on 127.0.0.1:5000; try: nc 127.0.0.1 5000
  evio-echo --trace unix://echo.sock   show what passes; try: nc -U echo.sock
  evio-echo --loops -1 --reuseport     a loop for each CPU, each with a socket of its own
"""


def make_parser() -> Parser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser("evio-echo", description="Send back what is received.", epilog=EXAMPLES, formatter_class=raw)
    balances, default = [each.value for each in LoadBalance], ["tcp://127.0.0.1:5000", "udp://127.0.0.1:5000"]
    parser.add_argument("addresses", nargs="*", default=default, metavar="ADDRESS", help="where to listen; see below")
    parser.add_argument("--loops", type=count, default=1, metavar="N", help="event loops (threads); -1: one per CPU")
    parser.add_argument("--workers", type=count, default=0, metavar="N", help="processes; -1: one per CPU")
    parser.add_argument("--balance", choices=balances, default="round-robin", help="which loop gets a connection")
    parser.add_argument("--reuseport", action="store_true", help="a listening socket for each loop or worker")
    parser.add_argument("--trace", action="store_true", help="print what passes, escaped")
    parser.add_argument("--idle-timeout", type=seconds, default=0.0, metavar="SECONDS", help="drop silent connections")
    parser.add_argument("--version", action="version", version=f"evio-echo {__version__}")
    return parser


def read_addresses(arguments: argparse.Namespace) -> list[Address]:
    addresses = [Address.parse(text) for text in arguments.addresses]
    if arguments.reuseport:
        return [each.with_options(reuseport=True) if each.allows("reuseport") else each for each in addresses]
    return addresses


def say(line: str) -> None:
    """Print in one piece, as loops and workers share the output. Raises ``OSError``, at once: what ``print`` leaves in
    a buffer is an error once more at exit."""
    if sys.stdout is not None:
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


def make_events(arguments: argparse.Namespace, schemes: list[str]) -> Events:
    numbers, silenced = itertools.count(1), False

    def serving(server: Server) -> None:
        process = f" (process {os.getpid()})" if arguments.workers else ""
        for name, bound in zip(schemes, server.addrs, strict=True):
            say(f"listening on {url(name, bound)}{process}")

    def trace(conn: Conn, what: str) -> Action:
        nonlocal silenced
        conn.context = conn.context or next(numbers)  # unix peers have no name, and a datagram is its own connection
        line = f"#{conn.context} {url(schemes[conn.addr_index], conn.remote_addr)} {what}"
        try:  # escaped, as a terminal obeys what cannot be printed
            say("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))
        except OSError as error:  # whoever read it has gone, or the disk is full
            if not silenced:  # what ends now would have a line each
                print(f"evio-echo: cannot print: {error.strerror}", file=sys.stderr)
            silenced = True
            return Action.SHUTDOWN
        return Action.NONE

    events = Events(serving=serving, data=lambda conn, chunk: chunk, num_loops=arguments.loops)
    events.load_balance = LoadBalance(arguments.balance)
    events.options = Options(idle_timeout=arguments.idle_timeout)
    if arguments.trace:
        events.opened = lambda conn: trace(conn, "opened")
        events.data = lambda conn, chunk: (chunk, trace(conn, repr(chunk)))
        events.closed = lambda conn, error: trace(conn, f"closed: {error!r}" if error else "closed")
    return events


def main(arguments: list[str] | None = None) -> int:
    gc.freeze()  # what was imported stays, and the end of the process need not look at it
    parsed = make_parser().parse_args(arguments)
    run = functools.partial(workers, parsed.workers) if parsed.workers else serve
    try:
        addresses = read_addresses(parsed)
        run(make_events(parsed, [each.scheme for each in addresses]), *map(str, addresses))
    except (EvioError, OSError, ValueError) as error:
        print(f"evio-echo: {error}", file=sys.stderr)
        return 2 if isinstance(error, (ValueError, TLSError)) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
