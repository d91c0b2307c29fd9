"""Limits and time-outs of connections and requests. The defaults are nginx's where it has one."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes are in bytes, times in seconds; 0 is "no limit" where that is said. Raises ``ValueError`` for a negative
    one, or a 0 that would refuse everything."""

    request_line: int = 8 * 1024
    """A request line longer than this gets 414 (nginx: one buffer of ``large_client_header_buffers``)."""

    head: int = 32 * 1024
    """A request line and fields longer than this get 431 (nginx: four such buffers)."""

    fields: int = 100
    """More header fields than this get 431."""

    body: int = 1024 * 1024
    """Content longer than this gets 413 (nginx: ``client_max_body_size``). What is shorter is read, and thrown away
    when nobody wants it."""

    header_timeout: float = 60.0
    """A request's head has to be complete this long after its first byte, or after the connection opened. Absolute: no
    byte extends it (nginx: ``client_header_timeout``). 0: none."""

    keep_alive: float = 75.0
    """A connection over which nothing moves for this long is closed: between requests, while a client sends one, and
    while it takes an answer (nginx: ``keepalive_timeout``). 0: none."""

    min_rate: int = 512
    """Bytes per second that a client has to send of a body, after ``rate_grace``, and to take of answers, in each
    ``rate_grace`` (nginx: ``client_body_timeout`` and ``send_timeout``, which are content with one byte). 0: none."""

    rate_grace: float = 60.0
    """Seconds; more than 0."""

    connections: int = 0
    """More open connections than this get 503. 0: as many as the system allows."""

    connections_per_address: int = 0
    """More from one address get 503. 0: none."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            least = 1 if each.name in ("request_line", "head", "fields") else 0
            if not value >= least or value == float("inf"):
                raise ValueError(f"{each.name} must be a number from {least}, not {value!r}")
        if not self.rate_grace:
            raise ValueError("rate_grace must be more than 0; for no limit, min_rate is 0")

    def transfer_time(self, size: int) -> float | None:
        """Return the seconds that ``size`` bytes may take; None: any time."""
        return self.rate_grace + size / self.min_rate if self.min_rate else None
