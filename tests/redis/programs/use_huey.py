"""The queues of huey, with and without priorities. Given the port of a server; says ``well``."""

# mypy: ignore-errors

import sys

from huey import PriorityRedisHuey, RedisHuey
from huey.consumer import Consumer

for kind in (RedisHuey, PriorityRedisHuey):
    huey = kind("made", host="127.0.0.1", port=int(sys.argv[1]))

    @huey.task(retries=1)
    def add(one, other):
        return one + other

    consumer = Consumer(huey, workers=2, worker_type="thread", periodic=False)
    consumer.start()
    results = [add(n, 1) for n in range(20)]
    assert [result.get(blocking=True, timeout=30) for result in results] == list(range(1, 21))
    consumer.stop(graceful=True)
print("well")
