"""The clients that people use, against a server in a process of its own, over HTTP and HTTPS."""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import http.client
import os
import ssl
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.core.harness import TIMEOUT, needs
from tests.extent import examples

from .serving import BLOB, FILES, TEXT, Served, make_site, serving


@dataclass
class Answer:
    """A response as a client read it; ``content`` is decoded."""

    status: int
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)


Fetch = Callable[..., Answer]
"""``fetch(path, method="GET", headers={...}, content=None)``; redirects are not followed."""


@dataclass
class Place:
    """A site as it is served over one scheme."""

    directory: Path
    served: Served
    url: str
    ca: str


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """A certificate for localhost: paths of its chain, its key, and the authority."""
    directory = tmp_path_factory.mktemp("authority")
    made = trustme.CA()
    issued = made.issue_cert("localhost", "127.0.0.1")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(directory / "cert.pem"), append=True)
    issued.private_key_pem.write_to_path(str(directory / "key.pem"))
    made.cert_pem.write_to_path(str(directory / "ca.pem"))
    return str(directory / "cert.pem"), str(directory / "key.pem"), str(directory / "ca.pem")


@pytest.fixture(scope="module", params=["http", "https"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: tuple[str, str, str]
) -> Iterator[Place]:
    directory = make_site(tmp_path_factory.mktemp("site"))
    cert, key, ca = authority
    tls = ["--tls-cert", cert, "--tls-key", key] if request.param == "https" else []
    with serving(str(directory), "--port", "0", "--listing", *tls) as served:
        yield Place(directory, served, f"{request.param}://localhost:{served.port}", ca)
        assert served.stop() == 0, served.said


def with_httpx(place: Place) -> Iterator[Fetch]:
    httpx = pytest.importorskip("httpx")
    # Over HTTPS it speaks HTTP/2, and so does curl.
    context = ssl.create_default_context(cafile=place.ca)
    with httpx.Client(base_url=place.url, verify=context, http2=True) as client:

        def fetch(path: str, method: str = "GET", headers: Any = None, content: bytes | None = None) -> Answer:
            response = client.request(method, path, headers=headers, content=content)
            version = "HTTP/2" if place.url.startswith("https") else "HTTP/1.1"
            assert response.http_version == version
            return Answer(response.status_code, response.content, dict(response.headers))

        yield fetch


def with_requests(place: Place) -> Iterator[Fetch]:
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        session.verify = place.ca
        session.trust_env = False  # or REQUESTS_CA_BUNDLE would count instead

        def fetch(path: str, method: str = "GET", headers: Any = None, content: bytes | None = None) -> Answer:
            response = session.request(
                method, place.url + path, headers=headers, data=content, timeout=TIMEOUT, allow_redirects=False
            )
            return Answer(response.status_code, response.content, {k.lower(): v for k, v in response.headers.items()})

        yield fetch


def with_urllib3(place: Place) -> Iterator[Fetch]:
    urllib3 = pytest.importorskip("urllib3")
    with urllib3.PoolManager(ca_certs=place.ca) as pool:

        def fetch(path: str, method: str = "GET", headers: Any = None, content: bytes | None = None) -> Answer:
            response = pool.request(
                method, place.url + path, headers=headers, body=content, redirect=False, retries=False, timeout=TIMEOUT
            )
            return Answer(response.status, response.data, {k.lower(): v for k, v in response.headers.items()})

        yield fetch
        manager = pool.connection_from_url(place.url)
        assert manager.num_connections == 1, "a connection was not used again"


def with_http_client(place: Place) -> Iterator[Fetch]:
    port = place.served.port
    connection: http.client.HTTPConnection = http.client.HTTPConnection("localhost", port, timeout=TIMEOUT)
    if place.url.startswith("https"):
        context = ssl.create_default_context(cafile=place.ca)
        connection = http.client.HTTPSConnection("localhost", port, timeout=TIMEOUT, context=context)

    def fetch(path: str, method: str = "GET", headers: Any = None, content: bytes | None = None) -> Answer:
        connection.request(method, path, content, headers or {})
        response = connection.getresponse()
        body, fields = response.read(), {k.lower(): v for k, v in response.getheaders()}
        if fields.get("content-encoding") == "gzip" and body:
            body = gzip.decompress(body)
        return Answer(response.status, body, fields)

    yield fetch
    connection.close()


def curl(place: Place, *arguments: str, expect: int = 0) -> bytes:
    """Run curl; its output."""
    done = subprocess.run(
        [needs("curl"), "--silent", "--show-error", "--max-time", "20", "--cacert", place.ca, *arguments],
        capture_output=True,
        timeout=TIMEOUT + 10,
        check=False,
    )
    assert done.returncode == expect, done.stderr
    return done.stdout


def with_curl(place: Place) -> Iterator[Fetch]:
    def fetch(path: str, method: str = "GET", headers: Any = None, content: bytes | None = None) -> Answer:
        arguments = ["--include", "--path-as-is", place.url + path]
        arguments += ["--head"] if method == "HEAD" else ["--request", method]
        for name, value in (headers or {}).items():
            arguments += ["--header", f"{name}: {value}"]
        if content is not None:
            arguments += ["--data-binary", content.decode()]
        head, _, body = curl(place, *arguments).partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if fields.get("content-encoding") == "gzip" and body:
            body = gzip.decompress(body)
        return Answer(int(status.split()[1]), body, fields)

    yield fetch


CLIENTS = {
    "httpx": with_httpx,
    "requests": with_requests,
    "urllib3": with_urllib3,
    "http.client": with_http_client,
    "curl": with_curl,
}


@pytest.fixture(params=sorted(CLIENTS))
def fetch(request: pytest.FixtureRequest, place: Place) -> Iterator[Fetch]:
    yield from CLIENTS[request.param](place)


# What every client sees


def test_files_come_as_they_are(fetch: Fetch) -> None:
    for path, name, media_type in (
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/style.css", "style.css", "text/css; charset=utf-8"),
        ("/app.mjs", "app.mjs", "text/javascript; charset=utf-8"),
        ("/data.json", "data.json", "application/json"),
        ("/empty.txt", "empty.txt", "text/plain; charset=utf-8"),
        ("/sub/", "sub/index.html", "text/html; charset=utf-8"),
        ("/sp%20ace/%C3%BC.txt", "sp ace/\u00fc.txt", "text/plain; charset=utf-8"),
        ("/.well-known/security.txt", ".well-known/security.txt", "text/plain; charset=utf-8"),
    ):
        answer = fetch(path)
        assert (answer.status, answer.content) == (200, FILES[name]), path
        assert answer.headers["content-type"] == media_type
        assert answer.headers["content-length"] == str(len(FILES[name]))


def test_a_large_file_comes_whole(fetch: Fetch) -> None:
    answer = fetch("/blob.bin")
    assert answer.status == 200
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(BLOB).digest()


def test_head_has_the_fields_and_no_content(fetch: Fetch) -> None:
    head, get = fetch("/blob.bin", "HEAD"), fetch("/blob.bin")
    assert (head.status, head.content) == (200, b"")
    differing = {name for name in head.headers if name != "date" and head.headers[name] != get.headers.get(name)}
    assert not differing
    assert fetch("/nothing", "HEAD").status == 404
    assert fetch("/data.json").content == FILES["data.json"]


def test_what_is_not_there_or_not_to_be_had(fetch: Fetch) -> None:
    for path in ("/nothing", "/.env", "/out/passwd", "/style.css/", "/style.css/x", "/sub/nothing"):
        answer = fetch(path)
        assert answer.status == 404, path
        assert path.encode() not in answer.content


def test_methods(fetch: Fetch) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = fetch("/data.json", method, content=b"x" * 1000)
        assert answer.status == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert fetch("/data.json", "BREW").status == 501
    options = fetch("/data.json", "OPTIONS")
    assert options.status in (200, 204)
    assert "GET" in options.headers["allow"]
    assert fetch("/data.json").content == FILES["data.json"]


def test_a_directory_redirects_and_keeps_the_query(fetch: Fetch) -> None:
    answer = fetch("/sub?a=1&b=%2F")
    assert answer.status in (301, 308)
    assert answer.headers["location"] == "/sub/?a=1&b=%2F"


def test_conditions(fetch: Fetch) -> None:
    first = fetch("/data.json")
    etag, modified = first.headers["etag"], first.headers["last-modified"]
    assert email.utils.parsedate_to_datetime(modified) is not None
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f'W/{etag}, "x"'}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Modified-Since": modified}, 304),
        ({"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
        ({"If-Match": etag}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412),
    ):
        answer = fetch("/data.json", headers=headers)
        assert answer.status == status, headers
        if status == 304:
            assert answer.content == b""
            assert answer.headers["etag"] == etag
        elif status == 200:
            assert answer.content == FILES["data.json"]


def test_ranges(fetch: Fetch) -> None:
    size = len(BLOB)
    for asked, part in (
        ("bytes=0-99", slice(0, 100)),
        ("bytes=2000000-", slice(2_000_000, size)),
        ("bytes=-10", slice(size - 10, size)),
        (f"bytes=100-{size * 2}", slice(100, size)),
    ):
        answer = fetch("/blob.bin", headers={"Range": asked, "Accept-Encoding": "identity"})
        assert answer.status == 206
        assert answer.content == BLOB[part]
        assert answer.headers["content-range"] == f"bytes {part.start}-{part.stop - 1}/{size}"
    answer = fetch("/blob.bin", headers={"Range": f"bytes={size}-"})
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{size}"
    assert fetch("/blob.bin", headers={"Range": "lines=1-2"}).status == 200


def test_several_ranges(fetch: Fetch) -> None:
    answer = fetch("/blob.bin", headers={"Range": "bytes=5-9,1000000-1000004", "Accept-Encoding": "identity"})
    assert answer.status == 206
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    parts = answer.content.split(b"--" + boundary.encode())[1:-1]
    assert [part.partition(b"\r\n\r\n")[2] for part in parts] == [
        BLOB[5:10] + b"\r\n",
        BLOB[1_000_000:1_000_005] + b"\r\n",
    ]


def test_a_range_of_what_has_changed_is_the_whole(fetch: Fetch) -> None:
    etag = fetch("/blob.bin").headers["etag"]
    assert fetch("/blob.bin", headers={"Range": "bytes=0-9", "If-Range": etag}).content == BLOB[:10]
    assert fetch("/blob.bin", headers={"Range": "bytes=0-9", "If-Range": '"x"'}).content == BLOB


def test_a_precompressed_sibling(fetch: Fetch) -> None:
    compressed = fetch("/text.txt", headers={"Accept-Encoding": "gzip"})
    plain = fetch("/text.txt", headers={"Accept-Encoding": "identity"})
    assert compressed.content == plain.content == TEXT
    assert compressed.headers["content-encoding"] == "gzip"
    assert compressed.headers["content-type"] == plain.headers["content-type"]
    assert int(compressed.headers["content-length"]) < len(TEXT) // 10
    assert "content-encoding" not in plain.headers
    assert "accept-encoding" in plain.headers["vary"].lower()
    assert "accept-encoding" in compressed.headers["vary"].lower()
    assert compressed.headers["etag"] != plain.headers["etag"]


def test_a_listing(fetch: Fetch) -> None:
    page = fetch("/plain/")
    assert page.status == 200
    assert b'href="./a.txt"' in page.content
    assert "script" not in page.headers["content-security-policy"]
    listed = fetch("/plain/", headers={"Accept": "application/json"})
    assert b'"a.txt"' in listed.content


def test_malformed_paths(fetch: Fetch, request: pytest.FixtureRequest) -> None:
    # Some clients resolve or encode these themselves; whatever they send, nothing outside comes back.
    for path in ("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "/%00", "/%ff", "/%5c"):
        answer = fetch(path)
        assert answer.status in (400, 404), path
        assert b"root:" not in answer.content
    assert fetch("/data.json").status == 200


def test_a_changed_file_is_never_stale(fetch: Fetch, place: Place) -> None:
    path = place.directory / "changing.txt"
    for number in range(examples(30)):
        content = b"%03d" % number
        if number % 3 == 0:
            path.write_bytes(content)
        elif number % 3 == 1:
            path.with_name("changing.new").write_bytes(content)
            os.replace(path.with_name("changing.new"), path)
        else:
            path.unlink()
            assert fetch("/changing.txt").status == 404
            path.write_bytes(content)
        assert fetch("/changing.txt").content == content
        assert fetch("/changing.txt").content == content


# What only one of them can do


def test_curl_resumes_a_download(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "blob"
    target.write_bytes(BLOB[:1_000_000])
    curl(place, "--continue-at", "-", "--output", str(target), place.url + "/blob.bin")
    assert target.read_bytes() == BLOB


def test_curl_downloads_only_what_is_newer(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "data.json"
    url = place.url + "/data.json"
    curl(place, "--remote-time", "--output", str(target), url)
    status = curl(place, "--time-cond", str(target), "--output", os.devnull, "--write-out", "%{http_code}", url)
    assert status == b"304"
    etag = tmp_path / "etag"
    curl(place, "--etag-save", str(etag), "--output", os.devnull, url)
    status = curl(place, "--etag-compare", str(etag), "--output", os.devnull, "--write-out", "%{http_code}", url)
    assert status == b"304"


def test_curl_asks_for_everything_it_can_decode(place: Place) -> None:
    assert curl(place, "--compressed", place.url + "/text.txt") == TEXT


def test_curl_uses_one_connection(place: Place) -> None:
    urls = [place.url + path for path in ("/", "/nothing", "/data.json", "/sub/", "/empty.txt", "/blob.bin")]
    outputs = [word for url in urls for word in ("--output", os.devnull, url)]
    counts = curl(place, "--write-out", "%{num_connects}", *outputs)
    assert counts == b"100000"


def test_curl_speaks_1_0(place: Place) -> None:
    answer = curl(place, "--http1.0", "--include", place.url + "/data.json")
    assert answer.endswith(b"\r\n\r\n" + FILES["data.json"])
    assert b"transfer-encoding" not in answer.lower()
    kept = curl(
        place, "--http1.0", "--header", "Connection: keep-alive", "--write-out", "%{num_connects}",
        "--output", os.devnull, place.url + "/", "--output", os.devnull, place.url + "/",
    )  # fmt: skip
    assert kept == b"10"


def test_curl_offers_http_2(place: Place) -> None:
    # Over HTTP by Upgrade: h2c, which is not spoken; over HTTPS by ALPN.
    version = curl(place, "--http2", "--output", os.devnull, "--write-out", "%{http_version}", place.url + "/")
    assert version == (b"2" if place.url.startswith("https") else b"1.1")


def test_curl_is_told_at_once_that_nobody_wants_its_upload(place: Place, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(b"x" * 200_000)
    for chunked in ([], ["--header", "Transfer-Encoding: chunked"]):
        arguments = [
            "--http1.1",
            "--header",
            "Expect: 100-continue",
            *chunked,
            "--upload-file",
            str(upload),
            "--dump-header",
            "-",
        ]
        ending = ["--output", os.devnull, "--write-out", "%{num_connects}", place.url + "/data.json"]
        again = ["--next", "--http1.1", "--silent", "--cacert", place.ca]
        seen = curl(place, *arguments, *ending, *again, *ending)
        assert b"100 Continue" not in seen  # nobody wants it, which is said before it is sent
        assert b" 405 " in seen
        assert seen.endswith(b"11"), "the connection was used again, on which the upload might still come"


def test_curl_follows_redirects(place: Place) -> None:
    assert curl(place, "--location", place.url + "/sub?x=1") == FILES["sub/index.html"]


def test_many_at_once(place: Place) -> None:
    urllib3 = pytest.importorskip("urllib3")
    with urllib3.PoolManager(ca_certs=place.ca, maxsize=20, block=True) as pool, ThreadPoolExecutor(20) as threads:

        def get(number: int) -> bool:
            name = ("index.html", "blob.bin", "text.txt", "style.css")[number % 4]
            path = "/" if name == "index.html" else "/" + name
            response = pool.request("GET", place.url + path, retries=False, timeout=TIMEOUT)
            return bool(response.status == 200 and response.data == FILES[name])

        assert all(threads.map(get, range(200)))


def test_versions_of_tls(place: Place) -> None:
    if not place.url.startswith("https"):
        pytest.skip("for HTTPS")
    for arguments in (("--tlsv1.3",), ("--tlsv1.2", "--tls-max", "1.2")):
        assert curl(place, *arguments, place.url + "/data.json") == FILES["data.json"]
    # 35: the handshake failed.
    curl(place, "--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", place.url + "/", expect=35)


def test_http_on_the_port_of_https(place: Place) -> None:
    if not place.url.startswith("https"):
        pytest.skip("for HTTPS")
    connection = http.client.HTTPConnection("localhost", place.served.port, timeout=TIMEOUT)
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.status == 400
    assert b"HTTPS" in response.read()
    connection.close()


def test_curl_over_a_unix_socket(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    make_site(tmp_path / "site")
    path = tmp_path / "socket"
    with serving(str(tmp_path / "site"), f"unix://{path}"):
        content = subprocess.run(
            [needs("curl"), "--silent", "--unix-socket", str(path), "http://localhost/data.json"],
            capture_output=True,
            timeout=TIMEOUT,
            check=True,
        ).stdout
    assert content == FILES["data.json"]
