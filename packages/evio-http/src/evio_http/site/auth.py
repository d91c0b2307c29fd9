"""Basic authentication (RFC 7617) against a file of hashed passwords.

A line of the file is ``user:hash``. Hashes are

- ``$scrypt$ln=14,r=8,p=5$SALT$HASH``: scrypt (RFC 7914); what ``python -m evio_http.passwd USER`` makes;
- ``$pbkdf2-sha256$ROUNDS$SALT$HASH``: PBKDF2 (RFC 8018), as passlib writes it;
- ``$2b$...``: bcrypt, as ``htpasswd -B`` writes it, if the package ``bcrypt`` is installed.

Unsalted and MD5 hashes of old htpasswd files are refused rather than trusted.

To verify a password takes as long as its hash was made to take, a tenth of a second, so it is not done on a
loop: ``known`` answers at once from memory, ``verify`` belongs in another thread (scrypt, PBKDF2 and
bcrypt leave the interpreter to others meanwhile). How many of those run at once is for the caller to bound.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import importlib
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from .rule_file import LineError, read_text, significant_lines

__all__ = ["BasicAuth", "Verdict", "hash_password"]

MAX_REMEMBERED = 1024
"""Credentials that ``known`` remembers, right and wrong ones apart: guessing does not push out who is in."""

_LN, _R, _P = 14, 8, 5  # 16 MiB; one of the equivalent settings of OWASP's Password Storage Cheat Sheet
_MAX_MEMORY = 256 << 20
_MAX_ROUNDS = 10_000_000

_SCRYPT = re.compile(r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,3}),p=([0-9]{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")
_PBKDF2 = re.compile(r"\$pbkdf2-sha256\$([0-9]{1,8})\$([A-Za-z0-9./]+)\$([A-Za-z0-9./]+)")
_BCRYPT = re.compile(r"\$2[aby]\$[0-9]{2}\$[A-Za-z0-9./]{53}")

Check = Callable[[bytes], bool]
"""A check of whether a password is the one that was hashed."""


class Verdict(enum.Enum):
    """The state of a request's credentials."""

    ALLOWED = "allowed"
    DENIED = "denied"
    UNKNOWN = "unknown"


def hash_password(password: str) -> str:
    """A new scrypt hash with a random salt."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(password.encode(), salt, _LN, _R, _P, 32)
    return f"$scrypt$ln={_LN},r={_R},p={_P}${_base64(salt)}${_base64(digest)}"


class BasicAuth:
    """Basic authentication: ``users`` maps names to hashes. ``realm`` is shown to the user (RFC 9110 section 11.5).

    Raises ``ValueError`` for a hash that cannot be used and a realm that cannot be sent.
    """

    def __init__(self, users: Mapping[str, str], realm: str = "Restricted") -> None:
        if not (realm.isascii() and realm.isprintable()) or set(realm) & set('"\\'):
            raise ValueError(f'the realm must be printable ASCII without " and \\, not {realm!r}')
        self.challenge: str = f'Basic realm="{realm}", charset="UTF-8"'
        """The value of WWW-Authenticate."""
        self._checks = {user: _check(text) for user, text in users.items()}
        # For names that do not exist: to take as long, so that time does not tell which do.
        self._decoy = _check(next(iter(users.values()), None) or hash_password(secrets.token_hex()))
        self._key = secrets.token_bytes(32)
        self._verdicts: dict[bool, OrderedDict[bytes, str]] = {True: OrderedDict(), False: OrderedDict()}
        self._lock = threading.Lock()

    @classmethod
    def from_file(cls, path: str, realm: str = "Restricted") -> BasicAuth:
        """Read a file of ``user:hash`` lines. Raises :class:`LineError` for a bad one, ``OSError``, and
        ``ValueError`` for a bad realm."""
        users: dict[str, str] = {}
        for number, line in significant_lines(read_text(path)):
            user, separator, hashed = line.partition(":")
            if not separator or not user:
                raise LineError(path, number, "a line is user:hash (python -m evio_http.passwd USER makes one)")
            if user in users:
                raise LineError(path, number, f"the user {user!r} is already there")
            try:
                _check(hashed)
            except ValueError as error:
                raise LineError(path, number, str(error)) from None
            users[user] = hashed
        if not users:
            raise LineError(path, 1, "there are no users")
        return cls(users, realm)

    def known(self, authorization: str | None) -> Verdict:
        """Judge an Authorization field as far as it can be said at once: about 2 µs. ``UNKNOWN``: ask
        ``verify``."""
        if authorization is None or _credentials(authorization) is None:
            return Verdict.DENIED
        key = self._digest(authorization)
        with self._lock:
            for allowed, verdict in ((True, Verdict.ALLOWED), (False, Verdict.DENIED)):
                if key in self._verdicts[allowed]:
                    self._verdicts[allowed].move_to_end(key)
                    return verdict
        return Verdict.UNKNOWN

    def verify(self, authorization: str) -> bool:
        """Tell whether the credentials are right: slow, and remembered for ``known``. From any thread."""
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        user, password = credentials
        check = self._checks.get(user)
        allowed = (check or self._decoy)(password) and check is not None
        remembered = self._verdicts[allowed]
        with self._lock:
            remembered[self._digest(authorization)] = user
            if len(remembered) > MAX_REMEMBERED:
                remembered.popitem(last=False)
        return allowed

    def user(self, authorization: str | None) -> str:
        """The name in an Authorization field, right or wrong; empty when there is none."""
        credentials = _credentials(authorization) if authorization is not None else None
        return credentials[0] if credentials else ""

    def _digest(self, authorization: str) -> bytes:
        # Passwords are not kept; and with a secret key the time of a look-up tells nothing about them.
        return hashlib.blake2b(authorization.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32).digest()


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    """Name and password of an Authorization field (RFC 7617 section 2), or None when it is malformed."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(token.strip(" ").encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    name, colon, password = decoded.partition(b":")
    if not colon or any(byte < 32 or byte == 127 for byte in decoded):
        return None
    try:
        return name.decode(), password
    except UnicodeDecodeError:
        return None


