"""Task plugins: what they change of a job, what stays as it was, and when they hear of its end."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import os
import threading
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from runbus import (
    Command,
    Config,
    Experiment,
    Job,
    Kernel,
    LocalExecutor,
    Partial,
    Plugin,
    Script,
    Secret,
    api,
)
from runbus.errors import FieldInvalid, HookError, PluginStuck, UsageError
from runbus.events import JobDraft, JobEnded, JobTransform, Resources
from runbus.experiment import ExperimentDraft
from runbus.plugins import JobOptions, TaskPlugin

PRINTS = ("sh", "-c", 'echo "$GREETING $*"', "sh")


class Greets(TaskPlugin):
    """Says something to a job."""

    def __init__(self, greeting: str = "hello") -> None:
        self.greeting = greeting
        self.records: list[JobEnded] = []
        self.ids: list[str | None] = []

    def setup(self, task: Any, executor: JobOptions) -> None:
        self.ids.append(self.experiment_id)
        executor.env_vars["GREETING"] = self.greeting
        task.argv.append("there")

    def cleanup(self, record: JobEnded) -> None:
        self.records.append(record)


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that other processes can import."""
    name = f"tasks_of_{os.path.basename(tmp_path)}"
    (tmp_path / f"{name}.py").write_text(
        "import dataclasses\n@dataclasses.dataclass\nclass Model:\n    width: int = 8\n"
        "def train(lr: float = 0.1, model: Model = Model()) -> list[float]:\n"
        "    print(lr, model.width)\n    return [lr, model.width]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module(name).train


def written(experiment: ExperimentDraft) -> list[str]:
    return [(Path(spec.folder) / "stdout.log").read_text() for spec in experiment.specs]


def test_what_a_plugin_changes_of_a_job_is_what_runs_and_the_job_stays_as_it_was() -> None:
    plugin = Greets()
    task = Command(PRINTS)
    job = Job(name="a", task=task, plugins=(plugin,), env={"X": "1"})
    experiment = ExperimentDraft("p", [job])

    async def main() -> None:
        async with Kernel(plugins=[LocalExecutor()]) as kernel:
            await experiment.run(kernel.bus)

    api.portal().call(main)
    assert written(experiment) == ["hello there\n"]
    assert (task.argv, job.env) == (PRINTS, {"X": "1"})
    assert plugin.ids == [experiment.id]
    assert [(one.job, one.state) for one in plugin.records] == [("a", "SUCCEEDED")]


async def test_a_plugin_of_a_kernel_changes_every_job_before_each_attempt() -> None:
    plugin = Greets("hi")
    jobs = [Job(name=name, task=Command((*PRINTS, name))) for name in "ab"]
    experiment = ExperimentDraft("p", jobs)
    async with Kernel(plugins=[LocalExecutor(), plugin]) as kernel:
        await experiment.run(kernel.bus)
    assert written(experiment) == ["hi a there\n", "hi b there\n"]
    assert [spec.argv for spec in experiment.specs] == [(*PRINTS, "a"), (*PRINTS, "b")]
    assert {*plugin.ids} == {experiment.id}
    assert sorted(one.job for one in plugin.records) == ["a", "b"]


async def test_a_handler_of_the_event_changes_a_job_and_cannot_give_it_another_run() -> None:
    def change(event: JobTransform) -> JobDraft:
        env = (("RUNBUS_RUN", "/elsewhere"), ("GREETING", "hey"))
        return msgspec.structs.replace(event.value, env=env)

    experiment = ExperimentDraft(
        "p", [Job(name="a", task=Command(("sh", "-c", "echo $GREETING $RUNBUS_RUN")))]
    )
    changes = Plugin("changes").on(JobTransform, change)
    async with Kernel(plugins=[LocalExecutor(), changes]) as kernel:
        await experiment.run(kernel.bus)
    assert written(experiment) == [f"hey {experiment.specs[0].run_folder}\n"]


@pytest.mark.parametrize(
    "change",
    [{"argv": ()}, {"argv": (3,)}, {"env": (("A", 1),)}, {"resources": 3}],
    ids=["no program", "a number", "an env of numbers", "resources"],
)
async def test_a_draft_that_cannot_be_run_fails_its_job_and_no_other(change: Any) -> None:
    def spoil(event: JobTransform) -> JobDraft:
        return msgspec.structs.replace(event.value, **change) if event.job == "a" else event.value

    jobs = [Job(name=name, task=Command(("true",))) for name in "ab"]
    experiment = ExperimentDraft("p", jobs)
    spoils = Plugin("spoils").on(JobTransform, spoil)
    async with Kernel(plugins=[LocalExecutor(), spoils]) as kernel:
        records = await experiment.run(kernel.bus)
    assert [record.state.value for record in records] == ["FAILED", "SUCCEEDED"]
    assert "as a plugin made it" in records[0].reason


def test_a_function_gets_other_values_and_its_run_records_them(train: Any) -> None:
    class Faster(TaskPlugin):
        def setup(self, task: Any, executor: JobOptions) -> None:
            task.model.width *= 2
            task.lr = 0.5

    function = Partial(train, lr=0.1)
    run = api.run(function, plugins=[Faster()])
    assert run.state == "SUCCEEDED"
    assert run.config["lr"] == 0.5
    assert run.config["model"]["width"] == 16
    assert run.result == [0.5, 16]
    assert function.lr == 0.1
    assert function.model.width == 8


async def test_a_plugin_of_a_kernel_sees_functions_as_functions(train: Any) -> None:
    class Faster(TaskPlugin):
        def setup(self, task: Any, executor: JobOptions) -> None:
            assert isinstance(task, Partial)
            task.model.width = 3

    experiment = ExperimentDraft("p", [Job(name="a", task=Partial(train))])
    async with Kernel(plugins=[LocalExecutor(), Faster()]) as kernel:
        (record,) = await experiment.run(kernel.bus)
    assert record.state.value == "SUCCEEDED", record.reason
    assert written(experiment) == ["0.1 3\n"]


def test_a_script_gets_other_arguments_and_variables(tmp_path: Path) -> None:
    class Changes(TaskPlugin):
        def setup(self, task: Any, executor: JobOptions) -> None:
            task.args.append("--debug")
            task.env["A"] = "2"
            del task.env["B"]
            executor.cwd = str(tmp_path)

    script = Script(inline='echo "$* $A ${B-none} $PWD"', args=("x",), env={"A": "1", "B": "1"})
    experiment = ExperimentDraft("p", [Job(name="a", task=script, plugins=(Changes(),))])

    async def main() -> None:
        async with Kernel(plugins=[LocalExecutor()]) as kernel:
            await experiment.run(kernel.bus)

    api.portal().call(main)
    assert written(experiment) == [f"x --debug 2 none {tmp_path}\n"]
    assert script.env == {"A": "1", "B": "1"}


def test_a_dry_run_shows_what_plugins_change_and_writes_nothing(tmp_path: Path) -> None:
    plugin = Greets()
    job = Job(name="a", task=Command(PRINTS), plugins=(plugin,))
    experiment = ExperimentDraft("p", [job], home=tmp_path / "home")
    (request,) = api.plan(experiment)
    assert "GREETING=hello" in request.render().replace("'", "")
    assert "there" in request.render()
    assert plugin.ids == ["EXPERIMENT"]
    assert not (tmp_path / "home").exists()
    (request,) = experiment.plan({"local": LocalExecutor()}, plugins=[Greets("hi")])
    assert "GREETING=hi" in request.render().replace("'", "")


@pytest.mark.parametrize("kind", ["raises", "exits", "hangs", "unfit", "no task"])
def test_a_broken_plugin_stops_the_job_before_anything_is_made(kind: str, tmp_path: Path) -> None:
    class Broken(TaskPlugin):
        call_s: ClassVar[float] = 0.05 if kind == "hangs" else 30

        def setup(self, task: Any, executor: JobOptions) -> Any:
            match kind:
                case "raises":
                    raise ValueError("no")
                case "exits":
                    raise SystemExit(3)
                case "hangs":
                    released.wait(120)
                case "unfit":
                    executor.env_vars["A"] = 3  # type: ignore[assignment]
                case "no task":
                    return 3

    released = threading.Event()
    home = tmp_path / "home"
    experiment = ExperimentDraft(
        "p", [Job(name="a", task=Command(("true",)), plugins=(Broken(),))], home=home
    )
    with pytest.raises(PluginStuck if kind == "hangs" else HookError, match="broken"):
        api.prepare(experiment)
    released.set()
    assert not [*home.glob("experiments/*/*")]
    assert experiment.id == ""


def test_resources_that_are_changed_in_place_are_refused_with_what_to_write() -> None:
    class Yields(TaskPlugin):
        def setup(self, task: Any, executor: JobOptions) -> None:
            if task.argv == ["wrong"]:
                executor.resources.nice = 5  # type: ignore[misc]
            executor.resources = msgspec.structs.replace(executor.resources, nice=5)

    def planned(word: str) -> Any:
        job = Job(name="a", task=Command((word,)), plugins=(Yields(),))
        return ExperimentDraft("p", [job]).plan({"local": LocalExecutor()})

    with pytest.raises(HookError, match=r"executor\.resources = msgspec\.structs\.replace"):
        planned("wrong")
    assert "nice" in planned("true")[0].render()


async def test_a_broken_plugin_of_a_kernel_fails_the_job_with_its_reason() -> None:
    class Broken(TaskPlugin):
        def setup(self, task: Any, executor: JobOptions) -> None:
            raise ValueError("no room")

    experiment = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))])
    async with Kernel(plugins=[LocalExecutor(), Broken()]) as kernel:
        (record,) = await experiment.run(kernel.bus)
    assert record.state.value == "FAILED"
    assert "plugin 'broken': setup raised ValueError: no room" in record.reason


