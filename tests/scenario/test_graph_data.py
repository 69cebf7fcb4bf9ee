"""Jobs that take what others return, and jobs that wait for those of other experiments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runbus import Command, Dependency, Experiment, Job, Output
from runbus.catalog import find_experiment
from runbus.config import load_batch
from runbus.errors import BatchInvalid, ExperimentNotFound, FieldInvalid, UsageError
from runbus.experiment import ExperimentDraft, JobHandle
from runbus.jobs import JobRecord, read_jobs
from runbus.plugins import JobOptions, TaskPlugin
from runbus.testing._waiting import wait_until

from .test_batch import RUNBUS, command

MODULE = """
import os

def search(rates):
    best = {"lr": min(rates), "name": "a b"}
    return {"best": best, "rates": rates, "odd": {"_target_": "os.system"}}

def train(lr: float, rates: list[float] = (), extra: dict = {}):
    print("trained", lr, rates, extra, os.environ.get("NAME"))
    return {"loss": lr * 2}

def silent():
    pass
"""


def function(name: str, target: str, values: dict[str, Any], **fields: Any) -> dict[str, Any]:
    task = {"type": "function", "target": f"steps.{target}", "folder": ".", "values": values}
    return {"name": name, "task": task, **fields}


def sh(name: str, script: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "command": ["sh", "-c", script], **fields}


SEARCH = function("search", "search", {"rates": [0.5, 0.25]})


@pytest.fixture
def batch(tmp_path: Path) -> Callable[..., str]:
    (tmp_path / "steps.py").write_text(MODULE)

    def write(*jobs: dict[str, Any], project: str = "graph", **settings: Any) -> str:
        path = tmp_path / f"{project}.json"
        path.write_text(json.dumps({"project": project, "jobs": jobs, **settings}))
        return str(path)

    return write


def states(experiment: str | None = None) -> dict[str, str]:
    return {name: str(one.state) for name, one in records(experiment).items()}


def records(experiment: str | None = None) -> dict[str, JobRecord]:
    try:
        return read_jobs(find_experiment(experiment))
    except ExperimentNotFound:
        return {}


def test_what_a_function_returns_reaches_the_jobs_that_ask_for_it(
    batch: Callable[..., str],
) -> None:
    path = batch(
        function(
            "train",
            "train",
            {
                "lr": {"from": "search", "key": "best.lr"},
                "rates": {"from": "search", "key": "rates"},
                "extra": {"from": "search", "key": "odd"},
            },
            env={"NAME": {"from": "search", "key": "best.name"}},
        ),
        sh("tell", 'echo "$LOSS $ALL"', env={"LOSS": {"from": "train", "key": "loss"},
                                             "ALL": {"from": "train"}}),
        SEARCH,
    )  # fmt: skip
    done = command("submit", path)
    assert done.returncode == 0, done.stderr
    # What names a class in a result makes nothing: it is data.
    told = "trained 0.25 [0.5, 0.25] {'_target_': 'os.system'} a b\n"
    assert command("logs", "train").stdout == told
    assert command("logs", "tell").stdout == '0.5 {"loss": 0.5}\n'


def test_a_job_whose_value_is_not_there_fails_and_says_which(batch: Callable[..., str]) -> None:
    lacks = {
        "key": ({"key": "best.rate"}, "no 'best.rate': at 'rate' there is a mapping of lr, name"),
        "index": ({"key": "rates[7]"}, "no 'rates[7]': at 7 there is a list"),
        "deep": ({"key": "best.lr.x"}, "no 'best.lr.x': at 'x' there is a single value"),
        "none": ({"from": "silent"}, "job 'silent' ended as SUCCEEDED and has returned nothing"),
    }
    takes = [
        sh(name, "true", env={"X": {"from": "search"} | value})
        for name, (value, _) in lacks.items()
    ]
    assert (
        command("submit", batch(SEARCH, function("silent", "silent", {}), *takes)).returncode == 1
    )
    reasons = {name: one.reason for name, one in records().items() if one.state == "FAILED"}
    assert reasons.keys() == lacks.keys()
    assert [name for name, (_, told) in lacks.items() if told not in reasons[name]] == []


def test_a_retry_takes_what_the_first_try_has_returned(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    takes = sh(
        "takes", f'test -e {tmp_path}/go && echo "$LR"',
        env={"LR": {"from": "search", "key": "best.lr"}},
    )  # fmt: skip
    assert command("submit", batch(SEARCH, takes)).returncode == 1
    (tmp_path / "go").touch()
    done = command("retry", "latest")
    assert done.returncode == 0, done.stderr
    assert states() == {"takes": "SUCCEEDED"}
    assert command("logs", "takes").stdout == "0.25\n"


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (sh("b", "true", env={"X": {"from": "aa"}}), "jobs[1]: there is no job 'aa'"),
        (sh("b", "true", env={"X": {"from": "b"}}), "jobs[1]: a job cannot wait for itself"),
        (sh("b", "true", env={"X": {"from": "a", "secret": "Y"}}), "one of secret and from"),
        (sh("b", "true", env={"X": {"key": "a"}}), "one of secret and from"),
        (sh("b", "true", env={"X": {"from": "a", "key": "[1"}}), "key"),
        (sh("b", "true", env={"X": {"from": 3}}), "from"),
        (function("b", "train", {"lr": {"from": "c", "key": "x"}}), "there is no job 'c'"),
        (function("b", "train", {"lr": {"from": "a", "key": "[1"}}), "jobs[1].task.values.lr"),
        (function("b", "train", {"lr": {"from": 7}}), "jobs[1].task.values.lr"),
    ],
    ids=["unknown", "itself", "both", "neither", "no path", "number", "function", "path", "type"],
)
def test_what_no_job_can_return_is_refused_with_its_place(
    batch: Callable[..., str], job: dict[str, Any], told: str
) -> None:
    with pytest.raises(BatchInvalid) as refused:
        load_batch(batch(sh("a", "true"), job))
    assert told in "\n".join(refused.value.problems)


def test_values_in_python_stand_for_what_others_return() -> None:
    a = Job(name="a", task=Command(("true",)))
    takes = Job(name="b", task=a.task, env={"X": Output("a", "x.y")})
    assert takes.depends_on == (Dependency(job="a"),)
    said = Job(
        name="c", task=a.task, env={"X": Output("a")},
        depends_on=[Dependency(job="a", when="afterany")],
    )  # fmt: skip
    assert said.depends_on == (Dependency(job="a", when="afterany"),)
    with pytest.raises(UsageError, match="job 'b': there is no job 'a'"):
        ExperimentDraft("graph", [takes])
    with pytest.raises(FieldInvalid, match="key"):
        Output("a", "[")


def test_handles_stand_for_results_and_what_cannot_be_is_refused_when_it_is_added() -> None:
    experiment = Experiment("graph")
    true = Command(("true",))
    a = experiment.add(true, name="a")
    b = experiment.add(Job(name="b", task=true, env={"X": a.output("x")}), name="b")
    with pytest.raises(UsageError, match="job 'c': there is no job 'd'"):
        experiment.add(Job(name="c", task=true, env={"X": Output("d")}))
    with pytest.raises(UsageError, match="is a group"):
        experiment.add([true, true], name="g").output()
    other = Experiment("other")
    with pytest.raises(UsageError, match="job 'e': 'b' is of another experiment, which is not"):
        other.add(true, name="e", dependencies=[b])

    first = ExperimentDraft("first", [Job(name="old", task=true)]).prepare()
    parent = Dependency(job="old", experiment=first.id)
    other.add(true, name="e", dependencies=[parent])
    other.add(true, name="f", dependencies=[JobHandle("old", first)])
    assert [one.job.depends_on for one in other.dryrun()] == [(parent,), (parent,)]


def test_a_plugin_of_a_job_keeps_what_it_takes_from_others_and_may_add_to_it() -> None:
    class Adds(TaskPlugin):
        def setup(self, task: Any, executor: JobOptions) -> None:
            executor.env_vars["Y"] = Output("a", "y")

    a = Job(name="a", task=Command(("true",)))
    b = Job(name="b", task=a.task, env={"X": Output("a", "x")}, plugins=(Adds(),))
    stored = ExperimentDraft("graph", [a, b]).prepare()
    assert stored.specs[1].outputs == {
        "X": {"_from_": "a", "key": "x"}, "Y": {"_from_": "a", "key": "y"}
    }  # fmt: skip


@contextmanager
def led(path: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [RUNBUS, "submit", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as leader:
        try:
            yield leader
        finally:
            leader.kill()


def test_a_job_waits_for_one_of_another_experiment_also_after_a_kill(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    first = batch(
        function("search", "search", {"rates": [0.5, 0.25]}, depends_on=["held"]),
        sh("held", f"until test -e {go}; do sleep 0.05; done"),
        sh("bad", "exit 1"),
        project="first",
        max_parallel=2,
    )
    with led(first) as leads_first:
        wait_until(lambda: states("first").get("bad") == "FAILED")
        second = batch(
            sh("takes", 'echo "$LR"', env={"LR": {"from": "search", "key": "best.lr",
                                                  "experiment": "first"}}),
            sh("skipped", "true", depends_on=[{"job": "bad", "experiment": "first"}]),
            sh("after", "true", depends_on=[{"job": "bad", "experiment": "first",
                                             "when": "afternotok"}]),
            project="second",
        )  # fmt: skip
        with led(second) as leads_second:
            ended = {"takes": "PENDING", "skipped": "SKIPPED", "after": "SUCCEEDED"}
            wait_until(lambda: states("second") == ended)
            why = command("why", "takes").stdout
            assert "it waits for the end of job 'search' of 20" in why
            leads_second.kill()
            leads_second.wait()
        go.touch()
        assert leads_first.wait() == 1
    assert command("attach", "second").returncode == 0
    assert states("second") == {**ended, "takes": "SUCCEEDED"}
    assert command("logs", "takes").stdout == "0.25\n"


@pytest.mark.parametrize("is_left", [False, True])
def test_what_another_experiment_lacks_is_refused_and_what_is_removed_skips(
    batch: Callable[..., str], tmp_path: Path, *, is_left: bool
) -> None:
    folder = str(tmp_path)  # in no repository, of which something might be written meanwhile

    def waits_for(job: str, experiment: str = "first") -> ExperimentDraft:
        parent = Dependency(job=job, experiment=experiment)
        waiting = Job(name="b", task=Command(("true",)), depends_on=[parent], cwd=folder)
        return ExperimentDraft("second", [waiting])

    with pytest.raises(UsageError, match="job 'b' waits for one of 'first': there are no exp"):
        waits_for("a")
    first = ExperimentDraft("first", [Job(name="a", task=Command(("true",)), cwd=folder)]).prepare()
    with pytest.raises(UsageError, match="job 'b': there is no job 'aa'; did you mean 'a' in 20"):
        waits_for("aa")
    second = waits_for("a", first.id[:-3]).prepare()
    # The one that it meant then, whatever comes by that name later.
    assert [one.experiment for one in second.specs[0].depends_on] == [first.id]
    second.intend()
    os.utime(Path(second.folder, "leader"), (1, 1))  # no supervisor is waited for any more
    shutil.rmtree(first.folder)
    if is_left:  # of one that was removed while something was written there
        Path(first.folder, "code").mkdir(parents=True)
    assert command("attach", "second").returncode == 0
    assert states("second") == {"b": "SKIPPED"}
    assert f"it needs job 'a' of {first.id}, and that was removed" in records()["b"].reason
