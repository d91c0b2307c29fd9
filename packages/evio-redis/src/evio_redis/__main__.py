"""The command line: ``python -m evio_redis [redis.conf] [--port 7000 ...]``, as redis-server has it."""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path

import evio_core

from .config.config import SAVE_POINTS, STDIN, Config, find_directive, read_file
from .config.directives import DIRECTIVES, SEVERAL
from .errors import ConfigError, LogCorrupt
from .model.version import REDIS_VERSION
from .persistence.check import check_snapshot
from .persistence.export import FORMS, export_snapshot
from .persistence.snapshots import Snapshots
from .process import logfile, signals
from .process.running import Running
from .protocol.inline import split_inline
from .server import Server

__all__ = ["main"]

EXAMPLES = """\
examples:
  evio-redis                                  serve 127.0.0.1:6380; try: redis-cli -p 6380
  evio-redis --port 7000 --appendonly yes     keep every write in ./appendonlydir
  evio-redis redis.conf --loglevel verbose    a redis.conf; what follows it wins
  echo "port 7000" | evio-redis -             the same from standard input
  evio-redis --port 0 --unixsocket /tmp/s     a unix socket only
  evio-redis --port 7000 --workers 4          a cluster of four processes; try: redis-cli -c -p 7000
"""

log: logging.Logger = logging.getLogger("evio_redis")


def usage() -> str:
    """The help text, made from the directives."""
    lines = ["usage: evio-redis [FILE] [--DIRECTIVE VALUE ...] [-]", "", "A key-value server that speaks RESP.", ""]
    lines.append("directives, as in redis.conf (default):")
    for each in DIRECTIVES.values():
        if not each.help:
            continue  # it has no effect
        left = f"  --{each.name} {each.metavar}"
        default = each.show(each.default)
        right = f"{each.help} ({default})" if default and len(default) < 24 else each.help
        lines += [f"{left:<40} {right}"] if len(left) < 40 else [left, f"{'':<40} {right}"]
    lines.append(f"{'  --check FILE ...':<40} say what is in snapshots, and if they are whole")
    lines.append(f"{'  --export json|resp FILE':<40} write a snapshot to standard output, as JSON or commands")
    lines += [f"{'  --help, --version':<40} this text; the version", ""]
    lines += ["The other directives of a redis.conf are accepted and have no effect.", "", EXAMPLES.rstrip()]
    return "\n".join(lines)


def parse_arguments(arguments: list[str]) -> Config:
    """The configuration that the arguments ask for; they are used up. Raises :class:`ConfigError` and, for a file,
    ``OSError``."""
    config = Config()
    files = []
    if arguments and not arguments[0].startswith("-"):
        config.path = os.path.abspath(arguments[0])
        files.append(arguments.pop(0))
    if arguments and arguments[-1] == STDIN:
        files.append(arguments.pop())
    named: set[str] = set()
    for file in files:
        for name, text in read_file(file):
            config.load(name, text)
            named.add(name.lower())
    for name, *values in _directives(arguments):
        directive = find_directive(name)
        if not values and directive.name not in SEVERAL:
            raise ConfigError(f"--{directive.name} needs a value: {directive.help}")
        config.load(directive.name, " ".join(values))
        named.add(directive.name)
    if files and "save" not in named:
        config.save = SAVE_POINTS
    return config


def _directives(arguments: list[str]) -> list[list[str]]:
    """The words of each directive, split as redis-server does: what follows a name is its value, even with dashes;
    name and value may be one argument, which is taken apart (``"--port 7000"``); the first one needs no dashes. A
    value may also be attached (``--port=7000``)."""
    found: list[list[str]] = []
    value_expected = False
    for argument, following in zip(arguments, [*arguments[1:], "--"], strict=False):
        if value_expected or not argument.startswith("--"):
            found[-1:] = [[*found[-1], argument]] if found else [[argument]]
            value_expected = False
            continue
        name, _, attached = argument[2:].partition("=")
        words = [name, attached] if attached and name in DIRECTIVES else _split(argument[2:])
        found.append(words)
        # Several directives may be without any value, and "--save --port 1" is what people write.
        value_expected = len(words) == 1 and not (words[0].lower() in SEVERAL and following.startswith("--"))
    return found


