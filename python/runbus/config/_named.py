"""Named parts: what `type: NAME` means in data, imported when somebody uses the name."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus.config._targets import import_target, path_of
from runbus.errors import TargetUnusable, near_matches

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "COMMANDS",
    "EXECUTORS",
    "INTEGRATIONS",
    "PACKAGERS",
    "SERVICES",
    "TUNNELS",
    "NamedParts",
    "may_be_installed",
    "parts_of",
    "register_kind",
]

PROGRAM = "registered in Python"
"""Who registers a part where nobody says otherwise."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

_EXTENSIONS = "runbus.plugins._installed_extensions:register_installed"


class _Part(NamedTuple):
    """What somebody has given a name."""

    target: Any
    origin: str
    owner: object


class NamedParts(Mapping[str, Any]):
    """What has names within one kind of part; a mapping from names to classes and functions.

    Looking up a name imports what it means. Looking at the names imports nothing but extensions,
    which only say by running what they bring: see `extensions`.

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
        extensions: The import path of a function that lets installed extensions register what they
            bring. It is called when a name is missing, or all are asked for, and must be quick
            where it has nothing more to do. None are asked if empty.
        refusal: The import path of a function that returns why the part of a name that another
            distribution brings is not wanted; empty text if it is. All are wanted if empty.
        reserved: Names that nobody may register.
        below: Where names are looked up that are not registered here; they cannot be registered
            here for something else.
    """

    def __init__(
        self,
        kind: str,
        group: str = "",
        known: Mapping[str, Any] | None = None,
        *,
        several: str = "",
        extensions: str = "",
        refusal: str = "",
        reserved: Sequence[str] = (),
        below: NamedParts | None = None,
    ) -> None:
        self.kind = kind
        self.several = several
        self.built_in = tuple(sorted(known or ()))
        self._group = group
        self._known = dict(known or {})
        self._extensions = extensions
        self._refusal = refusal
        self._reserved = frozenset(reserved)
        self._below = below
        self._registered: dict[str, list[_Part]] = {}
        self._installed: dict[str, str] | None = None

    def fresh(self) -> NamedParts:
        """Return the parts of this kind without what was registered here, to register others."""
        known = {name: self._known[name] for name in self.built_in}
        return NamedParts(
            self.kind,
            self._group,
            known,
            several=self.several,
            refusal=self._refusal,
            reserved=[*self._reserved],
        )

    def layer(self) -> NamedParts:
        """Return parts that are registered besides these, which stay as they are."""
        reserved = [*self._reserved]
        return NamedParts(self.kind, several=self.several, reserved=reserved, below=self)

    @property
    def registered(self) -> dict[str, Any]:
        """The parts that were registered here, by name: neither built in nor found elsewhere."""
        return {name: parts[0].target for name, parts in self._registered.items()}

    def register(self, name: str, target: Any, origin: str = PROGRAM, owner: object = None) -> None:
        """Give a part a name. To repeat that is harmless.

        Args:
            name: The name.
            target: A class or function, or its import path as `module:name`.
            origin: Who does so, in words.
            owner: What `unregister` is given to take back this and nothing that others did.

        Raises:
            TargetUnusable: Another part has the name, or nobody may have it.
        """
        self.check(name, target)
        parts = self._registered.setdefault(name, [])
        if not any(part.owner is owner for part in parts):
            parts.append(_Part(target, origin, owner))

    def check(self, name: str, target: Any) -> None:
        """Refuse a name that cannot be registered for a part.

        Raises:
            TargetUnusable: Another part has the name, or nobody may have it.
        """
        given: Any = name
        if not isinstance(given, str) or not _NAME.fullmatch(given) or given in self._reserved:
            reason = f"no {self.kind} can have that name"
            advice = "write letters, digits, '-', '_' and '.', a letter or digit first"
            raise TargetUnusable(repr(name)[:100], reason, advice)
        known = self._have(name)
        if known is not None and known is not target and _text(known) != _text(target):
            reason = f"{_text(known)} is the {self.kind} of that name"
            raise TargetUnusable(f"{name!r} as {_text(target)}", reason, "choose another name")

    def unregister(self, name: str, owner: object = None) -> None:
        """Take back what `register` did with the same name and owner, if it did anything."""
        if left := [one for one in self._registered.get(name, ()) if one.owner is not owner]:
            self._registered[name] = left
        else:
            self._registered.pop(name, None)

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
        if name in self._registered:
            return self._registered[name][0].origin
        if self._below is not None:
            return self._below.origin_of(name)
        if name not in self._from_others():
            return PROGRAM
        from importlib.metadata import entry_points

        (point, *_) = entry_points(group=self._group, name=name)
        return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value

    def name_of(self, target: Any) -> str | None:
        """Return the name of a class or function; None if it has none here. Imports nothing."""

        def known() -> str | None:
            names = sorted(self._names())
            return next((name for name in names if _is_at(target, self._have(name))), None)

        if (name := known()) is None:
            self._ask_extensions()
            name = known()
        return name

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
        if not isinstance(found, str):
            return found
        if self._refusal and found == self._from_others().get(name):
            why_not = import_target(self._refusal)(name)
            if why_not:
                raise TargetUnusable(repr(name), why_not, "say so if it is wanted")
        target = import_target(found)
        if self._known.get(name) is found:
            self._known[name] = target
        return target

    def _have(self, name: object) -> Any:
        """Return what is known of a name without asking extensions; None if nothing is."""
        if name in self._known:
            return self._known[name]
        if name in self._registered:
            return self._registered[name][0].target
        if self._below is not None:
            return self._below._have(name)
        return self._from_others().get(name)  # type: ignore[call-overload]

    def _find(self, name: str) -> Any:
        if (found := self._have(name)) is None:
            self._ask_extensions()
            found = self._have(name)
        if found is not None:
            return found
        near = near_matches(name, self)
        advice = f"did you mean {near[0]!r}" if near else f"there are {', '.join(self)}"
        raise TargetUnusable(repr(name), f"no {self.kind} has that name", advice)

    def _ask_extensions(self) -> None:
        if self._extensions:
            import_target(self._extensions)()
        if self._below is not None:
            self._below._ask_extensions()

    def _from_others(self) -> Mapping[str, str]:
        if self._installed is None:
            found: dict[str, str] = {}
            if self._group and may_be_installed(self._group):
                from importlib.metadata import entry_points

                found = {point.name: point.value for point in entry_points(group=self._group)}
            self._installed = found
        return self._installed

    def __contains__(self, name: object) -> bool:
        if self._have(name) is None:
            self._ask_extensions()
        return self._have(name) is not None

    def __iter__(self) -> Iterator[str]:
        self._ask_extensions()
        return iter(sorted(self._names()))

    def __len__(self) -> int:
        self._ask_extensions()
        return len(self._names())

    def _names(self) -> set[str]:
        below = self._below._names() if self._below is not None else ()
        return {*self._known, *self._registered, *self._from_others(), *below}


