"""Numbers as redis-server reads and writes them: integers, doubles, and long doubles (INCRBYFLOAT)."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_redis.errors import CommandError
from evio_redis.protocol.long_double import add_long_doubles
from evio_redis.protocol.numbers import parse_double, to_int
from evio_redis.protocol.resp import bulk
from tests.extent import examples
from tests.tables import each_row

from .transcripts import Conversation, check, conversations
from .wire import Wire, redis_server

TRANSCRIPT = r"""
SET k 10.50 -> +OK
INCRBYFLOAT k 0.1 -> $4 10.6

SET k 5.0e3 -> +OK
INCRBYFLOAT k 2.0e2 -> $4 5200

SET k 3 -> +OK
INCRBYFLOAT k -3 -> $1 0

SET k 1 -> +OK
INCRBYFLOAT k -1.1 -> $4 -0.1

SET k 0.1 -> +OK
INCRBYFLOAT k 0.2 -> $3 0.3

SET k 3 -> +OK
INCRBYFLOAT k 1.1 -> $3 4.1

SET k 1000 -> +OK
INCRBYFLOAT k 0.1 -> $22 1000.09999999999999998

SET k 12345678901234567 -> +OK
INCRBYFLOAT k 0.5 -> $19 12345678901234567.5

SET k 1.23 -> +OK
INCRBYFLOAT k 1e-20 -> $4 1.23

SET k 0 -> +OK
INCRBYFLOAT k 1e-18 -> $1 0

SET k 0 -> +OK
INCRBYFLOAT k 5e-18 -> $1 0

SET k 0 -> +OK
INCRBYFLOAT k 15e-18 -> $19 0.00000000000000002

SET k -5e-18 -> +OK
INCRBYFLOAT k 0 -> $1 0

SET k -1e-30 -> +OK
INCRBYFLOAT k 0 -> $1 0

SET k -0 -> +OK
INCRBYFLOAT k -0 -> $1 0

SET k 1e15 -> +OK
INCRBYFLOAT k 1e-5 -> $16 1000000000000000

SET k 9999999999999999 -> +OK
INCRBYFLOAT k 1 -> $17 10000000000000000

SET k 18446744073709551615 -> +OK
INCRBYFLOAT k 1 -> $20 18446744073709551616

SET k 18446744073709551616.5 -> +OK
INCRBYFLOAT k 0 -> $20 18446744073709551616

SET k 0x10 -> +OK
INCRBYFLOAT k 1 -> $2 17

SET k 0x1.8p3 -> +OK
INCRBYFLOAT k 0 -> $2 12

SET k 0x.8 -> +OK
INCRBYFLOAT k 0 -> $3 0.5

SET k 1 -> +OK
INCRBYFLOAT k 0x1p-1 -> $3 1.5

SET k .5 -> +OK
INCRBYFLOAT k 5. -> $3 5.5

SET k +1 -> +OK
INCRBYFLOAT k 0 -> $1 1

SET k 1e5 -> +OK
INCRBYFLOAT k 0 -> $6 100000

SET k 1E5 -> +OK
INCRBYFLOAT k 0 -> $6 100000

SET k 1e+2 -> +OK
INCRBYFLOAT k 0 -> $3 100

SET k inf -> +OK
INCRBYFLOAT k 1 -> -ERR increment would produce NaN or Infinity

SET k -Infinity -> +OK
INCRBYFLOAT k 1 -> -ERR increment would produce NaN or Infinity

SET k inf -> +OK
INCRBYFLOAT k -inf -> -ERR increment would produce NaN or Infinity

SET k nan -> +OK
INCRBYFLOAT k 1 -> -ERR value is not a valid float

SET k 1 -> +OK
INCRBYFLOAT k nan -> -ERR value is not a valid float

SET k 1 -> +OK
INCRBYFLOAT k inf -> -ERR increment would produce NaN or Infinity

SET k 1 -> +OK
INCRBYFLOAT k x -> -ERR value is not a valid float

SET k x -> +OK
INCRBYFLOAT k 1 -> -ERR value is not a valid float

SET k 1 -> +OK
INCRBYFLOAT k "" -> -ERR value is not a valid float

SET k "" -> +OK
INCRBYFLOAT k 1 -> -ERR value is not a valid float

SET k 1 -> +OK
INCRBYFLOAT k " 1" -> -ERR value is not a valid float

SET k 1 -> +OK
INCRBYFLOAT k "1 " -> -ERR value is not a valid float

SET k 1 -> +OK
INCRBYFLOAT k 1e5000 -> -ERR value is not a valid float

