"""experiment.json: what is written is read, and so is what an older runbus wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runbus._files import add_check
from runbus.abc import JobSpec, Package, Resources, RetryPolicy, Timeouts
from runbus.errors import ExperimentNotFound, FileUnreadable
from runbus.events import Image
from runbus.jobs import Asked

OLD_JOB: dict[str, Any] = {
    "experiment_id": "e", "name": "a", "run_id": "e-1", "executor": "far", "argv": ["true"],
    "cwd": "/", "env": {"A": "1"}, "folder": "jobs/1-a/1", "run_folder": "runs/e-1", "attempt": 1,
    "gpus": 1, "cpus": "0", "nice": 3, "timeout_s": 60, "queue_timeout_s": 50,
    "idle_timeout_s": None, "retries": 2, "retry_on": ["oom", 7], "backoff_s": 0.5,
    "package": None, "bootstrap": [], "secrets": {}, "withheld": [],
}  # fmt: skip
OLD: dict[str, Any] = {
    "version": 2, "id": "e", "project": "p", "created_ns": 5, "max_parallel": 2,
    "jobs": [OLD_JOB],
    "executors": {
        "far": {"type": "ssh", "timeout": None, "queue_timeout": None, "idle_timeout": 9,
                "hosts": ["box"], "slots": 1, "gpus": ["0"]},
        "here": {"type": "local", "timeout": 70, "gpus": ["5"], "env_inherit": True},
    },
    "root": "/src",
}  # fmt: skip


def written(folder: Path, fields: dict[str, Any]) -> str:
    path = folder / "e"
    path.mkdir()
    (path / "experiment.json").write_bytes(add_check(json.dumps(fields).encode()))
    return str(path)


def test_what_version_2_wrote_is_read(tmp_path: Path) -> None:
    asked = Asked.read(written(tmp_path, OLD))

    (job,) = asked.jobs
    assert job.resources == Resources(gpus=1, cpus="0", nice=3)
    assert job.timeouts == Timeouts(run_s=60, queue_s=50)
    assert job.retry == RetryPolicy(retries=2, on=("oom", 7), backoff_s=0.5)
    assert (job.name, job.env, job.folder) == ("a", {"A": "1"}, "jobs/1-a/1")
    assert asked.executors == {
        "far": {"type": "ssh", "hosts": ["box"], "slots": 1, "gpus": ["0"]},
        "here": {"type": "local", "gpus": ["5"], "env_inherit": True},
    }
    assert (asked.id, asked.project, asked.max_parallel, asked.root) == ("e", "p", 2, "/src")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "e"
    folder.mkdir()
    job = JobSpec(
        experiment_id="e", name="a", run_id="e-1", executor="far", argv=("true",), cwd="/",
        env={}, folder=str(folder / "jobs/1-a/1"), run_folder=str(folder / "runs/e-1"),
        resources=Resources(gpus=2), timeouts=Timeouts(idle_s=3), retry=RetryPolicy(on=("lost",)),
    )  # fmt: skip
    asked = Asked(
        id="e", project="p", created_ns=5, max_parallel=1, jobs=[job],
        executors={"far": {"type": "ssh", "hosts": ["box"]}},
    )  # fmt: skip
    asked.write(str(folder))

    again = Asked.read(str(folder)).absolute(str(folder))

    assert again.executors == asked.executors
    (read,) = again.jobs
    assert (read.resources, read.timeouts, read.retry) == (job.resources, job.timeouts, job.retry)
    assert json.loads((folder / "experiment.json").read_text())["version"] == 6


def test_an_experiment_may_be_moved_and_its_folders_with_it(tmp_path: Path) -> None:
    before, after = tmp_path / "here" / "e", tmp_path / "there" / "e"
    before.mkdir(parents=True)

    def asked_in(folder: Path) -> Asked:
        code = Package(path=str(folder / "code/c.tgz"), sha256="c", size=1, root="/src")
        about: dict[str, Any] = {
            "experiment_id": "e", "executor": "far", "argv": ("true",), "cwd": "/",
        }  # fmt: skip
        jobs = [
            JobSpec(
                **about, name=name, run_id=f"e-{name}", package=package,
                env={"A": "1", "RUNBUS_RUN": str(folder / "runs" / name)},
                folder=str(folder / "jobs" / name / "1"), run_folder=str(folder / "runs" / name),
            )
            for name, package in (("a", code), ("b", None))
        ]  # fmt: skip
        return Asked(id="e", project="p", created_ns=5, max_parallel=1, jobs=jobs)

    asked_in(before).write(str(before))
    after.parent.mkdir()
    before.rename(after)

    assert Asked.read(str(after)).absolute(str(after)) == asked_in(after)
    assert str(before) not in (after / "experiment.json").read_text()


def test_what_is_not_there_and_what_is_of_another_are_told_so(tmp_path: Path) -> None:
    with pytest.raises(ExperimentNotFound) as missing:
        Asked.read(str(tmp_path / "e"))
    assert missing.value.name == "e"

    other = Path(written(tmp_path, OLD)).rename(tmp_path / "f")
    with pytest.raises(FileUnreadable, match="it describes the experiment 'e'") as caught:
        Asked.read(str(other))
    assert caught.value.path == str(other / "experiment.json")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 1}, "its version is 1, this runbus reads 2 to 6"),
        ({"version": 7}, "its version is 7, this runbus reads 2 to 6"),
        ({"jobs": None}, "it has no list of jobs"),
        ({"executors": []}, "it has no list of jobs"),
        ({"jobs": ["a"]}, "expected `object`"),
        ({"jobs": [{**OLD_JOB, "gpus": -1}]}, "expected `int` >= 0"),
        ({"jobs": [{**OLD_JOB, "timeout_s": "long"}]}, "expected `int | null`"),
        ({"executors": {"a": 3}}, "expected `object`"),
        ({"version": 6}, "expected `array`|unknown field"),
    ],
)
def test_what_is_no_experiment_of_a_known_version_is_refused(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    fields = {**OLD, **changes}
    if fields["version"] == 6:
        fields["jobs"] = {}

    with pytest.raises(FileUnreadable, match=f"(?i){reason}"):
        Asked.read(written(tmp_path, fields))


def test_what_version_3_wrote_is_read(tmp_path: Path) -> None:
    job = {
        key: one
        for key, one in OLD_JOB.items()
        if key not in ("gpus", "cpus", "nice", "retries", "retry_on", "backoff_s")
        and not key.endswith("timeout_s")
    }
    job |= {"resources": {"gpus": 1}, "timeouts": {"run_s": 5}, "retry": {"on": ["oom"]}}
    far = {
        "type": "ssh", "packager": {"type": "git", "ref": "v1"}, "timeouts": {"run_s": 5},
        "hosts": ["box"], "python": None,
    }  # fmt: skip
    old = {**OLD, "version": 3, "jobs": [job], "executors": {"far": far}}

    asked = Asked.read(written(tmp_path, old))

    assert asked.jobs[0].timeouts == Timeouts(run_s=5)
    del far["timeouts"]
    assert asked.executors == {"far": far}


NEWER_JOB: dict[str, Any] = {
    key: OLD_JOB[key]
    for key in ("name", "experiment_id", "run_id", "executor", "argv", "cwd", "env", "folder")
} | {"run_folder": "runs/e-1"}


def test_what_version_4_wrote_of_an_image_is_read_by_its_new_names(tmp_path: Path) -> None:
    image = {
        "base": "b", "python": "3.12", "packages": ["torch"], "system_packages": ["git"],
        "env": [["A", "1"]], "secrets": [["B", "env:B"]],
    }  # fmt: skip
    own = {"own": {"type": "own", "timeout": 5}}
    old = {**OLD, "version": 4, "jobs": [{**NEWER_JOB, "image": image}], "executors": own}

    asked = Asked.read(written(tmp_path, old))

    (read,) = asked.jobs
    assert asked.executors == own  # what is called so there is no time-out of jobs any more
    assert read.image == Image(
        base="b", python="3.12", pip=("torch",), apt=("git",), env={"A": "1"},
        secrets={"B": "env:B"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "image",
    [{"packages": ["--index-url=http://evil"]}, {"env": [["A=B", "1"]]}, {"env": [["A"]]}, 7],
    ids=["an option", "no variable", "no pair", "a number"],
)
def test_an_image_of_version_4_that_cannot_be_one_is_refused(image: Any, tmp_path: Path) -> None:
    old = {**OLD, "version": 4, "jobs": [{**NEWER_JOB, "image": image}], "executors": {}}

    with pytest.raises(FileUnreadable, match="does not describe an experiment"):
        Asked.read(written(tmp_path, old))
