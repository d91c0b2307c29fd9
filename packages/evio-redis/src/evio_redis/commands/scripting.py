"""Scripts.

https://redis.io/docs/latest/commands/?group=scripting
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clients.monitor import Monitors
from ..errors import CommandError
from ..model.command import Args, command
from ..protocol.numbers import parse_int, to_int
from ..protocol.resp import OK, array, bulk, integer
from ..scripting import Runner, Scripts
from .help import declare_help

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..scripting import Script

__all__: list[str] = []

RUNS = "noscript stale skip_monitor no_mandatory_keys movablekeys"
SHA1_DIGITS = 40


def _key_positions(args: Args) -> list[int]:
    count = (to_int(args[2]) or 0) if len(args) > 2 else 0
    return list(range(3, 3 + count)) if 0 < count <= len(args) - 3 else []


def _run(session: Session, args: Args, script: Script | None, read_only: bool = False) -> bytes:
    monitors = session.services[Monitors]
    if monitors:  # now, as the commands of the script are to be shown after it
        monitors.feed(session, args)
    session.last_command = args[0]  # which the log of the rules shows
    count = parse_int(args[2])
    if count > len(args) - 3:
        raise CommandError("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise CommandError("ERR Number of keys can't be negative")
    scripts = session.services[Scripts]
    if script is None:
        script = scripts.load(args[1])
    return scripts.run(session, args, script, args[3 : 3 + count], args[3 + count :], read_only)


@command("EVAL", -3, RUNS + " may_replicate", group="scripting", since="2.6.0", get_keys=_key_positions)
def eval_(session: Session, args: Args) -> bytes:
    return _run(session, args, None)


@command("EVAL_RO", -3, RUNS + " readonly", group="scripting", since="7.0.0", get_keys=_key_positions)
def eval_ro(session: Session, args: Args) -> bytes:
    return _run(session, args, None, read_only=True)


@command("EVALSHA", -3, RUNS + " may_replicate", group="scripting", since="2.6.0", get_keys=_key_positions)
def evalsha(session: Session, args: Args) -> bytes:
    return _run(session, args, session.services[Scripts].find(args[1]))


@command("EVALSHA_RO", -3, RUNS + " readonly", group="scripting", since="7.0.0", get_keys=_key_positions)
def evalsha_ro(session: Session, args: Args) -> bytes:
    return _run(session, args, session.services[Scripts].find(args[1]), read_only=True)


@command("SCRIPT LOAD", arity=3, flags="noscript stale", group="scripting", since="2.6.0")
def script_load(session: Session, args: Args) -> bytes:
    return bulk(session.services[Scripts].load(args[2]).sha.encode())


@command("SCRIPT EXISTS", arity=-3, flags="noscript", group="scripting", since="2.6.0")
def script_exists(session: Session, args: Args) -> bytes:
    scripts = session.services[Scripts]
    return array([integer(sha.decode("latin-1").lower() in scripts) for sha in args[2:]])


@command("SCRIPT FLUSH", arity=-2, flags="noscript", group="scripting", since="2.6.0")
def script_flush(session: Session, args: Args) -> bytes:
    if len(args) > 3 or (len(args) == 3 and args[2].upper() not in (b"SYNC", b"ASYNC")):
        raise CommandError("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    session.services[Scripts].flush()
    return OK


@command("SCRIPT KILL", arity=2, flags="noscript allow_busy", group="scripting", since="2.6.0")
def script_kill(session: Session, args: Args) -> bytes:
    session.services[Runner].kill("SCRIPT")
    return OK


@command("SCRIPT DEBUG", arity=3, flags="noscript", group="scripting", since="3.2.0")
def script_debug(session: Session, args: Args) -> bytes:
    mode = args[2].upper()
    if mode not in (b"YES", b"SYNC", b"NO"):
        raise CommandError("ERR Use SCRIPT DEBUG YES/SYNC/NO")
    if mode != b"NO":
        raise CommandError("ERR there is no debugger of scripts here; redis.log() writes to the server's log")
    return OK


declare_help(
    "SCRIPT",
    "scripting",
    """\
DEBUG (YES|SYNC|NO)
    Turn the debugger on or off. There is none, so only NO is accepted.
EXISTS <sha1> [<sha1> ...]
    Which of these scripts are loaded, as 1 or 0.
FLUSH [ASYNC|SYNC]
    Forget all scripts.
HELP
    This text.
KILL
    End the script that is running, if it has written nothing.
LOAD <script>
    Compile a script without running it, and return its SHA-1.""",
)
