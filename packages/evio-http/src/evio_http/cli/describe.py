"""Errors as the command line shows them."""

from __future__ import annotations

import re
import ssl

__all__ = ["describe"]


def describe(error: BaseException) -> str:
    """Return an error in one line, without the number of an ``OSError``, and without where OpenSSL found it."""
    if type(error) in (OSError, FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError):
        assert isinstance(error, OSError)
        name = error.filename.decode(errors="replace") if isinstance(error.filename, bytes) else error.filename
        return f"{name}: {error.strerror}" if name else str(error.strerror)
    if isinstance(error, ssl.SSLError):
        reason = re.sub(r"^\[[^]]*\] | \(_ssl\.c:[0-9]+\)$", "", error.strerror or str(error))
        return reason.replace("PEM lib", "no certificate, or no key, in PEM form")  # OpenSSL says no more
    return str(error)
