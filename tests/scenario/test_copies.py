"""Jobs that their executor runs as several copies: each is a job, and all of them are one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import runbus
from runbus import AsyncExperiment, Command, Dependency, Experiment, Job, Kernel, SlurmExecutor
from runbus.abc import Capabilities, JobSpec, Request
from runbus.api import rerun, retry
from runbus.catalog import find_sweep, job_statuses
from runbus.config import Output
from runbus.errors import ExperimentFailed, UsageError
from runbus.executors import LocalExecutor
from runbus.experiment import ExperimentDraft, as_batch, as_python, sweep
from runbus.jobs import Asked, JobState, common_name


class Copying(LocalExecutor):
    """This machine, which runs each job as three copies and tells each which it is."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, copies=(0, 6, 16))

    def plan(self, job: JobSpec) -> Request:
        assert job.copy is not None
        return super().plan(replace(job, env={**job.env, "INDEX": str(job.copy.index)}))


def sh(line: str) -> Command:
    return Command(("sh", "-c", line))


def states(folder: str) -> dict[str, str]:
    return {one.record.name: str(one.record.state) for one in job_statuses(folder)}


async def led(experiment: AsyncExperiment, **how: Any) -> None:
    async with Kernel(plugins=[Copying("many"), LocalExecutor()]) as kernel:
        await experiment.run(kernel=kernel, **how)


async def test_each_copy_has_a_state_a_log_and_a_run_of_its_own() -> None:
    experiment = AsyncExperiment("copies")
    train = experiment.add(sh("echo I am $INDEX; test $INDEX != 6"), name="train", executor="many")
    experiment.add(sh("true"), name="all", dependencies=[Dependency(job="train", when="afterany")])
    experiment.add(sh("true"), name="fine", dependencies=[train])

    await led(experiment, check=False)

    assert states(experiment.folder) == {
        "train[0]": "SUCCEEDED", "train[6]": "FAILED", "train[16]": "SUCCEEDED",
        "all": "SUCCEEDED", "fine": "SKIPPED",
    }  # fmt: skip
    assert experiment.logs("train[16]") == "I am 16\n"
    assert train.jobs == ("train[0]", "train[6]", "train[16]")
    assert experiment.logs(train) == "I am 0\nI am 6\nI am 16\n"
    assert [run.name for run in experiment.runs][:3] == [*train.jobs]
    with pytest.raises(UsageError, match="have a result each"):
        train.output()
    asked = Asked.read(experiment.folder)
    waits = {job.name: [one.job for one in job.depends_on] for job in asked.jobs}
    assert waits["all"] == waits["fine"] == [*train.jobs]


async def test_what_is_added_later_waits_for_all_copies_and_names_stay_taken() -> None:
    experiment = AsyncExperiment("copies")
    experiment.add(sh("true"), name="train", executor="many")
    await led(experiment)
    found = AsyncExperiment.from_id(experiment.id)
    found.add(sh("true"), name="next", dependencies=["train"])
    with pytest.raises(UsageError, match="two jobs are named 'train'"):
        found.add(sh("true"), name="train")
    with pytest.raises(UsageError, match="two jobs are named 'train'"):
        ExperimentDraft.open(experiment.folder, more=[Job(name="train", task=sh("true"))])

    assert [*found.jobs] == ["train[0]", "train[6]", "train[16]", "train", "next"]
    draft = ExperimentDraft.open(
        experiment.folder, more=[Job(name="next", task=sh("true"), depends_on=["train"])]
    )
    (request,) = draft.plan({"local": LocalExecutor(), "many": Copying("many")})
    assert [one.job for one in request.job.depends_on] == ["train[0]", "train[6]", "train[16]"]


async def test_what_is_added_to_an_experiment_that_has_run_gets_copies_as_well() -> None:
    experiment = AsyncExperiment("copies")
    first = experiment.add(sh("true"), name="first", executor="many")
    async with Kernel(plugins=[Copying("many"), LocalExecutor()]) as kernel:
        await experiment.run(kernel=kernel)
        second = experiment.add(sh("true"), name="second", executor="many", dependencies=[first])
        experiment.add(sh("true"), name="third", dependencies=["second"])
        await experiment.run(kernel=kernel)

    assert second.jobs == ("second[0]", "second[6]", "second[16]")
    asked = {one.name: one for one in Asked.read(experiment.folder).jobs}
    assert [one.job for one in asked["second[6]"].depends_on] == [*first.jobs]
    assert [one.job for one in asked["third"].depends_on] == [*second.jobs]
    assert set(states(experiment.folder).values()) == {"SUCCEEDED"}


