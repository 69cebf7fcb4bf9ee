"""Blocking code of plugins: called in a worker thread, with an end."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from runbus._revealed import cause_of, unrevealed
from runbus.errors import ConfigInvalid, HookError, PluginError, PluginStuck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LIMIT_S", "call_blocking", "failing_as", "is_final"]

T = TypeVar("T")

LIMIT_S = 30.0
"""How long a plugin's blocking function may take where nothing else is said, in seconds."""


async def call_blocking(
    fn: Callable[..., T], *args: Any, plugin: str, doing: str, limit_s: float = LIMIT_S
) -> T:
    """Return what `fn(*args)` returns in a worker thread.

    A function that does not return in time is left behind in its thread, whose end nobody waits
    for; so it is if this is cancelled.

    Args:
        fn: The function.
        args: What it gets.
        plugin: Whose function it is.
        doing: What the call is for, such as `initialize`.
        limit_s: How long it may take, in seconds.

    Raises:
        PluginStuck: It did not return in time.
        HookError: It raised SystemExit, KeyboardInterrupt or the like, which mean the process.
        Exception: Whatever else it raised.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def finish(returned: list[T], error: BaseException | None) -> None:
        if done.done():  # it was left behind
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(returned[0])

    def call() -> None:
        returned: list[T] = []
        raised: BaseException | None = None
        try:
            returned.append(context.run(fn, *args))
        except Exception as error:
            # No future can hold it.
            raised = RuntimeError(repr(error)) if isinstance(error, StopIteration) else error
        except BaseException as error:
            # In the loop's thread this would end the process.
            problem = unrevealed(f"raised {type(error).__name__}: {error}")
            raised = HookError(plugin, doing, "", problem)
            raised.__cause__ = cause_of(error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, returned, raised)

    # One of its own, which the end of the process does not wait for: it may hang for good.
    threading.Thread(target=call, name=f"{plugin}: {doing}", daemon=True).start()
    with anyio.move_on_after(limit_s):
        return await done
    raise PluginStuck(plugin, doing, limit_s)


def is_final(error: BaseException) -> bool:
    """Tell whether a plugin has failed for good: its code hangs, or wanted to end the process."""
    if isinstance(error, PluginStuck):
        return True
    cause = error.__cause__ if isinstance(error, HookError) else None
    return cause is not None and not isinstance(cause, Exception)


@contextmanager
def failing_as(plugin: str, method: str) -> Iterator[None]:
    """Let what fails in the block be told as a failure of a method that the author wrote.

    Raises:
        PluginError: Something failed that is not told so already; its cause is what was raised,
            unless that repeats a secret.
    """
    try:
        yield
    except PluginError:
        raise
    except ConfigInvalid as error:
        problems = "; ".join(map(str, error.problems))
        told = unrevealed(f"does not fit: {problems}")
        raise HookError(plugin, "configuration", "", told) from cause_of(error)
    except Exception as error:
        told = unrevealed(f"raised {type(error).__name__}: {error}")
        raise HookError(plugin, method, "", told) from cause_of(error)
