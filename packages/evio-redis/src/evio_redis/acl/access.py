"""The keys and channels that a call touches, and in which way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..model.command import Args, Command
from ..model.facts import facts_of, key_flags, takes_channels
from .selector import READ, WRITE

__all__ = ["CHANNELS", "Use", "channels_of", "first_key_only", "keys_of"]

Use = tuple[int, int]
"""The position of a key in the arguments, and what has to be allowed: READ, WRITE, both or nothing."""

NEEDS = {"access": READ, "insert": WRITE, "delete": WRITE, "update": WRITE}

CHANNELS: dict[str, tuple[slice, bool]] = {
    "publish": (slice(1, 2), False),
    "spublish": (slice(1, 2), False),
    "subscribe": (slice(1, None), False),
    "ssubscribe": (slice(1, None), False),
    "psubscribe": (slice(1, None), True),
}
"""The places of the channels that a command uses, and whether they are patterns."""


def _needs(flags: Sequence[str]) -> int:
    needs = 0
    for flag in flags:
        needs |= NEEDS.get(flag, 0)
    return needs


def keys_of(command: Command) -> Callable[[Args], list[Use]] | None:
    """Return what tells the keys of a call; None if the command has none."""
    if (not command.keys[0] and command.get_keys is None) or takes_channels(command):
        return None
    specs = facts_of(command).get("keys", ())
    positions = command.key_positions
    if command.get_keys is None and len(specs) == 1 and "variable_flags" not in specs[0]["flags"]:
        needs = _needs(specs[0]["flags"])
        return lambda args: [(at, needs) for at in positions(args)]

    def uses(args: Args) -> list[Use]:
        places = [at for at in positions(args) if at < len(args)]
        return [(at, _needs(flags)) for at, flags in zip(places, key_flags(command, args, places), strict=True)]

    return uses


def first_key_only(command: Command) -> int | None:
    """Return what has to be allowed for the only key of a command, its first argument; None if that is not all."""
    specs = facts_of(command).get("keys", ())
    if command.get_keys is None and command.keys[:2] == (1, 1) and len(specs) == 1:
        flags = specs[0]["flags"]
        return None if "variable_flags" in flags or takes_channels(command) else _needs(flags)
    return None


def channels_of(command: Command, args: Args) -> tuple[list[bytes], bool]:
    """Return the channels of a call, and whether they are patterns."""
    if command.name not in CHANNELS:
        return [], False
    place, patterns = CHANNELS[command.name]
    return args[place], patterns
