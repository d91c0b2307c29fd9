"""Compiling the hot path: with ``EVIO_COMPILE=1`` the wheel has it as C extensions besides the very same Python files.

    EVIO_COMPILE=1 pip wheel packages/evio-core

needs a C compiler, and says so if there is none; Cython comes by itself, unless build isolation is off. Without the
variable nothing is compiled, and nothing but hatchling is needed.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = ("loop.loop", "stream.connection", "stream.plain_channel", "buffers.output", "tls.channel", "tls.session")
"""Where the time of a request goes: modules of evio_core."""

REQUIRED = ("Cython", "setuptools")

SETUP = """\
import sys
from Cython.Build import cythonize
from setuptools import Extension, setup
target, *names = sys.argv[1:]
extensions = [Extension(f"evio_core.{name}", ["src/evio_core/" + name.replace(".", "/") + ".py"]) for name in names]
# Loops share nothing that the GIL would have to protect: without the mark a free-threaded interpreter would take
# the GIL back when it imports these.
# Annotations stay what they are in Python: taken for C types, they would make -1.0 of the -1 that a message names.
directives = {"language_level": 3, "freethreading_compatible": True, "annotation_typing": False}
modules = cythonize(extensions, build_dir=f"{target}/c", quiet=True, compiler_directives=directives)
setup(script_args=["-q", "build_ext", "--build-lib", target, "--build-temp", f"{target}/o"], ext_modules=modules)
"""
"""Run in a process of its own: setuptools changes the state of the one it runs in, and prints."""


class CompileHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the extensions to the wheel and marks it as made for this interpreter and platform."""

    def dependencies(self) -> list[str]:
        """What the build environment needs."""
        return ["Cython>=3.1", "setuptools>=70"] if wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or version == "editable" or not wanted():
            return
        # Kept until the wheel is complete; not in the source tree, where another interpreter would find it.
        self.built = tempfile.TemporaryDirectory(prefix="evio-core-")
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for path in compile_modules(Path(self.root), Path(self.built.name)):
            build_data["force_include"][str(path)] = str(path.relative_to(self.built.name))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "built"):
            self.built.cleanup()


def wanted() -> bool:
    """Whether to compile."""
    return os.environ.get("EVIO_COMPILE") == "1"


def compile_modules(root: Path, target: Path) -> list[Path]:
    """Compile into the directory ``target``; returns the extensions. Ends the build, saying why, where that fails."""
    problem = missing()
    if problem:
        raise SystemExit(f"EVIO_COMPILE=1: {problem}")
    done = subprocess.run([sys.executable, "-c", SETUP, str(target), *MODULES], check=False, cwd=root)
    if done.returncode:
        raise SystemExit("EVIO_COMPILE=1: the hot path did not compile; why is above (Python.h: install its headers)")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return [target / "evio_core" / f"{name.replace('.', '/')}{suffix}" for name in MODULES]


def missing() -> str | None:
    """What has to be installed before anything can be compiled."""
    for name in REQUIRED:
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed; pip install {name}"
    # CC may be several words, and is unset where setuptools looks for Microsoft's compiler by itself.
    words = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "")
    if words and shutil.which(words[0]) is None:
        return f"there is no C compiler {words[0]!r}; install one, or name another with CC=..."
    return None
