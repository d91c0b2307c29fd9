"""The host names that a certificate is for, to choose one by SNI (RFC 6066 section 3, RFC 6125)."""

from __future__ import annotations

import re
import ssl

__all__ = ["candidates", "certificate_names", "key_algorithm"]

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def certificate_names(path: str) -> frozenset[str]:
    """The DNS names of the first certificate of a PEM file, in lower case."""
    der = _first(path)
    return frozenset(_dns_names(der)) if der else frozenset()


def key_algorithm(path: str) -> bytes:
    """The object identifier of the algorithm of the key of the first certificate of a PEM file (RFC 5280 section
    4.1.2.7), as it is encoded; empty if there is no certificate."""
    der = _first(path)
    if not der:
        return b""
    fields = [value for tag, value in _elements(_elements(_elements(der)[0][1])[0][1]) if tag == _SEQUENCE]
    # TBSCertificate: signature, issuer, validity, subject, subjectPublicKeyInfo > algorithm > its identifier.
    return _elements(_elements(fields[4])[0][1])[0][1]


def _first(path: str) -> bytes:
    with open(path, encoding="ascii", errors="replace") as file:
        found = _PEM.search(file.read())
    return ssl.PEM_cert_to_DER_cert(found.group()) if found is not None else b""


# The ssl module shows the names of a certificate only after verifying it, which an expired or self-signed one
# would not survive; so the subjectAltName extension (RFC 5280 section 4.2.1.6) is found in the DER itself:
# Certificate > TBSCertificate > [3] extensions > (OID 2.5.29.17, [critical,] OCTET STRING > GeneralNames).
_SEQUENCE, _EXTENSIONS, _OID, _OCTETS, _DNS_NAME = 0x30, 0xA3, 0x06, 0x04, 0x82
_SUBJECT_ALT_NAME = bytes((0x55, 0x1D, 0x11))


def _dns_names(der: bytes) -> list[str]:
    certificate = _elements(_elements(der)[0][1])
    for tag, value in _elements(certificate[0][1]):
        if tag != _EXTENSIONS:
            continue
        for _, extension in _elements(_elements(value)[0][1]):
            parts = _elements(extension)
            if parts[0] == (_OID, _SUBJECT_ALT_NAME):
                names = _elements(_elements(parts[-1][1])[0][1])
                return [name.decode("ascii", "replace").lower() for tag, name in names if tag == _DNS_NAME]
    return []


def _elements(der: bytes) -> list[tuple[int, bytes]]:
    """The tags and values of consecutive DER elements (X.690)."""
    elements = []
    at = 0
    while at < len(der):
        tag, size = der[at], der[at + 1]
        at += 2
        if size & 0x80:
            width = size & 0x7F
            size = int.from_bytes(der[at : at + width], "big")
            at += width
        elements.append((tag, der[at : at + size]))
        at += size
    return elements


def candidates(name: str) -> tuple[str, str]:
    """Return the names by which a certificate for the host ``name`` is found, the better one first: the name, or a
    wildcard for its first label."""
    name = name.lower()
    return name, f"*.{name.partition('.')[2]}"