def test_a_cleanup_that_raises_or_hangs_harms_no_job() -> None:
    class Rude(Greets):
        call_s: ClassVar[float] = 5  # also for what does not hang

        def cleanup(self, record: JobEnded) -> None:
            super().cleanup(record)
            if record.job == "a":
                raise SystemExit(3)
            released.wait(120)

    released = threading.Event()
    plugin = Rude()
    run = api.run(Command(PRINTS), plugins=[plugin])
    assert run.state == "SUCCEEDED"
    assert len(plugin.records) == 1
    released.set()


def test_a_data_class_may_be_a_plugin_and_what_is_none_is_refused() -> None:
    @dataclasses.dataclass(kw_only=True)
    class Nodes(TaskPlugin):
        variable: str = "A"

        def setup(self, task: Any, executor: JobOptions) -> None:
            executor.env_vars[self.variable] = "1"
            executor.resources = Resources(nice=3)
            with pytest.raises(AttributeError):
                executor.nodes = 3  # type: ignore[attr-defined]
            with pytest.raises(AttributeError, match="argv"):
                task.argx = 3

    assert Nodes().name == "nodes"
    run = api.run(Command(("sh", "-c", "test $A = 1")), plugins=[Nodes()])
    assert run.state == "SUCCEEDED"
    for wrong in (3, "nodes", Nodes, Plugin("x")):
        with pytest.raises(FieldInvalid):
            Job(name="a", task=Command(("true",)), plugins=(wrong,))


