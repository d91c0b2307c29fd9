"""Answers from memory, by request: found by what of a head an answer depends on.

Operations: find, keep, drop; O(1). Goals: heads that differ in what does not matter (cookies, referrers, user agents)
lead to the same record; a record is found with one look-up in a dictionary; memory is bounded, whatever is asked for.

The key is method, path, minor version and host. Accept-Encoding and Origin, with which a response may vary besides
(RFC 9110 section 12.5.5), are looked at only for resources that do; If-None-Match and If-Modified-Since choose between
the record's two answers. Requests with Range, If-Range, If-Match or If-Unmodified-Since are always for the site.
"""

from __future__ import annotations

import functools
import os
from typing import Any, final

from ..files.encodings import PREFERENCE, choose
from ..files.version import FileSource, FileVersion
from ..message.common_head import CODING, KEY, ORIGIN, OTHER, SINCE, TAGS, Head
from ..message.conditional import Outcome, evaluate
from ..message.request import Request
from ..message.response import DATE_AT, DateClock, FileBody, Response, not_modified_head
from .cache import HotAnswer, HotCache, Span

__all__ = ["Key", "KnownAnswers", "Record", "Records", "Variants"]

HELD_FILES = 512
"""Files held open because they may be asked for again, at most; and at most a share of the process's descriptors."""

HELD_SHARE = 8
"""One in so many descriptors may be a held file."""

MOST = 8 * 1024
"""Resources of one generation; see ``Records``."""

MOST_VARIANTS = 64
"""Of one resource; when there are more, all are forgotten. Four codings make at most 16; origins are the client's."""

Key = tuple[bytes, ...]
"""Method, path, minor version ("1"), host."""

OTHER_FIELDS = frozenset(("range", "if-range", "if-match", "if-unmodified-since"))


@final
class Record:
    """The answers of one resource, or of one variant of it. It may be used while its file is what it was; looked at

    - before each use (but once for all that was found ready in one turn of a loop): ``stat`` of the file;
    - once a second: that what was not there (``app.css.br``) still is not, mostly by one look for a whole directory.
    """

    __slots__ = (
        "checked_until",
        "ctime",
        "device",
        "full",
        "inode",
        "modified",
        "not_modified",
        "others",
        "path",
        "source",
        "tag",
        "turn",
        "until",
    )

    # What ``watch`` finds of the file.
    path: bytes
    ctime: int
    device: int
    inode: int

    def __init__(self, source: FileSource) -> None:
        self.source: FileSource = source
        self.tag: bytes | None = source.etag.encode("latin-1") if source.etag else None
        """The entity tag, as it is in ETag and, mostly, in If-None-Match."""
        self.modified: bytes | None = source.modified.encode("ascii") if source.modified else None
        """The date, as it is in Last-Modified and, mostly, in If-Modified-Since."""
        self.watch(source.watched())
        self.full: HotAnswer | None = None
        """To a request whose conditions, if any, do not hold it back."""
        self.not_modified: HotAnswer | None = None
        self.turn: int | None = None
        """The turn of a loop in which it was last looked at (``Conn.turn``)."""
        self.until: float = 0.0
        """Until when what was not there need not be looked for; ``time.monotonic``."""
        self.checked_until: float = 0.0
        """Until when the file need not be looked at; ``time.monotonic``."""

    def watch(self, watched: FileVersion | None) -> None:
        """Look from now on at the file or directory of ``FileSource.watched``, or else at all that the source has."""
        self.others: bool = watched is None
        """True if ``source.is_current`` has to look at more than one file or directory, the one at ``path``."""
        if watched is not None:
            self.path, (self.inode, _, self.ctime, _, self.device) = watched

    def answer(self, method: bytes, tags: bytes | None, since: bytes | None) -> HotAnswer | None:
        """Return the answer to a request with these values of If-None-Match and If-Modified-Since, if it is known."""
        source = self.source
        if source.missing:  # an error: conditions are about what is there (RFC 9110 section 13.2.1)
            return self.full
        if tags is not None and b"*" not in tags and (self.tag is None or self.tag.removeprefix(b"W/") not in tags):
            return self.full  # most tags that do not match are of an older version
        fields: dict[str, str] = {}
        if tags is not None:
            fields["if-none-match"] = tags.decode("latin-1").strip(" \t")
        if since is not None:
            fields["if-modified-since"] = since.decode("latin-1").strip(" \t")
        outcome = evaluate(method.decode("ascii"), fields.get, source.etag, source.mtime)
        return self.not_modified if outcome is Outcome.NOT_MODIFIED else self.full


