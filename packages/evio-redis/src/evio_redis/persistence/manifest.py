"""The manifest: which files make up the append-only file, in which order.

A base holds everything up to a rewrite, increments what came after; history is what a rewrite has replaced and is about
to be removed. https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/#log-rewriting
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import LogCorrupt
from ..inline import split_inline
from ..monitor import quoted

__all__ = ["Manifest", "replace_durably"]


@dataclass(slots=True)
class Manifest:
    """The files of a directory."""

    directory: Path
    basename: str
    base: str = ""
    base_seq: int = 0
    increments: list[tuple[str, int]] = field(default_factory=list)
    history: list[tuple[str, int]] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The manifest itself."""
        return self.directory / f"{self.basename}.manifest"

    @property
    def files(self) -> list[Path]:
        """What is to be loaded, in order."""
        names = [self.base] if self.base else []
        return [self.directory / name for name in (*names, *(name for name, _ in self.increments))]

    @classmethod
    def load(cls, directory: Path, basename: str) -> Manifest | None:
        """Read it; None if there is none. Raises :class:`LogCorrupt` and ``OSError``."""
        manifest = cls(directory, basename)
        try:
            lines = manifest.path.read_bytes().splitlines()
        except FileNotFoundError:
            return None
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith(b"#"):
                manifest._parse(line, number)
        return manifest

    def _parse(self, line: bytes, number: int) -> None:
        words = [word.decode("utf-8", "surrogateescape") for word in split_inline(line) or ()]
        fields = dict(zip(words[::2], words[1::2], strict=False))
        name, seq, kind = fields.get("file", ""), fields.get("seq", ""), fields.get("type", "")
        if not name or "/" in name or not seq.isdigit() or kind not in ("b", "i", "h"):
            raise LogCorrupt(f"{self.path}, line {number}: expected 'file NAME seq NUMBER type b|i|h'")
        if kind == "b":
            self.base, self.base_seq = name, int(seq)
        else:
            (self.increments if kind == "i" else self.history).append((name, int(seq)))

    def save(self) -> None:
        """Write it, whole or not at all, and durably. Raises ``OSError``."""
        rows = [(self.base, self.base_seq, "b")] if self.base else []
        rows += [(name, seq, "h") for name, seq in self.history]
        rows += [(name, seq, "i") for name, seq in self.increments]
        text = "".join(f"file {_shown(name)} seq {seq} type {kind}\n" for name, seq, kind in rows)
        replace_durably(self.path, text.encode("utf-8", "surrogateescape"))

    def next_base(self) -> tuple[str, int]:
        """Name and number of the base that the next rewrite makes."""
        seq = self.base_seq + 1
        return f"{self.basename}.{seq}.base.aof", seq

    def next_increment(self) -> tuple[str, int]:
        """Name and number of the next increment."""
        seq = max((seq for _, seq in self.increments), default=0) + 1
        return f"{self.basename}.{seq}.incr.aof", seq


def _shown(name: str) -> str:
    encoded = name.encode("utf-8", "surrogateescape")
    plain = all(33 <= byte < 127 and byte not in b"\"'\\" for byte in encoded)
    return name if plain else quoted(encoded)


def replace_durably(path: Path, content: bytes) -> None:
    """Have a file with this content under this name, or the old one, after a crash at any moment. Raises
    ``OSError``."""
    temporary = path.with_name(f"temp-{path.name}")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Have the names in a directory survive a crash, too (fsync(2), "Notes")."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