class Meets(TaskPlugin):
    """Sets two jobs up at a time, and tells each job which experiment it is of."""

    def __init__(self) -> None:
        self.both = threading.Barrier(2, timeout=120)
        self.ends: dict[str, str | None] = {}

    def setup(self, task: Any, executor: JobOptions) -> None:
        self.both.wait()
        task.argv[:] = ["echo", self.experiment_id]
        self.both.wait()

    def cleanup(self, record: JobEnded) -> None:
        self.both.wait()
        self.ends[record.experiment_id] = self.experiment_id
        self.both.wait()


@pytest.mark.parametrize("of_kernel", [True, False], ids=["of kernels", "of jobs"])
async def test_one_value_knows_the_experiment_of_each_job_that_it_changes(of_kernel: bool) -> None:
    plugin = Meets()
    of_job = () if of_kernel else (plugin,)
    drafts = [
        ExperimentDraft(name, [Job(name="a", task=Command(("true",)), plugins=of_job)])
        for name in ("one", "two")
    ]

    async def lead(draft: ExperimentDraft) -> None:
        plugins = [LocalExecutor(), plugin] if of_kernel else [LocalExecutor()]
        async with Kernel(plugins=plugins) as kernel:
            await draft.run(kernel.bus)

    async with asyncio.TaskGroup() as group:
        for draft in drafts:
            group.create_task(lead(draft))
    assert [written(draft) for draft in drafts] == [[f"{draft.id}\n"] for draft in drafts]
    assert plugin.ends == {draft.id: draft.id for draft in drafts}
    assert plugin.experiment_id is None


