"""Sequences of commands, for running them on two servers and comparing the replies."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

__all__ = ["UNORDERED", "commands", "normalised"]

KEYS = [b"a", b"b", b"c"]
FIELDS = [b"f", b"g", b"h", b"1"]
VALUES = [
    b"",
    b"x",
    b"10",
    b"-3",
    b"1.5",
    b"hello world",
    b"abcabc",
    b"\x00\xff",
    b"9223372036854775807",
    b"nan",
    b"007",
]
NUMBERS = [b"0", b"1", b"2", b"-1", b"-2", b"10", b"x", b"1.5", b"9223372036854775807", b"-9223372036854775808", b""]
SCORES = [b"0", b"1", b"-1.5", b"2", b"inf", b"-inf", b"nan", b"x", b"3e2", b"(1", b"+inf", b"0.1"]


def pick(*words: bytes) -> st.SearchStrategy[bytes]:
    """One of these words."""
    return st.sampled_from(words)


key = st.sampled_from(KEYS)
field = st.sampled_from(FIELDS)
value = st.sampled_from(VALUES)
number = st.sampled_from(NUMBERS)
small = pick(b"0", b"1", b"2", b"3", b"-1", b"-2", b"-3", b"100")
score = st.sampled_from(SCORES)
count = pick(b"1", b"2", b"5", b"0", b"-1")


Part = bytes | st.SearchStrategy[Any]


def call(*parts: Part) -> st.SearchStrategy[list[bytes]]:
    """A command of fixed words and chosen ones; a chosen list stands for several words."""
    drawn = st.tuples(*[part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts])

    def flat(chosen: tuple[Any, ...]) -> list[bytes]:
        words: list[bytes] = []
        for each in chosen:
            words.extend(each) if isinstance(each, list) else words.append(each)
        return words

    return drawn.map(flat)


def some(*options: Part) -> st.SearchStrategy[list[bytes]]:
    """None or one of some words or word sequences."""
    return st.one_of(st.just([]), *[call(each) if isinstance(each, bytes) else each for each in options])


def several(part: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[list[bytes]]:
    return st.lists(part, min_size=1, max_size=most).map(
        lambda found: [word for each in found for word in (each if isinstance(each, (list, tuple)) else [each])]
    )


pairs = several(st.tuples(field, value))
scored = several(st.tuples(score, field))
keys = several(key)

STRINGS = st.one_of(
    call(b"SET", key, value, some(b"NX", b"XX", b"GET", b"KEEPTTL", call(b"EX", number), call(b"PX", b"100000"))),
    call(b"GET", key),
    call(b"GETSET", key, value),
    call(b"GETDEL", key),
    call(b"GETEX", key, some(b"PERSIST", call(b"EX", number), b"FOO")),
    call(b"MGET", keys),
    call(b"MSET", several(st.tuples(key, value))),
    call(b"MSETNX", several(st.tuples(key, value))),
    call(b"SETNX", key, value),
    call(b"SETEX", key, number, value),
    call(b"APPEND", key, value),
    call(b"STRLEN", key),
    call(b"SETRANGE", key, small, value),
    call(b"GETRANGE", key, small, small),
    call(b"INCR", key),
    call(b"DECR", key),
    call(b"INCRBY", key, number),
    call(b"DECRBY", key, number),
    call(b"INCRBYFLOAT", key, pick(b"1.5", b"0.1", b"-2", b"x", b"1e3", b"inf")),
    call(b"LCS", key, key, some(b"LEN", b"IDX", call(b"IDX", b"WITHMATCHLEN"), call(b"IDX", b"MINMATCHLEN", small))),
)

BITMAPS = st.one_of(
    call(b"SETBIT", key, pick(b"0", b"7", b"8", b"21", b"-1", b"x"), pick(b"0", b"1", b"2")),
    call(b"GETBIT", key, pick(b"0", b"7", b"9", b"100", b"x")),
    call(b"BITCOUNT", key, some(call(small, small), call(small, small, pick(b"BIT", b"BYTE", b"X")), b"1")),
    call(b"BITPOS", key, pick(b"0", b"1", b"2"), some(small, call(small, small), call(small, small, b"BIT"))),
    call(b"BITOP", pick(b"AND", b"OR", b"XOR", b"NOT", b"NO"), key, keys),
    call(
        b"BITFIELD",
        key,
        some(
            call(b"GET", b"u8", small),
            call(b"SET", b"i5", b"#1", number),
            call(b"OVERFLOW", pick(b"SAT", b"FAIL", b"WRAP", b"X"), b"INCRBY", b"u4", b"3", number),
            call(b"GET", b"u64", b"0"),
        ),
    ),
)

HASHES = st.one_of(
    call(b"HSET", key, pairs),
    call(b"HSETNX", key, field, value),
    call(b"HMSET", key, pairs),
    call(b"HGET", key, field),
    call(b"HMGET", key, several(field)),
    call(b"HDEL", key, several(field)),
    call(b"HLEN", key),
    call(b"HSTRLEN", key, field),
    call(b"HEXISTS", key, field),
    call(b"HKEYS", key),
    call(b"HVALS", key),
    call(b"HGETALL", key),
    call(b"HINCRBY", key, field, number),
    call(b"HINCRBYFLOAT", key, field, pick(b"1.5", b"0.1", b"x", b"-2")),
    call(b"HSCAN", key, b"0", some(call(b"MATCH", b"[fg]"), call(b"COUNT", count))),
)

where = pick(b"LEFT", b"RIGHT", b"left", b"UP")
LISTS = st.one_of(
    call(pick(b"LPUSH", b"RPUSH", b"LPUSHX", b"RPUSHX"), key, several(value)),
    call(pick(b"LPOP", b"RPOP"), key, some(count)),
    call(b"LLEN", key),
    call(b"LRANGE", key, small, small),
    call(b"LINDEX", key, small),
    call(b"LSET", key, small, value),
    call(b"LREM", key, small, value),
    call(b"LTRIM", key, small, small),
    call(b"LINSERT", key, pick(b"BEFORE", b"AFTER", b"X"), value, value),
    call(b"LPOS", key, value, some(call(b"RANK", small), call(b"COUNT", small), call(b"MAXLEN", small))),
    call(b"LMOVE", key, key, where, where),
    call(b"RPOPLPUSH", key, key),
    call(b"LMPOP", pick(b"1", b"2", b"0"), keys, where, some(call(b"COUNT", count))),
    call(b"BLPOP", keys, b"0.01"),
    call(b"BLMOVE", key, key, where, where, pick(b"0.01", b"-1", b"x")),
)

SETS = st.one_of(
    call(b"SADD", key, several(value)),
    call(b"SREM", key, several(value)),
    call(b"SISMEMBER", key, value),
    call(b"SMISMEMBER", key, several(value)),
    call(b"SCARD", key),
    call(b"SMEMBERS", key),
    call(b"SMOVE", key, key, value),
    call(pick(b"SINTER", b"SUNION", b"SDIFF"), keys),
    call(pick(b"SINTERSTORE", b"SUNIONSTORE", b"SDIFFSTORE"), key, keys),
    call(b"SINTERCARD", pick(b"1", b"2", b"0", b"9"), keys, some(call(b"LIMIT", count))),
)

bound = pick(b"[a", b"(f", b"-", b"+", b"[g", b"x")
limit = some(call(b"LIMIT", small, small))
ZSETS = st.one_of(
    call(
        b"ZADD",
        key,
        some(b"NX", b"XX", b"CH", b"INCR", call(b"GT", b"CH"), call(b"NX", b"XX"), call(b"GT", b"LT")),
        scored,
    ),
    call(b"ZINCRBY", key, score, field),
    call(b"ZREM", key, several(field)),
    call(b"ZSCORE", key, field),
    call(b"ZMSCORE", key, several(field)),
    call(b"ZCARD", key),
    call(b"ZCOUNT", key, score, score),
    call(b"ZLEXCOUNT", key, bound, bound),
    call(pick(b"ZRANK", b"ZREVRANK"), key, field),
    call(
        b"ZRANGE",
        key,
        small,
        small,
        some(b"REV", b"WITHSCORES", call(b"REV", b"WITHSCORES"), call(b"LIMIT", b"0", b"1")),
    ),
    call(b"ZRANGE", key, score, score, b"BYSCORE", some(b"REV", b"WITHSCORES"), limit),
    call(b"ZREVRANGE", key, small, small, some(b"WITHSCORES")),
    call(pick(b"ZRANGEBYSCORE", b"ZREVRANGEBYSCORE"), key, score, score, some(b"WITHSCORES"), limit),
    call(b"ZREMRANGEBYRANK", key, small, small),
    call(b"ZREMRANGEBYSCORE", key, score, score),
    call(pick(b"ZPOPMIN", b"ZPOPMAX"), key, some(count)),
    call(
        b"ZMPOP",
        pick(b"1", b"2"),
        keys,
        pick(b"MIN", b"MAX", b"X"),
        some(call(b"COUNT", count)),
    ),
    call(b"ZRANGESTORE", key, key, small, small, some(b"REV")),
    call(
        pick(b"ZUNION", b"ZINTER"),
        b"2",
        key,
        key,
        some(call(b"WEIGHTS", score, score), call(b"AGGREGATE", pick(b"MIN", b"MAX", b"SUM", b"X"))),
        some(b"WITHSCORES"),
    ),
    call(b"ZDIFF", b"2", key, key, some(b"WITHSCORES")),
    call(pick(b"ZUNIONSTORE", b"ZINTERSTORE", b"ZDIFFSTORE"), key, b"2", key, key),
    call(b"ZINTERCARD", b"2", key, key, some(call(b"LIMIT", count))),
    call(b"BZPOPMIN", keys, b"0.01"),
)

degrees = pick(b"0", b"1", b"1.5", b"-85", b"86", b"179.9", b"-180", b"181", b"x", b"nan")
unit = pick(b"m", b"km", b"FT", b"x")
metres = pick(b"0", b"100", b"5000", b"1e7", b"-1", b"x")
found = some(
    b"ASC", b"DESC", call(b"COUNT", count), call(b"COUNT", b"1", b"ANY"), b"WITHDIST", b"WITHCOORD", b"WITHHASH"
)
GEO = st.one_of(
    call(b"GEOADD", key, some(b"NX", b"XX", b"CH"), several(st.tuples(degrees, degrees, field))),
    call(pick(b"GEOPOS", b"GEOHASH"), key, several(field)),
    call(b"GEODIST", key, field, field, some(unit)),
    call(b"GEORADIUS", key, degrees, degrees, metres, unit, found, some(call(pick(b"STORE", b"STOREDIST"), key))),
    call(pick(b"GEORADIUSBYMEMBER", b"GEORADIUSBYMEMBER_RO"), key, field, metres, unit, found),
    call(b"GEOSEARCH", key, b"FROMMEMBER", field, b"BYRADIUS", metres, unit, found),
    call(b"GEOSEARCH", key, b"FROMLONLAT", degrees, degrees, b"BYBOX", metres, metres, unit, found),
    call(b"GEOSEARCHSTORE", key, key, b"FROMMEMBER", field, b"BYBOX", metres, metres, unit, some(b"STOREDIST")),
)

HYPERLOGLOGS = st.one_of(
    call(b"PFADD", key, some(several(value))),
    call(b"PFCOUNT", keys),
    call(b"PFMERGE", key, some(keys)),
    call(b"PFDEBUG", pick(b"ENCODING", b"TODENSE", b"DECODE"), key),
)

entry_id = pick(b"1-1", b"1-2", b"2", b"3-0", b"3-7", b"5-1", b"9-9", b"0", b"0-1", b"18446744073709551615")
new_id = pick(b"1-*", b"2-*", b"3-*", b"5-*", b"6-1", b"7-7", b"9-*", b"0-*", b"1-1", b"2-2", b"x", b"5", b"99-*")
range_end = st.one_of(entry_id, pick(b"-", b"+", b"(1-1", b"(3", b"(0-0", b"5", b"x"))
trimming = some(
    call(b"MAXLEN", some(b"~", b"="), small),
    call(b"MAXLEN", b"~", small, b"LIMIT", small),
    call(b"MINID", some(b"~", b"="), entry_id),
    call(b"MAXLEN", small, b"LIMIT", small),
    call(b"NOMKSTREAM"),
    call(b"LIMIT", small),
)
group = pick(b"g", b"h", b"g", b"nogroup")
consumer = pick(b"c", b"d", b"e")
after = st.one_of(entry_id, pick(b"$", b">"))
at_most = some(call(b"COUNT", small))
counters = some(
    call(b"ENTRIESADDED", small),
    call(b"MAXDELETEDID", entry_id),
    call(b"ENTRIESADDED", b"9", b"MAXDELETEDID", entry_id),
)
idle = pick(b"0", b"0", b"100000000", b"x", b"-1")
STREAMS = st.one_of(
    *[call(b"XADD", key, trimming, new_id, pairs)] * 6,
    call(b"XADD", key, new_id, value, some(value)),
    call(b"XLEN", key),
    call(pick(b"XRANGE", b"XREVRANGE"), key, range_end, range_end, at_most),
    call(b"XRANGE", key, b"-", b"+", at_most),
    call(b"XREVRANGE", key, b"+", b"-", at_most),
    call(b"XDEL", key, several(entry_id)),
    call(b"XTRIM", key, trimming),
    call(b"XTRIM", key, pick(b"MAXLEN", b"MINID"), some(b"~", b"="), small, some(call(b"LIMIT", small))),
    call(b"XSETID", key, entry_id, counters),
    call(b"XREAD", at_most, some(call(b"BLOCK", b"1")), b"STREAMS", key, after),
    call(b"XREAD", at_most, b"STREAMS", key, key, after, after),
    *[
        call(
            *(b"XGROUP", b"CREATE", key, pick(b"g", b"h"), st.one_of(entry_id, pick(b"$", b"0", b"0"))),
            *(some(b"MKSTREAM", call(b"ENTRIESREAD", small), call(b"MKSTREAM", b"ENTRIESREAD", small)),),
        )
    ]
    * 2,
    call(b"XGROUP", b"SETID", key, group, after, some(call(b"ENTRIESREAD", small))),
    call(b"XGROUP", b"DESTROY", key, group),
    call(b"XGROUP", pick(b"CREATECONSUMER", b"DELCONSUMER"), key, group, consumer),
    *[
        call(
            *(b"XREADGROUP", b"GROUP", group, consumer, at_most, some(b"NOACK", call(b"BLOCK", b"1")), b"STREAMS"),
            *(key, pick(b">", b">", b">", b"0", b"1-1")),
        )
    ]
    * 3,
    call(b"XREADGROUP", b"GROUP", group, consumer, b"STREAMS", key, key, b">", after),
    call(b"XACK", key, group, several(entry_id)),
    call(
        *(b"XCLAIM", key, group, consumer, idle, several(entry_id)),
        some(b"FORCE", call(b"JUSTID", b"FORCE"), call(b"RETRYCOUNT", small), call(b"TIME", b"1"), call(b"IDLE", b"0")),
        some(call(b"LASTID", entry_id), b"X"),
    ),
    call(b"XAUTOCLAIM", key, group, consumer, idle, range_end, some(b"JUSTID", call(b"COUNT", small))),
    call(b"XPENDING", key, group, some(call(range_end, range_end, count, some(consumer)))),
    call(b"XPENDING", key, group, b"IDLE", idle, b"-", b"+", count),
    call(b"XINFO", b"STREAM", key, some(b"FULL", call(b"FULL", b"COUNT", small))),
    call(b"XINFO", b"GROUPS", key),
    call(b"XINFO", b"CONSUMERS", key, group),
    call(b"DUMP", key),
)

GENERIC = st.one_of(
    call(pick(b"DEL", b"UNLINK", b"EXISTS", b"TOUCH"), keys),
    call(b"TYPE", key),
    call(b"RENAME", key, key),
    call(b"RENAMENX", key, key),
    call(b"COPY", key, key, some(b"REPLACE", call(b"DB", b"1"), b"X")),
    call(b"MOVE", key, pick(b"1", b"0", b"x")),
    call(b"DBSIZE"),
    call(
        b"EXPIRE",
        key,
        pick(b"1000", b"-1", b"x"),
        some(b"NX", b"XX", b"GT", b"LT", call(b"NX", b"XX"), b"Y"),
    ),
    call(b"PERSIST", key),
    call(b"EXPIREAT", key, b"9999999999"),
    call(b"EXPIRETIME", key),
    call(b"OBJECT", b"ENCODING", key),
    call(
        b"SORT",
        key,
        some(
            b"ALPHA",
            b"DESC",
            call(b"LIMIT", small, small),
            call(b"BY", b"nosort"),
            call(b"GET", b"#"),
            call(b"STORE", key),
        ),
    ),
    call(b"SELECT", pick(b"0", b"1")),
    call(pick(b"GET", b"LLEN", b"SADD", b"ZADD", b"HGET", b"NOSUCH"), some(key)),
)

TRANSACTIONS = st.one_of(
    call(b"MULTI"), call(b"EXEC"), call(b"DISCARD"), call(b"WATCH", key), call(b"UNWATCH"), call(b"SET", key, value)
)


def on_own_keys(prefix: bytes, family: st.SearchStrategy[list[bytes]]) -> st.SearchStrategy[list[bytes]]:
    """Three in four calls on keys that only this family uses, so that most find what others have left."""

    def renamed(drawn: tuple[int, list[bytes]]) -> list[bytes]:
        kind, words = drawn
        return words if not kind else [words[0], *(prefix + word if word in KEYS else word for word in words[1:])]

    return st.tuples(st.integers(0, 3), family).map(renamed)


FAMILIES = {
    b"string:": st.one_of(STRINGS, BITMAPS),
    b"hash:": HASHES,
    b"list:": LISTS,
    b"set:": SETS,
    b"zset:": ZSETS,
    b"geo:": GEO,
    b"log:": HYPERLOGLOGS,
    b"stream:": STREAMS,
}

commands = st.lists(
    st.one_of(
        *[on_own_keys(prefix, family) for prefix, family in FAMILIES.items()],
        *[on_own_keys(prefix, GENERIC) for prefix in (b"string:", b"hash:", b"list:", b"set:", b"zset:", b"stream:")],
        TRANSACTIONS,
    ),
    min_size=20,
    max_size=60,
)

UNORDERED = frozenset((b"SMEMBERS", b"SINTER", b"SUNION", b"SDIFF", b"HKEYS", b"HVALS", b"HGETALL", b"HSCAN", b"KEYS"))
"""Commands whose replies have no order."""


TIME_IN_DUMP = rb"[\x00-\xff]{5}\x01\x00\x00"
"""Milliseconds of our days in eight bytes."""


def without_times(reply: Any) -> Any:
    """Return the reply of XINFO and XPENDING without moments and without the time since then."""
    if not isinstance(reply, list):
        return "a time" if isinstance(reply, int) and reply > 10**11 else reply
    if len(reply) == 4 and isinstance(reply[0], bytes) and isinstance(reply[2], int):  # of XPENDING
        return [*reply[:2], "idle", reply[3]]
    parts = list(map(without_times, reply))
    return [("idle" if before == b"idle" else part) for before, part in zip([None, *parts], parts, strict=False)]


def normalised(args: list[bytes], reply: Any) -> Any:
    """The reply to a command in a form in which what Redis does not promise is the same."""
    command = args[0]
    if command in (b"HGETALL", b"HSCAN") and isinstance(reply, list):
        flat = reply[1] if command == b"HSCAN" and len(reply) == 2 and isinstance(reply[1], list) else reply
        return sorted(zip(flat[::2], flat[1::2], strict=False))
    if command == b"OBJECT" and reply in (b"int", b"embstr", b"raw"):
        return b"string"  # Redis remembers how a string came about, which nobody can see otherwise
    if command in (b"XINFO", b"XPENDING"):
        return without_times(reply)
    if command == b"DUMP" and isinstance(reply, bytes):
        return reply if not re.search(TIME_IN_DUMP, reply) else b"with times"
    if (command in UNORDERED or b"nosort" in args) and isinstance(reply, (list, set)):
        return sorted(reply)
    return reply
