"""An experiment whose task is cancelled, at any point of its life."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processes import processes_with

from runbus import AsyncExperiment, Command, Job, LocalExecutor
from runbus._home import Home
from runbus.abc import Contents, Entry, Packager
from runbus.api import submit
from runbus.experiment import ExperimentDraft
from runbus.jobs import read_jobs
from runbus.testing._waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runbus.abc import Executor, Scope
    from runbus.experiment import StoredExperiment

TRUE = Command(("true",))


@settings(max_examples=8, deadline=None, database=None)
@given(
    steps=st.integers(0, 60),
    delay_ms=st.sampled_from([0, 0, 5, 40, 150]),
    again_ms=st.sampled_from([None, 0, 5]),
)
def test_a_cancellation_at_any_point_leaves_nothing_that_nobody_leads(
    steps: int, delay_ms: int, again_ms: int | None
) -> None:
    async def cancelled() -> AsyncExperiment:
        experiment = AsyncExperiment("cancelled")
        a = experiment.add(TRUE, name="a")
        experiment.add(Command(("sleep", "600")), name="b")
        experiment.add(TRUE, name="c", dependencies=[a])
        experiment.add(TRUE, name="d", dependencies=["b"])
        task = asyncio.create_task(experiment.run(check=False))
        for _ in range(steps):
            await asyncio.sleep(0)
        await asyncio.sleep(delay_ms / 1000)
        task.cancel()
        if again_ms is not None:
            await asyncio.sleep(again_ms / 1000)
            task.cancel()
        done, _ = await asyncio.wait([task], timeout=120)
        assert done
        assert task.cancelled()
        return experiment

    experiment = asyncio.run(cancelled())
    if experiment.folder:
        records = read_jobs(experiment.folder)
        assert {name: one.state.is_terminal for name, one in records.items()} == dict.fromkeys(
            "abcd", True
        )
        assert str(records["b"].state) == "CANCELLED"
        # One that has told its end may be about to leave.
        wait_until(lambda: not [*processes_with(experiment.folder)])


class Calls(Packager):
    """Calls a test back in the thread that records; packages one file."""

    back: ClassVar[Callable[[], None]]

    def contents(self, root: str, scratch: str) -> Contents:
        del root, scratch
        type(self).back()
        return Contents(entries={b"code": Entry(source=os.fsencode(__file__))})


async def cancel(task: asyncio.Task[Any], times: int, go: threading.Event) -> None:
    """Cancel a task that waits, so many times, before what it waits for goes on."""
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    go.set()
    await asyncio.wait([task], timeout=120)
    assert task.cancelled()


def assert_given_up(folder: str) -> None:
    """See that the only job of an experiment is over, and that nobody is to lead it."""
    states = {name: str(one.state) for name, one in read_jobs(folder).items()}
    assert states == {"a": "CANCELLED"}
    assert Home().open_experiments() == []


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("times", [1, 2])
async def test_what_is_being_recorded_when_it_is_cancelled_is_given_up_afterwards(
    detach: bool, times: int
) -> None:
    begun, go = threading.Event(), threading.Event()

    def waits() -> None:
        begun.set()
        assert go.wait(120)

    Calls.back = staticmethod(waits)
    experiment = AsyncExperiment("cancelled")
    experiment.add(TRUE, name="a", executor=LocalExecutor(packager=Calls(), name="slow"))
    task = asyncio.create_task(experiment.run(check=False, detach=detach))
    assert await asyncio.to_thread(begun.wait, 120)
    await cancel(task, times, go)

    assert_given_up(experiment.folder)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("at", ["prepare", "executors"])
async def test_a_submit_that_is_cancelled_before_its_jobs_begin_leaves_none_of_them(
    at: str, times: int
) -> None:
    begun, go = threading.Event(), threading.Event()

    class SlowDraft(ExperimentDraft):
        def prepare(self, executors: Mapping[str, Executor] | None = None) -> StoredExperiment:
            begun.set()
            assert go.wait(120)
            return super().prepare(executors)

    class Slow(LocalExecutor):
        async def setup(self, scope: Scope) -> None:
            begun.set()
            await asyncio.sleep(600)

    kind = SlowDraft if at == "prepare" else ExperimentDraft
    draft = kind("cancelled", [Job(name="a", task=TRUE)])
    watching = [Slow("slow")] if at == "executors" else []
    task = asyncio.create_task(submit(draft, watching=lambda _: watching))
    assert await asyncio.to_thread(begun.wait, 120)
    await cancel(task, times, go)

    assert_given_up(draft.folder)
