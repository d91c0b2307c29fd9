"""The files that are served."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from .. import certificate

__all__ = [
    "COLD_PATHS",
    "LARGE",
    "MANY_FILES",
    "OLD",
    "PATHS",
    "prepare",
    "prepare_cold",
    "prepare_large",
    "prepare_many",
    "prepare_site",
    "prepare_site_tls",
    "prepare_tls",
]

MANY_FILES = 10_000
LARGE = 100 << 20
"""Bytes of the large file."""
SMALLEST, LARGEST = 300, 10_000
"""Bytes of a file of the site."""

OLD = 1_700_000_000
"""The time of every file's last change: what is of now, evio does not keep in memory yet."""

EXTENSIONS = ("html", "css", "js", "svg", "png")


def paths(folder: str, count: int) -> tuple[str, ...]:
    """Paths of ``count`` files, a fifth of them with each extension."""
    return tuple(f"/{folder}/{number}.{EXTENSIONS[number % len(EXTENSIONS)]}" for number in range(count))


PATHS = paths("site", 1_000)
COLD_PATHS = paths("cold", 12_000)


def prepare(directory: Path) -> None:
    """One file of 1 KiB and one of 100 KiB."""
    write(directory, "/small.bin", 1024)
    write(directory, "/medium.bin", 100 * 1024)


def prepare_large(directory: Path) -> None:
    """One of 100 MiB."""
    write(directory, "/large.bin", LARGE)


def prepare_many(directory: Path) -> None:
    """10,000 files of 1 KiB."""
    for number in range(MANY_FILES):
        write(directory, f"/many/{number}.bin", 1024)


def prepare_tls(directory: Path) -> None:
    """Do as :func:`prepare`, and make a certificate."""
    prepare(directory)
    certificate.issue(directory)


def prepare_site(directory: Path) -> None:
    """Files of random sizes."""
    random = Random(1)
    for path in PATHS:
        write(directory, path, random.randint(SMALLEST, LARGEST))


def prepare_site_tls(directory: Path) -> None:
    """Do as :func:`prepare_site`, and make a certificate."""
    prepare_site(directory)
    certificate.issue(directory)


def prepare_cold(directory: Path) -> None:
    """More of such files, each to be asked for once."""
    random = Random(1)
    for path in COLD_PATHS:
        write(directory, path, random.randint(SMALLEST, LARGEST))


def write(directory: Path, path: str, size: int) -> None:
    """A file of ``size`` random bytes at ``path`` on the site."""
    file = directory / "files" / path[1:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(os.urandom(min(size, 1 << 20)) * max(1, size >> 20))
    file.chmod(0o644)
    os.utime(file, (OLD, OLD))
