"""A worker of dramatiq, with results and a delayed message. Given the port of a server; says ``well``."""

# mypy: ignore-errors

import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

port = int(sys.argv[1])
broker = RedisBroker(host="127.0.0.1", port=port)
broker.add_middleware(Results(backend=RedisBackend(host="127.0.0.1", port=port)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def add(one, other):
    return one + other


worker = dramatiq.Worker(broker, worker_threads=2)
worker.start()
messages = [add.send(n, 1) for n in range(20)]
assert [message.get_result(block=True, timeout=30_000) for message in messages] == list(range(1, 21))
late = add.send_with_options(args=(1, 1), delay=200)
assert late.get_result(block=True, timeout=30_000) == 2
broker.join("default")
worker.stop()
print("well")
