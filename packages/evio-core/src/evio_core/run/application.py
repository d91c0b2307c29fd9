"""From ``module:Name`` to the events of a server."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

from ..events import Events, Handler

__all__ = ["ApplicationError", "find", "load", "show"]


class ApplicationError(Exception):
    """A handler that cannot be served; its text is one line."""


def find(name: str) -> tuple[str, str]:
    """Split ``module:Name`` and see that there is such a module, without importing it. Raises
    :class:`ApplicationError`."""
    module, separator, attribute = name.partition(":")
    if module.endswith(".py"):
        dotted = os.path.normpath(module[:-3]).replace(os.sep, ".")
        raise ApplicationError(f"--handler takes a module, not a file: {dotted}:{attribute or 'Name'}")
    if not separator or not module or not attribute:
        raise ApplicationError(f"--handler takes module:Name, such as server:Echo, not {name!r}")
    try:
        there = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a parent is missing, or no name of a module
        there = False
    if not there:
        raise ApplicationError(f"there is no module {module!r} here or among what is installed")
    return module, attribute


def load(name: str, addresses: Sequence[str]) -> Events:
    """Import what ``module:Name`` names and return events that serve it at ``addresses``.

    It is a :class:`Handler` class, :class:`Events`, or a function without parameters that returns either. Raises
    :class:`ApplicationError`, and whatever the module raises.
    """
    module, attribute = find(name)
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, [each for each in dir(found) if not each.startswith("_")], 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ApplicationError(f"{module} has no {attribute!r}{hint}")
        found = getattr(found, part)
    if isinstance(found, type) and issubclass(found, Handler):
        return Events(handlers=dict.fromkeys(addresses, found))
    made = found() if callable(found) and not isinstance(found, type) else found
    if isinstance(made, Events):
        if made.handlers:
            raise ApplicationError(f"{name} has addresses of its own (Events.handlers): give it to serve()")
        return made
    if isinstance(made, Handler) and callable(found):
        return Events(handlers=dict.fromkeys(addresses, found))
    allowed = "a Handler class, Events, or a function without parameters that returns either"
    raise ApplicationError(f"{name} is {made!r}; it has to be {allowed}")


def show(error: BaseException) -> str:
    """Return a traceback that begins in the program: the frames that led there are the importer's and ours."""
    if isinstance(error, ApplicationError):
        return f"{error}\n"
    frames: TracebackType | None = error.__traceback__
    while frames is not None and _is_foreign(frames.tb_frame):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))


def _is_foreign(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return file.startswith(("<frozen importlib", own)) or file == sys.modules["importlib"].__file__
