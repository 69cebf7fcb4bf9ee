"""What an executor sends, and what a person is shown of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from runbus import Command, Job, LocalExecutor, SSHExecutor
from runbus.abc import Executor, JobSpec, JsonBody, Request
from runbus.api import plan
from runbus.attempt import AttemptBody
from runbus.errors import UsageError
from runbus.events import Image
from runbus.experiment import ExperimentDraft
from runbus.transports import LocalTunnel

JOB = JobSpec(
    experiment_id="e", name="a", run_id="e-1", executor="local",
    argv=("train", "--lr", "0.1"), cwd="/", env={"B": "shown"}, folder="/f", run_folder="/r",
)  # fmt: skip
SECRET = replace(
    JOB,
    argv=("train", "--hub-token", "canary-1", "https://me:canary-2@host/x"),
    env={"B": "shown", "HF_TOKEN": "canary-3"},
    image=Image(env={"WANDB_API_KEY": "canary-4", "C": "shown too"}),
    bootstrap=("curl -H 'Authorization: Bearer canary-5' host",),
)
EXECUTORS = {
    "local": LocalExecutor(gpus=[]),
    "ssh": SSHExecutor([LocalTunnel("~/jobs")], name="ssh"),
}


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=list(EXECUTORS))
@pytest.mark.parametrize("own", [{}, {"MASTER_PORT": "4711"}], ids=["usual", "own port"])
def test_what_holds_no_secret_is_shown_as_it_is_sent_but_for_where_its_ranks_meet(
    executor: Executor, own: dict[str, str]
) -> None:
    request = executor.plan(replace(JOB, env={**JOB.env, **own}))

    script = request.of(AttemptBody).script.splitlines()
    shown = request.render().splitlines()
    told = shown.pop(1)
    left_out = [line for line in script if line not in shown]
    assert shown == [line for line in script if line not in left_out]
    assert all(re.match("export (RUNBUS_|MASTER_)", line) for line in left_out)
    port = request.of(AttemptBody).job.env["RUNBUS_MASTER_PORT"]
    more = "6" if own else "7"
    assert told == (
        f"# one machine; its ranks meet at its port {port}: "
        f"RUNBUS_MASTER_PORT and {more} more variables"
    )
    assert len(left_out) == int(more) + 1


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"RUNBUS_MASTER_PORT": "4711"},
        {"RUNBUS_GPUS_PER_NODE": "8"},
        {"RUNBUS_MASTER_PORT": "4711", "RUNBUS_GPUS_PER_NODE": "all"},
    ],
)
def test_where_ranks_meet_is_left_out_only_if_all_of_it_was_added(env: dict[str, str]) -> None:
    body = AttemptBody.of(replace(JOB, env=env))

    assert body.render() == "\n".join(body.script.splitlines()) + "\n"


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=list(EXECUTORS))
def test_secrets_are_sent_but_not_shown(executor: Executor) -> None:
    request = executor.plan(SECRET)

    assert request.of(AttemptBody).script.count("canary-") == 5
    shown = request.render()
    assert "canary-" not in shown
    assert "export B=shown\nexport C='shown too'\nexport HF_TOKEN='***'" in shown


def test_a_dry_run_is_of_what_would_be_sent(tmp_path: Path) -> None:
    job = Job(name="a", task=Command(("true",)), env={"HF_TOKEN": "canary"}, cwd="/")

    (request,) = plan(ExperimentDraft("p", [job], home=tmp_path / "home"))

    assert request.job.env["HF_TOKEN"] == "canary"
    assert "export HF_TOKEN=canary\n" in request.of(AttemptBody).script
    assert "canary" not in request.render()
    assert list(tmp_path.iterdir()) == []


def test_a_document_is_shown_without_what_goes_by_a_secrets_name() -> None:
    body = JsonBody({"name": "é", "env": [{"A": "b"}], "api_key": "canary", "tokens": 3})

    request = Request(job=JOB, body=body)

    assert json.loads(body.encode()) == body.data
    assert json.loads(request.render()) == {**body.data, "api_key": "***", "tokens": 3}
    assert "\n" in request.render()


def test_a_request_of_another_kind_of_executor_is_refused() -> None:
    with pytest.raises(UsageError, match="the request holds JsonBody instead of AttemptBody"):
        Request(job=JOB, body=JsonBody({})).of(AttemptBody)
