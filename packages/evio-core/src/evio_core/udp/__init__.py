"""Datagram sockets."""

__all__: list[str] = []
