"""Extensions: plugins that give executors, packagers, integrations and commands their names."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, ClassVar

from runbus.errors import FieldInvalid, FieldUnknown, near_matches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.plugins._parts import PluginRegistry

__all__ = ["Extension", "name_from_class"]

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def name_from_class(cls: type) -> str:
    """Return what an extension of a class is called: `CustomPlugin` is `custom_plugin`."""
    return _WORD.sub("_", cls.__name__).lower()


class Extension:
    """Registers what can then be used by name: executors, packagers, integrations and commands.

        class Cluster(Extension):
            def register(self, registry):
                registry.register_executor("cluster", ClusterExecutor)

    A kernel that is given one calls `initialize`, then `register`, in a worker thread; and
    `cleanup` when it ends, or when one of these fails or hangs. So does a process that looks for a
    name which an installed extension may bring, and calls `cleanup` when it ends. Whatever
    `register` raises, nothing is registered then.

    Nothing here has to be called by a subclass: not `__init__`, nor what a subclass overrides.

    Attributes:
        name: Unique among the plugins of a kernel; from the name of the class, unless the class or
            the object says otherwise.
        initialized: Whether `initialize` has been called, and `cleanup` has not since.
        begin_s: How long `initialize` and `register`, those of its parts among them, may take.
        cleanup_s: How long `cleanup`, that of its parts among them, may take.
    """

    name: str = "extension"
    initialized: bool = False
    # Together less than a plugin has for its set-up.
    begin_s: ClassVar[float] = 20.0
    cleanup_s: ClassVar[float] = 5.0

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "name" not in vars(cls):
            cls.name = name_from_class(cls)

    def register(self, registry: PluginRegistry) -> None:
        """Register what the extension brings: by default, what its parts bring.

        Called once in a life, after `initialize`. It may be called at any time and repeatedly, with
        other registries too: a test calls it with a `PluginRegistry` of its own.

        Args:
            registry: Takes what is registered, until this returns; has the views `executors`,
                `packagers`, `integrations` and `commands`.
        """
        for part in parts_of(self):
            part.register(registry)

    def initialize(self, config: dict[str, Any]) -> None:
        """Take the settings: by default, set the attributes that they name.

        Args:
            config: The settings; empty if nobody has said anything.

        Raises:
            FieldUnknown: The constructor takes nothing of such a name.
        """
        known = _fields_of(type(self))
        for name, value in config.items():
            if name not in known:
                near = near_matches(name, known)
                raise FieldUnknown(type(self).__name__, name, near, tuple(known))
            setattr(self, name, value)
        self.initialized = True

    def validate_config(self, config: Mapping[str, Any] | None = None) -> bool:
        """Check the settings; called after `initialize` if a subclass overrides it.

        A subclass may take no argument, as it has the settings already.

        Returns:
            Whether they will do.
        """
        del config
        return True

    def cleanup(self) -> None:
        """Let go of what `initialize` has opened. Called even if that has failed or hangs."""
        self.initialized = False

    def add_plugin(self, plugin: Extension) -> None:
        """Make another extension a part of this one, which is initialized before and cleaned after.

        Raises:
            FieldInvalid: It is no extension, or this one is a part of it.
        """
        _check_part(plugin)
        if any(one is self for one in with_parts(plugin)):
            raise FieldInvalid("plugin", repr(plugin)[:100], "it would be a part of itself")
        vars(self).setdefault("sub_plugins", []).append(plugin)


def parts_of(extension: Extension) -> list[Extension]:
    """Return the extensions that were made a part of one.

    Raises:
        FieldInvalid: One of them is no extension.
    """
    parts = list(vars(extension).get("sub_plugins", ()))
    for part in parts:
        _check_part(part)
    return parts


def _check_part(part: object) -> None:
    if not isinstance(part, Extension):
        raise FieldInvalid("plugin", repr(part)[:100], "expected an Extension")


def with_parts(extension: Extension) -> list[Extension]:
    """Return an extension and all that are parts of it, each after its own parts, and once."""
    found: list[Extension] = []
    seen: set[int] = set()

    def visit(one: Extension) -> None:
        if id(one) not in seen:
            seen.add(id(one))
            for part in parts_of(one):
                visit(part)
            found.append(one)

    visit(extension)
    return found


def _fields_of(cls: type) -> list[str]:
    """Return what the constructor of a class takes by name."""
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [one.name for one in parameters if one.kind in kinds]
