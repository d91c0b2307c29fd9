"""Tables of the documentation that are made from the code: commands, directives, flags. In Markdown."""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from evio_http.cli.arguments import make_parser
from evio_redis.config.directives import DIRECTIVES
from evio_redis.model.command import Registry

__all__ = ["gallery", "http_flags", "redis_commands", "redis_directives", "redis_summary"]

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGES = Path(__file__).parent / "redis"

REDIS_COMMANDS: dict[str, str] = json.loads((PAGES / "commands-7.0.json").read_text())
"""The commands of Redis 7.0 and their groups, which ``python -m tools.redis_facts`` asks a real one for."""

DIFFERENCES: dict[str, str] = json.loads((PAGES / "differences.json").read_text())
"""What is not as in Redis 7.0, by command."""


def redis_commands() -> str:
    """List the commands of Redis 7.0 and those that are here by group: name, arity and flags or that it is not there,
    what differs."""
    groups: defaultdict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for name, group in REDIS_COMMANDS.items():
        groups[group][name] = (f"`{shown(name)}`", "**not there**", "", "")
    for each in Registry().all():
        differs = DIFFERENCES.get(shown(each.name), "")
        flags = " ".join(sorted(each.flags))
        groups[each.group][each.name] = (f"`{shown(each.name)}`", str(each.arity), flags, differs)
    parts = []
    for group, commands in sorted(groups.items()):
        parts += [
            f"## {group.capitalize()}",
            table(("command", "arity", "flags", "what differs"), (commands[name] for name in sorted(commands))),
        ]
    return "\n\n".join(parts)


def redis_summary() -> str:
    """Say how many of Redis 7.0's commands are there, and name those that are not."""
    ours = {each.name for each in Registry().all()}
    missing = [name for name in REDIS_COMMANDS if name not in ours]
    # Of a container that is missing as a whole, its own name says it all.
    named = [name for name in missing if name.partition("|")[0] not in missing or "|" not in name]
    there = len(REDIS_COMMANDS) - len(missing)
    listed = ", ".join(f"`{shown(name)}`" for name in named)
    return f"{there} of the {len(REDIS_COMMANDS)} commands and subcommands of Redis 7.0 are there. Not there: {listed}."


def shown(name: str) -> str:
    """A command's name as one writes it."""
    return name.replace("|", " ").upper()


def redis_directives() -> str:
    """List the directives that have an effect: name, default, meaning."""
    rows = (
        (f"`{each.name}`", f"`{each.show(each.default)}`" if each.show(each.default) else "", each.help)
        for each in DIRECTIVES.values()
        if each.help
    )
    return table(("directive", "default", "meaning"), rows)


def gallery(folder: Path = EXAMPLES) -> str:
    """List the examples by what their README begins with: its title and its first paragraph."""
    parts = []
    for readme in sorted(folder.glob("*/README.md")):
        title, paragraph, *_ = readme.read_text().strip().split("\n\n")
        said = re.sub(":$", ".", paragraph.strip())  # what it announces is not shown here
        parts += [f"## {title.removeprefix('#').strip()}", said, f"`examples/{readme.parent.name}/`"]
    return "\n\n".join(parts)


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
