"""The layers of channels_redis, of both kinds. Given the port of a server; says ``well``."""

# mypy: ignore-errors

import asyncio
import sys

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer


async def use(layer):
    one, other = await layer.new_channel(), await layer.new_channel()
    for channel in (one, other):
        await layer.group_add("group", channel)
    await layer.group_send("group", {"type": "said", "text": "all"})
    assert [(await asyncio.wait_for(layer.receive(each), 30))["text"] for each in (one, other)] == ["all", "all"]
    await layer.group_discard("group", other)
    await layer.group_send("group", {"type": "said", "text": "one"})
    await layer.send(other, {"type": "said", "text": "other"})
    assert (await asyncio.wait_for(layer.receive(one), 30))["text"] == "one"
    assert (await asyncio.wait_for(layer.receive(other), 30))["text"] == "other"
    await layer.flush()


async def main():
    url = f"redis://127.0.0.1:{sys.argv[1]}"
    for kind in (RedisChannelLayer, RedisPubSubChannelLayer):
        await use(kind([url]))


asyncio.run(main())
print("well")
