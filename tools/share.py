"""Manual pages and the shells' completions, from the parsers that print ``--help``.

``python -m tools.share`` writes them into ``packages/NAME/share``, from where wheels put them into the ``share`` of
their environment: below ``~/.local`` or ``/usr/local``, ``man`` and the shells look there by themselves.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage

import evio_core
from evio_core.cli import Parser
from evio_echo.__main__ import EXAMPLES as ECHO_EXAMPLES
from evio_echo.__main__ import make_parser as echo_parser
from evio_http.cli.arguments import EXAMPLES as HTTP_EXAMPLES
from evio_http.cli.arguments import make_parser as http_parser
from evio_redis.__main__ import EXAMPLES as REDIS_EXAMPLES
from evio_redis.config.directives import DIRECTIVES

__all__ = ["COMPLETIONS", "PARSERS", "completion", "manual", "main"]

PACKAGES = Path(__file__).resolve().parents[1] / "packages"

COMPLETIONS = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/site-functions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}
"""Shells, and where in ``share`` they look for the completion of a command."""


def redis_parser() -> Parser:
    """Return the directives of evio-redis as flags. It reads its command line itself, as redis-server does."""
    parser = Parser(
        "evio-redis",
        usage="evio-redis [FILE] [--DIRECTIVE VALUE ...] [-]",
        description="A key-value server that speaks RESP. What follows the file wins.",
        epilog=REDIS_EXAMPLES,
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="a redis.conf; - is standard input")
    for each in DIRECTIVES.values():
        if each.help:
            default = each.show(each.default)
            text = f"{each.help} (default: {default})" if default else each.help
            words = each.metavar.split("|")
            choices = words if len(words) > 1 else None
            metavar = each.metavar if choices is None else None
            parser.add_argument(f"--{each.name}", metavar=metavar, choices=choices, help=text.replace("%", "%%"))
    parser.add_argument("--check", nargs="+", metavar="FILE", help="say what is in snapshots, and if they are whole")
    parser.add_argument("--version", action="version", version=evio_core.__version__, help="show the version and exit")
    return parser


PARSERS: dict[str, tuple[Callable[[], argparse.ArgumentParser], str, str]] = {
    "evio-echo": (echo_parser, "send back what is received", ECHO_EXAMPLES),
    "evio-http": (http_parser, "serve a directory over HTTP and HTTPS", HTTP_EXAMPLES),
    "evio-redis": (redis_parser, "a key-value server that speaks RESP", REDIS_EXAMPLES),
}
"""For each command its parser, a line about it, and what its help has below the flags."""


def manual(command: str) -> str:
    """Return the manual page of a command, in man(7)."""
    make, about, examples = PARSERS[command]
    parser = make()
    parser.epilog = None
    for action in parser._actions:  # as argparse would show it; then a % is a % to whoever formats it again
        if action.help is not None and action.help is not argparse.SUPPRESS:
            action.help = (action.help % {"default": action.default, "prog": parser.prog}).replace("%", "%%")
    page = Manpage(parser)
    page.description = about
    page.manual = "evio for Python"
    page.source = f"evio {evio_core.__version__}"
    text = examples.rstrip().replace("\\", "\\e").replace("-", "\\-")
    lines = "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in text.splitlines())
    page.add_section("examples", "=", f".nf\n{lines}\n.fi")
    page.add_section(
        "exit status",
        "=",
        "0 when it was told to stop, 1 when the system refuses something (an address in use), 2 when the command line\n"
        "or what it names is wrong. Standard error has one line that says why.",
    )
    return str(page)


def completion(command: str, shell: str) -> str:
    """Return the completion of a command for a shell, one of ``COMPLETIONS``."""
    parser = PARSERS[command][0]()
    for action in parser._actions:
        if action.metavar in ("FILE", "PATH"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    text: str = shtab.complete(parser, shell=shell)
    return text


def write(command: str) -> list[Path]:
    """Write all files of a command and return their paths."""
    share = PACKAGES / command / "share"
    shutil.rmtree(share, ignore_errors=True)
    files = {share / f"man/man1/{command}.1": manual(command)}
    for shell, place in COMPLETIONS.items():
        files[share / place.format(command)] = completion(command, shell)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(files)


def main() -> int:
    """Write the files of all commands and print their names."""
    for command in PARSERS:
        for path in write(command):
            print(path.relative_to(PACKAGES.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
