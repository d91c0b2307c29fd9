"""The clients of the soak: each does one thing to a server of :mod:`evio_http` and checks every byte that it gets."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import struct
from collections.abc import Callable
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path

__all__ = ["CLIENTS", "Place", "Wrong", "fill", "make_site"]

SMALL = b"a small page, which is answered from memory\n" * 20
LARGE = random.Random(1).randbytes(4_000_000)
TIMEOUT = 20.0
HELD_FILES, KNOWN_PATHS = 512, 20_000
"""At least what a server keeps of files, and of paths for each scheme."""
ROUND = 50
"""Requests over one connection."""


class Wrong(Exception):
    """An answer that is not what it has to be."""


def make_site(directory: Path) -> None:
    """Write the files that the clients ask for."""
    (directory / "small.html").write_bytes(SMALL)
    (directory / "large.bin").write_bytes(LARGE)


class Place:
    """A server, over TLS or not, and its files; for one thread."""

    def __init__(self, port: int, authority: str | None, site: Path, number: int) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=authority) if authority else None
        self.site = site
        self.own = f"own-{number}.txt"
        """The name of a file for this thread to change."""
        self.random = random.Random(number)

    def connect(self) -> HTTPConnection:
        """A connection that is not open yet."""
        if self._context is None:
            return HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        return HTTPSConnection("127.0.0.1", self._port, timeout=TIMEOUT, context=self._context)

    def socket(self) -> socket.socket:
        """The socket of an open connection."""
        raw = socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT)
        return self._context.wrap_socket(raw, server_hostname="127.0.0.1") if self._context else raw


def get(conn: HTTPConnection, target: str, status: int, content: bytes, **fields: str) -> HTTPResponse:
    """Ask, and check the answer. Raises :class:`Wrong`."""
    conn.request("GET", target, headers={name.replace("_", "-"): value for name, value in fields.items()})
    answer = conn.getresponse()
    body = answer.read()
    if (answer.status, body) != (status, content):
        raise Wrong(f"{target} {fields}: {answer.status}, {len(body)} bytes; {status}, {len(content)} expected")
    return answer


def fill(place: Place) -> None:
    """Have the server remember as much as it ever will: more paths, answers and open files than it keeps."""
    with contextlib.closing(place.connect()) as conn:
        for first in range(HELD_FILES + 100):
            for size in (20_000, 50_000):  # for memory, and for a file held open
                content = LARGE[first : first + size]
                get(conn, "/large.bin", 206, content, Range=f"bytes={first}-{first + size - 1}")
        page = get_error(conn)
    with place.socket() as sock:
        for number in range(KNOWN_PATHS):
            sock.sendall(b"GET /nothing-%d HTTP/1.1\r\nHost: x\r\nUser-Agent: soak\r\n\r\n" % number)
            answer = b""
            while not answer.endswith(page):
                part = sock.recv(1 << 20)
                if not part:
                    raise Wrong("the server ended a connection")
                answer += part


def keep_alive(place: Place) -> None:
    """The same small file over one connection."""
    with contextlib.closing(place.connect()) as conn:
        for _ in range(ROUND):
            get(conn, "/small.html", 200, SMALL)


def new_connections(place: Place) -> None:
    """A connection for each request."""
    for _ in range(ROUND // 5):
        with contextlib.closing(place.connect()) as conn:
            get(conn, "/small.html", 200, SMALL, Connection="close")


def never_the_same(place: Place) -> None:
    """Heads and paths that were never seen before, so that what is remembered of others has to be given up."""
    with contextlib.closing(place.connect()) as conn:
        for _ in range(ROUND):
            get(conn, f"/small.html?{place.random.random()}", 200, SMALL)
            get(conn, f"/{place.random.random()}", 404, get_error(conn))


def get_error(conn: HTTPConnection) -> bytes:
    """The page of a 404."""
    conn.request("GET", "/nothing")
    return conn.getresponse().read()


def ranges(place: Place) -> None:
    """Pieces of a large file."""
    with contextlib.closing(place.connect()) as conn:
        for _ in range(ROUND // 5):
            first = place.random.randrange(len(LARGE))
            last = min(len(LARGE) - 1, first + place.random.randrange(300_000))
            get(conn, "/large.bin", 206, LARGE[first : last + 1], Range=f"bytes={first}-{last}")


def conditions(place: Place) -> None:
    """Ask as a browser that has the file."""
    with contextlib.closing(place.connect()) as conn:
        tag = get(conn, "/small.html", 200, SMALL).headers["ETag"]
        for _ in range(ROUND):
            get(conn, "/small.html", 304, b"", If_None_Match=tag)


def downloads(place: Place) -> None:
    """A large file, whole."""
    with contextlib.closing(place.connect()) as conn:
        get(conn, "/large.bin", 200, LARGE)


def aborted_downloads(place: Place) -> None:
    """A large file, until the client has enough; some say so with a reset."""
    for number in range(ROUND // 10):
        with place.socket() as sock:
            sock.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
            if not sock.recv(10_000).startswith(b"HTTP/1.1 200 "):
                raise Wrong("no answer to abort")
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def changes(place: Place) -> None:
    """A file that was replaced before it is asked for: what it was before must not come."""
    path, fresh = place.site / place.own, place.site / f"{place.own}.new"
    with contextlib.closing(place.connect()) as conn:
        for _ in range(ROUND // 5):
            content = place.random.randbytes(place.random.randrange(60_000)).hex().encode()
            fresh.write_bytes(content)
            os.replace(fresh, path)
            get(conn, f"/{place.own}", 200, content)


def junk(place: Place) -> None:
    """Send what is refused, what is half of something, and what is no TLS."""
    for raw, status in (
        (b"GET / HTTP/1.1\r\nHost: x\r\n bad\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", b"413"),
        (b"GET /small.ht", b""),
    ):
        with place.socket() as sock:
            sock.sendall(raw)
            if status and sock.recv(100)[9:12] != status:
                raise Wrong(f"no {status!r} for {raw[:50]!r}")


CLIENTS: tuple[Callable[[Place], None], ...] = (
    keep_alive,
    new_connections,
    never_the_same,
    ranges,
    conditions,
    downloads,
    aborted_downloads,
    changes,
    junk,
)
"""The steps that each thread repeats, one after the other."""
