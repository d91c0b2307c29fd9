"""Makes an environment in which one server runs, with what that one needs and nothing else.

``python tools/light.py SERVER DIRECTORY``, with any Python from 3.11 on and no package installed: it must not import
what it is to install. The sources are used where they are, so that a change to them needs no new environment.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

__all__ = ["make", "requirements"]

PACKAGES = Path(__file__).resolve().parents[1] / "packages"


def requirements(server: str) -> tuple[list[str], list[Path]]:
    """Return what a server needs from an index, and the source folders of itself and its siblings."""
    found: list[str] = []
    sources = [PACKAGES / server / "src"]
    project = tomllib.loads((PACKAGES / server / "pyproject.toml").read_text())["project"]
    for need in project["dependencies"]:
        name = need.partition("==")[0]
        if (PACKAGES / name).is_dir():
            deeper, folders = requirements(name)
            found += deeper
            sources += folders
        else:
            found.append(need)
    return found, sources


def make(server: str, directory: Path) -> None:
    """Make the environment. Raises ``subprocess.CalledProcessError`` when the installer fails, which has said why."""
    needs, sources = requirements(server)
    shutil.rmtree(directory, ignore_errors=True)
    venv.create(directory, symlinks=os.name != "nt")
    scripts = "Scripts" if os.name == "nt" else "bin"
    python = str(directory / scripts / "python")
    if needs:
        subprocess.run([*installer(python), *needs], check=True)
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = "".join(f"{folder}\n" for folder in sources)
    Path(where.stdout.strip(), "evio.pth").write_text(lines, encoding="utf-8")
    (directory / ".stamp").touch()


def installer(python: str) -> list[str]:
    """Return the beginning of a command that installs into the environment of ``python``: uv's, this Python's pip, or,
    which takes some seconds more, a pip of its own."""
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--python", python]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([python, "-m", "ensurepip", "--default-pip"], check=True, stdout=subprocess.DEVNULL)
    return [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


if __name__ == "__main__":
    try:
        make(sys.argv[1], Path(sys.argv[2]))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
