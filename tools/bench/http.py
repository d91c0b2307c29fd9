"""The HTTP benchmark: evio_http, with one loop, beside nginx with one process, on the same files."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

from . import certificate, measures
from .load import TIMEOUT
from .server import BenchError, Peer, Requirement, Server, python
from .suite import REQUEST_METRICS, Metric, Settings, Suite, Target, Workload

__all__ = ["SUITE", "Wrk"]

SMALL_AT_MOST = 0.80
NOT_MODIFIED_AT_MOST = 0.80
TLS_AT_MOST = 0.95
MEDIUM_AT_MOST = 1.10
MANY_AT_MOST = 1.50
LOGGED_AT_MOST = 0.80
"""CPU time per request, as a part of nginx's."""

LARGE_AT_LEAST = 0.95
"""Bytes per CPU second, as a part of nginx's."""

HANDSHAKE_AT_MOST = 1.25
"""CPU time per new TLS connection, as a part of nginx's: 0.8 of its connections per CPU second."""

CLIENTS = 50
LARGE_CLIENTS = 10
MANY_FILES = 10_000
HANDSHAKES = 300

EVIO = Requirement("evio_http", "pip install -e packages/evio-core -e packages/evio-http")
NGINX = Requirement("nginx", "apt install nginx-light", program=True)
WRK = Requirement("wrk", "apt install wrk", program=True)

# As people tune it for static files: descriptors cached and believed for a while, where evio looks every time.
NGINX_CONFIG = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    access_log {log};
    sendfile on;
    if_modified_since before;
    keepalive_requests 1000000000;
    open_file_cache max=20000 inactive=60s;
    open_file_cache_valid 60s;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    types {{ text/html html; }}
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port}{tls};
        root {directory}/files;
    }}
}}
"""
# TLS 1.3, as evio speaks: left to its default, nginx 1.22 would offer 1.2 at most, whose handshakes cost less.
NGINX_TLS = f""" ssl;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {{directory}}/{certificate.CERTIFICATE};
        ssl_certificate_key {{directory}}/{certificate.KEY};
        ssl_session_cache shared:s:1m"""


def evio(*flags: str) -> Callable[[int, Path], list[str]]:
    """The command of evio_http; in FLAGS, {directory} is the folder of the workload."""

    def command(port: int, directory: Path) -> list[str]:
        given = [flag.replace("{directory}", str(directory)) for flag in flags]
        return python("evio_http", str(directory / "files"), "--port", str(port), *given)

    return command


def nginx(*, tls: bool = False, log: str = "off") -> Callable[[int, Path], list[str]]:
    """The command of nginx, with a configuration written for it."""

    def command(port: int, directory: Path) -> list[str]:
        path = directory / f"nginx-{port}.conf"
        options = NGINX_TLS.replace("{directory}", str(directory)) if tls else ""
        logged = log.replace("{directory}", str(directory))
        path.write_text(NGINX_CONFIG.format(directory=directory, port=port, tls=options, log=logged))
        return ["nginx", "-p", str(directory), "-c", str(path)]

    return command


PLAIN = (Peer("evio", evio(), (EVIO,)), Peer("nginx", nginx(), (NGINX,)))
EVIO_TLS = evio(
    "--tls-cert", f"{{directory}}/{certificate.CERTIFICATE}", "--tls-key", f"{{directory}}/{certificate.KEY}"
)
TLS = (Peer("evio", EVIO_TLS, (EVIO,)), Peer("nginx", nginx(tls=True), (NGINX,)))
LOGGED = (
    Peer("evio", evio("--access-log", "{directory}/evio.log"), (EVIO,)),
    Peer("nginx", nginx(log="{directory}/nginx.log combined buffer=32k flush=1s"), (NGINX,)),
)


# -- the load


class Wrk:
    """One run of wrk: ``requests`` answered, ``bytes`` received, ``rate`` per second, percentiles in ms."""

    def __init__(self, text: str) -> None:
        """From what the script's last lines print. Raises :class:`BenchError` for anything else, and for answers that
        are errors."""
        found = re.search(r"^evio ([0-9]+) ([0-9]+) ([0-9]+) ([0-9]+) ([0-9]+) ([0-9]+) ([0-9]+)$", text, re.MULTILINE)
        if found is None:
            raise BenchError(f"not what wrk prints: {text!r}")
        self.requests, self.bytes, micros, errors, p50, p99, p999 = map(int, found.groups())
        if errors or not self.requests:
            raise BenchError(f"{errors} of {self.requests} requests failed: {text!r}")
        self.rate = self.requests / (micros / 1e6)
        self.p50, self.p99, self.p999 = p50 / 1000, p99 / 1000, p999 / 1000


DONE = """
done = function(summary, latency)
    local e = summary.errors
    io.write(string.format("evio %d %d %d %d %d %d %d\\n", summary.requests, summary.bytes, summary.duration,
        e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""


def wrk(server: Server, seconds: float, path: str, *, clients: int, script: str = "", tls: bool = False) -> Wrk:
    """Load the server for about SECONDS, which wrk takes whole. SCRIPT is in Lua."""
    lua = server.directory / "load.lua"
    lua.write_text(script + DONE)
    duration = max(1, round(seconds))
    url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}{path}"
    # wrk would call it an error when 100 MiB take two seconds, as they do on a busy machine.
    patience = f"{TIMEOUT:g}s"
    command = ["wrk", "-t", "1", "-c", str(clients), "-d", str(duration), "--timeout", patience, "-s", str(lua), url]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT + duration, check=False)
    except subprocess.TimeoutExpired:
        raise BenchError(f"no end after {TIMEOUT + duration:g} s: {' '.join(command)}") from None
    if done.returncode:
        raise BenchError(f"exit status {done.returncode}: {' '.join(command)}\n{done.stderr.strip()}")
    return Wrk(done.stdout)


