"""Certificates and what else a TLS session is made of.

Certificates are looked at again for every handshake (one ``stat`` a file, a thousandth of what the handshake
costs), so a renewed one is used at once; a broken one is reported once and the old one stays in use.
"""

from __future__ import annotations

import os
import ssl
import threading
from typing import NoReturn

from ..addresses.address import Address
from ..errors import TLSError
from ..logs import log
from .certificate_names import candidates, certificate_names, key_algorithm
from .client_hello import NO_APPLICATION_PROTOCOL, offered_protocols
from .session import NamedSSLObject, TLSSession, reason

__all__ = ["ServerCredentials", "client_session"]

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption (RFC 9325 section 4.2). All of TLS 1.3 have both."""

TICKETS = 1
"""Session tickets for each full handshake of TLS 1.3. A second one, as is OpenSSL's default, costs a server 2 % of what
a connection does, and is of use to a client that resumes twice at the same time."""


class ServerCredentials:
    """The certificates of one address; the one that a session gets depends on the name its client asks for."""

    def __init__(self, address: Address) -> None:
        """Load the files. Raises :class:`TLSError` naming the one that is bad."""
        self._address = address
        self._lock = threading.Lock()
        self._signature = _signature(self._address)
        self._contexts = self._load()

    def session(self) -> TLSSession:
        """A session for a new connection."""
        signature = _signature(self._address)
        if signature != self._signature:
            self._reload(signature)
        session = TLSSession(self._contexts[0][1], server_side=True)
        if self._address.alpn and isinstance(session.object, NamedSSLObject):
            session.object.hello = b""  # is wanted
        return session

    def reload(self) -> None:
        """Load the files again. Raises :class:`TLSError` when one is bad; those in use then stay."""
        signature = _signature(self._address)
        contexts = self._load()
        with self._lock:
            self._signature, self._contexts = signature, contexts

    def _reload(self, signature: object) -> None:
        with self._lock:
            if signature == self._signature:
                return
            self._signature = signature  # also after a failure: one message for each change is enough
            try:
                self._contexts = self._load()
                log.info("certificates of %s reloaded", self._address.text)
            except TLSError as error:
                log.error("%s; the certificates in use stay", error)

    def _load(self) -> list[tuple[frozenset[str], ssl.SSLContext]]:
        """Names and what a client that asks for one of them gets; the first is for all others, too. Certificates for
        one name whose keys are of different algorithms are in one context: OpenSSL sends what a client can verify."""
        pairs, alone, algorithms, names = self._address.certs, [], [], []
        for pair in pairs:
            alone.append(self._context([pair]))
            of_pair, algorithm = self._facts(pair[0])
            names.append(of_pair or NAMELESS)
            algorithms.append(algorithm)
        loaded, used = [], set[int]()
        for together, for_names in _by_name(names):
            chosen = {algorithms[place]: place for place in reversed(together)}  # the first of each algorithm
            places = sorted(chosen.values())
            used.update(places)
            context = alone[places[0]] if len(places) == 1 else self._context([pairs[place] for place in places])
            loaded.append((for_names, context))
        for place, (cert, _) in enumerate(pairs):
            if place not in used:
                raise TLSError(f"certificate {cert} would never be used: others for its names are before it")
        return loaded

    @staticmethod
    def _facts(cert: str) -> tuple[frozenset[str], bytes]:
        try:
            return certificate_names(cert), key_algorithm(cert)
        except (OSError, IndexError) as error:  # it was replaced or removed since
            raise TLSError(f"cannot read the names of certificate {cert}: {reason(error)}") from error

    def _context(self, pairs: list[tuple[str, str | None]]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sslobject_class = NamedSSLObject
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # whatever the build of Python or OpenSSL would allow
        context.set_ciphers(CIPHERS)
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.num_tickets = TICKETS
        context.sni_callback = self._on_client_hello
        for cert, key in pairs:
            _load_pair(context, cert, key)
        if self._address.alpn:
            context.set_alpn_protocols(list(self._address.alpn))
        if self._address.client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            _load_trust(context, self._address.client_ca)
        return context

    def _on_client_hello(self, sslobject: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        """Choose by the name that a client asks for; an alert if it speaks none of our protocols."""
        if isinstance(sslobject, NamedSSLObject):
            sslobject.server_name = name
            if sslobject.hello is not None:
                offered = offered_protocols(sslobject.hello)
                if offered is not None and not set(offered) & set(self._address.alpn):
                    sslobject.refusal = f"the client speaks {', '.join(offered)}, not {', '.join(self._address.alpn)}"
                    return NO_APPLICATION_PROTOCOL
        if name is not None and len(self._contexts) > 1:
            for candidate in candidates(name):
                for names, context in self._contexts:
                    if candidate in names:
                        sslobject.context = context
                        return None
        return None


NAMELESS = frozenset(("",))
"""Of certificates without names, such as those for addresses: nobody asks for them by name."""


def _by_name(of_certificates: list[frozenset[str]]) -> list[tuple[tuple[int, ...], frozenset[str]]]:
    """Names by the certificates that are for them: places in order, and names. What the first is for comes first."""
    groups: dict[tuple[int, ...], set[str]] = {}
    for name in frozenset[str]().union(*of_certificates):
        together = tuple(place for place, names in enumerate(of_certificates) if name in names)
        groups.setdefault(together, set()).add(name)
    return [(together, frozenset(names)) for together, names in sorted(groups.items())]


_client_contexts: dict[object, tuple[object, ssl.SSLContext]] = {}
"""By what an address says of TLS, with the versions of the files. To make one takes some 30 ms, nearly all of it for
the certificate authorities of the system; those are read again when the program starts again, as everywhere."""

MOST_CLIENT_CONTEXTS = 64


def client_session(address: Address) -> TLSSession:
    """A session that verifies the server of a dialled address, unless that says otherwise. Raises :class:`TLSError`."""
    key, signature = (address.ca, address.certs, address.alpn, address.verify), _signature(address)
    known = _client_contexts.get(key)
    if known is not None and known[0] == signature:
        context = known[1]
    else:
        context = _client_context(address)
        if len(_client_contexts) >= MOST_CLIENT_CONTEXTS:
            _client_contexts.clear()
        _client_contexts[key] = signature, context
    return TLSSession(context, server_side=False, server_hostname=address.server_name or address.host)


def _client_context(address: Address) -> ssl.SSLContext:
    if not address.verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif address.ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load_trust(context, address.ca)
    else:
        context = ssl.create_default_context()
    for cert, key in address.certs:
        _load_pair(context, cert, key)
    if address.alpn:
        context.set_alpn_protocols(list(address.alpn))
    return context


def _signature(address: Address) -> object:
    """Return the versions of its files."""
    paths = [path for pair in address.certs for path in pair if path]
    paths += [path for path in (address.client_ca, address.ca) if path]
    return [_identity(path) for path in paths]


def _identity(path: str) -> object:
    try:
        status = os.stat(path)
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_size, status.st_ino


def _load_pair(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        why = reason(error).replace("PEM lib", "no certificate, or no key, in PEM form")  # OpenSSL says no more
        raise TLSError(f"cannot load certificate {cert} with key {key or cert}: {why}") from error


def _load_trust(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise TLSError(f"cannot load certificate authorities {path}: {reason(error)}") from error


def _no_password() -> NoReturn:
    raise ValueError("the key is encrypted, and a server cannot ask for its password")
