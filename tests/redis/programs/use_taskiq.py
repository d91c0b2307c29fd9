"""The brokers of taskiq that use a list and a stream. Given the port of a server; says ``well``."""

# mypy: ignore-errors

import asyncio
import sys

from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

url = f"redis://127.0.0.1:{sys.argv[1]}"


async def use(kind):
    broker = kind(url).with_result_backend(RedisAsyncResultBackend(url))

    @broker.task
    async def add(one: int, other: int) -> int:
        return one + other

    broker.is_worker_process = True
    await broker.startup()
    receiver = asyncio.create_task(run_receiver_task(broker))
    tasks = [await add.kiq(n, 1) for n in range(20)]
    assert [(await task.wait_result(timeout=30)).return_value for task in tasks] == list(range(1, 21))
    receiver.cancel()
    await asyncio.gather(receiver, return_exceptions=True)
    await broker.shutdown()


async def main():
    for kind in (ListQueueBroker, RedisStreamBroker):
        await use(kind)


asyncio.run(main())
print("well")
