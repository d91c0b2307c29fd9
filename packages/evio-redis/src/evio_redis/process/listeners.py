"""The addresses that a server listens on, which CONFIG SET may change (``port``, ``bind``)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import evio_core

from ..config.config import Config, has_host
from ..errors import ConfigError
from .running import Running

if TYPE_CHECKING:
    from evio_core import Listening

__all__ = ["Listeners"]

log: logging.Logger = logging.getLogger("evio_redis")

WHY = {
    "port": "Unable to listen on this port. Check server logs.",
    "bind": "Failed to bind to specified addresses.",
}
ANY = ("*", "::*")


class Listeners:
    """The addresses of now; clients that are connected stay, whatever becomes of theirs."""

    def __init__(self, config: Config, running: Running) -> None:
        self._config = config
        self._running = running
        self._open: dict[str, Listening] = {}
        self._port, self._bind = config.port, config.bind
        for name in WHY:
            config.on_change(name, lambda name=name: self._changed(name))  # type: ignore[misc]

    @property
    def port(self) -> int:
        """The TCP port; 0 if it listens on none."""
        assert self._running.core is not None, "the server does not run"
        ports = [each.addr[1] for each in self._running.core.listening if isinstance(each.addr, tuple)]
        return int(ports[0]) if ports else 0

    def begin(self) -> None:
        """Take over what the server listens on at its start."""
        assert self._running.core is not None
        addresses, listening = self._config.addresses(), self._running.core.listening
        if not self._port and len(addresses) == len(listening):
            own = (each for each in addresses if each.startswith("tcp:") and "proxy_protocol=" not in each)
            self._port = self.port if any(own) else 0
            addresses = self._config.addresses(self._port)
        self._open = dict(zip(addresses, listening, strict=True))

    def _changed(self, directive: str) -> None:
        port = self._config.port if directive == "port" else self._port
        try:
            wanted = self._config.addresses(port)
            if directive == "bind":
                self._check_hosts()
                self._rebind(wanted)
            else:
                self._listen([each for each in wanted if each not in self._open])
                self._close([each for each in self._open if each not in wanted])
        except (evio_core.EvioError, ConfigError) as error:
            log.error("%s: %s", directive, error)
            self._config.port, self._config.bind = self._port, self._bind
            raise ConfigError(
                f"CONFIG SET failed (possibly related to argument '{directive}') - {WHY[directive]}"
            ) from None
        self._port, self._bind = port, self._config.bind

    def _check_hosts(self) -> None:
        for host in self._config.bind:
            if host not in ANY and "://" not in host and not host.startswith("-") and not has_host(host):
                raise ConfigError(f"this machine has no address {host}")

    def _rebind(self, wanted: list[str]) -> None:
        """Listen on other hosts. Where the port stays the same, an old socket may be in the way of a new one, and it is
        there until the end of the loop's turn; the new ones are opened behind that."""
        core, before, old_bind = self._running.core, list(self._open), self._bind
        assert core is not None
        self._close([each for each in self._open if each not in wanted])

        def go_on() -> None:
            try:
                self._listen([each for each in wanted if each not in self._open])
            except evio_core.EvioError as error:
                log.error("bind: %s; the addresses stay as they were", error)
                self._config.bind = self._bind = old_bind
                self._close([each for each in self._open if each not in before])
                core.call(lambda: self._listen([each for each in before if each not in self._open]))

        core.call(go_on)

    def _listen(self, addresses: list[str]) -> None:
        """Listen on all of them, or none. Raises :class:`evio_core.EvioError`."""
        assert self._running.core is not None
        opened: dict[str, Listening] = {}
        try:
            for address in addresses:
                opened[address] = self._running.core.listen(address)
        except evio_core.EvioError:
            for listening in opened.values():
                listening.close()
            raise
        for address, listening in opened.items():
            log.info("Ready to accept connections on %s", evio_core.url(address.partition("://")[0], listening.addr))
        self._open |= opened

    def _close(self, addresses: list[str]) -> None:
        for address in addresses:
            self._open.pop(address).close()
