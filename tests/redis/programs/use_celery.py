"""A worker of Celery, which runs tasks and keeps their results. Given the port of a server; says ``well``."""

# mypy: ignore-errors

import sys

from celery import Celery
from celery.contrib.testing.worker import start_worker

url = f"redis://127.0.0.1:{sys.argv[1]}/0"
app = Celery("made", broker=url, backend=url, broker_connection_retry_on_startup=True)


@app.task
def add(one, other):
    return one + other


if __name__ == "__main__":
    with start_worker(app, perform_ping_check=False, pool="solo"):
        assert [add.delay(n, 1).get(timeout=30) for n in range(20)] == list(range(1, 21))
    print("well")
