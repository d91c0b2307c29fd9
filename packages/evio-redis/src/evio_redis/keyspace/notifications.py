"""The classes of keyspace events: the letters of ``notify-keyspace-events``.

https://redis.io/docs/latest/develop/use/keyspace-notifications/
"""

from __future__ import annotations

__all__ = ["parse_events", "show_events"]

EVENT_CLASSES = "g$lshzxetdmn"
"""``A`` is all but ``m`` and ``n``."""

ALL = "g$lshzxetd"


def parse_events(text: str) -> str | None:
    """Return the letters in order, each once and without ``A``; None if one is unknown."""
    events = set(text.replace("A", ALL))
    return None if events - set(EVENT_CLASSES) - {"K", "E"} else "".join(sorted(events))


def show_events(events: str) -> str:
    """Return the letters as CONFIG GET shows them."""
    classes = "A" if set(ALL) <= set(events) else "".join(letter for letter in ALL if letter in events)
    return classes + "".join(letter for letter in "KEmn" if letter in events)
