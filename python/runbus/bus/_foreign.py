"""What the bus asks of objects that are not its own, in passing: their text, length and plugin.

The code that answers belongs to somebody else, and may raise. What it raises must not hit the code
that needs the answer, such as a publisher: there is an answer for that case. Only what ends
the program passes through. Nothing foreign is asked for its truth: `is None` does not call it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runbus._revealed import cause_of, unrevealed
from runbus.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = [
    "add_note",
    "describe",
    "exc_info",
    "is_torn_down",
    "length_of",
    "plugin_of",
    "shown",
    "text_of",
]


def _answer(ask: Callable[[Any], Any], of: object, failed: Callable[[BaseException], Any]) -> Any:
    try:
        return ask(of)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return failed(error)


def text_of(value: object) -> str:
    """Return `str(value)` without secrets of plugins, or that it cannot be made."""
    text: str = _answer(str, value, _no_text)
    return unrevealed(text)


def shown(value: object) -> str:
    """Return `repr(value)` without secrets of plugins, or that it cannot be made."""
    text: str = _answer(repr, value, _no_text)
    return unrevealed(text)


def _no_text(error: BaseException) -> str:
    return f"(its text cannot be made: {type(error).__name__})"


def describe(error: BaseException) -> str:
    """Return `Type: text` of an error, whatever its `__str__` does."""
    return f"{type(error).__name__}: {text_of(error)}"


def length_of(event: Any) -> int:
    """Return how many items an event holds; none, if its `__len__` fails."""
    try:
        return len(event)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        return 0


def plugin_of(error: BaseException) -> str:
    """Return the plugin that an error names; empty if it names none."""
    if not isinstance(error, PluginError):
        return ""
    name = _answer(lambda one: getattr(one, "plugin", ""), error, lambda failure: "")
    return name if type(name) is str else ""


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an error, if it takes one."""
    _answer(lambda one: one.add_note(note), error, lambda failure: None)


def exc_info(
    error: BaseException | None,
) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """Return what a log record of an error is given: of a bare error its truth would be asked."""
    if error is None:
        return None
    place = error.__traceback__
    if cause_of(error) is None:  # a plugin repeats a secret in it, or in what led to it
        error = RuntimeError(describe(error))
    return type(error), error, place


def is_torn_down(error: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Tell whether an error means that the code of a task is closed, since its event loop is gone.

    A GeneratorExit that a plugin raises by itself is a failure like any other: it comes while the
    task runs.
    """
    if not isinstance(error, GeneratorExit):
        return False
    loop = asyncio._get_running_loop()
    return loop is None or asyncio.current_task(loop) is not task
