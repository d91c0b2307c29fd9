"""Conditions of requests: tables by the sections of RFC 9110."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evio_http.message.conditional import (
    Outcome,
    evaluate,
    http_date,
    parse_http_date,
    range_applies,
)
from tests.extent import examples
from tests.tables import each_row

ETAG = '"abc"'
MTIME = 784111777.5
SAME, EARLIER, LATER = (
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:36 GMT",
    "Sun, 06 Nov 1994 08:49:38 GMT",
)
GO, NOT_MODIFIED, FAILED = Outcome.PROCEED, Outcome.NOT_MODIFIED, Outcome.PRECONDITION_FAILED


@each_row(
    "fields, outcome, outcome_of_put",
    [
        ({}, GO, GO),
        # If-Match, strongly compared (13.1.1)
        ({"if-match": "*"}, GO, GO),
        ({"if-match": '"abc"'}, GO, GO),
        ({"if-match": '"x", "abc"'}, GO, GO),
        ({"if-match": '"x","abc"'}, GO, GO),
        ({"if-match": ' , "x",, "abc" ,'}, GO, GO),
        ({"if-match": '"a,b", "abc"'}, GO, GO),
        ({"if-match": '"x"'}, FAILED, FAILED),
        ({"if-match": 'W/"abc"'}, FAILED, FAILED),
        ({"if-match": '"ab"'}, FAILED, FAILED),
        ({"if-match": '"abc-br"'}, FAILED, FAILED),
        ({"if-match": ""}, FAILED, FAILED),
        ({"if-match": "abc"}, FAILED, FAILED),
        ({"if-match": '"x" "abc"'}, FAILED, FAILED),
        ({"if-match": '"x\x7f", "abc"'}, FAILED, FAILED),
        ({"if-match": '"abc"garbage'}, FAILED, FAILED),
        ({"if-match": '"abc", garbage'}, FAILED, FAILED),
        ({"if-match": '"abc" "abc"'}, FAILED, FAILED),
        ({"if-match": '"abc" "x"'}, FAILED, FAILED),
        ({"if-match": '"abc""x"'}, FAILED, FAILED),
        ({"if-match": '*, "abc"'}, FAILED, FAILED),
        ({"if-match": '"abc", *'}, FAILED, FAILED),
        # If-Unmodified-Since (13.1.4)
        ({"if-unmodified-since": SAME}, GO, GO),
        ({"if-unmodified-since": LATER}, GO, GO),
        ({"if-unmodified-since": EARLIER}, FAILED, FAILED),
        ({"if-unmodified-since": "yesterday"}, GO, GO),
        ({"if-unmodified-since": EARLIER + ", " + LATER}, GO, GO),
        # If-Match has precedence over it (13.2.2 step 1)
        ({"if-match": '"abc"', "if-unmodified-since": EARLIER}, GO, GO),
        ({"if-match": '"x"', "if-unmodified-since": LATER}, FAILED, FAILED),
        # If-None-Match, weakly compared (13.1.2)
        ({"if-none-match": "*"}, NOT_MODIFIED, FAILED),
        ({"if-none-match": '"abc"'}, NOT_MODIFIED, FAILED),
        ({"if-none-match": 'W/"abc"'}, NOT_MODIFIED, FAILED),
        ({"if-none-match": '"x", W/"abc"'}, NOT_MODIFIED, FAILED),
        ({"if-none-match": '"x"'}, GO, GO),
        ({"if-none-match": 'w/"abc"'}, GO, GO),
        ({"if-none-match": "abc"}, GO, GO),
        ({"if-none-match": '"abc"garbage'}, GO, GO),
        ({"if-none-match": '"abc" "abc"'}, GO, GO),
        ({"if-none-match": 'W/"abc"W/"abc"'}, GO, GO),
        ({"if-none-match": '"abc", W/'}, GO, GO),
        ({"if-none-match": '"abc'}, GO, GO),
        ({"if-none-match": '"abc-gzip"'}, GO, GO),
        ({"if-none-match": ""}, GO, GO),
        # If-Modified-Since, for GET and HEAD alone (13.1.3)
        ({"if-modified-since": SAME}, NOT_MODIFIED, GO),
        ({"if-modified-since": LATER}, NOT_MODIFIED, GO),
        ({"if-modified-since": EARLIER}, GO, GO),
        ({"if-modified-since": "Sunday, 06-Nov-94 08:49:37 GMT"}, NOT_MODIFIED, GO),
        ({"if-modified-since": "Sun Nov  6 08:49:37 1994"}, NOT_MODIFIED, GO),
        ({"if-modified-since": "1994-11-06"}, GO, GO),
        ({"if-modified-since": SAME + "; length=3"}, GO, GO),
        # If-None-Match has precedence over it (13.2.2 step 3)
        ({"if-none-match": '"x"', "if-modified-since": LATER}, GO, GO),
        ({"if-none-match": '"abc"', "if-modified-since": EARLIER}, NOT_MODIFIED, FAILED),
        # The first steps come first
        ({"if-match": '"abc"', "if-none-match": '"abc"'}, NOT_MODIFIED, FAILED),
        ({"if-match": '"x"', "if-none-match": '"abc"'}, FAILED, FAILED),
        ({"if-match": '"abc"', "if-modified-since": SAME}, NOT_MODIFIED, GO),
        ({"if-unmodified-since": EARLIER, "if-none-match": '"abc"'}, FAILED, FAILED),
        ({"if-unmodified-since": SAME, "if-modified-since": SAME}, NOT_MODIFIED, GO),
    ],
)
def test_evaluate(fields: dict[str, str], outcome: Outcome, outcome_of_put: Outcome) -> None:
    asked = set()

    def get(name: str) -> str | None:
        asked.add(name)
        return fields.get(name)

    assert evaluate("GET", get, ETAG, MTIME) is outcome
    assert evaluate("HEAD", get, ETAG, MTIME) is outcome
    assert evaluate("PUT", get, ETAG, MTIME) is outcome_of_put
    assert asked <= {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"}, "see Request.selective"


def test_a_long_list_of_tags_takes_linear_time() -> None:
    # A hundred thousand tags, and as many commas: far more than any head may have.
    assert evaluate("GET", {"if-none-match": '"x",' * 100_000 + ETAG}.get, ETAG, 0) is NOT_MODIFIED
    assert evaluate("GET", {"if-none-match": " ," * 100_000 + "x"}.get, ETAG, 0) is GO
    assert evaluate("GET", {"if-none-match": '"' * 100_001}.get, ETAG, 0) is GO


@each_row(
    "if_range, now, applies",
    [
        (None, MTIME, True),
        ('"abc"', MTIME, True),
        ('"abd"', MTIME, False),
        ('W/"abc"', MTIME, False),
        ('"abc", "x"', MTIME, False),
        ("abc", MTIME, False),
        ("", MTIME, False),
        ("*", MTIME, False),
        (SAME, MTIME + 60, True),
        ("Sun Nov  6 08:49:37 1994", MTIME + 60, True),
        (EARLIER, MTIME + 60, False),
        (LATER, MTIME + 60, False),
        # Within the second of the last change the date is no strong validator (8.8.2.2).
        (SAME, MTIME + 0.4, False),
        (SAME, MTIME + 0.5, True),
    ],
)
def test_range_applies(if_range: str | None, now: float, applies: bool) -> None:
    assert range_applies(if_range, ETAG, MTIME, now) is applies


def test_range_applies_takes_the_clock() -> None:
    assert range_applies(SAME, ETAG, MTIME)
    assert not range_applies("Fri, 31 Dec 9999 23:59:59 GMT", ETAG, 253402300799.0)


@each_row(
    "text, seconds",
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        ("Sun Nov  6 08:49:37 1994", 784111777),
        ("Sun Nov 06 08:49:37 1994", 784111777),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
        ("Thu, 29 Feb 2024 12:00:00 GMT", 1709208000),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800),  # a leap second
        ("Mon, 06 Nov 1994 08:49:37 GMT", 784111777),  # the wrong day of the week
        ("Sun, 06 Nov 1994 08:49:37 gmt", None),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 Nov 1994 08:49:37 +0000", None),
        ("Sun, 06 Nov 1994 08:49:37", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("sun, 06 nov 1994 08:49:37 GMT", None),
        ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        ("Thu, 29 Feb 2023 12:00:00 GMT", None),
        ("Sun, 00 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 0000 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:00:00 GMT", None),
        ("Sun, 06 Nov 1994 08:60:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:61 GMT", None),
        ("Sun, 06-Nov-1994 08:49:37 GMT", None),
        ("Sunday, 06-Nov-94 08:49:37", None),
        ("Sun Nov 6 08:49:37 1994", None),
        ("Sun Nov  6 08:49:37 1994 GMT", None),
        (" Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT ", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT\n", None),
        ("Sun, ٠٦ Nov 1994 08:49:37 GMT", None),
        ("784111777", None),
        ("", None),
    ],
)
def test_parse_http_date(text: str, seconds: int | None) -> None:
    assert parse_http_date(text) == seconds


def test_a_year_of_two_digits_is_at_most_fifty_years_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr("time.gmtime", lambda: time.struct_time((2026, 1, 1, 0, 0, 0, 0, 1, 0)))
    years = {
        digits: parse_http_date(f"Sunday, 01-Jan-{digits} 00:00:00 GMT") for digits in ("26", "76", "77", "99", "00")
    }
    assert years == {
        "26": parse_http_date("Thu, 01 Jan 2026 00:00:00 GMT"),
        "76": parse_http_date("Wed, 01 Jan 2076 00:00:00 GMT"),
        "77": parse_http_date("Sat, 01 Jan 1977 00:00:00 GMT"),
        "99": parse_http_date("Fri, 01 Jan 1999 00:00:00 GMT"),
        "00": parse_http_date("Sat, 01 Jan 2000 00:00:00 GMT"),
    }


@settings(max_examples=examples(100), deadline=None)
@given(st.floats(min_value=0, max_value=253402300799))
def test_dates_survive_formatting(seconds: float) -> None:
    assert parse_http_date(http_date(seconds)) == int(seconds)


def test_http_date() -> None:
    assert http_date(784111777.999) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert http_date(-0.5) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert http_date(-(2.0**62)) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert http_date(2.0**62) == "Fri, 31 Dec 9999 23:59:59 GMT"


@each_row(
    ("fields", "outcome"),
    [
        ({"if-none-match": "*"}, NOT_MODIFIED),
        ({"if-match": "*"}, GO),
        ({"if-none-match": '""'}, GO),
        ({"if-none-match": ""}, GO),
        ({"if-match": '""'}, FAILED),
        ({"if-modified-since": LATER}, GO),
        ({"if-unmodified-since": EARLIER}, GO),
    ],
)
def test_what_has_no_validators(fields: dict[str, str], outcome: Outcome) -> None:
    assert evaluate("GET", fields.get, "", None) is outcome
    assert not range_applies('""', "", None)
    assert not range_applies(SAME, "", None)
    assert range_applies(None, "", None)
