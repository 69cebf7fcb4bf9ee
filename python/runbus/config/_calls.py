"""What calling the function of a task does: a coroutine is run, a generator is refused."""

from __future__ import annotations

import functools
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any

from runbus.errors import TaskInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["call_to_end", "check_callable_to_end"]

_GENERATES = 0x20 | 0x200
"""The flags of the code of generators, inspect.CO_GENERATOR and CO_ASYNC_GENERATOR: importing
`inspect` takes longer than the rest of a job's start."""

_ADVICE = "return the values, or have a function go through the generator"


def check_callable_to_end(target: Any) -> None:
    """Refuse a function whose call would run nothing of it.

    Raises:
        TaskInvalid: It is a generator function, async or not.
    """
    function = target
    while isinstance(function, functools.partial):
        function = function.func
    if not hasattr(function, "__code__") and not isinstance(function, type):
        function = getattr(function, "__call__", function)  # noqa: B004 - an object with that method
    code = getattr(function, "__code__", None)
    if code is not None and code.co_flags & _GENERATES:
        name = getattr(target, "__qualname__", None) or repr(target)
        raise TaskInvalid(name, "it is a generator: a call runs nothing of it", _ADVICE)


def call_to_end(function: Callable[[], Any]) -> Any:
    """Call a function and return its result; a coroutine is run with `asyncio.run`.

    Raises:
        TypeError: It returned a generator.
    """
    result = function()
    if isinstance(result, CoroutineType):
        import asyncio  # costs what functions that are not async need not pay

        return asyncio.run(result)
    if isinstance(result, (GeneratorType, AsyncGeneratorType)):
        raise TypeError(f"it returned a generator, and nothing of that ran: {_ADVICE}")
    return result