def _check(text: str) -> Check:
    """The way to verify a hash. Raises ``ValueError`` for what is none that can be used."""
    if found := _SCRYPT.fullmatch(text):
        return _scrypt_check(int(found[1]), int(found[2]), int(found[3]), _unbase64(found[4]), _unbase64(found[5]))
    if found := _PBKDF2.fullmatch(text):
        salt, digest = (_unbase64(part.replace(".", "+")) for part in found.groups()[1:])
        return _pbkdf2_check(int(found[1]), salt, digest)
    if _BCRYPT.fullmatch(text):
        return _bcrypt_check(text)
    raise ValueError(
        "not a hash of $scrypt$, $pbkdf2-sha256$ or $2b$ (bcrypt): python -m evio_http.passwd USER makes one"
    )


def _scrypt_check(ln: int, r: int, p: int, salt: bytes, digest: bytes) -> Check:
    if not (ln >= 1 and r and p and p <= 16 and 128 * r * (1 << ln) <= _MAX_MEMORY and len(digest) >= 16):
        raise ValueError(f"these settings of scrypt cannot be used: at most {_MAX_MEMORY >> 20} MiB and p=16")
    return lambda password: hmac.compare_digest(_scrypt(password, salt, ln, r, p, len(digest)), digest)


def _scrypt(password: bytes, salt: bytes, ln: int, r: int, p: int, length: int) -> bytes:
    # OpenSSL's own bound is 32 MiB, and it counts a little more than the 128 * N * r of RFC 7914.
    memory = 128 * r * ((1 << ln) + p + 2) + (1 << 20)
    return hashlib.scrypt(password, salt=salt, n=1 << ln, r=r, p=p, maxmem=memory, dklen=length)


def _pbkdf2_check(rounds: int, salt: bytes, digest: bytes) -> Check:
    if not 1000 <= rounds <= _MAX_ROUNDS or len(digest) < 16:
        raise ValueError(f"these settings of PBKDF2 cannot be used: 1000 to {_MAX_ROUNDS} rounds")
    return lambda password: hmac.compare_digest(
        hashlib.pbkdf2_hmac("sha256", password, salt, rounds, len(digest)), digest
    )


def _bcrypt_check(text: str) -> Check:
    try:
        bcrypt: Any = importlib.import_module("bcrypt")
    except ImportError:
        raise ValueError("bcrypt hashes need bcrypt: pip install evio-http[bcrypt]") from None
    # bcrypt looks at 72 bytes; newer versions of the package refuse more, htpasswd cuts.
    return lambda password: bool(bcrypt.checkpw(password[:72], text.encode()))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ValueError("the hash is not well-formed base64") from None
