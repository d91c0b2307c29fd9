"""The servers of the echo benchmark: plain, over TLS, and with more than one loop."""

from __future__ import annotations

from pathlib import Path

from .. import certificate
from ..server import Peer, Requirement, python

__all__ = ["BUSY", "LOOPS", "PLAIN", "TLS"]

EVIO = Requirement("evio_echo", "pip install -e packages/evio-core -e packages/evio-echo")
UVLOOP = Requirement("uvloop", "pip install uvloop (it is among the development dependencies)")

PLAIN = (
    Peer("evio", lambda port, _: python("evio_echo", f"tcp://127.0.0.1:{port}"), (EVIO,)),
    Peer("bare", lambda port, _: python("tools.bench.peers.bare", str(port))),
    Peer("asyncio", lambda port, _: python("tools.bench.peers.protocols", "asyncio", str(port))),
    Peer("uvloop", lambda port, _: python("tools.bench.peers.protocols", "uvloop", str(port)), (UVLOOP,)),
)


def evio_tls(port: int, directory: Path) -> list[str]:
    chain, key = directory / certificate.CERTIFICATE, directory / certificate.KEY
    return python("evio_echo", f"tls://127.0.0.1:{port}?cert={chain}&key={key}")


def protocol_tls(loop: str, port: int, directory: Path) -> list[str]:
    files = (str(directory / certificate.CERTIFICATE), str(directory / certificate.KEY))
    return python("tools.bench.peers.protocols", loop, str(port), *files)


TLS = (
    Peer("evio", evio_tls, (EVIO,)),
    Peer("asyncio", lambda port, directory: protocol_tls("asyncio", port, directory)),
    Peer("uvloop", lambda port, directory: protocol_tls("uvloop", port, directory), (UVLOOP,)),
)

LOOPS = (
    PLAIN[0],
    Peer("2 loops", lambda port, _: python("evio_echo", "--loops", "2", f"tcp://127.0.0.1:{port}"), (EVIO,)),
    Peer("2 workers", lambda port, _: python("evio_echo", "--workers", "2", f"tcp://127.0.0.1:{port}"), (EVIO,)),
)

BUSY = (
    Peer("evio", lambda port, _: python("tools.bench.peers.busy", "loops", "1", str(port)), (EVIO,)),
    Peer("2 loops", lambda port, _: python("tools.bench.peers.busy", "loops", "2", str(port)), (EVIO,)),
    Peer("2 workers", lambda port, _: python("tools.bench.peers.busy", "workers", "2", str(port)), (EVIO,)),
)
