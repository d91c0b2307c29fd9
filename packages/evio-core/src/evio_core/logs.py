"""The logger of the package: ``logging.getLogger("evio")``."""

from __future__ import annotations

import logging

__all__ = ["log"]

log = logging.getLogger("evio")
