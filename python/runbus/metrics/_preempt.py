"""Telling a task that its machine is about to be taken away."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, TypeVar

from runbus.errors import UsageError
from runbus.metrics._rank import rank

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NOTICE", "on_preempt"]

NOTICE = "RUNBUS_NOTICE_SIGNAL"
"""The variable that names the signal by which the end of a job's time is announced to it."""

_AGAIN_S = 0.01

C = TypeVar("C", bound="Callable[[], object]")


def on_preempt(callback: C) -> C:
    """Have a function called when this process is about to end, to save what it is to go on from.

    It is called in the main thread, between two steps of Python, when the job is sent SIGTERM: it
    is preempted or cancelled, or its time is over. Where its executor announces that earlier, as
    `SlurmExecutor(signal="USR1@90")` does, it is called then, with so many seconds left. An error
    that it raises is printed, and changes nothing. Of several, the first one given is called first;
    none is called twice.

    The process then ends by that signal, as it would have without this, unless it had another
    handler, which is then called. With several ranks only the first ends: the launcher ends the
    others, which may still be saving. A job that has `retries` gets another attempt, after an
    announced end, too.

    Use it as a decorator, or call it:

        @runbus.on_preempt
        def save() -> None:
            torch.save(model.state_dict(), "last.pt")

    Args:
        callback: What is called, without arguments.

    Returns:
        The function.

    Raises:
        UsageError: This is not the main thread: Python calls handlers of signals there alone.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError(
            "on_preempt is called in the main thread of a process, and this is another"
        )
    _notices.take_over()
    _notices.callbacks.append(callback)
    return callback


class _Notices:
    """What is called when a signal comes, and what would have been."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], object]] = []
        self._previous: dict[int, Any] = {}
        self._is_calling = False
        self._pid = 0

    def take_over(self) -> None:
        """Handle the signals from now on; a child of this process begins with none of this."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self.callbacks.clear()
        for number in _numbers():
            previous = signal.signal(number, self._handle)
            # A child has inherited the handler of its parent, and not what is to be called.
            if previous != self._handle:
                self._previous[number] = previous

    def _handle(self, number: int, frame: object) -> None:
        if self._is_calling:
            return  # another signal must not cut off what is being saved
        if not _flush():
            # It came amid a print, where another one is an error: what is called may well print.
            again = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        if self._pid == os.getpid():
            self._is_calling = True
            try:
                self._call()
            finally:
                self._is_calling = False
        previous = self._previous.get(number, signal.SIG_DFL)
        if callable(previous):
            previous(number, frame)
        elif previous != signal.SIG_IGN and not rank():
            _end_by(number)

    def _call(self) -> None:
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                traceback.print_exc()


def _numbers() -> set[int]:
    """Return the signals that announce an end."""
    name = os.environ.get(NOTICE, "")
    if name.isascii() and name.isdigit():
        number = int(name)
    else:
        number = getattr(signal, f"SIG{name}", signal.SIGTERM)
    handled = number not in {signal.SIGKILL, signal.SIGSTOP} and 0 < number < signal.NSIG
    return {int(signal.SIGTERM), int(number)} if handled else {int(signal.SIGTERM)}


def _flush() -> bool:
    """Write out what was printed; return whether the process is not amid that just now."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except RuntimeError:
            return False
        except (OSError, ValueError, AttributeError):
            continue  # there is none, or nobody reads it
    return True


def _end_by(number: int) -> None:
    """End this process by a signal, as if nothing had handled it."""
    _flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


_notices = _Notices()
