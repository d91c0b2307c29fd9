"""Media types: what browsers insist on, and that the host has no say."""

from __future__ import annotations

import mimetypes

import pytest

from evio_http.files import media_types
from evio_http.files.media_types import MediaTypes, content_type, is_compressible
from tests.tables import each_row


@each_row(
    "name, expected",
    [
        ("index.html", "text/html; charset=utf-8"),
        ("INDEX.HTM", "text/html; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("app.js", "text/javascript; charset=utf-8"),
        ("app.mjs", "text/javascript; charset=utf-8"),
        ("app.min.js", "text/javascript; charset=utf-8"),
        ("app.js.map", "application/json"),
        ("a.wasm", "application/wasm"),
        ("a.json", "application/json"),
        ("site.webmanifest", "application/manifest+json"),
        ("a.svg", "image/svg+xml"),
        ("a.avif", "image/avif"),
        ("a.webp", "image/webp"),
        ("favicon.ico", "image/vnd.microsoft.icon"),
        ("a.woff2", "font/woff2"),
        ("a.mp4", "video/mp4"),
        ("a.webm", "video/webm"),
        ("a.m3u8", "application/vnd.apple.mpegurl"),
        ("segment1.ts", "video/mp2t"),
        ("a.vtt", "text/vtt; charset=utf-8"),
        ("feed.xml", "application/xml"),
        ("a.pdf", "application/pdf"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("README.md", "text/markdown; charset=utf-8"),
        ("a.tar.gz", "application/gzip"),
        ("a.tgz", "application/gzip"),
        ("café.txt", "text/plain; charset=utf-8"),
        ("a b.c.d.css", "text/css; charset=utf-8"),
        ("README", "application/octet-stream"),
        ("html", "application/octet-stream"),
        (".html", "application/octet-stream"),
        ("a.", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        ("a.html~", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_content_type(name: str, expected: str) -> None:
    assert content_type(name) == expected


def test_every_type_is_well_formed_and_every_extension_named_once() -> None:
    extensions = [word for line in media_types._TABLE.splitlines() for word in line.split()[1:]]
    assert len(extensions) == len(set(extensions)) > 150
    assert all(extension.isalnum() and extension == extension.lower() for extension in extensions)
    for line in filter(None, media_types._TABLE.splitlines()):
        top, slash, sub = line.split()[0].partition("/")
        assert top in {"text", "application", "image", "audio", "video", "font", "model"}
        assert slash
        assert sub.isascii()
        assert not set(sub) & set(" ;/,")


def test_the_host_has_no_say() -> None:
    mimetypes.add_type("text/x-surprise", ".html")
    try:
        assert content_type("a.html") == "text/html; charset=utf-8"
    finally:
        mimetypes.init([])


@each_row(
    "name, expected",
    [
        ("a.html", True),
        ("a.css", True),
        ("a.js", True),
        ("a.json", True),
        ("a.svg", True),
        ("a.webmanifest", True),
        ("a.rss", True),
        ("a.wasm", True),
        ("a.ttf", True),
        ("a.png", False),
        ("a.jpg", False),
        ("a.woff2", False),
        ("a.mp4", False),
        ("a.zip", False),
        ("a.gz", False),
        ("a.pdf", False),
        ("unknown", False),
    ],
)
def test_is_compressible(name: str, expected: bool) -> None:
    assert is_compressible(content_type(name)) is expected


def test_a_site_s_own_types_come_first() -> None:
    types = MediaTypes(
        {".foo": "text/x-foo", ".tar.gz": "application/x-tgz", "LICENSE": "text/plain", ".js": "a/b; c=d"}
    )
    assert {
        name: types(name) for name in ("a.FOO", "a.tar.gz", "b.gz", "license", "LICENSE", "a.js", "b.css", ".foo")
    } == {
        "a.FOO": "text/x-foo; charset=utf-8",
        "a.tar.gz": "application/x-tgz",
        "b.gz": "application/gzip",
        "license": "application/octet-stream",
        "LICENSE": "text/plain; charset=utf-8",
        "a.js": "a/b; c=d",
        "b.css": "text/css; charset=utf-8",
        ".foo": "application/octet-stream",
    }
    assert MediaTypes({".txt": 'text/plain; charset="iso-8859-1"'})("a.txt") == 'text/plain; charset="iso-8859-1"'
    assert MediaTypes({"Makefile": "text/plain", ".x": "a/b"})("Makefile") == "text/plain; charset=utf-8"


@pytest.mark.parametrize("name", ["", ".", "a/b", "a\0"])
def test_what_can_be_no_name_of_a_file_has_no_type(name: str) -> None:
    with pytest.raises(ValueError, match="neither the end of a file's name"):
        MediaTypes({name: "text/plain"})


@each_row("media_type", ["", "text", "text/", "/x", "text/x y", "text/x;", "text/x\r\nX: y", "text/é"])
def test_what_is_no_media_type_is_an_error(media_type: str) -> None:
    with pytest.raises(ValueError, match="is not a media type"):
        MediaTypes({".foo": media_type})
