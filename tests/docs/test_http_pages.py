"""The files that the pages about evio-http show are served, and do what the text says; proxies take theirs."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import HTTPErrorProcessor, HTTPHandler, Request, build_opener

import pytest
import trustme

from tests.core.harness import needs
from tests.http.serving import serving
from tests.popen import run
from tests.ports import free_port

PAGES = Path(__file__).parents[2] / "docs/http"
"""The pages, whose blocks begin with the name of a file."""

TIMEOUT = 20.0
"""Seconds that anything may take."""


def shown(page: str, name: str) -> str:
    """The file of that name that a page shows."""
    found = re.search(rf"^```\w+\n# {re.escape(name)}\n(.*?)^```", (PAGES / page).read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None, f"{page} shows no {name}"
    return found[1]


class Raw(HTTPErrorProcessor):
    """Answers are answers: redirects are not followed, errors not raised."""

    def http_response(self, request, response):  # type: ignore[no-untyped-def]
        return response


def get(port: int, path: str, **fields: str) -> tuple[int, dict[str, str], bytes]:
    """Status, fields and content of an answer."""
    request = Request(f"http://127.0.0.1:{port}{path}", headers=fields)
    with build_opener(HTTPHandler, Raw).open(request, timeout=TIMEOUT) as response:
        return response.status, dict(response.headers), response.read()


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    """The directories and files of the page about rules."""
    for name, content in {
        "sites/a/index.html": "a",
        "sites/a/404.html": "not here",
        "sites/a/docs/intro.html": "intro",
        "sites/a/secret/key.html": "secret",
        "sites/b/index.html": "b",
        "sites/b/assets/app.js": "script",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    for name in ("redirects", "headers", "evio.toml"):
        (tmp_path / name).write_text(shown("rules.md", name))
    return tmp_path


def test_the_rules_do_what_the_page_says(sites: Path) -> None:
    with serving(str(sites / "sites/a"), "--config", str(sites / "evio.toml"), "--port", "0") as served:
        port = served.port
        assert get(port, "/old")[0] == 301
        assert get(port, "/old")[1]["Location"] == "/docs/intro.html"
        assert get(port, "/blog/2024/may/first")[1]["Location"] == "/news/2024/may/first"
        assert get(port, "/store?id=7")[1]["Location"] == "/product/7"
        assert get(port, "/app/any/path")[::2] == (200, b"a")
        assert get(port, "/secret/key.html")[::2] == (404, b"not here")
        assert get(port, "/nothing")[::2] == (404, b"not here")
        status, fields, content = get(port, "/docs/intro.html")
        assert (status, content, fields["Cache-Control"]) == (200, b"intro", "public, max-age=300")
        assert (fields["X-Robots-Tag"], fields["Permissions-Policy"]) == ("noindex", "camera=()")
        host = {"Host": "b.example", "Accept": "text/html"}
        assert get(port, "/users/1", **host)[::2] == (200, b"b")
        assert get(port, "/users/1", **host)[1]["Cache-Control"] == "no-cache"
        assert get(port, "/assets/missing.js", **host)[0] == 404
        assert get(port, "/assets/app.js", **host)[1]["Cache-Control"] == "public, max-age=31536000, immutable"


def test_the_options_of_a_production_site_are_understood(tmp_path: Path) -> None:
    text = (PAGES / "production.md").read_text()
    options = re.search(r"^```toml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert options is not None
    (tmp_path / "evio.toml").write_text(options[1])
    issued = trustme.CA().issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "fullchain.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "privkey.pem"))
    arguments = [".", "tls://127.0.0.1:0", "tcp://127.0.0.1:0", "--config", "evio.toml", "--check"]
    command = [sys.executable, "-m", "evio_http", *arguments]
    done = run(command, cwd=tmp_path, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr


@contextmanager
def proxied(*command: str, port: int) -> Iterator[None]:
    """Run a proxy until the block ends; it accepts on ``port``."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), TIMEOUT).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT)


def logged_client(log: Path, path: str) -> str:
    """The client of the access log's line about ``path``, which may take a moment to be written."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if f"GET {path} " in line:
                return line.split()[0]
        time.sleep(0.02)
    raise AssertionError(log.read_text())


def test_haproxy_with_the_page_s_configuration(tmp_path: Path) -> None:
    haproxy = needs("haproxy")
    (tmp_path / "index.html").write_text("site")
    log = tmp_path / "access.log"
    flags = ["--port", "0", "--proxy-protocol", "--trust", "127.0.0.1", "--health", "/health", "--access-log", str(log)]
    with serving(str(tmp_path), *flags) as served:
        port = free_port()
        config = shown("behind.md", "haproxy.cfg").replace("bind :80", f"bind 127.0.0.1:{port}")
        (tmp_path / "haproxy.cfg").write_text(config.replace("127.0.0.1:8080", f"127.0.0.1:{served.port}"))
        with proxied(haproxy, "-db", "-f", str(tmp_path / "haproxy.cfg"), port=port):
            assert get(port, "/index.html")[::2] == (200, b"site")
        assert logged_client(log, "/index.html") == "127.0.0.1"


def test_nginx_with_the_page_s_configuration(tmp_path: Path) -> None:
    nginx = needs("nginx")
    (tmp_path / "index.html").write_text("site")
    log = tmp_path / "access.log"
    with serving(str(tmp_path), "--port", "0", "--trust", "127.0.0.1", "--access-log", str(log)) as served:
        port = free_port()
        site = shown("behind.md", "site.conf").replace("listen 80", f"listen 127.0.0.1:{port}")
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; pid {tmp_path}/nginx.pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;\n"
            f"fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n"
            + site.replace("127.0.0.1:8080", f"127.0.0.1:{served.port}")
            + "}\n"
        )
        with proxied(nginx, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), port=port):
            assert get(port, "/index.html")[::2] == (200, b"site")
            # What a client says of itself is not believed, even if it says it first.
            assert get(port, "/index.html?2", **{"X-Forwarded-For": "203.0.113.7"})[0] == 200
        assert logged_client(log, "/index.html") == "127.0.0.1"
        assert logged_client(log, "/index.html?2") == "203.0.113.7"
