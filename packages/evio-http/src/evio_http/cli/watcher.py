"""``--live``: a thread that watches the directories of sites with ``watchfiles``."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from time import monotonic
from typing import Any

from ..site.live import Changes

__all__ = ["Watcher"]

TICK = 100
"""Milliseconds after which ``watchfiles`` says that nothing has changed, for the first time when it watches."""

START = 10.0
"""Seconds that the server waits for that. Very many directories take longer."""

STYLES = (".css", ".css.map")

log: logging.Logger = logging.getLogger("evio_http")


class Watcher:
    """Tells ``changes`` of those below ``directories``. ``ignored`` are paths that are not looked at, and without
    ``dotfiles`` neither are names that begin with a dot, which no visitor gets. What editors and version control leave
    is ignored, too. Raises ``ImportError`` without ``watchfiles``."""

    def __init__(self, directories: Iterable[str], changes: Changes, ignored: Iterable[str], *, dotfiles: bool) -> None:
        import watchfiles

        self._watch = watchfiles.watch
        self._directories = [os.path.realpath(directory) for directory in directories]
        self._changes = changes
        self._usual = watchfiles.DefaultFilter(ignore_paths=[os.path.realpath(path) for path in ignored])
        self._dotfiles = dotfiles
        self._begun = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="evio-http-live", daemon=True)

    def start(self) -> None:
        """Watch from now on: what changes after this has returned is noticed."""
        self._thread.start()
        if not self._begun.wait(START):
            log.warning("--live: what changes now may not be noticed: watching begins slowly")

    def close(self) -> None:
        """Watch no longer. A second call does nothing."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            for found in self._watch(
                *self._directories,
                watch_filter=self._is_wanted,
                stop_event=self._stopped,
                rust_timeout=TICK,
                yield_on_timeout=True,
                raise_interrupt=False,
            ):
                self._begun.set()
                if found:
                    self._changes.add(only_styles=all(path.endswith(STYLES) for _, path in found))
                self._changes.release(monotonic())
        except (OSError, RuntimeError) as error:
            log.error("--live: cannot watch %s any more: %s", ", ".join(self._directories), error)
        finally:
            self._begun.set()

    def _is_wanted(self, change: Any, path: str) -> bool:
        if not self._usual(change, path):
            return False
        root = next((each for each in self._directories if path.startswith(each)), "")
        return self._dotfiles or f"{os.sep}." not in path[len(root) :]
