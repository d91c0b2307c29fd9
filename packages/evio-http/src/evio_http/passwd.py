"""``python -m evio_http.passwd USER``: ask for a password and print the line for the file of ``--auth``."""

from __future__ import annotations

import getpass
import sys

from .site.auth import hash_password

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """``arguments`` is the name of a user. The password is asked for twice, or read from a line of standard input if
    that is no terminal. Returns the exit status: 1 for a password that cannot be, 2 for a name that cannot."""
    if len(arguments) != 1 or not arguments[0] or ":" in arguments[0] or not arguments[0].isprintable():
        print("usage: python -m evio_http.passwd USER  (a name without colon)", file=sys.stderr)
        return 2
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            print("the passwords differ", file=sys.stderr)
            return 1
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not password.isprintable() or not password:
        print("the password must not be empty or have control characters (RFC 7617 section 2)", file=sys.stderr)
        return 1
    print(f"{arguments[0]}:{hash_password(password)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
