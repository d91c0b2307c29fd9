"""A server of several processes."""

__all__: list[str] = []
