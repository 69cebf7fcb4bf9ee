"""A kernel in an application of one's own: what its plugins see of a job, in which order."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from runbus import Command, Job, Kernel, LocalExecutor, Plugin, api, open_run, sweep
from runbus._home import Home
from runbus.api import run
from runbus.errors import ExperimentNotFound, NoExecutor, TaskInvalid, UsageError
from runbus.events import (
    Bootstrap,
    Event,
    Image,
    ImageTransform,
    JobEnded,
    JobFact,
    JobStarted,
    LogLines,
    MetricBatch,
    MetricWindows,
    RunFinished,
    RunStarted,
    TaskStart,
)
from runbus.experiment import ExperimentDraft
from runbus.jobs import JobState

TRAINER = """
import runbus
run = runbus.init()
for step in range(1000):
    run.log({"loss": 1 / (step + 1), "acc": 0.5}, step=step)
    print(step)
"""


@pytest.fixture(autouse=True)
def _without_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no machine be sampled: a job that lasts a second would have more points."""
    monkeypatch.setenv("RUNBUS_SYSTEM", "0")


def recorder(seen: list[Event]) -> Plugin:
    async def note(event: Event) -> None:
        seen.append(event)

    plugin = Plugin("recorder")
    for fact in (JobFact, RunStarted, RunFinished):
        plugin = plugin.on(fact, note)
    for stream in (LogLines, MetricBatch):
        plugin = plugin.stream(stream, note, maxsize=10_000, overflow="block")
    return plugin


async def test_everything_a_job_writes_is_on_the_bus_before_its_end() -> None:
    seen: list[Event] = []
    job = Job(name="train", task=Command((sys.executable, "-u", "-c", TRAINER)))

    async with Kernel(plugins=[LocalExecutor(), recorder(seen)]) as kernel:
        (record,) = await ExperimentDraft("p", [job]).run(kernel.bus)

    assert record.state is JobState.SUCCEEDED
    lines = b"".join(event.data for event in seen if isinstance(event, LogLines))
    assert lines == b"".join(b"%d\n" % step for step in range(1000))
    points = [p for event in seen if isinstance(event, MetricBatch) for p in event.points()]
    losses = [(step, value) for name, step, _, value in points if name == "loss"]
    assert losses == [(step, 1 / (step + 1)) for step in range(1000)]
    assert len(points) == 2000
    names = [
        type(event).__name__ for event in seen if not isinstance(event, LogLines | MetricBatch)
    ]
    assert names == [
        "JobIntended",
        "JobSubmitted",
        "JobStarted",
        "RunStarted",
        "RunFinished",
        "JobEnded",
    ]


async def test_windows_are_made_for_those_who_read_them_and_are_over_before_the_job() -> None:
    seen: list[Event] = []

    async def note(event: Event) -> None:
        seen.append(event)

    plugin = Plugin("windows").stream(MetricWindows, note, overflow="block").on(JobEnded, note)
    job = Job(name="train", task=Command((sys.executable, "-c", TRAINER)))

    async with Kernel(plugins=[LocalExecutor(), plugin]) as kernel:
        assert kernel.bus.has_readers(MetricWindows)
        assert not kernel.bus.has_readers(MetricBatch)
        await ExperimentDraft("p", [job]).run(kernel.bus)
        points = kernel.bus.wait_for(MetricBatch)
        assert kernel.bus.has_readers(MetricBatch)
        del points

    *windows, ended = seen
    assert isinstance(ended, JobEnded)
    rows = [row for event in windows if isinstance(event, MetricWindows) for row in event.windows()]
    assert {row.width_ns for row in rows} == {10**9}
    for name in ("loss", "acc"):
        own = [row for row in rows if row.name == name]
        assert sum(row.points for row in own) == 1000
        assert (own[0].first_step, own[-1].last_step) == (0, 999)
    assert all(row.steps_per_s > 0 for row in rows if row.last_ns > row.first_ns)
    assert sum(row.points_per_s for row in rows) == 2000


async def test_plugins_shape_the_job_before_it_is_submitted() -> None:
    entered: list[str] = []

    @asynccontextmanager
    async def around(event: TaskStart) -> AsyncIterator[None]:
        entered.append(f"enter {event.job}")
        yield
        entered.append(f"exit {event.job}")

    def image(event: ImageTransform) -> Image:
        return Image(env={**event.value.env, "FROM_PLUGIN": "yes"})

    plugin = (
        Plugin("shaper")
        .on(ImageTransform, image)
        .on(Bootstrap, lambda event: [f"BOOTED={event.job}", "export BOOTED"])
        .on(TaskStart, around)
    )
    job = Job(name="j", task=Command(("sh", "-c", 'test "$FROM_PLUGIN,$BOOTED" = yes,j')))

    async with Kernel(plugins=[LocalExecutor(), plugin]) as kernel:
        (record,) = await ExperimentDraft("p", [job]).run(kernel.bus)

    assert record.state is JobState.SUCCEEDED
    assert entered == ["enter j", "exit j"]


async def test_a_plugin_that_fails_to_shape_a_job_fails_that_job_with_its_name() -> None:
    def fails(event: ImageTransform) -> Image:
        raise ValueError("no such image")

    plugin = Plugin("broken").on(ImageTransform, fails)
    async with Kernel(plugins=[LocalExecutor(), plugin]) as kernel:
        (record,) = await ExperimentDraft("p", [Job(name="j", task=Command(("true",)))]).run(
            kernel.bus
        )

    assert record.state is JobState.FAILED
    assert "broken" in record.reason


