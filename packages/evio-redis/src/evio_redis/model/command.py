"""The registry: what a command is called, takes and does.

A command is a function from a session and the arguments, the name among them, to an encoded reply::

    @command("LLEN", arity=2, flags="readonly fast", keys=(1, 1, 1))
    def llen(session: Session, args: Args) -> bytes:
        ...

It returns a reply (:mod:`evio_redis.protocol.resp`) or raises :class:`CommandError`. The same decorator, as a method of
:class:`evio_redis.Server`, adds a program's own commands.

https://redis.io/docs/latest/commands/command/
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

from .histogram import Latencies

__all__ = [
    "FLAGS",
    "STEP_BITS",
    "Args",
    "Batch",
    "Command",
    "Entry",
    "Function",
    "Registry",
    "Tables",
    "Times",
    "command",
]

Args: TypeAlias = list[bytes]
Function: TypeAlias = Callable[[Any, Args], bytes]
"""A function that is called with a session (:class:`evio_redis.Session`, which is above this module) and the
arguments."""

Batch: TypeAlias = "Callable[..., bytes | None]"
"""A function that serves several calls of one command at once; see :mod:`evio_redis.commands.batching`."""

Times: TypeAlias = "defaultdict[int, int]"
"""The number of calls by how long they took, in steps of ``2**STEP_BITS`` nanoseconds."""

STEP_BITS = 5
"""Nanoseconds are counted in steps of 32: with a counter for each of them, most of the dictionary's numbers would be
made anew with each call, and it would not stay in the processor's cache."""

HALF_STEP = 1 << STEP_BITS - 1

Entry: TypeAlias = tuple[Function, Times]
Tables: TypeAlias = list[dict[bytes, Entry]]
F = TypeVar("F", bound=Function)

FLAGS = frozenset(
    (
        *("write", "readonly", "denyoom", "admin", "pubsub", "noscript", "blocking", "loading", "stale", "fast"),
        *("skip_monitor", "skip_slowlog", "asking", "no_auth", "may_replicate", "no_mandatory_keys", "movablekeys"),
        *("allow_busy", "no_async_loading", "no_multi"),
    )
)
"""The flags that ``COMMAND INFO`` knows."""

MOST_DIRECT_ARGUMENTS = 32
"""Arguments that a call may have which is looked up by name and number of arguments at once."""

INDIRECT = frozenset({"admin", "no_auth"})
"""Flags of commands that are never called directly: what they show to the slow log may be something else than their
arguments, which may be secrets."""


@dataclass(slots=True, eq=False)
class Command:
    """One command or subcommand, and how it has been used (``INFO commandstats``)."""

    name: str
    """Lower case; of a subcommand ``client|id``."""

    function: Function
    arity: int
    """Arguments, the name included; negative: at least so many."""

    flags: frozenset[str] = frozenset()
    keys: tuple[int, int, int] = (0, 0, 0)
    """The first key's position, the last one's (negative: from the end), and the step; zeros without keys."""

    group: str = "generic"
    summary: str = ""
    since: str = "1.0.0"
    get_keys: Callable[[Args], list[int]] | None = None
    """For keys that are not at fixed positions: their positions."""

    batch: tuple[int, Batch] | None = None
    """The function that serves several calls at once, and how many arguments these have, the name included."""

    subcommands: dict[str, Command] = field(default_factory=dict)
    """By upper-case name. A command that has some is only a container."""

    times: Times = field(default_factory=partial(defaultdict, int))
    """The calls that have not been settled yet: all that running a command does for its statistics is one addition."""

    calls: int = 0
    nanoseconds: int = 0
    """The duration of all calls together."""

    rejected: int = 0
    failed: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    def reset_statistics(self) -> None:
        """Set everything to zero, as if it had never been called."""
        self.times.clear()
        self.calls = self.nanoseconds = self.rejected = self.failed = 0
        self.latencies = Latencies()

    def settle(self, tracking: bool) -> int:
        """Add the latest calls to the totals, and with ``tracking`` to the histogram; returns how many there were."""
        times, calls = self.times, sum(self.times.values())
        self.calls += calls
        for step, count in times.items():
            nanoseconds = (step << STEP_BITS) + HALF_STEP
            self.nanoseconds += nanoseconds * count
            if tracking:
                self.latencies.record(nanoseconds, count)
        times.clear()
        return calls

    @property
    def direct(self) -> bool:
        """True if the function may be called without any step before it."""
        return not self.subcommands and self.flags.isdisjoint(INDIRECT)

    def accepts(self, count: int) -> bool:
        """Tell whether it can be called with so many arguments."""
        return count == self.arity if self.arity >= 0 else count >= -self.arity

    def key_positions(self, args: Args) -> list[int]:
        """Return the positions of its keys in ``args``."""
        if self.get_keys is not None:
            return self.get_keys(args)
        first, last, step = self.keys
        if not first:
            return []
        return list(range(first, (last if last >= 0 else len(args) + last) + 1, step))

    def keys_in(self, args: Args) -> list[bytes]:
        """Return its keys in ``args``, of which some may be missing."""
        return [args[at] for at in self.key_positions(args) if at < len(args)]


_BUILT_IN: list[Command] = []


def command(
    name: str,
    arity: int,
    flags: str = "",
    keys: tuple[int, ...] = (0, 0, 0),
    group: str = "",
    summary: str = "",
    since: str = "1.0.0",
    get_keys: Callable[[Args], list[int]] | None = None,
    batch: tuple[int, Batch] | None = None,
) -> Callable[[F], F]:
    """Declare a built-in command; ``NAME`` or ``CONTAINER SUBCOMMAND``. ``keys`` may be ``(first,)``,
    ``(first, last)`` or ``(first, last, step)``. ``batch`` is its form for several calls at once."""

    def declare(function: F) -> F:
        made = _make(name, function, arity, flags, keys, group, summary, since, get_keys)
        made.batch = batch
        _BUILT_IN.append(made)
        return function

    return declare


