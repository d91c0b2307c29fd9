"""HELLO, AUTH, SELECT, RESET, QUIT, and what a malformed request is told, as redis-server says it."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest

import evio_redis
from evio_redis.clients.limits import OutputGuard
from evio_redis.config.config import Config

from .wire import Wire, redis_server, words

Script = list[str | bytes | list[Any]]
Servers = Callable[[str], int]

HELLO_2 = (
    b"*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:N\r\n"
    b"$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
)
HELLO_3 = HELLO_2.replace(b"*14", b"%7").replace(b":2", b":3")
NOAUTH = b"-NOAUTH Authentication required.\r\n"
WRONGPASS = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
HELLO_NOAUTH = (
    b"-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option"
    b" can be used to authenticate the client and select the RESP protocol version at the same time\r\n"
)
NO_PASSWORD = (
    b"-ERR AUTH <password> called without any password configured for the default user. Are you sure your"
    b" configuration is correct?\r\n"
)
NAME = b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n"
PONG = b"+PONG\r\n"
OK = b"+OK\r\n"
NULL = b"$-1\r\n"


def arity(name: str) -> bytes:
    return f"-ERR wrong number of arguments for '{name}' command\r\n".encode()


def unknown(name: bytes, shown: bytes = b"") -> bytes:
    return b"-ERR unknown command '%b', with args beginning with: %b\r\n" % (name, shown)


@pytest.fixture(scope="module", params=["evio-redis", "redis-server"])
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """The ports of servers with a password and without, of ours and of a real redis-server."""
    if request.param == "evio-redis":
        with evio_redis.Server(port=0) as free, evio_redis.Server(port=0, requirepass="secret") as closed:
            yield {"": free.port, "secret": closed.port}.__getitem__
    else:
        with redis_server() as port, redis_server("--requirepass", "secret") as closed_port:
            yield {"": port, "secret": closed_port}.__getitem__


def test_what_comes_with_the_password_may_be_as_large_as_what_comes_after_it(servers: Servers) -> None:
    many = ["MGET", *"abcdefghijklm"]
    for login in (["AUTH", "secret"], ["HELLO", "2", "AUTH", "default", "secret"]):
        with Wire(servers("secret")) as wire:
            wire.send("PING", login, ["ECHO", "x" * 20_000], many, *["PING"] * 1000, ["ECHO", "y" * 70_000])
            assert wire.reply() == NOAUTH
            wire.reply()
            assert wire.reply() == b"$20000\r\n%b\r\n" % (b"x" * 20_000)
            assert wire.reply() == b"*13\r\n" + NULL * 13
            assert [wire.reply() for _ in range(1000)] == [PONG] * 1000
            assert wire.reply() == b"$70000\r\n%b\r\n" % (b"y" * 70_000)
    with Wire(servers("secret")) as wire:
        wire.send(*["PING"] * 300, ["AUTH", "wrong"], b"*1\r\n$20000\r\n")
        assert [wire.reply() for _ in range(300)] == [NOAUTH] * 300
        assert wire.rest() == WRONGPASS + b"-ERR Protocol error: unauthenticated bulk length\r\n"


def run(port: int, script: Script) -> list[bytes]:
    """Return the reply to each command, with ids taken out."""
    with Wire(port) as wire:
        return [re.sub(rb"(id\r\n):\d+", rb"\1:N", wire.ask(command)) for command in script]


WITHOUT_PASSWORD: list[tuple[Script, list[bytes]]] = [
    (["PING"], [PONG]),
    (["PING a"], [b"$1\r\na\r\n"]),
    (["PING a b"], [arity("ping")]),
    (["ECHO a"], [b"$1\r\na\r\n"]),
    (["ECHO"], [arity("echo")]),
    (["HELLO"], [HELLO_2]),
    (["HELLO 2"], [HELLO_2]),
    (["HELLO 3", "GET nothing", "HELLO", "HELLO 2", "GET nothing"], [HELLO_3, b"_\r\n", HELLO_3, HELLO_2, NULL]),
    (["HELLO 1"], [b"-NOPROTO unsupported protocol version\r\n"]),
    (["HELLO 4", "GET nothing"], [b"-NOPROTO unsupported protocol version\r\n", NULL]),
    (["HELLO three"], [b"-ERR Protocol version is not an integer or out of range\r\n"]),
    (["HELLO 03"], [b"-ERR Protocol version is not an integer or out of range\r\n"]),
    (["HELLO AUTH default x"], [b"-ERR Protocol version is not an integer or out of range\r\n"]),
    (["HELLO 3 AUTH default"], [b"-ERR Syntax error in HELLO option 'AUTH'\r\n"]),
    (["HELLO 3 SETNAME"], [b"-ERR Syntax error in HELLO option 'SETNAME'\r\n"]),
    (["HELLO 3 what", "GET nothing"], [b"-ERR Syntax error in HELLO option 'what'\r\n", NULL]),
    (["HELLO 3 AUTH default anything"], [HELLO_3]),
    (["HELLO 3 AUTH somebody x", "GET nothing"], [WRONGPASS, NULL]),
    (["HELLO 2 SETNAME bob", "CLIENT GETNAME"], [HELLO_2, b"$3\r\nbob\r\n"]),
    (["HELLO 2 setname a auth default x setname b", "CLIENT GETNAME"], [HELLO_2, b"$1\r\nb\r\n"]),
    (["HELLO 2 SETNAME a what", "CLIENT GETNAME"], [b"-ERR Syntax error in HELLO option 'what'\r\n", b"$1\r\na\r\n"]),
    ([["HELLO", "3", "SETNAME", "a b"], "CLIENT GETNAME"], [NAME, NULL]),
    (["AUTH"], [arity("auth")]),
    (["AUTH x"], [NO_PASSWORD]),
    (["AUTH default x"], [OK]),
    (["AUTH somebody x"], [WRONGPASS]),
    (["AUTH a b c"], [b"-ERR syntax error\r\n"]),
    (["SELECT 15", "SELECT 16", "SELECT -1"], [OK, *[b"-ERR DB index is out of range\r\n"] * 2]),
    (["SELECT x"], [b"-ERR value is not an integer or out of range\r\n"]),
    (["SELECT"], [arity("select")]),
    (["SELECT 1 2"], [arity("select")]),
    (["RESET a"], [arity("reset")]),
    (["HELLO 3 SETNAME a", "SELECT 3", "RESET", "CLIENT GETNAME"], [HELLO_3, OK, b"+RESET\r\n", NULL]),
    (
        ["SELECT 3", "SET here 1", "RESET", "GET here", "SELECT 3", "DEL here"],
        [OK, OK, b"+RESET\r\n", NULL, OK, b":1\r\n"],
    ),
    (
        ["MULTI", "PING", "RESET", "PING", "EXEC"],
        [OK, b"+QUEUED\r\n", b"+RESET\r\n", PONG, b"-ERR EXEC without MULTI\r\n"],
    ),
    (["SUBSCRIBE a", "RESET", "GET nothing"], [b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", b"+RESET\r\n", NULL]),
    (["MONITOR", "RESET", "GET nothing"], [OK, b"+RESET\r\n", NULL]),
    # unknown commands
    (["FOO"], [unknown(b"FOO")]),
    (["foo a b"], [unknown(b"foo", b"'a' 'b' ")]),
    ([["FOO", b"x" * 200, "y"]], [unknown(b"FOO", b"'%b' " % (b"x" * 128))]),
    ([["FOO", b"x" * 60, b"y" * 60, b"z" * 60]], [unknown(b"FOO", b"'%b' '%b' " % (b"x" * 60, b"y" * 60) + b"'zz' ")]),
    ([[b"F" * 200, "y"]], [unknown(b"F" * 128, b"'y' ")]),
    ([["FOO", b"a\r\nb"]], [unknown(b"FOO", b"'a  b' ")]),
    ([["FOO", b"a\x00b", b"\xff"]], [unknown(b"FOO", b"'a' '\xff' ")]),
    ([[""]], [unknown(b"")]),
    (["GET"], [arity("get")]),
    (["CONFIG"], [arity("config")]),
    (["CONFIG what"], [b"-ERR unknown subcommand 'what'. Try CONFIG HELP.\r\n"]),
]


def test_without_a_password(servers: Servers) -> None:
    for script, expected in WITHOUT_PASSWORD:
        assert run(servers(""), script) == expected, script


WITH_PASSWORD: list[tuple[Script, list[bytes]]] = [
    (["PING"], [NOAUTH]),
    (["GET a"], [NOAUTH]),
    (["COMMAND"], [NOAUTH]),
    (["MULTI", "EXEC"], [NOAUTH, b"-EXECABORT Transaction discarded because of: NOAUTH Authentication required.\r\n"]),
    (["FOO"], [unknown(b"FOO")]),
    (["GET"], [arity("get")]),
    (["AUTH bad", "PING"], [WRONGPASS, NOAUTH]),
    (["AUTH secret", "PING"], [OK, PONG]),
    (["auth default secret", "PING"], [OK, PONG]),
    (["AUTH default bad", "PING"], [WRONGPASS, NOAUTH]),
    (["AUTH somebody secret", "PING"], [WRONGPASS, NOAUTH]),
    (["AUTH secret", "AUTH bad", "PING"], [OK, WRONGPASS, PONG]),
    (["AUTH secret", "RESET", "PING"], [OK, b"+RESET\r\n", NOAUTH]),
    (["RESET"], [b"+RESET\r\n"]),
    (["HELLO"], [HELLO_NOAUTH]),
    (["HELLO 3"], [HELLO_NOAUTH]),
    (["HELLO 2 AUTH default secret", "PING"], [HELLO_2, PONG]),
    (["HELLO 3 AUTH default bad", "PING"], [WRONGPASS, NOAUTH]),
    (["HELLO 9 AUTH default secret", "PING"], [b"-NOPROTO unsupported protocol version\r\n", NOAUTH]),
    (["HELLO 3 AUTH default secret what", "PING"], [b"-ERR Syntax error in HELLO option 'what'\r\n", PONG]),
    (["HELLO 3 SETNAME a", "AUTH secret", "CLIENT GETNAME"], [HELLO_NOAUTH, OK, b"$1\r\na\r\n"]),
    (["AUTH secret", "MULTI", "AUTH bad", "EXEC"], [OK, OK, b"+QUEUED\r\n", b"*1\r\n" + WRONGPASS]),
]


def test_with_a_password(servers: Servers) -> None:
    for script, expected in WITH_PASSWORD:
        assert run(servers("secret"), script) == expected, script


def error(text: str) -> bytes:
    return f"-ERR Protocol error: {text}\r\n".encode()


MALFORMED: list[tuple[bytes, bytes]] = [
    (b"*x\r\n", error("invalid multibulk length")),
    (b"*\r\n", error("invalid multibulk length")),
    (b"*+1\r\n", error("invalid multibulk length")),
    (b"* 1\r\n", error("invalid multibulk length")),
    (b"*1 \r\n", error("invalid multibulk length")),
    (b"*00\r\n", error("invalid multibulk length")),
    (b"*-0\r\n", error("invalid multibulk length")),
    (b"*3000000000\r\n", error("invalid multibulk length")),
    (b"*-9223372036854775809\r\n", error("invalid multibulk length")),
    (b"*" + b"1" * 70_000, error("too big mbulk count string")),
    (b"*1\r\nfoo\r\n", error("expected '$', got 'f'")),
    (b"*1\r\n:4\r\n", error("expected '$', got ':'")),
    (b"*1\r\n*1\r\n$4\r\nPING\r\n", error("expected '$', got '*'")),
    (b"*1\r\n\r\n", error("expected '$', got ' '")),
    (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", error("expected '$', got 'f'")),
    (b"*1\r\n$\r\n", error("invalid bulk length")),
    (b"*1\r\n$-1\r\n", error("invalid bulk length")),
    (b"*1\r\n$+4\r\n", error("invalid bulk length")),
    (b"*1\r\n$04\r\n", error("invalid bulk length")),
    (b"*1\r\n$ 4\r\n", error("invalid bulk length")),
    (b"*1\r\n$blabla\r\n", error("invalid bulk length")),
    (b"*1\r\n$536870913\r\n", error("invalid bulk length")),
    (b"*1\r\n$" + b"1" * 70_000, error("too big bulk count string")),
    (b"*1\r\n" + b"x" * 70_000, error("too big bulk count string")),
    (b"A" * 65_537, error("too big inline request")),
    (b'set x "a\r\n', error("unbalanced quotes in request")),
    (b'PING "a"b\r\n', error("unbalanced quotes in request")),
    (b"PING 'a'b\r\n", error("unbalanced quotes in request")),
    (b'PING a"b\r\n', error("unbalanced quotes in request")),
    (b"PING\r\nPING\r\n*1\r\nx\r\nPING\r\n", PONG + PONG + error("expected '$', got 'x'")),
    (words("PING") + b"*x\r\n" + words("PING"), PONG + error("invalid multibulk length")),
    (words("QUIT") + words("PING"), OK),
    (words("QUIT with more"), OK),
    (words("SUBSCRIBE c") + words("QUIT") + words("PING"), words("subscribe c").replace(b"*2", b"*3") + b":1\r\n" + OK),
    (b"quit\r\nping\r\n", OK),
    (b"POST / HTTP/1.1\r\n", b""),
    (b"Host: example.com\r\nPING\r\n", b""),
    (words("POST"), b""),
]


def test_what_ends_the_connection(servers: Servers) -> None:
    for request, expected in MALFORMED:
        with Wire(servers("")) as wire:
            wire.send(request)
            assert wire.rest() == expected, request[:100]


UNAUTHENTICATED: list[tuple[bytes, bytes]] = [
    (b"*11\r\n", error("unauthenticated multibulk length")),
    (b"*1\r\n$16385\r\n", error("unauthenticated bulk length")),
    (words("AUTH bad") + b"*11\r\n", WRONGPASS + error("unauthenticated multibulk length")),
    (
        words("AUTH secret") + words("RESET") + b"*11\r\n",
        OK + b"+RESET\r\n" + error("unauthenticated multibulk length"),
    ),
]


@pytest.mark.parametrize(("request_", "expected"), UNAUTHENTICATED, ids=lambda value: repr(value[:40]))
def test_less_is_allowed_before_the_password(servers: Servers, request_: bytes, expected: bytes) -> None:
    with Wire(servers("secret")) as wire:
        for command in request_.split(b"*2\r\n")[1:-1]:
            wire.send(b"*2\r\n" + command)
        wire.send(request_)
        assert wire.rest().endswith(expected)


def test_few_replies_may_wait_before_the_password(servers: Servers) -> None:
    with Wire(servers("secret")) as wire:
        wire.send(*["PING"] * 400)
        assert [wire.reply() for _ in range(400)] == [NOAUTH] * 400
        wire.send(*["PING"] * 1000)
        assert wire.rest() == b""
    with Wire(servers("secret")) as wire:
        wire.send("AUTH secret", *["PING"] * 4000)
        assert [wire.reply() for _ in range(4001)] == [OK, *[PONG] * 4000]


ALLOWED: list[tuple[str, bytes, bytes]] = [
    ("", b"\r\n\r\nPING\r\n", PONG),
    ("", b"PING\n", PONG),
    ("", b"*0\r\n*-10\r\nPING\r\n", PONG),
    ("", b"*-9223372036854775808\r\nPING\r\n", PONG),
    ("", b"  PING  \r\n", PONG),
    ("", b"PING\ta\r\n", b"$1\r\na\r\n"),
    ("", b'PING ""\r\n', b"$0\r\n\r\n"),
    ("", b"PING 'a b'\r\n", b"$3\r\na b\r\n"),
    ("", b"PING 'a\\'b'\r\n", b"$3\r\na'b\r\n"),
    ("", b'PING "a\\x41b\\n"\r\n', b"$4\r\naAb\n\r\n"),
    ("", b'PING a"b"\r\n', b"$2\r\nab\r\n"),
    ("", b"*1\rx$4\rxPINGxx", PONG),  # the bytes in place of line ends are not looked at
    ("", b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI", PONG),
    ("secret", b"*10\r\n" + b"$1\r\na\r\n" * 10, unknown(b"a", b"'a' " * 9)),
    ("secret", b"*1\r\n$16384\r\n" + b"a" * 16384 + b"\r\n", unknown(b"a" * 128)),
    ("secret", b"PING 1 2 3 4 5 6 7 8 9 10 11\r\n", NOAUTH),
    ("", b"PING " + b"a" * 65_500 + b"\r\n", b"$65500\r\n" + b"a" * 65_500 + b"\r\n"),
]


def test_what_is_unusual_but_allowed(servers: Servers) -> None:
    for password, request, expected in ALLOWED:
        with Wire(servers(password)) as wire:
            assert wire.ask(request) == expected, request[:100]


def test_a_password_may_be_set_changed_and_taken_away(servers: Servers) -> None:
    with Wire(servers("secret")) as first, Wire(servers("secret")) as second:
        assert first.ask("AUTH secret") == OK
        assert second.ask("PING") == NOAUTH
        assert first.ask(["CONFIG", "SET", "requirepass", ""]) == OK
        with Wire(servers("secret")) as third:
            assert third.ask("PING") == PONG
            assert first.ask("CONFIG SET requirepass secret") == OK
            assert third.ask("PING") == PONG, "who is in stays in"
        with Wire(servers("secret")) as fourth:
            assert fourth.ask("PING") == NOAUTH


def test_lengths_that_are_only_announced_cost_nothing() -> None:
    """hiredis would make room for as many elements as are announced, and take seconds to give it back."""
    with evio_redis.Server(port=0) as server, Wire(server.port) as witness:
        for request in (b"*3000000000\r\n", b"*1\r\n*4294967294\r\n", words("PING") + b"*4294967294\r\n$1\r\na\r\n"):
            for _ in range(3):
                with Wire(server.port) as wire:
                    wire.send(request)
                    assert b"Protocol error" in wire.rest()
                assert witness.ask("PING") == PONG
        assert witness.ask(["PING", "*12345678"]) == b"$9\r\n*12345678\r\n"
        # A collection of garbage would look at each element.
        assert not [len(each) for each in gc.get_objects() if type(each) is list and len(each) > 10_000_000]


def test_more_arguments_than_a_command_may_have() -> None:
    """Of redis-server 7.0 it is the documentation that sets this limit; it takes more itself."""
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire:
        wire.send(b"*1048577\r\n")
        assert wire.rest() == error("invalid multibulk length")


def test_a_command_of_as_many_arguments_as_may_be() -> None:
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire:
        assert wire.ask(["DEL", *["a"] * (1024 * 1024 - 1)]) == b":0\r\n"


def test_the_largest_argument_is_configurable(servers: Servers) -> None:
    with Wire(servers("")) as wire, Wire(servers("")) as other:
        assert wire.ask("CONFIG SET proto-max-bulk-len 2mb") == OK
        assert other.ask(["ECHO", b"a" * (2 << 20)]) == b"$2097152\r\n" + b"a" * (2 << 20) + b"\r\n"
        other.send(b"*2\r\n$4\r\nECHO\r\n$2097153\r\n")
        assert other.rest() == error("invalid bulk length")
        assert wire.ask("CONFIG SET proto-max-bulk-len 512mb") == OK


def test_renamed_and_disabled_commands() -> None:
    renames = 'FLUSHALL "" CONFIG hidden'
    with evio_redis.Server(port=0, rename_command=renames) as server, Wire(server.port) as wire:
        assert wire.ask("FLUSHALL") == unknown(b"FLUSHALL")
        assert wire.ask("CONFIG GET port") == unknown(b"CONFIG", b"'GET' 'port' ")
        assert wire.ask("hidden GET maxclients") == b"*2\r\n$10\r\nmaxclients\r\n$5\r\n10000\r\n"
        assert wire.ask("HIDDEN foo") == b"-ERR unknown subcommand 'foo'. Try HIDDEN HELP.\r\n"


def test_the_time_of_a_soft_limit_begins_anew_for_who_has_been_below_it() -> None:
    guard = OutputGuard(Config({"client_output_buffer_limit": "normal 0 1000 3"}))
    session = Mock(id=7, authenticated=True, replica=None, subscribed=False, seen=100.0)
    for now, pending in ((100.0, 2000), (100.5, 10), (101.5, 2000), (104.0, 2000)):
        session.conn.pending = pending
        guard.check([session], now)
    session.conn.abort.assert_not_called()
    guard.check([session], 105.0)
    session.conn.abort.assert_called_once()
