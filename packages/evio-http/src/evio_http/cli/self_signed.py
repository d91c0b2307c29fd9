"""A certificate for development, made with the package ``trustme``."""

from __future__ import annotations

import os
from collections.abc import Iterable

__all__ = ["make_certificate"]


def make_certificate(directory: str, names: Iterable[str]) -> tuple[str, str, str]:
    """Write a certificate for ``names`` (hosts and addresses) into ``directory``, which is for nobody else to read.
    Returns the files of the chain, of the key, and of the authority that clients have to trust.

    Raises ``ImportError`` without ``trustme``.
    """
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert(*names)
    chain, key, trusted = (os.path.join(directory, name) for name in ("chain.pem", "key.pem", "authority.pem"))
    with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(issued.private_key_pem.bytes())
    with open(chain, "wb") as file:
        file.writelines(pem.bytes() for pem in issued.cert_chain_pems)
    authority.cert_pem.write_to_path(trusted)
    return chain, key, trusted
