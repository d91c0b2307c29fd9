"""The floor: the commands of the Redis workloads on ``epoll``, hiredis and dictionaries, and nothing else.

A key-value server in Python does not get below this: no time-outs, limits, statistics, persistence, ACL or
transactions, and one function a command with nothing around it. What it does serve is served truly: keys expire, a
value of another type is ``WRONGTYPE``, and replies are Redis's (https://redis.io/docs/latest/commands/). A sorted set
is a dictionary, since the workloads only add to it. ``python -m tools.bench.peers.floor PORT``
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis

__all__: list[str] = []

keys: dict[bytes, Any] = {}
deadlines: dict[bytes, float] = {}
"""Values by key, and when those that expire do so, in seconds of ``time.monotonic``."""

NULL = b"$-1\r\n"


class Scores(dict[bytes, float]):
    """A sorted set."""


def live(key: bytes, kind: type) -> Any:
    """The value of ``key``, None without one or when it has expired. Raises TypeError when it is of another
    ``kind``."""
    if key in deadlines and deadlines[key] <= time.monotonic():
        del keys[key], deadlines[key]
    value = keys.get(key)
    if value is not None and type(value) is not kind:
        raise TypeError("WRONGTYPE Operation against a key holding the wrong kind of value")
    return value


def get(key: bytes) -> bytes:
    value = live(key, bytes)
    return NULL if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def set_(key: bytes, value: bytes, option: bytes = b"", seconds: bytes = b"") -> bytes:
    keys[key] = value
    if option:
        deadlines[key] = time.monotonic() + int(seconds)
    elif key in deadlines:
        del deadlines[key]
    return b"+OK\r\n"


def incr(key: bytes) -> bytes:
    number = int(live(key, bytes) or 0) + 1
    keys[key] = b"%d" % number
    return b":%d\r\n" % number


def expire(key: bytes, seconds: bytes) -> bytes:
    if key not in keys or live(key, type(keys[key])) is None:
        return b":0\r\n"
    deadlines[key] = time.monotonic() + int(seconds)
    return b":1\r\n"


def hset(key: bytes, *pairs: bytes) -> bytes:
    fields = live(key, dict)
    if fields is None:
        fields = keys[key] = {}
    before = len(fields)
    for index in range(0, len(pairs), 2):
        fields[pairs[index]] = pairs[index + 1]
    return b":%d\r\n" % (len(fields) - before)


def hget(key: bytes, field: bytes) -> bytes:
    fields = live(key, dict)
    value = None if fields is None else fields.get(field)
    return NULL if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def hgetall(key: bytes) -> bytes:
    fields = live(key, dict) or {}
    return b"*%d\r\n" % (2 * len(fields)) + b"".join(
        [b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(field), field, len(value), value) for field, value in fields.items()]
    )


def lpush(key: bytes, *elements: bytes) -> bytes:
    items = live(key, deque)
    if items is None:
        items = keys[key] = deque()
    items.extendleft(elements)
    return b":%d\r\n" % len(items)


def rpop(key: bytes) -> bytes:
    items = live(key, deque)
    if items is None:
        return NULL
    element = items.pop()
    if not items:
        del keys[key]
        deadlines.pop(key, None)
    return b"$%d\r\n%b\r\n" % (len(element), element)


def llen(key: bytes) -> bytes:
    return b":%d\r\n" % len(live(key, deque) or ())


def sadd(key: bytes, *members: bytes) -> bytes:
    kept = live(key, set)
    if kept is None:
        kept = keys[key] = set()
    before = len(kept)
    kept.update(members)
    return b":%d\r\n" % (len(kept) - before)


def zadd(key: bytes, score: bytes, member: bytes) -> bytes:
    scores = live(key, Scores)
    if scores is None:
        scores = keys[key] = Scores()
    before = len(scores)
    scores[member] = float(score)
    return b":%d\r\n" % (len(scores) - before)


COMMANDS: dict[bytes, Callable[..., bytes]] = {
    b"PING": lambda: b"+PONG\r\n",
    b"GET": get,
    b"SET": set_,
    b"INCR": incr,
    b"EXPIRE": expire,
    b"HSET": hset,
    b"HGET": hget,
    b"HGETALL": hgetall,
    b"LPUSH": lpush,
    b"RPOP": rpop,
    b"LLEN": llen,
    b"SADD": sadd,
    b"ZADD": zadd,
}


def answers(reader: Any) -> list[bytes]:
    """The replies to the commands that have arrived whole."""
    gets, commands, replies = reader.gets, COMMANDS, []
    while (command := gets()) is not False:
        try:
            replies.append(commands[command[0]](*command[1:]))
        except (KeyError, TypeError, ValueError) as error:
            text = str(error)
            replies.append(b"-%b\r\n" % (text if text.startswith("WRONGTYPE") else f"ERR {text}").encode())
    return replies


def serve(listener: socket.socket) -> None:
    """Serve until killed."""
    epoll, listening, readers = select.epoll(), listener.fileno(), {}
    epoll.register(listener, select.EPOLLIN)
    while True:
        for fd, _ in epoll.poll():
            if fd == listening:
                client = listener.accept()[0]
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                epoll.register(client, select.EPOLLIN)
                readers[client.detach()] = hiredis.Reader()
                continue
            try:
                chunk = os.read(fd, 65536)
                readers[fd].feed(chunk)
                # The socket blocks: os.write takes it all. A client that does not read stops the server.
                os.write(fd, b"".join(answers(readers[fd])))
            except OSError:
                chunk = b""
            if not chunk:
                del readers[fd]
                os.close(fd)


def main() -> None:
    """Serve on 127.0.0.1 and the port given."""
    serve(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096))


if __name__ == "__main__":
    main()
