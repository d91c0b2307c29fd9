"""The users of one server, their file, and whether a call is allowed.

https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

from ..config.config import Config
from ..errors import AclError, ConfigError
from ..model.command import Args, Command, Registry
from ..protocol.glob import matcher
from .access import Use, channels_of, keys_of
from .known import Known
from .selector import READ, Selector
from .user import User, merge_selectors

__all__ = ["Users"]

log: logging.Logger = logging.getLogger("evio_redis")

DEFAULT = "default"
TWO_PLACES = (
    "Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is invalid. This setup"
    " is very likely to lead to configuration errors and security holes, please define either an ACL file or declare"
    " users directly in your redis.conf, but not both."
)
NO_CHANGE = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"


class Users:
    """All users by name. The default one always is."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self._config = config
        self._known = Known(registry)
        self.on_change: Callable[[], None] = lambda: None  # set by the server; told when rules have changed
        self._uses: dict[str, Callable[[Args], list[Use]] | None] = {}
        self.anybody: User = self._everything("")
        """No user's rules: everything is allowed. What the server itself runs is run so."""

        self.default: User = self._everything(DEFAULT)
        self.by_name: dict[str, User] = {DEFAULT: self.default}
        self.follow_requirepass()
        config.user_lines = self._config_lines

    def _everything(self, name: str) -> User:
        user = User(name, self._known, all_channels=True)
        for rule in (b"on", b"nopass", b"+@all", b"~*", b"&*"):
            user.apply(rule)
        return user

    def follow_requirepass(self) -> None:
        """Give the default user the password that the configuration has, or none."""
        password = self._config.requirepass.encode("utf-8", "surrogateescape")
        for rule in (b"resetpass", b">" + password) if password else (b"nopass",):
            self.default.apply(rule)

    @property
    def open(self) -> bool:
        """True if clients need not give a password."""
        return self.default.nopass and self.default.enabled

    # -- users

    def new(self, name: str) -> User:
        """Return a user that is not added yet."""
        return User(name, self._known, self._config.acl_pubsub_default == "allchannels")

    def changed(self, name: str, rules: list[bytes]) -> User:
        """Return a user as it would be with more rules. Raises :class:`AclError`, whose text names the rule."""
        known = self.by_name.get(name)
        user = known.copy() if known is not None else self.new(name)
        user.all_channels = self._config.acl_pubsub_default == "allchannels"
        _apply(user, rules, "Error in ACL SETUSER modifier")
        return user

    def set(self, user: User) -> None:
        """Have a user be like this one from now on."""
        known = self.by_name.get(user.name)
        if known is None:
            self.by_name[user.name] = user
        else:
            known.take(user)
        self.on_change()

    def remove(self, name: str) -> User | None:
        """Remove a user; returns it, None if there is no such."""
        return self.by_name.pop(name, None)

    def lines(self) -> list[bytes]:
        """Return all users as in a file."""
        return [self.by_name[name].line() for name in sorted(self.by_name)]

    def _config_lines(self) -> list[str]:
        """Return the lines that a configuration file has of users: none if ``requirepass`` says it all."""
        usual = self._everything(DEFAULT)
        usual.passwords, usual.nopass = self.default.passwords, self.default.nopass
        plain = len(self.by_name) == 1 and usual.line() == self.default.line()
        if self._config.aclfile or (plain and len(self.default.passwords) == bool(self._config.requirepass)):
            return []
        return [line.decode("utf-8", "surrogateescape") for line in self.lines()]

    # -- at the start, and the file

    def load_at_start(self) -> None:
        """Take the users of the configuration or of its file. Raises :class:`ConfigError`."""
        declared, file = self._config.user, self._config.aclfile
        if declared and file:
            raise ConfigError(TWO_PLACES)
        try:
            if file:
                self.load()
            for name, *rules in declared:
                self._declare(name, [rule.encode("utf-8", "surrogateescape") for rule in rules])
        except AclError as error:
            raise ConfigError(str(error)) from None
        self.on_change()

    def _declare(self, name: str, rules: list[bytes]) -> None:
        user = self.by_name.get(name) or self.new(name)
        if user is self.default:
            user.all_channels = self._config.acl_pubsub_default == "allchannels"
            user.apply(b"reset")
        try:
            merged = merge_selectors(rules)
        except AclError as error:
            raise AclError(f"Unmatched parenthesis in the ACL rule '{error}' for the user named '{name}'") from None
        _apply(user, merged, "Error loading ACL rule", f" for the user named '{name}'")
        self.by_name[name] = user
        if not user.enabled:
            log.info(
                "The user '%s' is disabled (there is no 'on' modifier in the user description). Make sure this is not a"
                " configuration error.",
                name,
            )

    def load(self) -> list[User]:
        """Replace all users by those of the file; returns the ones that were, but for the default one. Raises
        :class:`AclError` with all that is wrong, and changes nothing then."""
        path = self._config.aclfile
        try:
            lines = Path(path).read_bytes().splitlines()
        except OSError as error:
            raise AclError(f"Error loading ACLs, opening file '{path}': {error.strerror}") from None
        found: dict[str, User] = {}
        problems: list[str] = []
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    self._read(line.split(), found, f"{path}:{number}", number)
                except AclError as error:
                    problems.append(str(error))
        if problems:
            raise AclError(" ".join([*problems, NO_CHANGE]))
        before = [user for user in self.by_name.values() if user is not self.default]
        default = found.pop(DEFAULT, None)
        self.default.take(default if default is not None else self._everything(DEFAULT))
        self.by_name = {DEFAULT: self.default, **found}
        self.on_change()
        return before

    def _read(self, words: list[bytes], found: dict[str, User], where: str, number: int) -> None:
        if words[0] != b"user" or len(words) < 2:
            raise AclError(f"{where} should start with user keyword followed by the username.")
        name = words[1].decode("utf-8", "surrogateescape")
        if name in found:
            raise AclError(f"WARNING: Duplicate user '{name}' found on line {number}.")
        user = found[name] = self.new(name)
        try:
            merged = merge_selectors(words[2:])
        except AclError:
            raise AclError(f"{where}: Unmatched parenthesis in selector definition.") from None
        for rule in merged:
            try:
                user.apply(rule)
            except AclError as error:
                text = str(error)
                shown = rule.decode("utf-8", "surrogateescape")
                if text.startswith("Unknown"):
                    text = f"Error in applying operation '{shown}': {text}"
                raise AclError(f"{where}: {text}.") from None

    def save(self) -> None:
        """Write all users to the file, which is replaced at once. Raises ``OSError``."""
        path = Path(self._config.aclfile)
        temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
        mode = path.stat().st_mode if path.exists() else 0
        try:
            with open(temporary, "wb", opener=_private) as file:
                if mode:
                    os.chmod(temporary, stat.S_IMODE(mode))
                file.write(b"\n".join(self.lines()) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    # -- what is allowed

    def denial(self, user: User, command: Command, args: Args) -> tuple[str, bytes] | None:
        """Return why a user may not run a command (``command``, ``key`` or ``channel``) and what it is about; None if
        it may."""
        if user.unrestricted:
            return None
        keys: list[Use] | None = None
        worst, place = 0, 0
        for selector in user.selectors:
            if not _runs(selector, command, args):
                continue
            if keys is None:
                keys = self._keys(command, args)
            why, at = _refused_use(selector, command, args, keys)
            if not why:
                return None
            worst, place = max((worst, place), (why, at))
        if not worst:
            return "command", command.name.encode()
        return ("key" if worst == KEY else "channel"), args[place]

    def _keys(self, command: Command, args: Args) -> list[Use]:
        if command.name not in self._uses:
            self._uses[command.name] = keys_of(command)
        uses = self._uses[command.name]
        return uses(args) if uses is not None else []

    def reads_everything(self, user: User, command: Command, args: Args) -> bool:
        """Tell whether a user who runs this command may read whatever key it likes, as SORT's BY and GET need it."""
        return user.unrestricted or any(
            _runs(each, command, args)
            and (each.all_keys or any(mode & READ and pattern == b"*" for pattern, mode in each.keys.items()))
            for each in user.selectors
        )


KEY, CHANNEL = 1, 2


def _runs(selector: Selector, command: Command, args: Args) -> bool:
    if selector.allows(command.name) or "no_auth" in command.flags:
        return True
    words = selector.first.get(command.name)
    if not words or len(args) < 2:
        return False
    return args[1].decode("utf-8", "surrogateescape").lower() in map(str.lower, words)


def _refused_use(selector: Selector, command: Command, args: Args, keys: list[Use]) -> tuple[int, int]:
    for at, needs in keys:
        if not selector.allows_key(args[at], needs):
            return KEY, at
    channels, patterns = channels_of(command, args)
    for at, channel in enumerate(channels, 1):
        if not selector.allows_channel(channel, patterns):
            return CHANNEL, at
    return 0, 0


def loses_channels(new: User, old: User) -> list[bytes] | None:
    """Return the patterns of channels that a user has from now on if it loses any; None if it does not."""
    if any(selector.all_channels for selector in new.selectors):
        return None
    patterns = [pattern for selector in new.selectors for pattern in selector.channels]
    lost = any(selector.all_channels or not set(selector.channels) <= set(patterns) for selector in old.selectors)
    return patterns if lost else None


def may_listen(patterns: list[bytes], channels: list[bytes], subscribed: list[bytes]) -> bool:
    """Tell whether subscriptions, to channels and to patterns, are within what is allowed."""
    return all(any(matcher(each)(name) for each in patterns) for name in channels) and set(subscribed) <= set(patterns)


def _apply(user: User, rules: list[bytes], what: str, whose: str = "") -> None:
    for rule in rules:
        try:
            user.apply(rule)
        except AclError as error:
            raise AclError(f"{what} '{rule.decode('utf-8', 'surrogateescape')}'{whose}: {error}") from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
