"""A browser loads a small site, over HTTP and HTTPS."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.core.harness import eventually
from tests.extent import FULL, full_only

from .browser import Browser, browser
from .serving import Served, serving

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Site</title>
<link rel="icon" href="icon.svg"><link rel="stylesheet" href="style.css">
<script type="module" src="app.mjs"></script></head>
<body><h1>Site</h1><img src="icon.svg" alt=""><audio src="sound.wav" preload="metadata"></audio></body></html>
"""
STYLE = "h1 { color: rgb(1, 2, 3) }\n"
MODULE = 'import { answer } from "./lib/answer.mjs";\nwindow.answer = answer;\n'
LIBRARY = "export const answer = 42;\n"
ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1" width="10" height="10"><path d="M0 0h1v1z"/></svg>\n'

SECONDS = 600
"""Of sound: 10 MB, which no browser loads before it seeks."""


def sound() -> bytes:
    """Silence, in 8,000 samples of 16 bits a second."""
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * 8000 * SECONDS))
    return made.getvalue()


def font() -> bytes:
    """A font without outlines but for one square "A": what a browser insists on, and nothing else (OpenType 1.9)."""
    square = struct.pack(">hhhhhHH4B4h4h", 1, 0, 0, 500, 500, 3, 0, 1, 1, 1, 1, 0, 500, 0, -500, 0, 0, 500, 0)
    square += b"\0" * (-len(square) % 4)
    segments = struct.pack(">HHHH", 65, 0xFFFF, 0, 65) + struct.pack(">HhHHH", 0xFFFF, 1 - 65, 1, 0, 0)
    cmap_table = struct.pack(">HHHHHHH", 4, 32, 0, 4, 4, 1, 0) + segments
    names = ["x", "Regular", "x", "x", "1", "x"]
    text = "".join(names).encode("utf-16-be")
    records, offset = b"", 0
    for number, name in enumerate(names, 1):
        records += struct.pack(">HHHHHH", 3, 1, 0x409, number, 2 * len(name), offset)
        offset += 2 * len(name)
    tables = {
        b"OS/2": struct.pack(
            ">HhHHHhhhhhhhhhhh10sIIII4sHHHhhhHHII", 4, 500, 400, 5, 0, 650, 600, 0, 75, 650, 600, 0, 350, 50, 250, 0,
            bytes(10), 1, 0, 0, 0, b"none", 64, 65, 65, 800, -200, 0, 800, 200, 1, 0,
        ) + struct.pack(">hhHHH", 500, 700, 0, 32, 0),
        b"cmap": struct.pack(">HHHHI", 0, 1, 3, 1, 12) + cmap_table,
        b"glyf": square,
        b"head": struct.pack(
            ">IIIIHHqqhhhhHHhhh", 0x10000, 0x10000, 0, 0x5F0F3CF5, 0, 1000, 0, 0, 0, 0, 500, 500, 0, 8, 2, 1, 0
        ),
        b"hhea": struct.pack(">IhhhHhhhhhhhhhhhH", 0x10000, 800, -200, 0, 500, 0, 0, 500, 1, 0, 0, 0, 0, 0, 0, 0, 2),
        b"hmtx": struct.pack(">HhHh", 500, 0, 500, 0),
        b"loca": struct.pack(">III", 0, 0, len(square)),
        b"maxp": struct.pack(">IH13H", 0x10000, 2, 4, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0),
        b"name": struct.pack(">HHH", 0, len(names), 6 + 12 * len(names)) + records + text,
        b"post": struct.pack(">IIhhIIIII", 0x30000, 0, 0, 0, 0, 0, 0, 0, 0),
    }  # fmt: skip
    directory, body, start = b"", b"", 12 + 16 * len(tables)
    for tag, table in sorted(tables.items()):
        padded = table + b"\0" * (-len(table) % 4)
        checksum = sum(struct.unpack(f">{len(padded) // 4}I", padded)) & 0xFFFFFFFF
        directory += struct.pack(">4sIII", tag, checksum, start + len(body), len(table))
        body += padded
    return struct.pack(">IHHHH", 0x10000, len(tables), 128, 3, 32) + directory + body