def requests(path: str, *, script: str = "", tls: bool = False) -> Callable[[Server, Settings], dict[str, float]]:
    """A measurement of small requests. Connecting is not part of a request: what a run of a second costs is taken off,
    requests and all. That run is the second one, behind one to warm up."""

    def measure(server: Server, settings: Settings) -> dict[str, float]:
        def load(seconds: float) -> Wrk:
            return wrk(server, seconds, path, clients=CLIENTS, script=script, tls=tls)

        load(1)
        with measures.cpu(server) as short:
            few = load(1)
        with measures.cpu(server) as long:
            many = load(1 + settings.seconds)
        each = (long.seconds - short.seconds) / (many.requests - few.requests)
        return {"cpu": each * 1e6, "rate": many.rate, "p50": many.p50, "p99": many.p99, "p999": many.p999}

    return measure


def large(server: Server, settings: Settings) -> dict[str, float]:
    """A file of 100 MiB to ten connections."""
    with measures.cpu(server) as spent:
        got = wrk(server, settings.seconds, "/large.bin", clients=LARGE_CLIENTS)
    return {"per_cpu": got.bytes / 1e6 / spent.seconds}


def handshakes(server: Server, _: Settings) -> dict[str, float]:
    """New TLS connections, one after the other, without resumption."""
    context = ssl.create_default_context(cafile=str(server.directory / certificate.AUTHORITY))

    def connect() -> None:
        sock = socket.create_connection(("127.0.0.1", server.port), TIMEOUT)
        with context.wrap_socket(sock, server_hostname="127.0.0.1") as secure:
            secure.sendall(b"GET /small.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            while secure.recv(65536):
                pass

    for _round in range(HANDSHAKES // 3):
        connect()
    with measures.cpu(server) as spent:
        for _round in range(HANDSHAKES):
            connect()
    return {"cpu": spent.seconds / HANDSHAKES * 1e6}


# -- the files


def prepare(directory: Path) -> None:
    """The files that are served. They are old: what is of now, evio does not keep in memory yet."""
    files = directory / "files"
    (files / "many").mkdir(parents=True)
    write(files / "small.bin", os.urandom(1024))
    write(files / "medium.bin", os.urandom(100 * 1024))
    write(files / "large.bin", os.urandom(1 << 20) * 100)


def prepare_many(directory: Path) -> None:
    """10,000 files of 1 KiB besides."""
    prepare(directory)
    for number in range(MANY_FILES):
        write(directory / "files" / "many" / f"{number}.bin", os.urandom(1024))


def prepare_tls(directory: Path) -> None:
    """A certificate besides."""
    prepare(directory)
    certificate.issue(directory)


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.chmod(path, 0o644)


NOT_MODIFIED = 'wrk.headers["If-Modified-Since"] = "Fri, 01 Jan 2100 00:00:00 GMT"\n'
MANY = f"""
request = function()
    return wrk.format("GET", string.format("/many/%d.bin", math.random(0, {MANY_FILES - 1})))
end
"""
DISTINCT = """
local run, count = os.time(), 0
request = function()
    count = count + 1
    return wrk.format("GET", nil, {["Host"] = "localhost", ["X-Count"] = run .. "-" .. count})
end
"""


def workload(
    key: str,
    title: str,
    measure: Callable[[Server, Settings], dict[str, float]],
    *,
    peers: tuple[Peer, ...] = PLAIN,
    before: Callable[[Path], None] = prepare,
) -> Workload:
    return Workload(key, f"{title}, {CLIENTS} connections", REQUEST_METRICS, peers, measure, before, (WRK,))


WORKLOADS = (
    workload("small", "1 KiB", requests("/small.bin")),
    workload("logged", "1 KiB, access log on", requests("/small.bin"), peers=LOGGED),
    workload("not_modified", "304", requests("/small.bin", script=NOT_MODIFIED)),
    workload("medium", "100 KiB", requests("/medium.bin")),
    workload("many", "10,000 files of 1 KiB at random", requests("/", script=MANY), before=prepare_many),
    workload("distinct", "1 KiB, no two heads alike", requests("/small.bin", script=DISTINCT)),
    workload("tls", "1 KiB over TLS", requests("/small.bin", tls=True), peers=TLS, before=prepare_tls),
    Workload(
        key="large",
        title=f"100 MiB, {LARGE_CLIENTS} connections",
        metrics=(Metric("per_cpu", "MB/CPU second", higher_is_better=True),),
        peers=PLAIN,
        measure=large,
        prepare=prepare,
        requires=(WRK,),
    ),
    Workload(
        key="handshakes",
        title="new TLS connections, one request each",
        metrics=(Metric("cpu", "CPU µs/connection"),),
        peers=TLS,
        measure=handshakes,
        prepare=prepare_tls,
        requires=(certificate.TRUSTME,),
    ),
)

SUITE = Suite(
    name="http",
    title="http: evio_http, 1 loop, each file looked at again, beside nginx, 1 process, open_file_cache",
    subject="evio",
    workloads=WORKLOADS,
    targets=(
        Target("small", "cpu", "<=", SMALL_AT_MOST, against="nginx"),
        Target("logged", "cpu", "<=", LOGGED_AT_MOST, against="nginx"),
        Target("not_modified", "cpu", "<=", NOT_MODIFIED_AT_MOST, against="nginx"),
        Target("medium", "cpu", "<=", MEDIUM_AT_MOST, against="nginx"),
        Target("many", "cpu", "<=", MANY_AT_MOST, against="nginx"),
        Target("tls", "cpu", "<=", TLS_AT_MOST, against="nginx"),
        Target("large", "per_cpu", ">=", LARGE_AT_LEAST, against="nginx"),
        Target("handshakes", "cpu", "<=", HANDSHAKE_AT_MOST, against="nginx"),
    ),
)
