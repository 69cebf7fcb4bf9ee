"""Ending the jobs of a command by signals: politely, at once, and without looking back."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import anyio

from runbus.abc import GRACE_S
from runbus.cli._printer import printable
from runbus.errors import RunbusError, innermost
from runbus.jobs import CancelRequest, ask_to_cancel, read_jobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from runbus.experiment import ExperimentDraft, StoredExperiment

__all__ = ["Ending"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_KILLED_S = 1.0
"""How long the end of jobs is waited for that were to be killed; within two seconds all is over."""

_TOLD_S = 0.3
"""How long it may take to say what is left behind."""

_STILL_S = 5.0
"""How often it is said which ends are waited for."""

_SHOWN = 5


def _by_signal(number: int) -> str:
    """Return the reason for the end of jobs."""
    return f"by {signal.Signals(number).name}"


class Ending:
    """Ends an experiment by signals.

    The first one ends the jobs, the second one kills them, and ends this process within two
    seconds, whatever stands in the way: a disk, a host, a reader. The third one ends it at once.

    Args:
        experiment: What is about to be recorded; None if it lies on disk.

    Attributes:
        held: The signals that came so far.
        signalled: The first of them; None if there was none.
    """

    def __init__(self, experiment: ExperimentDraft | None = None) -> None:
        self._experiment = experiment
        self._folder = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_leaving = False
        self._news = anyio.Event()
        self._passed_on = 0
        self.held: list[int] = []

    @property
    def signalled(self) -> int | None:
        return self.held[0] if self.held else None

    @contextmanager
    def holding_signals(self) -> Iterator[None]:
        """Keep signals for `heeding_signals`; once anything is on record its jobs are to be ended.

        The handlers are Python's: they run also while something blocks the event loop.
        """
        before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                if signal.getsignal(number) == self._handle:
                    signal.signal(number, handler)

    @asynccontextmanager
    async def heeding_signals(self, experiment: StoredExperiment) -> AsyncIterator[None]:
        """End the jobs of an experiment on a signal, first of all on those that were held."""
        self._folder = experiment.folder
        try:
            with self.holding_signals():
                async with anyio.create_task_group() as tasks:
                    await tasks.start(self._heed_all, experiment, name="signals")
                    yield
                    tasks.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise innermost(group) from None
        finally:
            self._loop = None

    def pass_on(self, experiment: StoredExperiment) -> None:
        """Ask the leader of an experiment to heed the signals that came since this was called."""
        for number in self.held[self._passed_on :]:
            self._passed_on += 1
            ask_to_cancel(experiment.folder, CancelRequest(None, _by_signal(number), GRACE_S))

    async def _heed_all(
        self, experiment: StoredExperiment, *, task_status: anyio.abc.TaskStatus[None]
    ) -> None:
        heeded = 0
        while True:
            self._news = anyio.Event()
            while heeded < len(self.held):
                await self._heed(experiment, heeded)
                heeded += 1
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
                task_status.started()
                continue  # one may have come just before
            with anyio.move_on_after(_STILL_S if heeded else None) as waiting:
                await self._news.wait()
            if waiting.cancelled_caught:
                self._say_what_is_left("waiting for the end of {}; once more to kill them")

    async def _heed(self, experiment: StoredExperiment, at: int) -> None:
        if at == 0:
            sys.stderr.write("ending the jobs; once more to kill them\n")
            await experiment.cancel(_by_signal(self.held[at]), GRACE_S)
        else:
            self._leave_in_time(128 + self.held[at])
            await experiment.cancel(f"{_by_signal(self.held[at])}, twice", 0)

    def _handle(self, number: int, frame: object) -> None:
        if self._experiment is not None and not self._experiment.folder:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        self.held.append(number)
        if len(self.held) > 2:
            os._exit(128 + number)
        if len(self.held) == 2 and self._folder:
            self._leave_in_time(128 + number)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._news.set)

    def _leave_in_time(self, status: int) -> None:
        """End this process soon, whatever it waits for then; safe to repeat."""
        if self._is_leaving:
            return
        self._is_leaving = True
        for delay_s, action, *about in (
            (_KILLED_S, self._say_what_is_left, "left before the end of {0}: runbus cancel {1}"),
            (_KILLED_S + _TOLD_S, os._exit, status),
        ):
            timer = threading.Timer(delay_s, action, about)
            timer.daemon = True
            timer.start()

    def _say_what_is_left(self, sentence: str) -> None:
        try:
            records = read_jobs(self._folder).values()
        except RunbusError as error:
            left = str(error)
        else:
            ends = [f"{one.name} ({one.state})" for one in records if not one.state.is_terminal]
            more = f" and {len(ends) - _SHOWN} more" if len(ends) > _SHOWN else ""
            left = ", ".join(ends[:_SHOWN]) + more
        if left:
            told = sentence.format(left, os.path.basename(self._folder))
            sys.stderr.write(f"{printable(told)}\n")
