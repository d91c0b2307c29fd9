"""The aiohttp program: devices over TCP, people over HTTP."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

import pytest

from tests.core.harness import TIMEOUT, connect, eventually, receive

from .running import Example, example

pytest.importorskip("aiohttp", reason="aiohttp is not installed")


def request(server: Example, path: str, content: str | None = None) -> tuple[int, str]:
    url = f"http://127.0.0.1:{server.ports[1]}{path}"
    try:
        with urllib.request.urlopen(url, content.encode() if content is not None else None, TIMEOUT) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_people_command_devices_and_devices_ask_the_program() -> None:
    with example("asyncio-mix", "tcp://127.0.0.1:0", "--port", "0") as server:
        assert request(server, "/") == (200, "[]")
        with connect(("127.0.0.1", server.port)) as lamp:
            lamp.sendall(b"lamp\n")
            assert eventually(lambda: request(server, "/") == (200, '["lamp"]'))
            lamp.sendall(b"time?\ntime?\n")
            assert receive(lamp, 14) == b"tick 1\ntick 2\n"
            answers: list[tuple[int, str]] = []
            asking = threading.Thread(target=lambda: answers.append(request(server, "/lamp", "switch on")))
            asking.start()
            assert receive(lamp, 10) == b"switch on\n"
            lamp.sendall(b"it is on\n")
            asking.join(TIMEOUT)
            assert answers == [(200, "it is on\n")]
            assert request(server, "/kettle", "boil") == (404, "there is no such device\n")
            leaving = threading.Thread(target=lambda: answers.append(request(server, "/lamp", "switch off")))
            leaving.start()
            assert receive(lamp, 11) == b"switch off\n"
        leaving.join(TIMEOUT)
        assert answers[1:] == [(504, "the device is gone\n")]
        assert eventually(lambda: request(server, "/") == (200, "[]"))
        server.stop()
