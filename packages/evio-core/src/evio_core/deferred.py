"""Answers that come later."""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from typing import Any

__all__ = ["Deferred"]


class Deferred(Future[Any]):
    """An answer that a thread or another connection gives later, in the place of output::

        def data(self, chunk):
            self.answer = Deferred()
            ask_somebody(chunk, self.answer.set_result)
            return self.answer

    A ``concurrent.futures.Future`` whose ``set_result`` and ``set_exception`` may be called from any thread, and do
    nothing once it is cancelled, as it is when its connection ends: the one who answers need not know.
    """

    def set_result(self, result: Any) -> None:
        """Answer with what a callback may return: output, an action, or both."""
        try:
            super().set_result(result)
        except InvalidStateError:
            if not self.cancelled():
                raise

    def set_exception(self, exception: BaseException | None) -> None:
        """Fail: the connection ends as if its callback had raised ``exception``."""
        try:
            super().set_exception(exception)
        except InvalidStateError:
            if not self.cancelled():
                raise
