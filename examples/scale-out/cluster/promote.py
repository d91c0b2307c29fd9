"""Swap a master and its replica in maps of a cluster, as Sentinel says: its ``client-reconfig-script``.

    promote.py MAP ... -- NAME ROLE STATE FROM-HOST FROM-PORT TO-HOST TO-PORT

What comes after ``--`` is what Sentinel calls such a script with. Each Sentinel of a set calls it, several at the same
time perhaps: who finds the map as it should be leaves it alone. The servers read a map again when it has changed.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

MASTER, SLAVE = "master", "slave"
SLOTS = 8
"""The first of the words of a line that are slots: after ID, ADDRESS, FLAGS, MASTER and four without a meaning."""


def promote(lines: list[str], old: str, new: str) -> list[str]:
    """Return the lines of a map in which the node ``new`` has the place of ``old``, each HOST:PORT. Raises
    ``ValueError`` for a map that has not both of them."""
    nodes = [line.split() for line in lines if line.strip() and not line.startswith(("#", "vars"))]
    for node in nodes:
        node += ["-"] * (SLOTS - len(node))  # the last four of them may be missing
    by_address = {node[1].partition("@")[0]: node for node in nodes}
    for address in (old, new):
        if address not in by_address:
            raise ValueError(f"no node is {address}")
    was, becomes = by_address[old], by_address[new]
    if MASTER in becomes[2].split(","):
        return lines  # another Sentinel was here before
    becomes[2] = becomes[2].replace(SLAVE, MASTER)
    becomes[3] = "-"
    becomes[SLOTS:], was[SLOTS:] = was[SLOTS:], []
    was[2] = was[2].replace(MASTER, SLAVE)
    for node in nodes:  # its other replicas, too
        if node is was or node[3] == was[0]:
            node[3] = becomes[0]
    return [" ".join(node) for node in nodes]


def rewrite(path: Path, old: str, new: str) -> None:
    """Bring a map up to date, whole or not at all. Raises ``OSError`` and ``ValueError``."""
    with open(path.with_name(f"{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = path.read_text().splitlines()
        after = promote(before, old, new)
        if after != before:
            temporary = path.with_name(f"{path.name}.new")
            temporary.write_text("".join(f"{line}\n" for line in after))
            os.replace(temporary, path)


def main(arguments: list[str]) -> int:
    """Rewrite the maps. Returns 1 for what Sentinel may try again, 2 for what it cannot help (sentinel.conf)."""
    try:
        at = arguments.index("--")
        _, _, _, from_host, from_port, to_host, to_port = arguments[at + 1 :]
    except ValueError:
        print("usage: promote.py MAP ... -- NAME ROLE STATE FROM-HOST FROM-PORT TO-HOST TO-PORT", file=sys.stderr)
        return 2
    try:
        for name in arguments[:at]:
            rewrite(Path(name), f"{from_host}:{from_port}", f"{to_host}:{to_port}")
    except OSError as error:
        print(f"promote: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"promote: {name}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
