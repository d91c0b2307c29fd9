"""The commands, a file for each of Redis's groups. Importing a file declares what is in it."""

from . import connection, strings

__all__ = ["connection", "strings"]
