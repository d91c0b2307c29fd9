"""Address strings, the sockets they become, and socket options."""

__all__: list[str] = []
