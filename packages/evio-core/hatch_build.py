"""Compiling the hot path: with ``EVIO_COMPILE=1`` the wheel has it as C extensions besides the very same Python files.

    EVIO_COMPILE=1 pip wheel packages/evio-core

needs a C compiler, and says so if there is none; Cython comes by itself. Without the variable nothing is compiled.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = ("loop", "connection", "output")
"""Where the time of a request goes."""


class CompileHook(BuildHookInterface):  # type: ignore[misc]  # hatchling has no types for it
    """Adds the extensions to the wheel and marks it as made for this interpreter and platform."""

    def dependencies(self) -> list[str]:
        """What the build environment needs."""
        return ["Cython>=3", "setuptools"] if wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or version == "editable" or not wanted():
            return
        built = compile_modules(Path(self.root))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update({str(path): f"evio_core/{path.name}" for path in built})


def wanted() -> bool:
    """Whether to compile."""
    return os.environ.get("EVIO_COMPILE") == "1"


def compile_modules(root: Path) -> list[Path]:
    """Compile, in a directory of its own; returns the extensions. Ends the build, in one line, where that fails."""
    target = root / "build" / f"compiled-{sys.implementation.cache_tag}"
    target.mkdir(parents=True, exist_ok=True)
    sources = [root / "src" / "evio_core" / f"{name}.py" for name in MODULES]
    code = (
        "import sys\n"
        "from Cython.Build import cythonize\n"
        "from setuptools import Extension, setup\n"
        "build, *files = sys.argv[1:]\n"
        "extensions = [Extension('evio_core.' + file.rpartition('/')[2][:-3], [file]) for file in files]\n"
        "setup(script_args=['-q', 'build_ext', '--build-lib', build, '--build-temp', build + '/tmp'],\n"
        "      ext_modules=cythonize(extensions, build_dir=build + '/c', quiet=True, language_level=3))\n"
    )
    command = [sys.executable, "-c", code, str(target), *map(str, sources)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=root)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SystemExit(f"EVIO_COMPILE=1 needs a C compiler and Python's headers: {last}")
    return sorted((target / "evio_core").glob("*.so")) + sorted((target / "evio_core").glob("*.pyd"))
