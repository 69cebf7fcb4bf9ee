"""What the run of a job records is on the bus, for plugins that hand it on."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

import runbus
from runbus import Command, Job, Kernel, LocalExecutor, Plugin
from runbus.abc import RetryPolicy
from runbus.events import (
    ArtifactLogged,
    Event,
    HistogramLogged,
    MetricBatch,
    NoteAdded,
    ParamsLogged,
    RunFinished,
    RunRecorded,
    RunStarted,
    TagsChanged,
    TextLogged,
)
from runbus.experiment import ExperimentDraft
from runbus.jobs import JobState
from runbus.supervisor._records import POLL_S

JOB = """
import os, runbus
run = runbus.init()
run.log("loss", 1.0)
run.params(lr=0.1, hf_token="hidden")
run.tag("a", "b")
run.untag("a")
run.note("begun")
run.log_text("generated", "x" * 100_000, step=3)
run.log_histogram("weights", ([1, 2], [0, 1, 2]), step=4)
with open("model", "w") as file:
    file.write("weights")
run.log_artifact("model", kind="model", step=5, caption="the best")
"""


async def test_what_a_job_records_is_on_the_bus_between_its_runs_start_and_end(
    tmp_path: Path,
) -> None:
    seen: list[Event] = []

    async def note(event: Event) -> None:
        seen.append(event)

    plugin = Plugin("recorder").stream(MetricBatch, note)
    for fact in (RunStarted, RunRecorded, RunFinished):
        plugin = plugin.on(fact, note)
    job = Job(name="train", task=Command((sys.executable, "-c", JOB)), cwd=str(tmp_path))

    async with Kernel(plugins=[LocalExecutor(), plugin]) as kernel:
        (record,) = await ExperimentDraft("p", [job]).run(kernel.bus)

    assert record.state is JobState.SUCCEEDED
    (run,) = runbus.runs()
    facts = [event for event in seen if not isinstance(event, MetricBatch)]
    assert [type(fact) for fact in facts] == [
        RunStarted,
        ParamsLogged,
        TagsChanged,
        TagsChanged,
        NoteAdded,
        TextLogged,
        HistogramLogged,
        ArtifactLogged,
        RunFinished,
    ]
    _, params, added, removed, noted, text, histogram, artifact, _ = facts
    assert isinstance(params, ParamsLogged)
    assert params.params == {"lr": 0.1, "hf_token": "***"}
    assert (params.run_id, params.experiment_id, params.job) == (
        run.id,
        Path(run.experiment_folder).name,
        "train",
    )
    assert isinstance(added, TagsChanged)
    assert isinstance(removed, TagsChanged)
    assert (added.added, removed.removed) == (("a", "b"), ("a",))
    assert isinstance(noted, NoteAdded)
    assert noted.text == "begun"
    assert isinstance(text, TextLogged)
    assert (text.name, text.step, text.text) == ("generated", 3, "x" * 100_000)
    assert isinstance(histogram, HistogramLogged)
    assert (histogram.counts, histogram.edges) == ((1, 2), (0, 1, 2))
    assert isinstance(artifact, ArtifactLogged)
    (kept,) = run.artifacts()
    assert (artifact.name, artifact.artifact_kind, artifact.step) == ("model", "model", 5)
    assert (artifact.path, artifact.sha256, artifact.caption) == (
        kept.path,
        kept.sha256,
        "the best",
    )


async def test_nothing_is_told_of_a_run_before_its_start_is_taken_in(tmp_path: Path) -> None:
    order: list[str] = []

    async def begin(event: RunStarted) -> None:
        (run,) = runbus.runs()
        looks = 0
        while looks < 3:  # of the feed, with all of it there
            looks += bool(run.artifacts())
            await anyio.sleep(POLL_S)
        order.append("started")

    async def note(event: RunRecorded) -> None:
        order.append("recorded")

    plugin = Plugin("tracker").on(RunStarted, begin).on(RunRecorded, note)
    job = Job(name="train", task=Command((sys.executable, "-c", JOB)), cwd=str(tmp_path))
    async with Kernel(plugins=[LocalExecutor(), plugin]) as kernel:
        await ExperimentDraft("p", [job]).run(kernel.bus)

    assert order == ["started", *["recorded"] * 7]


async def test_what_was_recorded_before_a_retry_is_told_once(tmp_path: Path) -> None:
    notes: list[str] = []

    async def note(event: NoteAdded) -> None:
        notes.append(event.text)

    code = """
import os, runbus
run = runbus.init()
first = not os.path.exists("tried")
open("tried", "w").close()
run.note("first" if first else "second")
raise SystemExit(first)
"""
    plugin = Plugin("tracker").on(NoteAdded, note)
    job = Job(
        name="train",
        task=Command((sys.executable, "-c", code)),
        cwd=str(tmp_path),
        retry=RetryPolicy(retries=1, backoff_s=0.0),
    )
    async with Kernel(plugins=[LocalExecutor(), plugin]) as kernel:
        (record,) = await ExperimentDraft("p", [job]).run(kernel.bus)

    assert (record.state, record.attempt) == (JobState.SUCCEEDED, 2)
    assert notes == ["first", "second"]


async def test_what_a_run_was_started_with_is_told_once_as_its_params(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBUS_SYSTEM", "0")  # a sample would begin the run before the job does
    seen: list[ParamsLogged] = []
    body = "import runbus; run = runbus.init(config={'opt': {'name': 'adam'}}); run.log('x', 1.0)"
    job = Job(
        name="train",
        task=Command((sys.executable, "-c", f"{body}; run.params(lr=0.2)")),
        config={"lr": 0.1, "api_key": "hidden"},
        cwd=str(tmp_path),
    )
    plugin = Plugin("recorder").on(ParamsLogged, seen.append)

    async with Kernel(plugins=[LocalExecutor(), plugin]) as kernel:
        await ExperimentDraft("p", [job]).run(kernel.bus)

    assert [event.params for event in seen] == [
        {"opt/name": "adam", "lr": 0.1, "api_key": "***"}, {"lr": 0.2}
    ]  # fmt: skip


async def test_a_config_that_a_job_gives_after_its_machine_was_sampled_is_told_as_well(
    tmp_path: Path,
) -> None:
    """As one does that imports for longer than a second before it begins its run."""
    seen: list[ParamsLogged] = []

    def note(event: ParamsLogged) -> None:
        seen.append(event)
        (tmp_path / "told").touch()

    code = """
import os, runbus
from runbus.testing._waiting import wait_until
wait_until(lambda: os.path.exists("told"))
runbus.init(config={"opt": {"name": "adam"}, "lr": 9.0})
"""
    job = Job(
        name="train", task=Command((sys.executable, "-c", code)), config={"lr": 0.1},
        cwd=str(tmp_path),
    )  # fmt: skip
    async with Kernel(plugins=[LocalExecutor(), Plugin("p").on(ParamsLogged, note)]) as kernel:
        (record,) = await ExperimentDraft("p", [job]).run(kernel.bus)

    assert record.state is JobState.SUCCEEDED
    assert [event.params for event in seen] == [{"lr": 0.1}, {"opt/name": "adam"}]
