"""The memcached text protocol: a cache that memcached's clients can use."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from evio_core import Action, Events, Handler, InputStream, Reply, serve, url

KEY = re.compile(rb"[^\x00-\x20\x7f]{1,250}")
NUMBER = re.compile(rb"-?\d{1,20}")
LONGEST_LINE, LARGEST_VALUE = 64 * 1024, 1024 * 1024
MONTH = 30 * 24 * 3600  # seconds: a larger time is a moment, as of the Unix clock
ALWAYS_ANSWERED = (b"get", b"gets", b"version", b"stats")
BAD_LINE = b"CLIENT_ERROR bad command line format\r\n"


class Item(NamedTuple):
    flags: bytes
    value: bytes
    unique: int
    expires: float  # Unix time


class Cache(dict[bytes, Item]):
    """The items by key. One that has expired is dropped when it is looked up."""

    changes = 0

    def find(self, key: bytes) -> Item | None:
        item = self.get(key)
        if item is not None and item.expires <= time.time():
            del self[key]
            return None
        return item

    def put(self, key: bytes, flags: bytes, value: bytes, expires: float) -> None:
        self.changes += 1
        self[key] = Item(flags, value, self.changes, expires)


def moment(text: bytes) -> float:
    seconds = int(text) or float("inf")
    return seconds if seconds > MONTH else time.time() + seconds if seconds > 0 else 0.0


class Memcached(Handler):
    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.input = InputStream(limit=LONGEST_LINE + LARGEST_VALUE)
        self.commands: dict[bytes, Callable[[list[bytes]], bytes]] = {
            b"get": self.get, b"gets": self.get, b"delete": self.delete, b"incr": self.count, b"decr": self.count,
            b"flush_all": self.flush_all, b"version": lambda words: b"VERSION 1.6.0-evio\r\n",
            b"verbosity": lambda words: b"OK\r\n" if len(words) == 2 else b"ERROR\r\n",
            b"stats": lambda words: b"ERROR\r\n" if words[1:] else b"STAT curr_items %d\r\nEND\r\n" % len(cache),
        }  # fmt: skip

    def data(self, chunk: bytes) -> Reply:
        buffer, at, output = self.input.begin(chunk), 0, list[bytes]()
        while (end := buffer.find(b"\n", at, at + LONGEST_LINE)) >= 0:
            words = buffer[at:end].split()
            command = words[0] if words else b""
            if command == b"quit":
                return b"".join(output), Action.CLOSE
            next_line = end + 1
            if command in (b"set", b"add", b"replace", b"append", b"prepend", b"cas"):
                if len(words) not in (5, 6, 7) or not all(map(NUMBER.fullmatch, words[2:5])):
                    return b"".join(output) + BAD_LINE, Action.CLOSE  # where its data ends, nobody knows
                if not 0 <= int(words[4]) <= LARGEST_VALUE:
                    return b"".join(output) + b"SERVER_ERROR object too large for cache\r\n", Action.CLOSE
                next_line += int(words[4]) + 2
                if len(buffer) < next_line:
                    self.input.end(buffer[at:], next_line - at)
                    return b"".join(output)
                reply = self.store(words, buffer[end + 1 : next_line])
            else:
                run = self.commands.get(command)
                reply = run(words) if run is not None else b"ERROR\r\n"
            if words[-1:] != [b"noreply"] or command in ALWAYS_ANSWERED:
                output.append(reply)
            at = next_line
        self.input.end(buffer[at:])
        return b"".join(output)

    def store(self, words: list[bytes], block: bytes) -> bytes:
        command, key, flags, expires = words[:4]
        if not block.endswith(b"\r\n"):
            return b"CLIENT_ERROR bad data chunk\r\n"
        if not KEY.fullmatch(key):
            return BAD_LINE
        value, old = block[:-2], self.cache.find(key)
        if command == b"cas":
            if len(words) < 6 or not NUMBER.fullmatch(words[5]):
                return BAD_LINE
            if old is None or old.unique != int(words[5]):
                return b"EXISTS\r\n" if old is not None else b"NOT_FOUND\r\n"
        elif (command == b"add") is (old is not None) and command != b"set":
            return b"NOT_STORED\r\n"
        if old is not None and command in (b"append", b"prepend"):
            value = old.value + value if command == b"append" else value + old.value
            self.cache.put(key, old.flags, value, old.expires)
        else:
            self.cache.put(key, flags, value, moment(expires))
        return b"STORED\r\n"

    def get(self, words: list[bytes]) -> bytes:
        if len(words) < 2:
            return b"ERROR\r\n"
        parts = []
        for key in words[1:]:
            item = self.cache.find(key)
            if item is not None:
                unique = b" %d" % item.unique if words[0].endswith(b"s") else b""
                parts.append(b"VALUE %b %b %d%b\r\n%b\r\n" % (key, item.flags, len(item.value), unique, item.value))
        return b"".join(parts) + b"END\r\n"

    def delete(self, words: list[bytes]) -> bytes:
        if len(words) < 2 or words[2:] not in ([], [b"0"], [b"noreply"], [b"0", b"noreply"]):
            return BAD_LINE if len(words) > 1 else b"ERROR\r\n"
        return b"DELETED\r\n" if self.cache.find(words[1]) and self.cache.pop(words[1]) else b"NOT_FOUND\r\n"

    def count(self, words: list[bytes]) -> bytes:
        if len(words) < 3 or not NUMBER.fullmatch(words[2]):
            return b"CLIENT_ERROR invalid numeric delta argument\r\n"
        item = self.cache.find(words[1])
        if item is None:
            return b"NOT_FOUND\r\n"
        if not NUMBER.fullmatch(item.value):
            return b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
        by = int(words[2])
        value = (int(item.value) + by) % 2**64 if words[0] == b"incr" else max(0, int(item.value) - by)
        self.cache.put(words[1], item.flags, b"%d" % value, item.expires)
        return b"%d\r\n" % value

    def flush_all(self, words: list[bytes]) -> bytes:
        self.cache.clear()
        return b"OK\r\n"


if __name__ == "__main__":
    addresses, cache = sys.argv[1:] or ["tcp://127.0.0.1:11211"], Cache()
    serve(
        Events(
            handlers={address: lambda: Memcached(cache) for address in addresses},
            serving=lambda server: print("listening on", *map(url, ["tcp"] * 9, server.addrs), flush=True),
        )
    )
