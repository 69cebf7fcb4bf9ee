"""The one thread that runs async code for everything that is called without `await`.

It is started when it is first needed, and ended when the main thread and all others that the
interpreter waits for have ended: kernels that are held in it then stop as in `asyncio.run`. A
forked child starts its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as StillRuns
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from runbus.errors import BusClosed, WouldDeadlock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

__all__ = ["Portal", "portal"]

T = TypeVar("T")

_LEAVE_S = 30.0  # a kernel's own deadlines for its end are shorter

logger = logging.getLogger("runbus.api")


class Portal:
    """An event loop in a thread of its own, and the ways into it."""

    def __init__(self) -> None:
        begun: Future[BlockingPortal] = Future()
        self._thread = threading.Thread(
            target=anyio.run, args=(_serve, begun), name="runbus portal", daemon=True
        )
        self._thread.start()
        self._inside = begun.result()
        # Not a daemon, so the interpreter waits for it, and still lets threads start meanwhile.
        threading.Thread(target=self._end_with_main, name="runbus portal's end").start()

    @property
    def is_open(self) -> bool:
        """Whether it can still be called."""
        return self._thread.is_alive()

    def call(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await `fn(*args)` in the portal's loop, and return what it returns.

        An interruption of the wait, such as KeyboardInterrupt, cancels the call, and is raised when
        the call has ended or would not end within 30 seconds.

        Raises:
            WouldDeadlock: This is the portal's own thread.
            BusClosed: The interpreter is at its end.
        """
        ended: Future[T] = Future()
        task = _Task(ended, _outcome, ended, partial(fn, *args))
        try:
            self._start(task.run)
            return ended.result()
        except CancelledError:
            raise BusClosed("call", "closed") from None
        except BaseException:
            self._cancel(task)
            raise

    @contextmanager
    def hold(self, manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Enter an async context manager for the length of a block; one task enters and leaves it.

        An exception of the block is raised inside the manager, as in an `async with`.

        Raises:
            WouldDeadlock: This is the portal's own thread.
            BusClosed: The interpreter is at its end.
        """
        entered: Future[T] = Future()
        left: Future[bool] = Future()
        leave = Future[None]()
        task = _Task(left, _held, manager, entered, leave, left)
        try:
            self._start(task.run)
            value = entered.result()
        except BaseException:
            self._cancel(task)
            raise
        try:
            yield value
        except GeneratorExit:
            # Dropped without being left: perhaps in the portal's own thread, or after its end.
            if not left.done():
                leave.set_result(None)
            return
        except BaseException as error:
            leave.set_exception(error)
            if left.result(_LEAVE_S):
                return
            raise
        leave.set_result(None)
        left.result(_LEAVE_S)

    def _start(self, fn: Callable[[], Awaitable[object]]) -> None:
        """Start a task in the portal."""
        if threading.current_thread() is self._thread:
            raise WouldDeadlock("a call into the event loop from its own thread")
        try:
            self._inside.start_task_soon(fn)
        except RuntimeError as error:
            raise BusClosed("call", "closed") from error

    def _cancel(self, task: _Task) -> None:
        """Cancel a task, also one of which it is not known whether it was started; wait for it."""
        if not task.ended.done():
            with suppress(BusClosed, WouldDeadlock):
                self._start(task.cancel)
                _wait(task.ended)

    def _end_with_main(self) -> None:
        threading.main_thread().join()
        while others := _still_needed():
            others[0].join()
        try:
            self._inside.start_task_soon(self._inside.stop, True)
        except RuntimeError:  # it has ended already
            return
        self._thread.join(_LEAVE_S)
        if self._thread.is_alive():
            logger.warning("what runs in the portal did not end within %g s", _LEAVE_S)


class _Task:
    """A task that is cancelled without a handle: who starts it may be interrupted before that.

    Args:
        ended: Done when it has ended; cancelled if it never began.
        fn: What it awaits, with its arguments.
    """

    def __init__(
        self, ended: Future[Any], fn: Callable[..., Awaitable[object]], *args: Any
    ) -> None:
        self.ended = ended
        self._fn = partial(fn, *args)
        self._scope: anyio.CancelScope | None = None

    async def run(self) -> None:
        with anyio.CancelScope() as self._scope:
            await self._fn()

    async def cancel(self) -> None:
        # Tasks begin in the order in which they were started.
        if self._scope is not None:
            self._scope.cancel()
        else:
            self.ended.cancel()


def _still_needed() -> list[threading.Thread]:
    """Return the other threads that the interpreter waits for: they may call yet."""
    ending = (threading.current_thread(), threading.main_thread())
    return [one for one in threading.enumerate() if not one.daemon and one not in ending]


async def _serve(begun: Future[BlockingPortal]) -> None:
    async with BlockingPortal() as inside:
        begun.set_result(inside)
        await inside.sleep_until_stopped()


async def _outcome(ended: Future[T], fn: Callable[[], Awaitable[T]]) -> None:
    # Nothing may leave the task: a SystemExit would end the loop for everybody.
    try:
        value = await fn()
    except anyio.get_cancelled_exc_class():
        ended.cancel()
        raise
    except BaseException as error:
        ended.set_exception(error)
    else:
        ended.set_result(value)


async def _held(
    manager: AbstractAsyncContextManager[T],
    entered: Future[T],
    leave: Future[None],
    left: Future[bool],
) -> None:
    raised: BaseException | None = None
    try:
        async with manager as value:
            entered.set_result(value)
            if (raised := await _ended(leave)) is not None:
                raise raised
    except anyio.get_cancelled_exc_class():
        _settle(entered, left, BusClosed("hold", "closed"))
        raise
    except BaseException as error:
        # What the block itself raised is raised there again, by the block.
        if error is raised:
            left.set_result(False)
        else:
            _settle(entered, left, error)
    else:
        left.set_result(True)


async def _ended(leave: Future[None]) -> BaseException | None:
    """Wait until the block has ended; return what it raised."""
    block = asyncio.wrap_future(leave)
    await asyncio.wait([block])
    return block.exception()


def _settle(entered: Future[Any], left: Future[bool], error: BaseException) -> None:
    if not entered.done():
        entered.set_exception(error)
        left.set_result(False)
    else:
        left.set_exception(error)


def _wait(ended: Future[Any]) -> None:
    try:
        ended.exception(_LEAVE_S)
    except (CancelledError, StillRuns):
        pass


_lock = threading.Lock()
_open: Portal | None = None


def portal() -> Portal:
    """Return the process's one portal; the first call starts it."""
    global _open
    with _lock:
        if _open is None or not _open.is_open:
            _open = Portal()
        return _open


def _forget() -> None:
    # A forked child has the object, but not the thread.
    global _open, _lock
    _open, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