@pytest.fixture(params=["http", "https"] if FULL else ["https"])
def site(
    request: pytest.FixtureRequest, tmp_path: Path, authority: trustme.LeafCert
) -> Iterator[tuple[Served, str, Path]]:
    """A server of the page: it, its URL, and its access log."""
    directory = tmp_path / "site"
    (directory / "lib").mkdir(parents=True)
    (directory / "files" / "b & <c>").mkdir(parents=True)
    contents = {"index.html": PAGE, "style.css": STYLE, "app.mjs": MODULE, "lib/answer.mjs": LIBRARY, "icon.svg": ICON}
    for name, text in contents.items():
        (directory / name).write_text(text)
    (directory / "sound.wav").write_bytes(sound())
    (directory / "square.ttf").write_bytes(font())
    for name, size in (
        ("small.txt", 10),
        ("large.bin", 3_000_000),
        ("\u00fcber <img src=x onerror=alert(1)>.txt", 2000),
    ):
        (directory / "files" / name).write_bytes(bytes(size))
    log = tmp_path / "access.log"
    arguments = [str(directory), "--port", "0", "--listing", "--access-log", str(log), "--log-format", "json"]
    if request.param == "https":
        authority.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
        authority.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
        arguments += ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    with serving(*arguments) as served:
        yield served, f"{request.param}://localhost:{served.port}", log


@pytest.fixture(scope="module")
def authority() -> trustme.LeafCert:
    return trustme.CA().issue_cert("localhost")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory, authority: trustme.LeafCert) -> Iterator[Browser]:
    profile = tmp_path_factory.mktemp("profile")
    with browser(profile, trusting=authority.cert_chain_pems[0].bytes()) as running:
        yield running


@pytest.fixture
def page(chromium: Browser) -> Iterator[Browser]:
    with chromium.page() as shown:
        yield shown


def logged(served: Served, log: Path) -> list[dict[str, Any]]:
    """The access log, once the server has stopped."""
    assert served.stop() == 0
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_page_and_what_it_includes(site: tuple[Served, str, Path], page: Browser) -> None:
    served, url, log = site
    page.open(url + "/")
    assert page.evaluate("document.title") == "Site"
    protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
    assert page.evaluate(protocol) == ("h2" if url.startswith("https") else "http/1.1")
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(1, 2, 3)"
    assert page.evaluate("window.answer") == 42
    assert page.evaluate("document.querySelector('img').naturalWidth") == 10
    width = """(async () => {
        const face = new FontFace("Square", "url(square.ttf)");
        document.fonts.add(await face.load());
        const context = document.createElement("canvas").getContext("2d");
        context.font = "100px Square";
        return context.measureText("AAAA").width;
    })()"""
    assert round(page.evaluate(width)) == 200
    assert page.errors == []
    answered = {(entry["target"], entry["status"]) for entry in logged(served, log)}
    for name in ("", "style.css", "app.mjs", "lib/answer.mjs", "icon.svg", "square.ttf"):
        assert ("/" + name, 200) in answered
    assert {status for target, status in answered if target != "/sound.wav"} <= {200, 304}


