"""One user: passwords, and what the rules allow."""

from __future__ import annotations

import hashlib
import hmac
import re

from ..errors import AclError
from .known import Known
from .selector import Selector

__all__ = ["User", "merge_selectors", "password_hash"]

HASH = re.compile(rb"[0-9a-f]{64}").fullmatch
BAD_HASH = "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
NO_PASSWORD = "The password you are trying to remove from the user does not exist"


def password_hash(password: bytes) -> str:
    """Return a password as it is kept: SHA-256 in hexadecimal."""
    return hashlib.sha256(password).hexdigest()


def merge_selectors(rules: list[bytes]) -> list[bytes]:
    """Join the words of each selector, ``(`` to ``)``, to one rule. Raises :class:`AclError` for one that has no end:
    its text is the rule with which it begins."""
    merged: list[bytes] = []
    begun = False
    for rule in rules:
        if begun:
            merged[-1] += b" " + rule
        else:
            merged.append(rule)
        begun = (begun or rule.startswith(b"(")) and not rule.endswith(b")")
    if begun:
        raise AclError(merged[-1].decode("utf-8", "surrogateescape"))
    return merged


class User:
    """A user; as long as no rule says otherwise it is off and may do nothing."""

    __slots__ = (
        "_known",
        "all_channels",
        "enabled",
        "name",
        "nopass",
        "passwords",
        "sanitize",
        "selectors",
        "unrestricted",
    )

    def __init__(self, name: str, known: Known, all_channels: bool) -> None:
        self.name: str = name
        self._known = known
        self.all_channels: bool = all_channels  # acl-pubsub-default
        self.enabled: bool = False
        self.nopass: bool = False
        self.sanitize: str = ""  # the rule about RESTORE, if any was given
        self.passwords: list[str] = []
        self.selectors: list[Selector] = [Selector(known, all_channels)]
        """The rules of the user itself, then its selectors; what any one of them allows is allowed."""
        self.unrestricted: bool = False
        """True if everything is allowed, so that nothing needs to be asked."""

    def copy(self) -> User:
        """Return one with the same rules."""
        other = User(self.name, self._known, self.all_channels)
        other.take(self)
        return other

    def take(self, other: User) -> None:
        """Take over all rules of another one."""
        self.enabled, self.nopass, self.sanitize = other.enabled, other.nopass, other.sanitize
        self.passwords = list(other.passwords)
        self.selectors = [each.copy() for each in other.selectors]
        self._settle()

    def _settle(self) -> None:
        self.unrestricted = any(each.unrestricted for each in self.selectors)

    def apply(self, rule: bytes) -> None:
        """Change it by one rule. Raises :class:`AclError`, in Redis's words."""
        kind, rest, word = rule[:1], rule[1:], rule.lower()
        if word in (b"on", b"off"):
            self.enabled = word == b"on"
        elif word in (b"sanitize-payload", b"skip-sanitize-payload"):
            self.sanitize = word.decode()
        elif word in (b"nopass", b"resetpass"):
            self.nopass = word == b"nopass"
            self.passwords.clear()
        elif kind in (b">", b"#"):
            self._add_password(password_hash(rest) if kind == b">" else _checked(rest))
        elif kind in (b"<", b"!"):
            self._remove_password(password_hash(rest) if kind == b"<" else _checked(rest))
        elif kind == b"(" and rule.endswith(b")"):
            selector = Selector(self._known, self.all_channels)
            for each in rule[1:-1].split():
                selector.apply(each)
            self.selectors.append(selector)
        elif word == b"clearselectors":
            del self.selectors[1:]
        elif word == b"reset":
            self._reset()
        elif rule:
            self.selectors[0].apply(rule)
        self._settle()

    def _reset(self) -> None:
        self.enabled = self.nopass = False
        self.passwords.clear()
        self.sanitize = "sanitize-payload"
        self.selectors = [Selector(self._known, self.all_channels)]

    def _add_password(self, hashed: str) -> None:
        if hashed not in self.passwords:
            self.passwords.append(hashed)
        self.nopass = False

    def _remove_password(self, hashed: str) -> None:
        if hashed not in self.passwords:
            raise AclError(NO_PASSWORD)
        self.passwords.remove(hashed)

    def accepts(self, password: bytes) -> bool:
        """Tell whether this lets a client in."""
        hashed = password_hash(password)
        found = [hmac.compare_digest(hashed, each) for each in self.passwords]  # all, for the time that it takes
        return self.enabled and (self.nopass or any(found))

    def flags(self) -> list[str]:
        """Return its state, as rules."""
        flags = ["on" if self.enabled else "off", "nopass" if self.nopass else "", self.sanitize]
        return [flag for flag in flags if flag]

    def line(self) -> bytes:
        """Return all its rules in one line, as in a file."""
        words = [b"user", self.name.encode("utf-8", "surrogateescape"), *(flag.encode() for flag in self.flags())]
        words += [b"#" + each.encode() for each in self.passwords]
        words += self.selectors[0].rules()
        words += [b"(" + b" ".join(each.rules()) + b")" for each in self.selectors[1:]]
        return b" ".join(words)


def _checked(hashed: bytes) -> str:
    if HASH(hashed) is None:
        raise AclError(BAD_HASH)
    return hashed.decode()
