"""Experiments as scripts, notebooks and async applications write them."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

import runbus
from runbus import (
    AsyncExperiment,
    Command,
    Config,
    Dependency,
    Experiment,
    Job,
    Kernel,
    LocalExecutor,
    LocalTunnel,
    Partial,
    Plugin,
    RetryPolicy,
    SSHExecutor,
    Timeouts,
)
from runbus.abc import Contents, Entry, Packager, Scope
from runbus.api import portal
from runbus.errors import (
    ConfigInvalid,
    ExperimentFailed,
    ExperimentNotFound,
    FieldInvalid,
    JobNotFound,
    TaskInvalid,
    UsageError,
    WouldDeadlock,
)
from runbus.events import JobEnded, JobStarted
from runbus.experiment import ExperimentDraft
from runbus.jobs import Asked, CancelRequest, JobStore, ask_to_cancel

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def sh(line: str) -> Command:
    return Command(("sh", "-c", line))


TRUE = Command(("true",))

TEN_LINES = """
from runbus import Experiment

def prepare(seed: int) -> int:
    return seed * 2

def train(width: int, after: int = 0) -> dict:
    return {"width": width}

if __name__ == "__main__":
    with Experiment("digits") as experiment:
        data = experiment.add(prepare, seed=21)
        small = experiment.add(train, width=512, dependencies=[data], name="small")
        experiment.add(train, width=1024, dependencies=[data, small], name="large")
        experiment.run(tail_logs=True)
    print(experiment.results)
"""


def script(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "ten_lines.py").write_text(text)
    return subprocess.run(
        [sys.executable, "ten_lines.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_the_ten_lines_of_a_script_run(tmp_path: Path) -> None:
    done = script(tmp_path, TEN_LINES)
    assert done.returncode == 0, done.stderr
    results = {"prepare": 42, "small": {"width": 512}, "large": {"width": 1024}}
    assert done.stdout == f"{results}\n"


def test_a_script_that_runs_its_experiment_while_it_is_imported_starts_no_further_one(
    tmp_path: Path, home: Path
) -> None:
    done = script(tmp_path, TEN_LINES.replace('if __name__ == "__main__":', "if True:"))
    assert done.returncode == 1
    assert 'under if __name__ == "__main__":' in done.stderr
    assert len(list((home / "experiments" / "digits").iterdir())) == 1


def test_a_job_that_fails_makes_the_script_fail_and_is_told_at_once(tmp_path: Path) -> None:
    text = """
