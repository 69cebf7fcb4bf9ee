"""What is made of errors: whose they are, and which one wins in a clean-up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runbus._revealed import cause_of
from runbus.bus._foreign import add_note, describe, plugin_of
from runbus.errors import HookError, PluginError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runbus.bus._subscription import Owner, Subscription
    from runbus.events import Event

__all__ = ["CleanUp", "as_plugin_error", "find_critical", "refused"]


def as_plugin_error(sub: Subscription, error: BaseException, event: Event) -> PluginError:
    """Return the error of a handler as one that names the plugin, the handler and the event."""
    if isinstance(error, PluginError) and plugin_of(error) == sub.owner.name:
        return error
    failure = refused(sub, event, f"raised {describe(error)}")
    failure.__cause__ = cause_of(error)
    return failure


def refused(sub: Subscription, event: Event, problem: str) -> HookError:
    """Return the error of a handler that did what its kind of event has no use for."""
    return HookError(sub.owner.name, sub.name, type(event).__name__, problem)


def find_critical(
    errors: Iterable[BaseException], owners: Mapping[str, Owner]
) -> PluginError | None:
    """Return the first failure of a critical plugin among errors, their causes and groups."""
    todo = list(errors)
    seen: set[int] = set()
    while todo:
        error = todo.pop(0)
        if id(error) in seen:
            continue
        seen.add(id(error))
        owner = owners.get(plugin_of(error))
        if isinstance(error, PluginError) and owner is not None and owner.critical:
            return error
        if isinstance(error, BaseExceptionGroup):
            todo += error.exceptions
        if error.__cause__ is not None:
            todo.append(error.__cause__)
    return None


def _rank(error: BaseException) -> int:
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return 2
    return 1 if isinstance(error, asyncio.CancelledError) else 0


class CleanUp:
    """Collects what the steps of a clean-up raise: every step is tried, the first error wins.

    Only what must pass through everything (a cancellation, KeyboardInterrupt, SystemExit) wins
    over an ordinary error that came before it.

    Attributes:
        error: What is to be raised in the end; to begin with, what the clean-up is done for.
    """

    __slots__ = ("_first", "_others", "error")

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self._first = error
        self._others: list[BaseException] = []

    def add(self, error: BaseException) -> None:
        """Note what a step raised."""
        if self.error is None:
            self.error = error
        elif _rank(error) > _rank(self.error):
            self._others.append(self.error)
            self.error = error
        elif error is not self.error and not isinstance(error, asyncio.CancelledError):
            self._others.append(error)

    def swallow(self) -> None:
        """Go on as if nothing had failed so far."""
        self.error = None
        self._others.clear()

    def conclude(self, title: str) -> BaseException | None:
        """Return what is to be raised; the other errors are its notes, or it is a group of all."""
        error, others = self.error, self._others
        if error is None or not others:
            return error
        errors = [e for e in (error, *others) if isinstance(e, Exception)]
        if self._first is None and len(errors) == 1 + len(others):
            return ExceptionGroup(title, errors)
        for other in others:
            add_note(error, f"{title}: {describe(other)}")
        return error
