"""How far a managed plugin is, what may be done with it then, and in which order. Pure."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from runbus.abc import PluginInfo, PluginState
from runbus.errors import IllegalTransition, MissingPlugin, OrderCycle, near_matches
from runbus.plugins import PluginMetadata  # noqa: TC001 - a field of a Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["LOADED", "ManagedInfo", "check_move", "in_order"]

_S = PluginState

LOADED = frozenset((_S.LOADED, _S.VALIDATED, _S.INITIALIZED, _S.STARTING, _S.STARTED, _S.DEGRADED))
"""The states of a plugin that is loaded and well: FAILED and STOPPED are not among them."""

_MOVES = {
    "start": (
        (_S.INITIALIZED,),
        {
            _S.STARTED: "stop it before, or leave it running",
            _S.STARTING: "another call starts it",
        },
        "call initialize_plugin() before",
    ),
    "stop": (
        (_S.INITIALIZED, _S.STARTED, _S.DEGRADED),
        {},
        "there is nothing to stop",
    ),
}


def check_move(name: str, state: PluginState, verb: str) -> None:
    """Refuse what cannot be done in a state.

    Raises:
        IllegalTransition: It cannot.
    """
    allowed, special, advice = _MOVES[verb]
    if state not in allowed:
        raise IllegalTransition(name, state.value, verb, special.get(state, advice))


class ManagedInfo(PluginInfo, frozen=True, kw_only=True):
    """What is known of a managed plugin. `info["metadata"]` is the same as `info.metadata`.

    Attributes:
        metadata: What it says of itself; None while it is not loaded.
        module_path: The module of its class; empty while it is not loaded.
        class_name: The name of its class; as above.
        missing: Distributions that it depends on and that are not there.
    """

    metadata: PluginMetadata | None = None
    module_path: str = ""
    class_name: str = ""
    missing: tuple[str, ...] = ()

    @property
    def type(self) -> Any:
        """Its kind; None while it is not loaded."""
        return self.metadata.type if self.metadata is not None else None

    def __getitem__(self, field: str) -> Any:
        try:
            return getattr(self, field)
        except AttributeError:
            raise KeyError(field) from None


def in_order(
    names: Iterable[str], needs: Callable[[str], Iterable[str]], known: Iterable[str]
) -> list[str]:
    """Return plugins and all that they need, each after what it needs, else in the given order.

    Raises:
        MissingPlugin: One needs a name that is not known.
        OrderCycle: They need each other.
    """
    there = {*known}
    order: dict[str, None] = {}
    path: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if name in path:
            ring = [*path[path.index(name) :], name]
            edges = tuple(f"{one} depends on {other}" for one, other in itertools.pairwise(ring))
            raise OrderCycle(tuple(ring), edges)
        path.append(name)
        for other in needs(name):
            if other not in there:
                raise MissingPlugin(name, other, near_matches(other, there))
            visit(other)
        path.pop()
        order[name] = None

    for name in names:
        visit(name)
    return list(order)
