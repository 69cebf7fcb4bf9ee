"""Checks of every callable and option where it is given, not where it would fail."""

from __future__ import annotations

import inspect
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from runbus.bus._foreign import shown
from runbus.errors import InvalidHandler, InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "check_callable",
    "check_choice",
    "check_flag",
    "check_number",
    "check_type",
    "is_coroutine_function",
    "name_of",
    "takes",
]


_MOST = 1e9
"""Thirty years, in seconds; some clocks of the system take no more than ten times that."""
_MOST_WHOLE = sys.maxsize


def name_of(handler: object) -> str:
    """Return how to call a handler in messages."""
    while isinstance(handler, partial):
        handler = handler.func
    name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    return str(name).replace("<locals>.", "")


def unwrapped(handler: object) -> object:
    """Return the function that is run in the end: sees through partials and `__call__`."""
    while isinstance(handler, partial):
        handler = handler.func
    if inspect.isroutine(handler) or isinstance(handler, type):
        return handler
    return getattr(type(handler), "__call__", handler)  # noqa: B004 - the method, not whether it is one


def is_coroutine_function(handler: object) -> bool:
    """Tell whether calling `handler` gives a coroutine; sees through partials and `__call__`."""
    while isinstance(handler, partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(unwrapped(handler))


def takes(handler: Callable[..., Any], *args: object) -> bool:
    """Tell whether `handler` can be called with these arguments."""
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return True  # some builtins do not tell; the first call will
    try:
        signature.bind(*args)
    except TypeError:
        return False
    return True


def check_callable(
    handler: Any,
    owner: str,
    used_for: str,
    *passed: str,
    is_async: bool | None = None,
    yields: bool = False,
) -> None:
    """Refuse a callable that can never work.

    Args:
        handler: What was given.
        owner: Who gave it.
        used_for: The event or the method that it was given for.
        passed: Names of the positional arguments that it will be called with.
        is_async: Whether it must be async; None for either.
        yields: Whether it may be a generator function.

    Raises:
        InvalidHandler: It cannot be called so, is async or is not, or is a generator function.
    """

    def refuse(problem: str, fix: str) -> InvalidHandler:
        return InvalidHandler(owner, name_of(handler), used_for, problem, fix)

    if not callable(handler):
        raise refuse("cannot be called", "pass a function")
    if isinstance(handler, type):
        raise refuse("is a class", "pass an instance with __call__, or a function")
    if not takes(handler, *passed):
        raise refuse(
            f"cannot be called with {len(passed)} positional argument(s)",
            f"define it as ({', '.join(passed)})",
        )
    run = unwrapped(handler)
    if inspect.isasyncgenfunction(run):
        fix = "decorate it with @asynccontextmanager" if yields else "await, and return the value"
        raise refuse("is an async generator function", fix)
    if inspect.isgeneratorfunction(run) and not yields:
        raise refuse("is a generator function", "return the value instead of yielding it")
    if is_async is None:
        return
    if is_async and not is_coroutine_function(handler):
        raise refuse("is not async", "define it with `async def`")
    if not is_async and is_coroutine_function(handler):
        raise refuse("is async, and nobody would await it", "define it with `def`")


def check_number(
    given: object,
    owner: str,
    option: str,
    *,
    whole: bool = False,
    at_least: float | None = None,
    above: float | None = None,
) -> None:
    """Refuse what is not a number that a clock, a timer or a queue can be given, or too small.

    Args:
        given: What was given.
        owner: Who gave it.
        option: Name of the option.
        whole: Whether it must be an int.
        at_least: The smallest number that will do.
        above: The number that it must be greater than.

    Raises:
        InvalidOption: It is not a number, too small, or too large.
    """
    wanted = "a whole number" if whole else "a number"
    fits = isinstance(given, int if whole else (int, float)) and not isinstance(given, bool)
    if above is not None:
        wanted += f" above {above:g}"
    if at_least is not None:
        wanted += f" of at least {at_least:g}"
    if fits:
        assert isinstance(given, (int, float))
        most = _MOST_WHOLE if whole else _MOST
        if given > most:
            wanted += f" and at most {most:g}"
        # What is not a number compares as False with every number.
        fits = -most <= given <= most
        fits = fits and (above is None or given > above)
        fits = fits and (at_least is None or given >= at_least)
    if not fits:
        raise InvalidOption(owner, option, shown(given), f"is not {wanted}", f"give {wanted}")


def check_flag(given: object, owner: str, option: str) -> None:
    """Refuse what is not a bool.

    Raises:
        InvalidOption: It is not.
    """
    if not isinstance(given, bool):
        raise InvalidOption(owner, option, shown(given), "is not a bool", "give True or False")


def check_type(given: object, owner: str, option: str, *types: type, wanted: str) -> None:
    """Refuse what is of none of some types.

    Raises:
        InvalidOption: It is not.
    """
    if not isinstance(given, types):
        raise InvalidOption(owner, option, shown(given), f"is not {wanted}", f"give {wanted}")


def check_choice(given: object, owner: str, option: str, choices: tuple[str | None, ...]) -> None:
    """Refuse what is not one of a few words.

    Raises:
        InvalidOption: It is not one of them.
    """
    if not any(
        given is None if one is None else type(given) is str and given == one for one in choices
    ):
        words = ", ".join(map(repr, choices))
        raise InvalidOption(owner, option, shown(given), "is not known", f"give one of {words}")
