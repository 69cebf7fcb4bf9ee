"""What the fields of a job may be, in Python as in a batch file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from runbus import ArtifactLimits, Command, Experiment, Job, Resources, RetryPolicy, Timeouts
from runbus.config import load_batch
from runbus.errors import BatchInvalid, FieldInvalid
from runbus.events.values import worded
from runbus.experiment import jobs_of_batch, sweep

TRUE = Command(("true",))
KEYS = {
    "run_s": "timeout", "queue_s": "queue_timeout", "idle_s": "idle_timeout", "on": "retry_on",
    "backoff_s": "backoff",
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "field", "value", "problem"),
    [
        (Timeouts, "run_s", -1, "expected int >= 1"),
        (Timeouts, "run_s", True, "expected int | null, got bool"),
        (Timeouts, "queue_s", 1.5, "expected int | null, got float"),
        (Timeouts, "idle_s", 10**18, "expected int <= 3155760000, a hundred years"),
        (RetryPolicy, "retries", -1, "expected int >= 0"),
        (RetryPolicy, "on", ["exit", 300], "expected int <= 255"),
        (RetryPolicy, "on", ["oomm"], "invalid enum value 'oomm'"),
        (RetryPolicy, "on", "exit", "expected list, got str"),
        (RetryPolicy, "backoff_s", -0.5, "expected float >= 0.0"),
        (Resources, "gpus", -1, "expected int >= 0"),
        (Resources, "gpus", True, "expected int, got bool"),
        (Resources, "cpus", "zz", "the text has an invalid form"),
        (Resources, "nice", 99, "expected int <= 19"),
    ],
)
def test_a_value_is_refused_in_python_as_in_a_batch_file(
    kind: type, field: str, value: object, problem: str, tmp_path: Path
) -> None:
    key = KEYS.get(field, field)
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    batch = tmp_path / "batch.yaml"
    batch.write_text(f"project: p\njobs:\n  - name: a\n    command: ['true']\n    {key}: {shown}\n")

    with pytest.raises(FieldInvalid) as in_python:
        kind(**{field: value})
    with pytest.raises(BatchInvalid) as in_a_file:
        load_batch(str(batch))

    assert (in_python.value.field, in_python.value.reason) == (field, problem)
    assert in_python.value.hint
    assert pickle.loads(pickle.dumps(in_python.value)) == in_python.value
    (told,) = in_a_file.value.problems
    assert told.startswith(f"{batch}:5: jobs[0].{key}")
    assert f": {problem}" in told


def test_a_span_of_time_as_a_text_is_refused_with_the_number_to_write() -> None:
    as_in_a_file: object = "5m"
    with pytest.raises(FieldInvalid) as refused:
        Timeouts(run_s=as_in_a_file)  # type: ignore[arg-type]

    assert refused.value.hint is not None
    assert "300 for five minutes" in refused.value.hint


def test_not_a_number_is_no_time() -> None:
    with pytest.raises(FieldInvalid, match=r"backoff_s is nan: expected float >= 0\.0"):
        RetryPolicy(backoff_s=float("nan"))


@pytest.mark.parametrize("name", ["", "n" * 201, 3])
def test_a_job_without_a_usable_name_is_refused(name: str) -> None:
    with pytest.raises(FieldInvalid, match=r"name is .*: expected text of 1 to 200 characters"):
        Job(name=name, task=TRUE)


def test_what_a_batch_file_takes_is_taken_in_python(tmp_path: Path) -> None:
    batch = tmp_path / "batch.yaml"
    batch.write_text(
        "project: p\nexecutor: {type: local, timeout: 7, idle_timeout: 8}\njobs:\n"
        "  - {name: a, command: ['true'], gpus: 8, cpus: '0-3,6', nice: 19, timeout: 1,\n"
        "     queue_timeout: null, retries: 1000, backoff: 0, retry_on: [exit, 255]}\n"
    )
    loaded = load_batch(str(batch))
    (job,) = jobs_of_batch(loaded, str(tmp_path))

    assert job.resources == Resources(gpus=8, cpus="0-3,6", nice=19)
    (default,) = loaded.executors.values()
    assert job.timeouts.or_else(default.timeouts) == Timeouts(run_s=1, idle_s=8)
    assert job.retry == RetryPolicy(retries=1000, on=("exit", 255), backoff_s=0)


def test_how_much_is_kept_of_an_attempt_is_said_with_its_files(tmp_path: Path) -> None:
    batch = tmp_path / "batch.yaml"
    text = "project: p\njobs:\n  - {name: a, command: ['true'], artifacts: ['*'], artifact_size: "
    batch.write_text(f"{text}1.5TiB, artifact_files: 50000}}\n")
    (job,) = jobs_of_batch(load_batch(str(batch)), str(tmp_path))
    assert job.artifact_limits == ArtifactLimits(files=50_000, size_bytes=3 << 39)
    batch.write_text(f"{text}much}}\n")
    with pytest.raises(BatchInvalid, match="'much' is not a size: write 16GiB or 500MB"):
        load_batch(str(batch))

    experiment = Experiment("keeps")
    limits = ArtifactLimits(files=7)
    experiment.add(TRUE, name="own", artifacts=["*"], artifact_limits=limits)
    experiment.add(TRUE, name="usual", artifacts=["*"])
    own, usual = (request.job.artifact_limits for request in experiment.dryrun())
    assert (own, usual) == (limits, ArtifactLimits(files=10_000, size_bytes=100 << 30))


def test_a_list_where_a_tuple_belongs_becomes_one() -> None:
    listed: object = ["oom", 7]
    policy = RetryPolicy(retries=1, on=listed)  # type: ignore[arg-type]

    assert policy.on == ("oom", 7)
    assert hash(policy) == hash(RetryPolicy(retries=1, on=("oom", 7)))


def test_a_sweep_over_long_values_gives_names_that_jobs_may_have() -> None:
    names = [job.name for job in sweep(TRUE, [f"path={'a' * 200}1,{'a' * 200}2"])]

    assert len(set(names)) == 2
    assert max(map(len, names)) <= 200


def test_a_pattern_is_told_where_nothing_says_what_to_write() -> None:
    name = Annotated[str, msgspec.Meta(pattern="^[a-z]+$")]
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert("A", name)

    assert worded(str(refused.value)) == "the text does not match the pattern '^[a-z]+$'"
