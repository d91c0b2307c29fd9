"""Basic authentication: hashes as other programs make them, and what is remembered."""

from __future__ import annotations

import base64
import hashlib
import importlib
import time
from pathlib import Path
from typing import Any

import pytest

from evio_http.site import auth
from evio_http.site.auth import BasicAuth, Verdict, hash_password
from evio_http.site.rule_file import LineError
from tests.tables import each_row

# Cheap settings, so that tests are fast.
CHEAP = "$scrypt$ln=4,r=8,p=1${}${}"
PBKDF2 = "$pbkdf2-sha256$2000$IeScc05JiTHmXOt97/1fyw$A0ML4Td06OOIkdo/f5tHKEz6473iuU/eOWNi2srWcac"
SCRYPT = "$scrypt$ln=4,r=8,p=1$UeodA2CsdY4RopRSqpXSWg$VqOza9JqrpwaETmHlHu9VBFBW21tumqhtGXslpaLtcs"
"""Made by passlib 1.7.4 from the password "password"."""
BCRYPT = "$2y$05$3RF7ejqe4wq4lNdZXM9R3uJmfXWFcvXqwfv42qXhVjvj6ZJWFZMHK"


def cheap(password: str, salt: bytes = b"salt") -> str:
    digest = hashlib.scrypt(password.encode(), salt=salt, n=16, r=8, p=1, dklen=32)
    return CHEAP.format(*(base64.b64encode(part).decode().rstrip("=") for part in (salt, digest)))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def access() -> BasicAuth:
    return BasicAuth({"ann": cheap("secret"), "bob": cheap("p:w é", b"other"), "passlib": PBKDF2, "passlib2": SCRYPT})


def test_it_is_unknown_until_verified(access: BasicAuth) -> None:
    right, wrong = basic("ann", "secret"), basic("ann", "Secret")
    assert access.known(right) is access.known(wrong) is Verdict.UNKNOWN
    assert access.verify(right) is True
    assert access.verify(wrong) is False
    assert access.known(right) is Verdict.ALLOWED
    assert access.known(wrong) is Verdict.DENIED


@each_row(
    "user, password, allowed",
    [
        ("ann", "secret", True),
        ("ann", "", False),
        ("ann", "p:w é", False),
        ("Ann", "secret", False),
        ("bob", "p:w é", True),
        ("passlib", "password", True),
        ("passlib", "Password", False),
        ("passlib2", "password", True),
        ("passlib2", "Password", False),
        ("nobody", "secret", False),
        ("", "", False),
        ("\u00e9", "x", False),
    ],
)
def test_verify(access: BasicAuth, user: str, password: str, allowed: bool) -> None:
    assert access.verify(basic(user, password)) is allowed
    assert access.known(basic(user, password)) is (Verdict.ALLOWED if allowed else Verdict.DENIED)
    assert access.user(basic(user, password)) == user


@each_row(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic YW5u",  # no colon
        "Basic YW5uOnNlY3JldA",  # no padding
        "Basic " + base64.b64encode(b"ann:sec\x00ret").decode(),
        "Basic " + base64.b64encode(b"ann:secret\n").decode(),
        "Basic " + base64.b64encode(b"\xff:x").decode(),
        "Basic é",
        "Bearer YW5uOnNlY3JldA==",
        "Digest username=ann",
        "YW5uOnNlY3JldA==",
    ],
)
def test_malformed_credentials_are_denied_at_once(access: BasicAuth, authorization: str | None) -> None:
    assert access.known(authorization) is Verdict.DENIED
    assert access.user(authorization) == ""
    assert access.verify(authorization or "") is False


def test_the_scheme_has_no_case(access: BasicAuth) -> None:
    assert access.verify(basic("ann", "secret").replace("Basic", "bAsIc"))


