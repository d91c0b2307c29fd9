"""The values that directives take: from text as in ``redis.conf``, and into such text.

Each parser takes the words of a directive, joined by spaces, and raises :class:`ConfigError` in Redis's words for what
is not allowed.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import ConfigError
from ..keyspace.notifications import parse_events
from ..protocol.inline import split_inline
from ..protocol.numbers import to_int

__all__ = [
    "INT_MAX",
    "LLONG_MAX",
    "ULLONG_MAX",
    "OutputLimits",
    "clamped",
    "directory",
    "events",
    "file_name",
    "hosts",
    "master",
    "memory",
    "networks",
    "number",
    "numbers",
    "octal",
    "on_signal",
    "one_of",
    "output_limits",
    "parse_memory",
    "percentiles",
    "port",
    "refused",
    "renames",
    "save_points",
    "show_octal",
    "show_percentiles",
    "show_renames",
    "show_users",
    "show_yes_no",
    "users",
    "yes_no",
]

INT_MAX = 2**31 - 1
LLONG_MAX = 2**63 - 1
ULLONG_MAX = 2**64 - 1

UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 10**6, "mb": 1 << 20, "g": 10**9, "gb": 1 << 30}


def number(low: int, high: int) -> Callable[[str], int]:
    """For an integer from ``low`` to ``high``."""

    def parse(text: str) -> int:
        number = to_int(text.encode("utf-8", "surrogateescape"))
        if number is None:
            raise ConfigError("argument couldn't be parsed into an integer")
        if not low <= number <= high:
            raise ConfigError(f"argument must be between {low} and {high} inclusive")
        return number

    return parse


LONGEST_SIZE = 127
"""Digits of a size, as in Redis (``memtoull``)."""


def parse_memory(text: str) -> int:
    """A size such as ``512mb``; ``k`` is 1000 and ``kb`` 1024 bytes, as in Redis. Raises :class:`ConfigError`."""
    digits = text.rstrip("bkmgBKMG")
    factor = UNITS.get(text[len(digits) :].lower())
    if not text:
        return 0
    if factor is None or not digits.isascii() or not digits.isdigit() or len(digits) > LONGEST_SIZE:
        raise ConfigError("argument must be a memory value")
    return min(int(digits) * factor, ULLONG_MAX)


def memory(low: int, high: int = LLONG_MAX) -> Callable[[str], int]:
    """For a size of ``low`` bytes or more."""

    def parse(text: str) -> int:
        size = parse_memory(text)
        if not low <= size <= high:
            raise ConfigError(f"argument must be between {low} and {high} inclusive")
        return size

    return parse


def clamped(low: int, high: int) -> Callable[[str], int]:
    """For an integer that is taken for ``low`` or ``high`` when it is beyond."""
    any_number = number(0, INT_MAX)
    return lambda text: min(max(any_number(text), low), high)


def yes_no(text: str) -> bool:
    """``yes`` or ``no``."""
    if text.lower() not in ("yes", "no"):
        raise ConfigError("argument must be 'yes' or 'no'")
    return text.lower() == "yes"


def show_yes_no(value: bool) -> str:
    """``yes`` or ``no``."""
    return "yes" if value else "no"


def one_of(*words: str) -> Callable[[str], str]:
    """For one of some words."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ConfigError(f"argument(s) must be one of the following: {', '.join(words)}")
        return text.lower()

    return parse


def events(text: str) -> str:
    """Classes of keyspace events."""
    letters = parse_events(text)
    if letters is None:
        raise ConfigError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    return letters


def hosts(text: str) -> tuple[str, ...]:
    """Hosts, separated by spaces."""
    return tuple(text.split())


def networks(text: str) -> tuple[str, ...]:
    """Networks, separated by spaces: 10.0.0.0/8, or an address."""
    found = tuple(text.split())
    for each in found:
        try:
            ipaddress.ip_network(each, strict=False)
        except ValueError:
            raise ConfigError(f"'{each}' is no network, as 10.0.0.0/8 is") from None
    if not found:
        raise ConfigError("a network is expected; 0.0.0.0/0 ::/0 are all of them")
    return found


def renames(text: str) -> dict[str, str]:
    """Names of commands and what they are to be called."""
    words = split_inline(text.encode())
    if words is None or len(words) % 2:
        raise ConfigError('rename-command takes a command and its new name, "" to disable it')
    return {old.decode().upper(): new.decode().upper() for old, new in zip(words[::2], words[1::2], strict=True)}


def show_renames(renames: Mapping[str, str]) -> str:
    """Such names."""
    return " ".join(f'{old} "{new}"' for old, new in renames.items())


def users(text: str) -> tuple[tuple[str, ...], ...]:
    """A user's name and rules."""
    words = text.split()
    if not words:
        raise ConfigError("a user has a name")
    return (tuple(words),)


def show_users(found: tuple[tuple[str, ...], ...]) -> str:
    """Such users."""
    return " ".join(word for user in found for word in user)


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """``client-output-buffer-limit``: for each class the hard limit, the soft limit in bytes, and for how many seconds
    the soft one may be exceeded. 0 is no limit."""

    normal: tuple[int, int, int] = (0, 0, 0)
    replica: tuple[int, int, int] = (268435456, 67108864, 60)
    pubsub: tuple[int, int, int] = (33554432, 8388608, 60)

    def __str__(self) -> str:
        rows = (("normal", self.normal), ("slave", self.replica), ("pubsub", self.pubsub))
        return " ".join(f"{name} {hard} {soft} {seconds}" for name, (hard, soft, seconds) in rows)


