"""wrk as a load generator: one thread, a script in Lua, figures read from what the script prints."""

from __future__ import annotations

import re
from contextlib import ExitStack

from .. import measures
from ..load import TIMEOUT, connected, printed_by
from ..server import BenchError, Requirement, Server
from .tls import secured

__all__ = ["CLIENTS", "WRK", "Wrk", "measured", "wrk"]

WRK = Requirement("wrk", "apt install wrk", program=True)

CLIENTS = 50


class Wrk:
    """One run of wrk: ``requests`` answered, ``bytes`` received, ``rate`` per second, percentiles in ms."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        """From what the script's last lines print. Raises :class:`BenchError` for anything else, and for answers that
        are errors; with ``refused``, for any that is none."""
        found = re.search(r"^evio((?: [0-9]+){8})$", text, re.MULTILINE)
        if found is None:
            raise BenchError(f"not what wrk prints: {text!r}")
        self.requests, self.bytes, micros, failed, statuses, p50, p99, p999 = map(int, found[1].split())
        if failed or not self.requests or statuses != (self.requests if refused else 0):
            raise BenchError(f"{failed} of {self.requests} requests failed, {statuses} were refused: {text!r}")
        self.rate = self.requests / (micros / 1e6)
        self.p50, self.p99, self.p999 = p50 / 1000, p99 / 1000, p999 / 1000


DONE = """
done = function(summary, latency)
    local e = summary.errors
    io.write(string.format("evio %d %d %d %d %d %d %d %d\\n", summary.requests, summary.bytes, summary.duration,
        e.connect + e.read + e.write + e.timeout, e.status,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""


def wrk(
    server: Server,
    seconds: float,
    path: str,
    *,
    clients: int,
    script: str = "",
    tls: bool = False,
    refused: bool = False,
) -> Wrk:
    """Load the server for about ``seconds``, which wrk takes whole. ``script`` is in Lua. With ``refused``, every
    answer has to be a status of 400 or more."""
    lua = server.directory / "load.lua"
    lua.write_text(script + DONE)
    duration = max(1, round(seconds))
    url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}{path}"
    # wrk would call it an error when 100 MiB take two seconds, as they do on a busy machine.
    patience = f"{TIMEOUT:g}s"
    command = ["wrk", "-t", "1", "-c", str(clients), "-d", str(duration), "--timeout", patience, "-s", str(lua), url]
    return Wrk(printed_by(command, TIMEOUT + duration), refused=refused)


def measured(
    server: Server, seconds: float, path: str, *, script: str = "", tls: bool = False, refused: bool = False
) -> dict[str, float]:
    """The figures of small requests, behind a second to warm up. Connecting is not part of a request: what it costs to
    open as many connections is taken off."""

    def load(seconds: float) -> Wrk:
        return wrk(server, seconds, path, clients=CLIENTS, script=script, tls=tls, refused=refused)

    load(1)
    with measures.cpu(server) as connecting, ExitStack() as opened:
        for _ in range(CLIENTS):
            opened.enter_context(secured(server) if tls else connected(server.port))
    with measures.cpu(server) as all_of_it:
        run = load(seconds)
    each = (all_of_it.seconds - connecting.seconds) / run.requests
    return {"cpu": each * 1e6, "rate": run.rate, "p50": run.p50, "p99": run.p99, "p999": run.p999}
