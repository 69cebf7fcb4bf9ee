"""An executor begins with what its first job needs while the folder of the experiment is made."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import anyio
import pytest

from runbus import Command, Job, Kernel, LocalExecutor
from runbus.abc import Contents, Entry, JobSpec, Packager, Request
from runbus.errors import UsageError
from runbus.experiment import ExperimentDraft
from runbus.experiment._recorder import MANY
from runbus.jobs import JobState
from runbus.plugins import TaskPlugin

PATIENCE_S = 120

pytestmark = pytest.mark.anyio


class Slow(LocalExecutor):
    """Is not ready before the folder is made, which is not made before it has begun with that.

    Args:
        refusal: Why it cannot run jobs as they are asked for; None if it can.
    """

    def __init__(self, refusal: UsageError | None = None) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.turns: list[str] = []
        self._refusal = refusal

    async def make_ready(self) -> None:
        """Wait for as long as it is let the first time."""
        self.turns.append("begun")
        self.begun.set()
        if len(self.turns) == 1:
            try:
                await anyio.sleep_forever()
            finally:
                self.turns.append("cut off")

    def plan(self, job: JobSpec) -> Request:
        """Wait until it is being made ready."""
        assert self.begun.wait(PATIENCE_S)
        if self._refusal is not None:
            raise self._refusal
        return super().plan(job)


def many() -> list[Job]:
    """Return more jobs than those whose folders are made at once."""
    return [Job(name=f"j{number}", task=Command(("true",))) for number in range(MANY + 1)]


async def test_what_executors_begin_with_goes_on_beside_and_is_not_waited_for() -> None:
    executor = Slow()
    draft = ExperimentDraft("p", many())

    async with Kernel(plugins=[executor]) as kernel:
        with anyio.fail_after(PATIENCE_S):
            records = await draft.run(kernel.bus)

    assert {record.state for record in records} == {JobState.SUCCEEDED}
    assert executor.turns == ["begun", "cut off", "begun"]


async def test_an_experiment_that_is_refused_says_only_that(home: Path) -> None:
    refusal = UsageError("not here")
    executor = Slow(refusal)
    draft = ExperimentDraft("p", many())

    async with Kernel(plugins=[executor]) as kernel:
        with anyio.fail_after(PATIENCE_S), pytest.raises(UsageError) as caught:
            await draft.run(kernel.bus)

    assert caught.value is refusal
    assert executor.turns == ["begun", "cut off"]
    assert not (home / "experiments").exists()


class AsksTheLoop:
    """What is done once the loop has come to something else meanwhile."""

    def __init__(self) -> None:
        self.begun, self.heard = threading.Event(), threading.Event()

    def ask(self) -> None:
        self.begun.set()
        assert self.heard.wait(PATIENCE_S)

    async def answer(self) -> None:
        # A thread begins, which may be any.
        while not self.begun.is_set():  # noqa: ASYNC110
            await anyio.sleep(0.01)
        self.heard.set()


class SetsUp(AsksTheLoop, TaskPlugin):
    """A plugin of a job."""

    def setup(self, task: object, executor: object) -> None:
        del task, executor
        self.ask()


class Packs(AsksTheLoop, Packager):
    """What chooses the code."""

    def contents(self, root: str, scratch: str) -> Contents:
        del root, scratch
        self.ask()
        return Contents(entries={b"code": Entry(source=os.fsencode(__file__))})


@pytest.mark.parametrize("kind", [SetsUp, Packs])
async def test_what_waits_for_more_than_a_few_folders_stops_no_loop(
    kind: type[SetsUp | Packs],
) -> None:
    asks = kind()
    packager, plugins = (asks, ()) if isinstance(asks, Packs) else (None, (asks,))
    draft = ExperimentDraft("p", [Job(name="j", task=Command(("true",)), plugins=plugins)])

    async with Kernel(plugins=[LocalExecutor(packager=packager)]) as kernel:
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as group:
                group.start_soon(asks.answer)
                (record,) = await draft.run(kernel.bus)

    assert record.state is JobState.SUCCEEDED
