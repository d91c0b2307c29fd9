"""Compressing what handlers make."""

from __future__ import annotations

import importlib
import random
import zlib
from pathlib import Path

import pytest
import zstandard

from evio_http import Compressed, Deferred, Request, Response, Site, VirtualHosts
from evio_http.cli.arguments import parse_arguments
from evio_http.cli.sites import make_site
from evio_http.files.encodings import COMPRESS_AT_ONCE
from tests.tables import each_row

from .asking import Asked, ask, make_request

TEXT = b"All the world's a stage, and all the men and women merely players.\n" * 40
HTML = "text/html; charset=utf-8"
DECODE = {
    "gzip": lambda content: zlib.decompress(content, 31),
    "br": importlib.import_module("brotli").decompress,
    "zstd": lambda content: zstandard.ZstdDecompressor().decompress(content),
}


def asked(response: Response, *fields: str, method: str = "GET") -> Asked:
    return ask(Compressed(lambda request: response), "/", *fields, method=method)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_a_client_accepts_is_what_it_gets(coding: str, method: str) -> None:
    response = Response(404, [("Content-Type", HTML), ("Vary", "Origin"), ("X-A", "1")], TEXT)
    handler = Compressed(lambda request: response)
    for _ in range(2):  # a response that is given again is not compressed again
        got = ask(handler, "/", f"Accept-Encoding: identity;q=0.5, {coding}", method=method)
        assert (got.status, DECODE[coding](got.body)) == (404, TEXT)
        assert got.fields == {
            "content-type": HTML,
            "vary": "Origin, Accept-Encoding",
            "x-a": "1",
            "content-encoding": coding,
        }
    plain = ask(handler, "/", method=method)
    assert (plain.body, plain.fields["vary"]) == (TEXT, "Origin, Accept-Encoding")
    assert "content-encoding" not in plain.fields


@each_row(
    ("status", "fields", "body"),
    [
        (200, [("Content-Type", "image/png")], TEXT),
        (200, [], TEXT),
        (200, [("Content-Type", HTML)], TEXT[:1023]),
        (200, [("Content-Type", HTML), ("Content-Encoding", "gzip")], TEXT),
        (200, [("Content-Type", HTML), ("Cache-Control", "max-age=5, No-Transform")], TEXT),
        (200, [("Content-Type", HTML), ("Repr-Digest", "sha-256=:x:")], TEXT),
        (206, [("Content-Type", HTML), ("Content-Range", "bytes 0-2679/9999")], TEXT),
        (304, [("ETag", '"x"')], b""),
    ],
)
def test_what_is_left_as_it_is(status: int, fields: list[tuple[str, str]], body: bytes) -> None:
    got = asked(Response(status, fields, body), "Accept-Encoding: gzip, br")
    assert (got.status, got.body) == (status, body)
    assert got.fields == {name.lower(): value for name, value in fields}


def test_what_does_not_shrink_is_sent_as_it_is_and_varies() -> None:
    noise = random.Random(7).randbytes(2000)
    got = asked(Response(200, [("Content-Type", "text/plain"), ("ETag", '"x"')], noise), "Accept-Encoding: gzip")
    assert got.body == noise
    assert got.fields == {"content-type": "text/plain", "etag": '"x"', "vary": "Accept-Encoding"}


@pytest.mark.parametrize(("tag", "sent"), [('"x"', 'W/"x"'), ('W/"x"', 'W/"x"')])
def test_a_compressed_answer_has_a_weak_tag(tag: str, sent: str) -> None:
    response = Response(200, [("Content-Type", HTML), ("ETag", tag)], TEXT)
    assert asked(response, "Accept-Encoding: gzip").fields["etag"] == sent
    assert asked(response).fields["etag"] == tag


def test_304_has_the_fields_of_200() -> None:
    fields = asked(Response(304, [("ETag", '"x"')]), 'If-None-Match: "y", W/"x"', "Accept-Encoding: gzip").fields
    assert fields == {"etag": 'W/"x"', "vary": "Accept-Encoding"}


def test_what_takes_long_is_for_another_thread() -> None:
    large = TEXT * (COMPRESS_AT_ONCE // len(TEXT) + 1)
    handler = Compressed(lambda request: Response(200, [("Content-Type", HTML)], large))
    later = handler(make_request("/", "Accept-Encoding: gzip"))
    assert isinstance(later, Deferred)
    assert DECODE["gzip"](bytes(later.work().body)) == large  # type: ignore[arg-type]
    assert isinstance(handler(make_request("/")), Response)


def test_answers_that_come_later_and_none() -> None:
    def handler(request: Request) -> Deferred | None:
        if request.path != b"/later":
            return None
        return Deferred(lambda: Response(200, [("Content-Type", HTML)], TEXT), "key")

    compressed = Compressed(handler)
    later = compressed(make_request("/later", "Accept-Encoding: br"))
    assert isinstance(later, Deferred)
    assert later.key == "key"
    assert ask(compressed, "/later", "Accept-Encoding: br").fields["content-encoding"] == "br"
    assert compressed(make_request("/")) is None


def test_around_a_site(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_bytes(TEXT)
    for number in range(30):
        (tmp_path / f"{number}.bin").touch()
    site = Site(str(tmp_path), listing=True)
    compressed = Compressed(site)
    assert "content-encoding" not in ask(compressed, "/file.txt", "Accept-Encoding: gzip").fields
    listing = ask(compressed, "/", "Accept-Encoding: gzip")
    assert DECODE["gzip"](listing.body) == ask(site, "/").body
    assert listing.fields["vary"] == "Accept, Accept-Encoding"
    tag = listing.fields["etag"]
    assert tag.startswith('W/"')
    again = ask(compressed, "/", "Accept-Encoding: gzip", f"If-None-Match: {tag}")
    assert (again.status, again.fields["etag"], again.fields["vary"]) == (304, tag, "Accept, Accept-Encoding")
    missing = compressed(make_request("/none", "Accept-Encoding: gzip"))
    assert isinstance(missing, Response)
    assert missing.source is not None  # still given from memory
    assert missing.has("Content-Encoding")


def test_the_flag_is_for_listings(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    site = make_site(parse_arguments([str(tmp_path), "--compress", "--listing"]), None)
    assert ask(site, "/", "Accept-Encoding: gzip").fields["content-encoding"] == "gzip"


def test_requests_are_shared_by_those_who_share_them(tmp_path: Path) -> None:
    def own(request: Request) -> None:
        return None

    site = Site(str(tmp_path))
    assert [Compressed(site).shared_requests, Compressed(own).shared_requests] == [True, False]
    assert VirtualHosts({"a.example": Compressed(site)}, site).shared_requests
    assert not VirtualHosts({"a.example": own}, site).shared_requests
