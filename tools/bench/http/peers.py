"""The servers of the HTTP benchmark: plain, over TLS, and with an access log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .. import certificate
from ..server import Peer, Requirement, python

__all__ = ["HTTP2", "LOGGED", "PLAIN", "PLAIN_AND_MORE", "TLS", "TLS_AND_MORE", "nginx"]

EVIO = Requirement("evio_http", "pip install -e packages/evio-core -e packages/evio-http")
NGINX = Requirement("nginx", "apt install nginx-light", program=True)

# As people tune it for static files: descriptors cached and believed for a while, where evio looks every time.
NGINX_CACHE = "open_file_cache max=20000 inactive=60s; open_file_cache_valid 60s;"
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
    {cache}
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    types {{
        text/html html;
        text/css css;
        text/javascript js;
        image/svg+xml svg;
        image/png png;
    }}
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
NGINX_HTTP2 = NGINX_TLS.replace(" ssl;", " ssl http2;", 1)


def evio(*flags: str) -> Callable[[int, Path], list[str]]:
    """The command of evio_http; in ``flags``, {directory} is the folder of the workload."""

    def command(port: int, directory: Path) -> list[str]:
        given = [flag.replace("{directory}", str(directory)) for flag in flags]
        return python("evio_http", str(directory / "files"), "--port", str(port), *given)

    return command


def nginx(*, tls: str = "", log: str = "off", cache: str = NGINX_CACHE) -> Callable[[int, Path], list[str]]:
    """The command of nginx, with a configuration written for it."""

    def command(port: int, directory: Path) -> list[str]:
        path = directory / f"nginx-{port}.conf"
        options = tls.replace("{directory}", str(directory))
        logged = log.replace("{directory}", str(directory))
        path.write_text(NGINX_CONFIG.format(directory=directory, port=port, tls=options, log=logged, cache=cache))
        return ["nginx", "-p", str(directory), "-c", str(path)]

    return command


def floor(*pair: str) -> Callable[[int, Path], list[str]]:
    """The command of the floor; over TLS with ``pair``, the names of a certificate and its key."""

    def command(port: int, directory: Path) -> list[str]:
        files = (str(directory / name) for name in pair)
        return python("tools.bench.peers.web_floor", str(port), str(directory / "files"), *files)

    return command


PLAIN = (Peer("evio", evio(), (EVIO,)), Peer("nginx", nginx(), (NGINX,)))
PAIR = ("--tls-cert", f"{{directory}}/{certificate.CERTIFICATE}", "--tls-key", f"{{directory}}/{certificate.KEY}")
TLS = (Peer("evio", evio(*PAIR), (EVIO,)), Peer("nginx", nginx(tls=NGINX_TLS), (NGINX,)))
HTTP2 = (
    Peer("evio", evio(*PAIR), (EVIO, Requirement("hpack", "pip install evio-http[h2]"))),
    Peer("nginx", nginx(tls=NGINX_HTTP2), (NGINX,)),
)
TRUST = ("--revalidate", "60")
PLAIN_AND_MORE = (
    *PLAIN,
    Peer("nginx 0 s", nginx(cache=""), (NGINX,)),
    Peer("floor", floor()),
    Peer("evio 60 s", evio(*TRUST), (EVIO,)),
)
TLS_AND_MORE = (
    *TLS,
    Peer("nginx 0 s", nginx(tls=NGINX_TLS, cache=""), (NGINX,)),
    Peer("floor", floor(certificate.CERTIFICATE, certificate.KEY)),
    Peer("evio 60 s", evio(*TRUST, *PAIR), (EVIO,)),
)
"""Besides, nginx that looks at the file for each request, as both servers do if nobody asks; the floor; and evio_http
that believes for a minute what it knows of a file, as nginx does beside it."""
LOGGED = (
    Peer("evio", evio("--access-log", "{directory}/evio.log"), (EVIO,)),
    Peer("nginx", nginx(log="{directory}/nginx.log combined buffer=32k flush=1s"), (NGINX,)),
)
