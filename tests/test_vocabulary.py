"""One word for one thing, in plain English: in docstrings and in the prose of every page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_docstrings import FOLDERS, ROOT, docstrings

WORDS = {
    # One spelling of each term.
    r"backpressure": "back-pressure",
    r"call-backs?": "callback",
    r"time ?outs?": "time-out",
    r"unix-sockets?|Unix (domain )?sockets?": "unix socket",
    r"web-?servers?": "web server",
    r"data-?sets?": "data set",
    r"file-descriptors?": "file descriptor",
    r"SSL": "TLS",
    r"E-?POLL|Epoll|Kqueue": "epoll, kqueue",
    r"behaviors?": "behaviour",
    r"colors?": "colour",
    r"canceled|canceling": "cancelled, cancelling",
    # Plain words.
    r"utili[sz]e[sd]?|utili[sz]ing": "use",
    r"leverag\w+": "use",
    r"in order to": "to",
    r"e\.g\.": "such as",
    r"i\.e\.": "that is",
    r"shall": "must, will",
    r"thereof|therein|hereby|herein|whereby|wherein": "of it, in it, by which",
    r"whilst|amongst": "while, among",
    r"whitelist\w*|blacklist\w*": "allowed, denied",
    # Said differently, or not at all.
    r"told of(?=[.;:,])": "reported, logged",
    r"worth telling": "what follows from it",
    r"nothing is known": "what it means",
    r"no \w+ any more": "not ... any longer",
    r"obviously|of course|simply|easily|just works": "nothing: who reads it decides that",
    r"blazing(ly)?|lightning|seamless(ly)?|performant|state.of.the.art|cutting.edge": "a figure",
}
"""Patterns of whole words, and what stands in their place."""

WRONG = re.compile(rf"\b(?:{'|'.join(rf'(?P<w{number}>{words})' for number, words in enumerate(WORDS))})\b")

BLOCK = re.compile(r"^```.*?^```|<!--.*?-->|<(?:source|img)[^>]*>", re.DOTALL | re.MULTILINE)
LITERAL = re.compile(r"``[^`]+``|`[^`]+`|https?://\S+|\([^()\s]*\)|^(?: {4}|\t).*$", re.MULTILINE)
"""Code and addresses, which are no prose."""

PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "packages/*/README.md",
        "contrib/**/*.md",
        "examples/**/*.md",
        "tools/**/*.md",
    )
    for path in ROOT.glob(pattern)
)


def complaints(where: Path, line: int, text: str) -> Iterator[str]:
    """Yield a complaint for each wrong word of a text that begins in that line."""
    without = BLOCK.sub(lambda found: "\n" * found[0].count("\n"), text)
    prose = LITERAL.sub("", without)
    for found in WRONG.finditer(prose):
        number = int((found.lastgroup or "w0")[1:])
        better = [*WORDS.values()][number]
        row = line + prose[: found.start()].count("\n")
        yield f"{where.relative_to(ROOT)}:{row}: {found[0]!r}; instead: {better}"


def test_pages() -> None:
    wrong = [each for page in PAGES for each in complaints(page, 1, page.read_text())]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_docstrings(folder: Path) -> None:
    wrong = [
        each
        for path in sorted(folder.rglob("*.py"))
        if path != Path(__file__)
        for line, text in docstrings(path)
        for each in complaints(path, line, text)
    ]
    assert not wrong, "\n".join(wrong)


def test_it_finds_words_in_prose_and_leaves_code_alone() -> None:
    text = "Set a timeout.\n\n```python\ntimeout = 1\n```\n\nIt is `timeout`, [here](timeout.md),\nand told of.\n"
    assert [*complaints(ROOT / "page.md", 1, text)] == [
        "page.md:1: 'timeout'; instead: time-out",
        "page.md:8: 'told of'; instead: reported, logged",
    ]
