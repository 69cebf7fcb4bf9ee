"""How far a kernel is in its life, and what may be asked of it then: the table in one place."""

from __future__ import annotations

from enum import Enum

from runbus.errors import BusClosed

__all__ = ["ALLOWED", "KernelState", "check_allowed"]


class KernelState(Enum):
    """How far a kernel is in its life; the words that `BusClosed.state` uses."""

    NEW = "new"
    STARTING = "starting"
    OPEN = "open"
    DRAINING = "draining"
    CLOSED = "closed"


_LIVING = (KernelState.STARTING, KernelState.OPEN, KernelState.DRAINING)

ALLOWED = {
    "start_plugin": (KernelState.OPEN,),
    "stop_plugin": (KernelState.OPEN,),
    "release": _LIVING,
    "check_health": _LIVING,
    "stop": (*_LIVING, KernelState.CLOSED),
}
"""When each method works; `plan`, `health` and `hosts` always do."""


def check_allowed(verb: str, state: KernelState) -> None:
    """Refuse what cannot be asked of a kernel now.

    Raises:
        BusClosed: It is too early, or too late.
    """
    if state not in ALLOWED[verb]:
        raise BusClosed(verb, state.value)
