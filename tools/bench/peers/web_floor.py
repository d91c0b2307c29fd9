"""The limit of a web server: ``epoll``, a dictionary of whole answers and, over TLS, the standard library's ``ssl``.

What a Python program cannot go below. It has every file in memory from its start on and never looks at one again, takes
the path and If-None-Match from a head and checks nothing else of it, and expects the kernel to take each answer whole:
no limits, no time-outs, no other methods.
"""

from __future__ import annotations

import os
import re
import select
import socket
import ssl
import sys
from email.utils import formatdate
from pathlib import Path

__all__: list[str] = []

READ_SIZE = 16 * 1024
KNOWN_TAG = re.compile(rb"\r\nIf-None-Match: ([^\r]*)")
HEAD = "HTTP/1.1 {status}\r\nDate: {date}\r\nServer: floor\r\nETag: {tag}\r\nLast-Modified: {modified}\r\n{more}\r\n"


class Answers:
    """The answers 200 and 304 for every file below a folder."""

    def __init__(self, folder: Path) -> None:
        self._by_path: dict[bytes, tuple[bytes, bytes, bytes]] = {}
        for file in folder.rglob("*"):
            if file.is_file():
                self._by_path[b"/" + os.fsencode(file.relative_to(folder))] = self._of(file)

    @staticmethod
    def _of(file: Path) -> tuple[bytes, bytes, bytes]:
        """The entity tag, and both answers."""
        content, status = file.read_bytes(), file.stat()
        tag = f'"{len(content):x}-{int(status.st_mtime):x}"'
        told = {"date": formatdate(usegmt=True), "tag": tag, "modified": formatdate(status.st_mtime, usegmt=True)}
        more = f"Content-Type: text/plain\r\nAccept-Ranges: bytes\r\nContent-Length: {len(content)}\r\n"
        full = HEAD.format(status="200 OK", more=more, **told).encode() + content
        return tag.encode(), full, HEAD.format(status="304 Not Modified", more="", **told).encode()

    def to(self, head: bytes) -> bytes:
        """The answer to a whole request. Raises ``KeyError`` if there is no such file."""
        tag, full, not_modified = self._by_path[head[4 : head.index(b" ", 4)]]
        known = KNOWN_TAG.search(head)
        return not_modified if known is not None and known[1] == tag else full


def write(fd: int, output: bytes) -> None:
    """Raises ``BlockingIOError`` if the kernel does not take all of it."""
    if os.write(fd, output) != len(output):
        raise BlockingIOError("the kernel did not take an answer whole")


class Secured:
    """The TLS of one connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._open = False

    def received(self, fd: int, chunk: bytes) -> bytes:
        """Return the plaintext of ``chunk``; during the handshake there is none, and its next part is sent."""
        self._incoming.write(chunk)
        try:
            if not self._open:
                self._object.do_handshake()
                self._open = True
            return self._object.read(READ_SIZE)
        except ssl.SSLWantReadError:
            return b""
        finally:
            if self._outgoing.pending:
                write(fd, self._outgoing.read())

    def send(self, fd: int, output: bytes) -> None:
        self._object.write(output)
        write(fd, self._outgoing.read())


def serve(listener: socket.socket, answers: Answers, context: ssl.SSLContext | None) -> None:
    """Serve until killed."""
    epoll, sessions = select.epoll(), dict[int, Secured]()
    poll, read, answer, listening = epoll.poll, os.read, answers.to, listener.fileno()
    epoll.register(listening, select.EPOLLIN)
    while True:
        for fd, _ in poll():
            if fd == listening:
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.setblocking(False)
                fd = client.detach()
                epoll.register(fd, select.EPOLLIN)
                if context is not None:
                    sessions[fd] = Secured(context)
                continue
            try:
                chunk = read(fd, READ_SIZE)
                if chunk and context is not None:
                    session = sessions[fd]
                    chunk = session.received(fd, chunk)
                    if chunk:
                        session.send(fd, answer(chunk))
                elif chunk:
                    write(fd, answer(chunk))
                else:
                    raise ConnectionResetError
            except (ConnectionError, ssl.SSLError):  # it is over
                sessions.pop(fd, None)
                os.close(fd)


def main() -> None:
    """Serve on 127.0.0.1 and the port given the files of a folder, over TLS if a certificate and its key are given."""
    port, folder, *pair = sys.argv[1:]
    context = None
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
    serve(socket.create_server(("127.0.0.1", int(port)), backlog=4096), Answers(Path(folder)), context)


if __name__ == "__main__":
    main()
