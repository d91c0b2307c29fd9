"""A configuration file (TOML): the flags by name, without "--", and a table for each virtual host.

::

    directory = "public"
    addresses = ["tls://:443", "tcp://:80"]
    max-body = 1048576
    cache = { "*.css" = "public, max-age=3600" }

    [host."b.example"]
    directory = "sites/b"
    listing = true

Values are checked by what checks the flags. What is true or false is a flag without a value; what may be repeated is a
list, or a table if it is NAME=VALUE. Paths are relative to the file. A host has the options of the whole, save for
those of its own.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["ConfigError", "read_config"]

_PATHS = frozenset(
    (
        "access_log", "auth", "directory", "error_template", "headers_file", "listing_template", "redirects_file",
        "tls_cert", "tls_client_ca", "tls_key",
    )
)  # fmt: skip
"""Options whose values are paths."""

_NOT_HERE = frozenset(("help", "version", "config", "check"))


class ConfigError(ValueError):
    """A configuration file is wrong: one line."""


def read_config(
    path: str, parser: argparse.ArgumentParser, of_a_site: frozenset[str]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Read the file at ``path`` with the options of ``parser``: their values by ``dest``, and those of each host, which
    has only options ``of_a_site``. Raises :class:`ConfigError`, and ``OSError``."""
    import tomllib  # only who has a file waits for it

    try:
        content = tomllib.loads(Path(path).read_bytes().decode())
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8, in which the file has to be") from None
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at line ([0-9]+), column [0-9]+\)", str(error), re.DOTALL)
        raise ConfigError(f"{path}:{found[2]}: {found[1]}" if found else f"{path}: {error}") from None
    options = {each.dest.replace("_", "-"): each for each in parser._actions if each.dest not in _NOT_HERE}
    hosts = content.pop("host", {})
    reader = _Reader(path, options)
    whole = reader.read(content, "")
    if not isinstance(hosts, dict) or not all(isinstance(table, dict) for table in hosts.values()):
        raise ConfigError(f'{path}: a host is a table, as in [host."www.example.org"]')
    of_hosts = {}
    for name, table in hosts.items():
        for option in table:
            if option in options and options[option].dest not in of_a_site:
                raise ConfigError(f"{path}: host.{name}.{option} is an option of the whole server")
        of_hosts[name] = reader.read(table, f"host.{name}.")
        if "directory" not in of_hosts[name]:
            raise ConfigError(f"{path}: host.{name} has no directory")
    return whole, of_hosts


class _Reader:
    """Values out of tables of the file at ``path``."""

    def __init__(self, path: str, options: dict[str, argparse.Action]) -> None:
        self._path = path
        self._options = options

    def read(self, table: dict[str, Any], prefix: str) -> dict[str, Any]:
        """The options of a table, by ``dest``; ``prefix`` is what stands before their names in messages."""
        found = {}
        for name, value in table.items():
            option = self._options.get(name)
            if option is None:
                raise ConfigError(f"{self._path}: {prefix}{name} is no option{self._meant(name)}")
            try:
                found[option.dest] = self._value(option, value)
            except (argparse.ArgumentTypeError, ConfigError) as error:
                raise ConfigError(f"{self._path}: {prefix}{name}: {error}") from None
        return found

    def _meant(self, name: str) -> str:
        import difflib  # only who is wrong waits for it

        close = difflib.get_close_matches(name.removeprefix("--").replace("_", "-"), self._options, 1)
        return f"; did you mean {close[0]}?" if close else ": they are those of evio-http --help, without --"

    def _value(self, option: argparse.Action, value: Any) -> Any:
        if option.nargs == 0:
            if not isinstance(value, bool):
                raise ConfigError(f"true or false, not {value!r}")
            return value
        repeatable = isinstance(option, argparse._AppendAction) or option.nargs == "*"
        texts = list(_texts(value, repeatable))
        values = [self._checked(option, text) for text in texts]
        return values if repeatable else values[0]

    def _checked(self, option: argparse.Action, text: str) -> Any:
        if option.dest in _PATHS and text != "-":
            text = os.path.join(os.path.dirname(self._path), text)
        value = option.type(text) if callable(option.type) else text
        if option.choices is not None and value not in option.choices:
            raise ConfigError(f"one of {', '.join(option.choices)}, not {value!r}")
        return value


def _texts(value: Any, repeatable: bool) -> Iterable[str]:
    """A value as it would stand on the command line, or several."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | list | dict):
        raise ConfigError(f"text or a number, not {value!r}")
    if isinstance(value, str | int | float):
        yield str(value)
    elif not repeatable:
        raise ConfigError("one value, not several")
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, repeatable and not isinstance(each, list | dict))
    else:
        for name, of_name in value.items():
            for text in _texts(of_name, repeatable and not isinstance(of_name, dict)):
                yield f"{name}={text}"
