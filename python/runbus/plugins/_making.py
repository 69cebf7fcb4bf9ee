"""From a found plugin to one that a kernel takes: imported, checked, made, adapted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runbus.abc import PluginInfo, PluginState
from runbus.errors import InvalidPlugin, PluginNotLoadable
from runbus.plugins._check import check
from runbus.plugins._entry_points import FACE_OF_GROUP
from runbus.plugins._faces import adapted, face_of
from runbus.plugins._loading import broken, contained, import_found
from runbus.plugins._requirements import api_misfit, misses, said

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from runbus.config import SaidPlugin
    from runbus.plugins._found import FoundPlugin

__all__ = ["Made", "check_found", "info_of", "make"]

_HEALTH = {PluginState.LOADED: "ok", PluginState.FAILED: "failed"}

_KERNEL_FACES = ("plugin", "hook", "sink", "source")
"""Plugins whose `requires` are names of plugins of the kernel, which looks after them itself."""


class Made(NamedTuple):
    """A plugin that was made.

    Attributes:
        plugin: As a kernel takes it.
        given: What its class or function made, which says what face it has.
    """

    plugin: Any
    given: Any


def make(found: FoundPlugin, said: SaidPlugin | None, known: Collection[str] | None = None) -> Made:
    """Import a plugin and make it.

    Args:
        found: Where it is.
        said: What it is made from; its defaults if None. A face whose plugins take a mapping gets
            that itself.
        known: The names of plugins that there are, for its `dependencies`; not checked if None.

    Raises:
        PluginNotLoadable: It cannot be imported or made, is not a plugin, or something that it
            needs is not there; all of that is told at once.
        ConfigInvalid: What was said does not fit.
    """
    with contained(found):
        target = import_found(found)
        _check_needs(found, target, known)
    build = _builder(target, said)
    try:
        with contained(found):
            made = build()
    except PluginNotLoadable as error:
        if said is not None and isinstance(error.__cause__, TypeError):
            _builder(target, said, is_checked=True)  # it may be told better: what is missing
        raise
    with contained(found):
        if made is not target:
            _check_needs(found, made, known)
        plugin = adapted(made)
        try:
            check(plugin)
        except InvalidPlugin as error:
            raise broken(found, f"what it makes {error.problem}; {error.hint}") from error
    return Made(plugin, made)


def check_found(found: FoundPlugin, said: SaidPlugin, known: Collection[str]) -> None:
    """Import a plugin, and check its needs and what it is made from; nothing is made.

    Raises:
        PluginNotLoadable: It cannot be imported, or something that it needs is not there.
        ConfigInvalid: What was said does not fit.
    """
    with contained(found):
        target = import_found(found)
        _check_needs(found, target, known)
    _builder(target, said, is_checked=True)


def _builder(
    target: Any, said: SaidPlugin | None, *, is_checked: bool = False
) -> Callable[[], Any]:
    """Return what makes the plugin of a class or function, or returns the one that is there.

    Args:
        target: The class, function or plugin.
        said: What it is made from.
        is_checked: Whether to check that nothing is missing, also where nothing was said.

    Raises:
        ConfigInvalid: What was said does not fit what it takes.
    """
    is_kernels = face_of(target).name in _KERNEL_FACES
    if isinstance(target, type) or not (hasattr(target, "setup") or face_of(target).base):
        if said is not None and is_kernels and (said.data or is_checked):
            return said.configured(target).build
        made: Callable[[], Any] = target
        return made
    if is_kernels and said is not None:
        said.check_none("the plugin is made already, and takes no settings")
    return lambda: target


def _check_needs(found: FoundPlugin, plugin: Any, known: Collection[str] | None) -> None:
    """Refuse a plugin that lacks something.

    Raises:
        PluginNotLoadable: It does.
    """
    if face_of(plugin).name in _KERNEL_FACES:
        lacking = [one for one in [api_misfit(said(plugin, "api", ""))] if one]
    else:
        lacking = misses(plugin, known)
    if lacking:
        raise broken(found, "; ".join(lacking))


def info_of(
    found: FoundPlugin, state: PluginState, error: str = "", made: Made | None = None
) -> PluginInfo:
    """Return what is known of a plugin that was found by name.

    Args:
        found: Where it is.
        state: How far it is.
        error: Why it is no further.
        made: What was made of it; None if nothing was.
    """
    face = FACE_OF_GROUP.get(found.group, "") if made is None else face_of(made.given).name
    return PluginInfo(
        name=found.name,
        state=state,
        error=error,
        entry_point=found.target if found.group else "",
        distribution=found.by,
        face=face,
        version=found.version or ("" if made is None else _own_version(made)),
        origin=found.origin,
        health=_HEALTH.get(state, ""),
        requires=() if made is None else tuple(getattr(made.plugin, "requires", ())),
    )


def _own_version(made: Made) -> str:
    """Return the version that a plugin says of itself; empty if it says none."""
    if face_of(made.given).base.startswith("runbus.plugins._managed:"):
        from runbus.plugins._managed import metadata_of

        return metadata_of(made.given).version
    version = getattr(made.given, "version", "")
    return version if isinstance(version, str) else ""
