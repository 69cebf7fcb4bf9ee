"""Following runs while they are written, for one event loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from runbus._core import MetricBell
from runbus.events import MetricBatch, MetricWindows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from runbus._core import MetricTail

__all__ = ["RunTail", "RunTailer"]

logger = logging.getLogger("runbus.metrics")

_LAST_POSITION = (1 << 64) - 1


class RunTail:
    """What one run logs, in pieces; from `RunTailer.follow`.

    Nothing more is read of the run until `take` is called: a taker that waits lets the journals
    grow, not memory.

    Attributes:
        run_id: The run.
        has_begun: Whether a process has begun to log, in the attempts that are read, as far as was
            taken.
        is_drained: Whether what `drain` asked for was taken.
        positions: Where to continue in the journal of each writer after what was taken.
    """

    __slots__ = ("_tail", "_window_ns", "has_begun", "is_drained", "positions", "run_id")

    def __init__(self, run_id: str, tail: MetricTail, window_ns: int) -> None:
        self.run_id = run_id
        self._tail = tail
        self._window_ns = window_ns
        self.has_begun = False
        self.is_drained = False
        self.positions: dict[str, int] = {}

    def take(self) -> list[MetricBatch | MetricWindows]:
        """Return what is new, at most 64k points and a row, and let more be read. Never waits.

        The points of one writer come in its order, and each comes once. What cannot be read is
        reported to the logger `runbus.metrics`, once.
        """
        news = self._tail.take()
        if news is None:
            return []
        batches, failures, self.has_begun, self.is_drained = news
        for failure in failures:
            logger.warning("run %s: cannot follow %s", self.run_id, failure)
        self.positions |= {writer: position for writer, _, position, *_ in batches}
        return [
            MetricWindows(
                run_id=self.run_id,
                writer=writer,
                names=names,
                width_ns=width_ns,
                series=series,
                columns=tuple(columns),
                position=position,
            )
            if width_ns
            else MetricBatch(
                run_id=self.run_id,
                writer=writer,
                names=names,
                series=series,
                steps=columns[0],
                times=columns[1],
                values=columns[2],
                integers=tuple(integers),
                position=position,
            )
            for writer, names, position, width_ns, series, columns, integers in batches
        ]

    def drain(self) -> None:
        """Ask for everything that is committed by now; with the last of it, `is_drained` is set.

        Windows that are open are closed. What a journal that is no longer written holds behind
        the holes of a power failure is read, too.
        """
        self.is_drained = False
        self._tail.drain()

    def reach(self, attempt: int) -> None:
        """Let what this attempt of the run's job logs be read, too, and what those before it do."""
        self._tail.reach(attempt)

    def make_windows(self, window_ns: int) -> None:
        """Make windows of this width, too, from what is read from now on; 0 for none."""
        if window_ns != self._window_ns:
            self._window_ns = window_ns
            self._tail.set_window_ns(window_ns)

    def close(self) -> None:
        """Follow the run no more; safe to repeat."""
        self._tail.close()


class RunTailer:
    """Follows runs: a thread without the GIL reads their journals, and wakes the loop once a batch.

    The thread is one for the process. It looks at a busy run every millisecond, and the longer
    nothing comes, the more seldom, down to every 20 ms. Used as a context manager in the loop's
    thread; one task takes the news.
    """

    def __init__(self) -> None:
        self._bell = MetricBell()
        self._tails: dict[int, RunTail] = {}
        self._keys = 0
        self._heard: list[int] = []
        self._rung = asyncio.Event()

    def follow(
        self,
        run_id: str,
        folder: str,
        *,
        positions: Mapping[str, int] | None = None,
        window_ns: int = 0,
        last_attempt: int | None = None,
    ) -> RunTail:
        """Follow a run from now on; what it has logged by now comes first.

        The points of a writer come in the order of its journal, whether that is sealed or not.

        Args:
            run_id: The run.
            folder: The run's folder; nothing needs to be there yet.
            positions: Where to begin in what these writers have written: `RunTail.positions` of an
                earlier follower. What others have written comes from its start.
            window_ns: Make windows of this width, too; 0 for none.
            last_attempt: The last attempt of the run's job to read of, see `RunTail.reach`; all if
                None.

        Raises:
            OSError: The thread cannot be started.
        """
        self._keys += 1
        # Beyond what a file can have is no position, as many others are none: that is told.
        where = {
            writer: min(max(position, 0), _LAST_POSITION)
            for writer, position in (positions or {}).items()
        }
        tail = self._bell.follow(self._keys, folder, where, window_ns, last_attempt)
        self._tails[self._keys] = RunTail(run_id, tail, window_ns)
        return self._tails[self._keys]

    async def news(self) -> list[RunTail]:
        """Wait until there is something to take, and return of which runs.

        Cancelled, it takes nothing.
        """
        while True:
            heard, self._heard = self._heard, []
            if tails := [self._tails[key] for key in heard if key in self._tails]:
                return tails
            self._rung.clear()
            await self._rung.wait()

    def forget(self, tail: RunTail) -> None:
        """Follow a run no more; safe to repeat."""
        tail.close()
        self._tails = {key: one for key, one in self._tails.items() if one is not tail}

    def _ring(self) -> None:
        self._heard += self._bell.heard()
        self._rung.set()

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._bell.fileno(), self._ring)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._bell.fileno())
        for tail in self._tails.values():
            tail.close()
        self._tails.clear()