async def test_what_failed_runs_again_as_the_copy_that_it_was(tmp_path: Path) -> None:
    experiment = AsyncExperiment("copies")
    experiment.add(sh(f"test $INDEX != 6 || test -e {tmp_path}/ok"), name="train", executor="many")
    with pytest.raises(ExperimentFailed):
        await led(experiment)
    (tmp_path / "ok").touch()
    again, whole = retry(experiment.folder), rerun(experiment.folder)

    async with Kernel(plugins=[Copying("many"), LocalExecutor()]) as kernel:
        await again.run(kernel.bus)
        await whole.run(kernel.bus)

    assert states(again.folder) == {"train[6]": "SUCCEEDED"}
    assert [*states(whole.folder)] == ["train[0]", "train[6]", "train[16]"]


async def test_what_was_asked_has_the_job_once() -> None:
    experiment = AsyncExperiment("copies")
    experiment.add(sh("true"), name="train", executor="many")
    experiment.add(sh("true"), name="all", dependencies=["train"])
    await led(experiment)

    text = as_batch(experiment.folder)

    assert text.count("name: train\n") == 1
    assert "depends_on:\n  - train\n" in text.replace("    ", "  ")
    assert "# job 'train' ran as 3 copies of it: train[0], train[6], train[16]\n" in text
    assert as_python(experiment.folder).count('name="train"') == 1
    assert "copy" not in as_python(experiment.folder).replace("copies of it", "")


@pytest.mark.parametrize(
    ("jobs", "reason"),
    [
        ([Job(name="a", task=sh("true"), group="g", executor="many")], "of group 'g'"),
        (sweep(sh("true"), ["n=1,2"]), "point of a sweep"),
        (
            [
                Job(name="a", task=sh("true"), executor="many"),
                Job(name="b", task=sh("true"), env={"X": Output("a")}),
            ],
            "takes what 'a' returns, and that runs as 3 copies",
        ),
        (
            [
                Job(name="a", task=sh("true"), executor="many"),
                Job(name="a[6]", task=sh("true")),
            ],
            r"two jobs are named 'a\[6\]'",
        ),
    ],
    ids=["group", "sweep", "output", "name"],
)
def test_what_copies_cannot_do_is_refused_before_anything_is_recorded(
    jobs: list[Job], reason: str, home: Path
) -> None:
    jobs = [job if job.executor or job.env else replace(job, executor="many") for job in jobs]
    if reason.startswith("two"):
        jobs[1] = replace(jobs[1], executor="local")
    draft = ExperimentDraft("copies", jobs)

    for what in (draft.plan, draft.prepare):
        with pytest.raises(UsageError, match=reason):
            what({"many": Copying("many"), "local": LocalExecutor()})
    assert not (home / "experiments" / "copies").exists()


def test_a_dry_run_of_an_array_of_slurm_has_its_elements() -> None:
    experiment = Experiment("copies", executor=SlurmExecutor(array="0,6%1"))
    train = experiment.add(sh("true"), name="train")
    experiment.add(sh("true"), name="next", dependencies=[train], executor="slurm")

    plan = experiment.dryrun()

    assert [one.job.name for one in plan] == ["train[0]", "train[6]", "next[0]", "next[6]"]
    assert plan.held_back == {"next[0]", "next[6]"}
    assert "train (2)" in "\n".join(plan.lines(is_folded=True))
    assert "#SBATCH --array=6\n" in plan[1].render()


def test_several_copies_are_not_run_as_one(home: Path) -> None:
    with pytest.raises(UsageError, match="as 4 copies, a run each"):
        runbus.run(sh("true"), executor=SlurmExecutor(array="0-3"))

    assert not (home / "experiments").exists()


async def test_copies_are_found_by_the_name_of_their_job() -> None:
    experiment = AsyncExperiment("copies")
    experiment.add(sh("true"), name="train", executor="many")
    await led(experiment)

    assert find_sweep("train") == (experiment.folder, ["train[0]", "train[6]", "train[16]"])
    assert find_sweep("trai") is None
    assert common_name("train[16]") == "train"
    assert JobState.SUCCEEDED in states(experiment.folder).values()
