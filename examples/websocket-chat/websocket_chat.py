"""A chat over WebSocket (RFC 6455); what is typed on the server's terminal goes to everybody, too."""

from __future__ import annotations

import sys
import threading

from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, RejectConnection, Request, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from evio_core import Action, Events, Handler, Reply, serve, url

LONGEST = 64 * 1024  # characters or bytes of a message
MOST = 1024 * 1024  # bytes that may wait for a client that does not read, before it is dropped
QUIET, PATIENCE = 30.0, 10.0  # seconds of silence before a ping, and for its answer


class Room:
    """Everybody who is here. From any thread."""

    def __init__(self) -> None:
        self._members: set[Chat] = set()
        self._lock = threading.Lock()

    def enter(self, member: Chat) -> None:
        with self._lock:
            self._members.add(member)

    def leave(self, member: Chat) -> None:
        with self._lock:
            self._members.discard(member)

    def say(self, text: str) -> None:
        """Send a message to all: frames of a server are not masked, so one will do."""
        frame = Connection(ConnectionType.SERVER).send(TextMessage(data=text))
        with self._lock:
            members = list(self._members)
        for member in members:
            if member.conn.pending > MOST:
                member.conn.abort()
            else:
                member.conn.write(frame)


class Chat(Handler):
    def __init__(self, room: Room) -> None:
        self.room = room
        self.protocol = WSConnection(ConnectionType.SERVER)
        self.parts: list[str] = []

    def opened(self) -> None:
        self.timer = self.conn.call_later(PATIENCE, self.conn.abort)  # for the handshake

    def data(self, chunk: bytes) -> Reply:
        self.timer.cancel()
        self.timer = self.conn.call_later(QUIET, self.ping)
        try:
            self.protocol.receive_data(chunk)
        except RemoteProtocolError as error:
            return self.refuse(error)
        for event in self.protocol.events():
            if isinstance(event, Request):
                self.conn.write(self.protocol.send(AcceptConnection()))
                self.room.enter(self)
            elif isinstance(event, Ping):
                self.conn.write(self.protocol.send(event.response()))
            elif isinstance(event, CloseConnection):
                return self.protocol.send(event.response()), Action.CLOSE
            elif isinstance(event, TextMessage):
                self.parts.append(event.data)
                if sum(map(len, self.parts)) > LONGEST:
                    return self.close(1009)
                if event.message_finished:
                    self.room.say("".join(self.parts))
                    self.parts.clear()
            elif isinstance(event, Message):
                return self.close(1003)
        return None

    def close(self, code: int) -> Reply:
        return self.protocol.send(CloseConnection(code=code)), Action.CLOSE

    def refuse(self, error: RemoteProtocolError) -> Reply:
        """Say what is wrong with a handshake or a frame, as far as the protocol has a word for it."""
        try:
            hint = error.event_hint or RejectConnection(status_code=400)
            return self.protocol.send(hint), Action.CLOSE
        except LocalProtocolError:
            return Action.CLOSE

    def ping(self) -> bytes:
        self.timer = self.conn.call_later(PATIENCE, self.conn.abort)
        return self.protocol.send(Ping())

    def closed(self, error: BaseException | None) -> None:
        self.room.leave(self)


def main() -> None:
    room, addresses = Room(), sys.argv[1:] or ["tcp://127.0.0.1:8080"]

    def announce() -> None:
        for line in sys.stdin:
            room.say(line.rstrip("\n"))

    threading.Thread(target=announce, daemon=True).start()
    serve(
        Events(
            handlers={address: lambda: Chat(room) for address in addresses},
            serving=lambda server: print("listening on", *(url("tcp", addr) for addr in server.addrs), flush=True),
        )
    )


if __name__ == "__main__":
    main()
