"""A certificate for 127.0.0.1, made for one run."""

from __future__ import annotations

from pathlib import Path

from .server import Requirement

__all__ = ["AUTHORITY", "CERTIFICATE", "KEY", "TRUSTME", "issue"]

TRUSTME = Requirement("trustme", "pip install trustme (it is among the development dependencies)")

AUTHORITY, CERTIFICATE, KEY = "authority.pem", "certificate.pem", "key.pem"
"""The files' names: what clients trust, the server's chain and the server's key."""


def issue(directory: Path) -> None:
    """Write the three files. As most of the web's now, the key is on the P-256 curve and the certificate comes with an
    intermediate one."""
    # Not at the top: a run without TLS does not need it.
    import trustme

    authority = trustme.CA()
    certificate = authority.create_child_ca().issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(directory / AUTHORITY))
    certificate.private_key_pem.write_to_path(str(directory / KEY))
    for number, pem in enumerate(certificate.cert_chain_pems):
        pem.write_to_path(str(directory / CERTIFICATE), append=number > 0)
