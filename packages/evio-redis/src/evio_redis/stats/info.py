"""INFO: the sections and fields of Redis.

Left out is what nothing here corresponds to or what nobody measures: the compiler and its atomics (``gcc_version``,
``atomicvar_api``); an allocator's own statistics (``allocator_*``, ``rss_overhead_*``); pages copied and keys written
by the child of a rewrite (``current_cow_*``, ``aof_last_cow_size``, ``current_fork_perc``, ``current_save_keys_*``);
``rdb_last_load_keys_*``, and the number of reads and writes (``total_reads_processed``, ``total_writes_processed``).

https://redis.io/docs/latest/commands/info/
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..clients.describe import memory_of
from ..clients.pubsub import CHANNEL, PATTERN, SHARD
from ..commands.connection import REDIS_VERSION
from ..config.converters import show_percentiles
from . import memory

if TYPE_CHECKING:
    from ..server import Server

__all__ = ["render"]


def _server(server: Server) -> Mapping[str, Any]:
    uptime = int(time.time() - server.started)
    return {
        "redis_version": REDIS_VERSION,
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": server.run_id[:16],
        "redis_mode": "standalone",
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "arch_bits": 64 if sys.maxsize > 2**32 else 32,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": server.poller,
        "python_version": platform.python_version(),
        "evio_loops": server.config.loops,
        "process_id": os.getpid(),
        "process_supervised": "no",
        "run_id": server.run_id,
        "tcp_port": server.port,
        "server_time_usec": time.time_ns() // 1000,
        "uptime_in_seconds": uptime,
        "uptime_in_days": uptime // 86400,
        "hz": server.config.hz,
        "configured_hz": server.config.hz,
        "lru_clock": int(time.time()) & 0xFFFFFF,
        "executable": sys.executable,
        "config_file": server.config.path,
        "io_threads_active": 0,
    }


def _clients(server: Server) -> Mapping[str, Any]:
    return {
        "connected_clients": len(server.sessions),
        "cluster_connections": 0,
        "maxclients": server.config.maxclients,
        "client_recent_max_input_buffer": max((each.parser.buffered for each in server.sessions.values()), default=0),
        "client_recent_max_output_buffer": max(
            (each.conn.pending for each in server.sessions.values() if each.conn is not None), default=0
        ),
        "blocked_clients": server.blocking.waiting + server.pause.waiting,
        "tracking_clients": 0,
        "clients_in_timeout_table": server.blocking.waiting,
    }


def _memory(server: Server) -> Mapping[str, Any]:
    used, peak, total = memory.resident(), memory.peak(), memory.total()
    startup = server.startup_memory
    dataset = max(0, used - startup)
    scripts, clients = server.scripts.memory, sum(map(memory_of, server.sessions.values()))
    log = server.aof.buffered
    return {
        "used_memory": used,
        "used_memory_human": memory.human(used),
        "used_memory_rss": used,
        "used_memory_rss_human": memory.human(used),
        "used_memory_peak": max(used, peak),
        "used_memory_peak_human": memory.human(max(used, peak)),
        "used_memory_peak_perc": f"{100 * used / max(used, peak, 1):.2f}%",
        "used_memory_overhead": startup,
        "used_memory_startup": startup,
        "used_memory_dataset": dataset,
        "used_memory_dataset_perc": f"{100 * dataset / max(dataset, 1):.2f}%",
        "total_system_memory": total,
        "total_system_memory_human": memory.human(total),
        "used_memory_vm_eval": scripts,
        "used_memory_lua": scripts,
        "used_memory_lua_human": memory.human(scripts),
        "used_memory_scripts_eval": server.scripts.size,
        "number_of_cached_scripts": len(server.scripts),
        "number_of_functions": 0,
        "number_of_libraries": 0,
        "used_memory_vm_functions": 0,
        "used_memory_vm_total": scripts,
        "used_memory_vm_total_human": memory.human(scripts),
        "used_memory_functions": 0,
        "used_memory_scripts": server.scripts.size,
        "used_memory_scripts_human": memory.human(server.scripts.size),
        "maxmemory": server.config.maxmemory,
        "maxmemory_human": memory.human(server.config.maxmemory),
        "maxmemory_policy": server.config.maxmemory_policy,
        "mem_fragmentation_ratio": "1.00",
        "mem_fragmentation_bytes": 0,
        "mem_not_counted_for_evict": log,
        "mem_replication_backlog": 0,
        "mem_total_replication_buffers": 0,
        "mem_clients_slaves": 0,
        "mem_clients_normal": clients,
        "mem_cluster_links": 0,
        "mem_aof_buffer": log,
        "mem_allocator": "pymalloc",
        "active_defrag_running": 0,
        "lazyfree_pending_objects": 0,
        "lazyfreed_objects": 0,
    }


def _persistence(server: Server) -> Mapping[str, Any]:
    fields: dict[str, Any] = {
        "loading": 0,
        "async_loading": 0,
        "rdb_changes_since_last_save": server.keyspace.dirty - server.saved_dirty,
        "rdb_bgsave_in_progress": 0,
        "rdb_last_save_time": int(server.last_save),
        "rdb_last_bgsave_status": "ok",
        "rdb_last_bgsave_time_sec": -1,
        "rdb_current_bgsave_time_sec": -1,
        "rdb_saves": 0,
        "rdb_last_cow_size": 0,
    }
    return fields | server.aof.info() | {"module_fork_in_progress": 0, "module_fork_last_cow_size": 0}


def _stats(server: Server) -> Mapping[str, Any]:
    core = server.core_stats()
    listeners = server.pubsub.listeners
    return {
        "total_connections_received": server.connections_received,
        "total_commands_processed": server.commands_processed,
        "instantaneous_ops_per_sec": server.rates.commands,
        "total_net_input_bytes": core.total("bytes_in"),
        "total_net_output_bytes": core.total("bytes_out"),
        "total_net_repl_input_bytes": 0,
        "total_net_repl_output_bytes": 0,
        "instantaneous_input_kbps": f"{server.rates.bytes_in / 1024:.2f}",
        "instantaneous_output_kbps": f"{server.rates.bytes_out / 1024:.2f}",
        "instantaneous_input_repl_kbps": "0.00",
        "instantaneous_output_repl_kbps": "0.00",
        "rejected_connections": server.rejected_connections,
        "sync_full": 0,
        "sync_partial_ok": 0,
        "sync_partial_err": 0,
        "expired_keys": server.keyspace.expired_keys,
        "expired_stale_perc": f"{server.expirer.stale * 100:.2f}",
        "expired_time_cap_reached_count": server.expirer.time_cap_reached,
        "expire_cycle_cpu_milliseconds": int(server.expirer.seconds * 1000),
        "evicted_keys": 0,
        "evicted_clients": 0,
        "total_eviction_exceeded_time": 0,
        "current_eviction_exceeded_time": 0,
        "keyspace_hits": int(server.lookups.hits),
        "keyspace_misses": int(server.lookups.misses),
        "pubsub_channels": len(listeners[CHANNEL]),
        "pubsub_patterns": len(listeners[PATTERN]),
        "pubsubshard_channels": len(listeners[SHARD]),
        "latest_fork_usec": server.latest_fork_usec,
        "total_forks": server.total_forks,
        "migrate_cached_sockets": 0,
        "slave_expires_tracked_keys": 0,
        "active_defrag_hits": 0,
        "active_defrag_misses": 0,
        "active_defrag_key_hits": 0,
        "active_defrag_key_misses": 0,
        "total_active_defrag_time": 0,
        "current_active_defrag_time": 0,
        "tracking_total_keys": 0,
        "tracking_total_items": 0,
        "tracking_total_prefixes": 0,
        "unexpected_error_replies": 0,
        "total_error_replies": sum(server.errors.values()),
        "dump_payload_sanitizations": 0,
        "io_threaded_reads_processed": 0,
        "io_threaded_writes_processed": 0,
        "reply_buffer_shrinks": 0,
        "reply_buffer_expands": 0,
    }


def _replication(server: Server) -> Mapping[str, Any]:
    return {
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": server.run_id,
        "master_replid2": "0" * 40,
        "master_repl_offset": 0,
        "second_repl_offset": -1,
        "repl_backlog_active": 0,
        "repl_backlog_size": 0,
        "repl_backlog_first_byte_offset": 0,
        "repl_backlog_histlen": 0,
    }


def _cpu(server: Server) -> Mapping[str, Any]:
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


def _modules(server: Server) -> Mapping[str, Any]:
    return {}


def _commandstats(server: Server) -> Mapping[str, Any]:
    fields = {}
    for each in server.registry.all():
        if each.calls or each.rejected or each.failed:
            per_call = each.total_usec / each.calls if each.calls else 0.0
            fields[f"cmdstat_{each.name}"] = (
                f"calls={each.calls},usec={int(each.total_usec)},usec_per_call={per_call:.2f},"
                f"rejected_calls={each.rejected},failed_calls={each.failed}"
            )
    return fields


def _errorstats(server: Server) -> Mapping[str, Any]:
    return {f"errorstat_{code}": f"count={count}" for code, count in sorted(server.errors.items())}


def _latencystats(server: Server) -> Mapping[str, Any]:
    percentiles = server.config.latency_tracking_info_percentiles
    return {
        f"latency_percentiles_usec_{each.name}": ",".join(
            f"p{show_percentiles((percent,))}={each.latencies.percentile(percent):.3f}" for percent in percentiles
        )
        for each in server.registry.all()
        if each.latencies.timed
    }


def _cluster(server: Server) -> Mapping[str, Any]:
    return {"cluster_enabled": 0}


def _keyspace(server: Server) -> Mapping[str, Any]:
    fields = {}
    for database in server.keyspace.databases:
        if database.data:
            fields[f"db{database.index}"] = (
                f"keys={len(database.data)},expires={len(database.expires)},avg_ttl={database.average_ttl()}"
            )
    return fields


SECTIONS: dict[str, Callable[[Server], Mapping[str, Any]]] = {
    "server": _server,
    "clients": _clients,
    "memory": _memory,
    "persistence": _persistence,
    "stats": _stats,
    "replication": _replication,
    "cpu": _cpu,
    "modules": _modules,
    "commandstats": _commandstats,
    "errorstats": _errorstats,
    "latencystats": _latencystats,
    "cluster": _cluster,
    "keyspace": _keyspace,
}

DEFAULT = [name for name in SECTIONS if name not in ("commandstats", "latencystats")]


def render(server: Server, wanted: list[str]) -> str:
    """The text of these sections (``all``, ``everything``, ``default`` are several); unknown ones are left out."""
    server.dispatcher.settle_calls()
    names: set[str] = set()
    for name in wanted or ["default"]:
        names |= set(SECTIONS) if name in ("all", "everything") else set(DEFAULT) if name == "default" else {name}
    parts = []
    for name, section in SECTIONS.items():
        if name in names:
            title = name.upper() if name == "cpu" else name.capitalize()
            lines = [f"{field}:{value}" for field, value in section(server).items()]
            parts.append("\r\n".join([f"# {title}", *lines]) + "\r\n")
    return "\r\n".join(parts)
