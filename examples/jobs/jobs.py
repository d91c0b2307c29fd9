"""A job server: a line is a job, done in a thread; its answer is a line, in the order of the jobs."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Callable

from evio_core import Events, Handler, InputStream, Options, Reply, serve, url

LONGEST = 64 * 1024  # bytes of a job
AHEAD = 64  # jobs of one client that may be on their way


def password(text: str) -> str:
    """A hash of a password (scrypt, RFC 7914)."""
    return hashlib.scrypt(text.encode(), salt=b"pepper", n=2**14, r=8, p=1, dklen=32).hex()


def factors(number: int) -> list[int]:
    """The prime factors of a number."""
    found, divisor = list[int](), 2
    while divisor <= math.isqrt(number):
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return [*found, number] if number > 1 else found


def checksum(path: str) -> str:
    """The SHA-256 of a file, however slow its disk."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


JOBS: dict[str, Callable[..., object]] = {"password": password, "factors": factors, "checksum": checksum}


def work(line: bytes) -> bytes:
    """Do a job, in a thread; whatever happens is its answer."""
    try:
        name, argument = json.loads(line)
        answer: dict[str, object] = {"result": JOBS[name](argument)}
    except (ValueError, TypeError, KeyError, OSError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    return json.dumps(answer).encode() + b"\n"


class Worker(Handler):
    def __init__(self) -> None:
        self.input = InputStream(limit=LONGEST)

    def data(self, chunk: bytes) -> Reply:
        *lines, rest = self.input.begin(chunk).split(b"\n")
        self.input.end(rest)
        for line in lines:
            self.conn.write(self.conn.run_in_thread(work, line))
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="tcp://127.0.0.1:5000")
    parser.add_argument("--threads", type=int, default=4)
    arguments = parser.parse_args()
    serve(
        Events(
            handlers={arguments.address: Worker},
            num_threads=arguments.threads,
            options=Options(max_deferred=AHEAD),
            serving=lambda server: print("listening on", url("tcp", server.addrs[0]), flush=True),
        )
    )


if __name__ == "__main__":
    main()
