"""Which plugins that are found by name are wanted: an allow list, a deny list, an off switch."""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from runbus._listed import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Selection", "selecting", "why_not_wanted"]

_ALLOW, _DENY = "RUNBUS_PLUGINS", "RUNBUS_WITHOUT_PLUGINS"
_OFF = "none"


class Selection:
    """Which plugins that are found by name are wanted; one that is not is not even imported.

    Attributes:
        only: If not None, just these names.
        without: Not these names.
        origin: Who says so: `environment`, or `call`.
    """

    def __init__(
        self,
        only: Iterable[str] | None = None,
        without: Iterable[str] = (),
        *,
        origin: str = "call",
    ) -> None:
        """Say which names are wanted.

        Raises:
            FieldInvalid: What was given is no list of names.
        """
        self.only = None if only is None else frozenset(listed(only, "only", of="names"))
        self.without = frozenset(listed(without, "without", of="names"))
        self.origin = origin

    @classmethod
    def none(cls) -> Selection:
        """Return what wants no plugin that is found by name."""
        return cls(only=())

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Selection:
        """Return what environment variables say.

        Args:
            environment: `RUNBUS_PLUGINS` lists names, or is `none`; `RUNBUS_WITHOUT_PLUGINS`
                lists names that are not wanted. Names are separated by commas.
        """
        names = environment.get(_ALLOW)
        only = None if names is None else [] if names.strip() == _OFF else _names(names)
        return cls(only, _names(environment.get(_DENY, "")), origin="environment")

    @classmethod
    def current(cls) -> Selection:
        """Return what `selecting` says, and else what the environment does."""
        chosen = _CHOSEN.get()
        return cls.from_environment(os.environ) if chosen is None else chosen

    def __contains__(self, name: str) -> bool:
        return name not in self.without and (self.only is None or name in self.only)

    def __repr__(self) -> str:
        only = None if self.only is None else sorted(self.only)
        return f"Selection({only!r}, without={sorted(self.without)!r})"

    def reason(self, name: str) -> str:
        """Return why a name is not wanted, as the end of a sentence; empty if it is."""
        if name in self:
            return ""
        if self.origin != "environment":
            return "the call leaves it out"
        if name in self.without:
            return f"{_DENY} lists it"
        return f"{_ALLOW} does not list it" if self.only else f"{_ALLOW} is {_OFF}"


_CHOSEN: ContextVar[Selection | None] = ContextVar("runbus plugins", default=None)


@contextmanager
def selecting(selection: Selection) -> Iterator[None]:
    """Have a selection count within the block, whatever the environment says.

    It counts for what is called and for tasks that are started there, in other threads too.

        with selecting(Selection.none()):
            runbus.run(task, plugins=["tracker"])
    """
    before = _CHOSEN.set(selection)
    try:
        yield
    finally:
        _CHOSEN.reset(before)


def why_not_wanted(name: str) -> str:
    """Return why a plugin that is found by name is not wanted now; empty if it is."""
    return Selection.current().reason(name)


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]
