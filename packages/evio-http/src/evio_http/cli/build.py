"""From the command line's flags to the server they ask for."""

from __future__ import annotations

import argparse
import importlib.util
import ipaddress
import logging
import math
import os
import ssl
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NoReturn

from evio_core import Action, Address, Events, Server, TLSError

from ..connections.gate import AddressRules, Gate, RateLimit
from ..connections.observer import Observer
from ..connections.peers import UNIX, TrustedProxies
from ..files.paths import decode_target_path
from ..logs.access_log import AccessLog
from ..logs.log_observer import LogObserver
from ..logs.metrics import Metrics
from ..logs.without import Without
from ..message.handler import RequestHandler
from ..message.limits import Limits
from ..server import http_events
from ..site.auth import BasicAuth
from ..site.https_redirect import HttpsRedirect
from ..site.live import PREFIX, Changes, Live
from ..site.virtual_hosts import VirtualHosts
from .banner import banner, browse, own_addresses, page_url
from .describe import describe
from .self_signed import make_certificate
from .sites import make_site
from .watcher import Watcher

__all__ = ["Setup", "UsageError"]

DEFAULT_PORT = 8080
FLUSH_SECONDS = 1.0

HTTP2 = "h2"
SPOKEN = ("http/1.1", "http/1.0")
"""By their names for ALPN (IANA's registry): who offers others only is refused."""


Certificate = tuple[str, str | None]
"""The files of a chain and its key; None for a key that is in the chain's."""

log: logging.Logger = logging.getLogger("evio_http")


class UsageError(ValueError):
    """Flags that do not go together, or lack what they need."""


