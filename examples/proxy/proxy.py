"""A TCP proxy (layer 4): back-pressure, half-close, health checks, and the client's address for the backend."""

from __future__ import annotations

import argparse
import itertools

from evio_core import Address, Events, Handler, Server, proxy_header, serve, url

MOST = 256 * 1024  # bytes that may wait for one side before the other one is no longer read
PATIENCE = 5.0  # seconds that connecting to a backend may take


class Backends:
    """The backends in turn, without those that a health check could not reach."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self.down: set[str] = set()
        self.turns = itertools.count()

    def next(self) -> str:
        """The one whose turn it is; any of them if all are down."""
        usable = [each for each in self.addresses if each not in self.down] or self.addresses
        return usable[next(self.turns) % len(usable)]

    def found(self, address: str, error: BaseException | None) -> None:
        """Take note of what a check or a client's connection has found."""
        if error is None and address in self.down:
            self.down.remove(address)
            print(f"{address} is up", flush=True)
        elif error is not None and address not in self.down:
            self.down.add(address)
            print(f"{address} is down: {error}", flush=True)


class Check(Handler):
    """Connects, and that is all."""

    reached = False

    def __init__(self, backends: Backends, address: str) -> None:
        self.backends = backends
        self.address = address

    def opened(self) -> None:
        self.reached = True
        self.conn.close()

    def closed(self, error: BaseException | None) -> None:
        self.backends.found(self.address, None if self.reached else error or ConnectionError("no answer"))


class Side(Handler):
    """One of the two connections of a client; ``other`` is the other one."""

    other: Side

    def data(self, chunk: bytes) -> None:
        other = self.other.conn
        other.write(chunk)
        if other.pending > MOST:
            self.conn.pause_reading()

    def drained(self) -> None:
        self.other.conn.resume_reading()

    def eof(self) -> None:
        self.other.conn.shutdown_write()

    def closed(self, error: BaseException | None) -> None:
        other = self.other.conn
        other.close() if error is None else other.abort()  # what is on its way still arrives, unless this one failed


class Upstream(Side):
    """The connection to the backend. One that cannot be reached is left out, and the next one is tried."""

    def __init__(self, client: Client, address: str) -> None:
        self.other = self.client = client
        self.address = address
        self.is_open = False

    def opened(self) -> None:
        self.is_open = True
        self.other.conn.resume_reading()

    def closed(self, error: BaseException | None) -> None:
        if self.is_open:
            super().closed(error)
            return
        if not self.client.gone:
            self.client.backends.found(self.address, error or ConnectionError("no answer"))
            self.client.connect()


class Client(Side):
    def __init__(self, backends: Backends, with_header: bool) -> None:
        self.backends = backends
        self.with_header = with_header
        self.attempts = len(backends.addresses)
        self.gone = False

    def opened(self) -> None:
        self.conn.pause_reading()  # until there is somebody to give it to
        self.connect()

    def connect(self) -> None:
        """Dial the next backend."""
        if not self.attempts:
            self.conn.abort()
            return
        self.attempts -= 1
        upstream = self.other = Upstream(self, self.backends.next())
        conn = self.conn.server.dial(upstream.address, timeout=PATIENCE, handler=upstream)
        if self.with_header:
            conn.write(proxy_header(self.conn.remote_addr, self.conn.local_addr))

    def closed(self, error: BaseException | None) -> None:
        self.gone = True
        super().closed(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("listen", metavar="ADDRESS", help="where clients come, such as tcp://:5000")
    parser.add_argument(
        "backends", nargs="+", metavar="BACKEND", help="where they are taken, such as tcp://10.0.0.1:80"
    )
    parser.add_argument("--check", type=float, default=2.0, metavar="SECONDS", help="time between health checks")
    parser.add_argument("--proxy-protocol", action="store_true", help="begin with a PROXY protocol header, version 2")
    arguments = parser.parse_args()
    backends = Backends(arguments.backends)
    servers: list[Server] = []

    def serving(server: Server) -> None:
        servers.append(server)
        print("listening on", url(Address.parse(arguments.listen).scheme, server.addrs[0]), flush=True)

    def tick() -> float:
        for address in backends.addresses:
            servers[0].dial(address, timeout=PATIENCE, handler=Check(backends, address))
        return float(arguments.check)

    handlers = {arguments.listen: lambda: Client(backends, arguments.proxy_protocol)}
    serve(Events(handlers=handlers, serving=serving, tick=tick))


if __name__ == "__main__":
    main()
