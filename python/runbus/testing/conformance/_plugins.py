"""What the contracts of sinks and collectors share."""

from __future__ import annotations

import asyncio
import threading
import time
from array import array
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from runbus import Kernel
from runbus.events import MetricBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType
    from typing import Self

__all__ = ["LoopWatch", "ThreadWatch", "batch_of", "entered"]


@asynccontextmanager
async def entered(plugin: Any, deadline_s: float) -> AsyncIterator[Kernel]:
    """Run a plugin in a kernel of its own; it must start and stop in time, and without an error."""
    kernel = Kernel(plugins=[plugin], setup_timeout_s=deadline_s, shutdown_budget_s=deadline_s)
    async with kernel:
        yield kernel
        (host,) = kernel.hosts or (None,)
        assert host is None or host.error is None, host.error


def batch_of(name: str, values: Sequence[float], step: int = 0, run_id: str = "run") -> MetricBatch:
    """Return points of one metric, at steps from `step` on."""
    n = len(values)
    exact = [
        (at, value)
        for at, value in enumerate(values)
        if isinstance(value, int) and int(float(value)) != value
    ]
    return MetricBatch(
        run_id=run_id,
        writer="w",
        names=(name,),
        series=array("I", [0] * n).tobytes(),
        steps=array("q", range(step, step + n)).tobytes(),
        times=array("q", [0] * n).tobytes(),
        values=array("d", values).tobytes(),
        integers=tuple(exact),
        position=step + n,
    )


def _waited_s() -> float:
    """Return for how long this thread has waited for a processor; 0 where nobody tells."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


class LoopWatch:
    """Looks how long the event loop stands still at the most.

    While its thread could run and the machine let others run, the loop is not held up by anything
    in it: that does not count, where the system tells how long it was.

    Args:
        waited_s: Tells for how long this thread has waited for a processor.

    Attributes:
        longest_s: How long, in seconds.
    """

    def __init__(self, waited_s: Callable[[], float] = _waited_s) -> None:
        self._waited_s = waited_s
        self.longest_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None
        await asyncio.sleep(0.01)
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while True:
            began_s, waited_s = time.monotonic(), self._waited_s()
            await anyio.sleep(0.005)
            took_s = time.monotonic() - began_s - (self._waited_s() - waited_s)
            self.longest_s = max(self.longest_s, took_s - 0.005)


class ThreadWatch:
    """Looks which threads are left at the end of a block; the pool's own are not counted.

    Args:
        deadline_s: How long they may take to end, in seconds.

    Attributes:
        left: Their names.
    """

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self.left: list[str] = []

    def __enter__(self) -> Self:
        self._before = {*threading.enumerate()}
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        until_s = time.monotonic() + self._deadline_s
        while (left := self._those_left()) and time.monotonic() < until_s:
            left[0].join(0.05)
        self.left = [thread.name for thread in left]

    def _those_left(self) -> list[threading.Thread]:
        return [
            thread
            for thread in threading.enumerate()
            if thread not in self._before and not thread.name.startswith("AnyIO worker")
        ]
