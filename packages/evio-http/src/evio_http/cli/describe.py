"""Errors as the command line shows them."""

from __future__ import annotations

__all__ = ["describe"]


def describe(error: BaseException) -> str:
    """Return an error in one line, without the number of an ``OSError``."""
    if type(error) in (OSError, FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError):
        assert isinstance(error, OSError)
        name = error.filename.decode(errors="replace") if isinstance(error.filename, bytes) else error.filename
        return f"{name}: {error.strerror}" if name else str(error.strerror)
    return str(error)
