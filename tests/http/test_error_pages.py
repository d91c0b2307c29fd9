"""Error pages."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from evio_http.pages.error_pages import error_page
from evio_http.site.error_template import ErrorTemplate
from evio_http.site.rule_file import LineError
from tests.tables import each_row


@each_row("status", [status for status in HTTPStatus if status >= 400])
def test_every_error_has_a_page_that_says_what_it_is(status: HTTPStatus) -> None:
    page = error_page(int(status)).decode()
    assert page.startswith("<!DOCTYPE html>")
    assert f"<title>{status.value} {status.phrase.replace(chr(39), '&#x27;')}</title>" in page
    assert f"<h1>{status.value} {status.phrase}</h1>" in page
    assert '<a href="/">' in page  # the way home
    assert "<script" not in page
    assert error_page(int(status)) is error_page(int(status))


@each_row("status", [0, 200, 304, 399, 999, -404])
def test_other_numbers_have_none(status: int) -> None:
    with pytest.raises(ValueError):
        error_page(status)


def test_a_template_for_every_error() -> None:
    template = ErrorTemplate("<h1>{{status}} {{ reason }}</h1>\n<p>{{explanation}}</p>{x}{{}", "t.html")
    response = template.response(404)
    assert response.body == b"<h1>404 Not Found</h1>\n<p>There is no such page.</p>{x}{{}"
    assert not response.has("Retry-After")
    assert template.response(503).has("Retry-After")
    assert b"I&#x27;m a Teapot" in bytes(template.response(418).body)  # type: ignore[arg-type]
    with pytest.raises(LineError, match=r"t.html:2: \{\{path\}\} is none of 'status', 'reason'"):
        ErrorTemplate("a\n{{path}}", "t.html")
