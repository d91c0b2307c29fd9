"""The command line: what it takes, what it refuses, and what its flags do to a running server."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from evio_http.__main__ import main
from evio_http.cli.arguments import OF_A_SITE, make_parser, parse_arguments
from evio_http.cli.build import Setup
from tests import popen
from tests.core.harness import TIMEOUT, connect, receive_all, status
from tests.extent import FULL
from tests.tables import each_row

from .serving import FILES, Served, make_site, serving

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def site(tmp_path: Path) -> str:
    return str(make_site(tmp_path / "site"))


@pytest.fixture
def process_settings() -> Iterator[None]:
    """Take back what the command line sets for its whole process."""
    files, thresholds = resource.getrlimit(resource.RLIMIT_NOFILE), gc.get_threshold()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    gc.set_threshold(*thresholds)


@pytest.fixture
def run(process_settings: None, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process, for what ends without serving: its status, output and errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        ended = status(main, [*arguments])
        said = capsys.readouterr()
        return ended, said.out, said.err

    return call


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evio_http", *arguments]
    return popen.run(command, timeout=TIMEOUT)


def fetch(served: Served, path: str = "/data.json", *fields: str, number: int = 0) -> bytes:
    """The whole answer to one request."""
    port = int(served.urls[number].rpartition(":")[2])
    with connect(("127.0.0.1", port)) as sock:
        return exchange(sock, path, *fields)


def exchange(sock: socket.socket, path: str, *fields: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *fields, "", ""]
    sock.sendall("\r\n".join(lines).encode())
    return receive_all(sock)


def issue(directory: Path, *names: str) -> tuple[trustme.CA, Path, Path]:
    """A certificate in files of ``directory``."""
    authority = trustme.CA()
    certificate = authority.issue_cert(*names)
    cert, key = directory / f"{names[0]}.pem", directory / f"{names[0]}.key"
    write_pair(certificate, cert, key)
    return authority, cert, key


def write_pair(certificate: trustme.LeafCert, cert: Path, key: Path) -> None:
    cert.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())


def over_tls(served: Served, authority: trustme.CA, name: str = "localhost", **options: str) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the system's authorities would take 20 ms to read
    authority.configure_trust(context)
    if "cert" in options:
        context.load_cert_chain(options["cert"], options["key"])
    context.set_alpn_protocols(["spdy/3", "http/1.1"])
    sock = socket.create_connection(("127.0.0.1", int(served.urls[0].rpartition(":")[2])), timeout=TIMEOUT)
    return context.wrap_socket(sock, server_hostname=name)


# -- usage


@each_row(
    ("arguments", "text"),
    [
        (["no-such-directory"], "/no-such-directory: No such file or directory"),
        (["tcp://127.0.0.1:0"], "the directory comes first: evio-http . tcp://127.0.0.1:0"),
        ([""], "'' is no directory; . is the one you are in"),
        (["--port", "x"], "'x' is not a port: a number from 0 to 65535"),
        (["--port", "70000"], "is not a port"),
        (["--max-body", "-1"], "is not a whole number from 0"),
        (["--max-head", "0"], "--max-head: '0' is not a whole number from 1"),
        (["--keep-alive", "nan"], "is not a number of seconds"),
        (["--cache", "*.css"], "has no = between"),
        (["--cache", "a/b=x"], 'a pattern begins with "/"'),
        (["--header", "/*=Content-Length: 5"], "the server's own to set"),
        (["--header", "*.foo=Content-Type: text/x-foo"], "--media-type .EXT=TYPE says"),
        (["--header", "/*=Server: x"], "Server is the server's own to set"),
        (["--header", "/*=Accept-Ranges: none"], "Accept-Ranges is the server's own to set"),
        (["--header", "/docs/=X-A: 1"], "/docs/ matches nothing: paths are compared without the / at their end"),
        (["--cache", "/a//b=no-store"], "/a//b matches nothing"),
        (["--media-type", "foo"], "has no = between"),
        (["--media-type", ".foo=text"], "'text' is not a media type, such as text/plain"),
        (["--media-type", "a/b=text/plain"], "'a/b' is neither the end of a file's name (.EXT) nor a name"),
        (["--rate", "0/s"], "--rate: '0/s' is not a number from 1 with /s (the default), /m or /h behind it"),
        (["--rate-burst", "5"], "--rate-burst needs --rate"),
        (["--allow", "here"], "'here' does not appear to be an IPv4 or IPv6 network, such as 10.0.0.0/8, nor 'unix'"),
        (["--error-template", "no-such-file"], "no-such-file"),
        (["--auth", ""], "--auth: '' is not the name of a file"),  # rather than a site for everybody
        (["--access-log", ""], "--access-log: '' is not the name of a file"),
        (["--bind", "[::"], "tcp://[[::]:8080: expected host:port"),
        (["--index", ".."], "--index: '..' is not the name of a file"),
        (["--spa", "/../x"], "--spa: '/../x': the path leaves the root"),
        (["--health", "/a b"], "--health: '/a b': the path has a character that is not allowed"),
        (["--error-page", "404=/%zz"], "--error-page: '/%zz': the path has an incomplete percent escape"),
        (["--allow", "10.0.0.0/40"], "--allow: "),
        (["--listing=yes"], "argument --listing: takes no value, unlike 'yes'"),
        (["--foo"], "unknown flag --foo; --help has all of them"),
        (["--check", "--spa", "/none.html"], "--spa: there is no file /none.html in ."),
        (["--check", "--error-page", "404=/no.html"], "--error-page 404: there is no file /no.html in ."),
        (["--live", "--workers", "2"], "--live and --workers exclude each other"),
        (["--listing-template", "x"], "--listing-template needs --listing"),
        (["--listing", "--listing-template", "no-such-file"], "no-such-file"),
        (["--error-page", "404"], "has no = between"),
        (["--error-page", "200=/x"], "'200': pages are for the statuses 400, 401, 403, 404, 405, 501"),
        (["--error-page", "499=/x"], "'499': pages are for the statuses 400, 401, 403, 404, 405, 501"),
        (["--error-page", "404=x"], "is not a status and a path"),
        (["--host", "a/b=."], "not the name of a host"),
        (["--trust", "10.0.0.0/40"], "10.0.0.0/40"),
        (["--log-format", "xml"], "choose from"),
        (["--tls-key", "x"], "each --tls-cert needs its --tls-key"),
        (["--tls-client-ca", "x"], "--tls-client-ca needs --tls-cert"),
        (["--tls-cert", "no-such-file"], "no-such-file"),
        ([".", "tcp://127.0.0.1:0", "--tls-cert", "x", "--tls-key", "x"], "no address uses the certificate"),
        ([".", "tls://127.0.0.1:0?cert=y", "--tls-cert", "x", "--tls-key", "x"], "no address uses the certificate"),
        ([".", "--proxy-protocol", "--trust", "10.0.0.0/40"], "10.0.0.0/40"),
        (["--tls-self-signed", "--tls-cert", "x"], "exclude each other"),
        (["--auth", "no-such-file"], "no-such-file"),
        (["--redirects-file", "no-such-file"], "no-such-file"),
        (["--access-log", "/no-such-directory/log"], "/no-such-directory/log"),
        ([".", "tpc://x:1"], "did you mean tcp"),
        (["--loops", "-5"], "--loops: '-5' is not a number from 0 to 9999, nor -1"),
        (["--workers", "x"], "--workers: 'x' is not a number from 0 to 9999, nor -1"),
        (["--trust", "here"], "'here' does not appear to be an IPv4 or IPv6 network, such as 10.0.0.0/8, nor 'unix'"),
        (["--health", "up"], "--health: 'up' is not a path"),
        (["--metrics", "metrics"], "--metrics: 'metrics' is not a path"),
        (["--index", "a/b"], "--index: 'a/b' is not the name of a file"),
        (["--cors", "example.org"], "is not an origin, such as https://www.example.org, nor *"),
        (["--cors", "https://a.example/"], "is not an origin"),
        (["--cors", "https://A.example"], "is not an origin"),
        (["--https-redirect", "0"], "from 1 to 65535"),
        (["--host", "a=.", "--host", "a=."], "--host a is given twice"),
        ([".", "udp://127.0.0.1:0"], "udp://127.0.0.1:0: HTTP/1.1 is not spoken over udp"),
        ([".", "tls://127.0.0.1:0"], "tls://127.0.0.1:0 needs --tls-cert"),
        (["--port", "0", "--proxy-protocol", "--trust", "unix"], "nobody's on tcp://127.0.0.1:0"),
        (["--no-such-flag"], "--no-such-flag"),
        (["--spa", "../x"], "--spa: '../x' is not a path"),
        ([".", "unix:///tmp/never", "--open"], "--open needs an address that browsers reach"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    arguments: list[str], text: str, process_settings: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(main, arguments) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"evio-http: .+\n", said)
    assert text in said


def test_the_status_of_bad_usage_is_that_of_the_process() -> None:
    done = run_program("--listin")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "evio-http: unknown flag --listin; did you mean --listing?\n"


def test_addresses_may_come_after_flags(site: str) -> None:
    with serving("--no-server-name", site, "--listing", "tcp://127.0.0.1:0", "tcp://[::1]:0", count=2) as it:
        assert fetch(it).endswith(FILES["data.json"])
        assert it.urls[1].startswith("http://[::1]:")


def test_an_ipv6_address_to_bind_may_have_its_brackets(site: str) -> None:
    for host in ("::1", "[::1]"):
        with serving(site, "--port", "0", "--bind", host) as served:
            assert served.url.startswith("http://[::1]:")


def test_a_file_of_flags_that_is_no_text_names_its_line(
    site: str, tmp_path: Path, process_settings: None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"/old /new\n/caf\xe9 /new\n")
    for flag in ("--redirects-file", "--auth"):
        assert status(main, [site, flag, str(file)]) == 2
        said = capsys.readouterr().err
        assert f"{file}:2: not UTF-8" in said
        assert said.count("\n") == 1


CONFIG = """
directory = "site"
addresses = ["tcp://127.0.0.1:0"]
no-server-name = true
listing = true
max-body = 10
keep-alive = 1.5
index = ["index.html", "index.htm"]
cache = { "*.css" = "max-age=60" }
header = { "/*" = ["X-A: 1", "X-B: 2"], "*.txt" = "X-C: 3" }
error-page = { 404 = "/404.html" }

