"""The command that makes a line of a password file."""

from __future__ import annotations

import base64
import getpass
import subprocess
import sys
from pathlib import Path

import pytest

from evio_http.passwd import main
from evio_http.site.auth import BasicAuth
from tests import popen


def run(*arguments: str, password: str = "") -> subprocess.CompletedProcess[str]:
    return popen.run([sys.executable, "-m", "evio_http.passwd", *arguments], input=password, timeout=30)


def test_the_command_makes_a_line(tmp_path: Path) -> None:
    done = run("ann", password="secret\n")
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "users").write_text(done.stdout)
    assert BasicAuth.from_file(str(tmp_path / "users")).verify("Basic " + base64.b64encode(b"ann:secret").decode())


@pytest.mark.parametrize("arguments", [(), ("a:b",), ("",), ("a", "b"), ("a\nb",)])
def test_the_command_says_how_it_is_used(arguments: tuple[str, ...]) -> None:
    assert main(list(arguments)) == 2


def test_an_empty_password_is_refused() -> None:
    done = run("ann", password="\n")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "empty" in done.stderr


class Terminal:
    """A standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


def test_at_a_terminal_it_is_asked_for_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["secret", "Secret", "secret", "secret"])
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda prompt: next(answers))
    assert main(["ann"]) == 1
    assert "differ" in capsys.readouterr().err
    assert main(["ann"]) == 0
    assert capsys.readouterr().out.startswith("ann:$scrypt$")
