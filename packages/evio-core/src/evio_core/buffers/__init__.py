"""Queues of bytes, without I/O."""

__all__: list[str] = []
