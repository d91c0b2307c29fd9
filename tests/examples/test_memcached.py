"""The memcached example, as libmemcached's own test and pymemcache see it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.core.harness import TIMEOUT

from .running import example


def test_memcapable_passes() -> None:
    program = shutil.which("memcapable") or shutil.which("memccapable")
    if program is None:
        pytest.skip("memcapable is not installed")
    with example("memcached", "tcp://127.0.0.1:0") as server:
        command = [program, "-a", "-h", "127.0.0.1", "-p", str(server.port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, input="y\n", check=False)
        assert "FAIL" not in done.stdout
        assert done.stdout.count("[pass]") == 27
        server.stop()


def test_pymemcache_works() -> None:
    pymemcache = pytest.importorskip("pymemcache", reason="pymemcache is not installed")
    with example("memcached", "tcp://127.0.0.1:0") as server:
        client = pymemcache.Client(("127.0.0.1", server.port), timeout=TIMEOUT, default_noreply=False)
        large = bytes(1_000_000)
        assert client.set("large", large)
        assert client.get("large") == large
        assert client.set_many({f"key{number}": b"%d" % number for number in range(100)}) == []
        assert len(client.get_many([f"key{number}" for number in range(200)])) == 100
        value, unique = client.gets("key1")
        assert client.cas("key1", b"new", unique) is True
        assert client.cas("key1", b"old", unique) is False
        assert client.incr("key7", 3) == 10
        assert client.decr("key7", 100) == 0
        assert client.set("gone", b"x", expire=-1)
        assert client.get("gone") is None
        assert client.delete("key2")
        assert not client.delete("key2")
        assert value == b"1"
        with pytest.raises(pymemcache.MemcacheClientError):
            client.incr("large", 1)
        client.close()
        server.stop()
