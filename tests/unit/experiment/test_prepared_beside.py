"""An executor begins with what its first job needs while the folder of the experiment is made."""

from __future__ import annotations

import threading
from pathlib import Path

import anyio
import pytest

from runbus import Command, Job, Kernel, LocalExecutor
from runbus.abc import JobSpec, Request
from runbus.errors import UsageError
from runbus.experiment import ExperimentDraft
from runbus.jobs import JobState

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


async def test_what_executors_begin_with_goes_on_beside_and_is_not_waited_for() -> None:
    executor = Slow()
    draft = ExperimentDraft("p", [Job(name="j", task=Command(("true",)))])

    async with Kernel(plugins=[executor]) as kernel:
        with anyio.fail_after(PATIENCE_S):
            (record,) = await draft.run(kernel.bus)

    assert record.state is JobState.SUCCEEDED
    assert executor.turns == ["begun", "cut off", "begun"]


async def test_an_experiment_that_is_refused_says_only_that(home: Path) -> None:
    refusal = UsageError("not here")
    executor = Slow(refusal)
    draft = ExperimentDraft("p", [Job(name="j", task=Command(("true",)))])

    async with Kernel(plugins=[executor]) as kernel:
        with anyio.fail_after(PATIENCE_S), pytest.raises(UsageError) as caught:
            await draft.run(kernel.bus)

    assert caught.value is refusal
    assert executor.turns == ["begun", "cut off"]
    assert not (home / "experiments").exists()
