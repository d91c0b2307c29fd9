"""The counts of a server since its start, or since CONFIG RESETSTAT.

https://redis.io/docs/latest/commands/info/
"""

from __future__ import annotations

from ..errors import CommandError

__all__ = ["Totals"]


class Totals:
    """The counters that belong to no other part."""

    def __init__(self) -> None:
        self.latest_fork_usec = self.total_forks = 0
        self.reset()

    def reset(self) -> None:
        """Set to zero what CONFIG RESETSTAT does."""
        self.commands_processed = 0
        self.connections_received = 0
        self.rejected_connections = 0
        self.errors: dict[str, int] = {}  # by code

    def count_error(self, error: CommandError) -> None:
        """Count an error for ``INFO errorstats``, unless it has been counted."""
        if error.counted:
            return
        code = str(error).partition(" ")[0]
        self.errors[code] = self.errors.get(code, 0) + 1
