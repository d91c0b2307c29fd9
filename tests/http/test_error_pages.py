"""Error pages."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from evio_http.pages.error_pages import error_page


@pytest.mark.parametrize("status", [status for status in HTTPStatus if status >= 400])
def test_every_error_has_a_page_that_says_what_it_is(status: HTTPStatus) -> None:
    page = error_page(int(status)).decode()
    assert page.startswith("<!DOCTYPE html>")
    assert f"<title>{status.value} {status.phrase.replace(chr(39), '&#x27;')}</title>" in page
    assert f"<h1>{status.value} {status.phrase}</h1>" in page
    assert "<script" not in page
    assert error_page(int(status)) is error_page(int(status))


@pytest.mark.parametrize("status", [0, 200, 304, 399, 999, -404])
def test_other_numbers_have_none(status: int) -> None:
    with pytest.raises(ValueError):
        error_page(status)
