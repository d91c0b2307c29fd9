"""The part of a server in a cluster: which calls it takes, and to whom it sends the others."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.config import Config
from ..errors import CommandError, ConfigError
from ..model.command import Args, Command, Function, Registry
from ..model.services import Services
from .nodes import Map, read_map
from .slots import SLOTS, slot_of

if TYPE_CHECKING:
    from ..clients.session import Session

__all__ = ["Cluster", "Redirection"]

log: logging.Logger = logging.getLogger("evio_redis")

CROSS_SLOT = "CROSSSLOT Keys in request don't hash to the same slot"
DOWN = "CLUSTERDOWN The cluster is down"
NOT_SERVED = "CLUSTERDOWN Hash slot not served"


class Redirection(CommandError):
    """The reply to a call that another node has to take, or none can."""


class Cluster:
    """The cluster that a server belongs to; ``map`` is None for a server alone."""

    def __init__(self, services: Services) -> None:
        self._config = services[Config]
        self._registry = services[Registry]
        self.map: Map | None = None
        self.on_change: Callable[[], None] = lambda: None  # set by the dispatcher
        self.is_replica: Callable[[], bool] = lambda: False  # True while the server follows a master; set by the server
        self.on_map: Callable[[Map], None] = lambda known: None  # take the role that it gives; set by the server
        self._seen: tuple[int, int] | None = None  # of the file that was read: its inode and when it was changed

    @property
    def enabled(self) -> bool:
        """True for a server in a cluster."""
        return self.map is not None

    @property
    def up(self) -> bool:
        """True if keys are served: all slots are somebody's, or need not be."""
        known = self.map
        return known is not None and (known.assigned == SLOTS or not self._config.cluster_require_full_coverage)

    @property
    def path(self) -> Path:
        """The file of the map."""
        return Path(self._config.dir) / self._config.cluster_config_file

    def load(self) -> None:
        """Read the map at the start of the server. Raises :class:`ConfigError` and ``OSError``."""
        if self._config.cluster_enabled:
            try:
                self._seen = self._stamp()
            except FileNotFoundError:
                raise ConfigError(f"cluster-enabled needs a map of the slots, and there is no {self.path}") from None
            self.map = read_map(self.path)
            self.on_change()

    def _stamp(self) -> tuple[int, int]:
        status = os.stat(self.path)
        return status.st_ino, status.st_mtime_ns

    def tick(self) -> None:
        """Read the map again if the file has changed; one that is wrong is reported, and the old one stays."""
        if self.map is None:
            return
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return
            self._seen = stamp
            changed = read_map(self.path)
            if changed.myself.id != self.map.myself.id:
                raise ConfigError(f"{self.path}: this node is {self.map.myself.id}")
            self.map = changed
            self.on_map(changed)
        except FileNotFoundError:
            return  # it is being replaced
        except (OSError, ConfigError) as error:
            log.error("The map of the cluster stays as it is: %s", error)
            return
        log.info("The map of the cluster has changed: %d nodes, %d slots", len(changed.nodes), changed.assigned)

    # -- what calls need

    def wrap(self, command: Command, function: Function) -> Function:
        """Return what a command does in a cluster: its keys are looked at first."""
        if command.get_keys is None and not command.keys[0]:
            return function
        check, one_key = self._check_slot, command.get_keys is None and command.keys[:2] == (1, 1)
        reads, positions = "write" not in command.flags, command.key_positions

        def with_key(session: Session, args: Args) -> bytes:
            check(session, slot_of(args[1]), reads)
            return function(session, args)

        def with_keys(session: Session, args: Args) -> bytes:
            slots = {slot_of(args[at]) for at in positions(args) if at < len(args)}
            if slots:
                if len(slots) > 1:
                    raise Redirection(CROSS_SLOT)
                check(session, slots.pop(), reads)
            return function(session, args)

        return with_key if one_key else with_keys

    def check(self, session: Session, command: Command, args: Args) -> None:
        """Raise :class:`CommandError` for a call, or what EXEC would run, that is another node's to take."""
        calls = [(command, args)]
        if command.name == "exec":
            queued = ((self._registry.find(each), each) for each in session.queue or ())
            calls = [(each, words) for each, words in queued if each is not None]
        slots, reads = set(), True
        for each, words in calls:
            if each.get_keys is not None or each.keys[0]:
                slots |= set(map(slot_of, each.keys_in(words)))
                reads = reads and "write" not in each.flags
        if len(slots) > 1:
            raise Redirection(CROSS_SLOT)
        for slot in slots:
            self._check_slot(session, slot, reads)

    def check_script(self, session: Session, command: Command, args: Args) -> None:
        """Raise :class:`CommandError` for a call of a script that has a key of another node."""
        try:
            self.check(session, command, args)
        except Redirection:
            raise CommandError("ERR Script attempted to access a non local key in a cluster node") from None

    def _check_slot(self, session: Session, slot: int, reads: bool) -> None:
        known = self.map
        assert known is not None, "it is a cluster"
        owner, myself = known.owners[slot], known.myself
        if not self.up:
            raise Redirection(DOWN)
        if owner is myself:
            return
        if owner is None:
            raise Redirection(NOT_SERVED)
        if owner.id == myself.master and (not self.is_replica() or (session.read_only and reads)):
            return  # promoted, it is the master of the slots that it had a copy of
        raise Redirection(f"MOVED {slot} {owner.address}")