SET k 1 -> +OK
INCRBYFLOAT k 1e-5000 -> -ERR value is not a valid float

SET k 1 -> +OK
INCRBYFLOAT k 1e-4960 -> -ERR value is not a valid float

SET k 1e-4940 -> +OK
INCRBYFLOAT k 0 -> $1 0

SET k 1 -> +OK
INCRBYFLOAT k 0x -> -ERR value is not a valid float

SET k 1 -> +OK
INCRBYFLOAT k . -> -ERR value is not a valid float

SET k 1 -> +OK
INCRBYFLOAT k 1e -> -ERR value is not a valid float

SET k 1 -> +OK
INCRBYFLOAT k 1_0 -> -ERR value is not a valid float

SET k 1 -> +OK
INCRBYFLOAT k --1 -> -ERR value is not a valid float

SET k 1 -> +OK
INCRBYFLOAT k nan(1) -> -ERR value is not a valid float

INCRBYFLOAT k 1 -> $1 1
INCRBYFLOAT k 0.5 -> $3 1.5
GET k -> $3 1.5

INCRBYFLOAT k 0.024390243902439025 -> $19 0.02439024390243902
INCRBYFLOAT k -0.024390243902439025 -> $1 0

SET k 17179869184 -> +OK
INCRBYFLOAT k 1.5 -> $13 17179869185.5

SET k 1.5 -> +OK
INCR k -> -ERR value is not an integer or out of range

SET k 1.5 EX 100 -> +OK
INCRBYFLOAT k 1 -> $3 2.5
TTL k -> :100

RPUSH l a -> :1
INCRBYFLOAT l x -> -WRONGTYPE Operation against a key holding the wrong kind of value

HSET h f x -> :1
HINCRBYFLOAT h f 1 -> -ERR hash value is not a float
HINCRBYFLOAT h f x -> -ERR value is not a valid float

ZADD z 1 m -> :1
ZSCORE z m -> $1 1 | ,1

ZADD z 1.5 m -> :1
ZSCORE z m -> $3 1.5 | ,1.5

ZADD z 1e5 m -> :1
ZSCORE z m -> $6 100000 | ,100000

ZADD z 0x10 m -> :1
ZSCORE z m -> $2 16 | ,16

ZADD z 0x1p3 m -> :1
ZSCORE z m -> $1 8 | ,8

ZADD z inf m -> :1
ZSCORE z m -> $3 inf | ,inf

ZADD z -INF m -> :1
ZSCORE z m -> $4 -inf | ,-inf

ZADD z nan m -> -ERR value is not a valid float
ZSCORE z m -> $-1 | _

ZADD z 1e400 m -> -ERR value is not a valid float
ZSCORE z m -> $-1 | _

ZADD z 1e-400 m -> -ERR value is not a valid float
ZSCORE z m -> $-1 | _

ZADD z 4.9e-324 m -> :1
ZSCORE z m -> $23 4.9406564584124654e-324 | ,4.9406564584124654e-324

ZADD z 2e-324 m -> -ERR value is not a valid float
ZSCORE z m -> $-1 | _

ZADD z 0e999 m -> :1
ZSCORE z m -> $1 0 | ,0

ZADD z " 1" m -> -ERR value is not a valid float
ZSCORE z m -> $-1 | _

ZADD z "1 " m -> -ERR value is not a valid float
ZSCORE z m -> $-1 | _

ZADD z "" m -> -ERR value is not a valid float
ZSCORE z m -> $-1 | _

ZADD z 1_0 m -> -ERR value is not a valid float
ZSCORE z m -> $-1 | _

ZADD z .5 m -> :1
ZSCORE z m -> $3 0.5 | ,0.5

ZADD z 5. m -> :1
ZSCORE z m -> $1 5 | ,5

ZADD z +1 m -> :1
ZSCORE z m -> $1 1 | ,1

ZADD z 1e22 m -> :1
ZSCORE z m -> $5 1e+22 | ,1e+22

ZADD z 123456789012345680000 m -> :1
ZSCORE z m -> $22 1.2345678901234568e+20 | ,1.2345678901234568e+20

ZADD z 0.1 m -> :1
ZSCORE z m -> $19 0.10000000000000001 | ,0.10000000000000001

ZADD z 1.7976931348623157e308 m -> :1
ZSCORE z m -> $23 1.7976931348623157e+308 | ,1.7976931348623157e+308

ZADD z 3.0 m -> :1
ZSCORE z m -> $1 3 | ,3

