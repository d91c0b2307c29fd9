"""The map of a cluster, in the form of Redis's ``nodes.conf`` and of CLUSTER NODES: a line for each node.

``ID HOST:PORT[@BUSPORT][,HOSTNAME] FLAGS MASTER PING PONG EPOCH LINK [SLOT|FIRST-LAST ...]``; the flags say ``myself``
of one node, and ``master`` or ``slave`` of each. PING, PONG, EPOCH and LINK have no meaning here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError
from .slots import SLOTS

__all__ = ["Map", "Node", "make_lines", "read_map"]

ID = re.compile(r"[0-9a-f]{40}")
ADDRESS = re.compile(r"(?P<host>.*):(?P<port>\d{1,5})(?:@\d{1,5})?(?:,(?P<hostname>.*))?")
RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Node:
    """One server of a cluster."""

    id: str
    """40 hexadecimal digits."""
    host: str
    port: int
    master: str = ""
    """The id of the node that it is a replica of; empty for a master."""
    ranges: tuple[tuple[int, int], ...] = ()
    """The first and the last of its slots, by ranges; a replica has none."""
    hostname: str = ""

    @property
    def address(self) -> str:
        """Host and port, as MOVED has them."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Map:
    """All nodes, and which of them has which slot."""

    nodes: tuple[Node, ...]
    myself: Node
    owners: tuple[Node | None, ...] = field(repr=False)
    """The master of each slot; None if nobody has it."""
    assigned: int
    """Number of slots that somebody has."""

    def replicas_of(self, node: Node) -> list[Node]:
        """The replicas of a master."""
        return [each for each in self.nodes if each.master == node.id]

    @property
    def masters(self) -> list[Node]:
        """The masters, in the order of their first slots; those without any come last."""
        return sorted((each for each in self.nodes if not each.master), key=lambda each: each.ranges or ((SLOTS, 0),))


def read_map(path: Path) -> Map:
    """Read a map. Raises :class:`ConfigError` with the line that is wrong, and ``OSError``."""
    nodes: dict[str, Node] = {}
    myself = ""
    for number, line in enumerate(path.read_text("utf-8", "surrogateescape").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#") or words[0] == "vars":
            continue
        try:
            node, is_myself = _node(words)
            if node.id in nodes:
                raise ValueError("a node twice")
            if is_myself and myself:
                raise ValueError("a second node is 'myself'")
        except ValueError as error:
            raise ConfigError(f"{path}, line {number}: {error}") from None
        nodes[node.id] = node
        myself = node.id if is_myself else myself
    if not myself:
        raise ConfigError(f"{path}: no node is 'myself'")
    for node in nodes.values():
        if node.master and (node.master not in nodes or nodes[node.master].master):
            raise ConfigError(f"{path}: the master of {node.id} is no master of this cluster")
    owners = _owners(path, nodes.values())
    return Map(tuple(nodes.values()), nodes[myself], owners, sum(each is not None for each in owners))


def _node(words: list[str]) -> tuple[Node, bool]:
    """Parse a line; the second result is true for the node that reads it. Raises ``ValueError``."""
    if len(words) < 4:
        raise ValueError("ID HOST:PORT FLAGS MASTER are expected at least")
    identity, address, flags, master = words[:4]
    found = ADDRESS.fullmatch(address)
    if not ID.fullmatch(identity):
        raise ValueError(f"{identity!r} is no id, which is 40 hexadecimal digits")
    if found is None or not 0 < int(found["port"]) < 65536:
        raise ValueError(f"{address!r} is no HOST:PORT")
    marks = set(flags.split(","))
    if ("master" in marks) == ("slave" in marks):
        raise ValueError(f"of the flags {flags!r}, one of 'master' and 'slave' is expected")
    if "slave" in marks and not ID.fullmatch(master):
        raise ValueError(f"{master!r} is no id of a master")
    slots = [word for word in words[8:] if not word.startswith("[")]  # a slot that moves is where it was
    if slots and "slave" in marks:
        raise ValueError("a replica has no slots")
    node = Node(
        identity,
        found["host"],
        int(found["port"]),
        master if "slave" in marks else "",
        tuple(map(_range, slots)),
        found["hostname"] or "",
    )
    return node, "myself" in marks


def _range(word: str) -> tuple[int, int]:
    found = RANGE.fullmatch(word)
    first = int(found[1]) if found else SLOTS
    last = int(found[2]) if found and found[2] else first
    if not first <= last < SLOTS:
        raise ValueError(f"{word!r} is no slot and no range of slots, which are 0 to {SLOTS - 1}")
    return first, last


def _owners(path: Path, nodes: Iterable[Node]) -> tuple[Node | None, ...]:
    owners: list[Node | None] = [None] * SLOTS
    for node in nodes:
        for first, last in node.ranges:
            for slot in range(first, last + 1):
                other = owners[slot]
                if other is not None:
                    raise ConfigError(f"{path}: both {other.id} and {node.id} have slot {slot}")
                owners[slot] = node
    return tuple(owners)


def make_lines(nodes: list[tuple[str, str, int]], myself: str) -> Iterator[str]:
    """Make the lines of a map whose slots are dealt evenly to masters, each given by id, host and port."""
    for index, (identity, host, port) in enumerate(nodes):
        first, end = index * SLOTS // len(nodes), (index + 1) * SLOTS // len(nodes)
        flags = "myself,master" if identity == myself else "master"
        yield f"{identity} {host}:{port}@0 {flags} - 0 0 {index + 1} connected {first}-{end - 1}"
