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

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from .histogram import Latencies

if TYPE_CHECKING:
    from ..clients.session import Session

__all__ = ["FLAGS", "Args", "Command", "Function", "Registry", "Tables", "command"]

Args: TypeAlias = list[bytes]
Function: TypeAlias = "Callable[[Session, Args], bytes]"
Tables: TypeAlias = "list[dict[bytes, Function]]"
F = TypeVar("F", bound="Callable[[Session, Args], bytes]")

FLAGS = frozenset(
    (
        *("write", "readonly", "denyoom", "admin", "pubsub", "noscript", "blocking", "loading", "stale", "fast"),
        *("skip_monitor", "skip_slowlog", "asking", "no_auth", "may_replicate", "no_mandatory_keys", "movablekeys"),
        *("allow_busy", "no_async_loading", "no_multi"),
    )
)
"""What ``COMMAND INFO`` knows."""

SHORT = frozenset({"SET", "MSET"})
"""Commands that take no longer than ``fast`` ones, given so few arguments, though Redis does not flag them so."""

MOST_DIRECT_ARGUMENTS = 32
"""How many arguments a call may have that is looked up by name and number of arguments at once."""


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

    subcommands: dict[str, Command] = field(default_factory=dict)
    """By upper-case name. A command that has some is only a container."""

    calls: int = 0
    timed: int = 0
    """How many of the calls were timed."""

    usec: float = 0.0
    """What these took."""

    rejected: int = 0
    failed: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    def reset_statistics(self) -> None:
        """As if it had never been called."""
        self.calls = self.timed = self.rejected = self.failed = 0
        self.usec = 0.0
        self.latencies = Latencies()

    @property
    def direct(self) -> bool:
        """Whether the server may call the function without timing it: it cannot be slow."""
        return ("fast" in self.flags or self.name.upper() in SHORT) and not self.flags & {
            "admin",
            "pubsub",
            "noscript",
            "blocking",
            "no_auth",
            "skip_slowlog",
            "no_multi",
        }

    def accepts(self, count: int) -> bool:
        """Whether it can be called with so many arguments."""
        return count == self.arity if self.arity >= 0 else count >= -self.arity

    @property
    def total_usec(self) -> float:
        """Microseconds of all calls, extrapolated from those that were timed."""
        return self.usec * self.calls / self.timed if self.timed else 0.0

    def key_positions(self, args: Args) -> list[int]:
        """Where in ``args`` its keys are."""
        if self.get_keys is not None:
            return self.get_keys(args)
        first, last, step = self.keys
        if not first:
            return []
        return list(range(first, (last if last >= 0 else len(args) + last) + 1, step))


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
) -> Callable[[F], F]:
    """Declare a built-in command; ``NAME`` or ``CONTAINER SUBCOMMAND``. ``keys`` may be ``(first,)``,
    ``(first, last)`` or ``(first, last, step)``."""

    def declare(function: F) -> F:
        _BUILT_IN.append(_make(name, function, arity, flags, keys, group, summary, since, get_keys))
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
        for each in _BUILT_IN:
            self.add(Command(*(getattr(each, name) for name in _DECLARED)))

    def add(self, new: Command) -> None:
        """Add or replace a command."""
        container, _, name = new.name.upper().partition("|")
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
        found = self.commands.get(args[0].decode("latin-1").upper())
        if found is not None and found.subcommands and len(args) > 1:
            return found.subcommands.get(args[1].decode("latin-1").upper(), found)
        return found

    def tables(self, function_of: Callable[[Command], Function | None]) -> Tables:
        """For each number of arguments, the functions of the commands that accept it, by name: one look-up finds the
        function and checks the arity. Names in other than upper or lower case are found the slow way, as are commands
        of which ``function_of`` says None."""
        tables: Tables = []
        for count in range(MOST_DIRECT_ARGUMENTS + 1):
            table: dict[bytes, Function] = {}
            for name, each in self.commands.items():
                if each.direct and not each.subcommands and each.accepts(count):
                    function = function_of(each)
                    if function is not None:
                        table[name.encode()] = table[name.lower().encode()] = function
            tables.append(table)
        return tables


_DECLARED = ("name", "function", "arity", "flags", "keys", "group", "summary", "since", "get_keys")


def _no_such_call(session: Session, args: Args) -> bytes:
    raise AssertionError("a container is never called itself")
