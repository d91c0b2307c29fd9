"""Manual pages and completions are made from what prints ``--help``."""

from __future__ import annotations

import argparse
import os
import pty
import select
import subprocess
from pathlib import Path

import pytest

from tests.core.harness import needs
from tools import share


def flags(parser: argparse.ArgumentParser) -> list[str]:
    return [text for action in parser._actions for text in action.option_strings if text.startswith("--")]


@pytest.mark.parametrize("command", share.PARSERS)
def test_a_manual_page_has_every_flag(command: str) -> None:
    page = share.manual(command)
    missing = [text for text in flags(share.PARSERS[command][0]()) if text.replace("-", "\\-") not in page]
    assert missing in ([], ["--help"])
    assert "%(default)" not in page
    assert ".SH EXAMPLES" in page


@pytest.mark.parametrize("command", share.PARSERS)
def test_a_manual_page_is_without_a_warning(command: str) -> None:
    groff = needs("groff")
    done = subprocess.run(
        [groff, "-man", "-ww", "-z", "-Kutf8"], input=share.manual(command), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("command", "typed", "expected"),
    [
        ("evio-http", "--clea", ["--clean-urls"]),
        ("evio-http", "--log-format ", ["common", "combined", "json"]),
        ("evio-redis", "--appends", []),
        ("evio-redis", "--appendf", ["--appendfsync", "--appendfilename"]),
        ("evio-redis", "--appendfsync ", ["always", "everysec", "no"]),
        ("evio-echo", "--balance r", ["random", "round-robin"]),
    ],
)
def test_bash_completes(command: str, typed: str, expected: list[str]) -> None:
    bash = needs("bash")
    words = [command, *typed.split(" ")]
    quoted = " ".join(f"'{word}'" for word in words)
    program = (
        f"{share.completion(command, 'bash')}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}\n"
        f"COMP_LINE='{command} {typed}'; COMP_POINT=${{#COMP_LINE}}\n"
        f"_shtab_{command.replace('-', '_')} {command} '{words[-1]}' '{words[-2]}'\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run([bash, "--norc", "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert [line.strip() for line in done.stdout.splitlines() if line.strip()] == expected


@pytest.mark.parametrize(
    ("command", "typed", "expected"),
    [
        ("evio-http", "--clea", ["--clean-urls"]),
        ("evio-http", "--log-format ", ["common", "combined", "json"]),
        ("evio-redis", "--appendf", ["--appendfsync", "--appendfilename"]),
        ("evio-echo", "--balance r", ["random", "round-robin"]),
    ],
)
def test_fish_completes(command: str, typed: str, expected: list[str], tmp_path: Path) -> None:
    fish = needs("fish")
    (tmp_path / "it.fish").write_text(share.completion(command, "fish"))
    done = subprocess.run(
        [fish, "--no-config", "-c", f"source {tmp_path}/it.fish; complete -C '{command} {typed}'"],
        env={**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    # Each with its description behind a tab.
    assert {line.partition("\t")[0] for line in done.stdout.splitlines() if line.strip()} >= set(expected)


@pytest.mark.parametrize(
    ("command", "typed", "expected"),
    [
        ("evio-http", "--clea", [b"--clean-urls "]),
        ("evio-http", "--log-format ", [b"common", b"combined", b"json"]),
        ("evio-redis", "--appendfsync e", [b"--appendfsync everysec "]),
        ("evio-echo", "--balance r", [b"random", b"round-robin"]),
    ],
)
def test_zsh_completes(command: str, typed: str, expected: list[bytes], tmp_path: Path) -> None:
    zsh = needs("zsh")
    (tmp_path / f"_{command}").write_text(share.completion(command, "zsh"))
    start = f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; PS1='ready> '\n"
    (tmp_path / ".zshrc").write_text(start)
    terminal, inner = pty.openpty()
    env = {**os.environ, "ZDOTDIR": str(tmp_path), "TERM": "dumb"}
    with subprocess.Popen(
        [zsh, "-d", "-i"], stdin=inner, stdout=inner, stderr=inner, env=env, start_new_session=True
    ) as process:
        try:
            os.close(inner)
            _shown(terminal, [b"ready> "])
            os.write(terminal, f"{command} {typed}\t".encode())
            shown = _shown(terminal, expected)
            assert all(each in shown for each in expected), shown
        finally:
            process.kill()
            os.close(terminal)


def _shown(terminal: int, expected: list[bytes]) -> bytes:
    """Read a terminal until it has shown all that is expected, or nothing more comes for long."""
    shown = b""
    while not all(each in shown for each in expected) and select.select([terminal], [], [], 20)[0]:
        shown += os.read(terminal, 4096)
    return shown


@pytest.mark.parametrize("command", share.PARSERS)
@pytest.mark.parametrize("shell", share.COMPLETIONS)
def test_completions_have_every_flag(command: str, shell: str) -> None:
    text = share.completion(command, shell)
    for flag in flags(share.PARSERS[command][0]()):
        assert flag.lstrip("-") in text