def test_seeking_loads_only_what_is_heard(site: tuple[Served, str, Path], page: Browser) -> None:
    served, url, log = site
    page.open(url + "/")
    seek = """new Promise((resolve, reject) => {
        const audio = document.querySelector("audio");
        audio.onseeked = () => resolve(audio.currentTime);
        audio.onerror = () => reject(audio.error.message);
        const jump = () => { audio.currentTime = %d; };
        audio.readyState > 0 ? jump() : audio.onloadedmetadata = jump;
    })"""
    assert page.evaluate(seek % (SECONDS - 60)) == SECONDS - 60
    assert page.evaluate(seek % (SECONDS // 2)) == SECONDS // 2
    assert round(page.evaluate("document.querySelector('audio').duration")) == SECONDS
    assert page.errors == []
    ranges = [entry for entry in logged(served, log) if entry["target"] == "/sound.wav"]
    assert len(ranges) >= 3
    statuses = {entry["status"] for entry in ranges}
    assert 206 in statuses
    assert statuses <= {206, 304}  # a range that it has cached already may be asked about instead


def test_a_reload_is_answered_with_304(site: tuple[Served, str, Path], page: Browser) -> None:
    served, url, log = site
    page.open(url + "/")
    fetched = 'fetch("lib/answer.mjs", {cache: "no-cache"}).then(response => response.text())'
    assert page.evaluate(fetched) == LIBRARY
    assert page.evaluate(fetched) == LIBRARY
    page.open(url + "/")
    assert page.evaluate("window.answer") == 42
    assert page.errors == []
    answered = [entry["status"] for entry in logged(served, log) if entry["target"] == "/lib/answer.mjs"]
    assert answered[:3] == [200, 304, 304]


def test_the_listing(site: tuple[Served, str, Path], page: Browser, tmp_path: Path) -> None:
    served, url, _ = site
    page.call("Emulation.setDeviceMetricsOverride", width=900, height=500, deviceScaleFactor=1, mobile=False)
    names = "[...document.querySelectorAll('td.name a')].map(link => link.textContent)"
    unsorted = ["../", "b & <c>/", "large.bin", "small.txt", "\u00fcber <img src=x onerror=alert(1)>.txt"]
    page.open(url + "/files/")
    assert page.evaluate(names) == unsorted
    light = page.screenshot(tmp_path / "light.png")
    background = "getComputedStyle(document.body).backgroundColor"
    colours = {page.evaluate(background)}
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    colours.add(page.evaluate(background))
    assert len(colours) == 2
    assert page.screenshot(tmp_path / "dark.png") != light
    page.open(page.evaluate("document.querySelector('th.size a').href"))
    assert page.evaluate("location.search") == "?sort=size"
    assert page.evaluate(names) == ["../", "b & <c>/", "small.txt", unsorted[4], "large.bin"]
    page.evaluate("document.querySelector('input[type=search]').value = 'SMALL'")
    asked = page.evaluate("new URLSearchParams(new FormData(document.querySelector('form'))).toString()")
    page.open(f"{url}/files/?{asked}")
    assert page.evaluate("location.search") == "?sort=size&filter=SMALL"
    assert page.evaluate(names) == ["../", "small.txt"]
    page.open(f"{url}/files/?sort=size")
    # A phone: nothing is wider than the screen, and links are easy to hit.
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=640, deviceScaleFactor=2, mobile=True)
    page.screenshot(tmp_path / "phone.png")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert all(page.evaluate("[...document.querySelectorAll('td.date time')].map(date => date.offsetWidth > 0)"))
    assert page.evaluate("document.querySelector('td.name a').getBoundingClientRect().height") >= 20
    page.open(url + "/files/b%20%26%20%3Cc%3E/")
    assert page.evaluate("document.querySelector('p').textContent") == "This directory is empty."
    page.open(page.evaluate("document.querySelector('td.name a').href"))
    assert page.evaluate("location.pathname") == "/files/"
    assert [error for error in page.errors if "favicon" not in error] == []
    assert served.stop() == 0


@full_only
def test_a_page_shows_what_has_changed(page: Browser, tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    site = tmp_path / "site"
    site.mkdir()

    def save(name: str, content: str) -> None:  # at once: half a file would be a change, too
        (tmp_path / "new").write_text(content)
        (tmp_path / "new").rename(site / name)

    def shows(expression: str, value: object) -> bool:
        with contextlib.suppress(AssertionError):  # while one page makes way for another
            return bool(page.evaluate(expression) == value)
        return False

    text = '<!DOCTYPE html><link rel="icon" href="data:,"><link rel="stylesheet" href="style.css"><h1>%s</h1>'
    colour, heading = "getComputedStyle(document.querySelector('h1')).color", "document.querySelector('h1').textContent"
    save("index.html", text % "first")
    save("style.css", "h1 { color: rgb(1, 2, 3) }")
    with serving(str(site), "--port", "0", "--live", "--listing") as served:
        url = f"http://localhost:{served.port}"
        page.open(url + "/")
        page.evaluate("window.marked = true")
        save("style.css", "h1 { color: rgb(4, 5, 6) }")
        assert eventually(lambda: shows(colour, "rgb(4, 5, 6)"))
        assert page.evaluate("window.marked")  # without a reload
        assert eventually(lambda: shows("document.querySelectorAll('link[rel=stylesheet]').length", 1))
        save("index.html", text % "second")
        assert eventually(lambda: shows(heading, "second"))
        page.open(url + "/new/")
        assert page.evaluate(heading) == "404 Not Found"
        (site / "new").mkdir()
        assert eventually(lambda: shows(heading, "Index of / new/"))
        (site / "new" / "a.txt").touch()
        assert eventually(lambda: shows("document.querySelectorAll('td.name').length", 2))
        assert [error for error in page.errors if "404" not in error and "favicon" not in error] == []
