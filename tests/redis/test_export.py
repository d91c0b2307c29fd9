"""Snapshots for other programs: ``--export``, ``redis-cli --rdb`` and ``--functions-rdb``, and compressed ones."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import evio_redis
from evio_redis.__main__ import main
from evio_redis.persistence.rdb import lzf
from tests.core.harness import needs

from .wire import Wire, redis_server

MADE = (
    *("SET s text", "SET n 12 PXAT 33000000000000", 'SET b "\\xff\\x00"', "RPUSH l a b", "SADD t x", "HSET h f v g w"),
    *("ZADD z 1.5 m inf n", "XADD x 1-1 f v", "XGROUP CREATE x g 0", "XREADGROUP GROUP g c STREAMS x >", "SELECT 3"),
    "SET other 1",
)
LIBRARY = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"


def make(wire: Wire) -> None:
    for command in MADE:
        assert not wire.ask(command.encode() + b"\r\n").startswith(b"-"), command
    assert wire.ask(["FUNCTION", "LOAD", LIBRARY]).startswith(b"$")


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    with evio_redis.Server(port=0, dir=str(tmp_path)) as server, Wire(server.port) as wire:
        make(wire)
        assert wire.ask("SAVE") == b"+OK\r\n"
    return tmp_path / "dump.rdb"


def test_json(dump: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--export", "json", str(dump)]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert lines[0] == {"library": LIBRARY}
    found = {str(line["key"]): line for line in lines[1:]}
    assert found["n"] == {"db": 0, "key": "n", "type": "string", "value": "12", "expires": 33000000000000}
    assert found["b"]["value"] == {"base64": "/wA="}
    assert found["l"]["value"] == ["a", "b"]
    assert found["h"] == {"db": 0, "key": "h", "type": "hash", "value": [["f", "v"], ["g", "w"]]}
    assert found["z"]["value"] == [["m", 1.5], ["n", "inf"]]
    assert found["x"]["value"]["entries"] == [["1-1", ["f", "v"]]]
    assert found["x"]["value"]["groups"][0]["consumers"] == [{"name": "c", "pending": ["1-1"]}]
    assert found["other"]["db"] == 3
    assert len(found) == 9


def test_commands_make_the_same_keys_in_redis(dump: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["--export", "resp", str(dump)]) == 0
    commands = capfdbinary.readouterr().out
    with redis_server("--enable-debug-command", "yes") as port, Wire(port) as wire:
        piped = [needs("redis-cli"), "-p", str(port), "--pipe"]
        done = subprocess.run(piped, input=commands, capture_output=True, timeout=60, check=True)
        assert b"errors: 0" in done.stdout
        assert wire.ask("FCALL f 0") == b":1\r\n"
        digest = wire.ask("DEBUG DIGEST")
        wire.ask("FLUSHALL")
        wire.ask("FUNCTION FLUSH")
        make(wire)
        assert len(digest) == 43
        assert int(wire.ask("DBSIZE")[1:-2]) == 1


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["json"], 2), (["xml", "FILE"], 2), (["json", "none.rdb"], 1), (["resp", "broken.rdb"], 1)],
)
def test_what_cannot_be_exported_is_said_in_one_line(
    dump: Path, arguments: list[str], status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    (dump.parent / "broken.rdb").write_bytes(dump.read_bytes()[:-20])
    given = [str(dump.parent / each) if each.endswith(".rdb") else each for each in arguments]
    assert main(["--export", *given]) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("evio-redis: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", ["--rdb", "--functions-rdb"])
def test_redis_cli_fetches_a_snapshot(server: evio_redis.Server, tmp_path: Path, option: str) -> None:
    with Wire(server.port) as wire:
        make(wire)
        assert wire.ask("CONFIG SET repl-diskless-sync-delay 0") == b"+OK\r\n"
        path = tmp_path / "fetched.rdb"
        command = [needs("redis-cli"), "-p", str(server.port), option, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        keys = sum(int(wire.ask(f"SELECT {at}") == b"+OK\r\n" and wire.ask("DBSIZE")[1:-2]) for at in (0, 3))
    path.rename(tmp_path / "dump.rdb")
    for other in (redis_server("--dir", str(tmp_path)), evio_redis.Server(port=0, dir=str(tmp_path))):
        with other as started:
            port = started if isinstance(started, int) else started.port
            with Wire(port) as wire:
                assert wire.ask("FCALL f 0") == b":1\r\n"
                assert wire.ask("DBSIZE") == (b":%d\r\n" % (keys - 1) if option == "--rdb" else b":0\r\n")


def test_strings_are_compressed_if_something_can(tmp_path: Path) -> None:
    pytest.importorskip("lzf")
    texts = [b"x" * 1000, b"abc" * 100, bytes(range(256)), b"short", b"12345678901234567890123"]
    sizes: list[int] = []
    for compression in ("yes", "no"):
        with evio_redis.Server(port=0, dir=str(tmp_path), rdbcompression=compression) as server:
            with Wire(server.port) as wire:
                for at, text in enumerate(texts):
                    wire.ask(["SET", f"k{at}", text])
                wire.ask("SAVE")
        sizes.append((tmp_path / "dump.rdb").stat().st_size)
        with redis_server("--dir", str(tmp_path)) as port, Wire(port) as wire:
            for at, text in enumerate(texts):
                assert wire.ask(f"GET k{at}") == b"$%d\r\n%b\r\n" % (len(text), text)
    assert sizes[0] < sizes[1] - 1000
    for text in texts:
        shorter = lzf.compress(text)
        assert shorter is None or lzf.decompress(shorter, len(text)) == text