[host."b.example"]
directory = "other"
listing = false
media-type = { ".foo" = "text/x-foo" }
"""


def test_a_file_of_options(tmp_path: Path) -> None:
    make_site(tmp_path / "site")
    (tmp_path / "site/404.html").write_text("own 404")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/z.foo").write_text("other")
    (tmp_path / "other/sub").mkdir()
    (tmp_path / "third").mkdir()
    (tmp_path / "third/t.txt").write_text("third")
    config = tmp_path / "evio.toml"
    config.write_text(CONFIG)
    with serving(
        "--config", str(config), "--host", f"c.example={tmp_path}/third", "--cache", "*.mjs=no-store"
    ) as served:
        own = fetch(served, "/text.txt")
        assert b"X-A: 1" in own
        assert b"X-B: 2" in own
        assert b"X-C: 3" in own
        assert b"Server:" not in own
        assert b"max-age" not in fetch(served, "/style.css")  # the flag is instead of what the file has
        assert b"no-store" in fetch(served, "/app.mjs")
        assert b"Index of" in fetch(served, "/plain/")
        assert fetch(served, "/none").endswith(b"own 404")
        with connect(("127.0.0.1", served.port)) as sock:
            sock.sendall(b"GET /z.foo HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n")
            other = receive_all(sock)
        assert b"Content-Type: text/x-foo" in other
        assert b"X-A: 1" in other
        with connect(("127.0.0.1", served.port)) as sock:
            sock.sendall(b"GET /sub/ HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n")
            assert b" 403 " in receive_all(sock)
        with connect(("127.0.0.1", served.port)) as sock:
            sock.sendall(b"GET /t.txt HTTP/1.1\r\nHost: c.example\r\nConnection: close\r\n\r\n")
            assert receive_all(sock).endswith(b"third")


@each_row(
    ("text", "message"),
    [
        ("listing = 1", "listing: true or false, not 1"),
        ("lisitng = true", "lisitng is no option; did you mean listing?"),
        ("config = 'x'", "config is no option"),
        ("zzzz = 1", "zzzz is no option: they are those of evio-http --help, without --"),
        ("port = 70000", "port: '70000' is not a port: a number from 0 to 65535"),
        ("port = [1, 2]", "port: one value, not several"),
        ("max-body = true", "max-body: text or a number, not True"),
        ("etag = 'size'", "etag: one of stat, content, off, not 'size'"),
        ("spa = 'x'", "spa: 'x' is not a path of a request"),
        ("cache = ['*.css']", "cache: '*.css' has no = between two parts"),
        ("a = \n", "evio.toml:1: Invalid value"),
        ("[host]\nx = 1", 'a host is a table, as in [host."www.example.org"]'),
        ("[host.x]\nlisting = true", "host.x has no directory"),
        ("[host.x]\ndirectory = '.'\nmax-body = 5", "host.x.max-body is an option of the whole server"),
        ("[host.x]\ndirectory = '.'\nlisten = true", "host.x.listen is no option; did you mean listing?"),
        ("directory = 'none'", "/none: No such file or directory"),
        ("auth = 'none'", "/none: No such file or directory"),
        ("header = {'/*' = 'x'}", "a field is Name: value, unlike 'x'"),
    ],
)
def test_a_bad_file_of_options_is_one_line_and_status_2(
    tmp_path: Path, text: str, message: str, process_settings: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "evio.toml").write_text(text)
    assert status(main, ["--check", "--config", str(tmp_path / "evio.toml")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("evio-http: ")
    assert said.count("\n") == 1
    assert message in said


def test_a_file_of_options_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    assert run("--config", str(tmp_path / "none"))[2] == f"evio-http: {tmp_path}/none: No such file or directory\n"
    (tmp_path / "evio.toml").write_bytes(b"\xff")
    assert "not UTF-8" in run("--config", str(tmp_path / "evio.toml"))[2]


def test_check_looks_at_everything_and_listens_nowhere(run: Run, site: str, tmp_path: Path) -> None:
    _, cert, key = issue(tmp_path, "a.example")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tls://127.0.0.1:{taken.getsockname()[1]}"
        flags = ["--check", site, address, "--tls-cert", str(cert), "--tls-key", str(key)]
        assert run(*flags) == (0, "", "evio-http: all of it would work\n")
        key.write_text("broken")
        ended, _, error = run(*flags)
        assert (ended, error.count("\n")) == (2, 1)
        assert f"cannot load certificate {cert} with key {key}: no certificate, or no key, in PEM form\n" in error


def test_files_of_rules(run: Run, site: str, tmp_path: Path) -> None:
    root = Path(site)
    (root / "_headers").write_text("/*\n  X-Own: yes\n")
    (root / "_redirects").write_text("/app/* /index.html 200\n/moved /text.txt\n")
    with serving(site, "--port", "0") as served:  # only when asked for
        assert b"X-Own" not in fetch(served, "/text.txt")
        assert fetch(served, "/_redirects").endswith(b"/text.txt\n")
    with serving(site, "--port", "0", "--site-files", "--header", "*.json=X-Own: flag") as served:
        assert b"X-Own: yes" in fetch(served, "/text.txt")
        assert b"X-Own: flag" in fetch(served, "/data.json")
        assert fetch(served, "/app/x").endswith(FILES["index.html"])
        assert b"Location: /text.txt" in fetch(served, "/moved")
        assert b" 404 " in fetch(served, "/_headers")
        assert b" 404 " in fetch(served, "/_redirects")
    (tmp_path / "elsewhere").write_text("/moved /elsewhere\n")
    flags = ["--site-files", "--redirects-file", str(tmp_path / "elsewhere")]
    with serving(site, "--port", "0", *flags) as served:
        assert b"Location: /elsewhere" in fetch(served, "/moved")
        assert b"X-Own: yes" in fetch(served, "/text.txt")
    (root / "_headers").write_text("a/x\n")
    assert run("--check", site, "--site-files")[2].startswith(f"evio-http: {site}/_headers:1: ")


def test_an_address_in_use_is_one_line_and_status_1(site: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = run_program(site, "--port", str(other.getsockname()[1]))
    assert done.returncode == 1
    assert done.stderr.startswith("evio-http: cannot listen on tcp://127.0.0.1:")
    assert done.stderr.count("\n") == 1


def test_options_of_a_site_are_options() -> None:
    assert {action.dest for action in make_parser()._actions} >= OF_A_SITE


def test_the_readme_has_every_flag() -> None:
    readme = (Path(__file__).parents[2] / "packages/evio-http/README.md").read_text()
    missing = [
        action.option_strings[-1]
        for action in make_parser()._actions
        if action.option_strings and f"| `{action.option_strings[-1]}" not in readme
    ]
    assert missing == ["--help", "--version"]


def test_help_teaches_and_version(run: Run) -> None:
    text = run("--help")[1]
    assert "examples:" in text
    assert "SIGHUP" in text
    assert run("--version") == (0, "evio-http 0.1.0\n", "")


# -- running


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_it_serves_even_if_it_cannot_print_where(site: str, tmp_path: Path) -> None:
    address = tmp_path / "s"
    command = [sys.executable, "-m", "evio_http", site, f"unix://{address}"]
    with (
        open("/dev/full", "wb") as full,
        popen.Popen(command, stdout=full, stderr=subprocess.PIPE, text=True) as process,
    ):
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert line.endswith(" WARNING cannot print where it listens: No space left on device\n")
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(TIMEOUT)
                sock.connect(str(address))
                assert exchange(sock, "/data.json").endswith(FILES["data.json"])
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0
            assert process.stderr.read().endswith(" INFO stopped\n")
        finally:
            process.kill()


@pytest.mark.parametrize(
    "flags", [["--loops", "2"], ["--workers", "2"], *([[], ["--reuseport", "--loops", "2"]] if FULL else [])]
)
def test_it_serves_and_ends_in_good_order(site: str, flags: list[str]) -> None:
    with serving(site, "--port", "0", *flags) as served:
        for _ in range(4):
            assert fetch(served).endswith(FILES["data.json"])
        assert served.stop() == 0
    assert [line.split(" ", 2)[2] for line in served.said] == ["INFO stopped\n"]


@pytest.mark.parametrize("workers", [0, 2] if FULL else [2])
def test_the_access_log_is_complete_when_the_server_has_stopped(site: str, tmp_path: Path, workers: int) -> None:
    log = tmp_path / "log"
    with serving(site, "--port", "0", "--workers", str(workers), "--access-log", str(log)) as served:
        for number in range(20):
            fetch(served, f"/data.json?{number}")
        assert served.stop() == 0
    assert sorted(int(line.split()[6].partition("?")[2]) for line in log.read_text().splitlines()) == list(range(20))


def test_several_addresses_and_hosts(site: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "data.json").write_bytes(b"other")
    path = tmp_path / "socket"
    with serving(site, "tcp://127.0.0.1:0", f"unix://{path}", "--host", f"other.example={other}", count=2) as served:
        assert fetch(served).endswith(FILES["data.json"])
        with connect(str(path)) as sock:
            sock.sendall(b"GET /data.json HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n")
            assert receive_all(sock).endswith(b"\r\n\r\nother")


def test_flags_reach_the_site(site: str, tmp_path: Path) -> None:
    (tmp_path / "redirects").write_text("/old /new 308\n")
    flags = [
        "--no-server-name",
        "--spa",
        "/index.html",
        "--health",
        "/up",
        "--redirects-file",
        str(tmp_path / "redirects"),
    ]
    flags += ["--cache", "*.json=no-cache", "--header", "/*=X-A: b", "--security-headers", "--cors", "*"]
    flags += ["--index", "none.html", "--index", "index.html", "--error-page", "404=/about.html", "--dotfiles"]
    with serving(site, "--port", "0", *flags) as served:
        answer = fetch(served)
        for line in (
            b"Cache-Control: no-cache",
            b"X-A: b",
            b"X-Frame-Options: DENY",
            b"Access-Control-Allow-Origin: *",
        ):
            assert b"\r\n" + line + b"\r\n" in answer
        assert b"\r\nServer:" not in answer
        assert fetch(served, "/").endswith(FILES["index.html"])
        assert fetch(served, "/some/route").endswith(FILES["index.html"])
        assert fetch(served, "/missing.js").endswith(FILES["about.html"])
        assert fetch(served, "/up").endswith(b"ok\n")
        assert fetch(served, "/.env").endswith(FILES[".env"])
        assert b"\r\nLocation: /new\r\n" in fetch(served, "/old")


def test_who_may_come_in_and_how_often(site: str) -> None:
    with serving(site, "--port", "0", "--rate", "1/h", "--rate-burst", "2", "--deny", "10.0.0.0/8") as served:
        assert [fetch(served).split()[1] for _ in range(3)] == [b"200", b"200", b"429"]
    with serving(site, "--port", "0", "--allow", "10.0.0.0/8") as served, connect(("127.0.0.1", served.port)) as sock:
        assert receive_all(sock).split()[1] == b"403"


def test_limits(site: str) -> None:
    with serving(site, "--port", "0", "--max-body", "5", "--max-fields", "3", "--header-timeout", "0.2") as served:
        assert fetch(served, "/", "Content-Length: 6").startswith(b"HTTP/1.1 413")
        assert fetch(served, "/", "A: 1", "B: 2").startswith(b"HTTP/1.1 431")
        with connect(("127.0.0.1", served.port)) as sock:
            sock.sendall(b"GET")
            assert sock.recv(1) == b""


@pytest.mark.parametrize(
    ("form", "number"),
    [("combined", signal.SIGUSR1), *([("common", signal.SIGHUP), ("json", None)] if FULL else [])],
)
def test_access_log_and_its_rotation(site: str, tmp_path: Path, form: str, number: signal.Signals | None) -> None:
    """Without a signal it is noticed by itself, within a second."""
    log = tmp_path / "log"
    flags = ["--access-log", str(log), "--log-format", form, "--trust", "127.0.0.1"]
    with serving(site, "--port", "0", *flags) as served:
        fetch(served, "/data.json?a", "User-Agent: x\ty", "X-Forwarded-For: 203.0.113.9")
        wait_for_line(log, "/data.json?a")
        log.rename(tmp_path / "old")
        if number is not None:
            served.process.send_signal(number)
        deadline = time.monotonic() + TIMEOUT
        while not log.exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        fetch(served, "/none")
        assert served.stop() == 0
    first, second = (tmp_path / "old").read_text(), log.read_text()
    assert (first.count("\n"), second.count("\n")) == (1, 1)
    assert "203.0.113.9" in first
    if form == "json":
        assert (json.loads(first)["status"], json.loads(second)["status"]) == (200, 404)
        assert json.loads(first)["user_agent"] == "x\ty"


def wait_for_line(path: Path, text: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < deadline, "no line in the access log"
        time.sleep(0.01)


def test_a_file_is_logged_when_it_has_left_and_with_what_has_left(site: str, tmp_path: Path) -> None:
    size = 32 * 1024 * 1024
    with open(Path(site) / "large.bin", "wb") as file:
        file.truncate(size)
    log = tmp_path / "log"
    flags = ["--access-log", str(log), "--log-format", "json"]
    with serving(site, "--port", "0", *flags) as served:
        for _ in range(2):  # the second from a file held open
            with connect(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\nGET /data.json HTTP/1.1\r\nHost: x\r\n\r\n")
                assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        with connect(("127.0.0.1", served.port)) as sock:
            sock.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            time.sleep(0.3)  # it is sent while this passes, and not only begun
            while sock.recv(1 << 20):
                pass
        assert served.stop() == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    large = [line for line in lines if line["target"] == "/large.bin"]
    assert [line["bytes"] < size for line in large] == [True, True, False]
    assert large[2]["bytes"] == size
    assert large[2]["seconds"] >= 0.3


@pytest.mark.parametrize("flags", [["--workers", "1"], *([[]] if FULL else [])])
def test_an_answer_that_is_under_way_has_the_time_that_the_flag_says(site: str, flags: list[str]) -> None:
    size = 32 << 20
    with open(Path(site) / "large.bin", "wb") as file:
        file.truncate(size)
    for seconds, whole in (("20", True), ("0.2", False)):
        with serving(site, "--port", "0", "--shutdown-timeout", seconds, *flags) as served:
            with connect(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = sock.recv(100)
                served.process.terminate()
                if not whole:
                    served.process.wait(TIMEOUT)
                received = len(answer) + len(receive_all(sock))
                assert (received > size) is whole
            assert served.process.wait(TIMEOUT) == 0


def test_every_answer_from_memory_is_logged(site: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(site, "--port", "0", "--access-log", str(log)) as served:
        with connect(("127.0.0.1", served.port)) as sock:
            for _ in range(20):
                sock.sendall(b"GET /data.json HTTP/1.1\r\nHost: a\r\n\r\n")
                assert sock.recv(65536).endswith(FILES["data.json"])
        assert served.stop() == 0
    assert log.read_text().count('"GET /data.json HTTP/1.1" 200 15 ') == 20


def test_metrics(site: str) -> None:
    with serving(site, "--port", "0", "--metrics", "/metrics") as served:
        for _ in range(3):
            fetch(served)
        text = fetch(served, "/metrics").decode()
    assert 'evio_http_responses_total{method="GET",status="200"} 3.0' in text
    assert "evio_http_content_bytes_total 45.0" in text
    assert "evio_http_connections 1.0" in text


def test_workers_are_replaced_on_sighup_without_a_refusal(site: str) -> None:
    with serving(site, "--port", "0", "--workers", "2") as served:
        for round_ in range(30):
            assert fetch(served).endswith(FILES["data.json"])
            if round_ == 10:
                served.process.send_signal(signal.SIGHUP)
        assert served.stop() == 0


@pytest.mark.parametrize("tls", [True, *([False] if FULL else [])], ids=["https", "http"][: 1 + FULL])
def test_a_client_that_keeps_its_connection_is_told_when_its_worker_is_replaced(
    site: str, tmp_path: Path, tls: bool
) -> None:
    authority, cert, key = issue(tmp_path, "localhost")
    flags = ["--tls-cert", str(cert), "--tls-key", str(key)] if tls else []
    with serving(site, "--port", "0", "--workers", "1", *flags) as served:
        for _ in range(2):
            with over_tls(served, authority) if tls else connect(("127.0.0.1", served.port)) as sock:
                told, asked, deadline = False, 0, time.monotonic() + TIMEOUT
                while not told:
                    assert time.monotonic() < deadline, "not told"
                    sock.sendall(b"GET /data.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    answer = sock.recv(65536)
                    assert answer.endswith(FILES["data.json"])
                    told = b"\r\nConnection: close\r\n" in answer
                    asked += 1
                    if asked == 2:  # answers come from memory now
                        served.process.send_signal(signal.SIGHUP)
                assert sock.recv(1) == b""
        assert served.stop() == 0
    assert [line.split(" ", 2)[2] for line in served.said] == ["INFO stopped\n"]


def test_proxy_protocol(site: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(site, "--port", "0", "--proxy-protocol", "--access-log", str(log)) as served:
        with connect(("127.0.0.1", served.port)) as sock:
            sock.sendall(b"PROXY TCP4 203.0.113.9 192.0.2.1 5 80\r\n")
            assert exchange(sock, "/data.json").endswith(FILES["data.json"])
        assert served.stop() == 0
    assert log.read_text().startswith("203.0.113.9 ")


def test_proxy_protocol_of_whom_nobody_trusts(site: str, tmp_path: Path) -> None:
    with serving(site, "--port", "0", "--proxy-protocol", "--trust", "192.0.2.0/24", "--trust", "unix") as served:
        with connect(("127.0.0.1", served.port)) as sock, contextlib.suppress(ConnectionError):
            sock.sendall(b"PROXY TCP4 203.0.113.9 192.0.2.1 5 80\r\n")
            assert exchange(sock, "/data.json") == b""


@pytest.mark.parametrize("flags", [[], ["--trust", "unix"]], ids=["not trusted", "trusted"])
def test_forwarded_for_over_a_unix_socket(site: str, tmp_path: Path, flags: list[str]) -> None:
    log, path = tmp_path / "log", tmp_path / "socket"
    with serving(site, f"unix://{path}", "--access-log", str(log), *flags) as served:
        with connect(str(path)) as sock:
            exchange(sock, "/data.json", "X-Forwarded-For: 203.0.113.9")
        assert served.stop() == 0
    assert log.read_text().startswith("203.0.113.9 " if flags else "unix: ")


def test_a_log_that_cannot_be_reopened_does_not_keep_certificates_from_being_read(site: str, tmp_path: Path) -> None:
    _, cert, key = issue(tmp_path, "localhost")
    (tmp_path / "logs").mkdir()
    flags = ["--tls-cert", str(cert), "--tls-key", str(key), "--access-log", str(tmp_path / "logs" / "log")]
    with serving(site, "--port", "0", *flags) as served:
        (tmp_path / "logs" / "log").unlink()
        (tmp_path / "logs").rmdir()
        cert.write_bytes(b"junk")
        served.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + TIMEOUT
        while len(served.said) < 2:
            assert time.monotonic() < deadline, served.said
            time.sleep(0.01)
    assert "logs/log: No such file or directory; what is in use stays" in served.said[0]
    assert "cannot load certificate" in served.said[1]


def test_socket_activation(site: str) -> None:
    code = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        environment = dict(os.environ, LISTEN_FDS="1")
        command = [
            sys.executable,
            "-c",
            code,
            str(listener.fileno()),
            sys.executable,
            "-m",
            "evio_http",
            site,
            "systemd://",
        ]
        process = subprocess.Popen(
            command, env=environment, pass_fds=(listener.fileno(), 3), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            with connect(listener.getsockname()) as sock:
                assert exchange(sock, "/data.json").endswith(FILES["data.json"])
        finally:
            process.terminate()
            process.communicate(timeout=TIMEOUT)


# -- TLS


def test_https_with_sni_alpn_hsts_and_a_redirect(site: str, tmp_path: Path) -> None:
    first_ca, first_cert, first_key = issue(tmp_path, "localhost")
    second_ca, second_cert, second_key = issue(tmp_path, "other.example")
    flags = ["--tls-cert", str(first_cert), "--tls-key", str(first_key), "--hsts", "300", "--https-redirect", "8443"]
    flags += ["--tls-cert", str(second_cert), "--tls-key", str(second_key)]
    with serving(site, "tls://127.0.0.1:0", "tcp://127.0.0.1:0", *flags, count=2) as served:
        assert [url.partition(":")[0] for url in served.urls] == ["https", "http"]
        for authority, name in ((first_ca, "localhost"), (second_ca, "other.example")):
            with over_tls(served, authority, name) as sock:
                assert sock.selected_alpn_protocol() == "http/1.1"  # of those that it offers here
                answer = exchange(sock, "/data.json")
                assert answer.endswith(FILES["data.json"])
                assert b"Strict-Transport-Security: max-age=300" in answer
        challenge = fetch(served, "/.well-known/acme-challenge/none", number=1)
        assert challenge.startswith(b"HTTP/1.1 404 ")
        for escape in (
            "/.well-known/acme-challenge/../../data.json",
            "/.well-known/acme-challenge/%2e%2e/%2E./data.json",
        ):
            assert fetch(served, escape, number=1).startswith(b"HTTP/1.1 301 ")
        moved = fetch(served, "/x?y", number=1)
        assert moved.startswith(b"HTTP/1.1 301 ")
        assert b"\r\nLocation: https://localhost:8443/x?y\r\n" in moved


def test_client_certificates(site: str, tmp_path: Path) -> None:
    authority, cert, key = issue(tmp_path, "localhost")
    clients = trustme.CA()
    clients.cert_pem.write_to_path(str(tmp_path / "clients.pem"))
    write_pair(clients.issue_cert("me@example.org"), tmp_path / "me.pem", tmp_path / "me.key")
    flags = ["--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(tmp_path / "clients.pem")]
    with serving(site, "--port", "0", *flags) as served:
        mine = {"cert": str(tmp_path / "me.pem"), "key": str(tmp_path / "me.key")}
        with over_tls(served, authority, **mine) as sock:
            assert exchange(sock, "/data.json").endswith(FILES["data.json"])
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with over_tls(served, authority) as sock:
                exchange(sock, "/data.json")


def test_flags_of_tls_are_for_inherited_sockets_with_a_certificate_too(site: str) -> None:
    addresses = ["systemd://a?cert=c&key=k", "fd://7", "fd://8?cert=c&alpn=x&client_ca=y", "systemd://plain"]
    setup = Setup(parse_arguments([site, *addresses, "--tls-client-ca", "ca"]))
    assert setup.addresses == [
        "systemd://a?cert=c&key=k&client_ca=ca&alpn=h2,http/1.1,http/1.0",
        "fd://7",
        "fd://8?cert=c&client_ca=y&alpn=x",
        "systemd://plain",
    ]
    setup.close()


def test_certificates_are_renewed_and_bad_ones_are_not_taken(site: str, tmp_path: Path) -> None:
    old, cert, key = issue(tmp_path, "localhost")
    new = trustme.CA()
    with serving(site, "--port", "0", "--tls-cert", str(cert), "--tls-key", str(key)) as served:
        with over_tls(served, old) as sock:
            assert exchange(sock, "/data.json").endswith(FILES["data.json"])
        good = cert.read_bytes()
        cert.write_bytes(b"junk")
        served.process.send_signal(signal.SIGHUP)
        with over_tls(served, old) as sock:
            assert exchange(sock, "/data.json").endswith(FILES["data.json"])
        cert.write_bytes(good)
        write_pair(new.issue_cert("localhost"), cert, key)
        with over_tls(served, new) as sock:
            assert exchange(sock, "/data.json").endswith(FILES["data.json"])
        assert served.stop() == 0
    assert any("in use stay" in line for line in served.said)


def test_certificates_swapped_under_load_cost_no_connection(site: str, tmp_path: Path) -> None:
    authority, cert, key = issue(tmp_path, "localhost")
    stopped, answers, failures = threading.Event(), [0] * 4, []
    with serving(site, "--port", "0", "--tls-cert", str(cert), "--tls-key", str(key)) as served:

        def ask(number: int) -> None:
            try:
                while not stopped.is_set():
                    with over_tls(served, authority) as sock:
                        assert exchange(sock, "/data.json").endswith(FILES["data.json"])
                        answers[number] += 1
            except Exception as error:
                failures.append(error)

        clients = [threading.Thread(target=ask, args=(number,)) for number in range(len(answers))]
        for client in clients:
            client.start()
        serials = set()
        for _ in range(5):
            write_pair(authority.issue_cert("localhost"), cert, key)
            served.process.send_signal(signal.SIGHUP)
            seen, wanted = sum(answers), sum(answers) + 15
            while sum(answers) < wanted and not failures:
                with over_tls(served, authority) as sock:
                    shown = sock.getpeercert()
                    assert shown is not None
                    serials.add(shown["serialNumber"])
            assert sum(answers) > seen
        stopped.set()
        for client in clients:
            client.join(TIMEOUT)
        assert not failures
        assert len(serials) >= 5
        assert served.stop() == 0


def test_self_signed(site: str) -> None:
    command = [sys.executable, "-m", "evio_http", site, "--port", "0", "--tls-self-signed"]
    with popen.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url, trusted = process.stdout.readline().split()[-1], process.stdout.readline().split()[-1]
            context = ssl.create_default_context(cafile=trusted)
            port = int(url.rstrip("/").rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as sock:
                with context.wrap_socket(sock, server_hostname="localhost") as secure:
                    assert exchange(secure, "/data.json").endswith(FILES["data.json"])
        finally:
            process.terminate()
        assert process.wait(TIMEOUT) == 0
    assert not Path(trusted).exists()
