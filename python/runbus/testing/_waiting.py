"""Waiting for what others bring about: with one limit, which only what hangs ever reaches."""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATIENCE_S", "until", "wait_until"]

T = TypeVar("T")

PATIENCE_S = 120.0
"""No test is about this limit: a machine that stalls for seconds, and often, is not near it."""

_PAUSE_S = 0.01


def wait_until(holds: Callable[[], T | None]) -> T:
    """Wait until something holds that other threads or processes bring about.

    Args:
        holds: What is asked, again and again.

    Returns:
        What it returned, which is true.

    Raises:
        TimeoutError: It does not hold; the text says what was awaited.
    """
    ends = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        _check(holds, ends)
        time.sleep(_PAUSE_S)
    return found


async def until(holds: Callable[[], T | None]) -> T:
    """Wait as `wait_until`, while other tasks go on. Cancellation is passed on.

    Args:
        holds: What is asked, again and again.

    Returns:
        What it returned, which is true.

    Raises:
        TimeoutError: It does not hold; the text says what was awaited.
    """
    ends = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        _check(holds, ends)
        await anyio.sleep(_PAUSE_S)
    return found


def _check(holds: Callable[[], object], ends: float) -> None:
    if time.monotonic() > ends:
        raise TimeoutError(f"not so within {PATIENCE_S:g} s: {_told(holds)}")


def _told(holds: Callable[[], object]) -> str:
    """Return the source of a function and the values that it uses."""
    try:
        source = inspect.getsource(holds).strip() if inspect.isfunction(holds) else repr(holds)
    except OSError:  # there is no file of it
        source = repr(holds)
    used = inspect.getclosurevars(holds).nonlocals if inspect.isfunction(holds) else {}
    return f"{source}, where {dict(used)!r}" if used else source
