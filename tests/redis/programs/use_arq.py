"""A worker of arq. Given the port of a server; says ``well``."""

# mypy: ignore-errors

import asyncio
import sys

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

settings = RedisSettings(port=int(sys.argv[1]))


async def add(context, one, other):
    return one + other


async def main():
    pool = await create_pool(settings)
    jobs = [await pool.enqueue_job("add", n, 1) for n in range(20)]
    worker = Worker([add], redis_settings=settings, burst=True, poll_delay=0.05, handle_signals=False)
    await worker.async_run()
    assert [await job.result(timeout=30) for job in jobs] == list(range(1, 21))
    await worker.close()


asyncio.run(main())
print("well")