def output_limits(text: str) -> OutputLimits:
    """Limits of one class of clients or several; the others are as they are by default."""
    words = text.split()
    if len(words) % 4:
        raise ConfigError("Wrong number of arguments in buffer limit configuration.")
    limits: dict[str, tuple[int, int, int]] = {}
    for at in range(0, len(words), 4):
        name = "replica" if words[at].lower() == "slave" else words[at].lower()
        if name not in ("normal", "replica", "pubsub"):
            raise ConfigError("Invalid client class specified in buffer limit configuration.")
        try:
            limits[name] = parse_memory(words[at + 1]), parse_memory(words[at + 2]), int(words[at + 3])
        except ValueError:
            raise ConfigError("Error in hard, soft or soft_seconds setting in buffer limit configuration.") from None
    return OutputLimits(**limits)


def directory(text: str) -> str:
    """A directory that exists."""
    try:
        os.stat(os.path.join(text, "."))
    except OSError as error:
        raise ConfigError(error.strerror) from None
    return text


def octal(text: str) -> int:
    """A file mode."""
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise ConfigError("argument must be an octal file mode such as 700")
    return mode


def show_octal(mode: int) -> str:
    """A file mode."""
    return f"{mode:o}"


def numbers(count: int, low: int, high: int) -> Callable[[str], str]:
    """For ``count`` integers from ``low`` to ``high``."""
    each = number(low, high)

    def parse(text: str) -> str:
        words = text.split()
        if len(words) != count:
            raise ConfigError("wrong number of arguments")
        return " ".join(str(each(word)) for word in words)

    return parse


AT_THE_END = ("default", "save", "nosave", "now", "force")


def on_signal(text: str) -> str:
    """For ``shutdown-on-sigterm`` and ``shutdown-on-sigint``: some of ``AT_THE_END``, in this order."""
    each = one_of(*AT_THE_END)
    found = {each(word) for word in text.split() or [""]}
    if {"save", "nosave"} <= found:
        raise ConfigError("shutdown options SAVE and NOSAVE can't be used simultaneously")
    return " ".join(word for word in AT_THE_END if word in found)


def percentiles(text: str) -> tuple[float, ...]:
    """For ``latency-tracking-info-percentiles``."""
    try:
        found = tuple(float(word) for word in text.split())
    except ValueError:
        raise ConfigError("Invalid latency-tracking-info-percentiles parameters") from None
    if not all(0 <= each <= 100 for each in found):
        raise ConfigError("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")
    return found


def show_percentiles(values: tuple[float, ...]) -> str:
    """Such percentiles."""
    return " ".join(f"{each:.17g}" if each != round(each, 6) else f"{each:g}" for each in values)


def file_name(text: str) -> str:
    """The name of a file without a directory."""
    if "/" in text or not text:
        raise ConfigError("dbfilename can't be a path, just a filename")
    return text


def save_points(text: str) -> str:
    """Pairs of seconds and changes, or nothing."""
    words = text.replace('""', "").split()
    try:
        given = [int(word) for word in words]
    except ValueError:
        raise ConfigError("Invalid save parameters") from None
    if len(given) % 2 or any(seconds < 1 for seconds in given[::2]) or any(changes < 0 for changes in given[1::2]):
        raise ConfigError("Invalid save parameters")
    return " ".join(map(str, given))


def no_defrag(text: str) -> bool:
    """Take the values that Redis takes for ``activedefrag`` without the memory allocator that it needs."""
    if yes_no(text):
        raise ConfigError(
            "Active defragmentation cannot be enabled: it requires a Redis server compiled with a modified Jemalloc "
            "like the one shipped by default with the Redis source distribution"
        )
    return False


def host_name(text: str) -> str:
    """A name as of the domain name system."""
    if not all(letter.isalnum() or letter in "-." for letter in text):
        raise ConfigError("Hostnames may only contain alphanumeric characters, hyphens or dots")
    return text


def memory_or_share(text: str) -> str:
    """A size, or a percentage."""
    if text.endswith("%"):
        share = number(0, INT_MAX)(text[:-1])
        if share > 100:
            raise ConfigError("percentage argument must be less or equal to 100")
        return f"{share}%"
    try:
        return str(parse_memory(text))
    except ConfigError:
        raise ConfigError("argument must be a memory or percent value") from None


def master(text: str) -> str:
    """The host and the port of a master; empty for none."""
    words = text.split()
    if not words or [word.lower() for word in words] == ["no", "one"]:
        return ""
    port = to_int(words[1].encode("utf-8", "surrogateescape")) if len(words) == 2 else None
    if port is None or not 1 <= port <= 65535:
        raise ConfigError("Invalid master port" if len(words) == 2 else "a host and a port are expected")
    return " ".join(words)


def refused(default: str, why: str) -> Callable[[str], str]:
    """For what would be dangerous to accept without effect: only the default is allowed."""

    def parse(text: str) -> str:
        if text.lower() not in (default, '""'):
            raise ConfigError(why)
        return default

    return parse


port: Callable[[str], int] = number(0, 65535)
