"""The commands that rules may name, and their categories.

Among them are those of a Redis 7.0 that there are not here, and those that ``rename-command`` has renamed or taken
away, under the names that they had: rules which were written for a Redis are understood.
"""

from __future__ import annotations

from ..model.command import Registry
from ..model.facts import built_in_categories, categories_of

__all__ = ["CATEGORIES", "Known"]

CATEGORIES = (
    *("keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo"),
    *("stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting"),
)
"""All categories, in the order in which Redis looks for those that describe a user best."""

NOT_HERE = {
    "restore-asking": "dangerous keyspace slow write",
    "module|load": "admin dangerous slow",
    "module|loadex": "admin dangerous slow",
    "module|unload": "admin dangerous slow",
}


class Known:
    """The names of all commands as they were declared, in lower case; of subcommands ``client|id``."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._count = -1
        self.categories: dict[str, frozenset[str]] = {}
        """The names in each category."""

        self.changed_by: dict[str, frozenset[str]] = {}
        """The names that a rule about a category changes: subcommands of containers in it, too."""

        self.children: dict[str, tuple[str, ...]] = {}
        """The commands that are no subcommands, in order, each with its subcommands."""

    def update(self) -> Known:
        """Follow commands that were added; returns itself."""
        tops = self._registry.commands.values()
        count = sum(1 + len(top.subcommands) for top in tops)
        if count != self._count:
            self._count = count
            words = {name: frozenset(text.split()) for name, text in NOT_HERE.items()}
            words |= {name: frozenset(mine) for name, mine in built_in_categories().items()}
            words |= {
                each.name: frozenset(categories_of(each)) for top in tops for each in (top, *top.subcommands.values())
            }
            parents = {name.partition("|")[0] for name in words}
            self.children = {
                parent: tuple(sorted(name for name in words if name.startswith(f"{parent}|")))
                for parent in sorted(parents)
            }
            for category in CATEGORIES:
                names = frozenset(name for name, mine in words.items() if category in mine)
                below = (child for name in names for child in self.children.get(name, ()))
                self.categories[category], self.changed_by[category] = names, names.union(below)
        return self

    def has(self, name: str) -> bool:
        """Tell whether there is such a command or subcommand."""
        parent, bar, _ = name.partition("|")
        return parent in self.children and (not bar or name in self.children[parent])
