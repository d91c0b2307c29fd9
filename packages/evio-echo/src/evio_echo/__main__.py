"""An echo server, and how a program on evio_core is put together: arguments, events, serve."""

from __future__ import annotations

import argparse
import logging
import sys
from importlib.metadata import version

from evio_core import Conn, Events, EvioError, ListenError, LoadBalance, Options, Server, serve, url, workers

DEFAULT_ADDRESSES = ("tcp://127.0.0.1:5000", "udp://127.0.0.1:5000")

EXAMPLES = """\
addresses:
  tcp://127.0.0.1:5000   udp://[::1]:5000   unix:///tmp/echo.sock   tcp://:5000 (all interfaces)
  tls://localhost:5000?cert=cert.pem&key=key.pem

examples:
  evio-echo                            tcp and udp on 127.0.0.1:5000; try: nc 127.0.0.1 5000
  evio-echo --trace unix://echo.sock   show what passes; try: nc -U echo.sock
  evio-echo --loops -1 --reuseport     a loop for each CPU, each with a socket of its own
"""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="evio-echo",
        description="Send back whatever is received.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    balances = [balance.value for balance in LoadBalance]
    parser.add_argument("addresses", nargs="*", metavar="ADDRESS", help="where to listen; see below")
    parser.add_argument("--loops", type=int, default=1, metavar="N", help="event loops (threads); -1: one per CPU")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes; -1: one per CPU")
    parser.add_argument("--balance", choices=balances, default="round-robin", help="which loop gets a connection")
    parser.add_argument("--reuseport", action="store_true", help="a listening socket for each loop")
    parser.add_argument("--trace", action="store_true", help="print what passes, escaped")
    parser.add_argument("--idle-timeout", type=float, default=0.0, metavar="SECONDS", help="drop silent connections")
    parser.add_argument("--version", action="version", version=f"evio-echo {version('evio-echo')}")
    return parser.parse_args(arguments)


def with_reuseport(address: str) -> str:
    """The address with ``reuseport=true``, where its scheme has that."""
    if not address.startswith(("tcp", "udp", "tls")):
        return address
    return address + ("&" if "?" in address else "?") + "reuseport=true"


def make_events(arguments: argparse.Namespace, addresses: list[str]) -> Events:
    def serving(server: Server) -> None:
        for address, bound in zip(addresses, server.addrs, strict=True):
            print("listening on", url(address.partition("://")[0], bound), flush=True)

    def data(conn: Conn, chunk: bytes) -> bytes:
        return chunk

    def traced_data(conn: Conn, chunk: bytes) -> bytes:
        print(conn.remote_addr, repr(chunk), flush=True)  # repr: what a peer sends must not drive the terminal
        return chunk

    def traced_closed(conn: Conn, error: BaseException | None) -> None:
        print(conn.remote_addr, f"closed: {error!r}" if error else "closed", flush=True)

    return Events(
        serving=serving,
        data=traced_data if arguments.trace else data,
        opened=(lambda conn: print(conn.remote_addr, "opened", flush=True)) if arguments.trace else None,
        closed=traced_closed if arguments.trace else None,
        num_loops=arguments.loops,
        load_balance=LoadBalance(arguments.balance),
        options=Options(idle_timeout=arguments.idle_timeout),
    )


def main(arguments: list[str] | None = None) -> int:
    parsed = parse_arguments(arguments)
    addresses = list(parsed.addresses or DEFAULT_ADDRESSES)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    try:
        given = [with_reuseport(address) for address in addresses] if parsed.reuseport else addresses
        if parsed.workers:
            workers(parsed.workers, make_events(parsed, addresses), *given)
        else:
            serve(make_events(parsed, addresses), *given)
    except (EvioError, ValueError) as error:
        print(f"evio-echo: {error}", file=sys.stderr)
        return 1 if isinstance(error, ListenError) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
