"""The banner: addresses by which the server is reached; and opening one in a browser."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evio_core import Address
from evio_http.cli import banner as module
from evio_http.cli.banner import banner, own_addresses, page_url
from tests.core.harness import TIMEOUT, connect, eventually
from tests.popen import Popen

V4, V6 = "http://192.0.2.7:80/", "http://[2001:db8::7]:80/"


@pytest.mark.parametrize(
    ("address", "bound", "further"),
    [
        ("tcp://127.0.0.1:80", ("127.0.0.1", 80), []),
        ("tcp://:80", ("0.0.0.0", 80), [V4, V6]),
        ("tcp4://:80", ("0.0.0.0", 80), [V4]),
        ("tcp://0.0.0.0:80", ("0.0.0.0", 80), [V4]),
        ("tcp6://:80", ("::", 80, 0, 0), [V6]),
        ("tcp://[::]:80?v6only=false", ("::", 80, 0, 0), [V4, V6]),
        ("fd://3", ("0.0.0.0", 80), [V4]),
    ],
)
def test_addresses_of_all_interfaces_are_said_as_they_are_reached(
    address: str, bound: Any, further: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "own_addresses", lambda: [(4, "192.0.2.7"), (6, "2001:db8::7")])
    lines = banner("/site", [(Address.parse(address), bound), (Address.parse("unix:///s"), "/s")])
    assert re.fullmatch(r"serving /site on http://(0\.0\.0\.0|127\.0\.0\.1|\[::\]):80/", lines[0])
    assert lines[1] == "serving /site on unix:///s"
    local = ["  local:   http://localhost:80/"] if further else []
    assert lines[2:] == [*local, *(f"  network: {each}" for each in further)]


def test_the_page_of_an_address() -> None:
    assert page_url(Address.parse("tls://:80?cert=c"), ("0.0.0.0", 80)) == "https://localhost:80/"
    assert page_url(Address.parse("tcp://[::1]:80"), ("::1", 80, 0, 0)) == "http://[::1]:80/"
    assert page_url(Address.parse("fd://3"), "/s") == ""


def test_own_addresses_are_of_this_machine() -> None:
    for version, host in own_addresses():
        with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6) as sock:
            sock.bind((host, 0))


def test_without_a_route_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(sock: socket.socket, address: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert own_addresses() == []


def start(directory: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "evio_http", str(directory), "--bind", "", "--port", "0", "--open"]
    plain = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return Popen(command, env=plain | environment, text=True, **pipes)


def test_the_browser_is_opened(tmp_path: Path) -> None:
    (tmp_path / "browser").write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/new && mv {tmp_path}/new {tmp_path}/opened\n')
    (tmp_path / "browser").chmod(0o755)
    with start(tmp_path, BROWSER=f"{tmp_path}/browser %s") as process:
        try:
            assert eventually((tmp_path / "opened").exists)
            opened = (tmp_path / "opened").read_text()
            found = re.fullmatch(r"http://localhost:([0-9]+)/\n", opened)
            assert found is not None
            hosts = [host for _, host in own_addresses()]
            for host in ("127.0.0.1", *hosts):
                connect((host, int(found[1]))).close()
        finally:
            process.terminate()
        said, _ = process.communicate(timeout=TIMEOUT)
    assert said.splitlines()[0].startswith(f"serving {tmp_path} on http://")
    assert [url for _, url in re.findall(r"^  (local|network): +(\S+)$", said, re.MULTILINE)] == [
        f"http://{f'[{host}]' if ':' in host else host}:{found[1]}/" for host in ("localhost", *hosts)
    ]


def test_without_a_browser_one_line_says_so(tmp_path: Path) -> None:
    with start(tmp_path, PATH=str(tmp_path)) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert "--open: there is no browser that can be started; the page is http://localhost:" in line
        finally:
            process.terminate()
        assert "Traceback" not in process.communicate(timeout=TIMEOUT)[1]
