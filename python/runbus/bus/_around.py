"""Wrapping: context managers around a block, entered in order and all of them left again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runbus.bus._cancellation import cancels_seen
from runbus.bus._failures import CleanUp, refused
from runbus.bus._foreign import shown
from runbus.events import Kind

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from runbus.bus._calls import Calls
    from runbus.bus._causality import Frame
    from runbus.bus._requests import Asking
    from runbus.bus._state import BusState
    from runbus.bus._subscription import Subscription
    from runbus.events import Around

__all__ = ["Wrappers"]


class Wrappers:
    """The verb `around`."""

    def __init__(self, state: BusState, asking: Asking, calls: Calls) -> None:
        self._state = state
        self._asking = asking
        self._calls = calls

    def around(self, event: Around) -> AbstractAsyncContextManager[list[Any]]:
        """Enter the context manager of every handler in plugin order; exit them in reverse.

        The block gets the values that the managers gave on entering. If one fails on entering,
        those entered before it exit with that error. Every manager sees an error of the block,
        but none can swallow it unless the event class says `may_suppress`.

        Every manager that was entered is exited, whatever the exits of the others raise. The
        first error wins: further ones are its notes, or all are one ExceptionGroup where the
        block was fine. Only a cancellation, KeyboardInterrupt or SystemExit wins over an error
        that came before it.

        Raises:
            HookError: A handler failed, or a manager did on entering or, where the block did not
                fail, on exiting. Where the block failed, that error continues, with a note.
            Reentrant: A handler of this event wrapped it again.
        """
        return _Wrapped(self._state, self._asking, self._calls, event)


class _Wrapped:
    """One block in its wrappers."""

    def __init__(self, state: BusState, asking: Asking, calls: Calls, event: Around) -> None:
        self._state = state
        self._asking = asking
        self._calls = calls
        self._event = event
        self._frame: Frame | None = None
        self._entered: list[tuple[Subscription, AbstractAsyncContextManager[Any]]] = []

    async def __aenter__(self) -> list[Any]:
        route, frame = self._asking.begin(self._event, Kind.AROUND)
        self._frame = frame
        values: list[Any] = []
        try:
            with self._asking.answering(frame):
                for sub in route.subscriptions:
                    if sub.skip:
                        continue
                    with self._calls.counted(sub, frame):
                        values.append(await self._enter(sub))
        except BaseException as error:
            problem = await self._leave_all(error)
            if problem is not None and problem is not error:
                raise problem from problem.__cause__
            raise
        return values

    async def _enter(self, sub: Subscription) -> Any:
        manager = await self._calls.call(sub, self._event)
        if not hasattr(manager, "__aenter__") or not hasattr(manager, "__aexit__"):
            raise refused(sub, self._event, f"returned {shown(manager)}, no async context manager")
        value = await self._calls.limited(sub, self._event, manager.__aenter__)
        self._entered.append((sub, manager))
        return value

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        problem = await self._leave_all(exc)
        if problem is not None and problem is not exc:
            raise problem from problem.__cause__
        return problem is None

    async def _leave_all(self, error: BaseException | None) -> BaseException | None:
        """Exit the wrappers in reverse, each with what is wrong by then; return what still is."""
        clean_up = CleanUp(error)
        frame = self._state.frame(self._event, type(self._event).deadline_s)
        with self._state.running(frame):
            while self._entered:
                sub, manager = self._entered.pop()
                # A cancellation that ended the exit before this one is not news to this one.
                frame.cancels_before = cancels_seen(frame.task)
                try:
                    swallowed = await self._leave(sub, manager, frame, clean_up.error)
                    if swallowed and self._event.may_suppress:
                        clean_up.swallow()
                except BaseException as broken:
                    clean_up.add(broken)
        return clean_up.conclude("while the wrappers were left")

    async def _leave(
        self,
        sub: Subscription,
        manager: AbstractAsyncContextManager[Any],
        frame: Frame,
        error: BaseException | None,
    ) -> bool:
        """Exit one wrapper; return whether it wants to swallow the error."""
        frame.now[0] = sub
        details = (
            (type(error), error, error.__traceback__) if error is not None else (None, None, None)
        )
        try:
            return bool(await self._calls.limited(sub, self._event, manager.__aexit__, *details))
        except (Exception, asyncio.CancelledError) as raised:
            if raised is error:
                return False  # passed on as it was
            sub.calls -= 1.0  # on entering it was counted as a success, which it is not
            failure = self._calls.broken(sub, raised, frame)
            assert self._frame is not None
            self._asking.correct(self._frame, sub)
            raise failure from failure.__cause__
        finally:
            frame.now[0] = None