def test_names_that_do_not_exist_are_hashed_as_well(access: BasicAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []

    def decoy(password: bytes) -> bool:
        hashed.append(password)
        return True

    monkeypatch.setattr(access, "_decoy", decoy)
    assert access.verify(basic("nobody", "x")) is False
    assert hashed == [b"x"]


def test_nothing_is_remembered_in_clear(access: BasicAuth) -> None:
    access.verify(basic("ann", "secret"))
    remembered = repr(access._verdicts)
    assert "secret" not in remembered
    assert "YW5uOnNlY3JldA" not in remembered


def test_guessing_does_not_push_out_who_is_in(access: BasicAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MAX_REMEMBERED", 3)
    access.verify(basic("ann", "secret"))
    for number in range(10):
        access.verify(basic("ann", str(number)))
    assert access.known(basic("ann", "secret")) is Verdict.ALLOWED
    known = [access.known(basic("ann", str(number))) for number in range(10)]
    assert known == [Verdict.UNKNOWN] * 7 + [Verdict.DENIED] * 3


def test_the_challenge() -> None:
    assert BasicAuth({}, "My site").challenge == 'Basic realm="My site", charset="UTF-8"'
    for realm in ('a"b', "a\\b", "a\nb", "é"):
        with pytest.raises(ValueError):
            BasicAuth({}, realm)


def test_nobody_is_a_user() -> None:
    assert BasicAuth({}).verify(basic("ann", "x")) is False


def test_a_new_hash_is_salted_and_verifies() -> None:
    one, two = hash_password("pä$$"), hash_password("pä$$")
    assert one != two
    access = BasicAuth({"ann": one})
    assert access.verify(basic("ann", "pä$$"))
    assert not access.verify(basic("ann", "pa$$"))


def test_bcrypt() -> None:
    bcrypt: Any = pytest.importorskip("bcrypt")
    made = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    access = BasicAuth({"ann": made, "httpd": made.replace("$2b$", "$2y$")})
    for user in ("ann", "httpd"):
        assert access.verify(basic(user, "x" * 72))
        assert access.verify(basic(user, "x" * 100))  # as htpasswd: what is beyond 72 bytes does not count
        assert not access.verify(basic(user, "x" * 71))


def test_bcrypt_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"pip install evio-http\[bcrypt\]"):
        BasicAuth({"ann": BCRYPT})


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"# who may come in\n\nann:{cheap('a')}\r\nb b:{cheap('b')}\n", encoding="utf-8")
    access = BasicAuth.from_file(str(path), "realm")
    assert access.verify(basic("ann", "a"))
    assert access.verify(basic("b b", "b"))
    assert "realm" in access.challenge


@each_row(
    "content, message",
    [
        ("", "1: there are no users"),
        ("# nobody\n", "1: there are no users"),
        ("ann\n", "1: a line is user:hash"),
        (":x\n", "1: a line is user:hash"),
        ("\nann:secret\n", "2: not a hash"),
        ("ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "1: not a hash"),
        ("ann:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", "1: not a hash"),
        ("ann:$6$salt$hash", "1: not a hash"),
        ("ann:$scrypt$ln=14,r=8,p=1$c2FsdA$", "1: not a hash"),
        ("ann:$scrypt$ln=14,r=8,p=1$c2FsdA$AAAA", "1: these settings"),
        ("ann:$scrypt$ln=0,r=8,p=1$c2FsdA$" + "A" * 43, "1: these settings"),
        ("ann:$scrypt$ln=30,r=8,p=1$c2FsdA$" + "A" * 43, "1: these settings"),
        ("ann:$scrypt$ln=4,r=8,p=99$c2FsdA$" + "A" * 43, "1: these settings"),
        ("ann:$scrypt$ln=4,r=8,p=1$c2FsdA$" + "A" * 41, "1: the hash is not well-formed"),
        ("ann:$pbkdf2-sha256$1$c2FsdA$" + "A" * 43, "1: these settings"),
        ("ann:$pbkdf2-sha256$99999999$c2FsdA$" + "A" * 43, "1: these settings"),
        (f"ann:{PBKDF2}\nann:{PBKDF2}\n", "2: the user 'ann' is already there"),
    ],
)
def test_a_bad_file(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "users"
    path.write_text(content)
    with pytest.raises(LineError) as caught:
        BasicAuth.from_file(str(path))
    assert str(caught.value).startswith(f"{path}:{message}")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(b"\xff\xfe")
    with pytest.raises(LineError, match="not UTF-8"):
        BasicAuth.from_file(str(tmp_path / "users"))
    with pytest.raises(FileNotFoundError):
        BasicAuth.from_file(str(tmp_path / "nothing"))


def test_what_is_known_costs_little(access: BasicAuth) -> None:
    right = basic("ann", "secret")
    access.verify(right)
    start = time.process_time()
    for _ in range(1000):
        access.known(right)
    # Measured 3 ms; a scrypt hash alone takes 100 ms.
    assert time.process_time() - start < 0.5
