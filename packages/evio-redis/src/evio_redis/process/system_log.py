"""The system's log, for a server that is to write to it (``syslog-enabled``)."""

from __future__ import annotations

import logging
import os
import sys
from logging.handlers import SysLogHandler

from ..config.config import Config

__all__ = ["SYSTEM_LOG", "SystemLog"]

SYSTEM_LOG = "/var/run/syslog" if sys.platform == "darwin" else "/dev/log"


class SystemLog(SysLogHandler):
    """The system's log (syslog(3)). Standard error tells when it begins that it cannot be reached."""

    def __init__(self, config: Config) -> None:
        super().__init__(SYSTEM_LOG, config.syslog_facility)
        self.ident = f"{config.syslog_ident}[{os.getpid()}]: "
        self._failing = False
        self.setFormatter(logging.Formatter("%(message)s"))  # time and level are the system's business

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        if not self._failing and sys.stderr is not None:
            self._failing = True
            print(f"evio-redis: cannot write to the system's log: {sys.exc_info()[1]}", file=sys.stderr)
