"""The manifest: which files make up the append-only file, in which order.

A base holds everything up to a rewrite, increments what came after; history is what a rewrite has replaced and is about
to be removed. https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/#log-rewriting
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...errors import LogCorrupt
from ...protocol.inline import split_inline
from ...protocol.quoting import quoted
from ..disk import sync_directory

__all__ = ["Manifest"]

LONGEST_LINE = 1024
"""Bytes, as Redis has it."""


@dataclass(slots=True)
class Manifest:
    """The files of a directory."""

    directory: Path
    basename: str
    base: str = ""
    base_seq: int = 0
    increments: list[tuple[str, int]] = field(default_factory=list)
    history: list[tuple[str, int]] = field(default_factory=list)  # the newest first

    @property
    def path(self) -> Path:
        """The manifest itself."""
        return self.directory / f"{self.basename}.manifest"

    @property
    def files(self) -> list[Path]:
        """The files to be loaded, in order."""
        names = [self.base] if self.base else []
        return [self.directory / name for name in (*names, *(name for name, _ in self.increments))]

    def copy(self) -> Manifest:
        """One that may be changed and saved before it counts."""
        return replace(self, increments=list(self.increments), history=list(self.history))

    # -- reading

    @classmethod
    def load(cls, directory: Path, basename: str) -> Manifest | None:
        """Read it; None if there is none. Raises :class:`LogCorrupt` and ``OSError``."""
        manifest = cls(directory, basename)
        try:
            lines = manifest.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return None
        if lines == [b""]:
            raise LogCorrupt(f"{manifest.path}: Found an empty AOF manifest")
        for number, line in enumerate(lines, 1):
            try:
                if number < len(lines):
                    manifest._parse(line)
                elif line:
                    raise ValueError("The line is cut off")
            except ValueError as error:
                raise LogCorrupt(f"{manifest.path}, line {number}: {error}") from None
        if manifest.base and manifest.history and not any(".incr." not in name for name, _ in manifest.history):
            raise LogCorrupt(f"{manifest.path}: increments are history, though no base is")
        return manifest

    def _parse(self, line: bytes) -> None:
        if line.startswith(b"#"):
            return
        if len(line) > LONGEST_LINE:
            raise ValueError(f"The AOF manifest file contains too long line (of more than {LONGEST_LINE} bytes)")
        words = [word.decode("utf-8", "surrogateescape") for word in split_inline(line) or ()]
        fields = dict(zip(words[::2], words[1::2], strict=False))
        name, seq, kind = fields.get("file", ""), fields.get("seq", ""), fields.get("type", "")
        # Not sound are, among others, two lines that have run into one.
        sound = len(words) == 2 * len(fields) and all(32 <= byte < 127 for byte in line)
        if not sound or not name or not kind or not (seq.isascii() and seq.isdigit()):
            raise ValueError("Invalid AOF manifest file format: expected 'file NAME seq NUMBER type b|i|h'")
        if "/" in name:
            raise ValueError("File can't be a path, just a filename")
        if (kind == "i" and ".base." in name) or (kind == "b" and ".incr." in name):
            raise ValueError(f"'{name}' is not of type '{kind}'")
        self._add(name, int(seq), kind)

    def _add(self, name: str, seq: int, kind: str) -> None:
        if kind == "b":
            if self.base:
                raise ValueError("Found duplicate base file information")
            self.base, self.base_seq = name, seq
        elif kind == "i":
            if self.increments and seq <= self.increments[-1][1]:
                raise ValueError("Found a non-monotonic sequence number")
            self.increments.append((name, seq))
        elif kind == "h":
            self.history.append((name, seq))
        else:
            raise ValueError(f"Unknown AOF file type '{kind}', expected b, i or h")

    # -- writing

    def save(self) -> None:
        """Write it, whole or not at all, and durably. Raises ``OSError``."""
        rows = [(self.base, self.base_seq, "b")] if self.base else []
        rows += [(name, seq, "h") for name, seq in self.history]
        rows += [(name, seq, "i") for name, seq in self.increments]
        text = "".join(f"file {_shown(name)} seq {seq} type {kind}\n" for name, seq, kind in rows)
        _replace_durably(self.path, text.encode("utf-8", "surrogateescape"))

    # -- changing

    def add_base(self, rdb: bool) -> Path:
        """Have a new base take the place of the old one, which becomes history."""
        if self.base:
            self.history.insert(0, (self.base, self.base_seq))
        self.base_seq += 1
        self.base = f"{self.basename}.{self.base_seq}.base.{'rdb' if rdb else 'aof'}"
        return self.directory / self.base

    def add_increment(self) -> Path:
        """Add an increment. Its number is one that no file has had that is still there."""
        seq = max((seq for name, seq in (*self.increments, *self.history) if ".incr." in name), default=0) + 1
        self.increments.append((f"{self.basename}.{seq}.incr.aof", seq))
        return self.directory / self.increments[-1][0]

    def retire_increments(self, keep: int) -> None:
        """Have all increments but the last ``keep`` become history."""
        count = len(self.increments) - keep
        for each in self.increments[:count]:
            self.history.insert(0, each)
        del self.increments[:count]


def _shown(name: str) -> str:
    encoded = name.encode("utf-8", "surrogateescape")
    plain = all(33 <= byte < 127 and byte not in b"\"'\\" for byte in encoded)
    return name if plain else quoted(encoded)


def _replace_durably(path: Path, content: bytes) -> None:
    """Have a file with this content under this name, or the old one, after a crash at any moment. Raises
    ``OSError``."""
    temporary = path.with_name(f"temp-{path.name}")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)
