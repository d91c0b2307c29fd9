"""INFO: the sections and fields of Redis.

Left out is what nothing here corresponds to or what nobody measures: the compiler and its atomics (``gcc_version``,
``atomicvar_api``); an allocator's own statistics (``allocator_*``, ``rss_overhead_*``); pages copied and keys written
by the child of a rewrite (``current_cow_*``, ``aof_last_cow_size``, ``current_fork_perc``, ``current_save_keys_*``);
``rdb_last_load_keys_*``, and the number of reads and writes (``total_reads_processed``, ``total_writes_processed``).

https://redis.io/docs/latest/commands/info/
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..clients.blocking import Blocking
from ..clients.connected import Clients
from ..clients.pause import Pause
from ..clients.pubsub import CHANNEL, PATTERN, SHARD, PubSub
from ..clients.tracking import Tracking
from ..config.config import Config
from ..config.converters import show_percentiles
from ..keyspace.expirer import Expirer
from ..keyspace.keyspace import Keyspace
from ..model.command import Registry
from ..model.version import REDIS_VERSION
from ..process.listeners import Listeners
from ..process.running import Running
from . import memory
from .rates import Rates
from .totals import Totals

if TYPE_CHECKING:
    from ..model.services import Services

__all__ = ["Info"]


class _Snapshots(Protocol):
    """The snapshots, as far as INFO tells of them."""

    def info(self) -> dict[str, Any]: ...


class _Log(Protocol):
    """The append-only file, as far as it is shown here."""

    @property
    def buffered(self) -> int:
        """Bytes that have not been handed to the kernel yet."""

    def info(self) -> dict[str, Any]:
        """Return its fields of ``INFO persistence``."""


class _Loading(Protocol):
    """The load under way, as far as INFO tells of it."""

    @property
    def active(self) -> bool:
        """True while keys are being loaded."""

    def info(self) -> dict[str, Any]:
        """Return its fields of ``INFO persistence``."""


class _Replication(Protocol):
    """The role of the server, as far as it is shown here."""

    def info(self) -> dict[str, Any]:
        """Fields of ``INFO replication``."""

    def counts(self) -> dict[str, Any]:
        """Fields of ``INFO stats``."""


class _Scripts(Protocol):
    """The scripts, as far as they are shown here."""

    @property
    def memory(self) -> int:
        """Bytes that the interpreter uses."""

    @property
    def size(self) -> int:
        """Bytes of the texts of all scripts."""

    def __len__(self) -> int: ...


class _Libraries(Protocol):
    """The libraries of functions, likewise."""

    @property
    def loaded(self) -> Mapping[bytes, object]:
        """The libraries."""

    @property
    def count(self) -> int:
        """The number of functions."""

    @property
    def memory(self) -> int:
        """Bytes that the interpreter uses."""

    @property
    def size(self) -> int:
        """Bytes of the texts of all libraries."""


NOT_BY_DEFAULT = frozenset({"commandstats", "latencystats"})
"""Sections that are shown only if asked for."""


class Info:
    """The report of one server. ``settle`` brings the statistics of commands up to date."""

    def __init__(
        self,
        services: Services,
        log: _Log,
        snapshots: _Snapshots,
        loading: _Loading,
        replication: _Replication,
        scripts: _Scripts,
        libraries: _Libraries,
        settle: Callable[[], None],
    ) -> None:
        self._log = log
        self._replication = replication
        self._scripts = scripts
        self._libraries = libraries
        self._settle = settle
        self._running = services[Running]
        self._listeners = services[Listeners]
        self._config = services[Config]
        self._clients = services[Clients]
        self._blocking = services[Blocking]
        self._pause = services[Pause]
        self._limit = services[memory.MemoryLimit]
        self._keyspace = services[Keyspace]
        self._snapshots = snapshots
        self._loading = loading
        self._pubsub = services[PubSub]
        self._tracking = services[Tracking]
        self._totals = services[Totals]
        self._rates = services[Rates]
        self._expirer = services[Expirer]
        self._registry = services[Registry]
        self._sections: dict[str, Callable[[], Mapping[str, Any]]] = {
            "server": self._server_fields,
            "clients": self._clients_fields,
            "memory": self._memory_fields,
            "persistence": self._persistence_fields,
            "stats": self._stats_fields,
            "replication": self._replication_fields,
            "cpu": self._cpu_fields,
            "modules": self._modules_fields,
            "commandstats": self._commandstats_fields,
            "errorstats": self._errorstats_fields,
            "latencystats": self._latencystats_fields,
            "cluster": self._cluster_fields,
            "keyspace": self._keyspace_fields,
        }

    def render(self, wanted: list[str]) -> str:
        """Return the text of these sections (``all``, ``everything``, ``default`` are several); unknown ones are left
        out."""
        self._settle()
        names: set[str] = set()
        for name in wanted or ["default"]:
            if name in ("all", "everything"):
                names |= set(self._sections)
            else:
                names |= set(self._sections) - NOT_BY_DEFAULT if name == "default" else {name}
        parts = []
        for name, section in self._sections.items():
            if name in names:
                title = name.upper() if name == "cpu" else name.capitalize()
                lines = [f"{field}:{value}" for field, value in section().items()]
                parts.append("\r\n".join([f"# {title}", *lines]) + "\r\n")
        return "\r\n".join(parts)

    def _server_fields(self) -> Mapping[str, Any]:
        import platform  # only who asks waits for it

        uptime = int(time.time() - self._running.started)
        return {
            "redis_version": REDIS_VERSION,
            "redis_git_sha1": "00000000",
            "redis_git_dirty": 0,
            "redis_build_id": self._running.run_id[:16],
            "redis_mode": "cluster" if self._config.cluster_enabled else "standalone",
            "os": f"{platform.system()} {platform.release()} {platform.machine()}",
            "arch_bits": 64 if sys.maxsize > 2**32 else 32,
            "monotonic_clock": "POSIX clock_gettime",
            "multiplexing_api": self._running.poller,
            "python_version": platform.python_version(),
            "evio_loops": self._config.loops,
            "process_id": os.getpid(),
            "process_supervised": self._supervised(),
            "run_id": self._running.run_id,
            "tcp_port": self._listeners.port,
            "server_time_usec": time.time_ns() // 1000,
            "uptime_in_seconds": uptime,
            "uptime_in_days": uptime // 86400,
            "hz": self._config.hz,
            "configured_hz": self._config.hz,
            "lru_clock": int(time.time()) & 0xFFFFFF,
            "executable": sys.executable,
            "config_file": self._config.path,
            "io_threads_active": 0,
        }

    def _supervised(self) -> str:
        """As Redis has it: what ``auto`` came to."""
        wanted = self._config.supervised
        asked = "NOTIFY_SOCKET" in os.environ
        return "systemd" if asked and wanted in ("systemd", "auto") else "no"

    def _clients_fields(self) -> Mapping[str, Any]:
        return {
            "connected_clients": len(self._clients.sessions),
            "cluster_connections": 0,
            "maxclients": self._config.maxclients,
            "client_recent_max_input_buffer": max(
                (each.parser.buffered for each in self._clients.sessions.values()), default=0
            ),
            "client_recent_max_output_buffer": max(
                (each.conn.pending for each in self._clients.sessions.values() if each.conn is not None), default=0
            ),
            "blocked_clients": self._blocking.waiting + self._pause.waiting,
            "tracking_clients": self._tracking.counts()[0],
            "clients_in_timeout_table": self._blocking.waiting,
        }

    def _memory_fields(self) -> Mapping[str, Any]:
        limit, process, total = self._limit, memory.resident(), memory.total()
        used, peak, startup = limit.used, limit.peak, limit.startup
        dataset = limit.usage.bytes if limit.usage.counting else used
        scripts, replicas = self._scripts.memory, self._clients.memory(of_replicas=True)
        log, libraries = self._log.buffered, self._libraries
        vm, texts = scripts + libraries.memory, self._scripts.size + libraries.size
        return {
            "used_memory": used,
            "used_memory_human": memory.human(used),
            "used_memory_rss": process,
            "used_memory_rss_human": memory.human(process),
            "used_memory_peak": peak,
            "used_memory_peak_human": memory.human(peak),
            "used_memory_peak_perc": f"{100 * used / max(peak, 1):.2f}%",
            "used_memory_overhead": used - dataset,
            "used_memory_startup": startup,
            "used_memory_dataset": dataset,
            "used_memory_dataset_perc": f"{100 * dataset / max(used, 1):.2f}%",
            "total_system_memory": total,
            "total_system_memory_human": memory.human(total),
            "used_memory_vm_eval": scripts,
            "used_memory_lua": scripts,
            "used_memory_lua_human": memory.human(scripts),
            "used_memory_scripts_eval": self._scripts.size,
            "number_of_cached_scripts": len(self._scripts),
            "number_of_functions": libraries.count,
            "number_of_libraries": len(libraries.loaded),
            "used_memory_vm_functions": libraries.memory,
            "used_memory_vm_total": vm,
            "used_memory_vm_total_human": memory.human(vm),
            "used_memory_functions": libraries.size,
            "used_memory_scripts": texts,
            "used_memory_scripts_human": memory.human(texts),
            "maxmemory": self._config.maxmemory,
            "maxmemory_human": memory.human(self._config.maxmemory),
            "maxmemory_policy": self._config.maxmemory_policy,
            "mem_fragmentation_ratio": f"{process / max(used + startup, 1):.2f}",
            "mem_fragmentation_bytes": max(0, process - used - startup),
            "mem_not_counted_for_evict": log + replicas,
            "mem_replication_backlog": 0,
            "mem_total_replication_buffers": 0,
            "mem_clients_slaves": replicas,
            "mem_clients_normal": self._clients.memory(of_replicas=False),
            "mem_cluster_links": 0,
            "mem_aof_buffer": log,
            "mem_allocator": "pymalloc",
            "active_defrag_running": 0,
            "lazyfree_pending_objects": 0,
            "lazyfreed_objects": 0,
        }

    def _persistence_fields(self) -> Mapping[str, Any]:
        fields: dict[str, Any] = {
            "loading": int(self._loading.active),
            "async_loading": 0,
        }
        fields |= self._snapshots.info()
        fields |= self._log.info() | {"module_fork_in_progress": 0, "module_fork_last_cow_size": 0}
        return fields | self._loading.info()

    def _stats_fields(self) -> Mapping[str, Any]:
        core = self._running.stats
        listeners, eviction = self._pubsub.listeners, self._limit.eviction
        _, tracked_keys, tracked_items, tracked_prefixes = self._tracking.counts()
        return {
            "total_connections_received": self._totals.connections_received,
            "total_commands_processed": self._totals.commands_processed,
            "instantaneous_ops_per_sec": self._rates.commands,
            "total_net_input_bytes": core.total.bytes_in,
            "total_net_output_bytes": core.total.bytes_out,
            "total_net_repl_input_bytes": 0,
            "total_net_repl_output_bytes": 0,
            "instantaneous_input_kbps": f"{self._rates.bytes_in / 1024:.2f}",
            "instantaneous_output_kbps": f"{self._rates.bytes_out / 1024:.2f}",
            "instantaneous_input_repl_kbps": "0.00",
            "instantaneous_output_repl_kbps": "0.00",
            "rejected_connections": self._totals.rejected_connections,
            **self._replication.counts(),
            "expired_keys": self._keyspace.expired_keys,
            "expired_stale_perc": f"{self._expirer.stale * 100:.2f}",
            "expired_time_cap_reached_count": self._expirer.time_cap_reached,
            "expire_cycle_cpu_milliseconds": int(self._expirer.seconds * 1000),
            "evicted_keys": self._keyspace.evicted_keys,
            "evicted_clients": self._clients.evicted,
            "total_eviction_exceeded_time": int(eviction.exceeded_time * 1000),
            "current_eviction_exceeded_time": int(eviction.exceeding * 1000),
            "keyspace_hits": self._keyspace.hits,
            "keyspace_misses": self._keyspace.misses,
            "pubsub_channels": len(listeners[CHANNEL]),
            "pubsub_patterns": len(listeners[PATTERN]),
            "pubsubshard_channels": len(listeners[SHARD]),
            "latest_fork_usec": self._totals.latest_fork_usec,
            "total_forks": self._totals.total_forks,
            "migrate_cached_sockets": 0,
            "slave_expires_tracked_keys": 0,
            "active_defrag_hits": 0,
            "active_defrag_misses": 0,
            "active_defrag_key_hits": 0,
            "active_defrag_key_misses": 0,
            "total_active_defrag_time": 0,
            "current_active_defrag_time": 0,
            "tracking_total_keys": tracked_keys,
            "tracking_total_items": tracked_items,
            "tracking_total_prefixes": tracked_prefixes,
            "unexpected_error_replies": 0,
            "total_error_replies": sum(self._totals.errors.values()),
            "dump_payload_sanitizations": 0,
            "io_threaded_reads_processed": 0,
            "io_threaded_writes_processed": 0,
            "reply_buffer_shrinks": 0,
            "reply_buffer_expands": 0,
        }

    def _replication_fields(self) -> Mapping[str, Any]:
        return self._replication.info()

    def _cpu_fields(self) -> Mapping[str, Any]:
        if sys.platform == "win32":
            return {}
        import resource

        own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        fields = {
            "used_cpu_sys": f"{own.ru_stime:.6f}",
            "used_cpu_user": f"{own.ru_utime:.6f}",
            "used_cpu_sys_children": f"{children.ru_stime:.6f}",
            "used_cpu_user_children": f"{children.ru_utime:.6f}",
        }
        if hasattr(resource, "RUSAGE_THREAD"):  # only Linux can tell them apart
            loop = resource.getrusage(resource.RUSAGE_THREAD)
            fields["used_cpu_sys_main_thread"] = f"{loop.ru_stime:.6f}"
            fields["used_cpu_user_main_thread"] = f"{loop.ru_utime:.6f}"
        return fields

    def _modules_fields(self) -> Mapping[str, Any]:
        return {}

    def _commandstats_fields(self) -> Mapping[str, Any]:
        fields = {}
        for each in self._registry.all():
            if each.calls or each.rejected or each.failed:
                usec = each.nanoseconds // 1000
                per_call = each.nanoseconds / 1000 / each.calls if each.calls else 0.0
                fields[f"cmdstat_{each.name}"] = (
                    f"calls={each.calls},usec={usec},usec_per_call={per_call:.2f},"
                    f"rejected_calls={each.rejected},failed_calls={each.failed}"
                )
        return fields

    def _errorstats_fields(self) -> Mapping[str, Any]:
        return {f"errorstat_{code}": f"count={count}" for code, count in sorted(self._totals.errors.items())}

    def _latencystats_fields(self) -> Mapping[str, Any]:
        percentiles = self._config.latency_tracking_info_percentiles
        return {
            f"latency_percentiles_usec_{each.name}": ",".join(
                f"p{show_percentiles((percent,))}={each.latencies.percentile(percent):.3f}" for percent in percentiles
            )
            for each in self._registry.all()
            if each.latencies.timed
        }

    def _cluster_fields(self) -> Mapping[str, Any]:
        return {"cluster_enabled": int(self._config.cluster_enabled)}

    def _keyspace_fields(self) -> Mapping[str, Any]:
        fields = {}
        for database in self._keyspace.databases:
            if database.data:
                fields[f"db{database.index}"] = (
                    f"keys={len(database.data)},expires={len(database.expires)},avg_ttl={database.average_ttl()}"
                )
        return fields
