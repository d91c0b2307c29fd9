"""Headless Chromium, driven by the DevTools protocol over a pair of pipes.

https://chromedevtools.github.io/devtools-protocol: JSON messages, each ended by NUL, on descriptors 3 and 4.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.core.harness import TIMEOUT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """A browser that shows one page at a time."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to = to_browser
        self._from = from_browser
        self._numbers = itertools.count(1)
        self._received = b""
        self._session = ""
        self.errors: list[str] = []
        """The red lines of the console: failed loads, violations of a policy, exceptions."""

    @contextlib.contextmanager
    def page(self) -> Iterator[Browser]:
        """Show a new page, which shares no cache and no settings with those before it."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.errors.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        try:
            yield self
        finally:
            self._session = ""
            self.call("Target.disposeBrowserContext", browserContextId=context)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, url: str) -> None:
        """Go to a page and wait until it has loaded."""
        self.call("Page.navigate", url=url)
        while self._message().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, expression: str) -> Any:
        """The value of a script; of a promise, what it comes to."""
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def screenshot(self, path: Path) -> bytes:
        """A picture of the page (PNG), also written to ``path``."""
        content = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        path.write_bytes(content)
        return content

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            assert select.select([self._from], [], [], TIMEOUT)[0], "the browser says nothing"
            more = os.read(self._from, 1 << 16)
            assert more, "the browser is gone"
            self._received += more
        text, _, self._received = self._received.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.errors.append(message["params"]["entry"]["text"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(message["params"]["exceptionDetails"]))
        return message


def _pin(certificate: bytes) -> str:
    """The certificate's public key as Chromium wants to be told of it. (With all errors ignored, it would load the
    pages but not keep them.)"""
    key = x509.load_pem_x509_certificate(certificate).public_key()
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(encoded).digest()).decode()


@contextlib.contextmanager
def browser(profile: Path, trusting: bytes) -> Iterator[Browser]:
    """Run a browser with a fresh profile that trusts a certificate (PEM); skip the test where there is none."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    # It is killed and leaves what it has here; for the socket in it, the path has to be a short one.
    temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    their_input, to_browser = os.pipe()
    from_browser, their_output = os.pipe()
    # The shell puts the pipes where Chromium expects them; "exec": the process is the browser itself.
    script = f'exec "$0" "$@" 3<&{their_input} 4>&{their_output}'
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        f"--ignore-certificate-errors-spki-list={_pin(trusting)}",
        "--autoplay-policy=no-user-gesture-required", "--disable-dev-shm-usage", "--remote-debugging-pipe",
        f"--user-data-dir={profile}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(
        ["bash", "-c", script, CHROMIUM, *flags],
        pass_fds=(their_input, their_output),
        env=os.environ | {"TMPDIR": temporary.name},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(their_input)
    os.close(their_output)
    try:
        yield Browser(to_browser, from_browser)
    finally:
        process.kill()
        process.wait(TIMEOUT)
        os.close(to_browser)
        os.close(from_browser)
        temporary.cleanup()
