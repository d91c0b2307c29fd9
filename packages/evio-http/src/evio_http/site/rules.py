"""Rules by path: Cache-Control and other response fields by pattern.

A pattern either begins with "/" and is compared with the whole decoded path, or has no "/" and is compared
with the last name. In it ``*`` stands for any characters, "/" included, and ``?`` for any one but "/"; a name that is
``:`` is any one name; everything else stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from .rule_file import LineError, significant_lines

__all__ = ["CacheRules", "HeaderRules", "matcher", "parse_field", "path_matcher"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_FIELD_VALUE = re.compile(r"[\x21-\x7e\x80-\xff](?:[\x09\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
_NAME = re.compile("/:(?=/|$)")
_OURS = frozenset(
    (
        "accept-ranges", "connection", "content-length", "content-range", "content-encoding", "date", "etag",
        "keep-alive", "last-modified", "server", "te", "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip


def matcher(pattern: str) -> Callable[[str], bool]:
    """A test of decoded paths ("/a/b.css") against a pattern. Raises ``ValueError`` for one that can match nothing.

    It takes time proportional to the path, whatever the pattern: what is between two stars is looked for once,
    from the left, and never again (the groups are atomic).
    """
    if not pattern.startswith("/") and "/" in pattern:
        raise ValueError(f'a pattern begins with "/" or has none, unlike {pattern!r}')
    first, *rest = (
        _NAME.sub("/[^/]+", re.escape(part).replace(r"\?", "[^/]")) for part in re.sub(r"\*+", "*", pattern).split("*")
    )
    text = first
    if rest:
        text += "".join(f"(?>.*?{part})" for part in rest[:-1]) + ".*" + rest[-1]
    compiled = re.compile(text, re.DOTALL).fullmatch
    if pattern.startswith("/"):
        return lambda path: compiled(path) is not None
    return lambda path: compiled(path[path.rfind("/") + 1 :]) is not None


def parse_field(text: str) -> tuple[str, str]:
    """A response field, ``Name: value`` (RFC 9110 section 5). Raises ``ValueError`` when it is malformed, or is
    one that only the server itself can get right (Content-Length, Connection, ...)."""
    name, colon, value = text.partition(":")
    value = value.strip(" \t")
    if not colon or not _TOKEN.fullmatch(name):
        raise ValueError(f"a field is Name: value, unlike {text!r}")
    if not _FIELD_VALUE.fullmatch(value):
        raise ValueError(f"the value of {name} is empty or has characters that cannot be sent")
    if name.lower() in _OURS:
        raise ValueError(f"{name} is the server's own to set")
    if name.lower() == "basic-auth":  # Netlify asks for the passwords in it instead of sending them
        raise ValueError(f"{name} would show the passwords to everybody: --auth FILE asks for them")
    if name.lower() == "content-type":
        raise ValueError(f"files have a {name} already: --media-type .EXT=TYPE says which")
    return name, value


def path_matcher(pattern: str) -> Callable[[str], bool]:
    """As ``matcher``; also raises ``ValueError`` for a pattern that no decoded path can match."""
    names = pattern.split("/")[1:]
    if names[-1:] == [""] and len(names) > 1:
        raise ValueError(f"{pattern} matches nothing: paths are compared without the / at their end")
    if pattern != "/" and {"", ".", ".."} & set(names):
        raise ValueError(f"{pattern} matches nothing: no path has empty names, . or .. when it is compared")
    return matcher(pattern)


@dataclass(slots=True)
class CacheRules:
    """Cache-Control by pattern; the first that matches counts."""

    _rules: list[tuple[Callable[[str], bool], str]] = field(default_factory=list)

    def add(self, pattern: str, value: str) -> None:
        """Append a rule. Raises ``ValueError`` for a pattern or value that cannot be."""
        self._rules.append((path_matcher(pattern), parse_field(f"Cache-Control: {value}")[1]))

    @classmethod
    def parse(cls, text: str, source: str) -> CacheRules:
        """Read lines of ``PATTERN VALUE``, like ``*.css public, max-age=3600``. Raises :class:`LineError`."""
        rules = cls()
        for number, line in significant_lines(text):
            pattern, _, value = line.strip().partition(" ")
            try:
                rules.add(pattern, value.strip())
            except ValueError as error:
                raise LineError(source, number, str(error)) from None
        return rules

    def find(self, *paths: str) -> str | None:
        """The value for what has these decoded paths."""
        return next((value for matches, value in self._rules if any(map(matches, paths))), None)


@dataclass(slots=True)
class HeaderRules:
    """Response fields by pattern; all that match count, a later one instead of an earlier one of its name."""

    _rules: list[tuple[Callable[[str], bool], tuple[str, str]]] = field(default_factory=list)

    def add(self, pattern: str, text: str) -> None:
        """Append a field, ``Name: value``. Raises ``ValueError`` for a pattern or field that cannot be."""
        self._rules.append((path_matcher(pattern), parse_field(text)))

    @classmethod
    def parse(cls, text: str, source: str) -> HeaderRules:
        """Read a ``_headers`` file, as Netlify does: a path on a line of its own, with ``*`` for any characters and
        ``:name`` for one name; below it its fields, indented. Of one name and path they are joined by ", ". Raises
        :class:`LineError`."""
        rules = cls()
        pattern, fields = "", dict[str, tuple[str, str]]()
        for number, line in [*significant_lines(text), (0, "/")]:
            try:
                if line[0] not in " \t":
                    for name, value in fields.values():
                        rules.add(pattern, f"{name}: {value}")
                    pattern, fields = _netlify_pattern(line), {}
                    path_matcher(pattern)
                elif pattern:
                    name, value = parse_field(line.strip())
                    before = fields.get(name.lower())
                    fields[name.lower()] = (before[0], f"{before[1]}, {value}") if before else (name, value)
                else:
                    raise ValueError("fields are indented below the pattern they are for; there is none yet")
            except ValueError as error:
                raise LineError(source, number, str(error)) from None
        return rules

    def find(self, *paths: str) -> list[tuple[str, str]]:
        """The fields for what has these decoded paths."""
        found: dict[str, tuple[str, str]] = {}
        for matches, (name, value) in self._rules:
            if any(map(matches, paths)):
                found[name.lower()] = name, value
        return list(found.values())


def _netlify_pattern(path: str) -> str:
    """The pattern for a path as Netlify has it: the / at its end makes no difference."""
    if path.startswith(("http://", "https://")):
        raise ValueError(f"{path} is of one host: --host NAME=DIR has a file of its own")
    return re.sub(r"(?<=/):[A-Za-z][A-Za-z0-9_]*(?=/|$)", ":", path.rstrip("/") or path)