class Setup:
    """A server made of parsed flags: ``events`` and ``addresses`` for :func:`evio_core.serve`.

    Raises :class:`UsageError`, ``ValueError`` and ``OSError`` for what cannot be. ``close`` when it is over.
    """

    def __init__(self, flags: argparse.Namespace) -> None:
        self._flags = flags
        self._stack = ExitStack()
        self._access_log: AccessLog | None = None
        self._watcher: Watcher | None = None
        self.server: Server | None = None
        self.trusted_file: str = ""
        """The authority of a self-signed certificate."""
        try:
            self.addresses: list[str] = self._addresses()
            self.events: Events = self._events()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Write what is left of the access log, remove temporary files."""
        self._stack.close()

    def reload(self) -> list[Exception]:
        """Reopen the access log, read certificates anew. Returns what did not succeed, ``OSError`` and
        :class:`evio_core.TLSError`; the rest did."""
        failed: list[Exception] = self._reopen()
        try:
            if self.server is not None:
                self.server.reload_certificates()
        except TLSError as error:
            failed.append(error)
        return failed

    def reopen_logs(self) -> None:
        """Reopen the access log. An ``OSError`` is logged, and the file in use stays."""
        for error in self._reopen():
            log.error("%s; what is in use stays", describe(error))

    def _reopen(self) -> list[Exception]:
        try:
            if self._access_log is not None:
                self._access_log.reopen()
        except OSError as error:
            return [error]
        return []

    def check(self) -> None:
        """Look at what is only read when the server listens, or asked for. Raises :class:`UsageError`."""
        for flags in (self._flags, *(of_site for _, of_site in self._flags.sites)):
            pages = [("--spa", flags.spa), *((f"--error-page {status}", path) for status, path in flags.error_page)]
            for what, path in pages:
                if path and not os.path.isfile(os.path.join(flags.directory, *decode_target_path(path.encode()))):
                    raise UsageError(f"{what}: there is no file {path} in {flags.directory}")
        for text in self.addresses:
            address = Address.parse(text)
            for cert, key in address.certs:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                try:
                    context.load_cert_chain(cert, key, password=_no_password)
                except (OSError, ValueError) as error:
                    raise UsageError(
                        f"cannot load certificate {cert} with key {key or cert}: {describe(error)}"
                    ) from None
            if address.client_ca is not None:
                try:
                    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(address.client_ca)
                except OSError as error:
                    raise UsageError(
                        f"cannot load certificate authorities {address.client_ca}: {describe(error)}"
                    ) from None

    # -- where to listen

    def _addresses(self) -> list[str]:
        flags = self._flags
        if not flags.directory:
            raise UsageError("'' is no directory; . is the one you are in")
        if "://" in flags.directory:
            raise UsageError(f"the directory comes first: evio-http . {flags.directory}")
        certificates = self._certificates()
        addresses = [Address.parse(text) for text in flags.addresses]
        if flags.tls_client_ca and not (certificates or any(each.certs for each in addresses)):
            raise UsageError("--tls-client-ca needs --tls-cert")
        if not addresses or flags.port is not None or flags.bind is not None:
            host = "127.0.0.1" if flags.bind is None else _without_brackets(flags.bind)
            port = DEFAULT_PORT if flags.port is None else flags.port
            addresses.insert(0, Address.make("tls" if certificates else "tcp", (host, port)))
        if flags.open and all(each.base == "unix" for each in addresses):
            raise UsageError(
                "--open needs an address that browsers reach, such as tcp://127.0.0.1:8080; these are unix sockets"
            )
        if certificates and all(each.base != "tls" or each.certs for each in addresses):
            raise UsageError("no address uses the certificate: tls://HOST:PORT does; systemd://NAME?cert=FILE&key=FILE")
        return [str(self._complete(address, certificates)) for address in addresses]

    def _complete(self, address: Address, certificates: list[Certificate]) -> Address:
        """Add the options that flags ask for."""
        if address.base == "udp":
            raise UsageError(f"{address}: HTTP/1.1 is not spoken over udp; tcp, tls, unix, fd and systemd are allowed")
        if address.base == "tls" and not certificates and not address.certs:
            raise UsageError(f"{address} needs --tls-cert FILE, ?cert=FILE in the address, or --tls-self-signed")
        options: dict[str, Any] = {}
        if address.base == "tls" or address.certs:
            options["certs"] = address.certs or certificates
            installed = importlib.util.find_spec("hpack") is not None
            offered = (HTTP2, *SPOKEN) if installed and not self._flags.no_http2 else SPOKEN
            options["alpn"] = address.alpn or offered
            if HTTP2 in options["alpn"] and not installed:
                raise UsageError(f"{address}: HTTP/2 needs hpack: pip install evio-http[h2]")
            options["client_ca"] = address.client_ca or self._flags.tls_client_ca
        if self._flags.reuseport and address.allows("reuseport"):
            options["reuseport"] = True
        if self._flags.proxy_protocol:
            networks = [ipaddress.ip_network(network, strict=False) for network in self._flags.trust if network != UNIX]
            if self._flags.trust and not networks and address.base in ("tcp", "tls"):
                raise UsageError(f"--trust says whose PROXY headers are believed: nobody's on {address}")
            options["proxy_protocol"] = networks or True
        return address.with_options(**options)

    def _certificates(self) -> list[Certificate]:
        flags = self._flags
        if flags.tls_self_signed:
            if flags.tls_cert:
                raise UsageError("--tls-self-signed and --tls-cert exclude each other")
            return [self._self_signed()]
        if len(flags.tls_key) not in (0, len(flags.tls_cert)):
            raise UsageError("each --tls-cert needs its --tls-key, unless the files hold both")
        keys = flags.tls_key or [None] * len(flags.tls_cert)
        return list(zip(flags.tls_cert, keys, strict=True))

    def _self_signed(self) -> Certificate:
        import tempfile  # only who asks for it waits for it

        directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="evio-http-"))
        names = ["localhost", "127.0.0.1", "::1", *(host for _, host in own_addresses())]
        bound = _without_brackets(self._flags.bind or "")
        names += (name for name in (bound, *(name for name, _ in self._flags.sites)) if name)
        try:
            chain, key, self.trusted_file = make_certificate(directory, dict.fromkeys(names))
        except ImportError:
            raise UsageError("--tls-self-signed needs trustme: pip install evio-http[self-signed]") from None
        return chain, key

    # -- what to answer

    def _events(self) -> Events:
        flags = self._flags
        limits = Limits(
            request_line=flags.max_request_line,
            head=flags.max_head,
            fields=flags.max_fields,
            body=flags.max_body,
            header_timeout=flags.header_timeout,
            keep_alive=flags.keep_alive,
            min_rate=flags.min_rate,
            connections=flags.max_connections,
            connections_per_address=flags.max_connections_per_address,
        )
        trusted = TrustedProxies(flags.trust)
        auth = BasicAuth.from_file(flags.auth) if flags.auth else None
        handlers, observers, metrics = self._handlers(auth), self._observers(trusted, auth), self._metrics()
        if metrics is not None:
            handlers.insert(0, metrics)
            observers.append(metrics)
        events = http_events(
            *handlers,
            limits=limits,
            server_name="" if flags.no_server_name else "evio-http",
            hot_bytes=flags.hot_memory,
            revalidate=flags.revalidate,
            observers=observers,
            trusted=trusted,
            gate=self._gate(trusted),
            num_loops=flags.loops,
        )
        if metrics is not None:
            metrics.count_connections(events)
        events.serving = self._serving(metrics)
        events.shutdown_timeout = flags.shutdown_timeout
        if self._access_log is not None:
            events.tick = self._tick(self._access_log)
            events.reopen_logs = self.reopen_logs
            events.stopped = self._access_log.close  # a worker ends without ``close``
        return events

    def _handlers(self, auth: BasicAuth | None) -> list[RequestHandler]:
        flags = self._flags
        site = make_site(flags, auth)
        handlers: list[RequestHandler] = []
        if flags.https_redirect is not None:
            handlers.append(HttpsRedirect(flags.https_redirect))
        read = {flags.auth: auth}
        for _, of_site in flags.sites:
            if of_site.auth not in read:
                read[of_site.auth] = BasicAuth.from_file(of_site.auth)
        every = (flags, *(of_site for _, of_site in flags.sites))
        if any(each.listing_template for each in every) and not any(each.listing for each in every):
            raise UsageError("--listing-template needs --listing")
        hosts = {name: make_site(of_site, read[of_site.auth]) for name, of_site in flags.sites}
        whole = VirtualHosts(hosts, site) if hosts else site
        handlers.append(self._live(whole) if flags.live else whole)
        return handlers

    def _live(self, handler: RequestHandler) -> RequestHandler:
        flags, changes = self._flags, Changes()
        if flags.workers:
            raise UsageError("--live and --workers exclude each other")
        every = (flags, *(of_site for _, of_site in flags.sites))
        log_file = [] if flags.access_log in (None, "-") else [flags.access_log]
        try:
            self._watcher = Watcher(
                {each.directory for each in every}, changes, log_file, dotfiles=any(each.dotfiles for each in every)
            )
        except ImportError:
            raise UsageError("--live needs watchfiles: pip install evio-http[live]") from None
        self._stack.callback(self._watcher.close)
        return Live(handler, changes)

    def _gate(self, trusted: TrustedProxies) -> Gate | None:
        flags = self._flags
        if flags.rate_burst is not None and flags.rate is None:
            raise UsageError("--rate-burst needs --rate")
        if not (flags.allow or flags.deny or flags.rate):
            return None
        limit = RateLimit(flags.rate, flags.rate_burst or math.ceil(flags.rate * 10)) if flags.rate else None
        return Gate(AddressRules(flags.allow, flags.deny), limit, trusted)

    # -- who is told

    def _observers(self, trusted: TrustedProxies, auth: BasicAuth | None) -> list[Observer]:
        if self._flags.access_log is None:
            return []
        self._access_log = AccessLog(self._flags.access_log, self._flags.log_format)
        self._stack.callback(self._access_log.close)
        observer: Observer = LogObserver(self._access_log, trusted, auth)
        return [Without(observer, PREFIX) if self._flags.live else observer]

    def _metrics(self) -> Metrics | None:
        if self._flags.metrics is None:
            return None
        try:
            metrics = Metrics(self._flags.metrics, shared=self._flags.workers != 0)
        except ImportError:
            raise UsageError("--metrics needs prometheus-client: pip install evio-http[metrics]") from None
        self._stack.callback(metrics.close)
        return metrics

    def _tick(self, access_log: AccessLog) -> Callable[[], float]:
        def tick() -> float:
            access_log.flush()
            access_log.follow()
            return FLUSH_SECONDS

        return tick

    def _serving(self, metrics: Metrics | None) -> Callable[[Server], Action | None]:
        starter = os.getpid()
        # Whoever takes the byte, the only one, says where we are: one of the workers.
        token, put = os.pipe()
        os.write(put, b"1")
        os.close(put)
        self._stack.callback(os.close, token)

        def serving(server: Server) -> None:
            self.server = server
            if metrics is not None:
                metrics.begin()
            if os.getpid() != starter and self._access_log is not None:
                self._access_log.reopen()  # a worker that replaces another: the file may have been rotated away
            if self._watcher is not None:
                self._watcher.start()
            if os.read(token, 1):
                self._banner(server)

        return serving

    def _banner(self, server: Server) -> None:
        listening = list(zip(map(Address.parse, self.addresses), server.addrs, strict=True))
        lines = banner(os.path.abspath(self._flags.directory), listening)
        if self.trusted_file:
            lines.append(f"for development: clients have to trust {self.trusted_file}")
        if sys.stdout is not None:
            try:  # not with print: what that leaves in a buffer is an error once more at exit
                os.write(sys.stdout.fileno(), "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))
            except OSError as error:
                log.warning("cannot print where it listens: %s", error.strerror)
        if self._flags.open:
            page = next(filter(None, (page_url(address, bound) for address, bound in listening)), None)
            if page is None:
                log.warning("--open: a browser reaches none of the addresses, which are unix sockets")
            else:
                browse(page)


def _without_brackets(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _no_password() -> NoReturn:
    raise ValueError("the key is encrypted, and a server cannot ask for its password")
