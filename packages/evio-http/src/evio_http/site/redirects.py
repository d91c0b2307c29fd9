"""Redirects and rewrites by path, from a ``_redirects`` file as Netlify reads it.

A line is ``FROM [NAME=VALUE ...] TO [STATUS[!]]``. FROM is a path; in it ``:name`` takes one name, and ``*`` at the end
the rest. NAME=VALUE is a parameter of the query that has to be there; ``:name`` for VALUE takes it. TO, a path or an
http(s) URL, has what was taken as ``:name`` and ``:splat``. STATUS is 301 (the default), 302, 303, 307 or 308, or else
200 or 404: the file at TO is sent with that status. A rule is for what does not exist, or with ``!`` for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from ..files.paths import BadPath, decode_target_path
from .rule_file import LineError, significant_lines

__all__ = ["REWRITES", "Found", "Move", "Redirects", "with_query"]

REWRITES = frozenset((200, 404))
"""Statuses with which a file of the site is sent instead."""

_STATUSES = {str(status): status for status in (200, 301, 302, 303, 307, 308, 404)}
_PLACEHOLDER = re.compile(r":([A-Za-z][A-Za-z0-9_]*)")
_PARAMETER = re.compile(r"([A-Za-z0-9_.~-]+)=(.*)")


class Move(NamedTuple):
    """The target of a request: ``to`` is a URI reference, or for a rewrite (status 200 or 404) the path of a file."""

    to: str
    status: int
    forced: bool
    """Also if there is a file at the path that was asked for."""


class Found(NamedTuple):
    """The rule for a request, if any."""

    move: Move | None
    by_query: bool
    """With another query there might be another."""


@dataclass(frozen=True, slots=True)
class _Rule:
    names: tuple[str, ...]  # decoded; ":x" takes one name, a "*" at the end takes the rest
    parameters: tuple[tuple[str, str], ...]
    to: str
    status: int
    forced: bool

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """Return the values of the placeholders, percent-encoded; None when the path is another."""
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

    def take(self, fields: list[tuple[str, str]], taken: dict[str, str]) -> list[tuple[str, str]] | None:
        """Add what the parameters stand for to ``taken``; the fields of the query that are left, None if one is
        missing."""
        left = list(fields)
        for name, value in self.parameters:
            wanted = _PLACEHOLDER.fullmatch(value)
            given = next((each for each in left if each[0] == name and (wanted or each[1] == value)), None)
            if given is None:
                return None
            left.remove(given)
            if wanted:
                taken[wanted[1]] = _encoded(given[1])
        return left

    def move(self, taken: dict[str, str], query: str) -> Move | None:
        """Return the target with what was taken; None if that would be where it came from, again and again."""
        made = _PLACEHOLDER.sub(lambda found: taken.get(found[1], found[0]), self.to)
        if not self.to.startswith("/"):
            return Move(with_query(made, query), self.status, self.forced)
        # With nothing for a ":splat", "/:splat/:name" would begin with "//" and name a host.
        made = "/" + made.lstrip("/")
        if self.status in REWRITES:
            return Move(made, self.status, self.forced)
        if not self.parameters and self.match(_segments(made)) is not None:
            return None
        return Move(with_query(made, query), self.status, self.forced)


@dataclass(slots=True)
class Redirects:
    """Rules in order; the first that matches counts. A "/" at the end makes no difference."""

    # Most rules are of one path each, of which a site that was moved has thousands: those are looked up.
    _exact: dict[tuple[str, ...], tuple[int, _Rule]] = field(default_factory=dict)
    _patterns: list[tuple[int, _Rule]] = field(default_factory=list)
    _count: int = 0

    @classmethod
    def parse(cls, text: str, source: str) -> Redirects:
        """Read a ``_redirects`` file. Raises :class:`LineError`."""
        redirects = cls()
        for number, line in significant_lines(text):
            try:
                redirects.add(line)
            except ValueError as error:
                raise LineError(source, number, str(error)) from None
        return redirects

    def add(self, line: str) -> None:
        """Append a rule. Raises ``ValueError`` for one that cannot be, or leads to itself."""
        origin, parameters, to, status, forced = _split(line)
        names = _origin(origin)
        known = _placeholders([*names, *(value for _, value in parameters)])
        rule = _Rule(names, tuple(parameters), _destination(to, known, status), status, forced)
        exact = not (parameters or "*" in names or any(map(_PLACEHOLDER.fullmatch, names)))
        redirecting = status not in REWRITES and rule.to.startswith("/") and not parameters
        if redirecting and (exact or forced) and rule.match(_segments(rule.to)) is not None:
            raise ValueError(f"{origin} leads to itself")
        if exact:
            self._exact.setdefault(names, (self._count, rule))
        else:
            self._patterns.append((self._count, rule))
        self._count += 1

    def find(self, segments: list[str], query: bytes = b"") -> Found:
        """The rule for a path, given as ``decode_target_path`` does, and a query."""
        place, exact = self._exact.get(tuple(segments), (self._count, None))
        text, by_query = query.decode("latin-1"), False
        for before, rule in self._patterns:
            if before > place:
                break
            taken = rule.match(segments)
            if taken is None:
                continue
            left = text
            if rule.parameters:
                by_query = True
                fields = rule.take(parse_qsl(text, keep_blank_values=True), taken)
                if fields is None:
                    continue
                left = urlencode(fields)
            move = rule.move(taken, left)
            if move is not None:
                return Found(move, by_query)
        return Found(exact.move({}, text) if exact is not None else None, by_query)


def with_query(location: str, query: str) -> str:
    """``location`` with the query of the request, unless it has its own."""
    before, mark, fragment = location.partition("#")
    return f"{before}?{query}{mark}{fragment}" if query and "?" not in before else location


def _encoded(segment: str) -> str:
    return quote(segment, safe="")


def _segments(path: str) -> list[str]:
    return decode_target_path(re.split("[?#]", path)[0].encode())


def _split(line: str) -> tuple[str, list[tuple[str, str]], str, int, bool]:
    """The parts of a line."""
    origin, *words = line.split()
    parameters: list[tuple[str, str]] = []
    while words and not words[0].startswith(("/", "http://", "https://")) and (found := _PARAMETER.fullmatch(words[0])):
        parameters.append((found[1], found[2]))
        words.pop(0)
    comment = next((place for place, word in enumerate(words) if word.startswith("#") and place), len(words))
    words = words[:comment]
    if not words:
        raise ValueError("a line is FROM TO [STATUS], or FROM NAME=VALUE TO [STATUS]")
    to, status, *conditions = words if len(words) > 1 else (*words, "301")
    forced = status.endswith("!")
    if status.removesuffix("!") not in _STATUSES:
        raise ValueError(f"the status is one of {', '.join(_STATUSES)}, with ! also if there is a file, not {status}")
    if conditions:
        raise ValueError(f"a line is FROM TO [STATUS]: conditions are not known, unlike {conditions[0]}")
    return origin, parameters, to, _STATUSES[status.removesuffix("!")], forced


def _origin(text: str) -> tuple[str, ...]:
    if text.startswith(("http://", "https://")):
        raise ValueError(f"{text} is of one host: --host NAME=DIR has a file of its own")
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


def _destination(text: str, known: set[str], status: int) -> str:
    text = quote(text, safe="!$%&'()*+,-./:;=?@_~#[]")
    if not text.startswith("/"):
        if not text.startswith(("http://", "https://")) or not urlsplit(text).hostname:
            raise ValueError(f"{text} is neither a path nor an http:// or https:// URL")
        if status in REWRITES:
            raise ValueError(f"{text} is elsewhere, and this is no proxy: with {status} TO is a path of the site")
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
