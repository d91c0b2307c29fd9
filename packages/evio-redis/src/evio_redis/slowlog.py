"""SLOWLOG's entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session

__all__ = ["SlowLog"]


class SlowLog:
    def __init__(self) -> None:
        self.threshold = 10000

    def add(self, session: Session, args: list[bytes], taken: float) -> None:
        pass
