"""Who may be a plugin: checked before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from runbus._listed import listed
from runbus.bus import APPLICATION
from runbus.errors import FieldInvalid, InvalidPlugin
from runbus.plugins._order import Wish

__all__ = ["check", "wish_of"]


def check(plugin: Any) -> None:
    """Refuse what is not a plugin.

    Raises:
        InvalidPlugin: It is not one.
    """
    if isinstance(plugin, type):
        raise InvalidPlugin(plugin.__qualname__, "is a class; pass an instance")
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not name:
        raise InvalidPlugin(repr(plugin), "has no name")
    if name == APPLICATION:
        raise InvalidPlugin(f"plugin {name!r}", "has the name that the application itself goes by")
    setup = getattr(plugin, "setup", None)
    if setup is None:
        raise InvalidPlugin(f"plugin {name!r}", "has no setup")
    if not inspect.iscoroutinefunction(setup):
        raise InvalidPlugin(f"plugin {name!r}", "has a setup that is not async")
    wish_of(plugin)


def wish_of(plugin: Any) -> Wish:
    """Return what a plugin says about its place.

    Raises:
        InvalidPlugin: It says it in another form than a tuple of names.
    """
    said: list[tuple[str, ...]] = []
    for word in ("after", "before", "requires"):
        names = getattr(plugin, word, ())
        if names == ():  # as most plugins have it
            said.append(())
            continue
        try:
            if isinstance(names, Iterator):  # of which the next look would find nothing
                raise FieldInvalid(word, repr(names), "can be read only once")
            said.append(listed(names, word, of="names"))
        except FieldInvalid as error:
            reason = f"has {word}={names!r} instead of a tuple of names"
            raise InvalidPlugin(f"plugin {plugin.name!r}", reason) from error
    return Wish(plugin.name, *said)