from runbus import Command, Experiment
experiment = Experiment("breaks")
bad = experiment.add(Command(("sh", "-c", "echo no space >&2; exit 3")), name="bad")
experiment.add(Command(("true",)), name="after", dependencies=[bad])
experiment.run()
"""
    done = script(tmp_path, text)
    assert done.returncode == 1
    at_once, raised = done.stderr.split("Traceback (most recent call last):")
    for told in (at_once, raised):
        assert "job 'bad' FAILED: exit code 3\n    | no space\n    /" in told
    assert "job 'after' SKIPPED: it needs job 'bad' to succeed" in raised
    assert "hint: runbus why " in raised


def test_the_error_has_every_failure_and_survives_a_pickle() -> None:
    experiment = Experiment("fails")
    experiment.add(sh("echo first; exit 1"), name="a")
    experiment.add(sh("echo out; echo err >&2; kill -9 $$"), name="b")
    experiment.add(TRUE, name="c")
    with pytest.raises(ExperimentFailed) as caught:
        experiment.run(max_parallel=3)
    error = pickle.loads(pickle.dumps(caught.value))
    assert error == caught.value
    assert (error.experiment, error.jobs, error.folder) == (experiment.id, 3, experiment.folder)
    first, second = error.failures
    assert (first.job, first.state, first.reason, first.said) == (
        "a", "FAILED", "exit code 1", ("first",),
    )  # fmt: skip
    assert second.said == ("err",)
    assert Path(first.log).read_text() == "first\n"
    assert Path(second.log).read_text() == "err\n"
    assert [str(one.record.state) for one in experiment.status()] == [
        "FAILED", "FAILED", "SUCCEEDED",
    ]  # fmt: skip
    assert experiment.logs("b") == "out\nerr\n"
    assert experiment.logs("b", source="stderr") == "err\n"


def test_nothing_is_on_disk_before_it_runs(home: Path) -> None:
    experiment = Experiment("dry", executor="local")
    experiment.add(TRUE, name="a")
    (request,) = experiment.dryrun()
    assert request.job.name == "a"
    assert (experiment.id, experiment.folder, [*experiment.status()]) == ("", "", [])
    assert experiment.results == {}
    assert not home.exists()
    with pytest.raises(UsageError, match="has not been run yet"):
        experiment.wait()


def test_names_are_made_free_and_given_ones_must_be() -> None:
    experiment = Experiment("names")
    assert [str(experiment.add(TRUE)) for _ in range(3)] == ["true", "true-2", "true-3"]
    with pytest.raises(UsageError, match="two jobs are named 'true'"):
        experiment.add(TRUE, name="true")
    with pytest.raises(UsageError, match="that means the newest"):
        experiment.add(TRUE, name="latest")
    assert list(experiment.jobs) == ["true", "true-2", "true-3"]


def test_what_is_unknown_is_refused_when_it_is_added() -> None:
    experiment, other = Experiment("a"), Experiment("b")
    first = experiment.add(TRUE, name="first")
    with pytest.raises(UsageError, match="there is no job 'frist'; did you mean 'first'"):
        experiment.add(TRUE, dependencies=["frist"])
    with pytest.raises(UsageError, match="there is no job 'second'"):
        experiment.add(TRUE, name="second", dependencies=["second"])
    with pytest.raises(UsageError, match="is of another experiment"):
        other.add(TRUE, dependencies=[first])
    with pytest.raises(TaskInvalid, match="only a function takes values"):
        experiment.add(TRUE, width=3)
    with pytest.raises(FieldInvalid, match="expected whole seconds, or a text"):
        experiment.add(TRUE, timeout="soon")
    with pytest.raises(FieldInvalid, match="expected a name, an executor"):
        experiment.add(TRUE, executor=object())  # type: ignore[arg-type]
    ring = [Job(name=one, task=TRUE, depends_on=[other]) for one, other in ("xy", "yx")]
    with pytest.raises(UsageError, match="in a circle"):
        Experiment("c", ring)
    assert list(experiment.jobs) == ["first"]
    with pytest.raises(JobNotFound):
        experiment.logs("second")


def test_an_unknown_executor_is_refused_before_anything_runs(home: Path) -> None:
    experiment = Experiment("where")
    with pytest.raises(ConfigInvalid, match="nowhere"):
        experiment.add(TRUE, executor="nowhere")
    later = AsyncExperiment("where")  # a plugin of the kernel may bring it
    later.add(TRUE, executor="nowhere")
    with pytest.raises(ConfigInvalid, match="nowhere"):
        anyio.run(later.run)
    assert not (home / "experiments").exists()


def test_arguments_become_fields_of_the_job() -> None:
    experiment = Experiment("fields", executors={"box": {"type": "local", "timeout": "7m"}})
    policy = RetryPolicy(retries=3, on=("oom",))
    experiment.add(TRUE, name="a", timeout="5m", retries=2)
    experiment.add(TRUE, name="b", timeout=Timeouts(idle_s=9), retries=policy, executor="box")
    experiment.add(
        TRUE, name="c", dependencies=[Dependency(job="a", when="afternotok"), "b"], timeout=60
    )
    a, b, c = (request.job for request in experiment.dryrun())
    assert (a.timeouts, a.retry) == (Timeouts(run_s=300), RetryPolicy(retries=2))
    assert (b.timeouts, b.retry) == (Timeouts(run_s=420, idle_s=9), policy)
    assert (a.executor, b.executor) == ("local", "box")
    assert [(one.job, one.when) for one in c.depends_on] == [("a", "afternotok"), ("b", "afterok")]


def test_executors_are_taken_in_every_form() -> None:
    experiment = Experiment("forms")
    mine = LocalExecutor("mine")
    experiment.add(TRUE, name="config", executor=Config(LocalExecutor, gpus=[]))
    experiment.add(TRUE, name="data", executor={"type": "local", "gpus": []})
    experiment.add(TRUE, name="value", executor=mine)
    experiment.add(TRUE, name="again", executor=mine)
    records = experiment.run(max_parallel=4)
    assert [one.state for one in records] == ["SUCCEEDED"] * 4
    config, data, value, again = (one.executor for one in records)
    assert config == data
    assert value == again == "mine"
    assert Asked.read(experiment.folder).executors["mine"] == {"type": "local"}


def test_a_list_is_a_group_that_is_waited_for_as_one() -> None:
    experiment = Experiment("groups")
    group = experiment.add([TRUE, sh("exit 0")], name="pair")
    experiment.add(TRUE, name="after", dependencies=[group])
    experiment.add(TRUE, name="named", dependencies=["pair"])
    assert group.jobs == ("pair-1", "pair-2")
    first, second, after, named = (request.job for request in experiment.dryrun())
    assert (first.group, second.group, after.group) == ("pair", "pair", "")
    for one in (after, named):
        assert [each.job for each in one.depends_on] == ["pair-1", "pair-2"]
    assert len(experiment.run()) == 4
    with pytest.raises(UsageError, match="none has another attempt"):
        experiment.add([TRUE, TRUE], retries=1)
    with pytest.raises(UsageError, match="two jobs are named 'same'"):
        experiment.add([Job(name="same", task=TRUE), Job(name="same", task=TRUE)])
    with pytest.raises(FieldInvalid, match="at least one"):
        experiment.add([])


def test_what_is_added_after_a_run_is_for_the_next_one(tmp_path: Path) -> None:
    experiment = Experiment("goes-on")
    first = experiment.add(sh(f"echo first >> {tmp_path}/log"), name="first")
    experiment.run()
    folder = experiment.folder
    experiment.add(sh(f"echo second >> {tmp_path}/log"), name="second", dependencies=[first])
    assert [one.name for one in experiment.run()] == ["first", "second"]
    assert [one.name for one in experiment.run()] == ["first", "second"]
    assert (tmp_path / "log").read_text() == "first\nsecond\n"
    assert experiment.folder == folder
    assert first.experiment_id == experiment.id


def test_a_thread_adds_jobs_while_others_run(tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    experiment = Experiment("live", max_parallel=2)
    first = experiment.add(sh(f"cat {go}"), name="first")

    def add() -> None:
        experiment.add(TRUE, name="beside", executor={"type": "local", "gpus": []})
        experiment.add(sh("echo child"), name="child", dependencies=[first])
        with go.open("w") as file:  # waits until the first job reads
            file.write("on")

    thread = threading.Thread(target=add)
    thread.start()
    records = experiment.run()
    thread.join(120)
    assert [(one.name, str(one.state)) for one in records] == [
        ("first", "SUCCEEDED"), ("beside", "SUCCEEDED"), ("child", "SUCCEEDED"),
    ]  # fmt: skip
    again = Experiment.from_id(experiment.id)
    assert [one.record.name for one in again.status()] == ["first", "beside", "child"]


class SetUp(LocalExecutor):
    """Calls a test back while the executors are made."""

    back: ClassVar[Callable[[], object]]

    async def setup(self, scope: Scope) -> None:
        await super().setup(scope)
        type(self).back()


async def test_what_a_thread_adds_while_the_executors_are_made_has_its_own() -> None:
    experiment = AsyncExperiment("begins")
    experiment.add(TRUE, name="first", executor=SetUp(name="first"))

    def adds() -> None:
        experiment.add(TRUE, name="late", executor={"type": "local", "gpus": []})

    SetUp.back = staticmethod(adds)
    records = await experiment.run()
    assert [(one.name, str(one.state)) for one in records] == [
        ("first", "SUCCEEDED"), ("late", "SUCCEEDED"),
    ]  # fmt: skip


class Packs(Packager):
    """Calls a test back while jobs are recorded; packages one file."""

    back: ClassVar[Callable[[], object]]

    def contents(self, root: str, scratch: str) -> Contents:
        del root, scratch
        type(self).back()
        return Contents(entries={b"code": Entry(source=os.fsencode(__file__))})


async def test_what_is_added_just_before_the_first_jobs_begin_does_not_wait_for_their_end(
    tmp_path: Path,
) -> None:
    go = tmp_path / "go"
    experiment = AsyncExperiment("begins")
    packs = LocalExecutor(packager=Packs(), name="packs")
    waits = sh(f"until test -e {go}; do sleep 0.02; done")
    experiment.add(waits, name="first", executor=packs)
    Packs.back = staticmethod(lambda: experiment.add(sh(f"touch {go}"), name="late"))
    records = await experiment.run(max_parallel=2)
    assert [(one.name, str(one.state)) for one in records] == [
        ("first", "SUCCEEDED"), ("late", "SUCCEEDED"),
    ]  # fmt: skip


async def test_a_handler_adds_a_job_when_another_has_ended() -> None:
    experiment = AsyncExperiment("adaptive")
    experiment.add(TRUE, name="0")

    async def ended(event: JobEnded) -> None:
        if int(event.job) < 3:
            experiment.add(TRUE, name=str(int(event.job) + 1), dependencies=[event.job])

    watch = Plugin("watch").on(JobEnded, ended)
    async with Kernel(plugins=[LocalExecutor(), watch]) as kernel:
        records = await experiment.run(kernel=kernel)
    assert [one.name for one in records] == ["0", "1", "2", "3"]


async def test_a_job_that_cannot_be_recorded_ends_no_other(tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    experiment = AsyncExperiment("refuses")
    experiment.add(sh(f"cat {go}"), name="good")

    async def started(event: JobStarted) -> None:
        del event
        experiment.add(TRUE, name="bad", executor="nowhere")
        await anyio.to_thread.run_sync(go.write_text, "on")

    watch = Plugin("watch").on(JobStarted, started)
    async with Kernel(plugins=[LocalExecutor(), watch]) as kernel:
        with pytest.raises(ConfigInvalid, match="nowhere"):
            await experiment.run(kernel=kernel)
    assert [str(one.record.state) for one in experiment.status()] == ["SUCCEEDED"]
    assert list(experiment.jobs) == ["good"]


async def test_cancelling_run_ends_the_jobs(tmp_path: Path) -> None:
    experiment = AsyncExperiment("cancelled")
    experiment.add(sh(f"echo $$ > {tmp_path}/pid; sleep 600"), name="long")
    begun = anyio.Event()
    watch = Plugin("watch").on(JobStarted, lambda _: begun.set())
    async with Kernel(plugins=[LocalExecutor(), watch]) as kernel:
        run = asyncio.create_task(experiment.run(kernel=kernel))
        await begun.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert [str(one.record.state) for one in experiment.status()] == ["CANCELLED"]


def test_cancel_ends_one_job_from_another_thread(tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    experiment = Experiment("one")
    experiment.add(sh(f"echo on > {go}; sleep 600"), name="long")
    experiment.add(TRUE, name="short")
    told: list[bool] = []

    def cancel() -> None:
        go.read_text()
        told.append(experiment.cancel("long", grace_s=0))

    thread = threading.Thread(target=cancel)
    thread.start()
    records = experiment.run(max_parallel=2, check=False)
    thread.join(120)
    assert told == [True]
    assert [str(one.state) for one in records] == ["CANCELLED", "SUCCEEDED"]
    assert experiment.cancel() is False


def test_fail_fast_and_sequential_are_asked_for_when_it_runs(tmp_path: Path) -> None:
    experiment = Experiment("order")
    for name in ("c", "a", "b"):
        experiment.add(sh(f"echo {name} >> {tmp_path}/log; test {name} != a"), name=name)
    with pytest.raises(ExperimentFailed) as caught:
        experiment.run(sequential=True, fail_fast=True)
    assert (tmp_path / "log").read_text() == "c\na\n"
    assert [(one.job, one.state) for one in caught.value.failures] == [
        ("a", "FAILED"), ("b", "CANCELLED"),
    ]  # fmt: skip


def test_an_experiment_is_found_again(tmp_path: Path) -> None:
    first, second = Experiment("again"), Experiment("again")
    for experiment in (first, second):
        experiment.add(sh("echo hello"), name="says")
        experiment.run()
    assert first.id != second.id
    assert Experiment.catalog("again") == [first.id, second.id]
    assert [one.states for one in Experiment.list("again")] == [{"SUCCEEDED": 1}] * 2
    found = Experiment.from_title("again")
    assert (found.id, found.title, found.logs("says")) == (second.id, "again", "hello\n")
    assert str(found.status()).startswith("says  SUCCEEDED")
    assert [str(one.state) for one in found.wait()] == ["SUCCEEDED"]
    assert [run.name for run in found.runs] == ["says"]
    with pytest.raises(ExperimentNotFound, match="agian"):
        Experiment.from_title("agian")
    with pytest.raises(ExperimentNotFound):
        Experiment.from_id("20260101-000000-abcdef")
    with pytest.raises(FieldInvalid, match="expected text"):
        Experiment.from_id(3)  # type: ignore[arg-type]


def test_what_is_detached_is_waited_for() -> None:
    experiment = Experiment("left")
    experiment.add(sh("echo out; exit 4"), name="fails")
    (record,) = experiment.run(detach=True)
    assert not record.state.is_terminal
    with pytest.raises(ExperimentFailed) as caught:
        experiment.wait()
    assert [one.said for one in caught.value.failures] == [("out",)]


async def test_async_code_does_not_wait_in_the_thread_that_runs_it() -> None:
    experiment = Experiment("deadlock")
    experiment.add(TRUE)

    async def inside() -> None:
        with pytest.raises(WouldDeadlock):
            experiment.run()

    await anyio.to_thread.run_sync(portal().call, inside)


@pytest.mark.parametrize("is_stubborn", [False, True])
def test_ctrl_c_ends_the_jobs_of_a_script_and_a_second_one_kills_them(
    is_stubborn: bool, tmp_path: Path
) -> None:
    trap = "trap 'echo no' TERM; " if is_stubborn else ""
    (tmp_path / "long.py").write_text(f"""