def _make(
    name: str,
    function: Function,
    arity: int,
    flags: str | Iterable[str],
    keys: tuple[int, ...],
    group: str,
    summary: str,
    since: str,
    get_keys: Callable[[Args], list[int]] | None,
) -> Command:
    given = frozenset(flags.split() if isinstance(flags, str) else flags)
    if given - FLAGS:
        raise ValueError(
            f"{name}: no such flag: {', '.join(sorted(given - FLAGS))}; there are {', '.join(sorted(FLAGS))}"
        )
    if not arity:
        raise ValueError(f"{name}: arity counts the name too, so it cannot be 0")
    first = keys[0] if keys else 0
    last, step = (keys[1] if len(keys) > 1 else first), (keys[2] if len(keys) > 2 else min(first, 1))
    group = group or (function.__module__.rpartition(".")[2])
    shown = name.lower().replace(" ", "|")
    return Command(shown, function, arity, given, (first, last, step), group, summary, since, get_keys)


class Registry:
    """The commands of one server, and the tables through which it finds the usual ones fastest."""

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {}
        self._by_bytes: dict[bytes, Command] = {}  # names as they usually come
        for each in _BUILT_IN:
            self.add(Command(*(getattr(each, name) for name in _DECLARED)))

    def add(self, new: Command) -> None:
        """Add or replace a command."""
        container, _, name = new.name.upper().partition("|")
        self._by_bytes.clear()
        if not name:
            if container in self.commands:
                new.subcommands = self.commands[container].subcommands
            self.commands[container] = new
            return
        if container not in self.commands:
            self.commands[container] = Command(container.lower(), _no_such_call, -2, group=new.group)
        self.commands[container].subcommands[name] = new

    def all(self) -> list[Command]:
        """All commands and subcommands, but no mere containers."""
        tops = self.commands.values()
        return [each for top in tops for each in ((top, *top.subcommands.values()) if top.subcommands else (top,))]

    def rename(self, old: str, new: str) -> None:
        """Give a command another name, or none at all (``rename-command``). Raises ``ValueError``."""
        found = self.commands.get(old)
        if found is None:
            raise ValueError(f"there is no command {old}")
        if new in self.commands:
            raise ValueError(f"there is a command {new} already")
        del self.commands[old]
        self._by_bytes.clear()
        if new:
            self.commands[new] = found

    def own(
        self,
        name: str,
        function: Function,
        arity: int,
        flags: str,
        keys: tuple[int, ...],
        summary: str,
    ) -> None:
        """Add a program's own command. Raises ``ValueError`` for nonsense."""
        self.add(_make(name, function, arity, flags, keys, "module", summary, "1.0.0", None))

    def find(self, args: Args) -> Command | None:
        """The command that ``args`` begin with; of a container the container itself if the subcommand is unknown."""
        found = self._by_bytes.get(args[0])
        if found is None:
            name = args[0].decode("latin-1")
            found = self.commands.get(name.upper())
            if found is not None and name in _usual_cases(name):
                self._by_bytes[args[0]] = found
        if found is not None and found.subcommands and len(args) > 1:
            return found.subcommands.get(args[1].decode("latin-1").upper(), found)
        return found

    def wrapped(self, tables: Tables, wrap: Callable[[Command, Function], Function]) -> Tables:
        """Return such tables with each function replaced by what ``wrap`` makes of it."""
        made: dict[tuple[int, Function], Entry] = {}

        def entry(name: bytes, old: Entry) -> Entry:
            known = made.get((id(old[1]), old[0]))
            if known is None:
                command = self.find([name])
                assert command is not None, "it is in a table"
                known = made[id(old[1]), old[0]] = wrap(command, old[0]), old[1]
            return known

        return [{name: entry(name, old) for name, old in table.items()} for table in tables]

    def without_writes(self, tables: Tables) -> Tables:
        """Return such tables without the commands that write, or may run some that were queued before (EXEC)."""
        left_out = {name for name, each in self.commands.items() if "write" in each.flags or each.name == "exec"}
        names = {case.encode() for name in left_out for case in _usual_cases(name)}
        return [{name: entry for name, entry in table.items() if name not in names} for table in tables]

    def tables(self, function_of: Callable[[Command], Entry | None]) -> Tables:
        """Return, for each number of arguments, the entries of the commands that accept it, by name: one look-up finds
        the function and checks the arity. Left out are names in an unusual case, more than 32 arguments, and commands
        of which ``function_of`` says None."""
        exact: Tables = [{} for _ in range(MOST_DIRECT_ARGUMENTS + 1)]
        at_least: Tables = [{} for _ in range(MOST_DIRECT_ARGUMENTS + 1)]
        for name, each in self.commands.items():
            entry = function_of(each) if each.direct and abs(each.arity) <= MOST_DIRECT_ARGUMENTS else None
            if entry is not None:
                table = exact[each.arity] if each.arity > 0 else at_least[-each.arity]
                for case in _usual_cases(name):
                    table[case.encode()] = entry
        tables: Tables = []
        so_far: dict[bytes, Entry] = {}
        for one, other in zip(exact, at_least, strict=True):
            so_far = so_far | other
            tables.append(so_far | one)
        return tables


def _usual_cases(name: str) -> tuple[str, str, str]:
    return name.upper(), name.lower(), name.capitalize()


_DECLARED = ("name", "function", "arity", "flags", "keys", "group", "summary", "since", "get_keys", "batch")


def _no_such_call(session: Any, args: Args) -> bytes:
    raise AssertionError("a container is never called itself")