def may_be_installed(group: str) -> bool:
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
    if isinstance(target, str):
        return target
    try:
        return path_of(target)
    except TargetUnusable as error:  # a class within a function, say, which other processes lack
        return error.target


EXECUTORS = NamedParts(
    "executor",
    "runbus.executors",
    {
        "docker": "runbus.executors.docker:DockerExecutor",
        "local": "runbus.executors.local:LocalExecutor",
        "slurm": "runbus.executors.slurm:SlurmExecutor",
        "ssh": "runbus.executors.ssh:SSHExecutor",
    },
    extensions=_EXTENSIONS,
)

PACKAGERS = NamedParts(
    "packager",
    "runbus.packagers",
    {
        "git": "runbus.packaging:GitArchivePackager",
        "pattern": "runbus.packaging:PatternPackager",
        "hybrid": "runbus.packaging:HybridPackager",
        "image": "runbus.packaging:DockerImagePackager",
    },
    several="hybrid",
    extensions=_EXTENSIONS,
)

TUNNELS = NamedParts(
    "tunnel",
    "runbus.tunnels",
    {
        "local": "runbus.transports.local:LocalTunnel",
        "ssh": "runbus.transports.ssh:SSHTunnel",
    },
)
"""What reaches a machine that is not given as text."""

INTEGRATIONS = NamedParts(
    "integration",
    "runbus.plugins",
    extensions=_EXTENSIONS,
    refusal="runbus.plugins._selection:why_not_wanted",
)
"""Plugins that are installed, such as those that hand on what runs measure."""

SERVICES = {
    "mlops": NamedParts("mlops service", "runbus.mlops", {"runbus": "runbus.hub:RunbusMLOps"}),
    "datastream": NamedParts(
        "datastream service", "runbus.datastream", {"memory": "runbus.hub:MemoryStream"}
    ),
    "taskqueue": NamedParts(
        "taskqueue service", "runbus.taskqueue", {"local": "runbus.hub:LocalQueue"}
    ),
}
"""The services of a hub, by their kinds."""

COMMANDS = NamedParts(
    "command",
    "runbus.commands",
    {
        name: f"runbus.cli.commands.{name}:command"
        for name in (
            "run", "submit", "plan", "attach", "status", "retry", "rerun", "cancel", "top", "ls",
            "compare", "show", "logs", "metrics", "artifacts", "plot", "tag", "note", "rename",
            "rm", "gc", "export", "query", "seal", "why", "replay", "executors", "plugins",
            "config", "hub", "doctor", "completion", "version",
        )
    },
    extensions=_EXTENSIONS,
    reserved=("supervise",),
)  # fmt: skip
"""The subcommands of `runbus`."""

_KINDS: dict[str, NamedParts] = {
    "runbus.abc.executor.Executor": EXECUTORS,
    "runbus.abc.packager.Packager": PACKAGERS,
    "runbus.abc.plugin.Plugin": INTEGRATIONS,
    "runbus.abc.tunnel.Tunnel": TUNNELS,
    "runbus.transports.ssh.SSHTunnel": TUNNELS,
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
