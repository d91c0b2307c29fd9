"""The source of scripts: its first line, and a change that keeps line numbers in errors."""

from __future__ import annotations

import re

from ..errors import CommandError
from ..protocol.inline import split_inline

__all__ = ["FLAGS", "parse_library", "parse_shebang", "without_tail_calls"]

FLAGS = frozenset({"no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"})
"""The flags that a script may declare (https://redis.io/docs/latest/develop/interact/programmability/lua-api/)."""


def parse_shebang(body: bytes) -> tuple[frozenset[str] | None, bytes]:
    """The flags in the first line (``#!lua flags=no-writes``), None without such a line; and the code, its lines at the
    same numbers. Raises :class:`CommandError`."""
    if not body.startswith(b"#!"):
        return None, body
    first, end, rest = body.partition(b"\n")
    if not end:
        raise CommandError("ERR Invalid script shebang")
    words = split_inline(first)
    if not words:
        raise CommandError("ERR Invalid engine in script shebang")
    engine, *options = (word.decode("utf-8", "surrogateescape") for word in words)
    if engine != "#!lua":
        raise CommandError(f"ERR Unexpected engine in script shebang: {engine}")
    flags: set[str] = set()
    for option in options:
        if not option.startswith("flags="):
            raise CommandError(f"ERR Unknown lua shebang option: {option}")
        values = option.removeprefix("flags=")
        for flag in values.split(",") if values else ():
            if flag not in FLAGS:
                raise CommandError(f"ERR Unexpected flag in script shebang: {flag}")
            flags.add(flag)
    return frozenset(flags), b"\n" + rest


def parse_library(code: bytes) -> tuple[bytes, str, bytes]:
    """The name and the engine in the first line of a library (``#!lua name=library``), and the code, its lines at the
    same numbers. Raises :class:`CommandError`."""
    if not code.startswith(b"#!"):
        raise CommandError("ERR Missing library metadata")
    first, end, rest = code.partition(b"\n")
    words = split_inline(first) if end else None
    if not words:
        raise CommandError("ERR Invalid library metadata")
    name: bytes | None = None
    for option in words[1:]:
        if not option.startswith(b"name="):
            raise CommandError(f"ERR Invalid metadata value given: {option.decode('utf-8', 'surrogateescape')}")
        if name is not None:
            raise CommandError("ERR Invalid metadata value, name argument was given multiple times")
        name = option.removeprefix(b"name=")
    if name is None:
        raise CommandError("ERR Library name was not given")
    return name, words[0][2:].decode("utf-8", "surrogateescape"), b"\n" + rest


TOKEN = re.compile(
    rb"--\[(?P<a>=*)\[.*?\](?P=a)\]|--[^\n]*|\[(?P<b>=*)\[.*?\](?P=b)\]"  # comments, long strings
    rb"|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
    rb"|(?P<returned>\breturn\s+(?=(?:(?:redis|cjson|cmsgpack|struct|bit)\s*\.\s*\w+|string\s*\.\s*dump"
    rb"|(?:raw|setmeta)\w+)\s*\())"
    rb"|[A-Za-z_]\w*|[()]",
    re.DOTALL,
)


def without_tail_calls(code: bytes) -> bytes:
    """The same code with ``return redis.call(...)`` as ``return (redis.call(...))``: these functions are written in
    Lua, and one that is called last takes the place of its caller, whose line an error could then not name. They all
    return one value."""
    pieces: list[bytes] = []
    waiting: list[int] = []  # how deep in parentheses each ``return`` stands whose call has not ended
    depth = copied = 0
    for token in TOKEN.finditer(code):
        text = token.group()
        if token["returned"] is not None:
            pieces += [code[copied : token.end()], b"("]
            copied = token.end()
            waiting.append(depth)
        elif text == b"(":
            depth += 1
        elif text == b")":
            depth -= 1
            if waiting and waiting[-1] == depth:
                waiting.pop()
                pieces += [code[copied : token.end()], b")"]
                copied = token.end()
    return code if waiting else b"".join([*pieces, code[copied:]])