def test_a_plugin_that_takes_note_of_the_experiment_by_itself_has_it() -> None:
    class Notes(Greets):
        def assign(self, experiment_id: str) -> None:
            self.experiment_id = self.noted = experiment_id

    plugin = Notes()
    run = api.run(Command(PRINTS), plugins=[plugin])
    assert plugin.ids == [plugin.noted] == [os.path.basename(run.experiment_folder)]


@dataclasses.dataclass
class Numbers(TaskPlugin):
    """Adds a word to each job, and counts the ends of all jobs."""

    word: str = "one"
    token: Secret | str = ""
    ended: ClassVar[list[str]] = []

    def setup(self, task: Any, executor: JobOptions) -> None:
        task.argv.append(self.word)

    def cleanup(self, record: JobEnded) -> None:
        self.ended.append(record.job)


@pytest.mark.parametrize(
    "given",
    [
        lambda: Numbers("two"),
        lambda: Config(Numbers, word="two"),
        lambda: Numbers("two", token=Secret("env:TOKEN")),
    ],
    ids=["a value", "a Config", "a value with a secret"],
)
def test_what_is_added_to_a_found_experiment_is_changed_as_all_its_jobs(given: Any) -> None:
    first = Experiment("words", plugins=[given()])
    first.add(Command(("echo",)), name="a")
    first.run()
    Numbers.ended.clear()
    for name in "bc":
        found = Experiment.from_id(first.id)
        found.add(Command(("echo",)), name=name)
        found.run()
        assert found.logs(name) == "two\n"
    assert Numbers.ended == ["b", "c"]  # of this process, and each once
    again = api.rerun(first.id)
    again.prepare()
    last = Experiment.from_id(again.id)
    last.add(Command(("echo",)), name="d")
    last.run()
    assert [last.logs(name) for name in "abd"] == ["two\n"] * 3


@pytest.mark.parametrize(
    ("plugin", "why"),
    [
        (Greets("hi"), "its class has an __init__ and is no data class"),
        (Numbers("two", token="hf_0123456789abcdefghij"), "with the value of a secret"),
    ],
    ids=["no data", "a secret"],
)
def test_a_plugin_that_cannot_be_made_again_is_not_left_out_in_silence(
    plugin: Any, why: str
) -> None:
    first = Experiment("words", plugins=[plugin])
    first.add(Command(("echo",)), name="a")
    first.run()
    assert "hf_" not in (Path(first.folder) / "experiment.json").read_text()
    found = Experiment.from_id(first.id)
    with pytest.raises(UsageError, match=f"cannot be made again, as .*{why}"):
        found.add(Command(("echo",)), name="b")
    found.add(Command(("echo",)), name="b", plugins=[plugin])
    found.run()
    assert found.logs("b") == found.logs("a")


def test_a_plugin_that_got_something_after_it_was_made_is_not_made_again_without_it() -> None:
    plugin = Numbers("two")
    plugin.more = 3  # type: ignore[attr-defined]
    first = Experiment("words", plugins=[plugin])
    first.add(Command(("echo",)), name="a")
    first.run()
    with pytest.raises(UsageError, match="it was given 'more' after it was made"):
        Experiment.from_id(first.id).add(Command(("echo",)))
