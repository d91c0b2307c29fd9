"""Values that callers give."""

from __future__ import annotations

__all__ = ["check_value", "not_negative"]

NAMES: dict[type[object], str] = {bool: "True or False", int: "a whole number", float: "a number", bytes: "bytes"}


def check_value(name: str, value: object, kind: type) -> None:
    """See that a setting is of its kind, and if a number, not negative. Raises ``TypeError`` or ``ValueError``."""
    if not isinstance(value, (int, float) if kind is float else kind):
        raise TypeError(f"{name} must be {NAMES[kind]}, not {value!r}")
    if isinstance(value, int | float) and not value >= 0:
        raise ValueError(f"{name} must be 0 or more, not {value!r}")


def not_negative(name: str, seconds: float) -> float:
    """``seconds``, if they are a time. Raises what ``check_value`` raises: of a timer at NaN the heap says neither that
    it is due nor that another comes before it."""
    check_value(name, seconds, float)
    return seconds
