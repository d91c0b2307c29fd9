"""TLS over memory buffers."""

__all__: list[str] = []
