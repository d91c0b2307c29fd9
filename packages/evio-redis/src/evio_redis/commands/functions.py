"""FUNCTION and FCALL: libraries of functions in Lua.

https://redis.io/docs/latest/commands/function-load/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clients.monitor import Monitors
from ..errors import CommandError, bad_subcommand
from ..model.command import Args, command
from ..persistence.rdb import payload
from ..protocol.glob import matcher
from ..protocol.numbers import to_int
from ..protocol.resp import OK, array, bulk, bulks, integer, simple
from ..scripting import Libraries, Library, Runner
from .help import declare_help

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

RUNS = "noscript stale skip_monitor no_mandatory_keys movablekeys"
BAD_PAYLOAD = "ERR DUMP payload version or checksum are wrong"
BAD_POLICY = "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."


def _changed(session: Session) -> None:
    session.db.changes += 1  # so that it is logged, and counts for the next snapshot


# -- calling


def _key_positions(args: Args) -> list[int]:
    count = (to_int(args[2]) or 0) if len(args) > 2 else 0
    return list(range(3, 3 + count)) if 0 < count <= len(args) - 3 else []


def _call(session: Session, args: Args, read_only: bool) -> bytes:
    monitors, libraries = session.services[Monitors], session.services[Libraries]
    if monitors:  # now, as the commands of the function are to be shown after it
        monitors.feed(session, args)
    function = libraries.find(args[1])
    if function is None:
        raise CommandError("ERR Function not found")
    count = to_int(args[2])
    if count is None:
        raise CommandError("ERR Bad number of keys provided")
    if count > len(args) - 3:
        raise CommandError("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise CommandError("ERR Number of keys can't be negative")
    return libraries.call(session, args, function, args[3 : 3 + count], args[3 + count :], read_only)


@command("FCALL", -3, RUNS + " may_replicate", group="scripting", since="7.0.0", get_keys=_key_positions)
def fcall(session: Session, args: Args) -> bytes:
    return _call(session, args, read_only=False)


@command("FCALL_RO", -3, RUNS + " readonly", group="scripting", since="7.0.0", get_keys=_key_positions)
def fcall_ro(session: Session, args: Args) -> bytes:
    return _call(session, args, read_only=True)


# -- libraries


@command("FUNCTION LOAD", arity=-3, flags="noscript write denyoom", group="scripting", since="7.0.0")
def load(session: Session, args: Args) -> bytes:
    for word in args[2:-1]:
        if word.upper() != b"REPLACE":
            raise CommandError(f"ERR Unknown option given: {word.decode('utf-8', 'surrogateescape')}")
    library = session.services[Libraries].load(args[-1], replace=len(args) > 3)
    _changed(session)
    return bulk(library.name)


@command("FUNCTION DELETE", arity=3, flags="noscript write", group="scripting", since="7.0.0")
def delete(session: Session, args: Args) -> bytes:
    session.services[Libraries].delete(args[2])
    _changed(session)
    return OK


@command("FUNCTION FLUSH", arity=-2, flags="noscript write", group="scripting", since="7.0.0")
def flush(session: Session, args: Args) -> bytes:
    if len(args) > 3:
        raise bad_subcommand("function", args[1])
    if len(args) == 3 and args[2].upper() not in (b"SYNC", b"ASYNC"):
        raise CommandError("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    session.services[Libraries].clear()
    _changed(session)
    return OK


@command("FUNCTION LIST", arity=-2, flags="noscript", group="scripting", since="7.0.0")
def list_(session: Session, args: Args) -> bytes:
    with_code, pattern = False, None
    words = iter(args[2:])
    for word in words:
        option = word.upper()
        if option == b"WITHCODE" and not with_code:
            with_code = True
        elif option == b"LIBRARYNAME" and pattern is None:
            pattern = next(words, None)
            if pattern is None:
                raise CommandError("ERR library name argument was not given")
        else:
            raise CommandError(f"ERR Unknown argument {word.decode('utf-8', 'surrogateescape')}")
    matches = None if pattern is None else matcher(pattern, nocase=True)
    libraries = session.services[Libraries].loaded.values()
    return array([_described(session, each, with_code) for each in libraries if matches is None or matches(each.name)])


def _described(session: Session, library: Library, with_code: bool) -> bytes:
    resp = session.resp
    functions = [
        resp.map(
            [
                *(bulk(b"name"), bulk(each.name)),
                *(bulk(b"description"), resp.null if each.description is None else bulk(each.description)),
                *(bulk(b"flags"), resp.set([simple(flag) for flag in FLAGS if flag in each.flags])),
            ]
        )
        for each in library.functions.values()
    ]
    fields = [bulk(b"library_name"), bulk(library.name), bulk(b"engine"), bulk(b"LUA")]
    fields += [bulk(b"functions"), array(functions)]
    if with_code:
        fields += [bulk(b"library_code"), bulk(library.code)]
    return resp.map(fields)


FLAGS = ("no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys")


@command("FUNCTION STATS", arity=2, flags="noscript allow_busy", group="scripting", since="7.0.0")
def stats(session: Session, args: Args) -> bytes:
    resp, run, libraries = session.resp, session.services[Runner].run, session.services[Libraries]
    running = resp.null
    if run is not None and run.kind == "SCRIPT":
        raise run.busy_error
    if run is not None:
        running = resp.map(
            [
                *(bulk(b"name"), bulk(run.name.encode("utf-8", "surrogateescape"))),
                *(bulk(b"command"), bulks(run.args), bulk(b"duration_ms"), integer(run.milliseconds)),
            ]
        )
    counts = [bulk(b"libraries_count"), integer(len(libraries.loaded))]
    counts += [bulk(b"functions_count"), integer(libraries.count)]
    engines = resp.map([bulk(b"LUA"), resp.map(counts)])
    return resp.map([bulk(b"running_script"), running, bulk(b"engines"), engines])


@command("FUNCTION KILL", arity=2, flags="noscript allow_busy", group="scripting", since="7.0.0")
def kill(session: Session, args: Args) -> bytes:
    session.services[Runner].kill("FUNCTION")
    return OK


@command("FUNCTION DUMP", arity=2, flags="noscript", group="scripting", since="7.0.0")
def dump(session: Session, args: Args) -> bytes:
    return bulk(payload.pack_functions(session.services[Libraries].codes()))


@command("FUNCTION RESTORE", arity=-3, flags="noscript write denyoom", group="scripting", since="7.0.0")
def restore(session: Session, args: Args) -> bytes:
    if len(args) > 4:
        raise bad_subcommand("function", args[1])
    policy = args[3].upper() if len(args) == 4 else b"APPEND"
    if policy not in (b"FLUSH", b"APPEND", b"REPLACE"):
        raise CommandError(BAD_POLICY)
    if not payload.intact(args[2]):
        raise CommandError(BAD_PAYLOAD)
    try:
        codes = payload.unpack_functions(args[2])
    except ValueError as error:
        raise CommandError(f"ERR {error}") from None
    session.services[Libraries].restore(codes, flush=policy == b"FLUSH", replace=policy == b"REPLACE")
    _changed(session)
    return OK


declare_help(
    "FUNCTION",
    "scripting",
    """\
DELETE <library>
    Delete a library with its functions.
DUMP
    All libraries in one piece, for RESTORE.
FLUSH [ASYNC|SYNC]
    Delete all libraries.
HELP
    This text.
KILL
    End the function that is running, if it has written nothing.
LIST [LIBRARYNAME <pattern>] [WITHCODE]
    The libraries with their functions, and with WITHCODE their texts.
LOAD [REPLACE] <code>
    Load a library; with REPLACE in place of one of its name. Returns the name.
RESTORE <payload> [APPEND|FLUSH|REPLACE]
    Load libraries that were dumped: in addition (if one is there already, none), in place of all, or each in place of
    one of its name.
STATS
    The function that is running, and how many there are.""",
)
