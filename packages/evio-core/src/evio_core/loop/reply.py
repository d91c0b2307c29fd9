"""The parts of a callback's result."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from ..events import Action, Buffer, Reply

__all__ = ["parse_reply"]

OUTPUT = (bytes, bytearray, memoryview, type(None), Future)


def parse_reply(reply: Reply) -> tuple[Buffer | Future[Any] | None, Action]:
    """The output and the action of a callback's result. Raises ``TypeError`` if it is neither."""
    output: object = reply
    action: object = Action.NONE
    if isinstance(reply, tuple) and len(reply) == 2:
        output, action = reply
    elif isinstance(reply, Action):
        output, action = None, reply
    if not isinstance(action, Action) or not isinstance(output, OUTPUT):
        raise TypeError(f"a callback returns bytes, an Action, (bytes, Action) or a Deferred, not {reply!r}")
    return output, action
