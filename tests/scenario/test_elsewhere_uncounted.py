"""Jobs that run elsewhere begin at once, unless it is said how many run."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from runbus import Command, Job, Kernel, LocalExecutor
from runbus.abc import Capabilities
from runbus.errors import UsageError
from runbus.experiment import ExperimentDraft, StoredExperiment
from runbus.jobs import Asked, JobRecord, JobState

pytestmark = pytest.mark.anyio

MANY = len(os.sched_getaffinity(0)) + 2


class Elsewhere(LocalExecutor):
    """This machine, as if it were another one."""

    @property
    def capabilities(self) -> Capabilities:
        """What a local executor can do, and that it is not here."""
        return replace(super().capabilities, elsewhere=True)


def waiting_for_all(folder: Path, count: int, executor: str) -> list[Job]:
    """Return jobs each of which ends once all of them have begun."""
    script = f"echo >>begun; until [ $(wc -l <begun) -ge {count} ]; do sleep 0.05; done"
    task = Command(("sh", "-c", script))
    return [
        Job(name=f"{executor}{number}", task=task, executor=executor, cwd=str(folder))
        for number in range(count)
    ]


async def led(stored: StoredExperiment) -> list[JobRecord]:
    async with Kernel(plugins=[Elsewhere("far"), LocalExecutor()]) as kernel:
        with anyio.fail_after(120):
            records = await stored.run(kernel.bus)
    return records


async def test_all_that_can_begin_run_elsewhere_at_once(tmp_path: Path) -> None:
    other = Job(name="other", task=Command(("true",)))
    jobs = waiting_for_all(tmp_path, MANY, "far")
    stored = ExperimentDraft("p", [other, *jobs]).prepare()

    records = await led(StoredExperiment.open(stored.folder))

    assert {record.state for record in records} == {JobState.SUCCEEDED}


async def test_what_is_added_and_run_again_is_not_bounded_either(tmp_path: Path) -> None:
    stored = ExperimentDraft("p", [Job(name="other", task=Command(("true",)))]).prepare()
    draft = ExperimentDraft.open(stored.folder)
    jobs = waiting_for_all(tmp_path, MANY, "far")
    far = {"far": Elsewhere("far")}

    draft.join(jobs, far, {})
    records = await led(StoredExperiment.open(stored.folder))

    assert [record.state for record in records] == [JobState.SUCCEEDED] * (MANY + 1)


async def test_what_is_said_of_how_many_run_holds_elsewhere_too(tmp_path: Path) -> None:
    script = "mkdir alone && sleep 0.2 && rmdir alone"
    task = Command(("sh", "-c", script))
    jobs = [Job(name=name, task=task, executor="far", cwd=str(tmp_path)) for name in "abc"]
    said = ExperimentDraft("said", jobs, max_parallel=1).prepare()
    later = ExperimentDraft("later", jobs).prepare()
    ExperimentDraft.open(later.folder).bound(1)

    for stored in (said, later):
        assert not Asked.read(stored.folder).only_here
        records = await led(StoredExperiment.open(stored.folder))
        assert {record.state for record in records} == {JobState.SUCCEEDED}


async def test_a_group_that_is_added_is_not_counted_where_it_runs_elsewhere(
    tmp_path: Path,
) -> None:
    def together(executor: str) -> list[Job]:
        return [replace(job, group="g") for job in waiting_for_all(tmp_path, MANY, executor)]

    stored = ExperimentDraft("p", [Job(name="other", task=Command(("true",)))]).prepare()
    draft = ExperimentDraft.open(stored.folder)
    executors = {"far": Elsewhere("far"), "local": LocalExecutor()}

    with pytest.raises(UsageError, match=f"{MANY} jobs that start together, and max_parallel"):
        draft.join(together("local"), executors, {})
    draft.join(together("far"), executors, {})  # nothing is left of the others, not their group
    records = await led(StoredExperiment.open(stored.folder))

    assert [record.name for record in records[1:]] == [f"far{number}" for number in range(MANY)]
    assert {record.state for record in records} == {JobState.SUCCEEDED}
    draft = ExperimentDraft.open(stored.folder)
    with pytest.raises(UsageError, match=f"{MANY} jobs that start together, and max_parallel"):
        draft.bound(MANY - 1)
