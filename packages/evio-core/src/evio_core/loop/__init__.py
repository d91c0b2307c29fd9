"""The event loop, its timers, its pollers and what one server's loops share."""

__all__: list[str] = []
