"""The limit: an echo server that is nothing but ``epoll``, ``os.read`` and ``os.write`` in a loop.

What a Python program cannot go below. It is a correct echo server for any client (output that the kernel
does not take is kept, and no more is read until it has left), but has no time-outs, limits, statistics or
callbacks: an event loop's own cost is its distance from this.
"""

from __future__ import annotations

import os
import select
import socket
import sys

__all__: list[str] = []

READ_SIZE = 65536


class Echo:
    """The listening socket, the poller, and the output that the kernel did not take, by descriptor."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.epoll = select.epoll()
        self.epoll.register(listener.fileno(), select.EPOLLIN)
        self.unsent: dict[int, bytes] = {}

    def run(self) -> None:
        """Serve until killed."""
        # Bound once: an attribute look-up costs as much here as the tests do.
        poll, read, write = self.epoll.poll, os.read, os.write
        readable, listening = select.EPOLLIN, self.listener.fileno()
        while True:
            for fd, events in poll():
                if fd == listening:
                    self.accept()
                    continue
                if events != readable and fd in self.unsent:
                    self.flush(fd)
                    continue
                try:
                    chunk = read(fd, READ_SIZE)
                except OSError:
                    chunk = b""
                if not chunk:
                    os.close(fd)
                    continue
                try:
                    sent = write(fd, chunk)
                except OSError:
                    # No room, or no peer any more: flush finds out which.
                    sent = 0
                if sent != len(chunk):
                    self.keep(fd, chunk[sent:])

    def accept(self) -> None:
        """Take every connection that waits."""
        while True:
            try:
                client, _ = self.listener.accept()
            except BlockingIOError:
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The descriptor alone: a socket object would be memory per connection for nothing.
            self.epoll.register(client.detach(), select.EPOLLIN)

    def keep(self, fd: int, rest: bytes) -> None:
        """Output that has to wait for the peer to read."""
        self.unsent[fd] = rest
        self.epoll.modify(fd, select.EPOLLOUT)

    def flush(self, fd: int) -> None:
        """There is room again, or the peer is gone."""
        rest = self.unsent.pop(fd)
        try:
            rest = rest[os.write(fd, rest) :]
        except OSError:
            os.close(fd)
            return
        if rest:
            self.unsent[fd] = rest
        else:
            self.epoll.modify(fd, select.EPOLLIN)


def main() -> None:
    """Serve on 127.0.0.1 and the port given."""
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
    listener.setblocking(False)
    Echo(listener).run()


if __name__ == "__main__":
    main()
