"""The short way of a request: it does what the long way does, and counts what it does."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

import evio_redis
from evio_core import Action
from evio_redis.clients.session import Session
from evio_redis.execution.fast_path import JOINED, make_data
from evio_redis.protocol.parser import Parser
from evio_redis.stats.totals import Totals
from tests.tables import each_row

from .wire import Wire

TIMEOUT = 10.0


def exchange(server: evio_redis.Server, commands: list[str], reply: bytes) -> None:
    """Send commands in one piece and expect exactly this reply."""
    words = [command.encode().split() for command in commands]
    request = b"".join(
        b"*%d\r\n%b" % (len(args), b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args)) for args in words
    )
    with socket.create_connection(("127.0.0.1", server.port), TIMEOUT) as sock:
        sock.sendall(request)
        received = b""
        while len(received) < len(reply):
            piece = sock.recv(65536)
            assert piece, received
            received += piece
    assert received == reply


def statistics(client: redis.Redis, name: str) -> dict[str, Any]:
    found: dict[str, Any] = client.info("commandstats").get(f"cmdstat_{name}", {})
    return found


def test_calls_are_counted_however_they_are_run(server: evio_redis.Server, client: redis.Redis) -> None:
    commands = ["SET a 1", "SET b x", "GET a", "STRLEN a", "GET b", "INCR b", "INCR a", "LRANGE l 0 -1", "SET c 3"]
    not_an_integer = b"-ERR value is not an integer or out of range\r\n"
    replies = [b"+OK\r\n", b"+OK\r\n", b"$1\r\n1\r\n", b":1\r\n", b"$1\r\nx\r\n", not_an_integer, b":2\r\n", b"*0\r\n"]
    before = client.info("stats")["total_commands_processed"]
    for _ in range(20):
        exchange(server, commands, b"".join([*replies, b"+OK\r\n"]))
    after = client.info("stats")["total_commands_processed"]
    assert after - before == 20 * len(commands) + 1
    calls = {name: statistics(client, name)["calls"] for name in ("set", "get", "strlen", "incr", "lrange")}
    assert calls == {"set": 60, "get": 40, "strlen": 20, "incr": 40, "lrange": 20}
    assert statistics(client, "incr")["failed_calls"] == 20
    assert statistics(client, "set")["failed_calls"] == 0


def test_a_report_in_the_middle_of_a_chunk_has_what_came_before(server: evio_redis.Server) -> None:
    with redis.Redis(port=server.port, socket_timeout=TIMEOUT) as client:
        client.config_resetstat()
        pipe = client.pipeline(transaction=False)
        pipe.set("a", 1).set("a", 2).info("commandstats").set("a", 3).info("commandstats")
        *_, first, _, second = pipe.execute()
        assert first["cmdstat_set"]["calls"] == 2
        assert second["cmdstat_set"]["calls"] == 3


def test_the_time_of_calls_is_what_they_take_together(client: redis.Redis) -> None:
    for _ in range(100):
        client.set("a", 1)
    found = statistics(client, "set")
    assert found["calls"] == 100
    assert 0 < found["usec_per_call"] < 10_000
    assert found["usec"] == pytest.approx(100 * found["usec_per_call"], rel=0.05, abs=2)


def test_resetstat_forgets_calls_of_both_ways(client: redis.Redis) -> None:
    for _ in range(30):
        client.set("a", 1)
        client.lrange("l", 0, -1)
    client.config_resetstat()
    assert statistics(client, "set") == {}
    assert statistics(client, "lrange") == {}


def test_a_blocked_client_is_served_between_two_commands_of_a_chunk(
    server: evio_redis.Server, client: redis.Redis
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), TIMEOUT) as waiting:
        waiting.sendall(b"BLPOP queue 0\r\n")
        while not client.info("clients")["blocked_clients"]:
            pass
        exchange(server, ["RPUSH queue first", "LPOP queue", "RPUSH queue second"], b":1\r\n$-1\r\n:1\r\n")
        assert waiting.recv(100) == b"*2\r\n$5\r\nqueue\r\n$5\r\nfirst\r\n"
    assert client.lrange("queue", 0, -1) == [b"second"]


def test_writes_of_the_short_way_are_logged(tmp_path: Path) -> None:
    commands = [
        *("SET a 1", "GETDEL a", "SETNX b 1", "SETNX b 2", "INCR n", "INCRBYFLOAT n 0.5", "LPUSH l x y", "RPOP l"),
        *("SADD s m", "SADD s m", "HSET h f v", "ZADD z 1 m", "ZINCRBY z 0.5 m", "EXPIRE n 1000", "MOVE b 1"),
    ]
    with evio_redis.Server(port=0, dir=str(tmp_path), appendonly="yes") as server:
        with redis.Redis(port=server.port, socket_timeout=TIMEOUT) as client:
            pipe = client.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command.split())
            pipe.execute()
            assert client.config_get("appendonly") == {"appendonly": "yes"}
    with evio_redis.Server(port=0, dir=str(tmp_path), appendonly="yes") as server:
        with redis.Redis(port=server.port, socket_timeout=TIMEOUT) as client:
            assert sorted(client.keys()) == [b"h", b"l", b"n", b"s", b"z"]
            assert client.get("n") == b"1.5"
            assert 900 < client.ttl("n") <= 1000
            assert client.lrange("l", 0, -1) == [b"y"]
            assert client.smembers("s") == {b"m"}
            assert client.hgetall("h") == {b"f": b"v"}
            assert client.zrange("z", 0, -1, withscores=True) == [(b"m", 1.5)]
        with redis.Redis(port=server.port, db=1, socket_timeout=TIMEOUT) as other:
            assert other.keys() == [b"b"]


PIPELINE = [
    [b"SET", b"a", b"1"],
    [b"GET", b"a"],
    [b"SET", b"*3", b"*3"],
    [b"GET", b"*3"],
    [b"INCR", b"a"],
    [b"LRANGE", b"l", b"0", b"-1"],
    [b"ECHO", b"\r\n$1\r\n*1\r\n"],
    [b"STRLEN", b"a"],
]


class Client:
    """A session without a socket."""

    def __init__(self, server: evio_redis.Server, data: Callable[[Any, bytes], Any], number: int) -> None:
        self.context = Session(server.services, None, number)
        self._data = data

    def send(self, chunk: bytes) -> bytes:
        output = self._data(self, chunk)
        assert isinstance(output, bytes), "the connection stays open"
        return output


def encoded(commands: list[list[bytes]]) -> bytes:
    return b"".join(
        b"*%d\r\n%b" % (len(args), b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args)) for args in commands
    )


@pytest.mark.parametrize("repeated", [1, 40], ids=["short", "long"])
def test_wherever_input_is_cut_the_replies_are_the_same(repeated: int) -> None:
    server = evio_redis.Server()
    data = make_data(server.services)
    one, other = Client(server, data, 1), Client(server, data, 2)
    request = encoded(PIPELINE) * repeated
    expected = one.send(request)
    length = len(encoded(PIPELINE))
    for cut in range(len(request) - length, len(request)):
        output = one.send(request[:cut])
        assert other.send(encoded([[b"ECHO", b"between"]])) == b"$7\r\nbetween\r\n"
        assert output + one.send(request[cut:]) == expected, cut


@pytest.mark.parametrize("begun", [b"*", b"*1\r", b"PING", b"*1\r\n$", b"*2\r\n$4\r\nPING\r\n$3\r\nab"])
@pytest.mark.parametrize("then", [b"x\r\n", b"0\r\n\r\n", b"\0\r\n", b"\n", b"c\r\n*x\r\n"])
@pytest.mark.parametrize("more", [encoded([[b"SET", b"k", b"v"]]) * 200, b"\r\n" * 3000], ids=["commands", "nothing"])
def test_a_long_chunk_is_taken_once(begun: bytes, then: bytes, more: bytes) -> None:
    """Also if it begins in the middle of something that becomes an error or nothing at all."""
    strict, server = Parser(), evio_redis.Server()
    commands = strict.parse(begun + then + more)
    data, client = make_data(server.services), Client(server, make_data(server.services), 1)
    for chunk in (begun, then + more):
        data(client, chunk)  # type: ignore[arg-type]  # what it returns says that it is closed, too
    server.dispatcher.settle()
    processed = server.services[Totals].commands_processed
    found = [(server.registry.find(args), len(args)) for args in commands]
    assert processed == sum(command is not None and command.accepts(size) for command, size in found)
    assert (b"k" in client.context.db.data) == ([b"SET", b"k", b"v"] in commands)
    assert client.context.parser.error == strict.error


@pytest.mark.parametrize("sizes", [(65_536, 90_000, 3), (70_000, 1, 90_000), (200_000, 200_000, 200_000)])
def test_what_follows_a_large_argument_is_not_left_waiting(sizes: tuple[int, ...]) -> None:
    """Its end and the next commands come in one chunk, which is a long one; nothing more comes."""
    server = evio_redis.Server()
    client = Client(server, make_data(server.services), 1)
    script = []
    for size in sizes:
        script += [[b"SET", b"%d" % size, b"x" * size], [b"STRLEN", b"%d" % size], [b"ECHO", b"e" * 5000]]
    request = encoded(script)
    expected = b"".join(b"+OK\r\n:%d\r\n$5000\r\n%b\r\n" % (size, b"e" * 5000) for size in sizes)
    for step in (120 << 10, 65_600, 30_011, 5000):
        pieces = [request[at : at + step] for at in range(0, len(request), step)]
        assert b"".join(map(client.send, pieces)) == expected, step


@each_row(
    ("request_", "reply"),
    [
        (b"$0\r\n\r\n", b"-ERR unknown command '$0', with args beginning with: \r\n"),
        (b"$0\r\n\r\n*1\r\n$4\r\nPING\r\n", b"-ERR unknown command '$0', with args beginning with: \r\n+PONG\r\n"),
        (b"*1\r\n$4\r\nPING\r\n$0\r\n\r\n", b"+PONG\r\n-ERR unknown command '$0', with args beginning with: \r\n"),
        (b"*0\r\n", b""),
        (b"*-1\r\n*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
        (b"*1\r\n$4\r\nPING\r\n*0\r\n", b"+PONG\r\n"),
        (
            b"*1\r\n$4\r\nPING\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"+PONG\r\n"
            + b"".join(
                b"-ERR unknown command '%b', with args beginning with: \r\n" % each
                for each in (b"%1", b"$1", b"a", b"$1", b"b")
            ),
        ),
        (b"\r\n\r\n*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
    ],
)
def test_what_is_no_array_of_strings(request_: bytes, reply: bytes) -> None:
    server = evio_redis.Server()
    client = Client(server, make_data(server.services), 1)
    assert client.send(request_) == reply
    assert client.send(encoded([[b"PING"]])) == b"+PONG\r\n"


@each_row(
    ("request_", "error"),
    [
        (b"*2\r\n$3\r\nGET\r\n$-1\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n:1\r\n", "expected '$', got ':'"),
        (b"*2\r\n$3\r\nGET\r\n+a\r\n", "expected '$', got '+'"),
        (b"*3\r\n$3\r\nGET\r\n:1\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n", "expected '$', got ':'"),
        (b"*2\r\n$3\r\nGET\r\n*1\r\n$1\r\na\r\n", "expected '$', got '*'"),
        (b"*2\r\n$3\r\nGET\r\n*0\r\n", "expected '$', got '*'"),
        (b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$-1\r\n", "invalid bulk length"),
    ],
)
def test_elements_that_are_no_strings_are_protocol_errors(request_: bytes, error: str) -> None:
    """Also behind a long argument, where they are looked for in another way."""
    server = evio_redis.Server()
    data: Callable[[Any, bytes], Any] = make_data(server.services)
    for before in ([], [[b"STRLEN", b"x" * 8 * JOINED]]):
        output, action = data(Client(server, data, 1), encoded(before) + request_)
        replies = b":0\r\n" * len(before) + b"+PONG\r\n" * request_.count(b"PING")
        assert output == replies + b"-ERR Protocol error: %b\r\n" % error.encode()
        assert action is Action.CLOSE


TRANSACTIONS = [
    "MULTI,INCR a,GET a,EXEC,GET a",
    "GET a,MULTI,SET a 1,INCR a,EXEC,MULTI,INCR a,DISCARD,MULTI,GET a,EXEC,PING",
    "MULTI,SET a 1",
    "MULTI,SET a 1,MULTI,NOSUCH,GET a,EXEC,GET a",
    "MULTI,SET a 1,GET,GET a,EXEC,GET a",
    "MULTI,SET a x,WATCH b,INCR a,EXEC,GET a",
    "MULTI,EXEC,MULTI,SUBSCRIBE c,PING,EXEC,PING",
    "MULTI,CLIENT REPLY OFF,GET a,EXEC,GET a,CLIENT REPLY ON,PING",
    "MULTI,BLPOP l 0,RPUSH l x,BLPOP l 0,EXEC,RPUSH l y",
    "MULTI,GET a,RESET,GET a",
]


@pytest.mark.parametrize("script", TRANSACTIONS)
def test_transactions_in_one_piece_have_the_replies_of_their_commands(script: str) -> None:
    commands = [[word.encode() for word in command.split()] for command in script.split(",")]
    clients = []
    for _ in range(2):
        server = evio_redis.Server()
        clients.append(Client(server, make_data(server.services), 1))
    in_one_piece, one_by_one = clients
    assert in_one_piece.send(encoded(commands)) == b"".join(one_by_one.send(encoded([each])) for each in commands)
    assert in_one_piece.context.last_command == one_by_one.context.last_command
    assert in_one_piece.context.queue == one_by_one.context.queue


def gets(*keys: bytes, name: bytes = b"GET") -> bytes:
    return b"".join(b"*2\r\n$3\r\n%b\r\n$%d\r\n%b\r\n" % (name, len(key), key) for key in keys)


FEW = [b"short", b"none", b"empty", b"long", b"edge", b"number", b"list", b"expired", b"lasting", b"line\r\nbreak", b""]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("which", [[0, 1, 2, 5], [0, 4], [0, 3], [0, 6], [1, 7], [0, 8], [0, 9, 2], [10, 0], range(11)])
def test_a_pipeline_of_gets_has_the_replies_of_its_commands(
    server: evio_redis.Server, version: int, which: list[int]
) -> None:
    keys = [FEW[at] for at in which] * 8
    with Wire(server.port) as wire:
        wire.ask(f"HELLO {version}")
        for key, size in ((b"short", 3), (b"empty", 0), (b"long", 5000), (b"edge", 1023), (b"line\r\nbreak", 2)):
            wire.ask(["SET", key, b"v" * size])
        wire.ask("SET number 7")
        wire.ask("RPUSH list a")
        wire.ask("SET lasting x EX 1000")
        wire.ask("SET expired x PX 1")
        while wire.ask("EXISTS expired") != b":0\r\n":
            pass
        single = [wire.ask(gets(key)) for key in keys]
        wire.send(gets(*keys))
        assert [wire.reply() for _ in keys] == single
        wire.send(gets(*keys, name=b"get"))
        assert [wire.reply() for _ in keys] == single
        assert wire.ask("PING") == b"+PONG\r\n"


@pytest.mark.parametrize(
    "wrong",
    [
        b"*2\r\n$3\r\nGET\r\n$4\r\nabc\r\n\r\n",  # a key that ends in a line break, said by its length
        b"*2\r\n$3\r\nGET\r\n$03\r\nabc\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*2\r\n$3\r\nDEL\r\n$1\r\na\r\n",
        b"*2\r\n$3\r\nGET\r\n$x\r\nabc\r\n",
        b"*2\r\n$3\r\nGET\r\n$2\r\nabc\r\n",
        b"PING\r\n",
    ],
)
def test_what_is_among_gets_is_taken_as_it_is(server: evio_redis.Server, wrong: bytes) -> None:
    ends = []
    for pieces in ([gets(*[b"k"] * 8) + wrong + gets(*[b"k"] * 8)], [gets(*[b"k"] * 8), wrong, gets(*[b"k"] * 8)]):
        with Wire(server.port) as wire:
            wire.ask("SET k v")
            for piece in pieces:
                wire.send(piece)
            wire.sock.shutdown(socket.SHUT_WR)
            ends.append(wire.rest())
    assert ends[0] == ends[1]


def test_gets_that_are_cut_anywhere(server: evio_redis.Server) -> None:
    whole = gets(*[b"key:%d" % number for number in range(12)])
    with Wire(server.port) as wire:
        expected = b"$-1\r\n" * 12
        for cut in range(1, len(whole)):
            wire.send(whole[:cut])
            wire.send(whole[cut:])
            assert b"".join(wire.reply() for _ in range(12)) == expected


def test_what_an_own_command_redacts_is_shown_of_nothing_else() -> None:
    with evio_redis.Server(port=0, slowlog_log_slower_than=0) as server:

        @server.command("LOGIN", arity=2)
        def login(session: Session, args: list[bytes]) -> bytes:
            session.redact(args, 1)
            return b"+OK\r\n"

        with Wire(server.port) as wire:
            assert wire.ask("LOGIN secret") == b"+OK\r\n"
            assert wire.ask("eChO shown") == b"$5\r\nshown\r\n"  # an unusual case: the long way
            wire.ask("MULTI")
            wire.ask("LOGIN secret")
            wire.ask("EXEC")
            log = wire.ask("SLOWLOG GET 10")
        assert b"secret" not in log
        assert log.startswith(b"*4\r\n"), "LOGIN, ECHO, MULTI, LOGIN: neither that it was queued nor EXEC"
        assert log.count(b"*2\r\n$5\r\nLOGIN\r\n$10\r\n(redacted)\r\n") == 2
        assert b"*2\r\n$4\r\neChO\r\n$5\r\nshown\r\n" in log
