"""MEMORY: what takes how much of it.

https://redis.io/docs/latest/commands/memory-stats/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clients.connected import Clients
from ..clients.describe import memory_of
from ..config.config import Config
from ..errors import SYNTAX_ERROR, CommandError
from ..keyspace.eviction import NOEVICTION
from ..keyspace.keyspace import Keyspace
from ..keyspace.sizes import SAMPLES, SLOT, size_of
from ..model.command import Args, command
from ..persistence import AppendOnlyFile
from ..process.memory import give_back
from ..protocol.numbers import to_int
from ..protocol.resp import OK, ZERO, bulk, integer
from ..scripting import Libraries, Scripts
from ..stats.memory import VOLATILE, MemoryLimit, human, resident
from .help import declare_help

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

SMALL = 5 << 20
"""Bytes below which the doctor finds nothing."""

MUCH_MORE = 1.5
"""The peak, or the process, over what is used, from which the doctor has something to say."""

LARGE_CLIENTS = 200 << 10
"""Bytes of clients on average, likewise."""

MANY_SCRIPTS = 1000


@command("MEMORY USAGE", arity=-3, flags="readonly", keys=(2,), group="server", since="4.0.0")
def usage(session: Session, args: Args) -> bytes:
    samples = SAMPLES
    if len(args) > 3:
        number = to_int(args[4]) if len(args) == 5 and args[3].upper() == b"SAMPLES" else None
        if number is None or number < 0:
            raise CommandError(SYNTAX_ERROR)
        samples = number
    value = session.db.lookup(args[2])
    return session.resp.null if value is None else integer(size_of(args[2], value, samples))


@command("MEMORY DOCTOR", arity=2, group="server", since="4.0.0")
def doctor(session: Session, args: Args) -> bytes:
    found = _findings(session)
    text = "Nothing about memory needs attention." if not found else "\n".join(f" * {each}" for each in found)
    return session.resp.verbatim(text.encode() + b"\n")


def _findings(session: Session) -> list[str]:
    services, found = session.services, []
    limit, config = services[MemoryLimit], services[Config]
    used, most, clients = limit.used, limit.peak, services[Clients].sessions.values()
    if config.maxmemory and limit.exceeded:
        why = "no key may go" if config.maxmemory_policy != NOEVICTION else "maxmemory-policy is noeviction"
        found.append(f"Out of memory: {human(used)} are used, maxmemory is {human(config.maxmemory)}, and {why}.")
    if used < SMALL:
        return found
    if most > MUCH_MORE * used:
        found.append(f"Peak: {human(most)} were used once, {human(used)} are now. MEMORY PURGE may give some back.")
    rest = resident() - limit.startup
    if rest > MUCH_MORE * used:
        found.append(f"Fragmentation: the process has grown by {human(rest)}, of which {human(used)} are in use.")
    if clients and sum(map(memory_of, clients)) > LARGE_CLIENTS * len(clients):
        found.append("Clients: input and output that wait take much, see omem and qbuf in CLIENT LIST.")
    if len(services[Scripts]) > MANY_SCRIPTS:
        found.append(f"Scripts: {len(services[Scripts])} are kept. Texts that differ should be arguments instead.")
    return found


@command("MEMORY PURGE", arity=2, group="server", since="4.0.0")
def purge(session: Session, args: Args) -> bytes:
    give_back()
    return OK


@command("MEMORY MALLOC-STATS", arity=2, group="server", since="4.0.0")
def malloc_stats(session: Session, args: Args) -> bytes:
    return bulk(b"Stats not supported for the current allocator")


@command("MEMORY STATS", arity=2, group="server", since="4.0.0")
def stats(session: Session, args: Args) -> bytes:
    services, resp = session.services, session.resp
    limit, scripts = services[MemoryLimit], services[Scripts]
    used, most, process = limit.used, limit.peak, resident()
    clients = sum(map(memory_of, services[Clients].sessions.values()))
    log, databases = services[AppendOnlyFile].buffered, {}
    keys = overhead = 0
    for database in services[Keyspace].databases:
        if database.data:
            keys += len(database.data)
            tables = SLOT * len(database.data), VOLATILE * len(database.expires)
            overhead += sum(tables)
            databases[f"db.{database.index}"] = resp.map(
                [
                    *(bulk(b"overhead.hashtable.main"), integer(tables[0])),
                    *(bulk(b"overhead.hashtable.expires"), integer(tables[1])),
                    *(bulk(b"overhead.hashtable.slot-to-keys"), ZERO),
                ]
            )
    overhead += clients + log + scripts.memory + services[Libraries].memory
    dataset = max(0, used - overhead)
    fields = {
        "peak.allocated": integer(most),
        "total.allocated": integer(used),
        "startup.allocated": integer(limit.startup),
        "replication.backlog": ZERO,
        "clients.slaves": ZERO,
        "clients.normal": integer(clients),
        "cluster.links": ZERO,
        "aof.buffer": integer(log),
        "lua.caches": integer(scripts.size),
        "functions.caches": integer(services[Libraries].size),
        **databases,
        "overhead.total": integer(overhead),
        "keys.count": integer(keys),
        "keys.bytes-per-key": integer(used // keys if keys else 0),
        "dataset.bytes": integer(dataset),
        "dataset.percentage": resp.double(100 * dataset / max(used, 1)),
        "peak.percentage": resp.double(100 * used / max(most, 1)),
        "allocator.allocated": integer(used),
        "allocator.active": integer(process),
        "allocator.resident": integer(process),
        "fragmentation": resp.double(process / max(used + limit.startup, 1)),
        "fragmentation.bytes": integer(max(0, process - used - limit.startup)),
    }
    return resp.map([part for name, value in fields.items() for part in (bulk(name.encode()), value)])


declare_help(
    "MEMORY",
    "server",
    """\
DOCTOR
    What about memory needs attention, in words.
HELP
    This text.
MALLOC-STATS
    What the allocator tells of itself: nothing.
PURGE
    Give memory back to the system that is not used.
STATS
    How much memory is used, in numbers.
USAGE <key> [SAMPLES <count>]
    About how many bytes a key takes; of a collection <count> members are looked at (5 unless told, 0 for all).""",
)
