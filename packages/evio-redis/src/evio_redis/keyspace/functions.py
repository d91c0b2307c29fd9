"""The texts of libraries of functions, as files have them."""

from __future__ import annotations

__all__ = ["Texts"]


class Texts:
    """Keeps the texts without loading them: where there is no interpreter, and to check a file."""

    def __init__(self) -> None:
        self._texts: list[bytes] = []

    def codes(self) -> list[bytes]:
        """Return the texts."""
        return self._texts

    def keep(self, code: bytes, replace: bool = False) -> None:
        """Add one that a file has; with ``replace``, also in place of one of that name, if the name is known. Raises
        ``ValueError`` for one that cannot be loaded."""
        self._texts.append(code)

    def clear(self) -> None:
        """Forget all of them."""
        self._texts = []
