"""Every command line that the documentation shows is one that its program takes."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import evio_echo.__main__ as echo
from evio_http.cli.arguments import make_parser
from evio_redis.config.directives import ALIASES, DIRECTIVES
from evio_redis.config.ignored import ACCEPTED

ROOT = Path(__file__).parents[2]
SHELL = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(evio-(?:echo|http|redis) [^`]*)`")


def shown() -> Iterator[str]:
    for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("packages/*/README.md"))]:
        text = page.read_text()
        for block in SHELL.findall(text):
            for line in block.replace("\\\n", " ").splitlines():
                if re.match(r"evio-(echo|http|redis)( |$)", line):
                    yield line.strip()
        yield from INLINE.findall(SHELL.sub("", text).replace("\n", " "))


LINES = sorted(set(shown()))


@pytest.mark.parametrize("line", LINES)
def test_command_line(line: str) -> None:
    program, *arguments = shlex.split(line, comments=True)
    if "..." in arguments or {"--help", "--version"} & {*arguments}:
        return
    if program == "evio-http":
        parsed(make_parser(), arguments)
    elif program == "evio-echo":
        echo.make_parser().parse_args(arguments)
    else:
        for flag in (each.removeprefix("--") for each in arguments if each.startswith("--")):
            assert flag in {*DIRECTIVES, *ALIASES, *ACCEPTED, "check", "export"}, flag


def parsed(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Parse as the program does; raises ``SystemExit`` for what it would refuse."""
    parser.parse_intermixed_args(arguments)


def test_there_are_some_of_each() -> None:
    assert len(LINES) > 30
    assert {line.split()[0] for line in LINES} == {"evio-echo", "evio-http", "evio-redis"}
