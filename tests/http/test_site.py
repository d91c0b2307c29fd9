"""A directory as a site: which file a path is, and what is said about it."""

from __future__ import annotations

import errno
import gzip
import json
import os
from pathlib import Path

import pytest

from evio_http import Deferred, Policy, Response, Site
from evio_http.files.paths import Root
from evio_http.pages.error_pages import OWN_PAGES
from evio_http.site.auth import BasicAuth, hash_password
from evio_http.site.error_template import ErrorTemplate
from evio_http.site.https_redirect import HttpsRedirect
from evio_http.site.listing_cache import FRESH, ListingCache
from evio_http.site.redirects import Redirects
from evio_http.site.rules import CacheRules, HeaderRules
from tests.tables import each_row

from .asking import ask, make_request
from .serving import wait_until_settled

TEXT = b"All the world's a stage.\n" * 100


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name, data in {
        "index.html": b"home",
        "about.html": b"about",
        "404.html": b"own 404",
        "text.txt": TEXT,
        "large.bin": bytes(200_000),
        "sub/index.html": b"sub",
        "sub/\u00fc \u20ac.txt": b"umlaut",
        "plain/a.txt": b"a",
        ".env": b"secret",
        ".well-known/x": b"known",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "outside.txt").write_bytes(b"outside")
    (root / "link").symlink_to(tmp_path / "outside.txt")
    os.mkfifo(root / "fifo")
    wait_until_settled(root)  # what was written just now has no validators
    return root


@each_row(
    ("target", "status", "body"),
    [
        ("/", 200, b"home"),
        ("/index.html", 200, b"home"),
        ("//index.html", 200, b"home"),
        ("/sub/../index.html", 200, b"home"),
        ("/./index.html?x=y", 200, b"home"),
        ("/%69ndex.html", 200, b"home"),
        ("/sub/", 200, b"sub"),
        ("/sub/%C3%BC%20%E2%82%AC.txt", 200, b"umlaut"),
        ("http://elsewhere/index.html", 200, b"home"),
        ("/.well-known/x", 200, b"known"),
        ("/nothing", 404, None),
        ("/index.html/", 404, None),
        ("/index.html/x", 404, None),
        ("/.env", 404, None),
        ("/%2eenv", 404, None),
        ("/link", 404, None),
        ("/fifo", 404, None),
        ("/plain/", 403, None),
        ("/INDEX.HTML", 404, None),
        ("/about", 404, None),
        ("/../outside.txt", 400, None),
        ("/sub/../../outside.txt", 400, None),
        ("/%2e%2e/outside.txt", 400, None),
        ("/..%2foutside.txt", 400, None),
        ("/..%5coutside.txt", 400, None),
        ("/sub%2findex.html", 400, None),
        ("/a%00b", 400, None),
        ("/%c0%ae%c0%ae/outside.txt", 400, None),
        ("/%ff", 400, None),
        ("/%zz", 400, None),
        ("/%", 400, None),
    ],
)
def test_paths(directory: Path, target: str, status: int, body: bytes | None) -> None:
    asked = ask(Site(str(directory)), target)
    assert asked.status == status
    if body is not None:
        assert asked.body == body
    else:
        assert target.encode() not in asked.body  # error pages repeat nothing of the request


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/sub", "/sub/"),
        ("/sub?a=b&c", "/sub/?a=b&c"),
        ("//sub", "/sub/"),
        ("//evil.example/../sub", "/sub/"),
        ("/./sub", "/sub/"),
        ("http://elsewhere/sub", "/sub/"),
    ],
)
def test_a_directory_redirects_within_the_site(directory: Path, target: str, location: str) -> None:
    (directory / "evil.example").mkdir()
    asked = ask(Site(str(directory)), target)
    assert (asked.status, asked.fields["location"]) == (301, location)


def test_fields_of_a_file(directory: Path) -> None:
    fields = ask(Site(str(directory)), "/text.txt").fields
    assert fields["content-type"] == "text/plain; charset=utf-8"
    assert fields["accept-ranges"] == "bytes"
    assert fields["etag"].startswith('"')
    assert fields["last-modified"].endswith("GMT")
    assert "vary" not in fields


