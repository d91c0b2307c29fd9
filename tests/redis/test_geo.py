"""The GEO commands, on redis-server and here: replies, and what random searches find."""

from __future__ import annotations

import math
import random

import pytest
import redis

import evio_redis
from evio_redis.keyspace import geohash
from tests.extent import examples

from .test_dump import changes
from .transcripts import Conversation, check, conversations
from .wire import Wire, redis_server

TRANSCRIPT = r"""
GEOADD k 13.361389 38.115556 Palermo -> :1
GEOADD k 15.087269 37.502669 Catania 13.361389 38.115556 Palermo -> :1
TYPE k -> +zset
ZSCORE k Palermo -> $16 3479099956230698 | ,3479099956230698
GEOADD k NX 1 1 Palermo 2 2 new -> :1
GEOADD k xx CH 1 1 Palermo 2 2 newer -> :1
GEOADD k NX XX 1 1 a -> -ERR syntax error
GEOADD k 1 1 -> -ERR wrong number of arguments for 'geoadd' command
GEOADD k 1 1 a 2 -> -ERR syntax error
GEOADD k NX CH NX -> -ERR syntax error
GEOADD k x 1 a -> -ERR value is not a valid float
GEOADD k 1 nan a -> -ERR value is not a valid float
GEOADD k 181 1 a -> -ERR invalid longitude,latitude pair 181.000000,1.000000
GEOADD k 1 2 a 1 -85.06 b -> -ERR invalid longitude,latitude pair 1.000000,-85.060000
GEOADD k 1 inf b -> -ERR invalid longitude,latitude pair 1.000000,inf
ZCARD k -> :3

GEOADD k 13.361389 38.115556 Palermo 15.087269 37.502669 Catania -> :2
GEODIST k Palermo Catania -> $11 166274.1516
GEODIST k Palermo Catania KM -> $8 166.2742
GEODIST k Palermo Catania mi -> $8 103.3182
GEODIST k Palermo Catania ft -> $11 545518.8700
GEODIST k Palermo Palermo -> $6 0.0000
GEODIST k Palermo nobody -> $-1 | _
GEODIST nothing a b -> $-1 | _
GEODIST nothing a b parsec -> -ERR unsupported unit provided. please use M, KM, FT, MI
GEODIST k a b m n -> -ERR syntax error
GEOHASH k Palermo nobody Catania -> *3 $11 sqc8b49rny0 $-1 $11 sqdtr74hyu0 | *3 $11 sqc8b49rny0 _ $11 sqdtr74hyu0
GEOHASH k -> *0
GEOHASH nothing a -> *1 $-1 | *1 _
GEOPOS k Palermo nobody -> *2 *2 $20 13.36138933897018433 $20 38.11555639549629859 *-1 | *2 *2 ,13.36138933897018433
  ,38.11555639549629859 _
GEOPOS nothing a -> *1 *-1 | *1 _
GEORADIUS k 15 37 200 km -> *2 $7 Palermo $7 Catania
GEORADIUS k 15 37 200 km DESC COUNT 1 -> *1 $7 Palermo
GEORADIUS k 15 37 200 km count 1 -> *1 $7 Catania
GEORADIUS k 15 37 200 km COUNT 1 ANY WITHHASH -> *1 *2 $7 Palermo :3479099956230698
GEORADIUS k 15 37 200 km ASC WITHCOORD WITHDIST WITHHASH -> *2 *4 $7 Catania $7 56.4413 :3479447370796909 *2
  $20 15.08726745843887329 $20 37.50266842333162032 *4 $7 Palermo $8 190.4424 :3479099956230698 *2
  $20 13.36138933897018433 $20 38.11555639549629859 | *2 *4 $7 Catania $7 56.4413 :3479447370796909 *2
  ,15.08726745843887329 ,37.50266842333162032 *4 $7 Palermo $8 190.4424 :3479099956230698 *2 ,13.36138933897018433
  ,38.11555639549629859
GEORADIUS k 15 37 0 m -> *0
GEORADIUS k 15 37 -1 km -> -ERR radius cannot be negative
GEORADIUS k 15 37 x km -> -ERR need numeric radius
GEORADIUS k 15 37 1 x -> -ERR unsupported unit provided. please use M, KM, FT, MI
GEORADIUS k 15 37 1 km COUNT 0 -> -ERR COUNT must be > 0
GEORADIUS k 15 37 1 km COUNT x -> -ERR value is not an integer or out of range
GEORADIUS k 15 37 1 km COUNT -> -ERR syntax error
GEORADIUS k 15 37 1 km ANY -> -ERR the ANY argument requires COUNT argument
GEORADIUS k 15 37 1 km FOO -> -ERR syntax error
GEORADIUS k 15 37 1 km FROMLONLAT 1 1 -> -ERR syntax error
GEORADIUS k 15 37 1 km STORE -> -ERR syntax error
GEORADIUS k 15 37 1 km STORE d WITHDIST -> -ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and
  WITHCOORD options
GEORADIUS_RO k 15 37 1 km STORE d -> -ERR syntax error
GEORADIUS k 15 37 200 km STORE d -> :2
ZRANGE d 0 -1 WITHSCORES -> *4 $7 Palermo $16 3479099956230698 $7 Catania $16 3479447370796909 | *2 *2 $7 Palermo
  ,3479099956230698 *2 $7 Catania ,3479447370796909
GEORADIUS k 15 37 200 km STOREDIST d COUNT 1 -> :1
ZRANGE d 0 -1 WITHSCORES -> *2 $7 Catania $18 56.441257870158204 | *1 *2 $7 Catania ,56.441257870158204
GEORADIUS k 15 37 1 km STORE d -> :0
EXISTS d -> :0
GEORADIUSBYMEMBER k Catania 200 km -> *2 $7 Palermo $7 Catania
GEORADIUSBYMEMBER_RO k Catania 1 m WITHDIST -> *1 *2 $7 Catania $6 0.0000
GEORADIUSBYMEMBER k nobody 200 km -> -ERR could not decode requested zset member
GEORADIUSBYMEMBER nothing nobody x y -> *0
GEORADIUSBYMEMBER nothing nobody x y FOO -> -ERR syntax error
GEORADIUS nothing 15 37 1 km -> *0
GEORADIUS nothing 15 37 1 km STORE k -> :0
EXISTS k -> :0

GEOADD k 13.361389 38.115556 Palermo 15.087269 37.502669 Catania -> :2
GEOSEARCH k FROMLONLAT 15 37 BYRADIUS 200 km ASC -> *2 $7 Catania $7 Palermo
GEOSEARCH k FROMLONLAT 15 37 BYBOX 400 400 km DESC -> *2 $7 Palermo $7 Catania
GEOSEARCH k FROMMEMBER Catania BYBOX 10 10 km WITHDIST -> *1 *2 $7 Catania $6 0.0000
GEOSEARCH k FROMMEMBER nobody BYBOX 10 10 km -> -ERR could not decode requested zset member
GEOSEARCH k FROMMEMBER Catania FROMLONLAT 1 1 BYBOX 1 1 km -> -ERR syntax error
GEOSEARCH k FROMMEMBER Catania BYRADIUS 1 m BYBOX 1 1 km -> -ERR syntax error
geosearch k FROMMEMBER Catania ASC ASC ASC -> -ERR exactly one of BYRADIUS and BYBOX can be specified for geosearch
GEOSEARCH k BYRADIUS 1 m ASC ASC -> -ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH
GEOSEARCH k FROMLONLAT 15 37 BYBOX x 1 km -> -ERR need numeric width
GEOSEARCH k FROMLONLAT 15 37 BYBOX 1 x km -> -ERR need numeric height
GEOSEARCH k FROMLONLAT 15 37 BYBOX 1 -1 km -> -ERR height or width cannot be negative
GEOSEARCH k FROMLONLAT 15 37 BYRADIUS 1 km STOREDIST -> -ERR syntax error
GEOSEARCH k FROMLONLAT 15 37 BYRADIUS 1 km STORE d -> -ERR syntax error
GEOSEARCH k FROMLONLAT 15 37 BYRADIUS 1 km ANY -> -ERR the ANY argument requires COUNT argument
GEOSEARCH nothing FROMMEMBER a BYRADIUS 1 km -> *0
GEOSEARCH nothing FROMMEMBER a ASC ASC ASC -> -ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH
GEOSEARCHSTORE d k FROMLONLAT 15 37 BYRADIUS 200 km -> :2
GEOSEARCHSTORE d k FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST COUNT 1 -> :1
ZRANGE d 0 -1 WITHSCORES -> *2 $7 Catania $18 56.441257870158204 | *1 *2 $7 Catania ,56.441257870158204
GEOSEARCHSTORE d k FROMLONLAT 15 37 BYRADIUS 1 km WITHDIST -> -ERR GEOSEARCHSTORE is not compatible with WITHDIST,
  WITHHASH and WITHCOORD options
GEOSEARCHSTORE d nothing FROMLONLAT 15 37 BYRADIUS 1 km -> :0
EXISTS d -> :0

SET k v -> +OK
GEOADD k 1 1 a -> -WRONGTYPE Operation against a key holding the wrong kind of value
GEOPOS k a -> -WRONGTYPE Operation against a key holding the wrong kind of value
GEOSEARCH k FROMLONLAT x 37 BYRADIUS 1 km -> -WRONGTYPE Operation against a key holding the wrong kind of value

ZADD k -1 a 1.5 b inf c -inf d 1e300 e 4503599627370495 f 4503599627370496 g -> :7
GEOHASH k a b c d e f g -> *7 $11 bp05b5048p0 $11 00bh0hbj210 $11 00bh0hbj200 $11 00bh0hbj200 $11 00bh0hbj200
  $11 zzpgzgpfxz0 $11 bp05b5048p0
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_replies(port: int, group: list[Conversation]) -> None:
    check(port, group)


def test_what_becomes_known_of_it(port: int) -> None:
    with redis.Redis(port=port) as client, Wire(port) as blocked:
        client.flushall()
        client.config_set("notify-keyspace-events", "KEA")
        listener = client.pubsub()
        listener.psubscribe("__keyevent@0__:*")
        assert listener.get_message(timeout=20)["type"] == "psubscribe"
        before = changes(client)
        client.geoadd("k", (1, 1, "a", 2, 2, "b"))
        client.execute_command("GEORADIUS k 1 1 10000 km STORE d")
        client.geosearchstore("d", "k", longitude=1, latitude=1, radius=1, unit="m")
        client.geosearchstore("d", "nothing", longitude=1, latitude=1, radius=1, unit="m")
        assert changes(client) - before == 2 + 2 + 1 + 1
        heard = [listener.get_message(timeout=20)["channel"].rpartition(b":")[2] for _ in range(4)]
        assert heard == [b"zadd", b"georadiusstore", b"geosearchstore", b"del"]
        listener.close()
        client.config_set("notify-keyspace-events", "")
        blocked.send("BZPOPMIN queue 0")
        while client.info("clients")["blocked_clients"] == 0:
            pass
        client.geoadd("queue", (0, 0, "first"))
        assert blocked.reply().startswith(b"*3\r\n$5\r\nqueue\r\n$5\r\nfirst\r\n")


UNITS = ("m", "km", "mi", "ft")


def test_random_searches_find_what_redis_finds() -> None:
    choose = random.Random(7)

    def position() -> tuple[float, float]:
        return choose.uniform(-180, 180), choose.choice([choose.uniform(-85, 85), choose.uniform(80, 85.05)])

    def call() -> list[str]:
        words = ["GEOSEARCH", "k"]
        words += choose.choice([["FROMMEMBER", f"m{choose.randrange(400)}"], ["FROMLONLAT", *map(str, position())]])
        sizes = [f"{math.exp(choose.uniform(0, 12)):.3f}" for _ in range(2)]
        unit = choose.choice(UNITS[:2])
        words += choose.choice([["BYRADIUS", sizes[0], unit], ["BYBOX", *sizes, unit]])
        words += choose.choice([[], ["ASC"], ["DESC"]])
        words += choose.choice([[], [], ["COUNT", "3"], ["COUNT", "5", "ANY"]])
        return words + choose.choice([[], ["WITHDIST"], ["WITHHASH", "WITHCOORD"]])

    with redis_server() as other, evio_redis.Server(port=0) as server, Wire(other) as real, Wire(server.port) as ours:
        members = [part for number in range(400) for part in (*map(str, position()), f"m{number}")]
        for wire in (real, ours):
            assert wire.ask(["GEOADD", "k", *members]) == b":400\r\n"
        for _ in range(examples(1500)):
            words = call()
            assert ours.ask(words) == real.ask(words), words
        for wire in (real, ours):
            wire.ask("HELLO 3")
        for name in ("GEOPOS", "GEOHASH"):
            words = [name, "k", *(f"m{number}" for number in range(400))]
            assert ours.ask(words) == real.ask(words)
        for _ in range(300):
            words = ["GEODIST", "k", *(f"m{choose.randrange(400)}" for _ in range(2)), choose.choice(UNITS)]
            assert ours.ask(words) == real.ask(words), words


@pytest.mark.parametrize("position", [(0.0, 0.0), (-180.0, -85.05112878), (179.99, 85.05), (13.361389, 38.115556)])
def test_a_geohash_is_near_what_it_was_made_of(position: tuple[float, float]) -> None:
    found = geohash.decode(geohash.encode(*position))
    assert geohash.distance(found, position) < 0.6


def test_neighbours_of_the_last_cell_are_at_the_other_edge() -> None:
    for centre, neighbour in (((-179.9, 0.1), 179.9), ((179.9, 0.1), -179.9)):
        scores = [float(geohash.encode(neighbour, 0.1))]
        shape = geohash.Shape(centre, radius=30_000.0)
        assert any(low <= scores[0] < high for low, high in geohash.ranges(shape))
        assert len(shape.search([(scores[0], b"there")])) == 1


def test_what_is_far_is_left_out_and_nothing_else() -> None:
    draw = random.Random(11)

    def position() -> tuple[float, float]:
        return draw.choice([-180.0, 180.0, draw.uniform(-180, 180)]), draw.uniform(*geohash.LATITUDES)

    pairs = [(float(geohash.encode(*position())), b"%d" % number) for number in range(300)]
    pairs += [(score, b"unusual %r" % score) for score in (-1.0, 2.0**52, 2.0**63, 1e300)]
    positions = geohash.decode_all([score for score, _ in pairs])
    for _ in range(examples(400)):
        centre, size = position(), math.exp(draw.uniform(0, 18))
        circle = geohash.Shape(centre, radius=size)
        expected = [each for each, at in zip(pairs, positions, strict=True) if geohash.distance(centre, at) <= size]
        assert [(score, member) for _, member, score, _ in circle.search(pairs)] == expected
        box = geohash.Shape(centre, width=size, height=draw.uniform(0, 2) * size)
        expected = [
            each
            for each, at in zip(pairs, positions, strict=True)
            if geohash.distance((centre[0], at[1]), centre) <= box.height / 2
            and geohash.distance(at, (centre[0], at[1])) <= box.width / 2
        ]
        assert [(score, member) for _, member, score, _ in box.search(pairs)] == expected


def test_what_is_not_measured_is_found_up_to_the_edge_and_no_further() -> None:
    draw = random.Random(12)
    for _ in range(examples(400)):
        longitude, latitude = (
            draw.choice([179.9, 0.0, draw.uniform(-180, 180)]),
            draw.choice([0.0, draw.uniform(-85, 85)]),
        )
        circle = geohash.Shape((longitude, latitude), radius=draw.choice([0.0, 10 ** draw.uniform(-2, 7.4)]))
        assert circle.radius is not None
        degrees = circle.radius / geohash.EARTH_RADIUS / geohash.DEGREE
        pairs = [(float(geohash.encode(longitude, latitude)), b"centre")]
        for number in range(40):
            around, part = draw.uniform(0, 2 * math.pi), 1 + draw.choice([-1, 1]) * 10 ** draw.uniform(-8, 0)
            y = latitude + part * degrees * math.cos(around)
            x = longitude + part * degrees * math.sin(around) / math.cos(latitude * geohash.DEGREE)
            pairs.append((float(geohash.encode((x + 180) % 360 - 180, min(max(y, -85), 85))), b"%d" % number))
        expected = [member for _, member, _, _ in circle.search(pairs)]
        assert [member for _, member, _, _ in circle.search(pairs, measured=False)] == expected
