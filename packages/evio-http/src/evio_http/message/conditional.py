"""Conditional requests: entity tags, HTTP dates, and the order in which conditions are looked at
(RFC 9110 section 13)."""

from __future__ import annotations

import datetime
import enum
import functools
import math
import re
import time
from collections.abc import Callable

__all__ = ["Outcome", "evaluate", "http_date", "parse_http_date", "range_applies"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LATEST = int(datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC).timestamp())

_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
# RFC 9110 section 5.6.7: what is generated today, and the two obsolete formats that must be understood.
_FORMATS = tuple(
    re.compile(pattern)
    for pattern in (
        f"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT",
        f"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",
        f"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
_ENTITY_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_LIST_GAP = re.compile(r"[ \t]*(?:,[ \t]*)*")


class Outcome(enum.Enum):
    """The outcome of a request's conditions."""

    PROCEED = "proceed"
    NOT_MODIFIED = "304"
    PRECONDITION_FAILED = "412"


def evaluate(method: str, get: Callable[[str], str | None], etag: str, mtime: float | None) -> Outcome:
    """Evaluate the conditions of a request for a representation that exists, in the order of RFC 9110 section
    13.2.2. If-Range is the business of ``range_applies``.

    ``get`` gives the value of a field by its lower-case name, several lines of one field joined by ", ".
    ``etag`` is empty if there is none, which only "*" matches; ``mtime`` is in seconds since the epoch, None if it is
    not known. A date that is none is as good as absent (sections 13.1.3 and 13.1.4), and so are all without a
    ``mtime``; a list of tags that is malformed matches nothing.
    """
    reading = method in ("GET", "HEAD")
    if (tags := get("if-match")) is not None:
        if not _listed(tags, etag, weak=False):
            return Outcome.PRECONDITION_FAILED
    elif mtime is not None and (date := _date(get("if-unmodified-since"))) is not None and math.floor(mtime) > date:
        return Outcome.PRECONDITION_FAILED
    if (tags := get("if-none-match")) is not None:
        if _listed(tags, etag, weak=True):
            return Outcome.NOT_MODIFIED if reading else Outcome.PRECONDITION_FAILED
    elif reading and mtime is not None:
        date = _date(get("if-modified-since"))
        if date is not None and math.floor(mtime) <= date:
            return Outcome.NOT_MODIFIED
    return Outcome.PROCEED


def range_applies(if_range: str | None, etag: str, mtime: float | None, now: float | None = None) -> bool:
    """Tell whether Range counts, given If-Range: no such field, or this very representation (RFC 9110 section 13.1.5).

    A date has to be exactly Last-Modified, and that second has to be over: a file that is still being written
    could change again within it (section 8.8.2.2). ``now`` is ``time.time()`` when None.
    """
    if if_range is None:
        return True
    if if_range.startswith(('"', "W/")):
        return if_range == etag
    if mtime is None or parse_http_date(if_range) != math.floor(mtime):
        return False
    return (time.time() if now is None else now) >= math.floor(mtime) + 1


@functools.lru_cache(maxsize=1024)  # files that were deployed together have dates in common
def http_date(ts: float) -> str:
    """Seconds since the epoch as an IMF-fixdate (RFC 9110 section 5.6.7), like "Sun, 06 Nov 1994 08:49:37 GMT".
    What the format cannot say, as file systems can, becomes the earliest or latest it can."""
    t = time.gmtime(min(max(math.floor(ts), 0), _LATEST))
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


def parse_http_date(text: str) -> float | None:
    """An HTTP date in any of the three formats (RFC 9110 section 5.6.7) as seconds since the epoch, or None."""
    for pattern in _FORMATS:
        if found := pattern.fullmatch(text):
            break
    else:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        year = _century(year)
    second = int(found["second"])
    leap = second == 60
    try:
        moment = datetime.datetime(
            year,
            _MONTHS.index(found["month"]) + 1,
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            second - leap,
            tzinfo=datetime.UTC,
        )
    except ValueError:
        return None
    return moment.timestamp() + leap


def _century(year: int) -> int:
    """Two digits that would be more than 50 years ahead are of the past century."""
    this_year = time.gmtime().tm_year
    year += this_year - this_year % 100
    return year - 100 if year > this_year + 50 else year


def _date(text: str | None) -> float | None:
    return None if text is None else parse_http_date(text)


def _listed(tags: str, etag: str, *, weak: bool) -> bool:
    """Tell whether a list of entity tags has this one, compared weakly or strongly (RFC 9110 section 8.8.3.2)."""
    tags = tags.strip(" \t")
    if tags == "*":
        return True
    return any(tag == etag and (weak or not is_weak) for is_weak, tag in _entity_tags(tags))


def _entity_tags(tags: str) -> list[tuple[bool, str]]:
    """Split a list into its entity tags, each with True if it is weak; none at all if any of it is malformed."""
    found: list[tuple[bool, str]] = []
    position = _end(_LIST_GAP, tags, 0)
    while element := _ENTITY_TAG.match(tags, position):
        found.append((element[1] is not None, element[2]))
        position = _end(_LIST_GAP, tags, element.end())
        if position == len(tags):
            return found
        if "," not in tags[element.end() : position]:
            return []
    return []


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position