@final
class Variants:
    """The records of a resource whose response varies."""

    __slots__ = ("_by_coding", "_by_origin", "_records")

    def __init__(self, names: frozenset[str]) -> None:
        self._by_coding = "accept-encoding" in names
        self._by_origin = "origin" in names
        self._records: dict[Any, Record] = {}

    def find(self, coding: bytes | None, origin: bytes | None) -> Record | None:
        """Return the record for these values of Accept-Encoding and Origin."""
        return self._records.get(self._key(coding, origin))

    def keep(self, coding: bytes | None, origin: bytes | None, record: Record) -> None:
        """Have ``record`` found."""
        if len(self._records) >= MOST_VARIANTS:
            self._records.clear()
        self._records[self._key(coding, origin)] = record

    def is_by(self, names: frozenset[str]) -> bool:
        """Tell whether it is by the values of these fields that a variant is found."""
        return self._by_coding is ("accept-encoding" in names) and self._by_origin is ("origin" in names)

    def _key(self, coding: bytes | None, origin: bytes | None) -> object:
        liked = _liked(coding) if self._by_coding else None
        return (liked, origin) if self._by_origin else liked


VARYING = frozenset(("accept-encoding", "origin"))


@functools.lru_cache(maxsize=512)
def _liked(accept_encoding: bytes | None) -> tuple[str, ...]:
    """Return the codings that a client likes better than none, best first: all that ``choose`` makes of the field."""
    left, order = list(PREFERENCE), []
    text = accept_encoding.decode("latin-1") if accept_encoding is not None else None
    while (coding := choose(text, left)) is not None:
        order.append(coding)
        left.remove(coding)
    return tuple(order)


class Records(dict[Key, "Record | Variants"]):
    """Records by key, in two generations: when the dictionary itself is full it becomes the old one, and what is then
    asked for moves back. What nobody asks for is gone after two fillings. For several threads: what they race for is
    the work of making a record once more."""

    __slots__ = ("_old",)

    def __init__(self) -> None:
        super().__init__()
        self._old: dict[Key, Record | Variants] = {}

    def find(self, key: Key) -> Record | Variants | None:
        """Return what is known under ``key``, in either generation."""
        known = self.get(key)
        if known is None:
            known = self._old.pop(key, None)
            if known is not None:
                self.keep(key, known)
        return known

    def answer_to(self, head: Head) -> tuple[Record, HotAnswer] | None:
        """Return the answer to a request with this head, if it is known. Whether it is still right is to be looked at.
        The events of HTTP/1.1 do the same without a call."""
        said = head.groups()
        key = said[KEY]
        known = self.get(key) or self.find(key)
        if known is None or said[OTHER] is not None:
            return None
        record = known if type(known) is Record else known.find(said[CODING], said[ORIGIN])
        if record is None:
            return None
        tags, since = said[TAGS], said[SINCE]
        if tags is None and since is None:
            answer = record.full
        elif tags == record.tag or (tags is None and since == record.modified):
            answer = record.not_modified
        else:
            answer = record.answer(said[0], tags, since)
        return (record, answer) if answer is not None else None

    def keep(self, key: Key, known: Record | Variants) -> None:
        """Remember ``known`` under ``key``."""
        if len(self) >= MOST and key not in self:
            self._old = dict(self)
            self.clear()
        self[key] = known

    def drop(self, key: Key) -> None:
        """Forget what is known under ``key``."""
        self.pop(key, None)
        self._old.pop(key, None)


