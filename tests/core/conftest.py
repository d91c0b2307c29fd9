"""The matrix of guarantees: pollers, numbers of loops, transports.

A daily run has the cells that differ in their code, a full one has all.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
import uvloop

from tests.extent import FULL

from . import kqueue

POLLERS = ["epoll", "asyncio", *(["select", "kqueue"] if FULL else [])]
"""The pollers of tests that are about one server of one loop."""

PROCESSES = [poller for poller in POLLERS if poller != "kqueue"]
"""The pollers of a process of its own, which has no stand-in."""

NATIVE = [poller for poller in POLLERS if poller != "asyncio"]


class WithoutReaders(asyncio.SelectorEventLoop):
    """An event loop that polls no descriptors for others, as that of Windows (``asyncio.ProactorEventLoop``)."""


def _polls_nothing(*arguments: object) -> None:
    raise NotImplementedError


for _method in ("add_reader", "remove_reader", "add_writer", "remove_writer"):
    setattr(WithoutReaders, _method, _polls_nothing)


def use_poller(patch: pytest.MonkeyPatch, name: str) -> None:
    """Have the servers of this process use this poller."""
    if name == "kqueue":
        kqueue.install(patch)
    elif name == "uvloop":
        patch.setattr(asyncio, "new_event_loop", uvloop.new_event_loop)
    elif name == "readerless":
        patch.setattr(asyncio, "new_event_loop", WithoutReaders)
    patch.setenv("EVIO_POLLER", "asyncio" if name in ("uvloop", "readerless") else name)


Cell = tuple[str, int, str]

DAILY: list[Cell] = [
    *itertools.product(["epoll"], [1], ["tcp", "unix", "tls"]),
    *itertools.product(["asyncio"], [1], ["tcp", "tls"]),
    # Several loops and select know nothing of what is above a descriptor.
    ("epoll", 3, "tcp"),
    ("select", 1, "tcp"),
]

ALL: list[Cell] = [
    *dict.fromkeys(
        [
            *DAILY,
            # That of kqueue is a stand-in for the kernel's: what is tested is how the core uses it.
            *itertools.product(["epoll", "kqueue", "select", "asyncio"], [1, 2, 5], ["tcp", "unix", "tls"]),
            *itertools.product(["epoll"], [3], ["tls"]),
            # What programs that run asyncio mostly run it on. Over tcp and unix its transports read on within a turn
            # after pause_reading(), which some of the tests do not allow; the guide says so.
            *itertools.product(["uvloop"], [1, 2, 5], ["tls"]),
            # As on Windows, as far as its event loop goes.
            *itertools.product(["readerless"], [1, 2], ["tcp", "tls"]),
        ]
    )
]


def needs_the_systems(poller: str) -> None:
    """Skip a test that runs a process of its own, which has no stand-ins."""
    if poller == "kqueue":
        pytest.skip("a process of its own has no kqueue")


@dataclass
class Certificates:
    """Files of a certificate authority made for the tests and of a certificate for localhost."""

    cert: str
    key: str
    ca: str
    authority: trustme.CA


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    directory = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    paths = [str(directory / name) for name in ("cert.pem", "key.pem", "ca.pem")]
    for blob in issued.cert_chain_pems:
        blob.write_to_path(paths[0], append=True)
    issued.private_key_pem.write_to_path(paths[1])
    authority.cert_pem.write_to_path(paths[2])
    return Certificates(paths[0], paths[1], paths[2], authority)


@pytest.fixture(params=POLLERS)
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A native poller of each kind, and the fallback."""
    use_poller(monkeypatch, request.param)
    return str(request.param)


@dataclass
class Variant:
    """One cell of the matrix."""

    poller: str
    num_loops: int
    transport: str
    new_address: Callable[[], str]
    trust: str | None

    @property
    def address(self) -> str:
        return self.new_address()


def _name(cell: Cell) -> str:
    return "-".join(map(str, cell))


@pytest.fixture(params=ALL if FULL else DAILY, ids=_name)
def variant(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    certificates: Certificates,
) -> Variant:
    poller, num_loops, transport = request.param
    use_poller(monkeypatch, poller)
    poller = "asyncio" if poller in ("uvloop", "readerless") else poller
    numbers = itertools.count()

    def new_address() -> str:
        if transport == "tcp":
            return "tcp://127.0.0.1:0"
        if transport == "unix":
            return f"unix://{tmp_path}/{next(numbers)}.sock"
        return f"tls://127.0.0.1:0?cert={certificates.cert}&key={certificates.key}"

    return Variant(poller, num_loops, transport, new_address, certificates.ca if transport == "tls" else None)
