"""Loading keys in slices of the loop, between which clients are answered: most of them that the keys are being loaded.

https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import Any

from ..errors import LOADING
from ..model.route import Route
from ..model.services import Services

__all__ = ["Loading"]

SLICE = 0.01
"""Seconds that clients wait at most for a slice, unless one key takes longer."""


REPORTED = 2.0
"""Seconds between two lines of the log that say how far it is."""

log: logging.Logger = logging.getLogger("evio_redis")


class Loading:
    """The load under way, if there is one: of a file at the start, or of the snapshot of a master."""

    def __init__(self, services: Services) -> None:
        self._route = services[Route]
        self._steps: Generator[int, None, object] | None = None
        self._total: Callable[[], int] = lambda: 0  # bytes
        self._done = 0
        self._begun = 0.0
        self._begun_at = 0  # the same as a Unix time
        self._reported = 0.0  # when the log last said how far it is

    @property
    def active(self) -> bool:
        """True while keys are being loaded."""
        return self._steps is not None

    def begin(self, steps: Generator[int, None, object], total: Callable[[], int]) -> None:
        """Begin; ``steps`` loads a piece each time and yields how many of ``total()`` bytes are done."""
        self._steps, self._total, self._done = steps, total, 0
        self._begun, self._begun_at = time.monotonic(), int(time.time())
        self._reported = self._begun
        self._route.refuse_loading(LOADING)

    def go_on(self) -> bool:
        """Load for a while; returns False once all is there. Raises what loading raises, which also ends it."""
        assert self._steps is not None, "something is being loaded"
        until = time.monotonic() + SLICE
        try:
            for done in self._steps:
                self._done = done
                now = time.monotonic()
                if now >= until:
                    if now >= self._reported + REPORTED:
                        self._report(now)
                    return True
        except BaseException:
            self.end()
            raise
        self.end()
        return False

    def end(self) -> None:
        """Load no more: all is there, or it is given up."""
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()
            self._route.refuse_loading("")

    def _report(self, now: float) -> None:
        self._reported = now
        total, share = self._total(), self._share()
        left = f"about {self._left(share)} s left" if share else "just begun"
        log.info("Loading: %.0f %% of %.1f MB, %s", share * 100, total / 1e6, left)

    def _share(self) -> float:
        total = self._total()
        return self._done / total if total else 0.0

    def _left(self, share: float) -> int:
        """Seconds, if the rest takes as long as what is done; 1 while nothing is."""
        passed = time.monotonic() - self._begun
        return int(passed / share - passed) if share else 1

    def info(self) -> dict[str, Any]:
        """Fields of ``INFO persistence`` while something is being loaded."""
        if not self.active:
            return {}
        total, share = self._total(), self._share()
        return {
            "loading_start_time": self._begun_at,
            "loading_total_bytes": total,
            "loading_loaded_bytes": self._done,
            "loading_loaded_perc": f"{share * 100:.2f}",
            "loading_eta_seconds": self._left(share),
        }