async def test_an_executor_that_nobody_brings_is_named() -> None:
    async with Kernel() as kernel:
        with pytest.raises(NoExecutor, match="named 'local'") as none:
            await ExperimentDraft("p", [Job(name="j", task=Command(("true",)))]).run(kernel.bus)
    assert "LocalExecutor()" in none.value.hint

    async with Kernel(plugins=[LocalExecutor()]) as kernel:
        job = Job(name="j", task=Command(("true",)), executor="loacl")
        with pytest.raises(NoExecutor, match="named 'loacl'") as other:
            await ExperimentDraft("p", [job]).run(kernel.bus)
    assert other.value.hint == "those that bring executors are local"


def a_job(task: Any) -> Job:
    return Job(name="j", task=task)


@pytest.mark.parametrize(
    ("task", "uses"),
    [
        ("train.py", (run, sweep, a_job)),
        (["echo", "hi"], (run, sweep, a_job)),
        (Command, (run, sweep, a_job)),
        (print, (sweep, a_job)),  # a function is what `run` takes, too
    ],
)
def test_what_is_no_task_is_refused(task: Any, uses: tuple[Callable[[Any], Any], ...]) -> None:
    for use in uses:
        with pytest.raises(TaskInvalid, match="it is not a task: it "):
            use(task)


def test_a_batch_is_named_as_the_command_line_names_it() -> None:
    experiment = ExperimentDraft("seeds", [Job(name="fails", task=Command(("false",)))])
    anyio.run(api.submit, experiment)

    for name in ("seeds", "latest", os.path.basename(experiment.folder), experiment.folder):
        assert [one.record.name for one in api.status(name)] == ["fails"]
        assert api.retry(name).project == "seeds"
    with pytest.raises(ExperimentNotFound):
        api.status("sedes")


def test_the_refusal_of_what_is_no_task_says_what_to_write() -> None:
    async def given() -> None: ...

    for task, kind, hint in (
        ("train.py", "it is a str", "write Script('train.py')"),
        (given(), "it is a coroutine", "anyio.run(experiment.run)"),
        (Command, "it is a class", "Partial(function)"),
    ):
        with pytest.raises(TaskInvalid, match=f"{kind}\n") as refused:
            run(task)  # type: ignore[arg-type]
        assert hint in refused.value.hint


@pytest.mark.parametrize("argv", ["echo hi", (), ("echo", 3)])
def test_a_command_is_words_and_not_a_text(argv: Any) -> None:
    with pytest.raises(TaskInvalid, match="cannot run Command"):
        Command(argv)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"env": {"SEED": 1}}, r"env\['SEED'\]: expected text, a Secret or an Output, got int"),
        ({"retry": {"retries": 2}}, "retry is .*: expected RetryPolicy, got dict"),
        ({"timeouts": 60}, "timeouts is 60: expected Timeouts, got int"),
    ],
)
def test_what_a_job_would_silently_ignore_is_refused(fields: Any, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        Job(name="j", task=Command(("true",)), **fields)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"name": "\udcff"}, "its name"),
        ({"task": Command(("echo", "\udcff"))}, r"'\\udcff'"),
        ({"env": {"HIDDEN": "\udcff-secret"}}, "the variable 'HIDDEN'"),
    ],
)
def test_what_is_not_valid_unicode_is_refused(fields: Any, what: str) -> None:
    job = Job(**{"name": "j", "task": Command(("true",)), **fields})

    with pytest.raises(UsageError, match=f"{what} is not valid Unicode") as caught:
        ExperimentDraft("p", [job])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("project", "root", "what"),
    [("p\udcff", None, "the project"), ("p", "/tmp/\udcff", "the root folder")],
)
def test_a_project_that_is_not_valid_unicode_is_refused(
    project: str, root: str | None, what: str
) -> None:
    with pytest.raises(UsageError, match=f"{what} is not valid Unicode"):
        ExperimentDraft(project, [Job(name="j", task=Command(("true",)))], root=root)


async def test_an_executor_that_nobody_brings_is_named_before_anything_is_made() -> None:
    experiment = ExperimentDraft("p", [Job(name="j", task=Command(("true",)), executor="locl")])

    with pytest.raises(NoExecutor, match="'locl'") as caught:
        await api.submit(experiment)
    assert caught.value.hint == "did you mean 'local'"
    assert not list(Home().experiment_folders())


async def test_a_bootstrap_line_that_fails_fails_the_job() -> None:
    plugin = Plugin("b").on(Bootstrap, lambda event: ["exit 9"])
    async with Kernel(plugins=[LocalExecutor(), plugin]) as kernel:
        (record,) = await ExperimentDraft("p", [Job(name="j", task=Command(("true",)))]).run(
            kernel.bus
        )

    assert (record.state, record.exit_code) == (JobState.FAILED, 9)


async def test_cancelling_an_experiment_ends_its_jobs_first() -> None:
    jobs = [Job(name=f"j{index}", task=Command(("sleep", "600"))) for index in range(3)]
    experiment = ExperimentDraft("p", jobs, max_parallel=2)
    ended: list[str] = []

    def note(event: JobEnded) -> None:
        ended.append(event.state)

    async with Kernel(plugins=[LocalExecutor(), Plugin("e").on(JobEnded, note)]) as kernel:
        started = kernel.bus.wait_for(JobStarted)
        running = asyncio.create_task(experiment.run(kernel.bus))
        await started
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    assert ended == ["CANCELLED"] * 3
    assert {open_run(spec.run_id).state for spec in experiment.specs} == {JobState.CANCELLED}
