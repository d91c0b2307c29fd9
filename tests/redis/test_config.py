"""CONFIG beside a real redis-server: the same directives, defaults, checks and error texts; files of Redis."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import evio_redis
from evio_redis.__main__ import parse_arguments
from evio_redis.config.config import Config, find_directive
from evio_redis.config.directives import DIRECTIVES
from evio_redis.config.ignored import ACCEPTED
from evio_redis.errors import ConfigError
from tests.tables import each_row

from .wire import Wire, redis_server

OWN = {
    "loops", "balance", "workers", "metrics-port", "proxy-protocol-port", "proxy-protocol-networks",
    "unixsocketgroup",  # of later versions
}  # fmt: skip
"""Directives that only this server has."""

NOT_COMPARED = {
    # each server has its own
    "port", "bind", "dir", "tls-port",
    # would lock this client out, or end it
    "requirepass", "maxclients", "timeout",
    # refused here, and said why; see test_main.py
    "tls-ca-cert-dir", "tls-ciphers", "tls-ciphersuites", "tls-protocols", "tls-key-file-pass",
    # of no effect here, and what Redis does with them is not followed to the end
    "oom-score-adj-values", "proc-title-template", "repl-backlog-size",
    "maxmemory-clients", "tls-cluster", "tls-replication", "watchdog-period",
    # set at the start, here
    "tls-auth-clients", "tls-ca-cert-file", "tls-cert-file", "tls-key-file",
}  # fmt: skip

VALUES = ["x", "yes", "no", "-1", "0", "1", "7", "70000", "1mb", "99999999999999999999", "1 2", "a b c", "default", ""]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Wire, Wire]]:
    """Connections to a real redis-server and to ours."""
    directory = str(tmp_path_factory.mktemp("ours"))  # CONFIG SET appendonly yes leaves a log
    with (
        redis_server() as real,
        evio_redis.Server(port=0, dir=directory) as ours,
        Wire(real) as first,
        Wire(ours.port) as second,
    ):
        yield first, second


def pairs(wire: Wire, *patterns: str) -> dict[str, str]:
    """Return the reply of CONFIG GET."""
    words = wire.ask(["CONFIG", "GET", *patterns]).split(b"\r\n")[2::2]
    return {words[at].decode(): words[at + 1].decode() for at in range(0, len(words), 2)}


def test_the_directives_and_their_defaults_are_those_of_redis(both: tuple[Wire, Wire]) -> None:
    real, ours = (pairs(wire, "*") for wire in both)
    assert set(ours) - set(real) == OWN
    assert set(real) - set(ours) == set()
    different = {name for name, value in real.items() if ours[name] != value}
    assert different <= {"port", "bind", "dir"}


@each_row("name", sorted(set(DIRECTIVES) - OWN - NOT_COMPARED - {"rename-command"}))
def test_values_are_checked_as_redis_does(both: tuple[Wire, Wire], name: str) -> None:
    before = [wire.ask(["CONFIG", "GET", name]) for wire in both]
    assert before[0] == before[1]
    for value in VALUES:
        real, ours = (wire.ask(["CONFIG", "SET", name, value]) for wire in both)
        assert ours == real, value
        real, ours = (wire.ask(["CONFIG", "GET", name]) for wire in both)
        assert ours == real, value
    default = find_directive(name)
    for wire in both:
        wire.ask(["CONFIG", "SET", name, default.show(default.default)])


COMMANDS = """
CONFIG GET
CONFIG GET nosuch
CONFIG GET hz HZ h?
CONFIG GET slave-pri*
CONFIG GET key-load-del*
CONFIG GET key-load-delay
CONFIG SET
CONFIG SET hz
CONFIG SET hz 20 maxmemory
CONFIG SET hz 20 nosuch 1
CONFIG SET hz 20 hz 30
CONFIG SET hz 20 maxmemory x
CONFIG SET hz 20 databases 20
CONFIG GET hz
CONFIG SET hz 20 timeout 0 maxmemory 2gb
CONFIG GET hz
CONFIG GET maxmemory
CONFIG SET hz 10 maxmemory 0
CONFIG SET dir /
CONFIG SET save "900 1 300 10"
CONFIG GET save
CONFIG SET save ""
CONFIG GET save
CONFIG RESETSTAT x
CONFIG REWRITE
CONFIG NOSUCH
CONFIG
"""


def test_config_answers_as_redis_does(both: tuple[Wire, Wire]) -> None:
    for command in COMMANDS.strip().splitlines():
        real, ours = (wire.ask(shlex.split(command)) for wire in both)
        assert ours == real, command


REDIS_CONF = """
bind 127.0.0.1 -::1 -192.0.2.1
protected-mode yes
tcp-backlog 511
daemonize no
supervised auto
pidfile ""
save 3600 1
save 300 100
stop-writes-on-bgsave-error yes
replica-serve-stale-data yes
slave-priority 50
lazyfree-lazy-eviction no
oom-score-adj-values 0 200 800
appendfsync everysec
aof-use-rdb-preamble yes
lua-time-limit 5000
client-output-buffer-limit normal 0 0 0
client-output-buffer-limit replica 256mb 64mb 60
client-output-buffer-limit pubsub 32mb 8mb 60
io-threads 4
activerehashing yes
"""


def test_a_file_for_redis_starts_the_server_and_what_is_missed_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "redis.conf"
    path.write_text(REDIS_CONF)
    config = parse_arguments([str(path), "--port", "0", "--dir", str(tmp_path)])
    assert config.missed() == [
        "io-threads 4 (see loops)",
    ]
    with (
        caplog.at_level("WARNING", "evio_redis"),
        evio_redis.Server(config=config) as server,
        Wire(server.port) as wire,
    ):
        assert pairs(wire, "replica-priority", "io-threads") == {"replica-priority": "50", "io-threads": "4"}
        assert pairs(wire, "save") == {"save": "3600 1 300 100"}
    assert [record.getMessage() for record in caplog.records] == ["Without effect: io-threads 4 (see loops)"]


def test_save_points_add_up_until_they_are_taken_back() -> None:
    config = Config()
    for value in ("60 1", "", "900 1", "300 10"):
        config.load("save", value)
    assert config.shown([b"save"]) == {"save": "900 1 300 10"}


def test_every_accepted_default_passes_its_own_check() -> None:
    for each in ACCEPTED:
        directive = find_directive(each.name)
        assert directive.parse(each.default) == each.default
        assert directive.default == each.default


def test_dir_may_be_changed_where_that_is_allowed(tmp_path: Path) -> None:
    with evio_redis.Server(port=0, enable_protected_configs="local") as server, Wire(server.port) as wire:
        assert wire.ask(["CONFIG", "SET", "dir", str(tmp_path)]) == b"+OK\r\n"
        assert pairs(wire, "dir") == {"dir": str(tmp_path)}
        missing = b"-ERR CONFIG SET failed (possibly related to argument 'dir') - No such file or directory\r\n"
        assert wire.ask(["CONFIG", "SET", "dir", str(tmp_path / "nosuch")]) == missing


def test_what_is_unknown_is_told_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="; did you mean 'replica-priority'"):
        find_directive("replica-prioritty")
