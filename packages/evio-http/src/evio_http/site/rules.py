"""Rules by path: Cache-Control and other response fields by pattern, and redirects.

A pattern either begins with "/" and is compared with the whole decoded path, or has no "/" and is compared
with the last name. In it ``*`` stands for any characters, "/" included, and ``?`` for any one but "/";
everything else stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from ..files.paths import BadPath, decode_target_path
from .rule_file import LineError, significant_lines

__all__ = ["CacheRules", "HeaderRules", "Redirects", "matcher", "parse_field", "path_matcher"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_FIELD_VALUE = re.compile(r"[\x21-\x7e\x80-\xff](?:[\x09\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
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
    first, *rest = (re.escape(part).replace(r"\?", "[^/]") for part in re.sub(r"\*+", "*", pattern).split("*"))
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
        """Read a ``_headers`` file: a pattern on a line of its own, below it its fields, indented. Raises
        :class:`LineError`."""
        rules = cls()
        pattern = ""
        for number, line in significant_lines(text):
            try:
                if line[0] not in " \t":
                    path_matcher(line)
                    pattern = line
                elif pattern:
                    rules.add(pattern, line.strip())
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


_STATUSES = {"301": 301, "302": 302, "303": 303, "307": 307, "308": 308}
_PLACEHOLDER = re.compile(r":([A-Za-z][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class _Redirect:
    names: tuple[str, ...]  # decoded; ":x" takes one name, a "*" at the end takes the rest
    to: str
    status: int

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """What the placeholders stand for, percent-encoded; None when the path is another."""
        names, taken = self.names, dict[str, str]()
        if names[-1:] == ("*",):
            names = names[:-1]
            taken["splat"] = "/".join(map(_encoded, segments[len(names) :]))
            segments = segments[: len(names)]
        if len(names) != len(segments):
            return None
        for name, segment in zip(names, segments, strict=True):
            if _PLACEHOLDER.fullmatch(name):
                taken[name[1:]] = _encoded(segment)
            elif name != segment:
                return None
        return taken

    def location(self, taken: dict[str, str]) -> str:
        made = _PLACEHOLDER.sub(lambda found: taken.get(found[1], found[0]), self.to)
        # With nothing for a ":splat", "/:splat/:name" would begin with "//" and name a host.
        return "/" + made.lstrip("/") if self.to.startswith("/") else made


@dataclass(slots=True)
class Redirects:
    """Redirects by path, in order; the first that matches counts. A "/" at the end makes no difference."""

    # Most rules are of one path each, of which a site that was moved has thousands: those are looked up.
    _exact: dict[tuple[str, ...], tuple[int, _Redirect]] = field(default_factory=dict)
    _patterns: list[tuple[int, _Redirect]] = field(default_factory=list)
    _count: int = 0

    @classmethod
    def parse(cls, text: str, source: str) -> Redirects:
        """Read a ``_redirects`` file: lines of ``FROM TO [STATUS]``, the status being 301 (the default), 302, 303,
        307 or 308. FROM is a path; in it ``:name`` takes one name and ``*`` at the end the rest of the path, and
        TO, a path or an http(s) URL, has them as ``:name`` and ``:splat``. Raises :class:`LineError`."""
        redirects = cls()
        for number, line in significant_lines(text):
            try:
                redirects.add(*line.split())
            except (TypeError, ValueError) as error:
                problem = "a line is FROM TO [STATUS]" if isinstance(error, TypeError) else str(error)
                raise LineError(source, number, problem) from None
        return redirects

    def add(self, origin: str, to: str, status: str = "301") -> None:
        """Append a redirect. Raises ``ValueError`` for one that cannot be, or leads to itself."""
        if status not in _STATUSES:
            raise ValueError(f"the status is one of {', '.join(_STATUSES)}, not {status}")
        names = _origin(origin)
        redirect = _Redirect(names, _destination(to, _placeholders(names)), _STATUSES[status])
        if redirect.to.startswith("/") and redirect.match(_segments(redirect.to)) is not None:
            raise ValueError(f"{origin} leads to itself")
        if "*" in names or any(map(_PLACEHOLDER.fullmatch, names)):
            self._patterns.append((self._count, redirect))
        else:
            self._exact.setdefault(names, (self._count, redirect))
        self._count += 1

    def find(self, segments: list[str]) -> tuple[str, int] | None:
        """Location and status for a path, given as ``decode_target_path`` does; None when it stays."""
        place, redirect = self._exact.get(tuple(segments), (self._count, None))
        for before, pattern in self._patterns:
            if before > place:
                break
            if (taken := pattern.match(segments)) is not None:
                return pattern.location(taken), pattern.status
        return (redirect.location({}), redirect.status) if redirect is not None else None


def _encoded(segment: str) -> str:
    return quote(segment, safe="")


def _segments(path: str) -> list[str]:
    return decode_target_path(re.split("[?#]", path)[0].encode())


def _origin(text: str) -> tuple[str, ...]:
    try:
        names = tuple(decode_target_path(text.encode()))
    except BadPath as error:
        raise ValueError(f"{text} cannot be the path of a request: {error}") from None
    if "*" in names[:-1] or any("*" in name for name in names if name != "*"):
        raise ValueError(f"* can only be the last name of {text}")
    return names


def _placeholders(names: Iterable[str]) -> set[str]:
    found = {name[1:] for name in names if _PLACEHOLDER.fullmatch(name)}
    if "splat" in found:
        raise ValueError("the name :splat is what * stands for")
    return found | {"splat"} if "*" in names else found


def _destination(text: str, known: set[str]) -> str:
    text = quote(text, safe="!$%&'()*+,-./:;=?@_~#[]")
    if not text.startswith("/"):
        if not text.startswith(("http://", "https://")) or not urlsplit(text).hostname:
            raise ValueError(f"{text} is neither a path nor an http:// or https:// URL")
        scheme, _, rest = text.partition("://")
        host, slash, path = rest.partition("/")
        # Whoever can choose a part of the host can choose the host.
        if not re.fullmatch(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]+)?", host):
            raise ValueError(f"{host} is not a host")
        return f"{scheme}://{host}/{_known(path, known)}" if slash else text + "/"
    if text.startswith("//") or text[1:2] == "\\":
        raise ValueError(f"{text} would lead to another host: write https:{text}")
    _segments(text)
    return _known(text, known)


def _known(text: str, known: set[str]) -> str:
    for name in _PLACEHOLDER.findall(text):
        if name not in known:
            raise ValueError(f":{name} is not in the path that is redirected")
    return text
