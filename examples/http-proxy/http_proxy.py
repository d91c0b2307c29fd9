"""An HTTP/1.1 proxy before backends (layer 7): h11 on both sides, connections to the backends are kept."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator

import h11

from evio_core import Action, Events, Handler, Options, Reply, serve, url

MOST = 256 * 1024  # bytes that may wait for one side before the other one is no longer read
HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"}  # RFC 9110, 7.6.1


def end_to_end(headers: Iterable[tuple[bytes, bytes]], *others: bytes) -> list[tuple[bytes, bytes]]:
    fields = list(headers)
    named = {word.strip().lower() for name, value in fields if name == b"connection" for word in value.split(b",")}
    return [(name, value) for name, value in fields if name not in HOP_BY_HOP | named | {*others}]


class Side(Handler):
    def __init__(self, role: type[h11.Sentinel]) -> None:  # type: ignore[name-defined]
        self.http = h11.Connection(role)
        self.peer: Side | None = None  # the other connection, while there is a request

    def pass_on(self, event: h11.Event, source: Side) -> None:
        self.conn.write(self.http.send(event) or b"")
        if self.conn.pending > MOST:
            source.conn.pause_reading()

    def drained(self) -> None:
        if self.peer is not None and self.peer.http.their_state is not h11.DONE:
            self.peer.conn.resume_reading()

    def received(self, chunk: bytes | None) -> Iterator[h11.Event]:
        if chunk is not None:  # else there is more of the last one
            self.http.receive_data(chunk)
        while not isinstance(event := self.http.next_event(), type):  # NEED_DATA or PAUSED
            yield event

    def is_done(self) -> bool:
        return self.http.our_state is self.http.their_state is h11.DONE


class Upstream(Side):
    def __init__(self, pool: set[Upstream]) -> None:
        super().__init__(h11.CLIENT)
        self.pool = pool  # where it waits between requests
        self.used = self.heard = False

    def data(self, chunk: bytes) -> Reply:
        client, self.heard = self.peer, self.heard or chunk != b""
        if not isinstance(client, Client):
            return Action.CLOSE  # nobody has asked
        try:
            for event in self.received(chunk):
                if isinstance(event, h11.Response):
                    headers = end_to_end(event.headers, b"transfer-encoding")  # h11 frames it for this client
                    event = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
                client.pass_on(event, self)
                if isinstance(event, h11.EndOfMessage):
                    self.peer, self.used = None, True
                    client.answered()
                    if not self.is_done():
                        return Action.CLOSE
                    self.http.start_next_cycle()
                    self.pool.add(self)
                    break
        except h11.ProtocolError:
            return Action.CLOSE
        return None

    def eof(self) -> Reply:
        return self.data(b"") or Action.CLOSE  # the end of a response without a length, perhaps

    def closed(self, error: BaseException | None) -> None:
        self.pool.discard(self)
        if isinstance(self.peer, Client):
            self.peer.failed(retry=self.used and not self.heard)


class Client(Side):
    def __init__(self, pools: dict[str, set[Upstream]], turns: Iterable[str]) -> None:
        super().__init__(h11.SERVER)
        self.pools, self.turns = pools, iter(turns)

    def data(self, chunk: bytes | None) -> Reply:
        try:
            for event in self.received(chunk):
                if isinstance(event, h11.Request):
                    self.ask(event, use_pool=True)
                elif isinstance(event, h11.ConnectionClosed) or self.peer is None:
                    return Action.CLOSE
                else:
                    self.peer.pass_on(event, self)
        except h11.RemoteProtocolError as error:
            self.refuse(error.error_status_hint)
        if self.http.their_state is h11.DONE:
            self.conn.pause_reading()  # the next request waits for the response to this one
        return None

    def ask(self, request: h11.Request, use_pool: bool) -> None:
        address, self.request = next(self.turns), request
        pool = self.pools[address]
        upstream = pool.pop() if pool and use_pool else Upstream(pool)
        if not upstream.used:
            self.conn.server.dial(address, timeout=5, handler=upstream)
        self.peer, upstream.peer, upstream.heard = upstream, self, False
        headers = [*end_to_end(request.headers), (b"X-Forwarded-For", str(self.conn.remote_addr[0]).encode())]
        upstream.pass_on(h11.Request(method=request.method, target=request.target, headers=headers), self)

    def answered(self) -> None:
        self.peer = None
        if self.is_done():
            self.http.start_next_cycle()
            self.conn.resume_reading()
            self.conn.call_later(0, self.data, None)  # a pipelined request may be there already
        else:
            self.conn.close()

    def failed(self, retry: bool) -> None:
        if retry and self.request.method in (b"GET", b"HEAD") and self.peer and self.http.their_state is h11.DONE:
            self.ask(self.request, use_pool=False)  # one from the pool has gone just then: asking twice does no harm
            self.peer.pass_on(h11.EndOfMessage(), self)
        elif self.http.our_state is h11.SEND_RESPONSE:
            self.refuse(502)
        else:
            self.conn.abort()  # in the middle of a response: it must not look whole

    def refuse(self, status: int) -> None:
        if self.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            fields = [(b"Content-Length", b"0"), (b"Connection", b"close")]
            self.conn.write(self.http.send(h11.Response(status_code=status, headers=fields)) or b"")
        self.conn.close()

    def closed(self, error: BaseException | None) -> None:
        if self.peer is not None:
            self.peer.peer = None
            self.peer.conn.abort()


if __name__ == "__main__":
    listen, *backends = sys.argv[1:] if sys.argv[2:] else sys.exit("usage: http_proxy.py ADDRESS BACKEND...")
    pools: dict[str, set[Upstream]] = {address: set() for address in backends}
    turns = itertools.cycle(pools)
    events = Events(handlers={listen: lambda: Client(pools, turns)}, options=Options(idle_timeout=60))
    events.serving = lambda server: print("listening on", url("http", server.addrs[0]), flush=True)
    serve(events)
