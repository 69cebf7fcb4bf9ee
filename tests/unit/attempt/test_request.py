"""What the wrapper program is told of a job, and which jobs it leaves to their script."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from runbus.abc import JobSpec, Package, Resources
from runbus.attempt import AttemptBody, render_request
from runbus.events import Image

JOB = JobSpec(
    experiment_id="e", name="a", run_id="e-1", executor="local",
    argv=("train", "--lr"), cwd="/work", env={"A": "1"}, folder="/f", run_folder="/r",
)  # fmt: skip
SCRIPT = b"version 1\n1\n"
"""A request that says nothing: the program runs `request.sh`."""


def test_a_request_names_each_field_its_length_and_its_value() -> None:
    job = replace(
        JOB,
        image=Image(env={"A": "0", "B": "2"}, secrets={"T": "env:T"}),
        resources=Resources(nice=5, cpus="0-3"),
    )

    assert render_request(job, advice="look") == (
        b"version 1\n1\ncwd 5\n/work\nadvice 4\nlook\nsecret 1\nT\nenv 3\nA=1\nenv 3\nB=2\n"
        b"nice 1\n5\ncpus 3\n0-3\narg 5\ntrain\narg 4\n--lr\n"
    )
    assert b"advice 0\n\n" in render_request(job)


def test_the_length_of_a_value_is_that_of_its_bytes_whatever_they_are() -> None:
    request = render_request(replace(JOB, argv=("é", "a\udce9")))

    assert request.endswith(b"arg 2\n\xc3\xa9\narg 2\na\xe9\n")


@pytest.mark.parametrize(
    "shell",
    [
        {"bootstrap": ("true",)},
        {"package": Package(path="/p", sha256="d", size=1, root="/")},
        {"given": "{}"},
    ],
    ids=["bootstrap", "package", "given"],
)
def test_a_job_that_is_partly_shell_is_left_to_its_script(shell: dict[str, object]) -> None:
    job = replace(JOB, **shell)

    assert render_request(job) == SCRIPT
    assert AttemptBody.of(job).is_script
    assert not AttemptBody.of(JOB).is_script


def test_any_job_is_left_to_its_script_where_asked() -> None:
    assert render_request(JOB, by_script=True) == SCRIPT


@pytest.mark.parametrize("by_script", [False, True])
def test_a_sampler_is_named_unless_the_job_wants_none(by_script: bool) -> None:
    wants_none = replace(JOB, env={"RUNBUS_SYSTEM": "0"})

    assert b"sampler 2\n/s\n" in render_request(JOB, sampler="/s", by_script=by_script)
    assert b"sampler" not in render_request(wants_none, sampler="/s", by_script=by_script)
    assert b"sampler" not in render_request(JOB, by_script=by_script)


def test_of_a_script_the_sampler_is_told_the_variables_that_concern_it() -> None:
    job = replace(JOB, env={"RUNBUS_RUN": "/r", "RUNBUS_SAMPLER": "x", "SECRET": "s"}, given="{}")

    assert render_request(job, sampler="/s") == (
        b"version 1\n1\nsampler 2\n/s\nenv 13\nRUNBUS_RUN=/r\n"
    )
    # Without one, only what says that there is another already.
    assert render_request(job) == SCRIPT + b"env 16\nRUNBUS_SAMPLER=x\n"


def test_the_body_of_a_request_has_its_advice_and_its_sampler() -> None:
    body = AttemptBody.of(JOB, advice="look")

    assert body.program_request() == render_request(JOB, advice="look")
    assert body.program_request(sampler="/s") == render_request(JOB, advice="look", sampler="/s")
