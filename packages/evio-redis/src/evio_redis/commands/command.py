"""COMMAND: the server's own description of its commands.

https://redis.io/docs/latest/commands/command/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import SYNTAX_ERROR, CommandError
from ..model.command import Args, Command, Registry, command
from ..model.facts import categories_of, facts_of, key_flags, takes_channels
from ..protocol.glob import matcher
from ..protocol.resp import array, bulk, bulks, integer, simple
from .docs import description_of, encoded
from .help import declare_help

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..protocol.resp import Resp2

__all__: list[str] = []

GROUPS = {"strings": "string", "bitmaps": "bitmap", "hashes": "hash", "keys": "generic", "client": "connection"}
GROUPS |= {"command": "server", "debug": "server"}
"""Groups of commands whose module is named otherwise."""


HIDDEN = frozenset({"may_replicate"})
"""Flags that COMMAND does not show."""


def group_of(each: Command) -> str:
    """Its group as Redis names it."""
    return GROUPS.get(each.group, each.group)


def _info(each: Command, resp: Resp2) -> bytes:
    children = [_info(child, resp) for child in each.subcommands.values()]
    facts = facts_of(each)
    notes = description_of(each).notes
    specs = enumerate(facts.get("keys", ()))
    keys = [encoded({"notes": notes[at], **spec} if at in notes else spec, resp) for at, spec in specs]
    return array(
        [
            bulk(each.name.encode()),
            integer(each.arity),
            resp.set([simple(flag) for flag in sorted(each.flags - HIDDEN)]),
            *map(integer, each.keys),
            resp.set([simple(f"@{category}") for category in categories_of(each)]),
            resp.set([bulk(tip.encode()) for tip in facts.get("tips", ())]),
            resp.set(keys),
            array(children) if children else resp.set([]),
        ]
    )


def _named(session: Session, names: Args) -> list[Command | None]:
    find = session.services[Registry].find
    found = [(name.count(b"|"), find(name.split(b"|"))) for name in names]
    return [each if each is not None and bars == each.name.count("|") else None for bars, each in found]


@command("COMMAND", arity=-1, flags="loading stale", group="server", since="2.8.13")
def command_(session: Session, args: Args) -> bytes:
    return array([_info(each, session.resp) for each in session.services[Registry].commands.values()])


@command("COMMAND COUNT", arity=2, flags="loading stale", group="server", since="2.8.13")
def count(session: Session, args: Args) -> bytes:
    return integer(len(session.services[Registry].commands))


@command("COMMAND INFO", arity=-2, flags="loading stale", group="server", since="2.8.13")
def info(session: Session, args: Args) -> bytes:
    if len(args) == 2:
        return command_(session, args)
    found = _named(session, args[2:])
    return array([session.resp.null if each is None else _info(each, session.resp) for each in found])


@command("COMMAND LIST", arity=-2, flags="loading stale", group="server", since="7.0.0")
def list_(session: Session, args: Args) -> bytes:
    wanted: Callable[[Command], object] = lambda each: True  # noqa: E731
    if len(args) > 2:
        wanted = _filter(args)
    tops = session.services[Registry].commands.values()
    every = [each for top in tops for each in (top, *top.subcommands.values())]
    return bulks([each.name.encode() for each in every if wanted(each)])


def _filter(args: Args) -> Callable[[Command], object]:
    if len(args) != 5 or args[2].upper() != b"FILTERBY":
        raise CommandError(SYNTAX_ERROR)
    kind, text = args[3].upper(), args[4]
    if kind == b"MODULE":
        return lambda each: False
    if kind == b"ACLCAT":
        return lambda each: text.decode("latin-1").lower() in categories_of(each)
    if kind == b"PATTERN":
        match = matcher(text.lower())
        return lambda each: match(each.name.encode())
    raise CommandError(SYNTAX_ERROR)


@command("COMMAND DOCS", arity=-2, flags="loading stale", group="server", since="7.0.0")
def docs(session: Session, args: Args) -> bytes:
    known = list(session.services[Registry].commands.values())
    chosen = known if len(args) == 2 else [each for each in _named(session, args[2:]) if each is not None]
    resp = session.resp
    return resp.map([part for each in chosen for part in (bulk(each.name.encode()), _docs(each, resp))])


def _docs(each: Command, resp: Resp2) -> bytes:
    facts, description = facts_of(each), description_of(each)
    texts = {
        "summary": description.summary,
        "since": facts.get("since", each.since),
        "group": group_of(each),
        "complexity": description.complexity,
    }
    parts = [bulk(part.encode()) for name, text in texts.items() if text for part in (name, text)]
    if "doc_flags" in facts:
        parts += [bulk(b"doc_flags"), resp.set([simple(flag) for flag in facts["doc_flags"]])]
    if "deprecated_since" in facts:
        replaced = description.replaced_by.encode()
        parts += [bulk(b"deprecated_since"), bulk(facts["deprecated_since"].encode())]
        parts += [bulk(b"replaced_by"), bulk(replaced)]
    if description.history:
        changes = [bulks([version.encode(), change.encode()]) for version, change in description.history]
        parts += [bulk(b"history"), resp.set(changes)]
    if "arguments" in facts:
        parts += [bulk(b"arguments"), encoded(facts["arguments"], resp)]
    if each.subcommands:
        children = [
            part for child in each.subcommands.values() for part in (bulk(child.name.encode()), _docs(child, resp))
        ]
        parts += [bulk(b"subcommands"), resp.map(children)]
    return resp.map(parts)


def _keys_of(session: Session, args: Args) -> tuple[Command, list[int]]:
    call = args[2:]
    found = session.services[Registry].find(call)
    if found is None or (found.subcommands and found.function is not command_):
        raise CommandError("ERR Invalid command specified")
    if (not found.keys[0] and found.get_keys is None) or takes_channels(found):
        raise CommandError("ERR The command has no key arguments")
    if not found.accepts(len(call)):
        raise CommandError("ERR Invalid number of arguments specified for command")
    return found, found.key_positions(call)


@command("COMMAND GETKEYS", arity=-4, flags="loading stale", group="server", since="2.8.13")
def getkeys(session: Session, args: Args) -> bytes:
    _, positions = _keys_of(session, args)
    return bulks([args[2 + at] for at in positions])


@command("COMMAND GETKEYSANDFLAGS", arity=-4, flags="loading stale", group="server", since="7.0.0")
def getkeysandflags(session: Session, args: Args) -> bytes:
    found, positions = _keys_of(session, args)
    flags = [encoded(words, session.resp, "flags") for words in key_flags(found, args[2:], positions)]
    return array([array([bulk(args[2 + at]), used]) for at, used in zip(positions, flags, strict=True)])


declare_help(
    "COMMAND",
    "server",
    """\
(no subcommand)
    Describe every command.
COUNT
    How many commands there are.
DOCS [<command> ...]
    What commands do, since when, and in which group they are.
GETKEYS <command> [<arg> ...]
    The keys of a call.
GETKEYSANDFLAGS <command> [<arg> ...]
    The same, with how they are used.
HELP
    This text.
INFO [<command> ...]
    Describe commands.
LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]
    The names of commands.""",
)