def _split(argument: str) -> list[str]:
    words = split_inline(argument.encode("utf-8", "surrogateescape"))
    if not words:
        raise ConfigError(f"'--{argument}' is no directive")
    return [word.decode("utf-8", "surrogateescape") for word in words]


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit status: 2 for arguments that are wrong, or name what cannot be read, 1 for what the system
    refuses."""
    # What was imported stays: collections need not look at it, nor does the end of the process.
    gc.freeze()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if "--help" in given or "-h" in given:
            say(usage())
            return 0
        if "--version" in given or "-v" in given:
            # In redis-server's form, as programs that start one look for the first number.
            say(f"Redis server v={REDIS_VERSION} (evio-redis {evio_core.__version__})")
            return 0
        if given[:1] == ["--check"]:
            return check(given[1:])
        if given[:1] == ["--export"]:
            return export(given[1:])
        config = parse_arguments([*given])
        started_in = os.getcwd()
        config.enter_directory()
        logfile.configure(config)
        if config.workers:
            return run_workers(config, given, started_in)
        server = Server(config=config)
    except BrokenPipeError:  # whoever reads the help has seen enough
        return 0
    except OSError as error:
        hint = f"; a port is given as --port {given[0]}" if error.filename and given[:1] and given[0].isdigit() else ""
        print(f"evio-redis: {describe(error)}{hint}", file=sys.stderr)
        return 2 if error.filename else 1
    except ConfigError as error:
        print(f"evio-redis: {error}", file=sys.stderr)
        return 2
    return run(server)


def check(files: list[str]) -> int:
    """Say what is in snapshots; returns the exit status, 1 if one of them would not load."""
    if not files:
        print("evio-redis: --check needs the names of snapshots (dump.rdb)", file=sys.stderr)
        return 2
    status = 0
    for file in files:
        try:
            say(check_snapshot(Path(file)))
        except OSError as error:
            print(f"evio-redis: {file}: {error.strerror or error}", file=sys.stderr)
            status = 1
        except LogCorrupt as error:
            print(f"evio-redis: {error}", file=sys.stderr)
            status = 1
    return status


def export(arguments: list[str]) -> int:
    """Write a snapshot to standard output; returns the exit status, 1 for one that would not load."""
    if len(arguments) != 2 or arguments[0] not in FORMS:
        print(f"evio-redis: --export needs a form ({' or '.join(FORMS)}) and the name of a snapshot", file=sys.stderr)
        return 2
    form, file = arguments
    try:
        for piece in export_snapshot(Path(file), form):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"evio-redis: {file}: {error.strerror or error}", file=sys.stderr)
        return 1
    except LogCorrupt as error:
        print(f"evio-redis: {error}", file=sys.stderr)
        return 1
    return 0


def run_workers(config: Config, given: list[str], started_in: str) -> int:
    """Run a cluster of processes, whose arguments are as ``given`` in the directory ``started_in``; returns the exit
    status. Raises :class:`ConfigError` and ``OSError``."""
    if sys.platform == "win32":
        raise ConfigError("workers are not offered on Windows")
    else:  # noqa: RET506  # mypy does not import in a branch of another platform
        from .cluster.workers import Workers

        return Workers(config, given, started_in).run()


def run(server: Server) -> int:
    """Run the server; returns the exit status. What goes wrong is in the log, as with Redis; on standard error as well
    if the log is a file, which nobody sees."""
    # Full collections look at every hash, list and set there is: with a million they stop the server for 0.1 s. Nothing
    # that lives long is part of a cycle, so the young ones do.
    gc.set_threshold(1000, 10, 1_000_000)
    server.handle_signals = False  # but here
    signals.install(server.services[Running], server.end_on_signal, server.services[Snapshots].abandon)
    try:
        server.run()
    except (ConfigError, evio_core.AddressError, evio_core.TLSError) as error:
        print(f"evio-redis: {error}", file=sys.stderr)
        return 2
    except (evio_core.EvioError, LogCorrupt, OSError) as error:
        log.critical("%s", describe(error))
        if server.config.logfile:
            print(f"evio-redis: {describe(error)}", file=sys.stderr)
        return 1
    log.info("evio-redis is now ready to exit, bye bye...")
    # All is written and closed; the interpreter's own way would free each key first, which takes a second for every few
    # million.
    os._exit(0)


def describe(error: BaseException) -> str:
    """Return an error in one line, without the number of an ``OSError``."""
    if isinstance(error, OSError) and not isinstance(error, evio_core.EvioError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def say(text: str) -> None:
    """Print what was asked for. Raises ``OSError`` here; what ``print`` leaves in a buffer is an error at exit."""
    if sys.stdout is not None:
        os.write(sys.stdout.fileno(), f"{text}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
