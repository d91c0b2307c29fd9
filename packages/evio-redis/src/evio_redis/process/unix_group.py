"""The group of the unix socket (``unixsocketgroup``)."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from ..errors import ConfigError

__all__ = ["give_to_group"]


def give_to_group(path: str, group: str) -> None:
    """Give a unix socket to a group, known by its name or number. Raises :class:`ConfigError`; nothing happens without
    a path or for an abstract socket, which has no group."""
    if not path or path.startswith("@"):
        return
    if sys.platform == "win32":
        raise ConfigError("unixsocketgroup: this system has no groups")
    try:
        os.chown(path, -1, _number_of(group))
    except OSError as error:
        raise ConfigError(f"unixsocketgroup: cannot give {path} to the group '{group}': {error.strerror}") from None


def _number_of(group: str) -> int:
    if group.isascii() and group.isdigit():
        return int(group)
    if sys.platform != "win32":
        import grp

        with suppress(KeyError):
            return grp.getgrnam(group).gr_gid
    raise ConfigError(f"unixsocketgroup: there is no group '{group}'")