from runbus import Command, Experiment
from runbus.supervisor import _supervisor
_supervisor.GRACE_S = 100  # longer than the test waits
experiment = Experiment("long")
line = "{trap}echo begun; while :; do sleep 0.05; done"
experiment.add(Command(("sh", "-c", line)), name="long")
try:
    experiment.run(tail_logs=True)
finally:
    print(experiment.status())
""")
    with subprocess.Popen(
        [sys.executable, "long.py"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert "long | begun\n" in process.stderr
        process.send_signal(signal.SIGINT)
        if is_stubborn:
            assert "long | no\n" in process.stderr
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT, err
    assert out.startswith("long  CANCELLED")


def widths(given: Any) -> Iterator[int]:
    yield from given


def test_a_partial_is_not_changed_by_the_values_that_are_added_to_it() -> None:
    partial = Partial(json.dumps, obj=[1])
    experiment = Experiment("partials")
    experiment.add(partial, name="indented", indent=2)
    experiment.add(partial, name="plain")
    assert partial == Partial(json.dumps, obj=[1])
    given = [json.loads(request.job.given).get("indent") for request in experiment.dryrun()]
    assert given == [2, None]


def test_run_is_one_job_and_its_run() -> None:
    assert runbus.run(json.dumps, obj=[1], name="dumped").result == "[1]"
    record = runbus.run(sh("echo hi"), project="one", name="says", executor={"type": "local"})
    assert (record.name, record.project, record.state) == ("says", "one", "SUCCEEDED")
    with pytest.raises(ExperimentFailed, match=r"did not succeed\njob 'sh' FAILED"):
        runbus.run(sh("exit 3"))
    assert runbus.run(sh("exit 3"), check=False).state == "FAILED"


def test_a_jobs_own_executor_is_not_that_of_the_others() -> None:
    experiment = Experiment("two")
    experiment.add(TRUE, name="usual")
    experiment.add(TRUE, name="own", executor=LocalExecutor(gpus=[]))
    assert [one.executor for one in experiment.run()] == ["local", "local-2"]


def test_an_experiment_that_was_found_again_takes_further_jobs(tmp_path: Path) -> None:
    first = Experiment("joins", max_parallel=3)
    first.add(sh('echo "{\\"n\\": 4}" >"$RUNBUS_RESULT"'), name="old")
    first.add([TRUE, TRUE], name="pair")
    first.run()

    found = Experiment.from_id(first.id)
    old = found.jobs["old"]
    far = SSHExecutor([LocalTunnel(str(tmp_path / "far"))], name="far")
    new = found.add(Command(("echo", old.output("n"))), name="new", dependencies=["pair"])
    found.add(sh("pwd; echo $RUNBUS_ATTEMPT"), name="there", dependencies=[new], executor=far)
    with pytest.raises(UsageError, match="two jobs are named 'old'"):
        found.add(TRUE, name="old")
    records = found.run()
    assert [(one.name, str(one.state)) for one in records] == [
        (name, "SUCCEEDED") for name in ("old", "pair-1", "pair-2", "new", "there")
    ]
    assert found.id == first.id
    assert found.logs("new") == "4\n"
    assert str(tmp_path / "far") in found.logs("there")
    # What the first process finds is the same, and each job has run once.
    again = Experiment.from_id(first.id)
    assert [one.record.run_id for one in again.status()] == [one.run_id for one in records]
    again.add(TRUE, name="last", executor="far")
    assert [one.name for one in again.run()][-1] == "last"


def test_what_is_added_to_a_found_experiment_is_refused_where_it_could_not_begin() -> None:
    first = Experiment("joins", fail_fast=True)
    first.add(sh("exit 1"), name="bad")
    first.run(check=False)
    found = Experiment.from_id(first.id)
    found.add(TRUE, name="more")
    for _ in "ab":  # what was added is kept
        with pytest.raises(UsageError, match="and 'bad' has failed; runbus retry begins anew"):
            found.run()
    assert [one.record.name for one in found.status()] == ["bad"]

    led = Experiment("led")
    led.add(TRUE, name="a")
    led.run()
    found = Experiment.from_id(led.id)
    found.add(TRUE, name="b")
    store = JobStore(led.folder)  # as a process that leads it has
    try:
        with pytest.raises(UsageError, match="is led by another process: add them there"):
            found.run()
    finally:
        store.close()
    ask_to_cancel(led.folder, CancelRequest(None, "by a test", 1))
    with pytest.raises(UsageError, match="is being cancelled"):
        found.run()


def test_a_job_that_was_recorded_and_not_intended_yet_is_begun_by_the_next_leader() -> None:
    first = Experiment("joins")
    first.add(TRUE, name="a")
    first.run()
    draft = ExperimentDraft.open(first.folder)
    draft.extend([Job(name="b", task=sh("echo late"))], {"local": LocalExecutor()}, {})
    # The process dies here. experiment.json has the job, the journal does not.
    records = Experiment.from_id(first.id).run()
    assert [(one.name, str(one.state)) for one in records] == [
        ("a", "SUCCEEDED"), ("b", "SUCCEEDED")
    ]  # fmt: skip


def test_what_is_added_later_has_the_time_outs_of_its_executor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = tmp_path / "runbus.yaml"
    settings.write_text("executors:\n  box: {type: local, timeout: 7m, idle_timeout: 90s}\n")
    first = Experiment("times")
    first.add(TRUE, name="a", executor="box")
    first.add(TRUE, name="b", executor={"type": "local", "queue_timeout": "5m"})
    first.add(TRUE, name="c", executor={"type": "local", "queue_timeout": "6m"})
    first.run()
    settings.unlink()  # the record has them

    found = Experiment.from_id(first.id)
    found.add(TRUE, name="d", executor="box", timeout="1m")
    found.add(TRUE, name="e", executor={"type": "local", "queue_timeout": "6m"})
    found.add(TRUE, name="f", executor={"type": "local", "timeout": "3m"})
    found.run()
    again = runbus.api.rerun(first.id)
    again.prepare()
    last = Experiment.from_id(again.id)
    last.add(TRUE, name="g", executor="box")

    asked = {spec.name: spec for spec in Asked.read(first.folder).jobs}
    assert {name: spec.timeouts for name, spec in asked.items()} == {
        "a": Timeouts(run_s=420, idle_s=90), "b": Timeouts(queue_s=300),
        "c": Timeouts(queue_s=360), "d": Timeouts(run_s=60, idle_s=90),
        "e": Timeouts(queue_s=360), "f": Timeouts(run_s=180),
    }  # fmt: skip
    assert asked["e"].executor == asked["c"].executor != asked["b"].executor
    assert last.dryrun()[-1].job.timeouts == Timeouts(run_s=420, idle_s=90)


def test_how_a_found_experiment_is_run_is_what_its_run_says(
    capfd: pytest.CaptureFixture[str],
) -> None:
    draft = ExperimentDraft("how", [Job(name=name, task=sh("echo hi; exit 1")) for name in "ab"])
    draft.prepare()
    found = Experiment.from_id(draft.id)
    with pytest.raises(UsageError, match="max_parallel is 0, but must be at least 1"):
        found.run(max_parallel=0)
    records = found.run(sequential=True, fail_fast=True, tail_logs=True, check=False)
    assert [str(one.state) for one in records] == ["FAILED", "CANCELLED"]
    told = capfd.readouterr().err
    assert "hi" in told
    assert "job 'a' FAILED: exit code 1" in told


def test_how_a_found_experiment_is_run_is_on_record_for_whoever_leads_it() -> None:
    jobs = [Job(name=name, task=sh("exit 1")) for name in "ab"]
    draft = ExperimentDraft("how", [*jobs, Job(name="c", task=TRUE)], max_parallel=3)
    draft.prepare()
    found = Experiment.from_id(draft.id)
    assert found.run(detach=True, sequential=True, fail_fast=True)  # the supervisor reads it there
    asked = Asked.read(draft.folder)
    assert (asked.max_parallel, asked.fail_fast) == (1, True)
    ends = [str(one.state) for one in found.wait(check=False)]
    assert ends == ["FAILED", "CANCELLED", "CANCELLED"]


def test_how_an_experiment_is_run_again_here_is_on_record() -> None:
    first = Experiment("again", max_parallel=3)
    first.add(TRUE, name="a")
    first.run()
    first.add(sh("exit 1"), name="b")
    first.add(TRUE, name="c")
    records = first.run(sequential=True, fail_fast=True, check=False)
    assert [str(one.state) for one in records] == ["SUCCEEDED", "FAILED", "CANCELLED"]
    asked = Asked.read(first.folder)
    assert (asked.max_parallel, asked.fail_fast) == (1, True)


@pytest.mark.parametrize("is_found", [True, False], ids=["found", "run here"])
def test_a_group_is_not_run_fewer_at_a_time_than_it_has_jobs(is_found: bool) -> None:
    first = Experiment("pairs", max_parallel=2)
    first.add([TRUE, TRUE], name="pair")
    first.run()
    again = Experiment.from_id(first.id) if is_found else first
    with pytest.raises(UsageError, match="2 jobs that start together, and max_parallel is 1"):
        again.run(sequential=True)
    assert Asked.read(first.folder).max_parallel == 2


def test_another_process_that_leads_an_experiment_goes_on_as_it_was_told() -> None:
    first = Experiment("led", max_parallel=2)
    first.add(TRUE, name="a")
    first.run()
    found = Experiment.from_id(first.id)
    store = JobStore(first.folder)  # as a process that leads it has
    try:
        with pytest.raises(UsageError, match="its max_parallel and fail_fast stay as they are"):
            found.run(fail_fast=True)
        found.run(max_parallel=2, detach=True)  # as it is anyway
    finally:
        store.close()


async def test_only_an_experiment_that_this_process_leads_takes_a_kernel() -> None:
    draft = ExperimentDraft("alone", [Job(name="a", task=TRUE)])
    draft.prepare()
    new = AsyncExperiment("alone")
    new.add(TRUE)
    async with Kernel(plugins=[LocalExecutor()]) as kernel:
        with pytest.raises(UsageError, match="is led on a kernel of its own: leave kernel= out"):
            await AsyncExperiment.from_id(draft.id).run(kernel=kernel)
        with pytest.raises(UsageError, match="is led by another process: leave kernel= out"):
            await new.run(kernel=kernel, detach=True)
