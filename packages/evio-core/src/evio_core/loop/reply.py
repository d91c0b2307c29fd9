"""The parts of a callback's result."""

from __future__ import annotations

from ..events import Action, Buffer, Reply

__all__ = ["parse_reply"]


def parse_reply(reply: Reply) -> tuple[Buffer | None, Action]:
    """The output and the action of a callback's result. Raises ``TypeError`` if it is neither."""
    output: object = reply
    action: object = Action.NONE
    if isinstance(reply, tuple) and len(reply) == 2:
        output, action = reply
    elif isinstance(reply, Action):
        output, action = None, reply
    if not isinstance(action, Action) or not isinstance(output, bytes | bytearray | memoryview | None):
        raise TypeError(f"a callback returns bytes, an Action or (bytes, Action), not {reply!r}")
    return output, action
