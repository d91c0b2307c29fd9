"""One set of rules of a user: which commands, on which keys and channels.

Commands are not kept as the rules that were given but as what they allow, and described by the rules that come closest,
as Redis 7.0 does it. So equal permissions are shown alike, however they came about.
"""

from __future__ import annotations

from ..errors import AclError
from ..protocol.glob import matcher
from .known import CATEGORIES, Known

__all__ = ["ALL", "READ", "WRITE", "Selector"]

READ, WRITE = 1, 2
ALL = READ | WRITE
SPACES = b" \t\n\v\f\r\0"

UNKNOWN = "Unknown command or category name in ACL"
SYNTAX = "Syntax error"


def _useless(kind: str) -> str:
    what = f"'all{kind}s'"
    empty = "patterns" if kind == "key" else "channels"
    return (
        f"Adding a pattern after the * pattern (or the {what} flag) is not valid and does not have any effect. Try"
        f" 'reset{kind}s' to start with an empty list of {empty}"
    )


class Selector:
    """A set of rules; nothing is allowed at first but perhaps all channels."""

    __slots__ = ("_known", "all_channels", "all_commands", "all_keys", "bits", "channels", "first", "future", "keys")

    def __init__(self, known: Known, all_channels: bool) -> None:
        self._known = known
        self.all_commands: bool = False
        self.all_keys: bool = False
        self.all_channels: bool = all_channels
        self.future: bool = False  # commands that ``bits`` says nothing about
        self.bits: dict[str, bool] = {}
        self.first: dict[str, list[str]] = {}  # command: first arguments with which it is allowed though it is not
        self.keys: dict[bytes, int] = {}  # pattern: READ, WRITE or both
        self.channels: list[bytes] = []

    def copy(self) -> Selector:
        """Return one that allows the same."""
        other = Selector(self._known, self.all_channels)
        other.all_commands, other.all_keys, other.future = self.all_commands, self.all_keys, self.future
        other.bits, other.keys, other.channels = dict(self.bits), dict(self.keys), list(self.channels)
        other.first = {name: list(words) for name, words in self.first.items()}
        return other

    @property
    def unrestricted(self) -> bool:
        """True if it allows everything."""
        return self.all_commands and self.all_keys and self.all_channels

    # -- rules

    def apply(self, rule: bytes) -> None:
        """Change it by one rule. Raises :class:`AclError`, in Redis's words."""
        kind, word = rule[:1], rule.decode("utf-8", "surrogateescape")
        lower = word.lower()
        if lower in ("allkeys", "~*"):
            self.all_keys = True
            self.keys.clear()
        elif lower == "resetkeys":
            self.all_keys = False
            self.keys.clear()
        elif lower in ("allchannels", "&*"):
            self.all_channels = True
            self.channels.clear()
        elif lower == "resetchannels":
            self.all_channels = False
            self.channels.clear()
        elif lower in ("allcommands", "+@all", "nocommands", "-@all"):
            self.all_commands = self.future = lower in ("allcommands", "+@all")
            self.bits.clear()
            self.first.clear()
        elif kind in (b"~", b"%"):
            self._add_keys(rule)
        elif kind == b"&":
            self._add_channels(rule[1:])
        elif kind in (b"+", b"-"):
            self._change_commands(lower, word)
        else:
            raise AclError(SYNTAX)

    def _add_keys(self, rule: bytes) -> None:
        if self.all_keys:
            raise AclError(_useless("key"))
        modes, pattern = b"RW", rule[1:]
        if rule.startswith(b"%"):
            modes, _, pattern = pattern.partition(b"~")
            if modes.upper() not in (b"R", b"W", b"RW", b"WR"):
                raise AclError(SYNTAX)
        if any(byte in SPACES for byte in pattern):
            raise AclError(SYNTAX)
        mode = (READ if b"R" in modes.upper() else 0) | (WRITE if b"W" in modes.upper() else 0)
        self.keys[pattern] = self.keys.get(pattern, 0) | mode

    def _add_channels(self, pattern: bytes) -> None:
        if self.all_channels:
            raise AclError(_useless("channel"))
        if any(byte in SPACES for byte in pattern):
            raise AclError(SYNTAX)
        if pattern not in self.channels:
            self.channels.append(pattern)

    def _change_commands(self, lower: str, word: str) -> None:
        known, allow, name = self._known.update(), lower[0] == "+", lower[1:]
        if name.startswith("@"):
            if name[1:] not in known.categories:
                raise AclError(UNKNOWN)
            for each in known.changed_by[name[1:]]:
                self._set(each, allow)
            return
        parent, bar, rest = name.rpartition("|")
        if allow and bar:
            if not known.has(parent):
                raise AclError(UNKNOWN)
            if "|" in parent:
                raise AclError("Allowing first-arg of a subcommand is not supported")
            if not rest:
                raise AclError(SYNTAX)
            if not known.children[parent]:
                words = self.first.setdefault(parent, [])
                first = word.rpartition("|")[2]
                if first.lower() not in map(str.lower, words):
                    words.append(first)
                return
        if not known.has(name):
            raise AclError(UNKNOWN)
        for each in (name, *known.children.get(name, ())):
            self._set(each, allow)

    def _set(self, name: str, allow: bool) -> None:
        self.bits[name] = allow
        self.first.pop(name, None)
        if not allow:
            self.all_commands = False

    # -- what it allows

    def allows(self, name: str) -> bool:
        """Tell whether a command is allowed, whatever its arguments."""
        return self.all_commands or self.bits.get(name, self.future)

    def allows_key(self, key: bytes, needs: int) -> bool:
        """Tell whether a key may be read (``READ``), written, or merely be named (0)."""
        if self.all_keys:
            return True
        return any(matcher(pattern)(key) for pattern, mode in self.keys.items() if mode & needs == needs)

    def allows_channel(self, channel: bytes, is_pattern: bool) -> bool:
        """Tell whether a channel may be used; a pattern only if it is the very same."""
        if self.all_channels:
            return True
        return any(channel == each if is_pattern else matcher(each)(channel) for each in self.channels)

    # -- showing it

    def shown_keys(self) -> list[bytes]:
        """Return its patterns of keys, as rules."""
        prefix = {READ: b"%R~", WRITE: b"%W~", ALL: b"~"}
        return [b"~*"] if self.all_keys else [prefix[mode] + pattern for pattern, mode in self.keys.items()]

    def shown_channels(self) -> list[bytes]:
        """Return its patterns of channels, as rules."""
        return [b"&*"] if self.all_channels else [b"&" + pattern for pattern in self.channels]

    def shown_commands(self) -> str:
        """Return rules that allow the same commands."""
        known, add = self._known.update(), not self.future
        names = {name for parent, children in known.children.items() for name in (parent, *children)}
        mine = {name for name in names if self.allows(name)}
        rules, so_far, left = ["-@all" if add else "+@all"], (set() if add else set(names)), set(mine)
        applied: set[str] = set()
        while best := self._best_category(left, applied, add):
            applied.add(best)
            rules.append(f"{'+' if add else '-'}@{best}")
            changed = known.changed_by[best]
            so_far = so_far | changed if add else so_far - changed
            left = left - changed if add else left | changed
        return " ".join([*rules, *self._single_rules(mine, so_far)])

    def _best_category(self, left: set[str], applied: set[str], add: bool) -> str:
        """Return the category that fits best of those whose commands mostly are as wanted; empty if there is none."""
        best, fewest, most = "", 1 << 30, 0
        for category in CATEGORIES:
            names = self._known.categories[category]
            allowed = len(names & left)
            same, other = (allowed, len(names) - allowed) if add else (len(names) - allowed, allowed)
            if category not in applied and same > other and (other < fewest or (other == fewest and same > most)):
                best, fewest, most = category, other, same
        return best

    def _single_rules(self, mine: set[str], so_far: set[str]) -> list[str]:
        rules: list[str] = []
        for parent, children in self._known.children.items():
            for name in (parent, *children):
                if (name in mine) != (name in so_far):
                    rules.append(f"{'+' if name in mine else '-'}{name}")
                    changed = {name, *(children if name == parent else ())}
                    so_far = so_far | changed if name in mine else so_far - changed
            if parent not in mine:
                rules += [f"+{parent}|{word}" for word in self.first.get(parent, ())]
        return rules

    def rules(self) -> list[bytes]:
        """Return all its rules, as in a file."""
        channels = self.shown_channels() if self.all_channels else [b"resetchannels", *self.shown_channels()]
        return [*self.shown_keys(), *channels, self.shown_commands().encode("utf-8", "surrogateescape")]
