"""Queues of bytes, without I/O."""
