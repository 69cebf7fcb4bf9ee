"""What a plugin has entered: an exit stack that belongs to one task, and that others may use.

Context managers that hold task groups or cancel scopes must be left by the task that entered
them, innermost first. So another task that wants one entered asks that task.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from runbus._revealed import cause_of
from runbus.bus import CutOff, describe, exc_info, is_torn_down, plugin_of, shown
from runbus.errors import BusClosed, HandlerTimeout, HookError
from runbus.kernel._ending import EXITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.bus import Timers
    from runbus.kernel._ending import Deadline

__all__ = ["Entered", "check_manager"]

logger = logging.getLogger("runbus.kernel")

_UNWANTED_S = 5.0


class Entered:
    """The context managers of one plugin, and who waits for one to be entered.

    Attributes:
        leaving: What is being left now, as messages call it; empty if nothing is.
    """

    def __init__(self, name: str, timers: Timers, rouse: Callable[[], None]) -> None:
        self.leaving = ""
        self._name = name
        self._timers = timers
        self._rouse = rouse
        self._managers: list[Any] = []
        self._wanted: list[_Wish] = []
        self._serving: _Wish | None = None
        self._cut: CutOff | None = None

    # -- entering

    async def enter(self, manager: Any) -> Any:
        """Enter a context manager in the running task, which is the plugin's own."""
        if hasattr(type(manager), "__aenter__"):
            value = await manager.__aenter__()
        else:
            value = manager.__enter__()
        self._managers.append(manager)
        return value

    async def ask(self, manager: Any) -> Any:
        """Let the plugin's own task enter a context manager, and return what it gives.

        Cancelled, the manager is not entered; one that was about to be is left again.
        """
        wish = _Wish(manager, asyncio.get_running_loop().create_future())
        self._wanted.append(wish)
        self._rouse()
        try:
            return await wish.answer
        except asyncio.CancelledError:
            wish.withdraw()
            raise

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for something to be entered."""
        return bool(self._wanted)

    async def serve(self) -> None:
        """Enter what is wanted, one after another; called by the plugin's own task.

        A cancellation that was not for what is being entered is passed on.
        """
        while self._wanted:
            wish = self._wanted.pop(0)
            if wish.answer.done():
                continue
            self._serving = wish
            wish.begin(asyncio.current_task())
            try:
                value = await self.enter(wish.manager)
            except asyncio.CancelledError:
                if not wish.take_back():
                    wish.refuse(BusClosed("enter", "closed"))
                    raise
                wish.refuse(HookError(self._name, f"enter of {title_of(wish.manager)}", "", STRAY))
            except BaseException as error:
                if is_torn_down(error, wish.server):
                    raise
                wish.take_back()
                wish.refuse(error)
            else:
                wish.take_back()
                if not wish.answer.done():
                    wish.answer.set_result(value)
                elif (failure := await self._leave(self._managers.pop(), _UNWANTED_S)) is not None:
                    logger.error("%s", describe(failure), exc_info=exc_info(failure))
            finally:
                self._serving = None

    def interrupt(self) -> None:
        """Enter nothing more: cancel what is being entered, and refuse what waits."""
        if self._serving is not None:
            self._serving.refuse(BusClosed("enter", "closed"))
            self._serving.withdraw()
        while self._wanted:
            self._wanted.pop(0).refuse(BusClosed("enter", "closed"))

    # -- leaving

    async def leave_all(self, deadline: Deadline) -> list[BaseException]:
        """Leave everything in reverse order, each within its share of the time; return what failed.

        Every one is left, whatever the others raise.
        """
        failures: list[BaseException] = []
        while self._managers:
            slice_s = deadline.share_s(len(self._managers))
            failure = await self._leave(self._managers.pop(), slice_s)
            if failure is not None:
                failures.append(failure)
        return failures

    async def _leave(self, manager: Any, slice_s: float) -> BaseException | None:
        """Leave one; return what went wrong."""
        self.leaving = title_of(manager)
        hook = f"close of {self.leaving}"
        cut = self._cut = CutOff(slice_s, self._timers)
        try:
            with cut:
                await exit_of(manager)
        except EXITS as error:
            return error
        except BaseException as error:
            cancelled = isinstance(error, asyncio.CancelledError)
            if isinstance(error, HookError) and plugin_of(error) == self._name:
                return error  # it names the author's own method
            problem = "was cancelled" if cancelled else f"raised {describe(error)}"
            failure = HookError(self._name, hook, "", problem)
            failure.__cause__ = cause_of(error)
            return failure
        finally:
            self.leaving = ""
            self._cut = None
        return HandlerTimeout(self._name, hook, "", slice_s) if cut.fired else None

    def hurry(self, left_s: float) -> None:
        """Let what is being left now have no more than `left_s` seconds."""
        if self._cut is not None:
            self._cut.move(left_s)


STRAY = "raised CancelledError by itself"


class _Wish:
    """One context manager that another task wants entered.

    Attributes:
        server: The task that enters it, once it does.
    """

    def __init__(self, manager: Any, answer: asyncio.Future[Any]) -> None:
        self.manager = manager
        self.answer = answer
        self.server: asyncio.Task[Any] | None = None
        self._before = 0
        self._cancelled = False

    def begin(self, server: asyncio.Task[Any] | None) -> None:
        """Note that `server` enters it now."""
        self.server = server
        self._before = server.cancelling() if server is not None else 0

    def withdraw(self) -> None:
        """Cancel the entering, if it has begun; it is not to begin otherwise."""
        self.answer.cancel()
        if self.server is not None and not self._cancelled:
            self._cancelled = True
            self.server.cancel()

    def take_back(self) -> bool:
        """End the entering; return whether nobody but the asking task has cancelled it."""
        server, self.server = self.server, None
        if server is None:
            return False
        left = server.uncancel() if self._cancelled else server.cancelling()
        return left <= self._before

    def refuse(self, error: BaseException) -> None:
        """Raise `error` where the manager is wanted."""
        if not self.answer.done():
            self.answer.set_exception(error)


def check_manager(name: str, manager: object) -> None:
    """Refuse what cannot be entered and left.

    Raises:
        TypeError: It is no context manager.
    """
    kind = type(manager)
    for enter, leave in (("__aenter__", "__aexit__"), ("__enter__", "__exit__")):
        if hasattr(kind, enter) and hasattr(kind, leave):
            return
    raise TypeError(f"plugin {name!r}: {shown(manager)} is no context manager")


async def exit_of(manager: Any) -> None:
    """Leave a context manager, without an error; what runs in a task group ends with it."""
    from anyio.abc import TaskGroup  # what runs here has loaded it; an import need not

    if isinstance(manager, TaskGroup):
        # Left open by `setup`: what runs in it ends with the plugin.
        manager.cancel_scope.cancel()
    if isinstance(manager, asyncio.TaskGroup):
        await leave_group(manager)
    elif hasattr(type(manager), "__aexit__"):
        await manager.__aexit__(None, None, None)
    else:
        manager.__exit__(None, None, None)


async def leave_group(group: asyncio.TaskGroup) -> None:
    """Leave a task group left open by `setup`: what runs in it ends with the plugin.

    It has no scope to cancel; it ends its tasks when told that its block was cancelled, and then
    raises that very cancellation again.
    """
    told = asyncio.CancelledError()
    try:
        await group.__aexit__(type(told), told, None)
    except asyncio.CancelledError as error:
        if error is not told:
            raise


def title_of(manager: Any) -> str:
    """Return what messages call a context manager: its generator, if a decorator made it of one."""
    made_of: object = type(manager)
    if type(manager).__module__ == "contextlib":  # no code but that of a decorator is asked
        made_of = getattr(manager, "gen", made_of)
    return str(getattr(made_of, "__qualname__", type(manager).__qualname__))
