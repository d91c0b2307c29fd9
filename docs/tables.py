"""Tables of the documentation that are made from the code: commands, directives, flags. In Markdown."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable

from evio_http.cli.arguments import make_parser
from evio_redis.config.directives import DIRECTIVES
from evio_redis.model.command import Command, Registry

__all__ = ["http_flags", "redis_commands", "redis_directives"]


def redis_commands() -> str:
    """List the built-in commands by group: name, arity, flags."""
    groups: defaultdict[str, list[Command]] = defaultdict(list)
    for each in Registry().all():
        groups[each.group].append(each)
    parts = []
    for group, commands in sorted(groups.items()):
        rows = (
            (f"`{each.name.replace('|', ' ').upper()}`", str(each.arity), " ".join(sorted(each.flags)))
            for each in sorted(commands, key=lambda each: each.name)
        )
        parts += [f"## {group.capitalize()}", table(("command", "arity", "flags"), rows)]
    return "\n\n".join(parts)


def redis_directives() -> str:
    """List the directives that have an effect: name, default, meaning."""
    rows = (
        (f"`{each.name}`", f"`{each.show(each.default)}`" if each.show(each.default) else "", each.help)
        for each in DIRECTIVES.values()
        if each.help
    )
    return table(("directive", "default", "meaning"), rows)


def http_flags() -> str:
    """List the flags of evio-http by group, as ``--help`` has them."""
    parser = make_parser()
    parts = []
    for group in parser._action_groups:  # argparse has no public way to its groups
        rows = [(f"`{name(action)}`", action.help or "") for action in group._group_actions if action.help]
        if rows:
            title = (group.title or "").replace("positional arguments", "arguments")
            parts += [f"## {title[:1].upper()}{title[1:]}", table(("flag", "meaning"), rows)]
    return "\n\n".join(parts)


def name(action: argparse.Action) -> str:
    """The flag with what it takes."""
    flag = action.option_strings[-1] if action.option_strings else ""
    return f"{flag} {action.metavar or ''}".strip() if action.nargs != 0 else flag


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Format a Markdown table. Braces are escaped, which would be substitutions."""
    heads = [*head]
    lines = [heads, ["---"] * len(heads), *rows]
    escaped = ([cell.replace("|", "\\|").replace("{", "&#123;") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)
