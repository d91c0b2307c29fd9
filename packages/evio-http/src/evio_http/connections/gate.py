"""Limits of requests, by the address of the client, which a trusted proxy may name (``--trust``)."""

from __future__ import annotations

import ipaddress
import math
import threading
from collections import OrderedDict
from collections.abc import Iterable

from ..message.request import Request
from ..message.response import Response
from ..pages.error_pages import error_response
from .peers import UNIX, TrustedProxies

__all__ = ["AddressRules", "Gate", "RateLimit"]

MOST_DECISIONS = 4096
"""Addresses for which is remembered whether they may come in."""

MOST_CLIENTS = 64 * 1024
"""Clients whose requests are counted; with its address, one takes 150 bytes."""

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressRules:
    """Networks that are allowed and denied; ``unix`` stands for the peers of unix sockets. The smallest network that
    has an address decides, and of equal ones the denial. An address in none is allowed unless some are.

    Raises ``ValueError`` for text that is no network.
    """

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        self._rules: list[tuple[_Network, bool]] = []
        self._unix: bool | None = None
        self._otherwise = True
        for names, allowed in ((allow, True), (deny, False)):
            for name in names:
                self._otherwise = self._otherwise and not allowed
                if name == UNIX:
                    self._unix = allowed
                    continue
                try:
                    self._rules.append((ipaddress.ip_network(name, strict=False), allowed))
                except ValueError as error:
                    raise ValueError(f"{error}, such as 10.0.0.0/8, nor {UNIX!r}") from None
        self._rules.sort(key=lambda rule: (-rule[0].prefixlen, rule[1]))
        self._known: OrderedDict[str, bool] = OrderedDict()
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._rules) or self._unix is not None

    def allows(self, address: str) -> bool:
        """Tell whether a client with this address may come in."""
        if address.startswith("unix:"):
            return self._otherwise if self._unix is None else self._unix
        with self._lock:
            known = self._known.get(address)
            if known is None:
                parsed = ipaddress.ip_address(address.partition("%")[0])
                known = next((allowed for network, allowed in self._rules if parsed in network), self._otherwise)
                self._known[address] = known
                if len(self._known) > MOST_DECISIONS:
                    self._known.popitem(last=False)
        return known


class RateLimit:
    """At most ``rate`` requests a second of one client, and ``burst`` at once: a bucket that holds ``burst`` and is
    filled at ``rate`` (the generic cell rate algorithm of ITU-T I.371). Of IPv6, a client is a network of 64 bits. For
    several threads.

    Operations: ``wait``; O(1). Who has not asked for so long that the bucket is full is forgotten first.
    """

    def __init__(self, rate: float, burst: int) -> None:
        if not (0 < rate < math.inf and burst >= 1):
            raise ValueError(f"a rate is more than 0 and a burst 1 or more, unlike {rate!r} and {burst!r}")
        self._interval = 1 / rate
        self._tolerance = (burst - 1) / rate
        # When the bucket of a client will be full again, by ``time.monotonic``; those that asked last are last.
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, address: str, now: float) -> float:
        """Count a request at ``now``, ``time.monotonic``; 0, or for how many seconds it is too early, and not
        counted."""
        client = _client(address)
        with self._lock:
            full_at = max(self._full_at.get(client, now), now)
            early = full_at - now - self._tolerance
            if early > 0:
                return early
            self._full_at[client] = full_at + self._interval
            self._full_at.move_to_end(client)
            if len(self._full_at) > MOST_CLIENTS:
                self._full_at.popitem(last=False)
        return 0.0


def _client(address: str) -> str:
    if ":" not in address or address.startswith("unix:"):
        return address
    return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False).network_address)


class Gate:
    """Both of them, for connections and for requests."""

    def __init__(self, rules: AddressRules, limit: RateLimit | None, trusted: TrustedProxies) -> None:
        self._rules = rules
        self._limit = limit
        self._trusted = trusted

    def refuses(self, address: str) -> bool:
        """Tell whether a connection of this peer is refused, whatever it asks."""
        return not self._trusted.trusts_peer(address) and not self._rules.allows(address)

    def guards(self, address: str) -> bool:
        """Tell whether each request of this peer has to be looked at."""
        return self._limit is not None or (bool(self._rules) and self._trusted.trusts_peer(address))

    def check(self, address: str, request: Request, now: float) -> Response | None:
        """The refusal of a request that came from a peer with this address at ``now``, ``time.monotonic``; None if it
        may be answered."""
        client = self._trusted.client(address, request)
        if not self._rules.allows(client):
            return error_response(403)
        early = self._limit.wait(client, now) if self._limit is not None else 0.0
        return error_response(429, retry_after=math.ceil(early)) if early else None
