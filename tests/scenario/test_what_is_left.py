"""A dry run of an experiment that is on record: what is still to be sent, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runbus import AsyncExperiment, Command, Dependency, Experiment, Job, RetryPolicy
from runbus._clock import SYSTEM_CLOCK
from runbus.errors import UsageError
from runbus.experiment import ExperimentDraft
from runbus.jobs import CancelRequest, End, Facts, JobState, JobStore, ask_to_cancel, intend
from runbus.plugins import JobOptions, TaskPlugin


class Marks(TaskPlugin):
    """Has a job print a word more."""

    def setup(self, task: Any, executor: JobOptions) -> None:
        executor.env_vars["MARK"] = f"{executor.env_vars.get('MARK', '')}x"


TRUE = Command(("true",))
FALSE = Command(("false",))


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("face", [Experiment, AsyncExperiment])
def test_a_found_experiment_shows_what_it_would_still_run_as_runbus_plan_does(
    face: type[Experiment | AsyncExperiment],
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # no repository: nobody is asked whether its files have changed
    jobs = [Job(name="a", task=TRUE), Job(name="b", task=TRUE, depends_on=["a"])]
    draft = ExperimentDraft("left", jobs)
    draft.prepare()
    found = face.from_id(draft.id)
    found.add(TRUE, name="c", dependencies=["b"])
    known = files(home)

    plan = found.dryrun()

    assert [request.job.name for request in plan] == ["a", "b", "c"]
    assert plan[2].job.run_id == f"{draft.id}-3"
    lines = str(plan).splitlines()
    assert lines[:5] == [
        "# left: 3 jobs in 3 stages",
        "# 1  a  on local",
        "# 2  b  on local  after a",
        "# 3  c  on local  after b",
        "",
    ]
    assert lines[5:7] == ["# job a", f"# runbus: 'a' of {draft.id}, attempt 1"]
    assert files(home) == known

    Experiment.from_id(draft.id).run()
    left = found.dryrun()
    assert [request.job.name for request in left] == ["c"]
    assert str(left).startswith("# left: 1 job in 1 stage\n# 1  c  on local  after b\n")


def test_an_experiment_that_is_over_has_nothing_left_and_shows_what_was_added() -> None:
    experiment = Experiment("over")
    experiment.add(TRUE, name="good")
    experiment.add(FALSE, name="bad")
    experiment.run(check=False)
    for one in (experiment, Experiment.from_title("over")):
        plan = one.dryrun()
        assert (list(plan), str(plan)) == ([], "# over: nothing is left to be sent")
        one.add(TRUE, name="after", dependencies=["good"])
        one.add(TRUE, name="skipped", dependencies=["bad"])
        one.add(TRUE, name="skipped-too", dependencies=["skipped"])
        one.add(TRUE, name="alarm", dependencies=[Dependency(job="bad", when="afternotok")])
        assert [request.job.name for request in one.dryrun()] == ["after", "alarm"]


def test_what_a_backend_has_is_not_sent_again_and_a_retry_is_the_next_attempt() -> None:
    again = RetryPolicy(retries=2)
    draft = ExperimentDraft("midway", [Job(name=name, task=TRUE, retry=again) for name in "abc"])
    stored = draft.prepare()
    a, b, _ = stored.specs
    facts, store = Facts(SYSTEM_CLOCK), JobStore(stored.folder)
    intend(store, stored.specs)
    store.record(facts.submitted(a, "a-handle"))
    store.record(facts.submitted(b, "b-handle"))
    folder = os.path.join(os.path.dirname(store.relative(b.folder)), "2")
    end = End(JobState.FAILED, "exit code 1", None)
    store.record(facts.retrying(b, end, folder=folder, delay_s=0))
    store.sync()
    store.close()

    plan = Experiment.from_id(draft.id).dryrun()

    assert [(one.job.name, one.job.attempt) for one in plan] == [("b", 2), ("c", 1)]
    assert plan[0].job.folder == os.path.join(stored.folder, folder)
    ask_to_cancel(stored.folder, CancelRequest("b", "by a test", 1))
    assert [one.job.name for one in Experiment.from_id(draft.id).dryrun()] == ["c"]


def test_the_code_that_is_packaged_already_is_what_a_dry_run_shows(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print(1)")
    packed = {"type": "local", "packager": {"type": "pattern", "include": ["*.py"]}}
    other = {"type": "local", "packager": {"type": "pattern", "include": ["*.txt"]}}
    experiment = Experiment("packed", executors={"packed": packed}, root=str(tmp_path))
    experiment.add(TRUE, name="first", executor="packed")
    assert "# code for packed: 1 file, 8 B\n#   train.py  8 B" in str(experiment.dryrun())
    experiment.run()
    (tmp_path / "train.py").unlink()
    (tmp_path / "notes.txt").write_text("later")

    found = Experiment.from_id(experiment.id)
    found.add(TRUE, name="second", executor="packed")
    found.add(TRUE, name="third", executor=other)
    plan = found.dryrun()

    assert {name: [one.path for one in chosen.files] for name, chosen in plan.code.items()} == {
        "packed": ["train.py"],
        "local-2": ["notes.txt"],
    }
    (package,) = Path(experiment.folder, "code").glob("*.tar.gz")
    assert plan[0].job.package is not None
    assert plan[0].job.package.path == str(package)
    assert [str(one.state) for one in found.run()] == ["SUCCEEDED"] * 3


def test_a_dry_run_refuses_what_a_run_would() -> None:
    experiment = Experiment("refuses", fail_fast=True)
    experiment.add(FALSE, name="bad")
    experiment.run(check=False)
    found = Experiment.from_id(experiment.id)
    found.add(TRUE, name="more")
    with pytest.raises(UsageError, match="'bad' has failed; runbus retry begins anew"):
        found.dryrun()


def test_a_plugin_that_is_data_changes_each_job_once_also_one_that_is_added_later() -> None:
    show = Command(("sh", "-c", "echo $MARK"))
    experiment = Experiment("marks", plugins=[{"_target_": f"{__name__}.Marks"}])
    experiment.add(show, name="first")
    assert "export MARK=x\n" in str(experiment.dryrun())
    experiment.run()
    found = Experiment.from_id(experiment.id)
    found.add(show, name="second")
    assert "export MARK=x\n" in str(found.dryrun())
    found.run()
    assert (found.logs("first"), found.logs("second")) == ("x\n", "x\n")
