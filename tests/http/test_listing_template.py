"""Listings within pages of the site's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from evio_http.cli.arguments import parse_arguments
from evio_http.cli.build import Setup
from evio_http.cli.sites import make_site
from evio_http.site.listing_template import ListingTemplate
from evio_http.site.rule_file import LineError

from .asking import ask


def test_the_parts_of_a_page(tmp_path: Path) -> None:
    (tmp_path / "a&b" / "sub").mkdir(parents=True)
    (tmp_path / "a&b" / "<script>.txt").write_text("x")
    template = tmp_path / "listing.html"
    template.write_text("<title>{{ path }}</title><style>{{style}}</style>{{trail}}|{{listing}}|{{path}}")
    flags = [str(tmp_path), "--listing", "--listing-template", str(template)]
    site = make_site(parse_arguments(flags), None)
    got = ask(site, "/a&b/")
    assert "content-security-policy" not in got.fields
    page = got.body.decode()
    assert page.startswith("<title>/a&amp;b/</title><style>\n:root")
    assert '<a href="/">/</a> <a href="/a&amp;b/"><bdi>a&amp;b</bdi>/</a>|<form' in page
    assert "<bdi>&lt;script&gt;.txt</bdi>" in page
    assert "<script" not in page
    assert page.endswith("</table>\n|/a&amp;b/")
    assert b"names have" not in got.body
    assert b"1 name has" in ask(site, "/a&b/?filter=sub").body
    assert ask(site, "/a&b/", f"If-None-Match: {got.fields['etag']}").status == 304
    assert ask(site, "/a&b/", "Accept: application/json").fields["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{{listing}}\n{{status}}",
            r"t.html:2: \{\{status\}\} is none of 'path', 'trail', 'listing', 'style' in braces",
        ),
        ("{{path}}", r"t.html:1: there is no \{\{listing\}\} in the template"),
    ],
)
def test_a_template_that_is_wrong_names_its_line(text: str, message: str) -> None:
    with pytest.raises(LineError, match=message):
        ListingTemplate(text, "t.html")


def test_each_host_has_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.html").write_text(f"page of {name}: {{{{listing}}}}")
    config = tmp_path / "evio.toml"
    config.write_text(
        'directory = "a"\nlisting = true\nlisting-template = "a.html"\nport = 0\n'
        '[host."b.example"]\ndirectory = "b"\nlisting-template = "b.html"\n'
    )
    flags = parse_arguments(["--config", str(config)])
    Setup(flags).close()
    assert ask(make_site(flags, None), "/").body.startswith(b"page of a: ")
    assert ask(make_site(flags.sites[0][1], None), "/").body.startswith(b"page of b: ")
