"""The HELP subcommands of containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model.command import Args, command
from ..protocol.resp import array, simple

if TYPE_CHECKING:
    from ..clients.session import Session

__all__ = ["declare_help"]


def declare_help(container: str, group: str, text: str) -> None:
    """Declare CONTAINER HELP, which replies one line for each of ``text`` below its heading."""
    heading = f"{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    lines = array([simple(line) for line in (heading, *text.splitlines())])

    @command(f"{container} HELP", arity=2, flags="loading stale", group=group, since="5.0.0")
    def help_(session: Session, args: Args) -> bytes:
        return lines
