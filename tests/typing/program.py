"""A program of somebody else's, fully annotated: type checkers have to accept it without ``Any``."""

from __future__ import annotations

from dataclasses import dataclass, field

from evio_core import (
    Action,
    Conn,
    Deferred,
    Events,
    Handler,
    InputStream,
    Middleware,
    Options,
    Reply,
    Server,
    serve,
    start,
)


@dataclass
class Session:
    input: InputStream = field(default_factory=InputStream)
    lines: int = 0


chat: set[Conn[Session]] = set()


def opened(conn: Conn[Session]) -> bytes:
    conn.context = Session()
    chat.add(conn)
    return b"hello\n"


def data(conn: Conn[Session], chunk: bytes) -> Reply:
    session = conn.context
    *lines, rest = session.input.begin(chunk).split(b"\n")
    session.input.end(rest)
    session.lines += len(lines)
    for other in chat:
        other.write(b"".join(lines))
    return (b"%d lines" % session.lines, Action.CLOSE) if b"quit" in lines else None


def closed(conn: Conn[Session], error: BaseException | None) -> None:
    chat.discard(conn)


class Upstream(Handler):
    def __init__(self, client: Client) -> None:
        self.client = client

    def data(self, chunk: bytes) -> None:
        self.client.answer.set_result(chunk)


class Client(Handler):
    def opened(self) -> None:
        self.upstream = Upstream(self)
        self.answer = Deferred()
        self.conn.server.dial("tcp://localhost:6000", handler=self.upstream)
        self.conn.call_later(60, self.conn.abort)

    def data(self, chunk: bytes) -> Reply:
        if chunk.startswith(b"hash"):
            return self.conn.run_in_thread(self.hash, chunk)
        self.upstream.conn.write(chunk)
        self.answer = Deferred()
        return self.answer

    def hash(self, word: bytes) -> bytes:
        return b"%d" % hash(word)

    def closed(self, error: BaseException | None) -> None:
        self.upstream.conn.close()


class Limited(Middleware):
    def __init__(self, inner: Handler, most: int) -> None:
        super().__init__(inner)
        self.most = most

    def data(self, chunk: bytes) -> Reply:
        return Action.CLOSE if len(chunk) > self.most else super().data(chunk)


def serving(server: Server) -> None:
    server.call_later(1, print, "one second up", server.stats().total.connections)


def main() -> None:
    events = Events(opened=opened, data=data, closed=closed, serving=serving, options=Options(idle_timeout=60))
    events.handlers = {"tcp://localhost:6001": Client, "unix:///tmp/a.sock": Limited.around(Client, 1000)}
    with start({"tcp://127.0.0.1:0": Client}) as server:
        print(server.addrs)
    later = Events()
    later.data = lambda conn, chunk: chunk
    serve(events, "tcp://localhost:5000")
