"""The cluster: what clients ask to find the node that has a key.

The map of slots is a file (``cluster-config-file``), so the subcommands that would change it are refused. A server that
is alone refuses all of them, in Redis's words.

https://redis.io/docs/latest/commands/?group=cluster
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from ..cluster.cluster import Cluster
from ..cluster.nodes import Map, Node
from ..cluster.slots import SLOTS, slot_of
from ..errors import CommandError
from ..model.command import Args, command
from ..protocol.numbers import parse_int
from ..protocol.resp import EMPTY_ARRAY, OK, array, bulk, bulks, integer
from ..replication.replication import Replication

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

ADMIN = "admin stale no_async_loading"
DISABLED = "ERR This instance has cluster support disabled"
BY_FILE = "ERR The map of this cluster is a file (cluster-config-file), which is read again when it has changed"

REFUSED = {
    ("ADDSLOTS", -3): ADMIN,
    ("ADDSLOTSRANGE", -4): ADMIN,
    ("BUMPEPOCH", 2): ADMIN,
    ("COUNT-FAILURE-REPORTS", 3): "admin stale",
    ("DELSLOTS", -3): ADMIN,
    ("DELSLOTSRANGE", -4): ADMIN,
    ("FAILOVER", -2): ADMIN,
    ("FLUSHSLOTS", 2): ADMIN,
    ("FORGET", 3): ADMIN,
    ("HELP", 2): "loading stale",
    ("MEET", -4): ADMIN,
    ("REPLICATE", 3): ADMIN,
    ("RESET", -2): "admin stale noscript",
    ("SAVECONFIG", 2): ADMIN,
    ("SET-CONFIG-EPOCH", 3): ADMIN,
    ("SETSLOT", -4): ADMIN,
}
"""Flags by name and arity, of the subcommands that change the map."""


def refuse(session: Session, args: Args) -> bytes:
    """Say that the map is not changed by commands."""
    _map(session)
    raise CommandError(BY_FILE)


for (_name, _arity), _flags in REFUSED.items():
    command(f"CLUSTER {_name}", _arity, _flags, group="cluster", since="3.0.0")(refuse)


def _map(session: Session) -> Map:
    known = session.services[Cluster].map
    if known is None:
        raise CommandError(DISABLED)
    return known


def _slot(text: bytes) -> int:
    slot = parse_int(text, "ERR Invalid or out of range slot")
    if not 0 <= slot < SLOTS:
        raise CommandError("ERR Invalid or out of range slot")
    return slot


# -- the map


@command("CLUSTER MYID", 2, "stale", group="cluster", since="3.0.0")
def myid(session: Session, args: Args) -> bytes:
    return bulk(_map(session).myself.id.encode())


@command("CLUSTER KEYSLOT", 3, "stale", group="cluster", since="3.0.0")
def keyslot(session: Session, args: Args) -> bytes:
    _map(session)
    return integer(slot_of(args[2]))


@command("CLUSTER NODES", 2, "stale", group="cluster", since="3.0.0")
def nodes(session: Session, args: Args) -> bytes:
    known = _map(session)
    return bulk("".join(f"{_line(each, known)}\n" for each in known.nodes).encode())


@command("CLUSTER REPLICAS", 3, "admin stale", group="cluster", since="5.0.0")
def replicas(session: Session, args: Args) -> bytes:
    return _replicas(session, args)


@command("CLUSTER SLAVES", 3, "admin stale", group="cluster", since="3.0.0")
def slaves(session: Session, args: Args) -> bytes:
    return _replicas(session, args)


def _replicas(session: Session, args: Args) -> bytes:
    known, wanted = _map(session), args[2].decode("latin-1")
    node = next((each for each in known.nodes if each.id == wanted), None)
    if node is None:
        raise CommandError(f"ERR Unknown node {wanted}")
    if node.master:
        raise CommandError("ERR The specified node is not a master")
    return array([bulk(_line(each, known).encode()) for each in known.replicas_of(node)])


def _line(node: Node, known: Map) -> str:
    """Return a line of CLUSTER NODES; what is known from gossip in Redis is said to be well."""
    flags = ("myself," if node is known.myself else "") + ("slave" if node.master else "master")
    ranges = "".join(f" {first}-{last}" if last > first else f" {first}" for first, last in node.ranges)
    hostname = f",{node.hostname}" if node.hostname else ""
    return f"{node.id} {node.address}@0{hostname} {flags} {node.master or '-'} 0 0 1 connected{ranges}"


@command("CLUSTER SLOTS", 2, "stale", group="cluster", since="3.0.0")
def slots(session: Session, args: Args) -> bytes:
    known = _map(session)
    rows = [
        array([integer(first), integer(last), *(_endpoint(each) for each in (master, *known.replicas_of(master)))])
        for master in known.masters
        for first, last in master.ranges
    ]
    return array(rows)


def _endpoint(node: Node) -> bytes:
    more = [bulk(b"hostname"), bulk(node.hostname.encode())] if node.hostname else []
    return array([bulk(node.host.encode()), integer(node.port), bulk(node.id.encode()), array(more)])


@command("CLUSTER SHARDS", 2, "stale", group="cluster", since="7.0.0")
def shards(session: Session, args: Args) -> bytes:
    known, replication = _map(session), session.services[Replication]
    offset = replication.replicas.offset
    resp = session.resp
    rows = []
    for master in known.masters:
        members = [
            resp.map(
                [
                    *(bulk(b"id"), bulk(each.id.encode())),
                    *(bulk(b"port"), integer(each.port)),
                    *(bulk(b"ip"), bulk(each.host.encode())),
                    *(bulk(b"endpoint"), bulk(each.host.encode())),
                    *(bulk(b"role"), bulk(b"replica" if each.master else b"master")),
                    *(bulk(b"replication-offset"), integer(offset if each is known.myself else 0)),
                    *(bulk(b"health"), bulk(b"online")),
                ]
            )
            for each in (master, *known.replicas_of(master))
        ]
        ranges = [integer(slot) for pair in master.ranges for slot in pair]
        rows.append(resp.map([bulk(b"slots"), array(ranges), bulk(b"nodes"), array(members)]))
    return array(rows)


@command("CLUSTER LINKS", 2, "stale", group="cluster", since="7.0.0")
def links(session: Session, args: Args) -> bytes:
    _map(session)
    return EMPTY_ARRAY  # nodes do not talk to each other


@command("CLUSTER INFO", 2, "stale", group="cluster", since="3.0.0")
def info(session: Session, args: Args) -> bytes:
    known, cluster = _map(session), session.services[Cluster]
    fields = {
        "cluster_state": "ok" if cluster.up else "fail",
        "cluster_slots_assigned": known.assigned,
        "cluster_slots_ok": known.assigned,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": 0,
        "cluster_known_nodes": len(known.nodes),
        "cluster_size": sum(bool(each.ranges) for each in known.masters),
        "cluster_current_epoch": 1,
        "cluster_my_epoch": 1,
        "cluster_stats_messages_sent": 0,
        "cluster_stats_messages_received": 0,
        "total_cluster_links_buffer_limit_exceeded": 0,
    }
    return bulk("".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode())


# -- the keys of a slot


@command("CLUSTER COUNTKEYSINSLOT", 3, "stale", group="cluster", since="3.0.0")
def countkeysinslot(session: Session, args: Args) -> bytes:
    _map(session)
    slot = _slot(args[2])
    return integer(sum(slot_of(key) == slot for key in session.db.data))


@command("CLUSTER GETKEYSINSLOT", 4, "stale", group="cluster", since="3.0.0")
def getkeysinslot(session: Session, args: Args) -> bytes:
    _map(session)
    slot, count = _slot(args[2]), parse_int(args[3], "ERR Invalid number of keys")
    if count < 0:
        raise CommandError("ERR Invalid number of keys")
    return bulks(list(islice((key for key in session.db.data if slot_of(key) == slot), count)))


# -- the state of a connection


def _setting(name: str, flags: str, change: Callable[[Session], None]) -> None:
    @command(name, 1, flags, group="cluster", since="3.0.0")
    def function(session: Session, args: Args) -> bytes:
        _map(session)
        change(session)
        return OK


def _read_only(session: Session) -> None:
    session.read_only = True


def _read_and_write(session: Session) -> None:
    session.read_only = False


def _asking(session: Session) -> None:
    """Do nothing: no slot is ever on its way from one node to another."""


_setting("READONLY", "loading stale fast", _read_only)
_setting("READWRITE", "loading stale fast", _read_and_write)
_setting("ASKING", "fast", _asking)
