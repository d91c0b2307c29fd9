"""Builds all packages and tries them as their users would.

``python -m tools.wheels [PYTHON ...]`` leaves an sdist and a wheel of each package in ``dist/``, has twine look at
them, and for each interpreter installs the wheels, and once the sdists, into a fresh environment, where each server is
started by its command and asked by a real client, by uvx and pipx too, and where pyright counts the names without a
type. Other packages come from the index that pip uses.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from . import share

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PACKAGES = ("evio-core", "evio-echo", "evio-http", "evio-redis")

TYPES_KNOWN = {"evio_core": 1.0, "evio_echo": 1.0, "evio_http": 0.95, "evio_redis": 0.95}
"""The part of each package's names whose type has to be known."""

CLIENT = '''
import contextlib, pathlib, re, socket, subprocess, sys, sysconfig, tempfile, urllib.request
import redis

@contextlib.contextmanager
def started(name, *arguments):
    """The server's command in this environment, and the port that it says it listens on."""
    command = pathlib.Path(sysconfig.get_path("scripts"), name)
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert re.search(name + r" [0-9]+[.][0-9]+[.][0-9]+", version), version
    subprocess.run([command, "--help"], stdout=subprocess.DEVNULL, check=True)
    with subprocess.Popen([command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            while not (found := re.search(r"//127[.]0[.]0[.]1:([0-9]+)", line := process.stdout.readline())):
                assert line, "it ended"
            yield int(found[1])
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()

with started("evio-echo", "tcp://127.0.0.1:0") as port, socket.create_connection(("127.0.0.1", port), 20) as peer:
    peer.sendall(b"hello")
    assert peer.recv(5, socket.MSG_WAITALL) == b"hello"
with tempfile.TemporaryDirectory() as site:
    pathlib.Path(site, "page.txt").write_text("hello")
    with started("evio-http", site, "--port", "0") as port:
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/page.txt", timeout=20).read() == b"hello"
with started("evio-redis", "--port", "0") as port, redis.Redis(port=port) as client:
    assert client.set("greeting", "hello") and client.get("greeting") == b"hello"
    assert client.eval("return 1 + 1", 0) == 2
where = pathlib.Path(sys.prefix, "share")
for name in ("evio-echo", "evio-http", "evio-redis"):
    assert pathlib.Path(where, "man/man1", f"{name}.1").stat().st_size > 500
    assert pathlib.Path(where, "bash-completion/completions", name).stat().st_size > 500
print("python", sys.version.split()[0], "ok")
'''
"""Run by the interpreter of each environment."""


def run(*command: str | Path, cwd: Path = ROOT, quiet: bool = False) -> None:
    """Run a command. Ends the program with its status, and what it said, if it fails."""
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=quiet, text=True)
    if done.returncode:
        if quiet:
            print(done.stdout, done.stderr, file=sys.stderr)
        print(f"failed: {' '.join(map(str, command))}", file=sys.stderr)
        sys.exit(1)


def build() -> None:
    """Make ``dist/``: sdists of the sources, wheels of the sdists."""
    for command in share.PARSERS:
        share.write(command)
    shutil.rmtree(DIST, ignore_errors=True)
    for name in PACKAGES:
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST, ROOT / "packages" / name, quiet=True)
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(DIST.iterdir()), quiet=True)


def try_out(python: str, directory: Path, *options: str) -> Path:
    """Install everything with an interpreter and run the client; returns the environment's interpreter."""
    run(python, "-m", "venv", directory)
    own = directory / "bin/python"
    pip: list[str | Path] = [
        own,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--find-links",
        DIST,
    ]
    if options:
        pip.append(
            "--no-cache-dir"
        )  # a wheel that was made of an sdist is kept by its address, which is always the same
    run(*pip, "redis", *options, "evio-core", "evio-echo", "evio-http", "evio-redis[scripting]", quiet=True)
    run(own, "-c", CLIENT, cwd=directory)
    return own


def try_runners(python: Path, directory: Path) -> None:
    """Run each server as uvx and pipx do, without an environment of one's own."""
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv", "pipx", quiet=True)
    own = {"PIP_FIND_LINKS": str(DIST), "UV_FIND_LINKS": str(DIST)}
    places = {"UV_CACHE_DIR": f"{directory}/uv", "PIPX_HOME": f"{directory}/pipx"}
    for name in PACKAGES[1:]:
        for runner in (["uvx"], ["pipx", "run"]):
            command = [str(python.parent / runner[0]), *runner[1:], name, "--version"]
            environment = {**os.environ, **own, **places}
            done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, cwd=directory)
            print(f"{' '.join([*runner, name])}: {done.stdout.strip()}")
            if done.returncode or f"{name} " not in done.stdout:
                print(done.stdout, done.stderr, file=sys.stderr)
                sys.exit(1)


def try_tests(python: Path, directory: Path) -> None:
    """Run the tests that the smallest sdist brings, where nothing else of the repository is."""
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "pytest", "pytest-timeout", "uvloop", "trustme", quiet=True)
    with tarfile.open(next(DIST.glob("evio_echo-*.tar.gz"))) as archive:
        archive.extractall(directory, filter="data")
    run(python, "-m", "pytest", "-q", "tests", cwd=next(directory.glob("evio_echo-*")), quiet=True)


def try_types(python: Path, directory: Path) -> None:
    """Have pyright count what the packages tell their users of types. Ends the program where that is too little."""
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "pyright", "prometheus-client", "trustme", "pytest", quiet=True)
    empty = directory / "empty"
    empty.mkdir()
    variables = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "VIRTUAL_ENV": str(python.parents[1])}
    for package, least in TYPES_KNOWN.items():
        command = [str(python.parent / "pyright"), "--verifytypes", package, "--ignoreexternal", "--outputjson"]
        done = subprocess.run(command, cwd=empty, env=variables, check=False, capture_output=True, text=True)
        known = json.loads(done.stdout)["typeCompleteness"]["completenessScore"]
        print(f"{package}: {known:.1%} of its names have a known type")
        if known < least:
            print(f"{package}: {least:.0%} are needed; pyright --verifytypes {package} has the rest", file=sys.stderr)
            sys.exit(1)


def main(pythons: list[str]) -> int:
    """Build, then try with each of the interpreters, this one if there are none."""
    if os.name != "posix":
        print("tools.wheels needs a POSIX system", file=sys.stderr)
        return 2
    build()
    for path in sorted(DIST.iterdir()):
        print(path.relative_to(ROOT))
    for number, python in enumerate(pythons or [sys.executable]):
        with tempfile.TemporaryDirectory(prefix="evio-wheels-") as name:
            python_of_wheels = try_out(python, Path(name) / "wheels")
            if number == 0:
                try_types(python_of_wheels, Path(name))
                try_runners(python_of_wheels, Path(name))
                own = ("evio-core", "evio-echo", "evio-http", "evio-redis")
                python_of_sdists = try_out(python, Path(name) / "sdists", f"--no-binary={','.join(own)}")
                try_tests(python_of_sdists, Path(name))
                print("sdists ok, with their tests")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
