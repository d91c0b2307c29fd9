"""Pictures that are drawn by programs are what those draw now, and every picture that a page shows is there."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.byte_picture import STATIC, THEMES, picture

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]


@pytest.mark.parametrize("name", THEMES)
def test_the_way_of_a_byte_is_as_drawn(name: str) -> None:
    drawn = picture(THEMES[name])
    assert (STATIC / f"byte-{name}.svg").read_text() == drawn, "python -m docs.byte_picture"
    ElementTree.fromstring(drawn)


def test_every_picture_is_there_in_light_and_dark_and_has_a_text() -> None:
    found = 0
    for page in PAGES:
        text = page.read_text()
        for name in re.findall(r'(?:src|srcset)="([^"]+\.svg)"', text):
            assert (page.parent / name).is_file(), f"{page.name}: {name}"
            found += 1
        for shown in re.findall(r"<picture>.*?</picture>", text, re.DOTALL):
            dark, light = re.findall(r'="([^"]+\.svg)"', shown)
            assert dark.replace("-dark.", "-light.") == light
            assert re.search(r'alt="[^"]{20,}"', shown)
    assert found >= 12
