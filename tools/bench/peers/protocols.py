"""An echo server as an asyncio ``Protocol``, on asyncio's own loop or on uvloop's, plain or TLS.

``python -m tools.bench.peers.protocols asyncio|uvloop PORT [CERTIFICATE KEY]``
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import cast

__all__: list[str] = []

BACKLOG = 4096
"""As the other servers: asyncio's default of 100 would be a comparison of defaults."""


class Echo(asyncio.Protocol):
    """One connection."""

    __slots__ = ("write",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bind the one method that is needed: the shortest way from input to output."""
        # Not isinstance: uvloop's transports are no subclasses of asyncio's.
        self.write = cast(asyncio.WriteTransport, transport).write

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.write(data)


async def serve(port: int, files: list[str]) -> None:
    """Serve on 127.0.0.1 until killed; over TLS when there are a certificate and a key."""
    context = None
    if files:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", port, ssl=context, backlog=BACKLOG)
    await server.serve_forever()


def main() -> None:
    """As the module's docstring says."""
    name, port, *files = sys.argv[1:]
    if name == "uvloop":
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    else:
        runner = asyncio.Runner()
    with runner:
        runner.run(serve(int(port), files))


if __name__ == "__main__":
    main()
