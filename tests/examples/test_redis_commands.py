"""The two examples on evio_redis, as redis-py sees them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.core.harness import TIMEOUT

from .running import Example, example

redis: Any = pytest.importorskip("redis", reason="redis is not installed")


def client(server: Example) -> Any:
    return redis.Redis(port=server.port, socket_timeout=TIMEOUT)


def test_a_bucket_lets_a_burst_pass_and_then_says_when() -> None:
    with example("redis-own-command", "--port", "0") as server:
        with client(server) as one:
            answers = [one.execute_command("THROTTLE", "user:7", 3, 0.01) for _ in range(5)]
            assert [each[:2] for each in answers] == [[1, 2], [1, 1], [1, 0], [0, 0], [0, 0]]
            assert 90_000 < answers[3][2] <= 100_000
            assert one.execute_command("THROTTLE", "user:8", 3, 0.01)[0] == 1
            with pytest.raises(redis.ResponseError, match="rate must be"):
                one.execute_command("THROTTLE", "user:7", 3, "fast")
            assert one.set("other", "commands work")
        server.stop()


def test_a_lock_has_one_owner_and_a_fence_that_grows() -> None:
    with example("redis-own-command", "--port", "0") as server:
        with client(server) as one:
            assert one.execute_command("LOCK", "report", "a", 60) == 1
            assert one.execute_command("LOCK", "report", "a", 60) == 1
            assert one.execute_command("LOCK", "report", "b", 60) == 0
            assert one.execute_command("UNLOCK", "report", "b") == 0
            assert one.execute_command("UNLOCK", "report", "a") == 1
            assert one.execute_command("LOCK", "report", "b", 0.001) == 2
            while (fence := one.execute_command("LOCK", "report", "c", 60)) == 0:
                pass
            assert fence == 3
        server.stop()


def test_objects_are_found_by_where_they_are() -> None:
    rng = random.Random(7)
    places = {f"o{number}": (rng.uniform(52.3, 52.7), rng.uniform(13.0, 13.8)) for number in range(500)}
    with example("tile", "--port", "0") as server:
        with client(server) as one:
            with one.pipeline(transaction=False) as pipe:
                for name, (lat, lon) in places.items():
                    pipe.execute_command("TSET", "fleet", name, lat, lon)
                    pipe.execute_command("GEOADD", "reference", lon, lat, name)
                pipe.execute()
            found = one.execute_command("NEARBY", "fleet", 52.5, 13.4, 5000)
            # Redis's own search, with its somewhat coarser positions and another radius of the earth.
            expected = one.geosearch("reference", longitude=13.4, latitude=52.5, radius=5000, unit="m")
            assert len(set(expected) ^ {name for name, _ in found}) <= 1
            assert [float(away) for _, away in found] == sorted(float(away) for _, away in found)
            box = sorted(name for name, (lat, lon) in places.items() if 52.4 <= lat <= 52.5 and 13.2 <= lon <= 13.3)
            assert [name.decode() for name in one.execute_command("WITHIN", "fleet", 52.4, 13.2, 52.5, 13.3)] == box
            assert one.execute_command("TSET", "fleet", "o1", 10, 10) == 0
            assert one.execute_command("NEARBY", "fleet", 10, 10, 1) == [[b"o1", b"0.0"]]
            assert one.execute_command("TGET", "fleet", "o1") == [b"10.0000000", b"10.0000000"]
            assert one.execute_command("TDEL", "fleet", "o1") == 1
            assert one.execute_command("TGET", "fleet", "o1") == []
            with pytest.raises(redis.ResponseError, match="latitude"):
                one.execute_command("TSET", "fleet", "o1", 91, 0)
        server.stop()
