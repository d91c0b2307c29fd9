"""Hashes."""

from __future__ import annotations

__all__ = ["Hash"]


class Hash(dict[bytes, bytes]):
    """Fields and values. ``large`` says for good that it has been no listpack."""

    __slots__ = ("large",)

    def __init__(self, fields: dict[bytes, bytes] | None = None) -> None:
        super().__init__(fields or {})
        self.large: bool = False

    def encoding(self) -> str:
        """As Redis names it."""
        return "hashtable" if self.large else "listpack"

    def copy(self) -> Hash:
        """Another hash of the same fields."""
        other = Hash(self)
        other.large = self.large
        return other