ZADD z -1.5e-7 m -> :1
ZSCORE z m -> $23 -1.4999999999999999e-07 | ,-1.4999999999999999e-07

ZADD z 4503599627370496 m -> :1
ZSCORE z m -> $16 4503599627370496 | ,4503599627370496

ZADD z x m -> -ERR value is not a valid float
ZSCORE z m -> $-1 | _
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_replies(port: int, group: list[Conversation]) -> None:
    check(port, group)


def test_sums_as_redis_server_makes_them() -> None:
    """Thousands of random ones."""
    choose = random.Random(7)
    with redis_server() as port, Wire(port) as wire:
        for _ in range(5):
            pairs = [(a_number(choose), a_number(choose)) for _ in range(1000)]
            wire.send(*[each for one, other in pairs for each in (["SET", "k", one], ["INCRBYFLOAT", "k", other])])
            for one, other in pairs:
                assert wire.reply() == b"+OK\r\n"
                reply = wire.reply()
                assert ours(one, other) == reply, (one, other)


def a_number(choose: random.Random) -> bytes:
    """One of the kinds that texts of numbers come in."""
    kinds = [
        lambda: b"%d.%d" % (choose.randrange(-1000, 1000), choose.randrange(10 ** choose.randrange(1, 18))),
        lambda: repr(choose.uniform(-1, 1) * 10.0 ** choose.randrange(-20, 20)).encode(),
        lambda: b"%.20f" % choose.uniform(-50, 50),
        lambda: b"%.25f" % (choose.randrange(1, 100) / choose.randrange(1, 100)),
        lambda: b"%de%d" % (choose.randrange(-(10**20), 10**20), choose.randrange(-5000, 4960)),
        lambda: b"%d" % choose.randrange(-(2**70), 2**70),
        lambda: b"0x%x.%xp%d" % (choose.getrandbits(60), choose.getrandbits(70), choose.randrange(-100, 100)),
        lambda: choose.choice(EDGES),
    ]
    return choose.choice(kinds)()


EDGES = [
    *(b"0", b"-0", b".5", b"5.", b".", b"inf", b"-inf", b"nan", b"0x", b"x", b"0x.", b"1e", b"+.e1", b"--1", b"1\n"),
    *(b"1e5000", b"1e-4950", b"1e-4951", b"3e-4951", b"1e-4952", b"1e99999999999999999999", b"0e99999999999999999999"),
    *(b"1.18973149535723176502e4932", b"1.18973149535723176508e4932", b"0x1p16383", b"0x1p16384", b"0x1p-16445"),
    *(b"0x1p-16446", b"0x1.8p-16446", b"-5e-18", b"5e-18", b"15e-18", b"18446744073709551616.5", b"31.999", b"-32"),
    *(b"1" * 4500, b"9" * 5119, b"9" * 5120, b"0." + b"0" * 5000 + b"1"),
]


def ours(one: bytes, other: bytes) -> bytes:
    try:
        text = add_long_doubles(one, other)
    except CommandError as error:
        return error.reply
    return b"-ERR increment would produce NaN or Infinity\r\n" if text is None else bulk(text)


@given(st.decimals(-31, 31, places=10), st.decimals(-31, 31, places=10))
@settings(max_examples=examples(100), deadline=None)
def test_small_numbers_are_added_exactly(one: Decimal, other: Decimal) -> None:
    """As long as no digit of the result is beyond what a long double holds, it is what one learns in school."""
    text = add_long_doubles(str(one).encode(), str(other).encode())
    assert text is not None
    assert Decimal(text.decode()) == one + other


@each_row("text", [b"9" * 400, b"0x" + b"f" * 300, b"1e400", b"-1e400", b"1e-400", b"0x1p-2000", b""])
def test_what_a_double_cannot_hold_is_no_number(text: bytes) -> None:
    with pytest.raises(CommandError):
        parse_double(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"0", 0), (b"-9223372036854775808", -(2**63)), (b"9223372036854775807", 2**63 - 1), (b"1" * 18, int("1" * 18))],
)
def test_integers(text: bytes, expected: int) -> None:
    assert to_int(text) == expected


@each_row(
    "text",
    [
        *(b"", b"-", b"+1", b"01", b"-0", b"00", b" 1", b"1 ", b"1.0", b"1e3", b"0x1", b"1_0", b"1\n"),
        *(b"9223372036854775808", b"-9223372036854775809", b"9" * 5000, "\u0661".encode()),
    ],
)
def test_no_integers(text: bytes) -> None:
    assert to_int(text) is None