def test_methods(directory: Path) -> None:
    site = Site(str(directory))
    assert ask(site, "/", method="OPTIONS").fields == {"allow": "GET, HEAD, OPTIONS"}
    assert ask(site, "*", method="OPTIONS").status == 204
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
        asked = ask(site, "/", method=method)
        assert (asked.status, asked.fields["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert ask(site, "/", method="FROB").status == 501


def test_conditions_and_ranges(directory: Path) -> None:
    site = Site(str(directory))
    fields = ask(site, "/text.txt").fields
    assert ask(site, "/text.txt", f"If-None-Match: {fields['etag']}").status == 304
    assert ask(site, "/text.txt", f"If-Modified-Since: {fields['last-modified']}").status == 304
    assert ask(site, "/text.txt", 'If-Match: "other"').status == 412
    part = ask(site, "/text.txt", "Range: bytes=4-6", f"If-Range: {fields['etag']}")
    assert (part.status, part.body, part.fields["content-range"]) == (206, b"the", f"bytes 4-6/{len(TEXT)}")
    assert ask(site, "/text.txt", "Range: bytes=4-6", 'If-Range: "other"').body == TEXT
    none = ask(site, "/text.txt", "Range: bytes=9999-")
    assert (none.status, none.fields["content-range"]) == (416, f"bytes */{len(TEXT)}")
    several = ask(site, "/large.bin", "Range: bytes=0-1,5-6,-1")
    assert several.status == 206
    assert several.body.count(b"Content-Range: bytes ") == 3
    assert ask(site, "/text.txt", "Range: bytes=0-1", method="HEAD").status == 200


def test_precompressed_siblings(directory: Path) -> None:
    packed = gzip.compress(TEXT)
    (directory / "text.txt.gz").write_bytes(packed)
    (directory / "text.txt.br").write_bytes(b"as brotli")
    wait_until_settled(directory)
    site = Site(str(directory))
    for accepted, coding, body in [
        ("gzip", "gzip", packed),
        ("gzip, br", "br", b"as brotli"),
        ("gzip;q=1, br;q=0.5", "gzip", packed),
        ("br;q=0, gzip;q=0", None, TEXT),
        ("identity", None, TEXT),
    ]:
        asked = ask(site, "/text.txt", f"Accept-Encoding: {accepted}")
        assert (asked.fields.get("content-encoding"), asked.body) == (coding, body)
        assert asked.fields["vary"] == "Accept-Encoding"
        assert asked.fields["content-type"] == "text/plain; charset=utf-8"
    plain = ask(site, "/text.txt")
    assert (plain.body, plain.fields["vary"]) == (TEXT, "Accept-Encoding")
    assert plain.fields["etag"] != ask(site, "/text.txt", "Accept-Encoding: gzip").fields["etag"]
    assert ask(Site(str(directory), precompressed=False), "/text.txt", "Accept-Encoding: gzip").body == TEXT


def test_a_sibling_older_than_its_file_is_not_sent(directory: Path) -> None:
    (directory / "text.txt.gz").write_bytes(gzip.compress(b"old"))
    os.utime(directory / "text.txt.gz", (1, 1))
    assert ask(Site(str(directory)), "/text.txt", "Accept-Encoding: gzip").body == TEXT


def test_a_sibling_that_leaves_the_root_is_not_sent(directory: Path) -> None:
    (directory / "text.txt.gz").symlink_to(directory.parent / "outside.txt")
    assert ask(Site(str(directory)), "/text.txt", "Accept-Encoding: gzip").body == TEXT


def test_compression(directory: Path) -> None:
    os.utime(directory / "text.txt", (1, 1))
    site = Site(str(directory), compress=True)
    wait_until_settled(directory)
    asked = ask(site, "/text.txt", "Accept-Encoding: gzip")
    assert gzip.decompress(asked.body) == TEXT
    assert ask(site, "/large.bin", "Accept-Encoding: gzip").fields.get("content-encoding") is None


def test_larger_files_are_compressed_in_another_thread(directory: Path) -> None:
    (directory / "large.txt").write_bytes(TEXT * 200)
    wait_until_settled(directory)
    for auth in (None, BasicAuth({"me": hash_password("secret")})):
        site = Site(str(directory), compress=True, auth=auth, policy=Policy(security=True), spa="/large.txt")
        fields = ["Accept-Encoding: gzip", "Authorization: Basic bWU6c2VjcmV0"]
        ask(site, "/about.html", *fields)  # from here on the credentials are known
        first = site(make_request("/large.txt", *fields))
        assert isinstance(first, Deferred)
        made = first.work()
        assert isinstance(made.body, bytes)
        assert gzip.decompress(made.body) == TEXT * 200
        assert made.has("X-Frame-Options")
        assert (made.source is None) == (auth is not None)  # what is for some is not kept for others
        again = site(make_request("/route", *fields))
        assert isinstance(again, Response)  # it has been made
        assert again.fallback
    assert ask(site, "/large.bin", "Accept-Encoding: gzip").fields.get("content-encoding") is None


def test_listing(directory: Path) -> None:
    site = Site(str(directory), listing=True)
    page = ask(site, "/plain/")
    assert b'a.txt">' in page.body
    assert "script" not in page.fields["content-security-policy"]
    listed = json.loads(ask(site, "/plain/", "Accept: application/json").body)
    assert [entry["name"] for entry in listed["entries"]] == ["a.txt"]
    assert json.loads(ask(site, "/plain/?format=json").body) == listed
    assert ask(site, "/").body == b"home"


@pytest.mark.parametrize("auth", [None, BasicAuth({"a": hash_password("b")})], ids=["open", "protected"])
def test_a_listing_is_made_in_another_thread(
    directory: Path, monkeypatch: pytest.MonkeyPatch, auth: BasicAuth | None
) -> None:
    """A directory of any size must not hold up the loop."""
    site, fields = Site(str(directory), listing=True, auth=auth), ["Authorization: Basic YTpi"]
    ask(site, "/text.txt", *fields)  # from here on the credentials are known
    answer = site(make_request("/plain/", *fields))
    assert isinstance(answer, Deferred)
    assert answer.work().status == 200
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", no_descriptors)
        failed = ask(Site(str(directory), listing=True), "/plain/")
        assert (failed.status, failed.fields["retry-after"]) == (503, "1")
    assert json.loads(ask(site, "/plain/?format=json&page=7", *fields).body)["page"] == 1


def test_a_listing_is_kept_as_long_as_its_directory_is_the_same(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until_settled(directory)
    site = Site(str(directory), listing=True)
    first = ask(site, "/plain/", "Accept: text/html")
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", no_descriptors)
        kept = site(make_request("/plain/", "Accept: text/html"))
        assert isinstance(kept, Response)  # without another thread
        assert kept.body == first.body
        assert ask(site, "/plain/?sort=size").status == 200  # made of the entries that are there
        same = ask(site, "/plain/", "Accept: text/html", f"If-None-Match: {first.fields['etag']}")
        assert (same.status, same.fields["cache-control"], same.fields["vary"]) == (304, "no-cache", "Accept")
        assert ask(site, "/plain/", "Accept: text/html", 'If-Match: "x"').status == 412
    (directory / "plain/b.txt").write_bytes(b"b")
    changed = ask(site, "/plain/", "Accept: text/html", f"If-None-Match: {first.fields['etag']}")
    assert b"b.txt" in changed.body
    assert changed.fields["etag"] != first.fields["etag"]


def test_a_size_in_a_listing_is_not_out_of_date_for_long(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_until_settled(directory)
    now = 1000.0
    monkeypatch.setattr("evio_http.site.listings.monotonic", lambda: now)
    site = Site(str(directory), listing=True)
    assert b">1 B<" in ask(site, "/plain/").body
    (directory / "plain/a.txt").write_bytes(b"longer")
    assert b">1 B<" in ask(site, "/plain/").body
    now += FRESH
    assert b">6 B<" in ask(site, "/plain/").body


def test_what_is_kept_of_listings_is_bounded() -> None:
    cache, version = ListingCache(max_bytes=10_000), (1, 2, 3, 4, 5)
    for number in range(50):
        cache.keep(number, version, 0.0, str(number), 500)
        assert cache.find(0, version, 1.0) == "0"  # what is asked for stays
    assert [number for number in range(50) if cache.find(number, version, 1.0)] == [0, *range(42, 50)]
    cache.keep("huge", version, 0.0, "huge", 20_000)
    assert [cache.find(key, version, 1.0) for key in ("huge", 0, 49)] == [None, None, None]
    cache.keep(0, version, 0.0, "again", 9_000)
    assert (cache.find(0, version, 1.0), cache.find(0, (1, 2, 3, 4, 6), 1.0)) == ("again", None)


def no_descriptors(path: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def test_spa_and_clean_urls(directory: Path) -> None:
    site = Site(str(directory), spa="/index.html", clean_urls=True)
    assert ask(site, "/app/route").body == b"home"
    assert ask(site, "/about").body == b"about"
    assert ask(site, "/text.txt").body == TEXT
    assert ask(site, "/missing.js", "Accept: */*").status == 404
    assert ask(site, "/missing.page", "Accept: text/html").body == b"home"
    assert ask(site, "/.env", "Accept: text/html").status == 404
    assert make_and_source(site, "/app/route") is None  # found only because no file is there


def make_and_source(site: Site, target: str) -> object:
    response = site(make_request(target))
    return getattr(response, "source", None)


def test_error_pages_are_for_what_a_site_answers_with(directory: Path) -> None:
    with pytest.raises(ValueError, match="not for 499 but for 400, 401, 403, 404, 405, 501"):
        Site(str(directory), error_pages={499: "/404.html"})
    pages = dict.fromkeys(OWN_PAGES, "/404.html")
    site = Site(str(directory), error_pages=pages)
    secured = Site(str(directory), error_pages=pages, auth=BasicAuth({}))
    answers = [
        ask(site, "/%zz"),
        ask(secured, "/"),
        ask(site, "/plain/"),
        ask(site, "/gone"),
        ask(site, "/", method="POST"),
        ask(site, "/", method="FROB"),
    ]
    assert [(each.status, each.body) for each in answers] == [(status, b"own 404") for status in OWN_PAGES]


def test_error_pages(directory: Path) -> None:
    site = Site(str(directory), error_pages={404: "/404.html", 403: "/missing.html"})
    own = ask(site, "/none", 'If-Match: "x"', "Range: bytes=0-0")
    assert (own.status, own.body) == (404, b"own 404")
    assert "etag" not in own.fields
    assert b"403" in ask(site, "/plain/").body


def test_a_template_is_for_the_errors_that_have_no_page(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = ErrorTemplate("own {{status}}", "test")
    site = Site(str(directory), error_pages={404: "/404.html"}, error_template=template)
    assert ask(site, "/none").body == b"own 404"
    assert ask(site, "/plain/").body == b"own 403"
    assert ask(site, "/text.txt", method="POST").body == b"own 405"
    assert ask(site, "/%ff").body == b"own 400"
    monkeypatch.setattr(Root, "open", no_descriptors_for)
    assert ask(site, "/text.txt").body == b"own 503"


def no_descriptors_for(root: Root, segments: list[str]) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def test_redirects_and_health_and_mount(directory: Path) -> None:
    redirects = Redirects.parse("/old /new\n/blog/* /b/:splat 302\n", "test")
    site = Site(str(directory), redirects=redirects, health="/healthz")
    assert ask(site, "/old?q").fields["location"] == "/new?q"
    assert ask(site, "/blog/x/y").fields["location"] == "/b/x/y"
    assert ask(site, "/healthz").body == b"ok\n"
    mounted = Site(str(directory), mount="/docs")
    assert ask(mounted, "/docs/text.txt").body == TEXT
    assert ask(mounted, "/docs/sub").fields["location"] == "/docs/sub/"
    assert mounted(make_request("/text.txt")) is None
    assert mounted(make_request("/docsx/text.txt")) is None


def test_rewrites_and_what_exists(directory: Path) -> None:
    rules = [
        "/text.txt id=:id /by/:id 301!", "/text.txt /about.html", "/about.html /sub/ 302!", "/app/* /index.html 200",
        "/all/* /sub/ 200", "/plain/* /404.html 404", "/none /nothing.html 200", "/sub /elsewhere",
        "/file name=:name /plain/:name 200",
    ]  # fmt: skip
    redirects = Redirects.parse("\n".join(rules), "test")
    cache = CacheRules()
    cache.add("/app/*", ASSETS)
    site = Site(str(directory), redirects=redirects, policy=Policy(cache=cache), hidden=["about.html"])
    assert ask(site, "/text.txt").body == TEXT  # what is there is not redirected
    assert ask(site, "/sub").fields["location"] == "/sub/"
    assert ask(site, "/about.html").fields["location"] == "/sub/"  # unless it is forced
    page = ask(site, "/app/some.js")
    assert (page.status, page.body, page.fields["cache-control"]) == (200, b"home", "no-cache")
    assert ask(site, "/app/x", f"If-None-Match: {page.fields['etag']}").status == 304
    assert ask(site, "/all/x").body == b"sub"
    for path in ("/plain/x", "/plain/"):
        missing = ask(site, path)
        assert (missing.status, missing.body) == (404, b"own 404")
    assert ask(site, "/plain/a.txt").body == b"a"
    assert ask(site, "/none").status == 404
    assert ask(site, "/file?name=a.txt").body == b"a"
    assert ask(site, "/file?name=..%2Findex.html").status == 404
    # A rule that looks at the query keeps the file from being answered from memory, which does not.
    assert ask(site, "/text.txt?id=5").fields["location"] == "/by/5"
    assert make_and_source(site, "/text.txt") is None
    assert make_and_source(site, "/index.html") is not None
    assert ask(Site(str(directory), hidden=["about.html"]), "/about.html").status == 404


def test_auth(directory: Path) -> None:
    site = Site(str(directory), auth=BasicAuth({"me": hash_password("secret")}))
    refused = ask(site, "/text.txt")
    assert (refused.status, refused.fields["www-authenticate"][:5]) == (401, "Basic")
    for _ in range(2):
        assert ask(site, "/text.txt", "Authorization: Basic bWU6c2VjcmV0").body == TEXT
        assert ask(site, "/text.txt", "Authorization: Basic bWU6d3Jvbmc=").status == 401
    assert make_and_source(site, "/text.txt") is None


def test_policy(directory: Path) -> None:
    cache, headers = CacheRules(), HeaderRules()
    cache.add("*.txt", "max-age=60")
    headers.add("/text.txt", "X-Robots-Tag: noindex")
    headers.add("/text.txt", "X-Frame-Options: SAMEORIGIN")
    policy = Policy(cache=cache, headers=headers, security=True, origins=["https://a.example"], hsts=300)
    site = Site(str(directory), policy=policy)
    fields = ask(site, "/text.txt", "Origin: https://a.example", scheme="https").fields
    assert fields["cache-control"] == "max-age=60"
    assert fields["x-robots-tag"] == "noindex"
    assert fields["x-frame-options"] == "SAMEORIGIN"  # the site's own wins over the preset
    assert fields["x-content-type-options"] == "nosniff"
    assert fields["access-control-allow-origin"] == "https://a.example"
    assert fields["vary"] == "Origin"
    assert fields["strict-transport-security"] == "max-age=300"
    other = ask(site, "/none.txt", "Origin: https://b.example").fields
    assert not {"cache-control", "access-control-allow-origin", "strict-transport-security"} & other.keys()
    assert other["x-content-type-options"] == "nosniff"
    preflight = ask(
        site, "/text.txt", "Origin: https://a.example", "Access-Control-Request-Method: GET", method="OPTIONS"
    )
    assert preflight.fields["access-control-allow-methods"] == "GET, HEAD, OPTIONS"


def test_patterns_are_for_the_path_and_for_the_file_that_answers_it(directory: Path) -> None:
    (directory / "index.html").write_text("home")
    (directory / "404.html").write_text("missing")
    cache, headers = CacheRules(), HeaderRules()
    cache.add("/app/*", "no-store")
    cache.add("*.html", "no-cache")
    headers.add("*.html", "X-Page: yes")
    policy, pages = Policy(cache=cache, headers=headers), {404: "/404.html"}
    site = Site(str(directory), clean_urls=True, policy=policy, error_pages=pages)
    for path in ("/", "/index.html", "/index"):
        fields = ask(site, path).fields
        assert (fields["cache-control"], fields["x-page"]) == ("no-cache", "yes")
    assert not {"cache-control", "x-page"} & ask(site, "/text.txt").fields.keys()
    assert "x-page" not in ask(site, "/none.txt").fields  # 404.html is not what was asked for
    headers.add("/app/*", "X-App: yes")
    routed = ask(Site(str(directory), spa="/index.html", policy=policy), "/app/route").fields
    assert (routed["cache-control"], routed["x-page"], routed["x-app"]) == ("no-cache", "yes", "yes")


ASSETS = "public, max-age=31536000, immutable"


@pytest.mark.parametrize("by", ["--cache", "--header"])
@pytest.mark.parametrize("target", ["/app.NEWHASH.js", "/assets/app", "/assets/", "/assets/deep/app.1"])
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_what_is_not_there_has_the_caching_of_no_asset(directory: Path, by: str, target: str, accept: str) -> None:
    """Or a page, or a 404, would stay in caches under the name of an asset that is deployed a moment later."""
    cache, headers = CacheRules(), HeaderRules()
    for pattern in ("*.js", "/assets/*"):
        if by == "--cache":
            cache.add(pattern, ASSETS)
        else:
            headers.add(pattern, f"Cache-Control: {ASSETS}")
            headers.add(pattern, "Expires: Fri, 31 Dec 9999 23:59:59 GMT")
            headers.add(pattern, f"CDN-Cache-Control: {ASSETS}")
    policy = Policy(cache=cache, headers=headers)
    asked = ask(Site(str(directory), spa="/index.html", policy=policy), target, f"Accept: {accept}")
    assert (asked.status, asked.fields.get("cache-control")) in ((200, "no-cache"), (404, None))
    assert not {"expires", "cdn-cache-control"} & asked.fields.keys()
    (directory / "assets").mkdir()
    (directory / "assets/real.js").write_bytes(b"")
    assert ask(Site(str(directory), policy=policy), "/assets/real.js").fields["cache-control"] == ASSETS


def test_the_page_of_routes_has_the_caching_of_its_file(directory: Path) -> None:
    cache = CacheRules()
    cache.add("/index.html", "max-age=60")
    site = Site(str(directory), spa="/index.html", policy=Policy(cache=cache))
    page = ask(site, "/app/route")
    assert (page.body, page.fields["cache-control"]) == (b"home", "max-age=60")
    again = ask(site, "/app/route", f"If-None-Match: {page.fields['etag']}")
    assert (again.status, again.fields["cache-control"]) == (304, "max-age=60")


@pytest.mark.parametrize("target", ["/app.HASH.js", "/x/style.css", "/logo.PNG", "/data.json", "/font.woff2"])
def test_a_path_that_looks_like_an_asset_is_404_whatever_is_accepted(directory: Path, target: str) -> None:
    site = Site(str(directory), spa="/index.html")
    for accept in ("text/html,application/xhtml+xml,*/*;q=0.8", "*/*"):
        asked = ask(site, target, f"Accept: {accept}")
        assert asked.status == 404
        assert "vary" not in asked.fields


def test_a_site_s_own_media_types(directory: Path) -> None:
    (directory / "z.foo").write_bytes(TEXT)
    (directory / "LICENSE").write_bytes(b"free")
    site = Site(
        str(directory), media_types={".foo": "text/x-foo", "LICENSE": "text/plain"}, compress=True, spa="/x.html"
    )
    asked = ask(site, "/z.foo", "Accept-Encoding: gzip")
    assert asked.fields["content-type"] == "text/x-foo; charset=utf-8"
    assert ask(site, "/LICENSE").fields["content-type"] == "text/plain; charset=utf-8"
    assert asked.fields["vary"] == "Accept-Encoding"  # it is text, which may be compressed
    assert "vary" not in ask(site, "/missing.foo", "Accept: text/html").fields  # and an asset, not a route


def test_a_field_of_a_pattern_is_sent_once(directory: Path) -> None:
    headers = HeaderRules()
    headers.add("/*", "Access-Control-Allow-Origin: https://b.example")
    headers.add("/*", "Vary: X-Device")
    site = Site(str(directory), policy=Policy(headers=headers, origins=["*"]), listing=True)
    assert ask(site, "/text.txt").fields["access-control-allow-origin"] == "https://b.example"
    assert ask(site, "/text.txt").fields["vary"] == "X-Device"
    assert ask(site, "/plain/").fields["vary"] == "Accept, X-Device"


def test_vary_says_where_accept_decides(directory: Path) -> None:
    (directory / "index.html.gz").write_bytes(gzip.compress(b"home"))
    site = Site(str(directory), spa="/index.html", policy=Policy(origins=["https://a.example"]))
    page = ask(site, "/users/jane.doe", "Accept: text/html")
    assert (page.body, page.fields["vary"]) == (b"home", "Accept-Encoding, Accept, Origin")
    missing = ask(site, "/users/jane.doe", "Accept: */*")
    assert (missing.status, missing.fields["vary"]) == (404, "Accept, Origin")
    assert ask(site, "/users/jane").fields["vary"] == "Accept-Encoding, Origin"


def test_vary_is_one_field(directory: Path) -> None:
    (directory / "text.txt.gz").write_bytes(gzip.compress(TEXT))
    site = Site(str(directory), policy=Policy(origins=["https://a.example"]))
    assert ask(site, "/text.txt").fields["vary"] == "Accept-Encoding, Origin"


def test_the_system_s_errors(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(str(directory))
    for number, status in ((errno.EMFILE, 503), (errno.EIO, 500), (errno.EACCES, 500)):

        def fail(self: Root, segments: list[str], number: int = number) -> None:
            raise OSError(number, "of the test")

        with monkeypatch.context() as patch:
            patch.setattr(Root, "open", fail)
            assert ask(site, "/text.txt").status == status


def test_a_directory_that_goes_away_once_its_file_is_open(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Root.open

    def opening(self: Root, segments: list[str]) -> object:
        found = real(self, segments)
        if (directory / "plain").exists():
            (directory / "plain").rename(directory / "moved")
        return found

    monkeypatch.setattr(Root, "open", opening)
    asked = ask(Site(str(directory)), "/plain/a.txt")
    assert (asked.status, asked.body) == (200, b"a")


def test_https_redirect() -> None:
    redirect = HttpsRedirect(443)
    assert ask(redirect, "/a?b", host="x.example:8080").fields["location"] == "https://x.example/a?b"
    assert ask(HttpsRedirect(8443), "/", host="[::1]:80").fields["location"] == "https://[::1]:8443/"
    assert ask(redirect, "/", method="POST").status == 308
    assert ask(redirect, "//evil.example").fields["location"] == "https://localhost//evil.example"
    assert redirect(make_request("/", scheme="https")) is None
    assert redirect(make_request("/.well-known/acme-challenge/x")) is None


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Site(str(tmp_path / "none"))


def test_a_404_may_be_given_again_for_as_long_as_nothing_is_there(directory: Path) -> None:
    site = Site(str(directory))
    response = site(make_request("/gone.txt"))
    assert isinstance(response, Response)
    assert response.source is not None
    assert response.source.is_current()
    (directory / "gone.txt").write_bytes(b"")
    assert not response.source.is_current()


def test_which_errors_are_never_given_again(directory: Path) -> None:
    (directory / "locked").symlink_to("/etc")  # leaves the root: 404, but something is there
    cases = [
        (Site(str(directory)), "/locked"),
        (Site(str(directory), clean_urls=True), "/gone"),
        (Site(str(directory), spa="/index.html"), "/gone.txt"),
        (Site(str(directory), error_pages={404: "/no-such-page.html"}), "/gone"),
        (Site(str(directory)), "/%"),
    ]
    for site, path in cases:
        response = site(make_request(path))
        assert isinstance(response, Response)
        assert response.source is None, path


def test_the_site_s_own_404_stands_on_its_page(directory: Path) -> None:
    page = directory / "404.html"
    page.write_bytes(b"gone")
    wait_until_settled(page)
    response = Site(str(directory), error_pages={404: "/404.html"})(make_request("/gone"))
    assert isinstance(response, Response)
    assert (response.status, response.body) == (404, b"gone")
    assert response.source is not None
    assert response.source.is_current()
    page.write_bytes(b"really gone")
    assert not response.source.is_current()
