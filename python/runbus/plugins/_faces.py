"""Which face an object has, and what turns it into a plugin of the kernel.

The kernel knows one thing: an object with a `name` and `async setup(scope)`. Plugins of other
forms say what they are by their base class; one adapter a base class makes them that thing.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

__all__ = ["FACES", "Face", "adapted", "face_of", "forget_faces"]


class Face(NamedTuple):
    """A form of plugins.

    Attributes:
        name: What it is called in lists.
        base: The base class that says so, as `module:name`.
        adapter: What makes a plugin of an object of that class, as `module:name`; empty where the
            object is one already.
    """

    name: str
    base: str
    adapter: str = ""


_MANAGED = "runbus.plugins._managed"
_ADAPTERS = "runbus.plugins._managed_faces"

FACES: tuple[Face, ...] = (
    Face("hook", "runbus.plugins._plugin:Plugin"),
    Face("service", "runbus.abc.service:ServicePlugin", "runbus.plugins._service_face:adapt"),
    Face(
        "extension",
        "runbus.plugins._extension:Extension",
        "runbus.plugins._extension_life:adapt",
    ),
    Face("task", "runbus.plugins._task_plugin:TaskPlugin", "runbus.plugins._task_plugin:adapt"),
    # It reads what the run has recorded, which this package knows nothing of.
    Face(
        "integration",
        "runbus.plugins._integration:RunIntegration",
        "runbus.catalog._integration:adapt",
    ),
    Face("backend", f"{_MANAGED}:BackendPlugin", f"{_ADAPTERS}:adapt"),
    Face("collector", f"{_MANAGED}:CollectorPlugin", f"{_ADAPTERS}:adapt"),
    Face("processor", f"{_MANAGED}:ProcessorPlugin", f"{_ADAPTERS}:adapt"),
    Face("managed", f"{_MANAGED}:PluginBase", f"{_ADAPTERS}:adapt"),
    Face("sink", "runbus.abc.sink:MetricSink", f"{_ADAPTERS}:adapt_sink"),
    Face("source", "runbus.abc.collector:Collector", f"{_ADAPTERS}:adapt_collector"),
)
"""All faces but the plain one, the more special first."""

_PLAIN = Face("plugin", "")


def face_of(plugin: Any) -> Face:
    """Return the face of an object or of a class; the plain one if no base class says another.

    Nothing is imported: a class derived from a base was made with the base loaded.
    """
    return _face_of(plugin if isinstance(plugin, type) else type(plugin))


@lru_cache(1024)
def _face_of(of: type) -> Face:
    return next((face for face in FACES if _has(of, face.base)), _PLAIN)


def forget_faces() -> None:
    """Look at classes anew: one has been registered, and its face may be known as another one."""
    _face_of.cache_clear()


def adapted(plugin: Any) -> Any:
    """Return the plugin of the kernel that an object stands for: itself, if it is one."""
    face = face_of(plugin)
    if isinstance(plugin, type) or not face.adapter:
        return plugin
    module, _, name = face.adapter.partition(":")
    return getattr(import_module(module), name)(plugin)


def _has(of: type, base: str) -> bool:
    module, _, name = base.partition(":")
    if module not in sys.modules:
        return False
    # By its bases, not by `issubclass`: a Protocol would be guessed from what the class offers.
    found = getattr(sys.modules[module], name)
    return found in of.__mro__ or any(
        one in vars(found).get("registered", ()) for one in of.__mro__
    )
