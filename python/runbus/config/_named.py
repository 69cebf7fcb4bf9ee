"""Named parts: what `type: NAME` means in data, imported when somebody uses the name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from runbus.config._targets import import_target, path_of
from runbus.errors import TargetUnusable, near_matches

__all__ = [
    "COMMANDS",
    "EXECUTORS",
    "INTEGRATIONS",
    "PACKAGERS",
    "NamedParts",
    "parts_of",
    "register_kind",
]


class NamedParts(Mapping[str, Any]):
    """What has names within one kind of part; a mapping from names to classes and functions.

    Looking at the names imports nothing; looking one up imports it.

    Attributes:
        kind: What a part is called in messages.
        several: The name of the part that a list of parts makes together; empty if there is none.
        built_in: The names that there are from the beginning.

    Args:
        kind: What a part is called in messages, such as `executor`.
        group: The group of entry points in which other distributions bring further parts; none if
            empty.
        known: The parts that there are from the beginning, as `register` takes them.
        several: The name of the part that a list of parts makes together; it takes them as its
            first argument. Empty if a list of them means nothing.
    """

    def __init__(
        self,
        kind: str,
        group: str = "",
        known: Mapping[str, Any] | None = None,
        *,
        several: str = "",
    ) -> None:
        self.kind = kind
        self.several = several
        self._group = group
        self._targets = dict(known or {})
        self.built_in = tuple(sorted(self._targets))
        self._installed: dict[str, str] | None = None

    def register(self, name: str, target: Any) -> None:
        """Give a part a name.

        Args:
            name: The name.
            target: A class or function, or its import path as `module:name`.

        Raises:
            TargetUnusable: Another part has the name.
        """
        known = self._targets.get(name, self._from_others().get(name))
        if known is not None and _text(known) != _text(target):
            reason = f"{_text(known)} is the {self.kind} of that name"
            raise TargetUnusable(f"{name!r} as {_text(target)}", reason, "choose another name")
        self._targets[name] = target

    def import_path(self, name: str) -> str:
        """Return where a part is imported from, as `module:name`; imports nothing.

        Raises:
            TargetUnusable: There is no part of that name.
        """
        return _text(self._find(name))

    def origin_of(self, name: str) -> str:
        """Return who brings the part of a name: runbus, another distribution, or this program."""
        if name in self.built_in:
            return "runbus"
        if name not in self._from_others():
            return "registered in Python"
        from importlib.metadata import entry_points

        (point, *_) = entry_points(group=self._group, name=name)
        return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value

    def name_of(self, target: Any) -> str | None:
        """Return the name of a class or function; None if it has none here. Imports nothing."""
        return next((name for name in self if _is_at(target, self._find(name))), None)

    def __getitem__(self, name: str) -> Any:
        try:
            found = self._find(name)
        except TargetUnusable:
            raise KeyError(name) from None
        return self._loaded(name, found)

    def find(self, name: str) -> Any:
        """Return the part of a name, imported.

        Raises:
            TargetUnusable: There is none, or it cannot be imported.
            ExtraMissing: It needs a package that is not installed.
        """
        return self._loaded(name, self._find(name))

    def _loaded(self, name: str, found: Any) -> Any:
        if isinstance(found, str):
            found = import_target(found)
            self._targets[name] = found
        return found

    def _find(self, name: str) -> Any:
        if name in self._targets:
            return self._targets[name]
        others = self._from_others()
        if name in others:
            return others[name]
        near = near_matches(name, self)
        advice = f"did you mean {near[0]!r}" if near else f"there are {', '.join(self)}"
        raise TargetUnusable(repr(name), f"no {self.kind} has that name", advice)

    def _from_others(self) -> Mapping[str, str]:
        if self._installed is None:
            found: dict[str, str] = {}
            if self._group and _may_be_installed(self._group):
                from importlib.metadata import entry_points

                found = {point.name: point.value for point in entry_points(group=self._group)}
            self._installed = found
        return self._installed

    def __contains__(self, name: object) -> bool:
        return name in self._targets or name in self._from_others()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._targets, *self._from_others()}))

    def __len__(self) -> int:
        return len({*self._targets, *self._from_others()})


def _may_be_installed(group: str) -> bool:
    """Whether any distribution may have entry points of a group.

    The module that really tells costs 40 ms: it is only asked if a file of that form has the name.
    """
    name = f"[{group}]".encode()
    for path in {*sys.path}:
        if os.path.isfile(path):  # an archive, into which only that module looks
            return True
        try:
            folders = [one for one in os.listdir(path or ".") if one.endswith(_DESCRIBES)]
        except OSError:
            continue
        for folder in folders:
            try:
                with open(os.path.join(path, folder, "entry_points.txt"), "rb") as file:
                    if name in file.read():
                        return True
            except OSError:  # most have none
                continue
    return False


_DESCRIBES = (".dist-info", ".egg-info", "EGG-INFO")


def _is_at(target: Any, known: Any) -> bool:
    """Whether a target is what is known, or what lies at the import path that is known."""
    if not isinstance(known, str):
        return known is target
    module, _, name = known.partition(":")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None) if found is not None else None
    return found is target


def _text(target: Any) -> str:
    return target if isinstance(target, str) else path_of(target)


EXECUTORS = NamedParts(
    "executor",
    "runbus.executors",
    {
        "local": "runbus.executors.local:LocalExecutor",
        "ssh": "runbus.executors.ssh:SSHExecutor",
    },
)

PACKAGERS = NamedParts(
    "packager",
    "runbus.packagers",
    {
        "git": "runbus.packaging:GitArchivePackager",
        "pattern": "runbus.packaging:PatternPackager",
        "hybrid": "runbus.packaging:HybridPackager",
    },
    several="hybrid",
)

INTEGRATIONS = NamedParts("integration", "runbus.plugins")
"""Plugins that are installed, such as those that hand on what runs measure."""

COMMANDS = NamedParts(
    "command",
    "runbus.commands",
    {
        name: f"runbus.cli.commands.{name}:command"
        for name in (
            "run", "submit", "attach", "status", "retry", "cancel", "ls", "show", "logs", "metrics",
            "artifacts", "plot", "tag", "note", "rename", "rm", "query", "seal", "why", "replay",
            "executors", "config", "doctor", "completion", "version",
        )
    },
)  # fmt: skip
"""The subcommands of `runbus`."""

_KINDS: dict[str, NamedParts] = {
    "runbus.abc.executor.Executor": EXECUTORS,
    "runbus.abc.packager.Packager": PACKAGERS,
    "runbus.abc.plugin.Plugin": INTEGRATIONS,
}
"""The parts that may stand where a class is wanted, by its import path: nothing is imported."""


def register_kind(base: type, parts: NamedParts) -> None:
    """Say which parts may stand, by name, where a class is wanted."""
    _KINDS[path_of(base)] = parts


def parts_of(base: Any) -> NamedParts | None:
    """Return the parts that may stand where a class is wanted; None if they have no names."""
    if not isinstance(base, type):
        return None
    return _KINDS.get(f"{base.__module__}.{base.__qualname__}")