class KnownAnswers:
    """Answers by request, in at most ``hot_bytes`` of memory; 0 disables it. For ``revalidate`` seconds after a look at
    its file a record is right without another. ``descriptors`` is how many the process may have."""

    def __init__(self, hot_bytes: int, revalidate: float, clock: DateClock, descriptors: int) -> None:
        self._revalidate = revalidate
        self._hot = HotCache(hot_bytes, min(HELD_FILES, descriptors // HELD_SHARE) if hot_bytes else 0)
        self._clock = clock
        # Directories that were looked at in the second that ends then, and are what they were.
        self._unchanged = set[FileVersion]()
        self._unchanged_until = 0.0
        # By scheme; of those requests after which a connection ends apart, so that ``data`` does not find them.
        self._kept = {(scheme, persistent): Records() for scheme in ("http", "https") for persistent in (True, False)}

    def records(self, scheme: str) -> Records:
        """Return the records for requests over connections that persist."""
        return self._kept[scheme, True]

    def find(self, request: Request, now: float) -> HotAnswer | None:
        """Return the answer to ``request``, if it is in memory and still right at ``now``, ``time.monotonic``."""
        if request.has_body:
            return None
        records, key = self._place(request)
        known = records.find(key)
        if known is None or (request.selective and request.headers.has_any(OTHER_FIELDS)):
            return None
        record = known.find(*_variant(request)) if isinstance(known, Variants) else known
        if record is None:
            return None
        if now >= record.checked_until:
            if not record.source.is_current():
                self._drop(records, key, record)
                return None
            record.watch(record.source.watched())
            record.checked_until = now + self._revalidate
        tags, since = _encoded(request, "if-none-match"), _encoded(request, "if-modified-since")
        answer = record.answer(key[0], tags, since)
        if answer is None or not self.renew(record, answer, now):
            return None
        return answer

    def is_current(self, record: Record, answer: HotAnswer, now: float, turn: int) -> bool:
        """Tell whether ``answer``, one of a record that was found before, may be sent at ``now`` in ``turn``
        (``Conn.turn``). The events of HTTP/1.1 do the same without a call."""
        if not (now < record.until and now < answer.until) and not self.renew(record, answer, now):
            return False
        if record.turn == turn or now < record.checked_until:
            return True
        if record.others:
            if not record.source.is_current():
                return False
        else:
            try:
                found = os.stat(record.path)
            except OSError:
                return False
            if (found.st_ctime_ns, found.st_ino, found.st_dev) != (record.ctime, record.inode, record.device):
                return False
        record.turn = turn
        if self._revalidate:
            record.checked_until = now + self._revalidate
        return True

    def renew(self, record: Record, answer: HotAnswer, now: float) -> bool:
        """Do what is due once a second: look for what was not there, and set Date. False: ``answer`` cannot be used."""
        if now >= record.until:
            self._clock.tell(now)
            if self._has_appeared(record.source):
                self._forget(record)
                return False
            record.until = self._clock.until
        return now < answer.until or self._hot.renew(answer, self._clock.tell(now), self._clock.until)

    def not_modified(self, record: Record) -> HotAnswer | None:
        """Make of a record's full answer the one for clients that have just that: the site would look the file up and
        open it, only to say that nothing has changed. None if it cannot be made."""
        full = record.full
        if full is None or full.status != 200:
            return None
        until, wire = full.until, full.wire
        if not wire:  # another thread has let go of it
            return None
        head = not_modified_head(wire)
        for line, value in ((b"\nETag: %b\r\n", record.tag), (b"\nLast-Modified: %b\r\n", record.modified)):
            if value is not None and line % value not in head:  # a handler has given it another validator
                return None
        answer = self._hot.keep(head, b"", record.source.files, 304, DATE_AT[304], until)
        record.not_modified = answer
        return answer

    def _has_appeared(self, source: FileSource) -> bool:
        """As the source says, with one look for all files of a directory: in a second, most of them are asked for."""
        directory = source.directory
        if directory is None or not source.absent:
            return source.has_appeared()
        if self._unchanged_until != self._clock.until:
            self._unchanged.clear()
            self._unchanged_until = self._clock.until
        if directory not in self._unchanged:
            if not directory.is_current():
                return source.has_appeared()
            self._unchanged.add(directory)
        return False

    def keep(
        self, request: Request, response: Response, head: bytes, body: bytes | FileBody, key: Key | None = None
    ) -> HotAnswer | None:
        """Have the same request answered from memory the next time, unless there are no descriptors left for it or its
        content is in parts. ``key`` is that of ``records`` for it, if nothing is known under it. Return what is
        kept."""
        source, status = response.source, response.status
        if not isinstance(source, FileSource) or status not in (200, 304, 404):
            return None
        if request.selective and request.headers.has_any(OTHER_FIELDS):
            return None
        content = body if isinstance(body, bytes) else _span(body)
        if content is None:
            return None
        try:
            answer = self._hot.keep(head, content, source.files, status, DATE_AT[status], self._clock.until)
        except OSError:  # no descriptor for it
            return None
        names = response.varies_by() & VARYING
        if key is not None and not names:
            record = Record(source)
            self._kept[request.scheme, True].keep(key, record)
        else:
            record = self._record(request, names, source)
        if status == 304:
            record.not_modified = answer
        else:
            record.full = answer
        return answer

    def release(self) -> bool:
        """Close the files that are held open; False if there are none."""
        return self._hot.release()

    def _record(self, request: Request, names: frozenset[str], source: FileSource) -> Record:
        """Return the record for what was made of ``source``, a new one if there is none."""
        records, key = self._place(request)
        known = records.find(key)
        record: Record | None
        if not names:
            record = known if type(known) is Record else None
            if record is None or record.source != source:
                record = Record(source)
                records.keep(key, record)
            return record
        variants = known if type(known) is Variants and known.is_by(names) else None
        if variants is None:
            variants = Variants(names)
            records.keep(key, variants)
        coding, origin = _variant(request)
        record = variants.find(coding, origin)
        if record is None or record.source != source:
            record = Record(source)
            variants.keep(coding, origin, record)
        return record

    def _place(self, request: Request) -> tuple[Records, Key]:
        # Over HTTP/2 the answers are those of HTTP/1.1.
        minor = "0" if request.version == "1.0" else "1"
        persistent = request.keep_alive and minor == "1"
        kind = minor if persistent or not request.keep_alive else "0 keep-alive"
        key = request.method.encode(), request.path, kind.encode(), request.host.encode("latin-1")
        return self._kept[request.scheme, persistent], key

    def _drop(self, records: Records, key: Key, record: Record) -> None:
        records.drop(key)
        self._forget(record)

    def _forget(self, record: Record) -> None:
        """Let go of answers that are no longer right. Those to errors are others' as well, and right for them."""
        for answer in (record.full, record.not_modified):
            if answer is not None and answer.status != 404:
                self._hot.drop(answer)
        record.full = record.not_modified = None


def _variant(request: Request) -> tuple[bytes | None, bytes | None]:
    return _encoded(request, "accept-encoding"), _encoded(request, "origin")


def _encoded(request: Request, name: str) -> bytes | None:
    value = request.headers.get(name)
    return value.encode("latin-1") if value is not None else None


def _span(body: FileBody) -> Span | None:
    """Return the one part of a file that ``body`` is; None if it is none."""
    piece = body.pieces[0]
    return None if len(body.pieces) != 1 or isinstance(piece, bytes) else Span(body.file.fd, *piece)
